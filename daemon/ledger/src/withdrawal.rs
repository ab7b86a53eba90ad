//! How long a publication is served by digest: for ever, unless an operator configures a time or a number of releases.
//!
//! What goes is first said to be withdrawn, in an event of its own, so that the promise "served by digest for ever" is
//! ended by a decision that is on record and not by bytes that are missing. From that event on it is not served; its
//! bytes go with a later collection, like those of an image that was set aside. Its statements stay for ever.
//!
//! Never withdrawn, whatever is configured: the newest release of an image, one that a tag names, one that is pinned.

use crate::{CandidateId, Publication, Refusal, State};
use anneal_content::{BlobDigest, ImageName, Tag};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How long publications are served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Always.
    #[default]
    Forever,
    /// So many days from when a newer release took its place.
    Days(u64),
    /// The newest so many releases.
    Releases(u64),
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("forever"),
            Self::Days(days) => write!(f, "{days} days"),
            Self::Releases(releases) => write!(f, "{releases} releases"),
        }
    }
}

impl FromStr for Keep {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not `forever`, `N days` or `N releases` with N of 1 or more");
        if text == "forever" {
            return Ok(Self::Forever);
        }
        let (number, unit) = text.split_once(' ').ok_or_else(wrong)?;
        match (number.parse::<u64>().ok().filter(|n| *n > 0), unit) {
            (Some(days), "days") => Ok(Self::Days(days)),
            (Some(releases), "releases") => Ok(Self::Releases(releases)),
            _ => Err(wrong()),
        }
    }
}

/// How long the publications of each image are served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeepPublished {
    /// All images that have no rule of their own.
    pub all: Keep,
    /// Images with a rule of their own.
    pub of: BTreeMap<ImageName, Keep>,
}

impl KeepPublished {
    fn rule(&self, image: &ImageName) -> Keep {
        self.of.get(image).copied().unwrap_or(self.all)
    }
}

/// A publication that is served no longer, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// The candidate that was published.
    pub candidate: CandidateId,
    /// The rule, for people.
    pub why: String,
}

impl State {
    /// The publications that are served, oldest first.
    pub fn served_publications(&self) -> impl DoubleEndedIterator<Item = &Publication> {
        self.publications.iter().filter(|publication| publication.withdrawn_ms.is_none())
    }

    /// The publications that the rules would have withdrawn at this time; those of which `is_pinned` says so stay.
    ///
    /// A digest that was published more than once stays as long as the last of its publications would.
    pub fn expired(
        &self,
        keep: &KeepPublished,
        is_pinned: &dyn Fn(&Publication) -> bool,
        now_ms: u64,
    ) -> Vec<Withdrawal> {
        let images: BTreeSet<&ImageName> = self.served_publications().map(|publication| &publication.image).collect();
        let mut expired = Vec::new();
        for image in images {
            let rule = keep.rule(image);
            let kept = self.kept_by(rule, image, now_ms);
            let loose = self.served_publications().filter(|p| p.image == *image && !kept.contains(&p.manifest));
            for publication in loose.filter(|publication| !is_pinned(publication)) {
                let why = format!("of {image}, {rule} are kept");
                expired.push(Withdrawal { candidate: publication.candidate, why });
            }
        }
        expired
    }

    /// The digests of an image that a rule keeps.
    fn kept_by(&self, rule: Keep, image: &ImageName, now_ms: u64) -> BTreeSet<BlobDigest> {
        let mut kept = self.tagged(image);
        let mut newest_first: Vec<BlobDigest> = Vec::new();
        // when each was replaced by the next newer one
        let mut replaced_ms = u64::MAX;
        for publication in self.served_publications().rev().filter(|publication| publication.image == *image) {
            if !newest_first.contains(&publication.manifest) {
                let keeps = match rule {
                    Keep::Forever => true,
                    Keep::Days(days) => replaced_ms.saturating_add(days.saturating_mul(DAY_MS)) > now_ms,
                    Keep::Releases(releases) => (newest_first.len() as u64) < releases,
                };
                if keeps || newest_first.is_empty() {
                    kept.insert(publication.manifest);
                }
                newest_first.push(publication.manifest);
            }
            replaced_ms = publication.at_ms;
        }
        kept
    }

    /// The digests of an image that its tags name now.
    fn tagged(&self, image: &ImageName) -> BTreeSet<BlobDigest> {
        let mut tags: BTreeMap<&Tag, BlobDigest> = BTreeMap::new();
        for publication in self.served_publications().filter(|publication| publication.image == *image) {
            tags.extend(publication.tags.iter().map(|tag| (tag, publication.manifest)));
        }
        tags.into_values().collect()
    }

    /// Whether these publications may stop to be served, one after the other.
    pub(crate) fn may_withdraw(&self, withdrawals: &[Withdrawal]) -> Result<(), Refusal> {
        for Withdrawal { candidate, .. } in withdrawals {
            let mut served = self.served_publications();
            let publication = served.find(|publication| publication.candidate == *candidate);
            let publication = publication.ok_or(Refusal::NotServed(*candidate))?;
            let image = &publication.image;
            let keeps = |by: String| Err(Refusal::Kept { candidate: *candidate, by });
            if self.published(image).is_some_and(|newest| newest.manifest == publication.manifest) {
                return keeps(format!("it is the newest release of {image}"));
            }
            if self.tagged(image).contains(&publication.manifest) {
                return keeps(format!("a tag of {image} names it"));
            }
        }
        Ok(())
    }

    pub(crate) fn withdraw(&mut self, withdrawals: &[Withdrawal], at_ms: u64) -> Result<(), Refusal> {
        let known = |candidate| self.publications.iter().any(|publication| publication.candidate == candidate);
        if let Some(unknown) = withdrawals.iter().find(|withdrawal| !known(withdrawal.candidate)) {
            return Err(Refusal::NotServed(unknown.candidate));
        }
        let named: BTreeSet<CandidateId> = withdrawals.iter().map(|withdrawal| withdrawal.candidate).collect();
        for publication in self.publications.iter_mut().filter(|publication| named.contains(&publication.candidate)) {
            publication.withdrawn_ms = Some(at_ms);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
