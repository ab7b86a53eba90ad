//! What the ledger needs of the store, and what it can do without.
//!
//! Kept for ever: what an auditor asks for (catalogues, advisories, plans, check results, evidence, what an approver was
//! shown and what they signed) and every image that was ever published, unless an operator has old releases withdrawn
//! (`withdrawal.rs`). Kept as long as it may be needed: images that await a human, that the active catalogue asks for, or
//! that came or were set aside within the grace time. Any other image is collected, and the ledger says so before a byte is deleted, so that nobody takes it for one that is there.

use crate::{CandidateStatus, Event, EvidenceRef, Image, State};
use anneal_content::{BlobDigest, DerivationId};
use std::collections::{BTreeMap, BTreeSet};

/// How much hangs on something that the ledger names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// Bytes.
    Bytes,
    /// A document of OCI, with what it names.
    Document,
    /// A tree, with its files.
    Tree,
}

/// Something that the ledger names and needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// What.
    pub digest: BlobDigest,
    /// What hangs on it.
    pub form: Form,
    /// Which kind of thing.
    pub kind: &'static str,
    /// Why, for people.
    pub why: String,
}

fn reference(digest: &BlobDigest, form: Form, kind: &'static str, why: String) -> Reference {
    Reference { digest: *digest, form, kind, why }
}

impl Event {
    /// What an event names that is kept as long as the event: for ever.
    pub fn kept(&self) -> Vec<Reference> {
        let bytes = |digest, kind, why| vec![reference(digest, Form::Bytes, kind, why)];
        match self {
            Self::CatalogImported { revision, blob, .. } => bytes(blob, "catalogues", format!("catalogue {revision}")),
            Self::AdvisoryImported { id, record } => bytes(record, "advisories", format!("advisory {id}")),
            Self::RemediationChosen { advisory, plan, .. } => bytes(plan, "plans", format!("the plan of {advisory}")),
            Self::ImageJudged { manifest, results, .. } => {
                bytes(results, "check results", format!("check results of image {manifest}"))
            }
            Self::CandidateOpened { candidate, diff, .. } => {
                bytes(diff, "decisions", format!("what the approver of {candidate} is shown"))
            }
            Self::Decided { candidate, statement, .. } => {
                bytes(statement, "decisions", format!("the decision on {candidate}"))
            }
            Self::PackageKept { package, linked, ground, .. } => {
                let why = format!("why {package} was swapped");
                let reports = linked.values().filter_map(|linked| linked.abi_report.as_ref()).chain(ground.tests());
                reports.map(|report| reference(report, Form::Bytes, "check results", why.clone())).collect()
            }
            Self::EvidenceSigned { manifest, evidence, build_root } => {
                let mut kept = of_evidence(evidence, &format!("evidence of {manifest}"));
                let why = format!("the lock of the build root of {manifest}");
                kept.extend(build_root.iter().map(|lock| reference(lock, Form::Bytes, "evidence", why.clone())));
                kept
            }
            Self::Published { candidate, evidence, extra_tags } => {
                let mut kept = of_evidence(evidence, &format!("signatures of publication {candidate}"));
                for (tag, manifest) in extra_tags {
                    let why = format!("tag {tag} of publication {candidate}");
                    kept.push(reference(manifest, Form::Document, "evidence", why));
                }
                kept
            }
            _ => Vec::new(),
        }
    }

    /// What an event names that may be collected one day. It is then remembered when it was.
    pub fn remembered(&self) -> Vec<BlobDigest> {
        match self {
            Self::BuildFailed { log, .. } => log.iter().copied().collect(),
            Self::ImageAssembled { manifest, index, layers, packages, .. } => {
                let layers = layers.iter().map(|layer| layer.digest);
                let trees = packages.iter().map(|package| BlobDigest::from_bytes(*package.tree.as_bytes()));
                [*manifest, *index].into_iter().chain(layers).chain(trees).collect()
            }
            Self::PackageKept { linked, .. } => {
                let trees = linked.values().flat_map(|linked| linked.built_with.values().chain(linked.now.values()));
                trees.map(|tree| BlobDigest::from_bytes(*tree.as_bytes())).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn of_evidence(evidence: &[EvidenceRef], why: &str) -> Vec<Reference> {
    let of_one = |one: &EvidenceRef| {
        let statement = reference(&one.bundle, Form::Bytes, "evidence", why.to_owned());
        [statement, reference(&one.referrer, Form::Document, "evidence", why.to_owned())]
    };
    evidence.iter().flat_map(of_one).collect()
}

/// The images that are needed, each with its reason.
pub type Needed = BTreeMap<BlobDigest, String>;

impl State {
    /// Which images are needed: published, awaiting a human, asked for by the active catalogue, or not set aside since
    /// before `since_ms`.
    pub fn needed_images(&self, wanted: &BTreeSet<BlobDigest>, since_ms: u64) -> Needed {
        let here = self.images.values().filter(|image| image.collected_ms.is_none());
        here.filter_map(|image| Some((image.manifest, self.why_needed(image, wanted, since_ms)?))).collect()
    }

    fn why_needed(&self, image: &Image, wanted: &BTreeSet<BlobDigest>, since_ms: u64) -> Option<String> {
        let Image { name, manifest, .. } = image;
        if let Some(publication) = self.served_publications().rev().find(|p| p.manifest == *manifest) {
            return Some(format!("publication {} of {name}", publication.candidate));
        }
        let candidates = || self.candidates.values().rev().filter(|c| c.manifest == *manifest);
        let waits = |status| matches!(status, CandidateStatus::Open | CandidateStatus::Approved);
        if let Some(candidate) = candidates().find(|c| waits(c.status)) {
            return Some(format!("candidate {} of {name}, which is {}", candidate.id, candidate.status.word()));
        }
        if wanted.contains(manifest) {
            return Some(format!("the active catalogue asks for this image of {name}"));
        }
        let aside = candidates().map(|c| (self.set_aside_ms(c), format!("candidate {} of {name}", c.id)));
        let (at_ms, what) = aside.max().unwrap_or((image.at_ms, format!("an image of {name}")));
        let withdrawn =
            self.publications.iter().filter(|p| p.manifest == *manifest).filter_map(|p| p.withdrawn_ms).max();
        let at_ms = at_ms.max(image.at_ms).max(withdrawn.unwrap_or_default());
        (at_ms > since_ms).then(|| format!("{what} came or was set aside within the time that everything is kept"))
    }

    /// When a candidate stopped to await anything.
    fn set_aside_ms(&self, candidate: &crate::Candidate) -> u64 {
        let decided = candidate.decision.as_ref().map_or(candidate.opened_ms, |(_, _, _, at_ms)| *at_ms);
        let CandidateStatus::Superseded { by } = candidate.status else { return decided };
        let opened = self.candidates.get(&by).map_or(decided, |newer| newer.opened_ms);
        let published = self.publications.iter().find(|p| p.candidate == by).map_or(opened, |p| p.at_ms);
        decided.max(opened).max(published)
    }

    /// Images that may go.
    pub fn loose_images(&self, needed: &Needed) -> Vec<BlobDigest> {
        let here = self.images.values().filter(|image| image.collected_ms.is_none());
        here.map(|image| image.manifest).filter(|manifest| !needed.contains_key(manifest)).collect()
    }

    /// What the needed images, and failures that still count, name.
    pub fn kept(&self, needed: &Needed) -> Vec<Reference> {
        let mut kept = Vec::new();
        for (manifest, why) in needed {
            let Some(image) = self.images.get(manifest) else { continue };
            kept.push(reference(manifest, Form::Document, "images", why.clone()));
            kept.push(reference(&image.index, Form::Document, "images", why.clone()));
            for package in &image.packages {
                let tree = BlobDigest::from_bytes(*package.tree.as_bytes());
                let why = format!("{} {} in {why}", package.name, package.version);
                kept.push(reference(&tree, Form::Tree, "trees", why));
            }
        }
        for failure in self.failures.values() {
            let why = format!("the log of the failed build of {}", failure.package);
            kept.extend(failure.log.iter().map(|log| reference(log, Form::Bytes, "logs", why.clone())));
        }
        kept
    }

    /// The builds that needed images are made of.
    pub fn kept_derivations(&self, needed: &Needed) -> BTreeMap<DerivationId, String> {
        let mut kept = BTreeMap::new();
        for (manifest, why) in needed {
            for package in self.images.get(manifest).iter().flat_map(|image| &image.packages) {
                let why = || format!("the build of {} {} in {why}", package.name, package.version);
                kept.entry(package.derivation).or_insert_with(why);
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests;
