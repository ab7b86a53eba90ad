//! Parts of the engine's tables that it does not check by itself when rows are read: a damaged list of properties is passed
//! over with a word in its log, and a filter is looked at when a key is asked for.
//!
//! ```text
//! blocks      bytes, 1 byte how they are compressed, 4 bytes checksum, little-endian
//! metaindex   a block, the last one: names and handles of the blocks that hold no rows
//! footer      53 bytes: 1 kind of checksum, 4 mark, 4 its own checksum, 4 context, 4 size of the metaindex, 24 zeros,
//!             4 version, 8 mark
//! ```
//! This is version 6 of RocksDB's block-based table. A checksum is the low half of XXH3 over the bytes, mixed with the
//! compression's byte, plus a number made of the context and of where the block lies.

use std::{
    fs::File,
    io::{self, Error, ErrorKind},
    os::unix::fs::FileExt as _,
    path::Path,
};
use twox_hash::XxHash3_64;

const FOOTER_BYTES: usize = 53;
const TRAILER_BYTES: usize = 5;
/// The one kind of checksum that is written here: XXH3.
const XXH3: u8 = 4;
const VERSION: u32 = 6;
/// What mixes a block's last byte into its checksum.
const LAST_BYTE_PRIME: u32 = 0x6b90_83d9;
/// The longest block that is read: none of these has more than a few bytes for each row.
const BLOCK_BYTES_MAX: u64 = 256 << 20;

/// Where a block lies, and how long it is without its trailer.
#[derive(Debug, Clone, Copy)]
struct Handle {
    offset: u64,
    bytes: u64,
}

/// Checks the blocks of a table that hold no rows; says which one is damaged, or that the file is of an unknown form.
pub(crate) fn check(path: &Path) -> io::Result<std::result::Result<(), String>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let Some(at) = bytes.checked_sub(FOOTER_BYTES as u64) else { return Ok(Err("it has no footer".to_owned())) };
    let mut footer = [0; FOOTER_BYTES];
    file.read_exact_at(&mut footer, at)?;
    let number = |from: usize| {
        footer.get(from..).and_then(|rest| rest.first_chunk::<4>()).map_or(0, |four| u32::from_le_bytes(*four))
    };
    let (kind, context, metaindex, version) = (footer[0], number(9), u64::from(number(13)), number(41));
    if (kind, version) != (XXH3, VERSION) {
        return Ok(Err(format!(
            "its footer says version {version} with checksum {kind}: expected {VERSION} with {XXH3}"
        )));
    }
    let Some(offset) = at.checked_sub(metaindex + TRAILER_BYTES as u64) else {
        return Ok(Err("its list of blocks begins before the file".to_owned()));
    };
    let Some(list) = block(&file, Handle { offset, bytes: metaindex }, context)? else {
        return Ok(Err("its list of blocks does not check".to_owned()));
    };
    let Some(parts) = parts(&list) else { return Ok(Err("its list of blocks does not decode".to_owned())) };
    for (name, handle) in parts {
        let lies_within = handle.offset.checked_add(handle.bytes).is_some_and(|end| end <= offset);
        if !lies_within || block(&file, handle, context)?.is_none() {
            return Ok(Err(format!("its block `{}` does not check", name.escape_ascii())));
        }
    }
    Ok(Ok(()))
}

/// A block's bytes, if they check.
fn block(file: &File, handle: Handle, context: u32) -> io::Result<Option<Vec<u8>>> {
    if handle.bytes > BLOCK_BYTES_MAX {
        return Ok(None);
    }
    let length = usize::try_from(handle.bytes).map_err(|_| Error::from(ErrorKind::InvalidData))?;
    let mut bytes = vec![0; length + TRAILER_BYTES];
    file.read_exact_at(&mut bytes, handle.offset)?;
    let trailer = bytes.split_off(length);
    let (Some(kind), Some(stored)) = (trailer.first(), trailer.last_chunk::<4>()) else { return Ok(None) };
    let [low, _] = halves(XxHash3_64::oneshot(&bytes));
    let [near, far] = halves(handle.offset);
    let mixed = low ^ u32::from(*kind).wrapping_mul(LAST_BYTE_PRIME);
    let expected = mixed.wrapping_add(context ^ near.wrapping_add(far));
    Ok((u32::from_le_bytes(*stored) == expected).then_some(bytes))
}

/// The low half and the high one.
fn halves(number: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// The names and handles that a metaindex lists: entries with the front of a name shared with the one before, then the
/// places where none is shared, and how many of those.
fn parts(list: &[u8]) -> Option<Vec<(Vec<u8>, Handle)>> {
    let (rest, count) = list.split_last_chunk::<4>()?;
    let places = usize::try_from(u32::from_le_bytes(*count) & 0x7fff_ffff).ok()?.checked_mul(4)?;
    let mut rest = rest.get(..rest.len().checked_sub(places)?)?;
    let (mut found, mut before) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let [shared, own, value] = [varint(&mut rest)?, varint(&mut rest)?, varint(&mut rest)?];
        let (shared, own, value) =
            (usize::try_from(shared).ok()?, usize::try_from(own).ok()?, usize::try_from(value).ok()?);
        let name = [before.get(..shared)?, rest.get(..own)?].concat();
        rest = rest.get(own..)?;
        let mut handle = rest.get(..value)?;
        rest = rest.get(value..)?;
        let handle = Handle { offset: varint(&mut handle)?, bytes: varint(&mut handle)? };
        found.push((name.clone(), handle));
        before = name;
    }
    Some(found)
}

/// A number in groups of seven bits, the lowest first.
pub(crate) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lists_that_end_too_soon_do_not_decode() {
        assert_eq!(varint(&mut &[0xac, 0x02][..]), Some(300));
        assert_eq!(varint(&mut &[0xac][..]), None);
        assert_eq!(varint(&mut &[0xff; 11][..]), None);
        let list = [0, 1, 2, b'a', 7, 9, 1, 1, 2, b'b', 8, 3, 0, 0, 0, 0, 1, 0, 0, 0];
        let names: Vec<_> = parts(&list).unwrap().into_iter().map(|(name, h)| (name, h.offset, h.bytes)).collect();
        assert_eq!(names, [(b"a".to_vec(), 7, 9), (b"ab".to_vec(), 8, 3)]);
        for end in 0..list.len() {
            let cut = [&list[..end], &[9; 3]].concat();
            let _ = parts(&cut);
        }
        assert!(parts(&[1, 1, 2, b'a', 7, 9, 0, 0, 0, 0]).is_none(), "nothing comes before the first name");
    }
}
