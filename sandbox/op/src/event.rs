//! What the init program tells the launcher while it works.

use serde::{Deserialize, Serialize};

/// An operation that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its place in the list, from zero.
    pub index: usize,
    /// The operation as the golden files print it.
    pub op: String,
    /// The system call or the check that failed.
    pub call: String,
    /// The error number of the kernel, or zero where it was a check.
    pub errno: i32,
}

/// The answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// HTTP status.
    pub status: u16,
    /// The first bytes of the body.
    pub body: Vec<u8>,
    /// Milliseconds from exec to the whole answer.
    pub answered_after_ms: u64,
    /// Whether the payload ended in time after the stop signal, by itself or by that signal.
    pub stopped_cleanly: bool,
}

/// What holds the payload, as the kernel says it just before exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Whether no program it executes gains privilege.
    pub no_new_privileges: bool,
    /// Whether all of its capability sets are empty, the bounding set among them.
    pub no_capabilities: bool,
    /// Whether `/` is mounted read-only.
    pub read_only_root: bool,
    /// Its user, as it sees it itself: real, effective and saved.
    pub uid: u32,
    /// Its group, as it sees it itself: real, effective and saved.
    pub gid: u32,
}

/// One report; times are nanoseconds of the host's `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Process 1 exists.
    Entered {
        /// Its id on the host.
        pid: i32,
    },
    /// A list is done, and process 1 waits for the next.
    Prepared,
    /// An operation failed; nothing more comes.
    Failed(Failure),
    /// The descriptor that comes with this message is the one by which the kernel asks about the payload's system calls.
    Listening,
    /// There is no such descriptor.
    Unheard {
        /// Why.
        reason: String,
    },
    /// The payload's process is as the payload will be; nothing but exec is left.
    Confined(Confinement),
    /// The payload's exec has happened.
    Started {
        /// When.
        exec_ns: u64,
    },
    /// Something the launcher wanted is not to be had on this host.
    Degraded {
        /// What, and why.
        what: String,
    },
    /// The payload has ended and every other process was told to.
    Ended {
        /// When the payload's first process ended.
        exit_ns: u64,
        /// Its exit code, if it exited.
        code: Option<i32>,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
        /// The answer to the probe, if one was asked for and answered.
        probe: Option<ProbeAnswer>,
    },
}
