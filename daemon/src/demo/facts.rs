//! The facts that the demo leaves, and how they are read off the journal.

use anneal_content::{BlobDigest, ImageName, PackageName};
use anneal_ledger::{Event, Payload, PayloadKind, Record};
use anneal_plan::{BuildPlan, Step};
use serde::Serialize;

/// What `anneal demo -o FILE` writes.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Facts {
    pub(super) packages_built: Vec<PackageName>,
    pub(super) images: Vec<ImageFacts>,
    pub(super) advisory: String,
    pub(super) plan: PlanFacts,
    pub(super) rebuilt_packages: Vec<PackageName>,
    pub(super) rebuilt_images: Vec<ImageName>,
    pub(super) untouched_images: Vec<ImageName>,
    pub(super) layers_new: usize,
    pub(super) layers_reused: usize,
    pub(super) bytes_pulled_before: u64,
    pub(super) bytes_pulled_after_patch: u64,
    pub(super) checks: CheckFacts,
    pub(super) evidence: Vec<String>,
    pub(super) approved_by: String,
    pub(super) pulled_digest: Option<BlobDigest>,
    pub(super) http_status: u16,
    pub(super) seconds: Seconds,
}

/// One image, as it was first and as it is at the end.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ImageFacts {
    pub(super) name: ImageName,
    pub(super) digest: BlobDigest,
    pub(super) bytes: u64,
    pub(super) layers: usize,
}

/// The plan in two lists.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct PlanFacts {
    pub(super) rebuild: Vec<PackageName>,
    pub(super) reuse: Vec<PackageName>,
}

impl PlanFacts {
    pub(super) fn of(plan: &BuildPlan) -> Self {
        let mut facts = Self::default();
        for step in &plan.steps {
            match step {
                Step::Reuse { package, .. } | Step::Keep { package, .. } => facts.reuse.push(package.clone()),
                Step::Build { package, .. } | Step::Blocked { package, .. } => facts.rebuild.push(package.clone()),
            }
        }
        facts
    }
}

/// What the checks said of the patched image.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct CheckFacts {
    pub(super) passed: u32,
    pub(super) warned: u32,
    pub(super) failed: u32,
}

/// The clock.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Seconds {
    pub(super) catalogue_build: f64,
    pub(super) advisory_to_candidate: f64,
    pub(super) payload_in_it: f64,
}

/// The packages whose own processes ran, by the journal.
pub(super) fn built(events: &[(u64, Record)]) -> Vec<PackageName> {
    let name = |record: &Record| match &record.event {
        Event::PackageBuilt { package, cached: false, .. } => Some(package.clone()),
        _ => None,
    };
    events.iter().filter_map(|(_, record)| name(record)).collect()
}

/// How long builds and tests themselves ran between two times: the union of their intervals, in milliseconds.
///
/// Proof builds are left out, and so is everything that Anneal itself does around a process.
pub(super) fn payload_ms(events: &[(u64, Record)], from_ms: u64, to_ms: u64) -> u64 {
    let all = events.iter().flat_map(|(_, record)| match &record.event {
        Event::PackageBuilt { payloads, .. } | Event::ImageJudged { payloads, .. } => payloads.clone(),
        _ => Vec::new(),
    });
    let counted = all.filter(|p| p.kind != PayloadKind::Proof);
    let clipped = counted.map(|p| Payload { start_ms: p.start_ms.max(from_ms), end_ms: p.end_ms.min(to_ms), ..p });
    union_ms(clipped.filter(|p| p.start_ms < p.end_ms).collect())
}

fn union_ms(mut intervals: Vec<Payload>) -> u64 {
    intervals.sort_by_key(|p| p.start_ms);
    let (mut total, mut reached) = (0, 0);
    for interval in intervals {
        let start = interval.start_ms.max(reached);
        total += interval.end_ms.saturating_sub(start);
        reached = reached.max(interval.end_ms);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_intervals_count_once() {
        let interval = |start_ms, end_ms| Payload { kind: PayloadKind::Build, start_ms, end_ms };
        assert_eq!(union_ms(vec![interval(10, 20), interval(15, 30), interval(40, 41), interval(12, 13)]), 21);
    }
}
