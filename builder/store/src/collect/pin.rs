//! Pins: what a human wants kept, with the reason they gave. A pin is a small record, so that it needs no ledger.

use super::{Node, Root};
use crate::{Error, Result, Store, db::Table};
use anneal_content::{BlobDigest, TreeDigest};
use serde::{Deserialize, Serialize};

/// The kind of the records of pins.
const PIN: &str = "pin";
/// The longest reason.
const REASON_CHARS_MAX: usize = 500;

/// How much hangs on a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    Blob,
    Document,
    Tree,
}

/// A pin as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// What is kept.
    pub digest: BlobDigest,
    form: Form,
    /// Why.
    pub reason: String,
    /// Since when, milliseconds since 1970.
    pub at_ms: u64,
}

impl Pin {
    /// What is kept, with what it names.
    pub fn node(&self) -> Node {
        match self.form {
            Form::Blob => Node::Blob(self.digest),
            Form::Document => Node::Document(self.digest),
            Form::Tree => Node::Tree(TreeDigest::from_bytes(*self.digest.as_bytes())),
        }
    }

    pub(super) fn root(&self) -> Root {
        Root { node: self.node(), kind: "pinned", why: format!("pinned: {}", self.reason) }
    }
}

impl Store {
    /// Keeps something, and all that it names, until it is unpinned. A second pin takes the place of the first.
    pub fn pin(&self, node: Node, reason: &str, at_ms: u64) -> Result<Pin> {
        let (digest, form) = match node {
            Node::Blob(digest) => (digest, Form::Blob),
            Node::Document(digest) => (digest, Form::Document),
            Node::Tree(tree) => (BlobDigest::from_bytes(*tree.as_bytes()), Form::Tree),
            Node::Action(action) => {
                let reason = format!("action {action} cannot be pinned; pin the trees that it gave");
                return Err(Error::Record { what: "a pin".to_owned(), reason });
            }
        };
        let reason: String = reason.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
            let reason = format!("its reason has 1 to {REASON_CHARS_MAX} characters");
            return Err(Error::Record { what: format!("a pin of {digest}"), reason });
        }
        let _lease = self.lease();
        self.inner.touch(node);
        if !self.inner.db.contains(Table::Blobs, digest.as_bytes())? {
            return Err(self.inner.missing(&digest));
        }
        let pin = Pin { digest, form, reason, at_ms };
        let bytes = serde_json::to_vec(&pin)
            .map_err(|e| Error::Record { what: format!("a pin of {digest}"), reason: e.to_string() })?;
        self.put_record(PIN, &digest.hex(), &bytes)?;
        Ok(pin)
    }

    /// Removes a pin; says whether there was one.
    pub fn unpin(&self, digest: &BlobDigest) -> Result<bool> {
        let is_pinned = self.record(PIN, &digest.hex())?.is_some();
        if is_pinned {
            self.remove_record(PIN, &digest.hex())?;
        }
        Ok(is_pinned)
    }

    /// All pins, in order of their digests.
    pub fn pins(&self) -> Result<Vec<Pin>> {
        let decode = |(key, value): (String, Vec<u8>)| {
            let wrong = |e: serde_json::Error| Error::Record { what: format!("the pin {key}"), reason: e.to_string() };
            serde_json::from_slice(&value).map_err(wrong)
        };
        self.records(PIN)?.into_iter().map(decode).collect()
    }
}
