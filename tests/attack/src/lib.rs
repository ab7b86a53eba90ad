//! The attack suite: every way out of a sandbox that has broken one before, tried on this very host.
//!
//! A probe is one function of a small static program ([`PROGRAM`]) and one entry of `probes.toml` ([`Table`]), which says
//! what it tries, what must stand on the host meanwhile ([`Stage`]) and how its negative control works: the same
//! probe with exactly the walls taken away that it is about ([`Pattern`]), which must then report an escape. A probe
//! that holds even then looks at the wrong place, and the suite fails for it. [`Suite::run`] runs all of it in one mode;
//! [`table_text`] is what a person reads.

mod companion;
mod judge;
mod pattern;
mod report;
mod stage;
mod suite;
mod table;
mod trial;

pub use judge::{Outcome, Verdict};
pub use pattern::Pattern;
pub use report::table_text;
pub use stage::Stage;
pub use suite::{Mode, Proof, Row, Suite};
pub use table::{Control, Elsewhere, Ending, Expectation, Need, Probe, Table};

/// The program that attacks, built by `build.rs`.
pub const PROGRAM: &[u8] = include_bytes!(env!("ANNEAL_ATTACK_PROGRAM"));
/// The table of probes.
pub const PROBES: &str = include_str!("../probes.toml");
/// Set by `under-key` where the session keyring holds a key that must not be found.
pub const KEY: &str = "ANNEAL_ATTACK_KEY";

/// Why the suite could not be run. What it found is no error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table of probes makes no sense.
    #[error("probes.toml: {0}")]
    Table(String),
    /// The host side of a probe could not be made.
    #[error("cannot {action} for an attack")]
    Stage {
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A sandbox refused to be made at all, for every probe alike.
    #[error(transparent)]
    Sandbox(#[from] anneal_sandbox::Error),
}

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;
