//! The events of the journal, as they are stored: one JSON object each, tagged by `event`.

use crate::{BranchCommit, Ground, Linked, RevisionCause, Settling, Withdrawal};
use anneal_content::{
    ActionDigest, BlobDigest, CatalogDigest, CommitId, DerivationId, ImageName, PackageName, Tag, TreeDigest, Version,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

/// Names a candidate: its number in the order of opening, shown as `c7`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CandidateId(pub u64);

impl fmt::Display for CandidateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("c{}", self.0))
    }
}

impl FromStr for CandidateId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.strip_prefix('c').unwrap_or(text).parse().map(Self).map_err(|_| {
            format!("`{text}` is not a candidate: expected `c` and a number, as `anneal candidate list` shows")
        })
    }
}

/// An event with the time it was recorded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// How certain a hit is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HitKind {
    /// The version lies in an affected range.
    Affected,
    /// It could not be decided; never treated as safe.
    Unknown,
}

/// A package that an advisory touches.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hit {
    /// Which package.
    pub package: PackageName,
    /// The version that was judged.
    pub version: Version,
    /// How certain.
    pub kind: HitKind,
    /// The reason in words: record, range, comparator.
    pub explanation: String,
}

/// What a process ran for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayloadKind {
    /// A package's build.
    Build,
    /// A package's or an image's test.
    Test,
    /// A second build that only proves that the first is reproducible.
    Proof,
}

/// An interval in which a build's or a test's own process ran, exec to exit, milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Payload {
    /// What it was.
    pub kind: PayloadKind,
    /// Exec.
    pub start_ms: u64,
    /// Exit.
    pub end_ms: u64,
}

/// One layer of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The compressed layer.
    pub digest: BlobDigest,
    /// Its size in bytes.
    pub size: u64,
    /// The packages in it; empty for the metadata layer.
    pub packages: Vec<PackageName>,
}

/// One package of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PackageRecord {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// The derivation that it was shipped for.
    pub derivation: DerivationId,
    /// The runtime output.
    pub tree: TreeDigest,
    /// Where a former build is swapped in: the derivation that the catalogue asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_place_of: Option<DerivationId>,
}

/// What a verdict depends on beside the image's own bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckInputs {
    /// The advisories that touch the image, each with its record.
    pub advisories: BTreeMap<String, BlobDigest>,
    /// The publication that it was compared with.
    pub previous: Option<BlobDigest>,
    /// Waivers and tests of the recipes.
    pub policy: BlobDigest,
    /// Packages of it that were known not to be reproducible, each with the causes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub irreproducible: BTreeMap<PackageName, BTreeSet<String>>,
}

/// A signed statement about an image, kept outside of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EvidenceRef {
    /// What it says.
    pub predicate_type: String,
    /// The role of the key that signed it.
    pub role: String,
    /// The bundle.
    pub bundle: BlobDigest,
    /// The OCI manifest that attaches it to the image.
    pub referrer: BlobDigest,
}

/// A human's decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Publish it.
    Approve,
    /// Never publish it.
    Reject,
}

/// A fact. Kept for ever; a variant may gain optional fields and never loses one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A catalog revision became the active one.
    CatalogImported {
        /// The revision.
        revision: CatalogDigest,
        /// The revision as a blob.
        blob: BlobDigest,
        /// Why.
        cause: RevisionCause,
    },
    /// The branch that is followed had another commit whose recipes were taken, though they may be what is active already.
    BranchFollowed {
        /// That commit.
        at: BranchCommit,
        /// The revision that its recipes are by themselves, without the releases that cases chose.
        files: CatalogDigest,
        /// Where the branch was rewritten: the commit that was followed before, and that is no part of it any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<CommitId>,
    },
    /// The branch that is followed has a commit that was not taken. What was taken before stays in force.
    CommitRefused {
        /// That commit.
        at: BranchCommit,
        /// Every mistake of it.
        why: String,
        /// Where the branch was rewritten: the commit that is in force, and that is no part of it any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<CommitId>,
    },
    /// An advisory record was taken in (a changed record is a new event).
    AdvisoryImported {
        /// Its id.
        id: String,
        /// The record's bytes.
        record: BlobDigest,
    },
    /// An advisory was judged against every package of a revision.
    AdvisoryMatched {
        /// Its id.
        id: String,
        /// The record that was judged.
        record: BlobDigest,
        /// The revision.
        revision: CatalogDigest,
        /// What it touches.
        hits: Vec<Hit>,
        /// The images that contain a package that it touches.
        images: Vec<ImageName>,
    },
    /// Releases were chosen that leave the advisory's ranges.
    RemediationChosen {
        /// The advisory.
        advisory: String,
        /// Package, from, to.
        bumps: Vec<(PackageName, Version, Version)>,
        /// The revision that this makes.
        revision: CatalogDigest,
        /// The plan as JSON, made before anything ran.
        plan: BlobDigest,
    },
    /// No listed release leaves the advisory's ranges, or a human must judge.
    CaseBlocked {
        /// The advisory.
        advisory: String,
        /// The revision that was looked at.
        revision: CatalogDigest,
        /// What is being waited for.
        why: String,
    },
    /// A step of a plan was done.
    PackageBuilt {
        /// The package.
        package: PackageName,
        /// Its version.
        version: Version,
        /// The derivation.
        derivation: DerivationId,
        /// The action it resolved to.
        action: ActionDigest,
        /// Whether the action cache had it (early cut-off).
        cached: bool,
        /// What ran for it.
        payloads: Vec<Payload>,
    },
    /// A package was not built again, though libraries that it links came out otherwise. Its former result is used: what it
    /// can see of them is the same, and a build with the libraries as they are now is to prove it; or it runs with them, and
    /// such a build is to take its place.
    PackageKept {
        /// The package.
        package: PackageName,
        /// Its version.
        version: Version,
        /// The derivation.
        derivation: DerivationId,
        /// The action, of which the former result is used.
        action: ActionDigest,
        /// The libraries.
        linked: BTreeMap<PackageName, Linked>,
        /// Why it may be.
        #[serde(default, skip_serializing_if = "Ground::is_interface")]
        ground: Ground,
    },
    /// A package was not swapped though policy allows it, so it is built.
    SwapRefused {
        /// The package.
        package: PackageName,
        /// Its version.
        version: Version,
        /// The derivation.
        derivation: DerivationId,
        /// What is in the way.
        why: String,
        /// What ran to find out.
        payloads: Vec<Payload>,
    },
    /// A swapped package is not to be used any more, or can't be replaced.
    SwapSettled {
        /// The package.
        package: PackageName,
        /// The derivation in whose place it was used.
        derivation: DerivationId,
        /// What its build with the libraries as they are now showed.
        settling: Settling,
        /// What ran for it.
        payloads: Vec<Payload>,
    },
    /// A kept package was built with the libraries as they are now, and came out the same, bit for bit.
    KeptProved {
        /// The package.
        package: PackageName,
        /// The derivation.
        derivation: DerivationId,
        /// The action that was built, with every input by content.
        action: ActionDigest,
        /// What ran for it.
        payloads: Vec<Payload>,
    },
    /// A kept package did not come out the same: it reads more of what it links than the interface. From now on no build of
    /// it is kept unless all its inputs are the same, byte for byte.
    CutOffWithdrawn {
        /// The package.
        package: PackageName,
        /// The derivation that was kept.
        derivation: DerivationId,
        /// The action that was built, with every input by content.
        action: ActionDigest,
        /// What differed.
        why: String,
        /// What ran for it.
        payloads: Vec<Payload>,
    },
    /// A package was built again in other surroundings, and compared.
    PackageTried {
        /// The package.
        package: PackageName,
        /// Its version.
        version: Version,
        /// The derivation.
        derivation: DerivationId,
        /// The action that was tried.
        action: ActionDigest,
        /// What was varied at once.
        varied: BTreeSet<String>,
        /// Why it came out otherwise; nothing where it came out the same.
        causes: BTreeSet<String>,
        /// What ran for it.
        payloads: Vec<Payload>,
    },
    /// A build failed.
    BuildFailed {
        /// The package.
        package: PackageName,
        /// The derivation.
        derivation: DerivationId,
        /// The error, with the last lines of the log.
        summary: String,
        /// The whole log, if there is one.
        log: Option<BlobDigest>,
        /// When it may be tried again, milliseconds since 1970.
        retry_after_ms: u64,
    },
    /// An image was put together.
    ImageAssembled {
        /// The image.
        image: ImageName,
        /// The wanted image that this is: recipe and package derivations.
        key: DerivationId,
        /// The revision that it was built from.
        revision: CatalogDigest,
        /// The image's manifest.
        manifest: BlobDigest,
        /// The index that lists it.
        index: BlobDigest,
        /// Its layers, lowest first.
        layers: Vec<LayerRecord>,
        /// Its packages.
        packages: Vec<PackageRecord>,
    },
    /// An image is to be checked again: the suite or the host may have changed.
    CheckAsked {
        /// The manifest.
        manifest: BlobDigest,
    },
    /// The verification suite ran.
    ImageJudged {
        /// The manifest.
        manifest: BlobDigest,
        /// Whether policy lets it pass.
        passed: bool,
        /// How many checks passed, warned, failed.
        counts: (u32, u32, u32),
        /// The findings and verdict, as JSON.
        results: BlobDigest,
        /// What it was given against; a verdict without it is stale.
        #[serde(default)]
        against: Option<CheckInputs>,
        /// What ran for it.
        payloads: Vec<Payload>,
    },
    /// SBOM, provenance and results were signed and attached.
    EvidenceSigned {
        /// The manifest.
        manifest: BlobDigest,
        /// The statements.
        evidence: Vec<EvidenceRef>,
        /// The lock of the build root that all of it was built in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        build_root: Option<BlobDigest>,
    },
    /// An image awaits a human.
    CandidateOpened {
        /// Its number.
        candidate: CandidateId,
        /// The image.
        image: ImageName,
        /// The manifest.
        manifest: BlobDigest,
        /// The index.
        index: BlobDigest,
        /// Tags that publication will move.
        tags: Vec<Tag>,
        /// Advisories that it fixes.
        fixes: Vec<String>,
        /// What changed since the last publication, as JSON: what the approver is shown.
        diff: BlobDigest,
    },
    /// An approver's public key was enrolled.
    ApproverEnrolled {
        /// SHA-256 of the key's SubjectPublicKeyInfo, hex.
        key_id: String,
        /// Who.
        name: String,
        /// SPKI in PEM.
        public_key: String,
    },
    /// An approver's key is no longer accepted.
    ApproverRevoked {
        /// The key.
        key_id: String,
        /// Why.
        reason: String,
    },
    /// A human decided; the statement is theirs, signed with their key and verified before this was recorded.
    Decided {
        /// The candidate.
        candidate: CandidateId,
        /// The manifest that the statement names.
        manifest: BlobDigest,
        /// What they decided.
        decision: Decision,
        /// The approver's key.
        key_id: String,
        /// The signed statement.
        statement: BlobDigest,
    },
    /// Nothing needed these images any more: their bytes are on their way out of the store. What was found and decided
    /// about them stays.
    ImagesCollected {
        /// The manifests.
        manifests: Vec<BlobDigest>,
    },
    /// Retention ended the time for which these publications are served: from now on they are not, and their bytes may
    /// be collected. What was found, decided and signed about them stays.
    PublicationsWithdrawn {
        /// Which, and by which rule.
        withdrawals: Vec<Withdrawal>,
    },
    /// The journal was put back to what a backup had; what came after is lost.
    Restored {
        /// The backup's generation.
        backup: u64,
        /// How many events the backup had: the number of this event.
        events: u64,
        /// Who did it, in their own words.
        by: String,
        /// The record of it that the log key signed; only this proves anything.
        record: String,
    },
    /// Tags moved.
    Published {
        /// The candidate.
        candidate: CandidateId,
        /// The release key's signatures and further evidence.
        evidence: Vec<EvidenceRef>,
        /// Extra manifests to serve under a tag, such as cosign's legacy signature.
        extra_tags: BTreeMap<Tag, BlobDigest>,
    },
}
