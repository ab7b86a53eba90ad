//! What a payload sees and what it may use: the input of every sandbox.

mod check;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a sandbox is for; decides the policy where kinds differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A build: addresses are laid out the same in each run.
    Build,
    /// A package's own tests: as a build.
    Test,
    /// A finished image: address layout is random, as it will be in production.
    Run,
}

/// Where the content of a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MountSource {
    /// Host directories shown as one, the first on top, read-only.
    Trees(Vec<PathBuf>),
    /// One host file, read-only.
    File(PathBuf),
    /// An empty file system in memory, writable, gone afterwards.
    Scratch {
        /// Size limit.
        bytes: u64,
        /// Limit of files.
        inodes: u64,
    },
    /// A host directory that takes what the payload writes. Some directory above it must be closed to other
    /// users, so that no one else reaches what a build makes; it is given to the user the payload runs as.
    Output(PathBuf),
}

/// Something that appears at a place in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Absolute path in the sandbox; it is made where it is missing.
    pub at: PathBuf,
    /// Its content.
    pub source: MountSource,
}

/// What a payload may use before it is ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Time from start to end.
    #[serde(with = "milliseconds", rename = "wall_ms")]
    pub wall: Duration,
    /// Time without a byte of output.
    #[serde(with = "milliseconds", rename = "silence_ms")]
    pub silence: Duration,
    /// Memory of all processes together, files in scratch mounts included.
    pub memory_bytes: u64,
    /// Processes and threads at one time.
    pub pids: u64,
    /// Bytes on standard output and error together.
    pub log_bytes: u64,
    /// Open files of each process.
    pub open_files: u64,
    /// Processors the payload sees and runs on.
    pub cpus: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(30 * 60),
            silence: Duration::from_secs(10 * 60),
            memory_bytes: 2 << 30,
            pids: 1024,
            log_bytes: 64 << 20,
            open_files: 1024,
            cpus: 2,
        }
    }
}

/// One HTTP request to the payload, made inside its own network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpProbe {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Path to ask for.
    pub path: String,
    /// Time from exec within which it must answer.
    #[serde(with = "milliseconds", rename = "ready_within_ms")]
    pub ready_within: Duration,
    /// The signal that then asks the payload to stop.
    pub stop_signal: i32,
}

/// Everything about one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What it is for.
    pub kind: Kind,
    /// Host directories that make up `/`, the first on top, read-only.
    pub root: Vec<PathBuf>,
    /// What appears beneath `/`; `/dev` and `/proc` are always made and can't be given.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Program and arguments. A program without a slash is looked for along the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Working directory in the sandbox.
    pub cwd: PathBuf,
    /// User id the payload sees.
    pub uid: u32,
    /// Group id the payload sees.
    pub gid: u32,
    /// Host name the payload sees.
    pub hostname: String,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// The request that decides when a server is up; it is then stopped.
    #[serde(default)]
    pub probe: Option<HttpProbe>,
    /// Whether `/` can be written; what is written is gone afterwards.
    #[serde(default)]
    pub writable_root: bool,
}

/// Durations as whole milliseconds.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
