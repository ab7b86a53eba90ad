//! What a scrub asks of a store: everything that there is, a part at a time.
//!
//! The tables are read through a handle of their own, which has none of their blocks in memory and so reads the disk; the
//! engine checks each block as it comes.
//!
//! Nothing here notes that a blob is used, so that reading all of a store keeps nothing in it alive.

use crate::{
    Error, FailureRecord, OpenMode, Result, Store,
    db::{Db, Row, Table, prefix_end},
    record::BlobRecord,
};
use anneal_content::BlobDigest;
use std::collections::BTreeMap;

/// The blobs whose digests begin with one byte: a 256th of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Those in service, in order, with their sizes.
    pub recorded: Vec<(BlobDigest, u64)>,
    /// Files beside them that no record names.
    pub leftovers: u64,
}

/// A table of the database that was read from its first row to its last, or to where it could not be read.
#[derive(Debug)]
pub struct TableRead {
    /// What it is called.
    pub name: &'static str,
    /// How many rows were read.
    pub rows: u64,
    /// What is wrong with it.
    pub fault: Option<Error>,
}

/// How much of a key is told.
const KEY_SHOWN: usize = 40;
/// How many rows are read between two looks at whether to stop.
const ROWS_BETWEEN_LOOKS: u64 = 1024;

impl Store {
    /// Reads every row of every table, and what else its files hold. An error says that the database cannot even be opened
    /// once more. Tables that are left out were not read, because it was stopped.
    pub fn read_tables(&self, stop: &(dyn Fn() -> bool + Sync)) -> Result<Vec<TableRead>> {
        let fresh = Self::open_trusting(&self.inner.layout.dir, OpenMode::ReadOnly, self.inner.chunk_hash)?;
        read_all(&fresh.inner.db, stop)
    }

    /// The blobs that begin with a byte.
    pub fn part(&self, first: u8) -> Result<Part> {
        // files first: a blob that is put meanwhile has its file before its row
        let found = self.inner.backend.list(first)?;
        let mut part = Part::default();
        for row in self.inner.db.rows(Table::Blobs, &[first], prefix_end(&[first]))? {
            let (key, value) = row?;
            let digest = BlobDigest::from_bytes(key.first_chunk::<32>().copied().unwrap_or_default());
            part.recorded.push((digest, BlobRecord::size(&digest, &value)?));
        }
        let is_recorded = |digest: &BlobDigest| part.recorded.binary_search_by(|(known, _)| known.cmp(digest)).is_ok();
        part.leftovers = found.iter().filter(|digest| !is_recorded(digest)).count() as u64;
        Ok(part)
    }

    /// How long a blob is; `None` where it is not in service.
    pub fn recorded_size(&self, digest: &BlobDigest) -> Result<Option<u64>> {
        let record = self.inner.db.get(Table::Blobs, digest.as_bytes())?;
        record.map(|bytes| BlobRecord::size(digest, &bytes)).transpose()
    }
}

/// Reads every row of every table, and what else their files hold.
pub(crate) fn read_all(db: &Db, stop: &(dyn Fn() -> bool + Sync)) -> Result<Vec<TableRead>> {
    let mut read = Vec::new();
    let mut files: BTreeMap<String, Error> = db.damaged_files()?.into_iter().rev().collect();
    for table in Table::ALL {
        let mut done = TableRead { name: table.name(), rows: 0, fault: None };
        match db.rows(table, &[], None) {
            Err(fault) => done.fault = Some(fault),
            Ok(rows) => {
                for row in rows {
                    match row.and_then(|row| is_well_formed(table, &row)) {
                        Ok(()) => done.rows += 1,
                        Err(fault) => {
                            done.fault = Some(fault);
                            break;
                        }
                    }
                    if done.rows.is_multiple_of(ROWS_BETWEEN_LOOKS) && stop() {
                        return Ok(read);
                    }
                }
            }
        }
        done.fault = done.fault.or_else(|| files.remove(table.name()));
        read.push(done);
    }
    Ok(read)
}

/// Whether a row is one that this store writes; what a journal's chain and a result's signature say is another question.
fn is_well_formed(table: Table, (key, value): &Row) -> Result<()> {
    let wrong = |reason: &str| {
        let shown = key.iter().take(KEY_SHOWN).map(|byte| format!("{byte:02x}")).collect::<String>();
        Err(Error::Record { what: format!("row {shown} of table `{}`", table.name()), reason: reason.to_owned() })
    };
    match table {
        Table::Blobs => match <[u8; 32]>::try_from(&**key) {
            Ok(digest) => BlobRecord::size(&BlobDigest::from_bytes(digest), value).map(drop),
            Err(_) => wrong("its key is no digest"),
        },
        Table::Failures if key.len() != 32 => wrong("its key is no action"),
        Table::Failures => match serde_json::from_slice::<FailureRecord>(value) {
            Ok(_) => Ok(()),
            Err(error) => wrong(&error.to_string()),
        },
        Table::Results if key.len() != 36 => wrong("its key is no action with a number"),
        Table::Journal if key.len() != 8 => wrong("its key is no number"),
        Table::Journal if value.len() < 32 => wrong("it is too short"),
        Table::Records if !key.contains(&0) => wrong("its key has no kind"),
        Table::Results | Table::Journal | Table::Records => Ok(()),
    }
}
