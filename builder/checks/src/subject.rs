//! What is checked: one package, or one image with everything that is in it, as plain data.
//!
//! ```text
//! Subject ── platform                     what the recipe says it is for
//!         ├─ packages[]                   entries, licence, builds compared, tests
//!         ├─ image?                       manifest and config bytes, SBOM, the run; layers are read by digest
//!         ├─ previous?                    the last approved release, for the regression checks
//!         └─ plan?, advisories[], ...     judged elsewhere, passed in as data
//! ```
//! Whoever fills a subject says what it knows, never that something is fine. A fact that is missing where a check needs
//! it (an image without an SBOM, a package that was built only once) is a failed finding, not a pass.

use anneal_content::{BlobDigest, Entry, ImageName, OutputName, PackageName, TreeDigest, TreePath, Version};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that the checks may look at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What the subject was built for.
    pub platform: Platform,
    /// The packages: those of the image, or the package itself and its runtime closure.
    pub packages: Vec<Package>,
    /// The image; `None` when a package alone is checked.
    pub image: Option<Image>,
    /// The last approved release under the same name; `None` when there is none yet.
    pub previous: Option<Previous>,
    /// What the plan said would change since `previous`; required where `previous` is given.
    pub plan: Option<PlannedChange>,
    /// Every advisory that names one of the packages, judged against the versions in this subject.
    pub advisories: Vec<JudgedAdvisory>,
    /// Digests of files that must never be shipped.
    pub known_bad: BTreeSet<BlobDigest>,
}

/// An operating system and an architecture, in OCI's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Such as `linux`.
    pub os: String,
    /// Such as `amd64` or `arm64`.
    pub architecture: String,
}

/// One package.
#[derive(Debug, Clone)]
pub struct Package {
    /// Its name.
    pub name: PackageName,
    /// The version that was built.
    pub version: Version,
    /// The SPDX expression of its recipe.
    pub licence: String,
    /// The package URL of its recipe, with or without a version.
    pub purl: String,
    /// Whether findings are wanted about it.
    pub role: Role,
    /// The entries of its runtime outputs (not `dev` or `doc`), as they stand beneath `/`.
    pub entries: Vec<Entry>,
    /// The output trees of each build of its action: the build itself first, then the repetitions.
    pub builds: Vec<BTreeMap<OutputName, TreeDigest>>,
    /// What the same action gave when its surroundings were varied on purpose.
    pub trials: Vec<Trial>,
    /// What became of the tests of its recipe.
    pub tests: Tests,
}

/// One build of an action in other surroundings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// What was varied, such as `hostname`.
    pub varied: Vec<String>,
    /// The output trees.
    pub outputs: BTreeMap<OutputName, TreeDigest>,
}

/// Why a package is in the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is checked.
    Checked,
    /// It is only there so that libraries and interpreters of checked packages can be found.
    Closure,
}

/// What became of a recipe's tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tests {
    /// The recipe has none.
    None,
    /// They could not be run.
    NotRun {
        /// Why.
        why: String,
    },
    /// All steps succeeded.
    Passed {
        /// How many.
        steps: usize,
    },
    /// A step failed.
    Failed {
        /// Which, and how it ended.
        summary: String,
    },
}

/// One image.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its name.
    pub name: ImageName,
    /// The manifest's exact bytes. Its layers are opened by digest from the blob source.
    pub manifest: Vec<u8>,
    /// The configuration's exact bytes.
    pub config: Vec<u8>,
    /// The source epoch that every time in the image must equal, in seconds since 1970.
    pub epoch_secs: u64,
    /// How many layers the recipe allows.
    pub layer_budget: usize,
    /// Files, links and directories of the metadata layer: what the image recipe itself declares, `etc/passwd`
    /// included.
    pub own_paths: BTreeSet<TreePath>,
    /// The SPDX document's exact bytes.
    pub sbom: Option<Vec<u8>>,
    /// What happened when the image was run.
    pub run: Run,
}

/// What happened when an image was run in the sandbox.
#[derive(Debug, Clone)]
pub enum Run {
    /// The image has no entry point and no command: there is nothing to run.
    NothingToRun,
    /// It should have been run and was not.
    NotRun {
        /// Why.
        why: String,
    },
    /// It was run.
    Ran(RunFacts),
}

/// What was seen while the image ran.
#[derive(Debug, Clone)]
pub struct RunFacts {
    /// The command line that was run.
    pub argv: Vec<String>,
    /// How it ended, in words, such as `exit status 0` or `killed after 30 s`.
    pub ended: String,
    /// Whether its own program was executed at all.
    pub started: bool,
    /// For a service that is stopped at the end: whether it ended by itself after the stop signal. `None` for a
    /// command.
    pub stopped_cleanly: Option<bool>,
    /// The exit status; `None` when a signal or a limit ended it.
    pub exit_status: Option<i32>,
    /// The exit status that the recipe expects of a command; `None` for a service.
    pub expected_exit: Option<i32>,
    /// The HTTP request that was made, if the recipe has one.
    pub http: Option<HttpFacts>,
    /// Text that standard output must contain, and whether it did.
    pub output_contains: Option<(String, bool)>,
    /// The root file system was mounted read-only.
    pub read_only_root: bool,
    /// The process held no capability.
    pub no_capabilities: bool,
    /// `no_new_privs` was set.
    pub no_new_privileges: bool,
    /// It ran as the image's own user, as numeric `uid:gid`.
    pub user: String,
}

/// An HTTP request to a running image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpFacts {
    /// What was asked for, such as `:8080/`.
    pub request: String,
    /// The status that the recipe expects.
    pub expected_status: u16,
    /// The status that came back; `None` when no answer came.
    pub status: Option<u16>,
}

/// The last approved release.
#[derive(Debug, Clone)]
pub struct Previous {
    /// Its manifest and configuration; `None` when a package alone is checked.
    pub image: Option<PreviousImage>,
    /// Its packages.
    pub packages: Vec<PreviousPackage>,
}

/// The documents of the last approved image.
#[derive(Debug, Clone)]
pub struct PreviousImage {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The configuration's bytes.
    pub config: Vec<u8>,
}

/// A package of the last approved release.
#[derive(Debug, Clone)]
pub struct PreviousPackage {
    /// Its name.
    pub name: PackageName,
    /// The version it had.
    pub version: Version,
    /// The entries it had, as in [`Package::entries`].
    pub entries: Vec<Entry>,
    /// How the version in this subject compares with `version`.
    pub now: VersionChange,
}

/// How a new version compares with an old one, by the order of the package's ecosystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionChange {
    /// Later.
    Newer,
    /// The same.
    Same,
    /// Earlier: a downgrade.
    Older,
    /// The two cannot be ordered.
    Unknown {
        /// Why.
        why: String,
    },
    /// The package is no longer part of the subject.
    Gone,
}

/// What the plan said would change since the last approved release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlannedChange {
    /// Packages that are rebuilt or replaced: their files may change.
    pub rebuilt: BTreeSet<PackageName>,
    /// Packages that are new.
    pub added: BTreeSet<PackageName>,
    /// Packages that leave.
    pub removed: BTreeSet<PackageName>,
    /// The image recipe itself changed: its own files and settings may change.
    pub image_recipe_changed: bool,
}

/// One advisory, judged against one package of this subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedAdvisory {
    /// Its id.
    pub id: String,
    /// The package that it names.
    pub package: PackageName,
    /// Whether this advisory is why the subject was built.
    pub triggering: bool,
    /// The judgement.
    pub judgement: Judgement,
    /// The judgement's reason, as `anneal advisory explain` gives it.
    pub explanation: String,
    /// Why a human accepted it as not exploitable here; `None` when nobody did.
    pub accepted: Option<String>,
}

/// Whether an advisory hits a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It does.
    Affected,
    /// It does not.
    NotAffected,
    /// It cannot be told: never the same as not affected.
    Unknown,
}
