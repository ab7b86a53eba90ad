//! What a measurement says: percentiles, and what pairs say about a ratio.
//!
//! The measurements themselves are examples of the crates that they measure; `tests/bench` calls them.

pub mod source;
pub mod tool;

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

/// One run: time on the clock and processor time, of this process and of all children that were waited for.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Milliseconds on the clock.
    pub wall: f64,
    /// Milliseconds of processors.
    pub cpu: f64,
}

/// Milliseconds that half, nine of ten, and 99 of 100 runs stay below.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Of half.
    pub p50: f64,
    /// Of nine of ten.
    pub p90: f64,
    /// Of 99 of 100.
    pub p99: f64,
}

/// What pairs of runs, one of each kind right after the other, say about their ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// How many pairs.
    pub pairs: usize,
    /// The first's median over the second's.
    pub p50: f64,
    /// The same of the 99th percentiles.
    pub p99: f64,
    /// The median of the pairs' ratios.
    pub median: f64,
    /// The bound below which it lies in 2.5 of 100 repetitions.
    pub low: f64,
    /// The bound above which it lies in 2.5 of 100 repetitions.
    pub high: f64,
    /// The share of pairs in which the first took no longer.
    pub quicker: f64,
}

/// Processor time of this process and of its children that were waited for, in milliseconds.
pub fn cpu() -> f64 {
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .filter_map(|who| getrusage(who).ok())
        .map(|usage| (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1000.0)
        .sum()
}

/// A time in milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn at(sorted: &[f64], share: f64) -> f64 {
    let index = ((sorted.len() as f64) * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The percentiles of some values.
pub fn percentiles(values: impl Iterator<Item = f64>) -> Percentiles {
    let sorted = sorted(values);
    Percentiles { p50: at(&sorted, 0.5), p90: at(&sorted, 0.9), p99: at(&sorted, 0.99) }
}

/// Compares times on the clock, run by run.
pub fn paired(first: &[Sample], second: &[Sample]) -> Paired {
    let (ours, theirs) = (percentiles(first.iter().map(|s| s.wall)), percentiles(second.iter().map(|s| s.wall)));
    let ratios = sorted(first.iter().zip(second).map(|(a, b)| a.wall / b.wall));
    let pairs = ratios.len();
    // The ranks that bound a median, from the binomial distribution's normal approximation.
    let spread = 0.98 / (pairs as f64).sqrt();
    Paired {
        pairs,
        p50: ours.p50 / theirs.p50,
        p99: ours.p99 / theirs.p99,
        median: at(&ratios, 0.5),
        low: at(&ratios, (0.5 - spread).max(0.0)),
        high: at(&ratios, (0.5 + spread).min(1.0)),
        quicker: ratios.iter().filter(|ratio| **ratio <= 1.0).count() as f64 / pairs.max(1) as f64,
    }
}

/// The machine that something was measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// Processors that this process may use.
    pub processors: usize,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let name = nix::sys::utsname::uname();
        Self {
            kernel: name.map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default(),
            processors: std::thread::available_parallelism().map_or(0, Into::into),
        }
    }
}
