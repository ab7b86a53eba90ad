//! How far the database was acknowledged, noted outside of it, so that a log that was cut or damaged is not taken for one
//! that ends there.
//!
//! RocksDB replays its write-ahead log up to the first record that does not check: after a power cut that is the end of what
//! was written, and nothing acknowledged is behind it. A flipped bit or a cut file looks the same to it. So the number of
//! the last acknowledged write stands in `HEAD`, behind the journal's slots, in two slots that are written in turn:
//!
//! ```text
//! 8 bytes  sequence number of the write, big-endian
//! 24 bytes start of the BLAKE3 of the above
//! ```
//! It is written after the database's own sync and synced with the journal's head, never earlier: what it says is always
//! true. After a power cut it may say less than the truth; whatever an event names is covered, since events sync it.

use crate::{
    Error, Result,
    acknowledged::{Slot, Wrong},
    layout::Layout,
    store::lock,
};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::Mutex,
};

const SLOT_BYTES: usize = 32;
/// Behind the journal's two slots of 64 bytes.
const START: u64 = 128;

/// The note of a store that is open for writing.
#[derive(Debug)]
pub(crate) struct Extent {
    file: File,
    path: PathBuf,
    /// The last number that was noted, and the slot that the next one goes to.
    last: Mutex<(u64, u64)>,
}

impl Extent {
    pub(crate) fn open(layout: &Layout) -> Result<Self> {
        let path = layout.head();
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(Error::io("open", &path))?;
        let slots = slots(&file).map_err(Error::io("read", &path))?;
        let last = slots.into_iter().filter_map(Slot::whole).max().unwrap_or(0);
        // the older one is overwritten, so that the newer one stays if this write is torn
        let next = if slots[0] == Slot::Whole(last) { 1 } else { 0 };
        Ok(Self { file, path, last: Mutex::new((last, next)) })
    }

    /// Notes that everything up to a write is acknowledged; call it after the database has synced it.
    pub(crate) fn note(&self, sequence: u64) -> Result<()> {
        let mut last = lock(&self.last);
        if sequence <= last.0 {
            return Ok(());
        }
        let at = START + last.1 * SLOT_BYTES as u64;
        self.file.write_all_at(&encode(sequence), at).map_err(Error::io("write", &self.path))?;
        *last = (sequence, 1 - last.1);
        Ok(())
    }

    /// Writes the slots again that are damaged.
    pub(crate) fn mend(&self, wrong: &Wrong) -> Result<()> {
        let last = lock(&self.last);
        for (index, _) in (0..).zip(wrong.writes).filter(|(_, wrong)| *wrong) {
            let at = START + index * SLOT_BYTES as u64;
            self.file.write_all_at(&encode(last.0), at).map_err(Error::io("write", &self.path))?;
        }
        match wrong.writes {
            [false, false] => Ok(()),
            _ => self.file.sync_data().map_err(|source| Error::Sync { path: self.path.clone(), source }),
        }
    }
}

/// What the two slots say.
pub(crate) fn slots(file: &File) -> io::Result<[Slot<u64>; 2]> {
    let slot = |index: u64| {
        Slot::read(file, START + index * SLOT_BYTES as u64, |bytes: &[u8; SLOT_BYTES]| {
            let sequence = u64::from_be_bytes(*bytes.first_chunk::<8>()?);
            (encode(sequence) == *bytes).then_some(sequence)
        })
    };
    Ok([slot(0)?, slot(1)?])
}

fn encode(sequence: u64) -> [u8; SLOT_BYTES] {
    let number = sequence.to_be_bytes();
    let check = blake3::hash(&number);
    let mut slot = [0; SLOT_BYTES];
    for (to, from) in slot.iter_mut().zip(number.iter().chain(check.as_bytes())) {
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
        let extent = Extent::open(&layout).unwrap();
        for sequence in [3, 9, 7, 12] {
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
            extent.mend(&Wrong { writes: wrong, ..Wrong::default() }).unwrap();
            assert_eq!(writes(), (12, [false; 2]));
        }
        bytes[128] ^= 1;
        bytes[160] ^= 1;
        std::fs::write(layout.head(), bytes).unwrap();
        assert_eq!(writes(), (0, [true; 2]));
        Extent::open(&layout).unwrap().note(20).unwrap();
        assert_eq!(writes(), (20, [false, true]));
    }
}
