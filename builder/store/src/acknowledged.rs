//! What the file `HEAD` says was acknowledged. It is read before the database is opened and held against it afterwards, so
//! that a reader beside a writer never knows of more than the database that it sees.
//!
//! ```text
//! at 0 and 64     where the journal ends (journal.rs)
//! at 128 and 160  how far the database goes (extent.rs)
//! at 192 and 224  how far its list of tables goes (extent.rs)
//! ```
//! Each of the three notes has two slots, which are written in turn, and all six end with the start of a BLAKE3 of what is
//! before it. They lie in one sector of a disk, so a power cut leaves either all of a write or none of it: a slot that does
//! not check is damage. The other one still counts, and the writer writes the damaged one again when it opens.
//!
//! **Zeros** are damage where they cannot be a slot that has yet to be written. The file gets its whole length before its
//! first slot, the journal's first slot (of 0 events) is the first that is written, and each append writes a slot of the
//! note behind it before the journal's next one, all in that sector. So whoever sees a slot sees what was written before it:
//!
//! ```text
//! at 0    damage where any other slot is there, since it came first
//! at 64   damage where the slot at 0 has events: those of the second append, or of a later one
//! at 128  damage where the slot at 160 is there, or the journal has events
//! at 160  damage where the slot at 0 has events
//! at 192  damage where the slot at 224 is there, or one at 128 or 160: both are written before the first of those
//! at 224  damage where the slot at 192 is there, or one at 128 or 160
//! a file of less than 256 bytes is cut where any slot is there
//! ```
//! Before the second append zeros at 64 and 160 may be lawful, and are not told from an erased slot. The other slot of that
//! note then still says what was acknowledged one write before.

use crate::{
    Error, Result, Store,
    db::{Db, Table},
    engine_list::ListEnd,
    extent, journal,
    layout::Layout,
    regular_file,
};
use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt as _,
};

/// How long the file is from its first slot on.
pub(crate) const HEAD_BYTES: u64 = 256;

/// One of the two places of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot<T> {
    /// It was never written.
    Blank,
    /// It does not check.
    Wrong,
    /// What it says.
    Whole(T),
}

impl<T> Slot<T> {
    pub(crate) fn whole(self) -> Option<T> {
        match self {
            Self::Whole(said) => Some(said),
            Self::Blank | Self::Wrong => None,
        }
    }

    /// Reads `N` bytes at a place of the file; `decode` gives `None` where they do not check.
    pub(crate) fn read<const N: usize>(
        file: &File,
        at: u64,
        decode: impl FnOnce(&[u8; N]) -> Option<T>,
    ) -> io::Result<Self> {
        let (mut bytes, mut filled) = ([0; N], 0);
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(match bytes.iter().all(|byte| *byte == 0) {
            true => Self::Blank,
            false => decode(&bytes).map_or(Self::Wrong, Self::Whole),
        })
    }
}

/// What was acknowledged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// The number of events and the chain of the last one; `None` where nothing says so.
    events: Option<(u64, journal::Chain)>,
    /// The number of the last write; 0 where nothing says so.
    pub(crate) writes: u64,
    /// How far the list of tables was synced; 0 where nothing says so.
    list: ListEnd,
    /// What of it is damaged.
    pub(crate) wrong: Wrong,
}

/// Which slots do not check, or were erased, and whether the file was cut in a place where it had none.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) events: [bool; 2],
    pub(crate) writes: [bool; 2],
    pub(crate) list: [bool; 2],
    pub(crate) is_cut: bool,
}

impl Wrong {
    /// What is damaged of a file that is so long, by its slots.
    fn new(
        events: [Slot<(u64, journal::Chain)>; 2],
        writes: [Slot<u64>; 2],
        list: [Slot<ListEnd>; 2],
        length: u64,
    ) -> Self {
        let [first, second] = events.map(|slot| slot != Slot::Blank);
        let [first_write, second_write] = writes.map(|slot| slot != Slot::Blank);
        let [first_list, second_list] = list.map(|slot| slot != Slot::Blank);
        let counts = events.map(|slot| slot.whole().is_some_and(|(count, _)| count > 0));
        let [first_counts, second_counts] = counts;
        let erased_events = [!first && (second || first_write || second_write), !second && first_counts];
        let erased_writes =
            [!first_write && (second_write || first_counts || second_counts), !second_write && first_counts];
        let has_written = first_write || second_write;
        let erased_list = [!first_list && (second_list || has_written), !second_list && (first_list || has_written)];
        let or = |erased: [bool; 2], wrong: [bool; 2]| [erased[0] || wrong[0], erased[1] || wrong[1]];
        let slots = Self {
            events: or(erased_events, events.map(|slot| slot == Slot::Wrong)),
            writes: or(erased_writes, writes.map(|slot| slot == Slot::Wrong)),
            list: or(erased_list, list.map(|slot| slot == Slot::Wrong)),
            is_cut: false,
        };
        let is_cut = slots.count() == 0 && length < HEAD_BYTES && (first || second || has_written);
        Self { is_cut, ..slots }
    }

    /// How many slots are damaged; one that was cut off and was blank counts.
    pub(crate) fn count(&self) -> usize {
        let slots = self.events.iter().chain(&self.writes).chain(&self.list).filter(|wrong| **wrong).count();
        slots + usize::from(self.is_cut)
    }
}

impl Acknowledged {
    pub(crate) fn read(layout: &Layout) -> Result<Self> {
        let path = layout.head();
        let file = match regular_file::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Error::io("open", &path)(e)),
        };
        let events = journal::slots(&file).map_err(Error::io("read", &path))?;
        let writes = extent::slots(&file).map_err(Error::io("read", &path))?;
        let list = extent::slots(&file).map_err(Error::io("read", &path))?;
        let length = file.metadata().map_err(Error::io("look at", &path))?.len();
        let wrong = Wrong::new(events, writes, list, length);
        Ok(Self {
            events: events.into_iter().filter_map(Slot::whole).max_by_key(|(count, _)| *count),
            writes: writes.into_iter().filter_map(Slot::whole).max().unwrap_or(0),
            list: list.into_iter().filter_map(Slot::whole).max().unwrap_or_default(),
            wrong,
        })
    }

    /// Whether nothing was ever acknowledged, as far as this says.
    pub(crate) fn is_nothing(&self) -> bool {
        let is_whole = self.wrong.events == [false; 2] && self.wrong.writes == [false; 2];
        self.writes == 0 && is_whole && self.events.is_none_or(|(count, _)| count == 0)
    }

    /// Whether there is no slot for the journal: it is the first thing that is written, before any blob.
    pub(crate) fn says_nothing(&self) -> bool {
        self.events.is_none()
    }

    /// Refuses a database that lacks something of it, or one with rows where nothing says how many there should be.
    pub(crate) fn hold_against(&self, layout: &Layout, db: &Db) -> Result<()> {
        let (dir, found) = (layout.dir.clone(), db.sequence());
        if found < self.writes {
            return Err(Error::Shortened { dir, acknowledged: self.writes, found });
        }
        if self.writes > 0 {
            db.hold_list(self.list)?;
        }
        let damaged = |seq, reason: &str| Error::Journal { dir: dir.clone(), seq, reason: reason.to_owned() };
        let Some((count, chain)) = self.events else {
            return if found > 0 { Err(Error::HeadLost { dir }) } else { Ok(()) };
        };
        let Some(last) = count.checked_sub(1) else { return Ok(()) };
        if self.writes == 0 {
            return Err(Error::HeadLost { dir });
        }
        match db.get(Table::Journal, &last.to_be_bytes())? {
            Some(value) if value.starts_with(&chain) => Ok(()),
            Some(_) => Err(damaged(last, "it is not the event that was acknowledged")),
            None => Err(damaged(last, "it was acknowledged and is missing")),
        }
    }
}

impl Store {
    /// How many of the six slots of `HEAD` are damaged. The writer writes them again, and says how many those were.
    pub fn damaged_slots(&self) -> Result<usize> {
        self.inner.mend_head()
    }
}
