//! Small records: bytes by kind and key, for what is neither content nor an event (enrolled keys, cursors, pins).

use crate::{
    Error, Result, Store,
    db::{Changes, Table, prefix_end},
};

const KIND_BYTES_MAX: usize = 64;
const KEY_BYTES_MAX: usize = 1024;
const VALUE_BYTES_MAX: u64 = 16 << 20;

impl Store {
    /// Writes a record, in place of an earlier one; durable when it returns.
    pub fn put_record(&self, kind: &str, key: &str, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 > VALUE_BYTES_MAX {
            return Err(Error::TooLong { what: format!("record {kind}/{key}"), limit: VALUE_BYTES_MAX });
        }
        let mut changes = Changes::default();
        changes.put(Table::Records, full_key(kind, key)?, bytes);
        self.inner.write_db(changes)
    }

    /// Removes a record; none is fine.
    pub fn remove_record(&self, kind: &str, key: &str) -> Result<()> {
        let mut changes = Changes::default();
        changes.delete(Table::Records, full_key(kind, key)?);
        self.inner.write_db(changes)
    }

    /// One record.
    pub fn record(&self, kind: &str, key: &str) -> Result<Option<Vec<u8>>> {
        self.inner.db.get(Table::Records, &full_key(kind, key)?)
    }

    /// All records of a kind, sorted by key.
    pub fn records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let mut prefix = checked("kind", kind, KIND_BYTES_MAX)?.to_vec();
        prefix.push(0);
        let rows = self.inner.db.rows(Table::Records, &prefix, prefix_end(&prefix))?;
        rows.map(|row| {
            let (key, value) = row?;
            let key = key.strip_prefix(prefix.as_slice()).unwrap_or_default();
            let key = String::from_utf8(key.to_vec());
            let what = || format!("a key of the records `{kind}`");
            let key = key.map_err(|e| Error::Record { what: what(), reason: e.to_string() })?;
            Ok((key, value.into_vec()))
        })
        .collect()
    }
}

fn full_key(kind: &str, key: &str) -> Result<Vec<u8>> {
    Ok([checked("kind", kind, KIND_BYTES_MAX)?, &[0], checked("key", key, KEY_BYTES_MAX)?].concat())
}

fn checked<'a>(part: &'static str, text: &'a str, limit: usize) -> Result<&'a [u8]> {
    if (1..=limit).contains(&text.len()) && !text.contains('\0') {
        return Ok(text.as_bytes());
    }
    let found = text.chars().take(120).flat_map(char::escape_debug).collect();
    Err(Error::RecordName { part, found, limit })
}
