//! Does a journal of today go on from where it was when a client saw it last?
//!
//! ```text
//! seen     e0 e1 e2 e3 e4 e5          the client's checkpoint: 6 events, their chain, when
//! today    e0 e1 e2 e3 e4 e5 e6       consistent: the chain over the first 6 is the client's
//! today    e0 e1 e2 R  f4 f5 f6       restored: R is signed, says that 3 events were put back, and is the next event
//! today    e0 e1 e2 f3 f4 f5          tampered, like anything else
//! ```
//! A restore record counts where it stands only: behind exactly the events that it names. And it must be younger than
//! the checkpoint: who saw the journal after a restore is not to be shown that restore once more, to explain another loss.

use crate::{Checkpoint, Keyring, RestoreRecord};
use anneal_content::JournalHead;

/// An event of the journal that is judged.
#[derive(Debug, Clone, Copy)]
pub struct JournalEntry<'a> {
    /// Its bytes, as the chain has them.
    pub event: &'a [u8],
    /// The signed restore record in it, if it is the event of a restore.
    pub restore: Option<&'a [u8]>,
}

/// What a journal is, for somebody who saw it before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum History {
    /// It goes on from there.
    Consistent,
    /// It was put back lawfully: events from `record.head.events` on, up to `lost_until`, are lost.
    Restored {
        /// The proof.
        record: RestoreRecord,
        /// The first event that the client never saw.
        lost_until: u64,
    },
    /// What the client saw is gone or has changed, and nobody signed for it.
    Tampered {
        /// What does not hold.
        reason: String,
    },
}

/// Folds a whole journal, event by event, and compares it with a checkpoint whose signature was verified.
#[derive(Debug)]
pub struct HistoryJudge<'a> {
    since: &'a Checkpoint,
    keys: &'a Keyring,
    head: JournalHead,
    goes_on: bool,
    restored: Option<RestoreRecord>,
    /// Restore records that were no proof, and why.
    refused: Vec<String>,
}

impl<'a> HistoryJudge<'a> {
    /// Begins with an empty journal.
    pub fn new(since: &'a Checkpoint, keys: &'a Keyring) -> Self {
        let head = JournalHead::START;
        Self { since, keys, head, goes_on: since.head == head, restored: None, refused: Vec::new() }
    }

    /// The next event.
    pub fn add(&mut self, entry: JournalEntry<'_>) {
        if let Some(signed) = entry.restore {
            match self.proof(signed) {
                // the first of several is what the client lost events by
                Ok(record) => drop(self.restored.get_or_insert(record)),
                Err(why) => self.refused.push(format!("the restore record at event {} {why}", self.head.events)),
            }
        }
        self.head = self.head.after(entry.event);
        self.goes_on |= self.head == self.since.head;
    }

    /// Where the journal ends, as far as it was folded.
    pub fn head(&self) -> JournalHead {
        self.head
    }

    /// Whether a restore record explains why this client misses events.
    fn proof(&self, signed: &[u8]) -> Result<RestoreRecord, String> {
        let record = RestoreRecord::verify(signed, self.keys).map_err(|e| format!("is not believed: {e}"))?;
        if record.head != self.head {
            return Err(format!("was made for a journal of {} events with another chain", record.head.events));
        }
        if record.head.events >= self.since.head.events {
            return Err("comes after everything that was seen, so it explains nothing".to_owned());
        }
        if record.at_ms <= self.since.at_ms {
            return Err("is older than the checkpoint, so it explains nothing that was lost since".to_owned());
        }
        Ok(record)
    }

    /// What the journal is.
    pub fn verdict(self) -> History {
        let (seen, found) = (self.since.head.events, self.head.events);
        if self.goes_on {
            return History::Consistent;
        }
        if let Some(record) = self.restored {
            return History::Restored { record, lost_until: seen };
        }
        let mut reason = if found < seen {
            format!("it has {found} events, and had {seen}; no signed restore record explains that")
        } else {
            format!("its first {seen} events are not those that were seen; no signed restore record explains that")
        };
        for why in self.refused {
            reason.push_str("; ");
            reason.push_str(&why);
        }
        History::Tampered { reason }
    }
}
