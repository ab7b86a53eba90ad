//! Rows of a table as bytes, cut into parts.
//!
//! ```text
//! 4 bytes  length of the key, big-endian     then the key
//! 4 bytes  length of the value, big-endian   then the value
//! ```
//! and so on. Where a part ends depends on the keys alone, so that a row that comes or goes changes one part and leaves
//! the others what they were in the generation before.

use crate::db::Row;

/// A part ends after this many bytes in any case.
const PART_BYTES: usize = 8 << 20;
/// The largest part that is read: one row may exceed the above by the longest event or record.
pub(super) const PART_BYTES_MAX: u64 = 64 << 20;

/// Rows on their way to a part.
#[derive(Default)]
pub(super) struct PartWriter(Vec<u8>);

impl PartWriter {
    /// Adds a row; gives the part that it ends.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        for field in [key, value] {
            self.0.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            self.0.extend_from_slice(field);
        }
        // one of 1024 keys
        let hash = blake3::hash(key);
        let ends = hash.as_bytes().first_chunk().is_some_and(|first| u16::from_be_bytes(*first) < 64);
        (ends || self.0.len() >= PART_BYTES).then(|| std::mem::take(&mut self.0))
    }

    /// The last part, if it has rows.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (!self.0.is_empty()).then_some(self.0)
    }
}

/// The rows of a part; an error once where it does not decode.
pub(super) fn rows(part: &[u8]) -> impl Iterator<Item = Result<Row, String>> {
    let mut rest = part;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let row = field(rest).and_then(|(key, after)| {
            let (value, after) = field(after)?;
            rest = after;
            Some((Box::from(key), Box::from(value)))
        });
        if row.is_none() {
            rest = &[];
        }
        Some(row.ok_or_else(|| "its rows do not decode".to_owned()))
    })
}

fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(keys: impl Iterator<Item = u64>) -> Vec<Vec<u8>> {
        let mut writer = PartWriter::default();
        let mut parts: Vec<_> = keys.filter_map(|key| writer.add(&key.to_be_bytes(), &[7; 40])).collect();
        parts.extend(writer.finish());
        parts
    }

    #[test]
    fn rows_survive_their_parts_and_a_cut_part_is_an_error() {
        let all = parts(0..5000);
        let keys = all.iter().flat_map(|part| rows(part)).map(|row| row.unwrap().0);
        assert!(keys.eq((0..5000_u64).map(|key| Box::from(key.to_be_bytes()))));
        let part = &all[0];
        for cut in [1, 3, 11, part.len() - 1] {
            assert!(rows(&part[..cut]).any(|row| row.is_err()), "cut at {cut}");
        }
        assert!(rows(&[0xff; 64]).any(|row| row.is_err()));
    }

    #[test]
    fn one_more_row_changes_one_part() {
        let (before, after) = (parts((0..20_000).filter(|key| *key != 9_000)), parts(0..20_000));
        let kept = after.iter().filter(|part| before.contains(part)).count();
        assert!(before.len() > 5, "{}", before.len());
        assert!(kept + 2 >= after.len(), "{kept} of {}", after.len());
    }
}
