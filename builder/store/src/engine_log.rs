//! The engine's logs (its write-ahead log and its list of tables), looked at before the engine reads them.
//!
//! ```text
//! blocks of 32 KiB; in a block, records one after the other, and zeros where none fits any more
//! 4 bytes  checksum
//! 2 bytes  length, little-endian
//! 1 byte   kind: 1 whole, 2 first, 3 middle, 4 last; the same plus 4 in a file that is used a second time
//! ```
//! Files are never used a second time here. A kind of that sort, which is one flipped bit away from each of the others,
//! makes the engine's reader of logs turn in circles for ever, so it must not come to see one.

use crate::{DatabaseFault, Error, Result, regular_file};
use std::{
    fs::File,
    io::{self, ErrorKind, Read as _},
    path::Path,
};

const BLOCK_BYTES: u64 = 32 << 10;
const HEADER_BYTES: usize = 7;
/// Kinds of records in files that are used a second time.
const REUSED: &[u8] = &[5, 6, 7, 8, 11, 131];

/// Refuses a database in whose logs the reader would not come to an end.
pub(crate) fn check_all(db: &Path) -> Result<()> {
    let names = match std::fs::read_dir(db) {
        Ok(names) => names,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("list", db)(e)),
    };
    for entry in names {
        let entry = entry.map_err(Error::io("list", db))?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        // the engine would wait for ever for somebody to write into a FIFO
        if let Some(kind) = entry.file_type().ok().filter(|kind| !kind.is_file() && !kind.is_dir()) {
            let what = regular_file::named(kind);
            let source = DatabaseFault(format!("{name} is {what}, and no regular file; restore it from a backup"));
            return Err(Error::Database { operation: "read the files", path: db.to_owned(), source });
        }
        if !name.ends_with(".log") && !name.starts_with("MANIFEST") {
            continue;
        }
        match reused(&path) {
            Ok(None) => {}
            Ok(Some(at)) => {
                let source = DatabaseFault(format!("{name} is damaged at byte {at}; restore it from a backup"));
                return Err(Error::Database { operation: "read the log", path: db.to_owned(), source });
            }
            // the writer beside this reader removed it
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("read", &path)(e)),
        }
    }
    Ok(())
}

/// Where the first record of such a kind begins.
fn reused(path: &Path) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let (mut block, mut start) = (Vec::new(), 0);
    loop {
        block.clear();
        if file.by_ref().take(BLOCK_BYTES).read_to_end(&mut block)? == 0 {
            return Ok(None);
        }
        if let Some(at) = reused_in(&block) {
            return Ok(Some(start + at as u64));
        }
        start += block.len() as u64;
    }
}

fn reused_in(block: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some([_, _, _, _, low, high, kind]) = block.get(at..at + HEADER_BYTES) {
        if REUSED.contains(kind) {
            return Some(at);
        }
        at += HEADER_BYTES + usize::from(u16::from_le_bytes([*low, *high]));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_a_file_that_is_used_again_is_found_wherever_a_record_begins() {
        let record = |kind: u8, len: u8| [vec![0, 0, 0, 0, len, 0, kind], vec![9; usize::from(len)]].concat();
        assert_eq!(reused_in(&[record(1, 3), record(4, 0)].concat()), None);
        assert_eq!(reused_in(&[record(1, 3), record(5, 0)].concat()), Some(10));
        // inside of a record the same byte means nothing, and neither do the zeros at a block's end
        assert_eq!(reused_in(&[record(1, 9), vec![0; 40]].concat()), None);
        assert_eq!(reused_in(&record(2, 200)[..60]), None);
    }
}
