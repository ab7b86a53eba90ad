//! What must happen next, read off the state.

use crate::{CandidateId, CandidateStatus, CaseStatus, KeptProof, State};
use anneal_content::{BlobDigest, CatalogDigest, DerivationId, ImageName, PackageName};
use std::collections::{BTreeMap, BTreeSet};

/// What the active catalog asks for, computed from it alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Each image.
    pub images: BTreeMap<ImageName, WantedImage>,
    /// Derivations in whose place former builds are used, in the order in which they can be built.
    pub swapped: Vec<DerivationId>,
}

/// An image as the catalogue asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedImage {
    /// Names the image before it is built.
    pub key: DerivationId,
    /// The derivations it needs.
    pub derivations: BTreeSet<DerivationId>,
    /// Waivers and tests of its recipes: what the checks are told beside the image.
    pub policy: BlobDigest,
}

/// One thing to do. Doing it twice is harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Move the tags of an approved candidate.
    Publish(CandidateId),
    /// Judge an advisory against the active revision.
    Match {
        /// The advisory.
        advisory: String,
        /// Its newest record.
        record: BlobDigest,
        /// The active revision.
        revision: CatalogDigest,
    },
    /// Choose releases that leave the affected ranges of these advisories.
    Remediate {
        /// The advisories of open cases.
        advisories: Vec<String>,
    },
    /// Open a candidate for an image that passed and has evidence.
    OpenCandidate(BlobDigest),
    /// Sign and attach the statements about an image that passed.
    Sign(BlobDigest),
    /// Run the verification suite.
    Check(BlobDigest),
    /// Build and assemble these images of the active revision.
    Build(BTreeSet<ImageName>),
    /// Build a kept package with its libraries as they are now, and compare. It gives way to every build that is needed.
    ProveKept {
        /// The package.
        package: PackageName,
        /// The derivation.
        derivation: DerivationId,
    },
    /// Build what a former build was swapped in for. It gives way, too.
    Settle {
        /// The package.
        package: PackageName,
        /// The derivation.
        derivation: DerivationId,
    },
    /// Use no former builds in this image's packages any more: its checks did not pass with them.
    DropSwaps(BlobDigest),
}

/// Every task that the state asks for at this time, most urgent first.
pub fn next_tasks(state: &State, wanted: &Wanted, now_ms: u64) -> Vec<Task> {
    let mut tasks = Vec::new();
    for candidate in state.candidates.values().filter(|c| c.status == CandidateStatus::Approved) {
        tasks.push(Task::Publish(candidate.id));
    }
    let Some((revision, _)) = state.revision else { return tasks };
    for (advisory, record) in &state.advisories {
        if state.matched.get(advisory) != Some(&(*record, revision)) {
            tasks.push(Task::Match { advisory: advisory.clone(), record: *record, revision });
        }
    }
    let open = state.cases.values().filter(|case| case.status == CaseStatus::Open);
    let advisories: Vec<String> = open.map(|case| case.advisory.clone()).collect();
    if !advisories.is_empty() {
        tasks.push(Task::Remediate { advisories });
    }
    let mut build = BTreeSet::new();
    for (name, WantedImage { key, derivations, policy }) in &wanted.images {
        match state.assembled.get(key) {
            Some(manifest) => tasks.extend(next_for_image(state, name, manifest, *policy)),
            None => {
                let held = |d| state.failures.get(d).is_some_and(|failure| failure.retry_after_ms > now_ms);
                if !derivations.iter().any(held) {
                    build.insert(name.clone());
                }
            }
        }
    }
    if !build.is_empty() {
        tasks.push(Task::Build(build));
    }
    // One after the other: what is built with a package that is settled is settled after it.
    let is_due = |kept: &&crate::Kept| kept.proof == KeptProof::Due && !kept.ground.is_interface();
    let mut unsettled = wanted.swapped.iter().filter_map(|id| Some((id, state.kept.get(id).filter(is_due)?)));
    if let Some((derivation, kept)) = unsettled.next() {
        tasks.push(Task::Settle { package: kept.package.clone(), derivation: *derivation });
    }
    let by_interface = state.kept.iter().filter(|(_, kept)| kept.ground.is_interface());
    for (derivation, kept) in by_interface.filter(|(_, kept)| kept.proof == KeptProof::Due) {
        // What is built no more needs no proof.
        if wanted.images.values().any(|image| image.derivations.contains(derivation)) {
            tasks.push(Task::ProveKept { package: kept.package.clone(), derivation: *derivation });
        }
    }
    tasks
}

fn next_for_image(state: &State, name: &ImageName, manifest: &BlobDigest, policy: BlobDigest) -> Option<Task> {
    let image = state.images.get(manifest)?;
    // A publication stays what it was approved as; what touches it since stands in its case.
    if state.published(name).is_some_and(|p| p.manifest == *manifest) {
        return None;
    }
    if image.judged_against.as_ref() != Some(&state.check_inputs(name, manifest, policy)) {
        return Some(Task::Check(*manifest));
    }
    match &image.verdict {
        None => return Some(Task::Check(*manifest)),
        Some((false, ..)) => {
            let swapped = state.swapped_in(image).any(|(_, kept)| kept.is_swapped_in());
            return swapped.then_some(Task::DropSwaps(*manifest));
        }
        Some((true, ..)) => {}
    }
    if image.evidence.is_empty() {
        return Some(Task::Sign(*manifest));
    }
    let proposed = state.newest_candidate(name).is_some_and(|c| c.manifest == *manifest);
    (!proposed).then_some(Task::OpenCandidate(*manifest))
}

#[cfg(test)]
mod tests;
