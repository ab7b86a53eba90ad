//! The ledger: what happened, and what must happen next.
//!
//! An [`Event`] is a fact that the journal keeps for ever. [`State::apply`] folds events into the state of cases,
//! images, candidates, approvals and publications; [`State::admit`] does so for a new event, unless it would break a
//! promise (a publication without an approval, an approval of a superseded candidate). [`next_tasks`] reads the state and says what to do;
//! it is asked again after every event, so a lost wake-up or a crash is mended by the next pass.
//!
//! Pure: every time is an argument, milliseconds since 1970.

mod admit;
mod apply;
mod event;
mod kept;
mod refusal;
mod retention;
mod revision;
mod state;
mod swap;
mod tasks;
mod withdrawal;

pub use event::{
    CandidateId, CheckInputs, Decision, Event, EvidenceRef, Hit, HitKind, LayerRecord, PackageRecord, Payload,
    PayloadKind, Record,
};
pub use kept::{Kept, KeptProof, Linked};
pub use refusal::Refusal;
pub use retention::{Form, Needed, Reference};
pub use revision::{BranchCommit, RevisionCause};
pub use state::{
    Approver, Branch, Candidate, CandidateStatus, Case, CaseStatus, Failure, Image, Publication, RefusedCommit, State,
};
pub use swap::{Ground, Settling};
pub use tasks::{Task, Wanted, WantedImage, next_tasks};
pub use withdrawal::{Keep, KeepPublished, Withdrawal};
