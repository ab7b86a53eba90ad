//! Runs one command with nothing of the host in reach: no network, no file that was not given, no privilege.
//!
//! A [`Spec`] says what the payload sees. [`operations`] turns it into a list of [`Op`]s, as a pure function
//! whose result stands in `golden/sandbox/`. [`run`] hands the list to a small static single-threaded program,
//! embedded here and executed from a sealed memory file, which applies it: a process with threads can't enter a
//! user namespace itself. `run` returns only after every process of the sandbox is dead, so its outputs can no
//! longer change.

mod cancel;
mod cgroup;
mod control;
mod doctor;
mod error;
mod filter;
mod host;
mod launch;
mod outcome;
mod outlet;
mod plan;
mod pool;
mod program;
mod remove;
mod restore;
mod slot;
mod spec;
mod steward;
mod subordinate;
mod surroundings;
mod sweep;
mod temporary;
mod variation;
mod witness;

pub use anneal_sandbox_op::{Confinement, Op, listing};
pub use cancel::CancelToken;
pub use doctor::{Finding, Report, self_check};
pub use error::Error;
pub use host::{HostFacts, Users, first_id};
pub use launch::run;
#[cfg(feature = "negative-control")]
pub use launch::run_edited;
pub use outcome::{Ended, Outcome, ProbeResult, Usage};
pub use outlet::Outlet;
pub use plan::operations;
pub use pool::{MAX_AGE, Pool};
pub use remove::remove_tree;
pub use restore::give_back;
pub use spec::{HttpProbe, Kind, Limits, Mount, MountSource, Spec, Staging};
pub use surroundings::{CgroupKind, IdMode, Surroundings};
pub use sweep::{Swept, sweep, sweep_groups};
pub use temporary::TemporaryDirectory;
pub use variation::{Aspect, Variation};
pub use witness::{Attempt, RefusedAttempt, Trace};

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;
