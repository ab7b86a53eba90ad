//! What is in a store, counted.

use crate::{
    Error, Result, Store,
    db::{Row, Table},
    record::BlobRecord,
};
use anneal_content::BlobDigest;

/// Counts over a whole store.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Blobs in service.
    pub blobs: u64,
    /// Their bytes together.
    pub blob_bytes: u64,
    /// Blobs that were found damaged and have not come again.
    pub damaged_blobs: u64,
    /// Actions with at least one result.
    pub actions: u64,
    /// Results of all actions.
    pub results: u64,
    /// Failures, expired ones too.
    pub failures: u64,
    /// Events in the journal.
    pub events: u64,
    /// Small records.
    pub records: u64,
    /// Trees that stand ready as directories.
    pub materialized_trees: u64,
    /// What the file system has left for the store.
    pub free_bytes: u64,
}

impl Store {
    /// What the file system has left for the store.
    pub fn free_bytes(&self) -> Result<u64> {
        self.inner.free_bytes()
    }

    /// Counts everything; reads the whole of the metadata.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats { events: self.event_count()?, free_bytes: self.inner.free_bytes()?, ..Stats::default() };
        for row in self.table(Table::Blobs)? {
            let (key, value) = row?;
            let key = key.first_chunk::<32>().copied().unwrap_or_default();
            stats.blobs += 1;
            stats.blob_bytes += BlobRecord::size(&BlobDigest::from_bytes(key), &value)?;
        }
        let mut last = Vec::new();
        for row in self.table(Table::Results)? {
            let action = row?.0.get(..32).unwrap_or_default().to_vec();
            stats.results += 1;
            stats.actions += u64::from(action != last);
            last = action;
        }
        for row in self.table(Table::Failures)? {
            row?;
            stats.failures += 1;
        }
        for row in self.table(Table::Records)? {
            row?;
            stats.records += 1;
        }
        stats.damaged_blobs = self.out_of_service()?.len() as u64;
        let trees = self.inner.layout.trees();
        let listed = std::fs::read_dir(&trees).map_err(Error::io("list", &trees))?;
        stats.materialized_trees = listed.count() as u64;
        Ok(stats)
    }

    /// Every row of the metadata, table by table in the order of keys. Stores that give the same rows say the same.
    pub fn each_row(&self, mut visit: impl FnMut(&'static str, &[u8], &[u8])) -> Result<()> {
        for table in Table::ALL {
            for row in self.table(table)? {
                let (key, value) = row?;
                visit(table.name(), &key, &value);
            }
        }
        Ok(())
    }

    fn table(&self, table: Table) -> Result<impl Iterator<Item = Result<Row>> + '_> {
        self.inner.db.rows(table, &[], None)
    }
}
