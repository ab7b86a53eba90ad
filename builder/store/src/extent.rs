//! How far the database was acknowledged, noted outside of it, so that a log or a list of tables that was cut or damaged is
//! not taken for one that ends there.
//!
//! RocksDB replays its write-ahead log, and its list of tables, up to the first record that does not check: after a power
//! cut that is the end of what was written, and nothing acknowledged is behind it. A flipped bit or a cut file looks the
//! same to it. So two notes stand in `HEAD`, behind the journal's slots, each in two slots that are written in turn:
//!
//! ```text
//! the last acknowledged write                      how far the list of tables was synced
//! 8 bytes  its sequence number, big-endian         8 bytes  the number of its file, big-endian
//! 24 bytes start of the BLAKE3 of the above        8 bytes  how long it was, big-endian
//!                                                  16 bytes start of the BLAKE3 of the above
//! ```
//! They are written after the database's own syncs and synced with the journal's head, never earlier: what they say is always
//! true. After a power cut they may say less than the truth; whatever an event names is covered, since events sync them.
//! Both slots of the list's note are written before the first write's.

use crate::{Error, Result, acknowledged::Slot, engine_list::ListEnd, layout::Layout, store::lock};
use std::{
    fmt::Debug,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::Mutex,
};

const SLOT_BYTES: usize = 32;

/// Something that only ever grows, and stands in two slots.
pub(crate) trait Extent: Copy + Ord + Default + Debug {
    /// Where the first slot is; the second one is behind it.
    const START: u64;
    /// As it stands before its check.
    fn bytes(self) -> Vec<u8>;
    /// What a slot says, if it checks.
    fn of(slot: &[u8; SLOT_BYTES]) -> Option<Self>;
}

/// The sequence number of a write.
impl Extent for u64 {
    const START: u64 = 128;

    fn bytes(self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn of(slot: &[u8; SLOT_BYTES]) -> Option<Self> {
        slot.first_chunk().map(|bytes| Self::from_be_bytes(*bytes))
    }
}

impl Extent for ListEnd {
    const START: u64 = 192;

    fn bytes(self) -> Vec<u8> {
        [self.number.to_be_bytes(), self.bytes.to_be_bytes()].concat()
    }

    fn of(slot: &[u8; SLOT_BYTES]) -> Option<Self> {
        let (number, rest) = slot.split_first_chunk()?;
        Some(Self { number: u64::from_be_bytes(*number), bytes: u64::from_be_bytes(*rest.first_chunk()?) })
    }
}

/// A note of a store that is open for writing.
#[derive(Debug)]
pub(crate) struct Note<E> {
    file: File,
    path: PathBuf,
    last: Mutex<Last<E>>,
}

#[derive(Debug)]
struct Last<E> {
    /// What was noted last.
    noted: E,
    /// The slot that the next one goes to.
    next: u64,
}

impl<E: Extent> Note<E> {
    pub(crate) fn open(layout: &Layout) -> Result<Self> {
        let path = layout.head();
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(Error::io("open", &path))?;
        let slots = slots::<E>(&file).map_err(Error::io("read", &path))?;
        let noted = slots.into_iter().filter_map(Slot::whole).max().unwrap_or_default();
        // the older one is overwritten, so that the newer one stays if this write is torn
        let next = u64::from(slots[0] == Slot::Whole(noted));
        Ok(Self { file, path, last: Mutex::new(Last { noted, next }) })
    }

    /// What was noted last.
    pub(crate) fn last(&self) -> E {
        lock(&self.last).noted
    }

    /// Notes that everything up to there is acknowledged; call it after the database has synced it.
    pub(crate) fn note(&self, extent: E) -> Result<()> {
        let mut last = lock(&self.last);
        if extent <= last.noted {
            return Ok(());
        }
        self.write(last.next, &encode(extent))?;
        *last = Last { noted: extent, next: 1 - last.next };
        Ok(())
    }

    /// Writes both slots, whatever stood there before.
    pub(crate) fn begin(&self, extent: E) -> Result<()> {
        let (mut last, slot) = (lock(&self.last), encode(extent));
        self.write(0, &[slot, slot].concat())?;
        *last = Last { noted: extent, next: 0 };
        Ok(())
    }

    /// Writes the slots again that are damaged.
    pub(crate) fn mend(&self, wrong: [bool; 2]) -> Result<()> {
        let last = lock(&self.last);
        for (index, _) in (0..).zip(wrong).filter(|(_, wrong)| *wrong) {
            self.write(index, &encode(last.noted))?;
        }
        match wrong {
            [false, false] => Ok(()),
            _ => self.file.sync_data().map_err(|source| Error::Sync { path: self.path.clone(), source }),
        }
    }

    fn write(&self, index: u64, bytes: &[u8]) -> Result<()> {
        let at = E::START + index * SLOT_BYTES as u64;
        self.file.write_all_at(bytes, at).map_err(Error::io("write", &self.path))
    }
}

/// What the two slots of a note say.
pub(crate) fn slots<E: Extent>(file: &File) -> io::Result<[Slot<E>; 2]> {
    let slot = |index: u64| {
        Slot::read(file, E::START + index * SLOT_BYTES as u64, |bytes: &[u8; SLOT_BYTES]| {
            E::of(bytes).filter(|extent| encode(*extent) == *bytes)
        })
    };
    Ok([slot(0)?, slot(1)?])
}

fn encode(extent: impl Extent) -> [u8; SLOT_BYTES] {
    let said = extent.bytes();
    let check = blake3::hash(&said);
    let mut slot = [0; SLOT_BYTES];
    for (to, from) in slot.iter_mut().zip(said.iter().chain(check.as_bytes())) {
        *to = *from;
    }
    slot
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acknowledged::Acknowledged;

    #[test]
    fn the_greatest_number_whose_slot_checks_counts_and_a_damaged_slot_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout { dir: dir.path().to_owned(), in_bucket: false };
        let writes = || {
            let said = Acknowledged::read(&layout).unwrap();
            (said.writes, said.wrong.writes)
        };
        assert_eq!(writes(), (0, [false; 2]));
        let extent = Note::open(&layout).unwrap();
        for sequence in [3_u64, 9, 7, 12] {
            extent.note(sequence).unwrap();
        }
        assert_eq!(writes(), (12, [false; 2]));
        let mut bytes = std::fs::read(layout.head()).unwrap();
        for at in [128, 160] {
            let mut torn = bytes.clone();
            torn[at + 7] ^= 1;
            std::fs::write(layout.head(), torn).unwrap();
            let (found, wrong) = writes();
            assert!([9, 12].contains(&found) && wrong == [at == 128, at == 160], "{found}");
            extent.mend(wrong).unwrap();
            assert_eq!(writes(), (12, [false; 2]));
        }
        bytes[128] ^= 1;
        bytes[160] ^= 1;
        std::fs::write(layout.head(), bytes).unwrap();
        assert_eq!(writes(), (0, [true; 2]));
        Note::open(&layout).unwrap().note(20_u64).unwrap();
        assert_eq!(writes(), (20, [false, true]));
    }
}
