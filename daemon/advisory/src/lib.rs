//! Advisories: OSV records read and checked, versions ordered as their ecosystem orders them, and the question
//! "does this record affect this component?" answered with a reason.
//!
//! Pure: no clock, no disk, no network. What cannot be decided is said to be [`Judgement::Unknown`] and is never
//! taken for safe: a missed hit costs more than a question to a human.

mod ecosystem;
mod error;
mod judge;
mod order;
mod parse;
mod record;
mod remediate;

pub use error::Error;
pub use judge::{Component, Judgement, judge, percent_decoded};
pub use order::{Unknown, compare};
pub use parse::{DEPTH_LIMIT, ID_LIMIT, SIZE_LIMIT, TEXT_LIMIT, parse};
pub use record::{Advisory, Affected, Event, Package, Range, RangeKind, Reference, Severity};
pub use remediate::{Remediation, remediate};
