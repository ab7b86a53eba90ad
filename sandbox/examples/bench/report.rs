//! The results as text and as JSON.

use std::io::{self, Write};

use anneal_measure::{Machine, Paired, Percentiles, Sample, percentiles};
use serde::{Deserialize, Serialize};

/// The times of one contender.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    name: String,
    runs: usize,
    wall_ms: Percentiles,
    cpu_ms: Percentiles,
}

impl Row {
    pub(crate) fn of(name: &str, samples: &[Sample]) -> Self {
        Self {
            name: name.to_owned(),
            runs: samples.len(),
            wall_ms: percentiles(samples.iter().map(|sample| sample.wall)),
            cpu_ms: percentiles(samples.iter().map(|sample| sample.cpu)),
        }
    }
}

/// Throughput of one thread and of two, with the processor time that a run takes in each case.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AtOnce {
    pub(crate) name: String,
    pub(crate) one_per_second: f64,
    pub(crate) two_per_second: f64,
    pub(crate) one_cpu_ms: f64,
    pub(crate) two_cpu_ms: f64,
}

/// Everything measured as one user.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) user: String,
    pub(crate) start_up: Vec<Row>,
    pub(crate) against_bwrap: Option<Paired>,
    pub(crate) pool_against_bwrap: Option<Paired>,
    pub(crate) skipped: Vec<String>,
    pub(crate) roots: Vec<Row>,
    pub(crate) large_against_small: Option<Paired>,
    pub(crate) at_once: Vec<AtOnce>,
}

/// All of it, and the machine it was measured on.
pub(crate) fn json(measured: &[Measured]) -> io::Result<String> {
    #[derive(Serialize)]
    struct Whole<'a> {
        machine: Machine,
        users: &'a [Measured],
    }
    let whole = Whole { machine: Machine::this(), users: measured };
    Ok(format!("{}\n", serde_json::to_string_pretty(&whole)?))
}

/// A table for people.
pub(crate) fn print(measured: &Measured) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "sandbox, as {}: start to end of a program that does nothing (ms)", measured.user)?;
    rows(&mut out, &measured.start_up)?;
    for reason in &measured.skipped {
        writeln!(out, "  skipped: {reason}")?;
    }
    if let Some(ratio) = &measured.against_bwrap {
        compared(&mut out, "anneal to bwrap", ratio)?;
    }
    if let Some(ratio) = &measured.pool_against_bwrap {
        compared(&mut out, "anneal pool to bwrap", ratio)?;
    }
    writeln!(out, "the size of the root")?;
    rows(&mut out, &measured.roots)?;
    if let Some(ratio) = &measured.large_against_small {
        compared(&mut out, "5000 files to 50", ratio)?;
    }
    writeln!(out, "one at a time and two at once (runs per second; processor ms per run)")?;
    for row in &measured.at_once {
        writeln!(
            out,
            "  {:<12} {:>7.1} and {:>7.1}, gain {:.2}; {:.2} and {:.2}",
            row.name,
            row.one_per_second,
            row.two_per_second,
            row.two_per_second / row.one_per_second,
            row.one_cpu_ms,
            row.two_cpu_ms
        )?;
    }
    Ok(())
}

fn rows(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    for Row { name, runs, wall_ms, cpu_ms } in rows {
        writeln!(
            out,
            "  {name:<12} p50 {:>6.2}  p90 {:>6.2}  p99 {:>6.2}   processor p50 {:>5.2}  p99 {:>5.2}   {runs} runs",
            wall_ms.p50, wall_ms.p90, wall_ms.p99, cpu_ms.p50, cpu_ms.p99
        )?;
    }
    Ok(())
}

fn compared(out: &mut impl Write, what: &str, ratio: &Paired) -> io::Result<()> {
    writeln!(
        out,
        "  {what}: p50 {:.2}, p99 {:.2}; pair by pair {:.2} (95 % sure: {:.2} to {:.2}), no slower in {:.0} % of {} pairs",
        ratio.p50,
        ratio.p99,
        ratio.median,
        ratio.low,
        ratio.high,
        ratio.quicker * 100.0,
        ratio.pairs
    )
}
