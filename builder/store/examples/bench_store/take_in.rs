//! Taking in a tree, beside other stores and a plain copy.

use crate::{Result, contender::Contender, say};
use anneal_measure::{
    Paired, Percentiles, Sample, cpu, milliseconds, paired, percentiles,
    source::{Source, real, small},
};
use serde::Serialize;
use std::{fs, path::Path, process::Command, time::Instant};

/// How often each takes each tree in.
const ROUNDS: usize = 5;
const QUICK_ROUNDS: usize = 2;
const SMALL_FILES: usize = 50_000;
const QUICK_SMALL_FILES: usize = 5_000;

/// One tree, taken in by all.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    tree: String,
    files: usize,
    bytes: u64,
    rounds: usize,
    contenders: Vec<Row>,
    skipped: Vec<&'static str>,
}

/// One contender's times, and ours pair by pair over them.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    version: String,
    wall_ms: Percentiles,
    cpu_ms: Percentiles,
    anneal_to_this: Paired,
}

pub(crate) fn measure(place: &Path, quick: bool) -> Result<Vec<Measured>> {
    let rounds = if quick { QUICK_ROUNDS } else { ROUNDS };
    let files = if quick { QUICK_SMALL_FILES } else { SMALL_FILES };
    let mut all = Vec::new();
    for source in [real(place.join("real"))?, small(place.join("small"), files)?] {
        let measured = one(place, &source, rounds)?;
        print(&measured)?;
        all.push(measured);
    }
    Ok(all)
}

fn one(place: &Path, source: &Source, rounds: usize) -> Result<Measured> {
    let here: Vec<(Contender, String)> =
        Contender::ALL.into_iter().filter_map(|contender| Some((contender, contender.version()?))).collect();
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); here.len()];
    let stores = place.join("stores");
    // The first round warms caches and does not count. Nothing is removed before the last: for some minutes ext4 gives
    // numbers of removed inodes out again only after a long search, which would be measured instead.
    for round in 0..=rounds {
        for (at, ((contender, _), samples)) in here.iter().zip(&mut samples).enumerate() {
            let store = stores.join(format!("{round}-{at}"));
            fs::create_dir_all(&stores)?;
            contender.make(&store)?;
            Command::new("sync").arg("-f").arg(place).status()?;
            let (start, cpu_before) = (Instant::now(), cpu());
            contender.take_in(&store, &source.dir)?;
            let sample = Sample { wall: milliseconds(start.elapsed()), cpu: cpu() - cpu_before };
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    // Nix takes the right to write from what it has taken in.
    Command::new("chmod").args(["-R", "u+w"]).arg(&stores).status()?;
    fs::rename(&stores, place.join(format!("old-{}", source.files)))?;
    let ours = samples.first().cloned().unwrap_or_default();
    let contenders = here.into_iter().zip(&samples).map(|((contender, version), samples)| Row {
        name: contender.name(),
        version,
        wall_ms: percentiles(samples.iter().map(|sample| sample.wall)),
        cpu_ms: percentiles(samples.iter().map(|sample| sample.cpu)),
        anneal_to_this: paired(&ours, samples),
    });
    let contenders: Vec<Row> = contenders.collect();
    let is_here = |name: &&str| contenders.iter().any(|row| row.name == *name);
    let skipped = Contender::ALL.into_iter().map(Contender::name).filter(|name| !is_here(name)).collect();
    let Source { name, files, bytes, .. } = source;
    Ok(Measured { tree: name.clone(), files: *files, bytes: *bytes, rounds, contenders, skipped })
}

fn print(measured: &Measured) -> Result<()> {
    let mib = measured.bytes / (1 << 20);
    say(&format!(
        "store: taking in {}, {} files, {mib} MiB, {} rounds (ms)",
        measured.tree, measured.files, measured.rounds
    ))?;
    for Row { name, version, wall_ms, cpu_ms, anneal_to_this } in &measured.contenders {
        say(&format!(
            "  {name:<16} {version:<10} p50 {:>8.1}   processor p50 {:>8.1}   anneal to this {:.2}, pair by pair {:.2}",
            wall_ms.p50, cpu_ms.p50, anneal_to_this.p50, anneal_to_this.median
        ))?;
    }
    for name in &measured.skipped {
        say(&format!("  skipped: no {name}"))?;
    }
    Ok(())
}
