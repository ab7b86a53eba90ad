//! Former builds that ship with a library that is a drop-in for the one that they were built with, until they are settled.
//!
//! ```text
//! PackageKept (swapped) ──▶ Due ──SwapSettled──▶ Identical   every bit of it is what is built now
//!                            ├───────────────▶ Settled      what is built now is another: it takes its place in a candidate of its own
//!                            ├───────────────▶ Unsettled    it doesn't build now: a human is told, and it stays
//!                            └───────────────▶ Dropped      the image's checks spoke against it: it is built like any other
//! ```
//! A swap was lawful whatever came of settling it, so no image is refused for it: the next candidate follows.

use crate::{Event, Image, Kept, KeptProof, Refusal, State};
use anneal_content::{ActionDigest, BlobDigest, CatalogDigest, DerivationId, PackageName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Why a build may be kept though libraries that it links came out otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Ground {
    /// It sees the same of them.
    #[default]
    InterfaceEqual,
    /// It runs with them: names, types and tests say so.
    Swapped {
        /// The derivation that ships.
        former: DerivationId,
        /// The catalogue that it comes from.
        revision: CatalogDigest,
        /// That catalogue as a blob.
        catalog: BlobDigest,
        /// The packages for which the cut-off by interface was withdrawn when it was derived.
        withdrawn: BTreeSet<PackageName>,
        /// The log of its own tests with the libraries as they are now.
        tests: BlobDigest,
        /// The advisories for whose sake it is done.
        advisories: BTreeSet<String>,
    },
}

impl Ground {
    /// Whether it is the interface.
    pub fn is_interface(&self) -> bool {
        *self == Self::InterfaceEqual
    }

    /// The log of the tests that speak for it.
    pub(crate) fn tests(&self) -> Option<&BlobDigest> {
        if let Self::Swapped { tests, .. } = self { Some(tests) } else { None }
    }
}

/// What became of a swapped build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "settling")]
pub enum Settling {
    /// What was built in its place is the same, bit for bit.
    Identical {
        /// What was built.
        action: ActionDigest,
    },
    /// It is another.
    Differs {
        /// What was built.
        action: ActionDigest,
        /// What differs.
        why: String,
    },
    /// Nothing could be built in its place.
    Fails {
        /// How the build ended.
        why: String,
    },
    /// It is not used any more.
    Dropped {
        /// Why.
        why: String,
    },
}

impl Kept {
    /// Whether it is a former build that is used in the place of another.
    pub fn is_swapped_in(&self) -> bool {
        !self.ground.is_interface() && matches!(self.proof, KeptProof::Due | KeptProof::Unsettled { .. })
    }
}

impl State {
    /// The swapped packages of an image, each with what it stands in for.
    pub fn swapped_in<'a>(&'a self, image: &'a Image) -> impl Iterator<Item = (DerivationId, &'a Kept)> {
        image.packages.iter().filter_map(|package| {
            let id = package.in_place_of?;
            Some((id, self.kept.get(&id)?))
        })
    }

    /// Folds an event about a swapped build.
    pub(crate) fn swap_judged_or_settled(&mut self, event: &Event, at_ms: u64) -> Result<(), Refusal> {
        match event {
            Event::SwapRefused { derivation, why, .. } => {
                self.swap_refused.insert(*derivation, why.clone());
            }
            Event::SwapSettled { derivation, settling, .. } => {
                self.kept_mut(derivation)?.proof = match settling.clone() {
                    Settling::Identical { action } => KeptProof::Identical { action, at_ms },
                    Settling::Differs { action, why } => KeptProof::Settled { action, why, at_ms },
                    Settling::Fails { why } => KeptProof::Unsettled { why, at_ms },
                    Settling::Dropped { why } => KeptProof::Dropped { why, at_ms },
                };
            }
            _ => {}
        }
        Ok(())
    }

    /// A swapped build is settled once; one that could not be replaced may still be.
    pub(crate) fn may_settle(&self, derivation: &DerivationId) -> Result<(), Refusal> {
        match self.kept.get(derivation) {
            Some(kept) if kept.is_swapped_in() => Ok(()),
            _ => Err(Refusal::Settled { derivation: *derivation }),
        }
    }
}

#[cfg(test)]
mod tests;
