//! Why an event cannot follow the ones before it.

use crate::CandidateId;
use anneal_content::{BlobDigest, DerivationId, PackageName};

/// A promise that the event would break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The candidate does not exist.
    #[error("there is no candidate {0}; `anneal candidate list` shows those there are")]
    NoCandidate(CandidateId),
    /// A newer candidate of the image exists.
    #[error("candidate {candidate} of {image} was superseded by {by}: look at that one instead")]
    Superseded {
        /// The candidate.
        candidate: CandidateId,
        /// Its image.
        image: String,
        /// The newer one.
        by: CandidateId,
    },
    /// The candidate has been decided.
    #[error("candidate {candidate} is already {status}")]
    NotOpen {
        /// The candidate.
        candidate: CandidateId,
        /// What it is.
        status: &'static str,
    },
    /// A statement is about another image.
    #[error("the statement names {named}, but candidate {candidate} is {expected}")]
    WrongDigest {
        /// The candidate.
        candidate: CandidateId,
        /// What the candidate is.
        expected: BlobDigest,
        /// What the statement names.
        named: BlobDigest,
    },
    /// The approver is not enrolled, or no longer.
    #[error("key {key_id} is not an enrolled approver's; `anneal key list` shows those that are")]
    UnknownApprover {
        /// The key.
        key_id: String,
    },
    /// A key that was withdrawn stays withdrawn.
    #[error("key {key_id} was revoked ({reason}); make a new one with `anneal key new`")]
    Revoked {
        /// The key.
        key_id: String,
        /// Why it was revoked.
        reason: String,
    },
    /// The verdict does not know of an advisory.
    #[error(
        "image {manifest} was checked before {advisories} touched it: it is checked again, or a newer candidate is on its way"
    )]
    Stale {
        /// The manifest.
        manifest: BlobDigest,
        /// What came since.
        advisories: String,
    },
    /// The image did not pass its checks, was not checked, or lacks evidence.
    #[error("image {manifest} cannot go on: {missing}")]
    NotReady {
        /// The manifest.
        manifest: BlobDigest,
        /// What is missing.
        missing: &'static str,
    },
    /// The image's bytes are no longer kept.
    #[error("image {manifest} was collected by retention; build it again with the catalogue that asks for it")]
    Collected {
        /// The manifest.
        manifest: BlobDigest,
    },
    /// An image that is needed cannot be collected.
    #[error("image {manifest} is not collected: {by}")]
    Needed {
        /// The manifest.
        manifest: BlobDigest,
        /// What needs it.
        by: String,
    },
    /// A publication that stays, whatever retention says.
    #[error("publication {candidate} is not withdrawn: {by}")]
    Kept {
        /// The candidate.
        candidate: CandidateId,
        /// What keeps it.
        by: String,
    },
    /// What is not served cannot be withdrawn.
    #[error("candidate {0} is not served: it was never published, or was withdrawn before")]
    NotServed(CandidateId),
    /// A build is kept whose package was seen to read more than the interface of what it links.
    #[error("{package} is not kept: the cut-off by interface is withdrawn for it, so it is built again")]
    CutOffWithdrawn {
        /// The package.
        package: PackageName,
    },
    /// What a proof showed doesn't change.
    #[error("the kept build of derivation {derivation} was compared with its proof before")]
    Proved {
        /// The derivation.
        derivation: DerivationId,
    },
    /// What a swapped build was settled as doesn't change.
    #[error("the build that was swapped in for derivation {derivation} is settled, or was never swapped in")]
    Settled {
        /// The derivation.
        derivation: DerivationId,
    },
    /// A publication without an approval.
    #[error("candidate {0} is not approved, so no tag moves")]
    NotApproved(CandidateId),
    /// The event names something that no earlier event introduced.
    #[error("{what} {name} is unknown to the journal")]
    Unknown {
        /// What kind of thing.
        what: &'static str,
        /// Which.
        name: String,
    },
}
