//! The tables: the only module that knows RocksDB.
//!
//! | table (column family) | key | value |
//! |---|---|---|
//! | `default` | `format` | [`FORMAT`] |
//! | `images` | manifest, 32 bytes, then the image's name | its components as JSON |
//! | `uses` | package, NUL, manifest, 32 bytes, image's name | the package's version |
//! | `advisories` | id | record's digest, aliases and packages as JSON |
//! | `aliases` | alias, NUL, id | nothing |
//! | `touches` | package, NUL, id | nothing |
//!
//! `uses`, `aliases` and `touches` are `images` and `advisories` turned around; a change writes both sides at once.

use crate::{DatabaseFault, Error, Result};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, Direction, IteratorMode,
    LogLevel, Options, ReadOptions, WriteBatch, WriteOptions,
};
use std::path::{Path, PathBuf};

/// The version of the tables above.
pub(crate) const FORMAT: &str = "anneal-index 1";
const FORMAT_KEY: &[u8] = b"format";
/// Memory for blocks read from tables.
const BLOCK_CACHE_BYTES: usize = 16 << 20;
/// Memory for writes before they go to a table, per column family.
const WRITE_BUFFER_BYTES: usize = 4 << 20;
/// Write-ahead log kept before the oldest tables are flushed.
const WAL_BYTES_MAX: u64 = 16 << 20;
/// How many of the engine's own logs are kept.
const ENGINE_LOGS: usize = 2;

/// A table of the schema above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Images,
    Uses,
    Advisories,
    Aliases,
    Touches,
}

impl Table {
    pub(crate) const ALL: [Self; 5] = [Self::Images, Self::Uses, Self::Advisories, Self::Aliases, Self::Touches];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Uses => "uses",
            Self::Advisories => "advisories",
            Self::Aliases => "aliases",
            Self::Touches => "touches",
        }
    }
}

/// Writes that become visible and durable together; of two for one key the later counts.
#[derive(Default)]
pub(crate) struct Changes(Vec<(Table, Vec<u8>, Option<Vec<u8>>)>);

impl Changes {
    pub(crate) fn put(&mut self, table: Table, key: Vec<u8>, value: impl Into<Vec<u8>>) {
        self.0.push((table, key, Some(value.into())));
    }
    pub(crate) fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.0.push((table, key, None));
    }
}

/// A key and its value.
pub(crate) type Row = (Box<[u8]>, Box<[u8]>);

/// The open database.
pub(crate) struct Db {
    inner: DB,
    path: PathBuf,
}

impl Db {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let mut options = table_options(&cache);
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_total_wal_size(WAL_BYTES_MAX);
        options.set_keep_log_file_num(ENGINE_LOGS);
        options.set_log_level(LogLevel::Warn);
        options.set_stats_dump_period_sec(0);
        let families = Table::ALL.map(|table| ColumnFamilyDescriptor::new(table.name(), table_options(&cache)));
        let inner = DB::open_cf_descriptors(&options, path, families).map_err(|e| fault("open", path, e))?;
        let db = Self { inner, path: path.to_owned() };
        db.check_format()?;
        Ok(db)
    }

    fn check_format(&self) -> Result<()> {
        match self.inner.get(FORMAT_KEY).map_err(|e| fault("read", &self.path, e))? {
            Some(found) if found == FORMAT.as_bytes() => Ok(()),
            Some(found) => {
                let found = String::from_utf8_lossy(&found).chars().take(60).flat_map(char::escape_debug).collect();
                Err(Error::Format { path: self.path.clone(), found, known: FORMAT })
            }
            None => self.inner.put_opt(FORMAT_KEY, FORMAT, &synced()).map_err(|e| fault("write", &self.path, e)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn family(&self, table: Table, operation: &'static str) -> Result<&ColumnFamily> {
        self.inner.cf_handle(table.name()).ok_or_else(|| Error::Database {
            operation,
            path: self.path.clone(),
            source: DatabaseFault(format!("table `{}` is missing", table.name())),
        })
    }

    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let family = self.family(table, "read")?;
        self.inner.get_cf(family, key).map_err(|e| fault("read", &self.path, e))
    }

    /// Writes all changes or none, synced.
    pub(crate) fn write(&self, changes: Changes) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (table, key, value) in changes.0 {
            let family = self.family(table, "write")?;
            match value {
                Some(value) => batch.put_cf(family, key, value),
                None => batch.delete_cf(family, key),
            }
        }
        self.inner.write_opt(batch, &synced()).map_err(|e| fault("write", &self.path, e))
    }

    /// The rows whose keys begin with a prefix, in order of their keys.
    pub(crate) fn rows<'a>(
        &'a self,
        table: Table,
        prefix: &[u8],
    ) -> Result<impl Iterator<Item = Result<Row>> + use<'a>> {
        let family = self.family(table, "read")?;
        let mut options = ReadOptions::default();
        if let Some(end) = prefix_end(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let from = IteratorMode::From(prefix, Direction::Forward);
        let rows = self.inner.iterator_cf_opt(family, options, from);
        Ok(rows.map(|row| row.map_err(|e| fault("read", &self.path, e))))
    }
}

/// The end of the range of keys that begin with a prefix.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix.get(..=kept)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

fn table_options(cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_format_version(5);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_compression_type(DBCompressionType::Lz4);
    options
}

fn fault(operation: &'static str, path: &Path, error: rocksdb::Error) -> Error {
    Error::Database { operation, path: path.to_owned(), source: DatabaseFault(error.into_string()) }
}
