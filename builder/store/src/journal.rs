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
//! A slot that does not check is a torn write, and the other one counts. A journal that ends before the head, or has
//! another chain there, has lost what was acknowledged, and the store does not open for writing.

use crate::{
    Error, Result, Store,
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

type Chain = [u8; 32];
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
    /// Opens the head file for appending and compares it with the database.
    pub(crate) fn open(layout: &Layout, db: &Db) -> Result<Self> {
        let path = layout.head();
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
        let head = Self::read(layout, db, opened.map_err(Error::io("open", &path))?)?;
        if !head.check(layout, db)? {
            head.write()?;
            sync(&layout.dir)?;
        }
        Ok(head)
    }

    /// Compares the head file with the database and changes neither.
    pub(crate) fn look(layout: &Layout, db: &Db) -> Result<()> {
        match File::open(layout.head()) {
            Ok(file) => Self::read(layout, db, file)?.check(layout, db).map(drop),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::io("open", &layout.head())(e)),
        }
    }

    fn read(layout: &Layout, db: &Db, file: File) -> Result<Self> {
        let path = layout.head();
        let (count, chain) = match db.last(Table::Journal)? {
            Some(row) => {
                let (seq, chain, _) = decode(layout, row)?;
                (seq + 1, chain)
            }
            None => (0, [0; 32]),
        };
        Ok(Self { file, path, count, chain })
    }

    /// Whether the last event that was acknowledged is there; no, where there never was one.
    fn check(&self, layout: &Layout, db: &Db) -> Result<bool> {
        let damaged = |seq, reason: &str| Error::Journal { dir: layout.dir.clone(), seq, reason: reason.to_owned() };
        let slots = [self.slot(0)?, self.slot(1)?];
        let newest = slots.into_iter().flatten().max_by_key(|(count, _)| *count);
        let Some((acknowledged, chain)) = newest else {
            if self.count > 0 {
                return Err(damaged(self.count, "the file HEAD, which names the last event, is lost or damaged"));
            }
            return Ok(false);
        };
        let Some(last) = acknowledged.checked_sub(1) else { return Ok(true) };
        match db.get(Table::Journal, &last.to_be_bytes())? {
            Some(value) if value.starts_with(&chain) => Ok(true),
            Some(_) => Err(damaged(last, "it is not the event that was acknowledged")),
            None => Err(damaged(last, "it was acknowledged and is missing")),
        }
    }

    fn slot(&self, index: u64) -> Result<Option<(u64, Chain)>> {
        let mut slot = [0; SLOT_BYTES];
        match self.file.read_exact_at(&mut slot, index * SLOT_BYTES as u64) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(e) => return Err(Error::io("read", &self.path)(e)),
        }
        let parts = slot.split_first_chunk::<8>().and_then(|(count, rest)| Some((count, rest.first_chunk::<32>()?)));
        let Some((count, chain)) = parts else { return Ok(None) };
        let (count, chain) = (u64::from_be_bytes(*count), *chain);
        Ok((encode_slot(count, &chain) == slot).then_some((count, chain)))
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
        let count = |index| self.slot(index).ok().flatten().map(|(count, _)| count);
        match (count(0), count(1)) {
            (Some(first), Some(second)) if first > second => 1,
            (Some(_), None) => 1,
            _ => 0,
        }
    }
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
