//! in-toto Statement v1: a predicate about digests.
//!
//! Written as canonical JSON, so that the same statement has the same bytes and, with RFC 6979, the same
//! signature. Read from any JSON without repeated fields; unknown fields are ignored where in-toto says so.

use crate::{
    Approval, Error, PredicateType, Provenance, Result, TestResult,
    json::{self, STATEMENT_BYTES_MAX, null_is_default},
};
use anneal_content::{BlobDigest, canonical_json};
use serde_json::Value;
use std::collections::BTreeMap;

const WHAT: &str = "statement";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The most subjects; the same limit as sigstore-go's.
const SUBJECTS_MAX: usize = 1024;
/// The most digests of one subject; the same limit as sigstore-go's.
const DIGESTS_MAX: usize = 32;

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// A name for people; nothing is decided by it.
    pub name: String,
    /// The digest.
    pub digest: BlobDigest,
    /// Signed annotations, as `cosign sign -a` makes.
    pub annotations: BTreeMap<String, String>,
}

impl Subject {
    /// A digest with a name.
    pub fn new(name: impl Into<String>, digest: BlobDigest) -> Self {
        Self { name: name.into(), digest, annotations: BTreeMap::new() }
    }
}

/// What is said.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// What is in it: an SPDX document, as [`crate::sbom`] writes.
    Spdx(Value),
    /// How it was built.
    Provenance(Box<Provenance>),
    /// How it fared.
    TestResult(TestResult),
    /// What a person decided.
    Approval(Box<Approval>),
    /// That it is released.
    CosignSign,
}

impl Predicate {
    /// The type as statements write it.
    pub fn predicate_type(&self) -> PredicateType {
        match self {
            Predicate::Spdx(_) => PredicateType::Spdx,
            Predicate::Provenance(_) => PredicateType::Provenance,
            Predicate::TestResult(_) => PredicateType::TestResult,
            Predicate::Approval(_) => PredicateType::Approval,
            Predicate::CosignSign => PredicateType::CosignSign,
        }
    }
}

/// A predicate about subjects.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// At least one.
    pub subjects: Vec<Subject>,
    /// What is said about each of them.
    pub predicate: Predicate,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: Vec<WireSubject>,
    predicate_type: String,
    #[serde(default)]
    predicate: Value,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct WireSubject {
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    name: String,
    digest: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Statement {
    /// A predicate about one digest.
    pub fn about(name: impl Into<String>, digest: BlobDigest, predicate: Predicate) -> Self {
        Self { subjects: vec![Subject::new(name, digest)], predicate }
    }

    /// A decision, about the candidate's image and index.
    pub fn approval(approval: Approval) -> Self {
        let name = approval.candidate.name.to_string();
        let subjects = approval.candidate.subjects().map(|digest| Subject::new(name.clone(), digest)).collect();
        Self { subjects, predicate: Predicate::Approval(Box::new(approval)) }
    }

    /// The statement's canonical bytes: what is signed.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        self.check()?;
        let to_value = |e: serde_json::Error| Error::Json { what: WHAT, reason: e.to_string() };
        let predicate = match &self.predicate {
            Predicate::Spdx(document) => document.clone(),
            Predicate::Provenance(provenance) => serde_json::to_value(provenance).map_err(to_value)?,
            Predicate::TestResult(result) => serde_json::to_value(result).map_err(to_value)?,
            Predicate::Approval(approval) => serde_json::to_value(approval).map_err(to_value)?,
            Predicate::CosignSign => Value::Object(serde_json::Map::new()),
        };
        let subject = self.subjects.iter().map(|subject| WireSubject {
            name: subject.name.clone(),
            digest: BTreeMap::from([(BlobDigest::ALGORITHM.to_owned(), subject.digest.hex())]),
            annotations: subject.annotations.clone(),
        });
        let bytes = canonical_json(&Wire {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: subject.collect(),
            predicate_type: self.predicate.predicate_type().uri().to_owned(),
            predicate,
        })?;
        check_size(bytes.len())?;
        Ok(bytes)
    }

    /// Reads a statement. Says nothing of who made it: that is [`crate::verify_bundle`]'s answer.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let wire: Wire = json::typed(WHAT, json::parse(WHAT, bytes, STATEMENT_BYTES_MAX)?)?;
        if wire.statement_type != STATEMENT_TYPE {
            return Err(Error::Unexpected {
                what: WHAT,
                field: "_type",
                expected: STATEMENT_TYPE.to_owned(),
                found: json::shown(&wire.statement_type),
            });
        }
        check_subjects(wire.subject.len())?;
        let subjects = wire.subject.into_iter().map(read_subject).collect::<Result<_>>()?;
        let predicate = read_predicate(wire.predicate_type.parse()?, wire.predicate)?;
        let statement = Self { subjects, predicate };
        statement.check()?;
        Ok(statement)
    }

    /// Whether it is about this digest.
    pub fn is_about(&self, digest: &BlobDigest) -> bool {
        self.subjects.iter().any(|subject| subject.digest == *digest)
    }

    fn check(&self) -> Result<()> {
        check_subjects(self.subjects.len())?;
        match &self.predicate {
            Predicate::Spdx(document) => check_spdx(document),
            Predicate::Provenance(provenance) => provenance.check(),
            Predicate::TestResult(result) => result.check(),
            Predicate::CosignSign => Ok(()),
            Predicate::Approval(approval) => {
                approval.check()?;
                match approval.candidate.subjects().find(|digest| !self.is_about(digest)) {
                    Some(digest) => Err(Error::Subject { expected: digest, found: self.first_subjects() }),
                    None => Ok(()),
                }
            }
        }
    }

    /// The first few subjects, for an error.
    pub(crate) fn first_subjects(&self) -> Vec<BlobDigest> {
        self.subjects.iter().take(4).map(|subject| subject.digest).collect()
    }
}

fn read_subject(wire: WireSubject) -> Result<Subject> {
    if wire.digest.len() > DIGESTS_MAX {
        let found = wire.digest.len();
        return Err(Error::TooLarge { what: WHAT, limit: DIGESTS_MAX, unit: "digests of a subject", found });
    }
    let hex = wire.digest.get(BlobDigest::ALGORITHM);
    let hex = hex.ok_or_else(|| Error::field(WHAT, "subject.digest", "a subject has no sha256"))?;
    let digest = format!("sha256:{hex}").parse()?;
    Ok(Subject { name: wire.name, digest, annotations: wire.annotations })
}

fn read_predicate(kind: PredicateType, value: Value) -> Result<Predicate> {
    Ok(match kind {
        PredicateType::Spdx => Predicate::Spdx(value),
        PredicateType::Provenance => Predicate::Provenance(json::typed("provenance", value)?),
        PredicateType::TestResult => Predicate::TestResult(json::typed("test result", value)?),
        PredicateType::Approval => Predicate::Approval(json::typed("approval", value)?),
        PredicateType::CosignSign => {
            if !(value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)) {
                return Err(Error::field("image signature", "predicate", "must be empty"));
            }
            Predicate::CosignSign
        }
    })
}

fn check_spdx(document: &Value) -> Result<()> {
    match document.get("spdxVersion").and_then(Value::as_str) {
        Some("SPDX-2.3") => Ok(()),
        found => Err(Error::Unexpected {
            what: "inventory",
            field: "spdxVersion",
            expected: "SPDX-2.3".to_owned(),
            found: found.map_or_else(|| "nothing".to_owned(), json::shown),
        }),
    }
}

fn check_subjects(found: usize) -> Result<()> {
    match found {
        0 => Err(Error::field(WHAT, "subject", "is empty, so the statement is about nothing")),
        1..=SUBJECTS_MAX => Ok(()),
        _ => Err(Error::TooLarge { what: WHAT, limit: SUBJECTS_MAX, unit: "subjects", found }),
    }
}

fn check_size(found: usize) -> Result<()> {
    if found > STATEMENT_BYTES_MAX {
        return Err(Error::TooLarge { what: WHAT, limit: STATEMENT_BYTES_MAX, unit: "bytes", found });
    }
    Ok(())
}
