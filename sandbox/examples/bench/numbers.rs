//! Percentiles, and what pairs say about a ratio.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

/// One run: time on the clock and processor time, of this process and of all children that were waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

/// Milliseconds that half, nine of ten, and 99 of 100 runs stay below.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
}

/// What pairs of runs, one of each kind right after the other, say about their ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Paired {
    pub(crate) pairs: usize,
    /// The first's median over the second's, and the same of the 99th percentiles.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// The median of the pairs' ratios, and the bounds between which it lies in 95 of 100 repetitions.
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// The share of pairs in which the first took no longer.
    pub(crate) quicker: f64,
}

/// Processor time of this process and of its children that were waited for, in milliseconds.
pub(crate) fn cpu() -> f64 {
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .filter_map(|who| getrusage(who).ok())
        .map(|usage| (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1000.0)
        .sum()
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
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

pub(crate) fn percentiles(values: impl Iterator<Item = f64>) -> Percentiles {
    let sorted = sorted(values);
    Percentiles { p50: at(&sorted, 0.5), p90: at(&sorted, 0.9), p99: at(&sorted, 0.99) }
}

/// Compares times on the clock, run by run.
pub(crate) fn paired(first: &[Sample], second: &[Sample]) -> Paired {
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
