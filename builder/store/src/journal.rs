//! The journal: events in order, chained, with the acknowledged head also kept outside the database.
//!
//! Event `n` is stored as its chain ([`JournalHead`]) and its bytes. The file `HEAD` has two slots of 64 bytes, written in
//! turn and synced before an append returns:
//!
//! ```text
//! 8 bytes  number of events, big-endian
//! 32 bytes chain of the last event
//! 24 bytes start of the BLAKE3 of the above
//! ```
//! What is read of them, and what follows for a store whose journal ends before its head, stands in `acknowledged.rs`.

use crate::{
    Error, Result, Store,
    acknowledged::{HEAD_BYTES, Slot, Wrong},
    db::{Changes, Db, Row, Table},
    layout::{Layout, sync},
    store::lock,
};
use anneal_content::{JournalChain, JournalHead};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

pub(crate) type Chain = [u8; 32];
const SLOT_BYTES: usize = 64;
/// The longest event.
const EVENT_BYTES_MAX: u64 = 16 << 20;

/// The end of the journal.
#[derive(Debug)]
pub(crate) struct Head {
    file: File,
    path: PathBuf,
    count: u64,
    chain: Chain,
}

impl Head {
    /// Opens the head file for appending to the journal of a database that was held against it.
    pub(crate) fn open(layout: &Layout, db: &Db) -> Result<Self> {
        let path = layout.head();
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(Error::io("open", &path))?;
        let (count, chain) = end(layout, db)?;
        let head = Self { file, path, count, chain };
        let slots = slots(&head.file).map_err(Error::io("read", &head.path))?;
        if slots.into_iter().all(|slot| slot.whole().is_none()) {
            head.lengthen()?;
            head.write()?;
            sync(&layout.dir)?;
        }
        Ok(head)
    }

    /// Writes what is damaged of it again.
    pub(crate) fn mend(&self, wrong: &Wrong) -> Result<()> {
        self.lengthen()?;
        match wrong.is_cut || wrong.events != [false; 2] {
            true => self.write(),
            false => Ok(()),
        }
    }

    /// Gives the file its whole length, so that a shorter one was cut.
    fn lengthen(&self) -> Result<()> {
        let length = self.file.metadata().map_err(Error::io("look at", &self.path))?.len();
        match length < HEAD_BYTES {
            true => self.file.set_len(HEAD_BYTES).map_err(Error::io("write", &self.path)),
            false => Ok(()),
        }
    }

    fn write(&self) -> Result<()> {
        let slot = encode_slot(self.count, &self.chain);
        // the slot of the append before the last one; the last one's stays if this write is torn
        let at = (self.generation() % 2) * SLOT_BYTES as u64;
        self.file.write_all_at(&slot, at).map_err(Error::io("write", &self.path))?;
        self.file.sync_data().map_err(|source| Error::Sync { path: self.path.clone(), source })
    }

    /// Which of the two slots holds the older head: that one is overwritten.
    fn generation(&self) -> u64 {
        let counts = slots(&self.file).map(|slots| slots.map(|slot| slot.whole().map(|(count, _)| count)));
        match counts {
            Ok([Some(first), Some(second)]) if first > second => 1,
            Ok([Some(_), None]) => 1,
            _ => 0,
        }
    }
}

/// How many events the database has, and the chain of the last one.
pub(crate) fn end(layout: &Layout, db: &Db) -> Result<(u64, Chain)> {
    match db.last(Table::Journal)? {
        Some(row) => {
            let (seq, chain, _) = decode(layout, row)?;
            Ok((seq + 1, chain))
        }
        None => Ok((0, [0; 32])),
    }
}

/// What the two slots say.
pub(crate) fn slots(file: &File) -> io::Result<[Slot<(u64, Chain)>; 2]> {
    let slot = |index: u64| {
        Slot::read(file, index * SLOT_BYTES as u64, |bytes: &[u8; SLOT_BYTES]| {
            let (count, rest) = bytes.split_first_chunk::<8>()?;
            let (count, chain) = (u64::from_be_bytes(*count), *rest.first_chunk::<32>()?);
            (encode_slot(count, &chain) == *bytes).then_some((count, chain))
        })
    };
    Ok([slot(0)?, slot(1)?])
}

fn encode_slot(count: u64, chain: &Chain) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    let text: Vec<u8> = count.to_be_bytes().into_iter().chain(*chain).collect();
    let check = blake3::hash(&text);
    for (to, from) in slot.iter_mut().zip(text.iter().chain(check.as_bytes())) {
        *to = *from;
    }
    slot
}

fn next_chain(chain: &Chain, event: &[u8]) -> Chain {
    *JournalHead { events: 0, chain: JournalChain::from_bytes(*chain) }.after(event).chain.as_bytes()
}

fn decode(layout: &Layout, (key, value): Row) -> Result<(u64, Chain, Vec<u8>)> {
    let seq = key.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
    match (seq, value.split_first_chunk::<32>()) {
        (Some(seq), Some((chain, event))) => Ok((seq, *chain, event.to_vec())),
        _ => Err(Error::Journal {
            dir: layout.dir.clone(),
            seq: seq.unwrap_or_default(),
            reason: "its row is too short".to_owned(),
        }),
    }
}

/// The head of a journal that ends with this row.
pub(crate) fn head_at(layout: &Layout, row: Row) -> Result<JournalHead> {
    let (seq, chain, _) = decode(layout, row)?;
    Ok(JournalHead { events: seq + 1, chain: JournalChain::from_bytes(chain) })
}

impl Store {
    /// Appends events, all or none; durable when it returns. Gives the number of the first one; events are numbered
    /// from 0 without gaps.
    pub fn append_events(&self, events: &[Vec<u8>]) -> Result<u64> {
        if let Some(event) = events.iter().find(|event| event.len() as u64 > EVENT_BYTES_MAX) {
            let what = format!("an event of {} bytes", event.len());
            return Err(Error::TooLong { what, limit: EVENT_BYTES_MAX });
        }
        self.inner.may_record()?;
        let mut guard = lock(&self.inner.head);
        let Some(head) = guard.as_mut() else { return Err(Error::ReadOnly { dir: self.dir().to_owned() }) };
        let first = head.count;
        let (mut changes, mut seq, mut chain) = (Changes::default(), first, head.chain);
        for event in events {
            chain = next_chain(&chain, event);
            changes.put(Table::Journal, seq.to_be_bytes(), [&chain, event.as_slice()].concat());
            seq += 1;
        }
        if seq > first {
            self.inner.write_db(changes)?;
            (head.count, head.chain) = (seq, chain);
            self.inner.poison(head.write())?;
        }
        Ok(first)
    }

    /// Events from number `seq` on, each with its number; every one is checked against the chain.
    pub fn events_from(&self, seq: u64) -> Result<impl Iterator<Item = Result<(u64, Vec<u8>)>> + '_> {
        let layout = &self.inner.layout;
        let mut before = match seq.checked_sub(1) {
            None => Some([0; 32]),
            Some(last) => {
                let value = self.inner.db.get(Table::Journal, &last.to_be_bytes())?;
                value.and_then(|value| value.first_chunk::<32>().copied())
            }
        };
        let mut expected = seq;
        let rows = self.inner.db.rows(Table::Journal, &seq.to_be_bytes(), None)?;
        Ok(rows.map(move |row| {
            let (seq, chain, event) = decode(layout, row?)?;
            let chained = before.replace(chain).is_some_and(|before| next_chain(&before, &event) == chain);
            if seq != expected || !chained {
                let reason = "its chain does not follow from the event before".to_owned();
                return Err(Error::Journal { dir: layout.dir.clone(), seq: expected, reason });
            }
            expected = seq + 1;
            Ok((seq, event))
        }))
    }

    /// Where the journal ends.
    pub fn journal_head(&self) -> Result<JournalHead> {
        let last = self.inner.db.last(Table::Journal)?;
        last.map_or(Ok(JournalHead::START), |row| head_at(&self.inner.layout, row))
    }

    /// How many events there are: the number that the next one gets.
    pub fn event_count(&self) -> Result<u64> {
        match self.inner.db.last(Table::Journal)? {
            Some(row) => Ok(decode(&self.inner.layout, row)?.0 + 1),
            None => Ok(0),
        }
    }
}
