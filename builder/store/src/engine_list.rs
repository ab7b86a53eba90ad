//! Three things about the engine's list of tables that the engine does not tell.
//!
//! The list (`MANIFEST-N`, which `CURRENT` names) is a log of changes, in the form that `engine_log.rs` draws. The engine
//! reads it up to the first record that is not all there, as a power cut leaves it. **A length** in which one bit is flipped,
//! so that its record goes beyond what is there, looks the same, but then the write-ahead log whose rows went to the tables
//! of that record was removed long ago: rows from the middle would be missing, and what was written after them would be
//! there. The checksum does not cover the length, so it tells: with the right length the record still checks. No power
//! cut leaves that, because the length and what is behind it come together.
//!
//! **A list that was cut** between two records is not told from one that ends there either. How far it was synced is noted
//! outside of the database (`extent.rs`): of one file it may only grow, and a file with a greater number takes its place.
//!
//! **The name** of the database stands in the list and in the file `IDENTITY`.

use crate::{DatabaseFault, Error, OpenMode, Result, Store, engine_table::varint, layout::sync};
use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read as _},
    path::{Path, PathBuf},
};

const BLOCK_BYTES: u64 = 32 << 10;
const HEADER_BYTES: usize = 7;
/// The longest record that is put together.
const RECORD_BYTES_MAX: usize = 64 << 20;
/// The field of a record with the name of the database: a text with its length.
const IDENTITY_FIELD: u64 = (1 << 13) + 1;

/// How far the list of tables goes: which file it is, and how long that is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListEnd {
    /// The `N` of `MANIFEST-N`.
    pub(crate) number: u64,
    pub(crate) bytes: u64,
}

/// Where the present list ends; `None` where a writer replaced it just now.
pub(crate) fn end(db: &Path) -> Option<ListEnd> {
    let list = list_of(db).ok()?;
    let number = list.file_name()?.to_str()?.strip_prefix("MANIFEST-")?.parse().ok()?;
    Some(ListEnd { number, bytes: fs::metadata(list).ok()?.len() })
}

impl ListEnd {
    fn name(self) -> String {
        format!("MANIFEST-{:06}", self.number)
    }
}

/// Refuses a database whose list of tables ends before what was noted of it.
pub(crate) fn hold(db: &Path, noted: ListEnd) -> Result<()> {
    let Some(found) = end(db).filter(|found| *found < noted) else { return Ok(()) };
    let (name, bytes) = (found.name(), found.bytes);
    let wrong = match found.number == noted.number {
        true => format!("{name} was cut: it has {bytes} bytes, and {} were acknowledged", noted.bytes),
        false => format!("{name} is older than the list that was acknowledged, {}", noted.name()),
    };
    let source = DatabaseFault(format!("{wrong}; restore it from a backup"));
    Err(Error::Database { operation: "read the list of tables", path: db.to_owned(), source })
}

/// Refuses a database whose list of tables seems to end where the length of a record is damaged.
pub(crate) fn check(db: &Path) -> Result<()> {
    let (name, at) = match list_of(db).and_then(|list| Ok((each_record(&list, |_| true)?, list))) {
        Ok((None, _)) => return Ok(()),
        Ok((Some(at), list)) => (list.file_name().unwrap_or_default().display().to_string(), at),
        // a writer removed it beside this reader; what is really missing the engine says
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => return Ok(()),
        Err(e) => return Err(Error::io("read the list of tables in", db)(e)),
    };
    let source =
        DatabaseFault(format!("{name}: the record at byte {at} has a damaged length; restore it from a backup"));
    Err(Error::Database { operation: "read the list of tables", path: db.to_owned(), source })
}

fn list_of(db: &Path) -> io::Result<PathBuf> {
    Ok(db.join(fs::read_to_string(db.join("CURRENT"))?.trim_end()))
}

/// The name of the database, as the list of tables has it.
fn identity(db: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut found = None;
    each_record(&list_of(db)?, |mut change| {
        found = (varint(&mut change) == Some(IDENTITY_FIELD)).then(|| text(&mut change).map(<[u8]>::to_vec)).flatten();
        found.is_none()
    })?;
    Ok(found)
}

/// Whether the file `IDENTITY` gives the database another name than the list of tables, which alone counts: the engine
/// writes that file again, without a word, when it opens the database for writing. `mend` does so in between.
pub(crate) fn has_wrong_identity(db: &Path, mend: bool) -> Result<bool> {
    let path = db.join("IDENTITY");
    let named = match identity(db) {
        Ok(Some(named)) => named,
        Ok(None) => return Ok(false),
        // a writer put another list in its place beside this reader
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::io("read the list of tables in", db)(e)),
    };
    match fs::read(&path) {
        Ok(found) if found.trim_ascii_end() == named => return Ok(false),
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io("read", &path)(e)),
        _ => {}
    }
    if mend {
        let new = db.join("IDENTITY.dbtmp");
        fs::write(&new, named).map_err(Error::io("write", &new))?;
        sync(&new)?;
        fs::rename(&new, &path).map_err(Error::io("rename into place", &path))?;
        sync(db)?;
    }
    Ok(true)
}

/// A text with its length before it.
fn text<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(text)
}

/// Gives each record of a log up to the first that is not all there, or until `then` says no. Where that one would check
/// if one bit of its length were another: where it begins.
fn each_record(path: &Path, mut then: impl FnMut(&[u8]) -> bool) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let (mut block, mut record, mut start) = (Vec::new(), Vec::new(), 0);
    loop {
        block.clear();
        if file.by_ref().take(BLOCK_BYTES).read_to_end(&mut block)? == 0 {
            return Ok(None);
        }
        let mut rest = block.as_slice();
        while rest.len() >= HEADER_BYTES {
            let Some((kind, bytes, after)) = part(rest, 0) else {
                let at = start + (block.len() - rest.len()) as u64;
                return Ok((0..16).any(|bit| part(rest, 1 << bit).is_some()).then_some(at));
            };
            rest = after;
            if matches!(kind, 1 | 2) {
                record.clear();
            }
            record.extend_from_slice(bytes);
            let is_whole = matches!(kind, 1 | 4);
            if record.len() > RECORD_BYTES_MAX || (is_whole && !then(&record)) {
                return Ok(None);
            }
        }
        start += block.len() as u64;
    }
}

/// The part of a record that begins here, where it checks with these bits of its length turned: its kind, its bytes, and
/// what is after it.
fn part(from: &[u8], turned: u16) -> Option<(u8, &[u8], &[u8])> {
    let (checksum, rest) = from.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let end = 1 + usize::from(u16::from_le_bytes(*length) ^ turned);
    let (checked, after) = rest.split_at_checked(end)?;
    let (kind, bytes) = checked.split_first()?;
    let expected = crc32c(checked).rotate_right(15).wrapping_add(0xa282_ead8);
    (matches!(kind, 1..=4) && u32::from_le_bytes(*checksum) == expected).then_some((*kind, bytes, after))
}

/// The checksum of the engine's logs: Castagnoli's polynomial, bit by bit, since little is read here.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

impl Store {
    /// Whether the database's file `IDENTITY` has rotted. The writer writes it again.
    pub fn has_wrong_identity(&self) -> Result<bool> {
        has_wrong_identity(&self.inner.layout.db(), self.mode() == OpenMode::ReadWrite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        // RFC 3720, B.4
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_name_of_the_database_that_rotted_is_found_by_a_reader_and_written_again_by_the_writer() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path(), OpenMode::ReadWrite).unwrap());
        let (path, reader) = (dir.path().join("db/IDENTITY"), Store::open(dir.path(), OpenMode::ReadOnly).unwrap());
        let sound = fs::read(&path).unwrap();
        assert!(!sound.is_empty() && !reader.has_wrong_identity().unwrap());
        for at in 0..sound.len() {
            let mut rotten = sound.clone();
            rotten[at] ^= 4;
            fs::write(&path, rotten).unwrap();
            assert!(reader.has_wrong_identity().unwrap(), "byte {at}");
        }
        let writer = Store::open(dir.path(), OpenMode::ReadWrite).unwrap();
        assert!(!reader.has_wrong_identity().unwrap());
        assert_eq!(fs::read(&path).unwrap(), sound);
        fs::write(&path, b"rot while it is open").unwrap();
        assert!(writer.has_wrong_identity().unwrap() && !writer.has_wrong_identity().unwrap());
        assert!(!reader.has_wrong_identity().unwrap());
        assert_eq!(fs::read(&path).unwrap(), sound);
        fs::remove_file(&path).unwrap();
        assert!(reader.has_wrong_identity().unwrap() && writer.has_wrong_identity().unwrap());
        assert_eq!(fs::read(&path).unwrap(), sound);
    }
}
