//! What a build gave: the record that the action cache keeps, append-only, per action.

use crate::{BlobDigest, OutputName, TreeDigest};
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
}
