//! What can be wrong with the use of the suite itself. What is wrong with a subject is a finding, never an error.

use anneal_content::CheckId;

/// A mistake in a policy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A waiver names a check that does not exist.
    #[error("waiver for {scope}: there is no check {check}{hint}; `anneal image check` shows the ids")]
    UnknownCheck {
        /// What was named.
        check: CheckId,
        /// The package or image that the waiver is for.
        scope: String,
        /// The nearest id, as `; did you mean ELF-02?`, or nothing.
        hint: String,
    },
    /// A waiver has no reason.
    #[error(
        "waiver of {check} for {scope}: no reason is given; say in {least} characters or more why it is acceptable"
    )]
    NoReason {
        /// The check.
        check: CheckId,
        /// The package or image that the waiver is for.
        scope: String,
        /// How long a reason must be.
        least: usize,
    },
    /// Two waivers are for the same check and scope.
    #[error("waiver of {check} for {scope}: it is given twice; keep one and put both reasons into it")]
    Twice {
        /// The check.
        check: CheckId,
        /// The package or image that the waiver is for.
        scope: String,
    },
    /// The suite's own table is wrong.
    #[error("check table: {id:?} is not a check id; expected 2 to 4 capital letters, `-` and two digits")]
    Table {
        /// The id.
        id: &'static str,
    },
}
