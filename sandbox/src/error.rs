//! Why a sandbox could not be made. How a payload ended is no error: that is an `Outcome`.

use std::io;
use std::path::PathBuf;

/// What went wrong before, around or in the making of a sandbox.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the spec can't be used.
    #[error("sandbox spec: {field} is `{found}`, expected {expected}")]
    Spec {
        /// The field, as `mounts[2].at`.
        field: String,
        /// What it says.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// The JSON of a spec is not one.
    #[error(
        "sandbox spec: {reason}; docs/sandbox-spec.schema.json has the fields, docs/examples/sandbox an example of each kind"
    )]
    Json {
        /// What is wrong, and where: line and column.
        reason: String,
    },
    /// A host path the spec names is not there or not what it should be.
    #[error("sandbox spec: {field} names {path:?}, expected {expected}; make it, or correct the field")]
    HostPath {
        /// The field, as `root[0]`.
        field: String,
        /// The path.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An output directory could be reached by other users of the host.
    #[error(
        "sandbox spec: {field} names output directory {path:?}, which other users can reach; put it beneath a directory of mode 0700"
    )]
    OutputExposed {
        /// The field, as `mounts[2].source`.
        field: String,
        /// The directory.
        path: PathBuf,
    },
    /// An output directory could not be given to the user of the run.
    #[error(
        "cannot give output directory {path:?} to the payload's user; put it on a file system with owners of files"
    )]
    OutputKept {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What a payload made could not be made the caller's again.
    #[error("cannot take the outputs of a sandbox back from its user; `anneal` removes them when it starts again")]
    OutputLost {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The spec is strict and this host can't enforce all of it.
    #[error("strict: this host can't enforce {}", gaps.join("; "))]
    NotEnforced {
        /// What is not enforced and why, each with what to do about it.
        gaps: Vec<String>,
    },
    /// The payload could not be executed.
    #[error(
        "sandbox spec: argv[0] is `{}`, which cannot be executed in the sandbox (looked for along PATH unless it has a slash); check that its tree is mounted and its interpreter with it",
        program.escape_debug()
    )]
    Exec {
        /// `argv[0]`.
        program: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something could not be mounted where the spec wants it.
    #[error("sandbox spec: {field} can't be made at {at:?} ({call}), expected {expected}")]
    Mount {
        /// The field, as `mounts[2].at`.
        field: String,
        /// The place in the sandbox.
        at: PathBuf,
        /// What the field should say.
        expected: &'static str,
        /// The system call or check.
        call: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The host does not let anyone make user namespaces.
    #[error("this host forbids user namespaces: {setting}")]
    NamespacesForbidden {
        /// The setting that forbids it and the value it needs.
        setting: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// An operation failed.
    #[error("sandbox operation {index} `{op}` failed at {call}; `anneal sandbox probe` shows what this host allows")]
    Operation {
        /// Place in the list.
        index: usize,
        /// The operation as text.
        op: String,
        /// The system call or check.
        call: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The init program ended without a word.
    #[error("sandbox init ended ({how}) before the payload did; see the kernel log for an out-of-memory kill")]
    InitLost {
        /// How it ended.
        how: String,
    },
    /// The init program said something that makes no sense.
    #[error("sandbox init broke the control protocol: {reason}")]
    Control {
        /// What was wrong.
        reason: String,
    },
    /// A system call of the launcher failed.
    #[error("cannot {action} for a sandbox")]
    Launch {
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The log could not be written on.
    #[error("cannot write the log of a sandbox; it was ended")]
    Log {
        /// What the writer said.
        #[source]
        source: io::Error,
    },
    /// What a killed run left to a payload's user could not be given back.
    #[error(
        "cannot make {path} the caller's again; see that it is a directory and that no run uses it, or ask root to change its owner"
    )]
    NotGivenBack {
        /// The directory.
        path: PathBuf,
        /// What was in the way.
        #[source]
        source: io::Error,
    },
    /// Something a killed run left could not be removed.
    #[error("cannot remove {path}, left by an earlier run; remove it by hand")]
    Sweep {
        /// What is in the way.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
