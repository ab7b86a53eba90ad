//! What a store holds, as its callers see it: the same before and after anything that must change nothing.

use crate::{
    scenario::{AFTER_BLOB, AFTER_EVENT, actions, read},
    told,
};
use anneal_content::{ActionDigest, ActionResult, BlobDigest};
use anneal_store::{DAMAGE, FailureRecord, Meaning, Store};
use std::collections::BTreeMap;

/// The kinds of small records that the scenario or the store itself writes.
const KINDS: [&str; 4] = ["note", "pin", "collected", DAMAGE];

/// Everything in a store, read and checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logical {
    /// Blobs and their sizes; each was read whole and has this digest.
    pub blobs: BTreeMap<BlobDigest, u64>,
    /// The journal, whose chain holds.
    pub events: Vec<Vec<u8>>,
    /// Small records by kind and key.
    pub records: BTreeMap<(String, String), Vec<u8>>,
    /// Results of the scenario's actions.
    pub results: BTreeMap<ActionDigest, Vec<ActionResult>>,
    /// Their failures.
    pub failures: BTreeMap<ActionDigest, FailureRecord>,
}

impl Logical {
    /// Reads the whole of a store; an error where anything in it is not what it should be.
    pub fn of(store: &Store) -> Result<Self, String> {
        let mut all = Self::default();
        let text = |error: anneal_store::Error| told(&error);
        let meaning = Meaning { document: &|_| None, records: &[] };
        // without roots, and with all time passed, only what is pinned is kept
        let survey = store.collection().map_err(text)?.survey(Vec::new(), meaning, 0, u64::MAX).map_err(text)?;
        let pinned = store.pins().map_err(text)?;
        let kept = pinned.iter().map(|pin| pin.digest).filter(|digest| store.has(digest).unwrap_or(true));
        for digest in survey.garbage().iter().map(|(digest, _)| *digest).chain(kept) {
            let bytes = read(store, &digest).map_err(text)?;
            if BlobDigest::of(&bytes) != digest {
                return Err(format!("blob {digest} has other bytes"));
            }
            all.blobs.insert(digest, bytes.len() as u64);
        }
        for event in store.events_from(0).map_err(text)? {
            all.events.push(event.map_err(text)?.1);
        }
        if store.event_count().map_err(text)? != all.events.len() as u64 {
            return Err("the journal has another number of events than events".to_owned());
        }
        for kind in KINDS {
            let records = store.records(kind).map_err(text)?;
            all.records.extend(records.into_iter().map(|(key, value)| ((kind.to_owned(), key), value)));
        }
        for action in actions() {
            let results = store.results(&action, &crate::scenario::is_ours).map_err(text)?;
            if !results.is_empty() {
                all.results.insert(action, results);
            }
            if let Some(failure) = store.failure(&action, 0).map_err(text)? {
                all.failures.insert(action, failure);
            }
        }
        let damaged = store.stats().map_err(text)?.damaged_blobs;
        if damaged > 0 || all.records.keys().any(|(kind, _)| kind == DAMAGE) {
            return Err(format!("{damaged} blobs are damaged"));
        }
        Ok(all)
    }

    /// Without what was put and appended after a step was refused; says which of both was there.
    pub fn without_after(mut self) -> (Self, [bool; 2]) {
        let blob = self.blobs.remove(&BlobDigest::of(AFTER_BLOB)).is_some();
        let event = self.events.pop_if(|last| last == AFTER_EVENT).is_some();
        (self, [blob, event])
    }

    /// Whether this is on the way from `before` to `after` of a collection, which deletes in several steps.
    pub fn is_between(&self, before: &Self, after: &Self) -> bool {
        let blobs = self.blobs.keys().all(|blob| before.blobs.contains_key(blob))
            && after.blobs.keys().all(|blob| self.blobs.contains_key(blob));
        let results = self.results.iter().all(|(action, results)| before.results.get(action) == Some(results))
            && after.results.iter().all(|(action, results)| self.results.get(action) == Some(results));
        let failures = self.failures.keys().all(|action| before.failures.contains_key(action));
        let records = self.records == before.records || self.records == after.records;
        blobs && results && failures && records && self.events == before.events
    }

    /// What differs, in a few words.
    pub fn difference(&self, expected: &Self) -> String {
        let short = |blobs: Vec<&BlobDigest>| {
            let first: Vec<String> = blobs.iter().take(2).map(|blob| blob.hex().chars().take(12).collect()).collect();
            format!("{} {first:?}", blobs.len())
        };
        let not_in =
            |all: &Self, other: &Self| short(all.blobs.keys().filter(|blob| !other.blobs.contains_key(blob)).collect());
        let mut parts = vec![format!("blobs missing {}, too many {}", not_in(expected, self), not_in(self, expected))];
        let is_prefix = expected.events.starts_with(&self.events) || self.events.starts_with(&expected.events);
        parts.push(format!("{} events of {}, prefix {is_prefix}", self.events.len(), expected.events.len()));
        if self.records != expected.records {
            let keys = |all: &Self| all.records.keys().map(|(kind, key)| format!("{kind}/{key}")).collect::<Vec<_>>();
            parts.push(format!("records {:?}, not {:?}", keys(self), keys(expected)));
        }
        if self.results != expected.results || self.failures != expected.failures {
            let count = |all: &Self| (all.results.values().map(Vec::len).sum::<usize>(), all.failures.len());
            parts.push(format!("results and failures {:?}, not {:?}", count(self), count(expected)));
        }
        parts.join("; ")
    }
}
