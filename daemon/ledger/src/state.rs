//! The state that the events add up to.

use crate::{
    BranchCommit, CandidateId, CheckInputs, Decision, EvidenceRef, Hit, Kept, LayerRecord, PackageRecord, RevisionCause,
};
use anneal_content::{BlobDigest, CatalogDigest, DerivationId, ImageName, PackageName, Tag, Version};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything the journal says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The active catalog revision and its blob.
    pub revision: Option<(CatalogDigest, BlobDigest)>,
    /// Every revision that was ever active, with its cause, in order.
    pub revisions: Vec<(CatalogDigest, BlobDigest, RevisionCause)>,
    /// Where the catalogue is read from a branch: the commit that is in force, with the revision that its recipes are by
    /// themselves.
    #[serde(default)]
    pub branch: Option<Branch>,
    /// The branch's newest commit, while that is not taken.
    #[serde(default)]
    pub refused_commit: Option<RefusedCommit>,
    /// Advisory id to the newest record.
    pub advisories: BTreeMap<String, BlobDigest>,
    /// When each advisory was first imported, milliseconds since 1970.
    #[serde(skip)]
    pub advisory_times: BTreeMap<String, u64>,
    /// By advisory: which record was last judged, and against which revision. Going back to an earlier revision is
    /// judged again.
    #[serde(skip)]
    pub matched: BTreeMap<String, (BlobDigest, CatalogDigest)>,
    /// Packages that cases moved: from the release that the recipe files name, to the one that is built. Kept when a
    /// case is judged again, so that nothing moves back by itself.
    pub pins: BTreeMap<PackageName, (Version, Version)>,
    /// Cases by advisory id.
    pub cases: BTreeMap<String, Case>,
    /// Failed builds by derivation, until they succeed.
    pub failures: BTreeMap<DerivationId, Failure>,
    /// Derivations that did not come out the same in other surroundings, with the causes that were found. One run that
    /// does takes nothing back.
    #[serde(default)]
    pub irreproducible: BTreeMap<DerivationId, BTreeSet<String>>,
    /// Derivations of which a former result with other libraries is used.
    #[serde(default)]
    pub kept: BTreeMap<DerivationId, Kept>,
    /// Packages for which the cut-off by interface is withdrawn, each with the kept derivation that showed why.
    #[serde(default)]
    pub cut_off_withdrawn: BTreeMap<PackageName, DerivationId>,
    /// Derivations that are built though a former build might have been swapped in, each with the reason.
    #[serde(default)]
    pub swap_refused: BTreeMap<DerivationId, String>,
    /// Every image ever assembled, by manifest digest.
    pub images: BTreeMap<BlobDigest, Image>,
    /// The manifest that a wanted image turned out to be.
    pub assembled: BTreeMap<DerivationId, BlobDigest>,
    /// Candidates by number.
    pub candidates: BTreeMap<CandidateId, Candidate>,
    /// Enrolled approvers by key id.
    pub approvers: BTreeMap<String, Approver>,
    /// Publications in order.
    pub publications: Vec<Publication>,
}

/// The commit that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// It.
    pub at: BranchCommit,
    /// The revision that its recipes are by themselves, without the releases that cases chose.
    pub files: CatalogDigest,
}

/// A commit that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCommit {
    /// Which.
    pub at: BranchCommit,
    /// Every mistake of it.
    pub why: String,
    /// Since when, milliseconds since 1970.
    pub at_ms: u64,
}

/// Where a case stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum CaseStatus {
    /// Affected; no remediation chosen yet.
    Open,
    /// A revision leaves the affected ranges; images are on their way.
    Remediating {
        /// That revision.
        revision: CatalogDigest,
    },
    /// Nothing known helps.
    Blocked {
        /// The revision that was looked at.
        revision: CatalogDigest,
        /// What is being waited for.
        why: String,
    },
    /// Every image that was touched is published without it, or rejected.
    Closed,
}

/// What an advisory opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The advisory.
    pub advisory: String,
    /// When it was opened, milliseconds since 1970.
    pub opened_ms: u64,
    /// When the advisory was imported.
    pub imported_ms: u64,
    /// What was hit.
    pub hits: Vec<Hit>,
    /// Images that contain a hit.
    pub images: Vec<ImageName>,
    /// What was chosen: package, from, to.
    pub bumps: Vec<(PackageName, Version, Version)>,
    /// The plan as JSON.
    pub plan: Option<BlobDigest>,
    /// Where it stands.
    #[serde(flatten)]
    pub status: CaseStatus,
}

/// A build that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The package.
    pub package: PackageName,
    /// The error and the last lines of the log.
    pub summary: String,
    /// The whole log.
    pub log: Option<BlobDigest>,
    /// When.
    pub at_ms: u64,
    /// When it may be tried again.
    pub retry_after_ms: u64,
}

/// An image that was assembled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its name.
    pub name: ImageName,
    /// Its manifest.
    pub manifest: BlobDigest,
    /// The index that lists it.
    pub index: BlobDigest,
    /// The revision it was first built from.
    pub revision: CatalogDigest,
    /// Its layers, lowest first.
    pub layers: Vec<LayerRecord>,
    /// Its packages.
    pub packages: Vec<PackageRecord>,
    /// When.
    pub at_ms: u64,
    /// Passed, counts, results.
    pub verdict: Option<(bool, (u32, u32, u32), BlobDigest)>,
    /// What the verdict was given against.
    #[serde(default)]
    pub judged_against: Option<CheckInputs>,
    /// Signed statements.
    pub evidence: Vec<EvidenceRef>,
    /// The lock of the build root that it was built in; with it and its catalogue it can be built again.
    #[serde(default)]
    pub build_root: Option<BlobDigest>,
    /// Since when its bytes are no longer kept.
    #[serde(default)]
    pub collected_ms: Option<u64>,
}

impl Image {
    /// Whether the verification suite refused it.
    pub fn failed(&self) -> bool {
        self.verdict.is_some_and(|(passed, ..)| !passed)
    }
}

/// Where a candidate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum CandidateStatus {
    /// Awaits a human.
    Open,
    /// Approved; publication follows.
    Approved,
    /// Rejected.
    Rejected,
    /// A newer one took its place.
    Superseded {
        /// The newer one.
        by: CandidateId,
    },
    /// Published.
    Published,
}

impl CandidateStatus {
    /// The status as a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Superseded { .. } => "superseded",
            Self::Published => "published",
        }
    }
}

/// An image that awaits, or had, a human's decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its number.
    pub id: CandidateId,
    /// The image.
    pub image: ImageName,
    /// The manifest.
    pub manifest: BlobDigest,
    /// The index.
    pub index: BlobDigest,
    /// Tags that publication moves.
    pub tags: Vec<Tag>,
    /// Advisories it fixes.
    pub fixes: Vec<String>,
    /// What the approver is shown.
    pub diff: BlobDigest,
    /// When it was opened.
    pub opened_ms: u64,
    /// Decision, key id, signed statement, time.
    pub decision: Option<(Decision, String, BlobDigest, u64)>,
    /// Where it stands.
    #[serde(flatten)]
    pub status: CandidateStatus,
}

/// Somebody whose decisions count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approver {
    /// Who.
    pub name: String,
    /// SPKI in PEM.
    pub public_key: String,
    /// Why it was revoked, if it was.
    pub revoked: Option<String>,
}

/// Tags that moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// The candidate.
    pub candidate: CandidateId,
    /// The image.
    pub image: ImageName,
    /// The manifest.
    pub manifest: BlobDigest,
    /// The index, which the tags name.
    pub index: BlobDigest,
    /// The tags.
    pub tags: Vec<Tag>,
    /// The release key's statements.
    pub evidence: Vec<EvidenceRef>,
    /// Extra manifests by tag.
    pub extra_tags: BTreeMap<Tag, BlobDigest>,
    /// When.
    pub at_ms: u64,
    /// Since when it is not served any more.
    #[serde(default)]
    pub withdrawn_ms: Option<u64>,
}

impl State {
    /// The commit that a revision's recipes are of, where they are of one.
    pub fn commit_of(&self, revision: &CatalogDigest) -> Option<&BranchCommit> {
        self.revisions.iter().rev().find(|(known, ..)| known == revision).and_then(|(.., cause)| cause.commit())
    }

    /// The newest publication of an image.
    pub fn published(&self, image: &ImageName) -> Option<&Publication> {
        self.publications.iter().rev().find(|p| p.image == *image)
    }

    /// The advisories that touched an image in any way, each with its newest record: a verdict that was given before one
    /// of them was known is stale.
    pub fn advisories_of(&self, image: &ImageName) -> BTreeMap<String, BlobDigest> {
        let cases = self.cases.values().filter(|case| case.images.contains(image));
        cases.filter_map(|case| Some((case.advisory.clone(), *self.advisories.get(&case.advisory)?))).collect()
    }

    /// What a verdict about an image would be given against now.
    pub fn check_inputs(&self, image: &ImageName, manifest: &BlobDigest, policy: BlobDigest) -> CheckInputs {
        let previous = self.published(image).map(|p| p.manifest).filter(|published| published != manifest);
        let irreproducible = self.irreproducible_of(manifest);
        CheckInputs { advisories: self.advisories_of(image), previous, policy, irreproducible }
    }

    /// The packages of an image that are known not to be reproducible, each with the causes.
    pub fn irreproducible_of(&self, manifest: &BlobDigest) -> BTreeMap<PackageName, BTreeSet<String>> {
        let packages = self.images.get(manifest).into_iter().flat_map(|image| &image.packages);
        let known = |package: &PackageRecord| {
            Some((package.name.clone(), self.irreproducible.get(&package.derivation)?.clone()))
        };
        packages.filter_map(known).collect()
    }

    /// The newest candidate of an image, decided or not.
    pub fn newest_candidate(&self, image: &ImageName) -> Option<&Candidate> {
        self.candidates.values().rev().find(|c| c.image == *image)
    }

    /// The number that the next candidate gets.
    pub fn next_candidate(&self) -> CandidateId {
        CandidateId(self.candidates.keys().next_back().map_or(1, |last| last.0 + 1))
    }
}
