//! What a builder says while it works, for people to watch and for the clock of a case.

use anneal_content::{BlobDigest, ImageName, PackageName, Version};
use serde::{Deserialize, Serialize};

/// What a process ran for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// A package's build.
    Build,
    /// Its repetition, which proves that the result is reproducible.
    Proof,
    /// A package's or an image's test.
    Test,
    /// A build once more in other surroundings, to see whether they show in the result.
    Trial,
    /// A build with the libraries as they are now, in place of which one with others was kept.
    Kept,
}

/// An interval in which a build's or a test's own process ran, exec to exit, milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// What it was.
    pub phase: Phase,
    /// Exec.
    pub start_ms: u64,
    /// Exit.
    pub end_ms: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "progress")]
pub enum Progress {
    /// A file is being fetched.
    Fetching {
        /// Its name.
        file: String,
        /// Its size.
        bytes: u64,
    },
    /// A file is in the archive.
    Fetched {
        /// Its name.
        file: String,
        /// Where it came from.
        place: String,
    },
    /// The build root is being put together.
    BuildRoot {
        /// Packages done.
        done: usize,
        /// Packages in all.
        of: usize,
    },
    /// A package's processes start.
    Started {
        /// The package.
        package: PackageName,
        /// Its version.
        version: Version,
        /// What for.
        phase: Phase,
    },
    /// A package is there.
    Built {
        /// The package.
        package: PackageName,
        /// Its version.
        version: Version,
        /// Whether the action cache had it.
        cached: bool,
        /// Whether the repetition gave the same bytes.
        reproducible: bool,
        /// What ran for it.
        ran: Vec<Ran>,
    },
    /// A package's tests ran.
    Tested {
        /// The package.
        package: PackageName,
        /// Whether they passed.
        passed: bool,
    },
    /// A package could not be built.
    Failed {
        /// The package.
        package: PackageName,
        /// The error, with the last lines of the log.
        summary: String,
        /// The whole log.
        log: Option<BlobDigest>,
    },
    /// An image is there.
    Assembled {
        /// The image.
        image: ImageName,
        /// Its manifest.
        manifest: BlobDigest,
    },
}
