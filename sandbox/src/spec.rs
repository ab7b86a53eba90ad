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

/// How the trees of a spec come into the sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Staging {
    /// As they are, shown through overlays and binds; costs nothing, however large they are.
    #[default]
    InPlace,
    /// As copies on a fresh file system in memory, made for this run.
    Copied {
        /// Size limit of the copy of each mount.
        bytes: u64,
        /// Limit of files of each.
        inodes: u64,
        /// Whether names are made in reverse order, which is how a tmpfs lists them.
        reversed: bool,
    },
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

/// What a payload may use before it is ended. A limit that JSON does not name is the usual one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
    /// Bytes on disk of everything in the output directories together. A host directory has no quota of its own, so
    /// it is measured again and again while the payload runs; the outcome says how often.
    pub output_bytes: u64,
    /// Files and directories in the output directories together, measured likewise.
    pub output_inodes: u64,
    /// Bytes a second that are taken from standard output and error; a payload that writes faster waits.
    pub log_bytes_per_second: u64,
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
            output_bytes: 8 << 30,
            output_inodes: 1 << 20,
            log_bytes_per_second: 64 << 20,
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
    /// How trees come in.
    #[serde(default)]
    pub staging: Staging,
    /// The mask for the permission bits of new files.
    #[serde(default = "umask")]
    pub umask: u32,
    /// Whether memory is laid out at the same addresses in each run; without a word it is for builds and tests.
    #[serde(default)]
    pub fixed_addresses: Option<bool>,
    /// Whether the outcome lists what was read outside the declared inputs and what of them was never read.
    #[serde(default)]
    pub trace: bool,
    /// Whether to refuse where this host can't enforce a limit or a wall, rather than to say so in the outcome.
    #[serde(default)]
    pub strict: bool,
}

fn umask() -> u32 {
    0o022
}

impl Spec {
    /// What holds where nothing else is said: user 1000, `/` as working directory, the usual limits. A root and an
    /// `argv` have to be added.
    pub fn of(kind: Kind) -> Self {
        Self {
            kind,
            root: Vec::new(),
            mounts: Vec::new(),
            argv: Vec::new(),
            env: BTreeMap::new(),
            cwd: PathBuf::from("/"),
            uid: 1000,
            gid: 1000,
            hostname: "anneal".to_owned(),
            limits: Limits::default(),
            probe: None,
            writable_root: false,
            staging: Staging::InPlace,
            umask: umask(),
            fixed_addresses: None,
            trace: false,
            strict: false,
        }
    }
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
