//! Why something cannot be said, signed or believed.

use crate::{KeyId, PredicateType, Role};
use anneal_content::BlobDigest;

/// What went wrong with a key, a statement, a bundle or an inventory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More bytes or items than this crate will read.
    #[error("{what} is too large: at most {limit} {unit}, found {found}")]
    TooLarge {
        /// The thing.
        what: &'static str,
        /// The most that is read.
        limit: usize,
        /// Of what.
        unit: &'static str,
        /// How many there were.
        found: usize,
    },
    /// Text is not the JSON that was expected.
    #[error("{what} does not parse: {reason}")]
    Json {
        /// The thing.
        what: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// A field holds something it may not hold.
    #[error("{what}: field `{field}`: {reason}")]
    Field {
        /// The document.
        what: &'static str,
        /// The field.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// A field is well formed, but not what the verifier expects.
    #[error("{what}: field `{field}` is not what was expected: expected {expected}, found {found}")]
    Unexpected {
        /// The document.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// What the verifier expects.
        expected: String,
        /// What the document says.
        found: String,
    },
    /// A key does not load.
    #[error("{kind} key does not load: {reason}")]
    Key {
        /// Secret or public.
        kind: &'static str,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The random source failed.
    #[error("cannot make a {role} key: the random source failed: {reason}")]
    Random {
        /// The role of the key.
        role: Role,
        /// What the source said.
        reason: String,
    },
    /// A key of one role was asked to say what belongs to another.
    #[error("a {role} key may not sign {predicate}: only a {} key may", .predicate.role())]
    NotThisRole {
        /// The key's role.
        role: Role,
        /// What it was asked to sign.
        predicate: PredicateType,
    },
    /// The keyring has no key for a statement.
    #[error("no {} key is trusted, so no {predicate} can be verified; name one", .predicate.role())]
    NoKey {
        /// The statement's type.
        predicate: PredicateType,
    },
    /// The signature was not made by the key over these bytes.
    #[error("signature does not verify with key {key}{}", hint_note(.hint))]
    Signature {
        /// The key that was tried.
        key: KeyId,
        /// The key that the bundle says it was made with, if it is another.
        hint: Option<String>,
    },
    /// A predicate type that Anneal does not know.
    #[error("predicate type `{found}` is not one that anneal verifies")]
    UnknownPredicateType {
        /// What was found.
        found: String,
    },
    /// A good signature on a statement about something else.
    #[error("statement is not about {expected}: its subjects are {}", .found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Subject {
        /// What the verifier asked about.
        expected: BlobDigest,
        /// The first few subjects.
        found: Vec<BlobDigest>,
    },
    /// A package's licence is not an SPDX expression.
    #[error(
        "package `{package}`: licence `{expression}` is not a valid SPDX expression: {reason}; write one like Zlib or MIT AND LicenseRef-Notice"
    )]
    License {
        /// The package.
        package: String,
        /// What the recipe says.
        expression: String,
        /// What the parser said.
        reason: String,
    },
    /// A value from `anneal-content` is wrong.
    #[error(transparent)]
    Content(#[from] anneal_content::Error),
}

impl Error {
    pub(crate) fn field(what: &'static str, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Field { what, field: field.into(), reason: reason.into() }
    }
}

fn hint_note(hint: &Option<String>) -> String {
    hint.as_ref().map(|hint| format!("; it says it was made with key {hint}")).unwrap_or_default()
}
