//! A person's decision about a candidate, bound to everything that the person saw.
//!
//! ```json
//! { "approver": "<key id>", "comment": "…", "decision": "approve", "time": "…",
//!   "candidate": { "name": "nginx", "image": "sha256:…", "index": "sha256:…",
//!                  "checkResults": ["sha256:…"], "sboms": ["sha256:…"], "provenances": ["sha256:…"],
//!                  "diff": "sha256:…" } }
//! ```
//! Evidence is named by the digest of the signed bundle's bytes, the diff by the digest of the text that was
//! shown. A digest that changes makes another candidate, which this decision does not cover.

use crate::{Error, KeyId, Result, Timestamp};
use anneal_content::{BlobDigest, ImageName};
use std::{collections::BTreeSet, fmt};

const WHAT: &str = "approval";
/// The most characters of a comment.
const COMMENT_CHARS_MAX: usize = 4096;
/// The most bundles of one kind.
const EVIDENCE_MAX: usize = 256;

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Publish it.
    Approve,
    /// Don't.
    Reject,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Decision::Approve => "approve",
            Decision::Reject => "reject",
        })
    }
}

/// What the approver saw, all of it by digest. Two candidates are the same only if these are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Binding {
    /// The repository: the same bytes under another name are another candidate.
    pub name: ImageName,
    /// The image manifest.
    pub image: BlobDigest,
    /// The index that lists it, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<BlobDigest>,
    /// The bundles of test results.
    pub check_results: BTreeSet<BlobDigest>,
    /// The bundles of inventories.
    pub sboms: BTreeSet<BlobDigest>,
    /// The bundles of provenance.
    pub provenances: BTreeSet<BlobDigest>,
    /// What has changed since the last publication, as shown.
    pub diff: BlobDigest,
}

impl Binding {
    /// What a statement about this candidate is about: the image and, if there is one, the index.
    pub fn subjects(&self) -> impl Iterator<Item = BlobDigest> {
        std::iter::once(self.image).chain(self.index)
    }
}

/// The predicate.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// Yes or no.
    pub decision: Decision,
    /// To what.
    pub candidate: Binding,
    /// Why, in the person's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// The key that signs; a decision signed by any other key is refused.
    pub approver: KeyId,
    /// When, by the approver's clock.
    pub time: Timestamp,
}

impl Approval {
    pub(crate) fn check(&self) -> Result<()> {
        let found = self.comment.chars().count();
        if found > COMMENT_CHARS_MAX {
            return Err(Error::TooLarge { what: "comment", limit: COMMENT_CHARS_MAX, unit: "characters", found });
        }
        let Binding { check_results, sboms, provenances, .. } = &self.candidate;
        for (field, set) in [("checkResults", check_results), ("sboms", sboms), ("provenances", provenances)] {
            if set.is_empty() {
                return Err(Error::field(WHAT, format!("candidate.{field}"), "is empty: nothing was shown"));
            }
            if set.len() > EVIDENCE_MAX {
                return Err(Error::TooLarge { what: WHAT, limit: EVIDENCE_MAX, unit: field, found: set.len() });
            }
        }
        if self.candidate.index == Some(self.candidate.image) {
            return Err(Error::field(WHAT, "candidate.index", "is the image itself"));
        }
        Ok(())
    }
}
