//! The action cache: what each action gave, every time it ran, and the failures that are not yet worth a retry.

use crate::{
    Error, Result, Store,
    collect::Node,
    db::{Changes, Table, prefix_end},
    store::lock,
};
use anneal_content::{ActionDigest, ActionResult, BlobDigest};

/// How many results one action may have. Each is evidence; so many mean that something loops.
pub const RESULTS_MAX: usize = 256;

/// An action that did not succeed. It is kept here only, and only for a time: a failure may be the machine's.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FailureRecord {
    /// The whole log.
    pub log: BlobDigest,
    /// What went wrong, for people.
    pub summary: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// When it no longer counts.
    pub expires_ms: u64,
}

impl Store {
    /// Adds a result to an action's; durable when it returns. The same result again changes nothing; an earlier
    /// failure is forgotten.
    pub fn record_result(&self, action: &ActionDigest, result: &ActionResult) -> Result<()> {
        let _numbering = lock(&self.inner.numbering);
        let known = self.results(action)?;
        if known.contains(result) {
            return Ok(());
        }
        if known.len() >= RESULTS_MAX {
            return Err(Error::TooManyResults { action: *action, limit: RESULTS_MAX });
        }
        let number = u32::try_from(known.len()).unwrap_or(u32::MAX);
        let mut changes = Changes::default();
        let key = [action.as_bytes().as_slice(), &number.to_be_bytes()].concat();
        changes.put(Table::Results, key, encode(&format!("a result of action {action}"), result)?);
        changes.delete(Table::Failures, *action.as_bytes());
        self.inner.write_db(changes)
    }

    /// All results of an action, oldest first. What they name is kept as long as the caller's lease lives.
    pub fn results(&self, action: &ActionDigest) -> Result<Vec<ActionResult>> {
        self.inner.touch(Node::Action(*action));
        self.results_untouched(action)
    }

    /// The same without a word to a collection, which asks it itself.
    pub(crate) fn results_untouched(&self, action: &ActionDigest) -> Result<Vec<ActionResult>> {
        let prefix = action.as_bytes();
        let rows = self.inner.db.rows(Table::Results, prefix, prefix_end(prefix))?;
        rows.map(|row| decode(|| format!("a result of action {action}"), &row?.1)).collect()
    }

    /// Records that an action failed, in place of an earlier failure; durable when it returns.
    pub fn record_failure(&self, action: &ActionDigest, failure: &FailureRecord) -> Result<()> {
        let mut changes = Changes::default();
        let value = encode(&format!("the failure of action {action}"), failure)?;
        changes.put(Table::Failures, *action.as_bytes(), value);
        self.inner.write_db(changes)
    }

    /// The failure of an action, unless it has expired by `now_ms`.
    pub fn failure(&self, action: &ActionDigest, now_ms: u64) -> Result<Option<FailureRecord>> {
        let Some(value) = self.inner.db.get(Table::Failures, action.as_bytes())? else { return Ok(None) };
        let failure: FailureRecord = decode(|| format!("the failure of action {action}"), &value)?;
        Ok((now_ms < failure.expires_ms).then_some(failure))
    }
}

/// A failure as it was recorded.
pub(crate) fn decode_failure(bytes: &[u8]) -> Result<FailureRecord> {
    decode(|| "the failure of an action".to_owned(), bytes)
}

fn encode<T: serde::Serialize>(what: &str, value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::Record { what: what.to_owned(), reason: e.to_string() })
}

fn decode<T: serde::de::DeserializeOwned>(what: impl Fn() -> String, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::Record { what: what(), reason: e.to_string() })
}
