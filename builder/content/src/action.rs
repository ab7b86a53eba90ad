//! What a build gave: the record that the action cache keeps, append-only, per action.

use crate::{ActionDigest, BlobDigest, Error, OutputName, PackageName, Result, TreeDigest, canonical_json};
use std::collections::BTreeMap;

/// The result of running an action once.
///
/// More than one result of one action is kept: two results with different outputs are the report of a build that is
/// not deterministic.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ActionResult {
    /// Each output's tree.
    pub outputs: BTreeMap<OutputName, TreeDigest>,
    /// The whole log.
    pub log: BlobDigest,
    /// Who ran it, such as `anneal 0.1.0, Linux 6.1.0 x86_64`.
    pub worker: String,
    /// When the first process was executed, milliseconds since 1970.
    pub started_ms: u64,
    /// How long the build's own processes ran, exec to exit, in milliseconds.
    pub payload_ms: u64,
    /// Limits that this host could not enforce, by name.
    pub limits_not_enforced: Vec<String>,
    /// What was varied on purpose; empty for the build itself, and such a result alone is ever reused.
    pub variation: Vec<String>,
    /// What it was really built with: every output that was mounted. The action may name only what it sees of a library.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub built_with: BTreeMap<PackageName, BTreeMap<OutputName, TreeDigest>>,
}

/// A result as the action cache keeps it: the exact bytes that were signed, by which key, and the signature.
///
/// ```text
/// payload    {"action": ActionDigest, "result": ActionResult} as canonical JSON
/// signature  base64; `anneal-attest` makes and checks it
/// ```
/// The payload names its action, so that a record that was moved to another action says so.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedResult {
    /// What was signed.
    pub payload: String,
    /// The id of the key; a hint that decides nothing.
    pub key_id: String,
    /// The signature.
    pub signature: String,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Payload {
    action: ActionDigest,
    result: ActionResult,
}

impl SignedResult {
    /// The bytes to sign for a result of an action.
    ///
    /// # Errors
    /// [`Error::Json`] where the result has no canonical form.
    pub fn payload_of(action: &ActionDigest, result: &ActionResult) -> Result<String> {
        let bytes = canonical_json(&Payload { action: *action, result: result.clone() })?;
        String::from_utf8(bytes).map_err(|e| Error::Json { reason: e.to_string() })
    }

    /// Which action this is about, and what it gave. Says nothing about who signed it.
    ///
    /// # Errors
    /// [`Error::Json`] where the payload is of another form.
    pub fn read(&self) -> Result<(ActionDigest, ActionResult)> {
        let Payload { action, result } =
            serde_json::from_str(&self.payload).map_err(|e| Error::Json { reason: e.to_string() })?;
        Ok((action, result))
    }
}
