//! What is said about an image, and by whom: inventories, provenance, test results, approvals and signatures.
//!
//! Everything is an in-toto Statement v1 about a manifest digest, signed as a DSSE envelope and carried in a
//! Sigstore bundle v0.3; the image signature is also written in the form that older cosign reads.
//!
//! ```text
//! Predicate --> Statement --canonical JSON--> DSSE envelope --> Bundle (a referrer of the image)
//!                                 key of the one Role that may say it
//! ```
//! A log key signs no statement but notes: where the journal ended, that it was backed up, that it was restored.
//! Pure: no clock, disk or network, and randomness is an argument. Signing follows RFC 6979, so the same
//! statement and key give the same bytes. A verifier takes its keys from outside the thing that it verifies.

mod action_result;
mod approval;
mod bundle;
mod error;
mod history;
mod json;
mod key;
mod keyring;
mod note;
mod provenance;
mod resource;
mod role;
mod sbom;
mod sbom_input;
mod simple_signing;
mod spdx_document;
mod statement;
mod test_result;
mod timestamp;
mod verify;

pub use action_result::sign_result;
pub use approval::{Approval, Binding, Decision};
pub use bundle::{
    ANNOTATION_CONTENT, ANNOTATION_PREDICATE_TYPE, BUNDLE_MEDIA_TYPE, Bundle, CONTENT_DSSE, STATEMENT_MEDIA_TYPE,
    sign_statement,
};
pub use error::Error;
pub use history::{History, HistoryJudge, JournalEntry};
pub use key::{KeyId, PublicKey, SecretKey};
pub use keyring::Keyring;
pub use note::{BackupSeal, Checkpoint, NOTE_MEDIA_TYPE, Note, RestoreRecord, sign_note, verify_note};
pub use provenance::{
    BUILD_TYPE_IMAGE, BuildDefinition, BuildMetadata, Builder, ExternalParameters, Provenance, RunDetails,
};
pub use resource::ResourceDescriptor;
pub use role::{PredicateType, Role};
pub use sbom::sbom;
pub use sbom_input::{FileChecksums, SbomFile, SbomInput, SbomPackage, SbomSource};
pub use simple_signing::{
    SIMPLE_SIGNING_ANNOTATION, SIMPLE_SIGNING_MEDIA_TYPE, SimpleSignature, sign_simple, signature_tag, verify_simple,
};
pub use statement::{Predicate, Statement, Subject};
pub use test_result::{TestOutcome, TestResult};
pub use timestamp::Timestamp;
pub use verify::{ExpectedProvenance, verify_approval, verify_bundle, verify_provenance};

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;
