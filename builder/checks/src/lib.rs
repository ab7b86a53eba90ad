//! The verification suite: a package or an image, as data, gives findings; a policy makes a verdict of them.
//!
//! ```text
//! Subject + blobs ── observe ──> facts by digest ── checks() ──> Finding* ── Policy ──> Verdict
//! ```
//! A check passes only where it examined something: what is missing, unreadable or unknown fails it, and what does not
//! concern the subject says so. Pure: times, judgements and run results are arguments, and the same subject gives the
//! same findings, byte for byte.

mod catalogue;
mod documents;
mod error;
mod observe;
mod root;
mod run;
mod spdx;
mod subject;
mod suite;
mod verdict;
mod view;

pub use catalogue::{Check, checks};
pub use error::Error;
pub use observe::{
    Elf, ElfFacts, ElfKind, FILE_BYTES_MAX, FileFacts, FileKind, Known, LayerFacts, Member, MemberKind, Secret,
    SecretKind, Seen, Stack, Symbol,
};
pub use run::{FAILURES_TOLD_MAX, run, run_with};
pub use subject::{
    HttpFacts, Image, JudgedAdvisory, Judgement, Package, PlannedChange, Platform, Previous, PreviousImage,
    PreviousPackage, Role, Run, RunFacts, Subject, Tests, Trial, VersionChange,
};
pub use verdict::{Finding, Object, Outcome, Policy, Scope, Severity, Verdict, Waived, Waiver, judge};
