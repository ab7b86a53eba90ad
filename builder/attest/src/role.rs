//! Who may say what: the one table of roles and predicate types.
//!
//! `cosign verify --key` accepts any statement by a key about a digest, whatever its predicate. So a key that
//! says "released" must never sign anything else: each predicate type belongs to exactly one role.

use crate::{Error, Result};
use std::{fmt, str::FromStr};

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Says how an image was built and what is in it.
    Build,
    /// Says how an image fared in the verification suite.
    Test,
    /// Says that an image is released, after its approval.
    Release,
    /// Signs where the journal ends, backups and restores of it; no statement about an image.
    Log,
    /// A person: approves and rejects candidates. The daemon holds the public half only.
    Approver,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 5] = [Role::Build, Role::Test, Role::Release, Role::Log, Role::Approver];

    /// The role's name, as in file names and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Build => "build",
            Role::Test => "test",
            Role::Release => "release",
            Role::Log => "log",
            Role::Approver => "approver",
        }
    }

    /// Whether a key of this role may sign a statement of this type.
    pub fn may_sign(self, predicate: PredicateType) -> bool {
        predicate.role() == self
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            Error::field(
                "key",
                "role",
                format!("`{}` is not build, test, release, log or approver", crate::json::shown(text)),
            )
        })
    }
}

/// The kinds of statement that Anneal makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PredicateType {
    /// An SPDX document.
    Spdx,
    /// SLSA provenance v1.
    Provenance,
    /// An in-toto test result v0.1.
    TestResult,
    /// A person's decision about a candidate.
    Approval,
    /// A cosign image signature.
    CosignSign,
}

impl PredicateType {
    /// Every type.
    pub const ALL: [PredicateType; 5] = [
        PredicateType::Spdx,
        PredicateType::Provenance,
        PredicateType::TestResult,
        PredicateType::Approval,
        PredicateType::CosignSign,
    ];

    /// The type as statements write it.
    pub const fn uri(self) -> &'static str {
        match self {
            // The name that cosign calls `spdxjson`; the document's own `spdxVersion` says 2.3.
            PredicateType::Spdx => "https://spdx.dev/Document",
            PredicateType::Provenance => "https://slsa.dev/provenance/v1",
            PredicateType::TestResult => "https://in-toto.io/attestation/test-result/v0.1",
            PredicateType::Approval => "urn:anneal:approval:v1",
            PredicateType::CosignSign => "https://sigstore.dev/cosign/sign/v1",
        }
    }

    /// The only role whose keys may say it.
    pub const fn role(self) -> Role {
        match self {
            PredicateType::Spdx | PredicateType::Provenance => Role::Build,
            PredicateType::TestResult => Role::Test,
            PredicateType::Approval => Role::Approver,
            PredicateType::CosignSign => Role::Release,
        }
    }
}

impl fmt::Display for PredicateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.uri())
    }
}

impl FromStr for PredicateType {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        PredicateType::ALL
            .into_iter()
            .find(|kind| kind.uri() == text)
            .ok_or_else(|| Error::UnknownPredicateType { found: crate::json::shown(text) })
    }
}
