//! How a run ended and what can be said about it.

use anneal_sandbox_op::Confinement;
use serde::Serialize;

use crate::{RefusedAttempt, Surroundings, Trace};

/// What ended the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it, and no limit was involved.
    Signaled(i32),
    /// It ran longer than [`crate::Limits::wall`].
    WallLimit,
    /// It wrote nothing to its log for longer than [`crate::Limits::silence`].
    SilenceLimit,
    /// It needed more than [`crate::Limits::memory_bytes`].
    MemoryLimit,
    /// It wrote more than [`crate::Limits::log_bytes`].
    LogLimit,
    /// It wrote more than [`crate::Limits::output_bytes`] or [`crate::Limits::output_inodes`] to its outputs.
    OutputLimit,
    /// The caller cancelled it.
    Cancelled,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Signaled(signal) => write!(f, "was ended by signal {signal}"),
            Self::WallLimit => f.write_str("reached its limit of wall time"),
            Self::SilenceLimit => f.write_str("reached its limit of time without output"),
            Self::MemoryLimit => f.write_str("reached its limit of memory"),
            Self::LogLimit => f.write_str("reached its limit of log size"),
            Self::OutputLimit => f.write_str("reached its limit of output size or files"),
            Self::Cancelled => f.write_str("was cancelled"),
        }
    }
}

/// The answer to an [`crate::HttpProbe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProbeResult {
    /// HTTP status.
    pub status: u16,
    /// The first 64 KiB of the body.
    pub body: Vec<u8>,
    /// Milliseconds from exec to the whole answer.
    pub answered_after_ms: u64,
    /// Whether the payload ended in time when asked to.
    pub stopped_cleanly: bool,
}

/// What all processes of a run used together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Processor time in user mode, milliseconds.
    pub user_ms: u64,
    /// Processor time in the kernel, milliseconds.
    pub system_ms: u64,
    /// The largest resident size of any one process, KiB.
    pub max_rss_kib: u64,
}

/// The result of a run that could be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// What ended it.
    pub ended: Ended,
    /// When the payload's exec happened, nanoseconds of `CLOCK_MONOTONIC`.
    pub exec_ns: u64,
    /// When the payload's first process ended, nanoseconds of `CLOCK_MONOTONIC`.
    pub exit_ns: u64,
    /// When the run began, milliseconds of Unix time.
    pub started_ms: u64,
    /// Bytes the payload wrote to its log, the part beyond a limit included.
    pub log_bytes: u64,
    /// What held the payload, as the kernel told its own process just before exec; `None` where the run was ended before
    /// that.
    pub confinement: Option<Confinement>,
    /// What was asked for but can't be enforced on this host, each with the reason.
    pub limits_not_enforced: Vec<String>,
    /// What could not be fixed.
    pub surroundings: Surroundings,
    /// Processor time and memory, where the payload ended by itself.
    pub usage: Usage,
    /// The answer to the probe, if one was asked for and the payload answered in time.
    pub probe: Option<ProbeResult>,
    /// What the payload attempted and was refused, at most 64 different attempts, those of one sort at most 8.
    pub refused: Vec<RefusedAttempt>,
    /// Whether more was refused than is listed.
    pub refused_more: bool,
    /// What a run with [`crate::Spec::trace`] looked up.
    pub trace: Option<Trace>,
}

impl Outcome {
    /// Whether the payload ended by itself with code 0.
    pub fn succeeded(&self) -> bool {
        self.ended == Ended::Exited(0)
    }
}
