//! Where a journal ends: how many events it has, and the chain over all of them.
//!
//! `chain(n) = BLAKE3(chain(n-1), length, bytes)`, where the length has 8 bytes, big-endian, and `chain(-1)` is 32 zero
//! bytes. Who kept a head can tell whether a journal of today goes on from it.

use crate::JournalChain;
use serde::{Deserialize, Serialize};

/// The end of a journal, or of the part of one that somebody saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalHead {
    /// How many events there are: the number that the next one gets.
    pub events: u64,
    /// The chain over them.
    pub chain: JournalChain,
}

impl JournalHead {
    /// Of a journal without events.
    pub const START: Self = Self { events: 0, chain: JournalChain::from_bytes([0; 32]) };

    /// The head when one more event was appended.
    pub fn after(&self, event: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.chain.as_bytes()).update(&(event.len() as u64).to_be_bytes()).update(event);
        Self { events: self.events + 1, chain: JournalChain::from_bytes(*hasher.finalize().as_bytes()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_apart_where_one_event_ends_and_the_next_begins() {
        let of = |events: &[&[u8]]| events.iter().fold(JournalHead::START, |head, event| head.after(event));
        let heads = [of(&[]), of(&[b""]), of(&[b"ab"]), of(&[b"a", b"b"]), of(&[b"b", b"a"])];
        for (at, head) in heads.iter().enumerate() {
            assert!(heads.iter().skip(at + 1).all(|other| other.chain != head.chain), "{head:?}");
        }
        assert_eq!(heads.map(|head| head.events), [0, 1, 1, 2, 2]);
    }
}
