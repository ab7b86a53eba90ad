//! Builds that are kept because what they link shows them the same, and what became of the proof of that.
//!
//! ```text
//! PackageKept ──▶ Due ──KeptProved──▶ Identical
//!                   └──CutOffWithdrawn──▶ Failed: no build of the package is kept any more, and no image with this one is
//!                                         approved or published from then on
//! ```
//! What came of a kept build is said once. An image that was published before its proof failed stays what it was approved
//! as; another candidate follows it.

use crate::{Event, Ground, Image, PackageRecord, Refusal, State};
use anneal_content::{
    ActionDigest, BlobDigest, DerivationId, InterfaceDigest, OutputName, PackageName, TreeDigest, Version,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A library that came out otherwise since a build that is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Linked {
    /// What a dependent sees of it now; then, too, but where it is swapped.
    pub interface: InterfaceDigest,
    /// The trees that the kept build was really built with.
    pub built_with: BTreeMap<OutputName, TreeDigest>,
    /// The trees that it would be built with now.
    pub now: BTreeMap<OutputName, TreeDigest>,
    /// Where it is swapped: what a comparison of types then and now showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abi_report: Option<BlobDigest>,
}

/// A build that was kept though libraries that it links came out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The package.
    pub package: PackageName,
    /// Its version.
    pub version: Version,
    /// The action, of which the former result is used.
    pub action: ActionDigest,
    /// The libraries.
    pub linked: BTreeMap<PackageName, Linked>,
    /// Why it may be.
    #[serde(default, skip_serializing_if = "Ground::is_interface")]
    pub ground: Ground,
    /// When.
    pub at_ms: u64,
    /// What a build with the libraries as they are now showed.
    pub proof: KeptProof,
}

/// Whether a kept build is what would have been built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "proof")]
pub enum KeptProof {
    /// Nobody looked yet.
    Due,
    /// It is, bit for bit.
    Identical {
        /// What was built.
        action: ActionDigest,
        /// When.
        at_ms: u64,
    },
    /// It is not.
    Failed {
        /// What was built.
        action: ActionDigest,
        /// What differed.
        why: String,
        /// When.
        at_ms: u64,
    },
    /// It was swapped, and came out otherwise: what was built takes its place.
    Settled {
        /// What was built.
        action: ActionDigest,
        /// What differs.
        why: String,
        /// When.
        at_ms: u64,
    },
    /// It was swapped, and doesn't build with the libraries as they are now: a human must look.
    Unsettled {
        /// How its build ended.
        why: String,
        /// When.
        at_ms: u64,
    },
    /// It was swapped, and something that came after spoke against it: it is built like any other.
    Dropped {
        /// What.
        why: String,
        /// When.
        at_ms: u64,
    },
}

impl Kept {
    /// Whether its proof came out otherwise.
    pub fn is_refuted(&self) -> bool {
        matches!(self.proof, KeptProof::Failed { .. })
    }
}

impl State {
    /// The packages for which the cut-off by interface is withdrawn.
    pub fn withdrawn_packages(&self) -> BTreeSet<PackageName> {
        self.cut_off_withdrawn.keys().cloned().collect()
    }

    /// The packages of an image whose build is kept by interface, with what is known of it.
    pub fn kept_in<'a>(&'a self, image: &'a Image) -> impl Iterator<Item = &'a Kept> {
        let kept = image.packages.iter().filter_map(|package| self.kept.get(&package.derivation));
        kept.filter(|kept| kept.ground.is_interface())
    }

    /// Folds an event about a kept build.
    pub(crate) fn kept_or_proved(&mut self, event: &Event, at_ms: u64) -> Result<(), Refusal> {
        match event {
            Event::PackageKept { package, version, derivation, action, linked, ground } => {
                let known = self.kept.get(derivation).is_some_and(|k| k.action == *action && k.linked == *linked);
                if !known {
                    let (package, version, linked) = (package.clone(), version.clone(), linked.clone());
                    let (action, ground, proof) = (*action, ground.clone(), KeptProof::Due);
                    let fresh = Kept { package, version, action, linked, ground, at_ms, proof };
                    self.kept.insert(*derivation, fresh);
                }
            }
            Event::KeptProved { derivation, action, .. } => {
                self.kept_mut(derivation)?.proof = KeptProof::Identical { action: *action, at_ms };
            }
            Event::CutOffWithdrawn { package, derivation, action, why, .. } => {
                self.kept_mut(derivation)?.proof = KeptProof::Failed { action: *action, why: why.clone(), at_ms };
                self.cut_off_withdrawn.entry(package.clone()).or_insert(*derivation);
            }
            _ => {}
        }
        Ok(())
    }

    /// The promises of kept builds: none of a package whose cut-off is withdrawn, and one answer for each.
    pub(crate) fn may_keep_or_prove(&self, event: &Event) -> Result<(), Refusal> {
        match event {
            Event::PackageKept { package, .. } if self.cut_off_withdrawn.contains_key(package) => {
                Err(Refusal::CutOffWithdrawn { package: package.clone() })
            }
            Event::KeptProved { derivation, .. } | Event::CutOffWithdrawn { derivation, .. } => {
                let answered = self.kept.get(derivation).is_some_and(|kept| kept.proof != KeptProof::Due);
                if answered { Err(Refusal::Proved { derivation: *derivation }) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Where an image comes out the same with what was built in place of a refuted build, that is what it is made of; what
    /// was signed about it before is signed anew, unless it is published.
    pub(crate) fn replace_refuted(&mut self, manifest: &BlobDigest, packages: &[PackageRecord]) {
        let Some(image) = self.images.get(manifest) else { return };
        if self.kept_in(image).any(Kept::is_refuted) {
            let is_published = self.publications.iter().any(|p| p.manifest == *manifest);
            if let Some(image) = self.images.get_mut(manifest) {
                image.packages = packages.to_vec();
                if !is_published {
                    image.evidence.clear();
                }
            }
        }
    }

    pub(crate) fn kept_mut(&mut self, derivation: &DerivationId) -> Result<&mut Kept, Refusal> {
        let unknown = || Refusal::Unknown { what: "kept build", name: derivation.to_string() };
        self.kept.get_mut(derivation).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests;
