//! The metadata: the only module that knows RocksDB.
//!
//! | table (column family) | key | value |
//! |---|---|---|
//! | `blobs` | digest, 32 bytes | [`crate::record::BlobRecord`]: size and a hash of every MiB, BLAKE3 or SHA-256 |
//! | `results` | action, 32 bytes, then a number, 4 bytes big-endian | a `SignedResult` as JSON (before signing: an `ActionResult`, which is not believed) |
//! | `failures` | action, 32 bytes | a `FailureRecord` as JSON |
//! | `journal` | sequence number, 8 bytes big-endian | 32 bytes of chain, then the event |
//! | `records` | kind, a NUL, key | the bytes |
//!
//! Kinds of records that the store itself writes: `damage` (how a blob was damaged), `pin` (what a human keeps, and why),
//! `collected` (when a blob was collected that something names for ever), `remaking` (which table is being made again).
//!
//! The engine checks a checksum with every block that it reads, of tables, of their list and of its log. Its log is replayed
//! up to the first record that does not check (its mode "point in time"), and `extent.rs` knows whether that is far enough.
//!
//! Every write is synced before it returns. A write that fails leaves the engine in a state that must not be written
//! to again, so the caller poisons the store.

use crate::{
    DatabaseFault, Error, OpenMode, Result,
    engine_list::{self, ListEnd},
    engine_log, engine_table,
};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Direction, ErrorKind,
    IteratorMode, LogLevel, Options, ReadOptions, WriteBatch, WriteOptions,
};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

const MIB: usize = 1 << 20;
/// Memory for blocks read from tables.
const BLOCK_CACHE_BYTES: usize = 32 * MIB;
/// Memory for writes before they go to a table, per column family.
const WRITE_BUFFER_BYTES: usize = 8 * MIB;
/// Write-ahead log kept before the oldest tables are flushed: what an open must replay at most.
const WAL_BYTES_MAX: u64 = 32 << 20;
/// How many of the engine's own logs are kept.
const ENGINE_LOGS: usize = 4;
/// How often a reader tries again when the writer changes files under it.
const READER_ATTEMPTS: usize = 50;
/// How long it waits before that.
const READER_PAUSE: Duration = Duration::from_millis(20);

/// Counts of what makes the list of tables longer, and of how often that failed.
const WORK_ON_TABLES: [&str; 3] =
    ["rocksdb.num-running-flushes", "rocksdb.num-running-compactions", "rocksdb.background-errors"];

/// A table of the schema above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Blobs,
    Results,
    Failures,
    Journal,
    Records,
}

impl Table {
    pub(crate) const ALL: [Self; 5] = [Self::Blobs, Self::Results, Self::Failures, Self::Journal, Self::Records];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Blobs => "blobs",
            Self::Results => "results",
            Self::Failures => "failures",
            Self::Journal => "journal",
            Self::Records => "records",
        }
    }
}

/// Writes that become visible and durable together.
#[derive(Default)]
pub(crate) struct Changes(Vec<(Table, Vec<u8>, Option<Vec<u8>>)>);

impl Changes {
    pub(crate) fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push((table, key.into(), Some(value.into())));
    }
    pub(crate) fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.0.push((table, key.into(), None));
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A key and its value.
pub(crate) type Row = (Box<[u8]>, Box<[u8]>);

/// The database of one store.
pub(crate) struct Db {
    inner: DB,
    path: PathBuf,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Db {
    /// Opens the database; a reader sees what was there at this moment, also beside a running writer.
    pub(crate) fn open(path: &Path, mode: OpenMode) -> Result<Self> {
        if mode == OpenMode::ReadOnly {
            require_head(path)?;
        }
        engine_log::check_all(path)?;
        engine_list::check(path)?;
        let mut attempt = 1;
        let mut last = None;
        loop {
            let (before, files) = (engine_list::end(path), files_of(path));
            let opened = open_once(path, mode).map_err(|error| unopened(path, error));
            let error = match opened {
                // The engine reads the list of tables, then the log. What the writer moves from the one to the other
                // meanwhile is in neither, though later writes are seen.
                Ok(_) if mode == OpenMode::ReadOnly && engine_list::end(path) != before => Error::Database {
                    operation: "open tables",
                    path: path.to_owned(),
                    source: DatabaseFault("the writer changes them again and again; try again".to_owned()),
                },
                Ok(inner) => return Ok(Self { inner, path: path.to_owned() }),
                Err(error) => error,
            };
            // where no file changes, no writer is at fault, and it will not get better
            let stands_still = files == files_of(path) && last.as_ref() == Some(&files);
            if mode != OpenMode::ReadOnly || attempt == READER_ATTEMPTS || stands_still {
                return Err(error);
            }
            last = Some(files);
            std::thread::sleep(READER_PAUSE);
            attempt += 1;
        }
    }

    /// Opens the database that the caller alone may write to as it is on the disk, without changing it.
    pub(crate) fn look(path: &Path) -> Result<Self> {
        require_head(path)?;
        engine_log::check_all(path)?;
        engine_list::check(path)?;
        let inner = open_once(path, OpenMode::ReadOnly).map_err(|error| unopened(path, error))?;
        Ok(Self { inner, path: path.to_owned() })
    }

    /// Opens what there is of a database whose tables may be damaged or missing, to look at it or to drop one.
    /// The engine then takes its files as they are, and does no work of its own that would read them.
    pub(crate) fn open_damaged(path: &Path, mode: OpenMode) -> Result<Self> {
        require_head(path)?;
        engine_log::check_all(path)?;
        engine_list::check(path)?;
        let mut options = options();
        options.set_paranoid_checks(false);
        let there = DB::list_cf(&options, path).map_err(|error| unopened(path, error))?;
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let families =
            Table::ALL.into_iter().filter(|table| there.iter().any(|name| name == table.name())).map(|table| {
                let mut options = table_options(table, &cache);
                options.set_disable_auto_compactions(true);
                ColumnFamilyDescriptor::new(table.name(), options)
            });
        let opened = match mode {
            OpenMode::ReadWrite => DB::open_cf_descriptors(&options, path, families),
            OpenMode::ReadOnly => DB::open_cf_descriptors_read_only(&options, path, families, false),
        };
        Ok(Self { inner: opened.map_err(|error| unopened(path, error))?, path: path.to_owned() })
    }

    /// Drops a table, if it is there. What was in it is not read.
    pub(crate) fn drop_table(&mut self, table: Table) -> Result<()> {
        match self.inner.cf_handle(table.name()) {
            Some(_) => self.inner.drop_cf(table.name()).map_err(|e| fault("drop a table", &self.path, e)),
            None => Ok(()),
        }
    }

    /// Makes a table that was dropped, without rows.
    pub(crate) fn make_table(&mut self, table: Table) -> Result<()> {
        let options = table_options(table, &Cache::new_lru_cache(BLOCK_CACHE_BYTES));
        self.inner.create_cf(table.name(), &options).map_err(|e| fault("make a table", &self.path, e))
    }

    fn family(&self, table: Table, operation: &'static str) -> Result<&rocksdb::ColumnFamily> {
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

    pub(crate) fn contains(&self, table: Table, key: &[u8]) -> Result<bool> {
        let family = self.family(table, "read")?;
        let found = self.inner.get_pinned_cf(family, key).map_err(|e| fault("read", &self.path, e))?;
        Ok(found.is_some())
    }

    /// How far the list of tables was synced; `known` was noted before. The engine syncs it before the work that made it
    /// longer is over, so what was seen of it counts where there is no such work, and none failed. Nobody else may sync it:
    /// where the engine could not, a second sync would report success for what is lost.
    pub(crate) fn list_end(&self, known: ListEnd) -> ListEnd {
        let Some(end) = engine_list::end(&self.path).filter(|end| *end > known) else { return known };
        let is_none = |what: &&str| self.inner.property_int_value(*what) == Ok(Some(0));
        if WORK_ON_TABLES.iter().all(is_none) { end } else { known }
    }

    /// Ends the engine's own work, as closing does; what was begun is done again after the next open.
    pub(crate) fn end_work(&self) {
        self.inner.cancel_all_background_work(true);
    }

    /// Refuses a database whose list of tables ends before what was noted of it.
    pub(crate) fn hold_list(&self, noted: ListEnd) -> Result<()> {
        engine_list::hold(&self.path, noted)
    }

    /// The number of the last write.
    pub(crate) fn sequence(&self) -> u64 {
        self.inner.latest_sequence_number()
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
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.inner.write_opt(batch, &options).map_err(|e| {
            // left alone, the engine would try to mend a full disk by itself, and sync again what could not be synced
            self.inner.cancel_all_background_work(true);
            fault("write", &self.path, e)
        })
    }

    /// What is wrong with the files of tables where no row shows it, with the table that each belongs to.
    pub(crate) fn damaged_files(&self) -> Result<Vec<(String, Error)>> {
        let files = self.inner.live_files().map_err(|e| fault("list tables", &self.path, e))?;
        let mut damaged = Vec::new();
        for file in files {
            let path = self.path.join(file.name.trim_start_matches('/'));
            let wrong = match engine_table::check(&path) {
                Ok(Ok(())) => continue,
                Ok(Err(wrong)) => wrong,
                // the writer has put another in its place
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => e.to_string(),
            };
            let source = DatabaseFault(format!("{}: {wrong}", path.display()));
            let fault = Error::Database { operation: "check a table", path: self.path.clone(), source };
            damaged.push((file.column_family_name, fault));
        }
        Ok(damaged)
    }

    /// The rows from `start` on, in order of their keys, up to and without `end` (`None`: to the last).
    pub(crate) fn rows<'a>(
        &'a self,
        table: Table,
        start: &[u8],
        end: Option<Vec<u8>>,
    ) -> Result<impl Iterator<Item = Result<Row>> + use<'a>> {
        let family = self.family(table, "read")?;
        let mut options = ReadOptions::default();
        if let Some(end) = end {
            options.set_iterate_upper_bound(end);
        }
        let from = IteratorMode::From(start, Direction::Forward);
        let rows = self.inner.iterator_cf_opt(family, options, from);
        Ok(rows.map(|row| row.map_err(|e| fault("read", &self.path, e))))
    }

    /// The row with the greatest key.
    pub(crate) fn last(&self, table: Table) -> Result<Option<Row>> {
        let family = self.family(table, "read")?;
        let row = self.inner.iterator_cf_opt(family, ReadOptions::default(), IteratorMode::End).next();
        row.transpose().map_err(|e| fault("read", &self.path, e))
    }
}

/// The database as it was at one moment, whatever is written since.
pub(crate) struct Snapshot<'a> {
    db: &'a Db,
    inner: rocksdb::Snapshot<'a>,
}

impl Db {
    /// What is there now, all tables at the same moment.
    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        Snapshot { db: self, inner: self.inner.snapshot() }
    }
}

impl Snapshot<'_> {
    /// All rows of a table, in order of their keys.
    pub(crate) fn rows(&self, table: Table) -> Result<impl Iterator<Item = Result<Row>>> {
        let family = self.db.family(table, "read")?;
        let rows = self.inner.iterator_cf(family, IteratorMode::Start);
        Ok(rows.map(|row| row.map_err(|e| fault("read", &self.db.path, e))))
    }

    /// The row with the greatest key.
    pub(crate) fn last(&self, table: Table) -> Result<Option<Row>> {
        let family = self.db.family(table, "read")?;
        let row = self.inner.iterator_cf(family, IteratorMode::End).next();
        row.transpose().map_err(|e| fault("read", &self.db.path, e))
    }
}

/// The end of the range of keys that begin with a prefix.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix.get(..=kept)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

fn open_once(path: &Path, mode: OpenMode) -> std::result::Result<DB, rocksdb::Error> {
    let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
    let families = || Table::ALL.map(|table| ColumnFamilyDescriptor::new(table.name(), table_options(table, &cache)));
    let mut options = options();
    match mode {
        OpenMode::ReadWrite => {
            options.create_if_missing(true);
            options.create_missing_column_families(true);
            DB::open_cf_descriptors(&options, path, families())
        }
        OpenMode::ReadOnly => DB::open_cf_descriptors_read_only(&options, path, families(), false),
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_keep_log_file_num(ENGINE_LOGS);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options
}

fn table_options(table: Table, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    // from this version on the last bytes of a table have a checksum, too
    blocks.set_format_version(6);
    if table == Table::Blobs {
        blocks.set_bloom_filter(10.0, false);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_compression_type(if table == Table::Blobs { DBCompressionType::None } else { DBCompressionType::Lz4 });
    options
}

/// The files of the database and how long each is.
fn files_of(path: &Path) -> BTreeMap<OsString, u64> {
    let files = std::fs::read_dir(path).into_iter().flatten().flatten();
    files.map(|file| (file.file_name(), file.metadata().map_or(0, |found| found.len()))).collect()
}

/// Whether nothing was ever written to a database, whatever a first open that was stopped has left of it.
pub(crate) fn is_blank(path: &Path) -> bool {
    let holds_rows = |name: &OsString, bytes: u64| {
        let kind = Path::new(name).extension();
        kind.is_some_and(|kind| kind == "sst") || (kind.is_some_and(|kind| kind == "log") && bytes > 0)
    };
    !files_of(path).iter().any(|(name, bytes)| holds_rows(name, *bytes))
}

/// Refuses a database that lacks what names its tables: opened to write, it would be replaced by an empty one.
fn require_head(path: &Path) -> Result<()> {
    let lacks = if path.is_dir() { "CURRENT, which names the list of its tables," } else { "its directory" };
    match path.join("CURRENT").is_file() {
        true => Ok(()),
        false => Err(Error::Beheaded { path: path.to_owned(), lacks }),
    }
}

/// Why a database did not open: what will not get better by itself is told from what may.
fn unopened(path: &Path, error: rocksdb::Error) -> Error {
    let is_lasting = match error.kind() {
        ErrorKind::Corruption | ErrorKind::NotFound | ErrorKind::InvalidArgument => true,
        ErrorKind::IOError => error.as_ref().contains("No such file"),
        _ => false,
    };
    match is_lasting {
        true => Error::Unopened { path: path.to_owned(), source: DatabaseFault(error.into_string()) },
        false => fault("open tables", path, error),
    }
}

fn fault(operation: &'static str, path: &Path, error: rocksdb::Error) -> Error {
    Error::Database { operation, path: path.to_owned(), source: DatabaseFault(error.into_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_about_the_store_lists_every_table_and_what_the_store_itself_records() {
        let page = include_str!("../../../docs/store.md");
        let kinds = ["damage", "pin", "collected", "remaking"];
        for name in Table::ALL.map(Table::name).into_iter().chain(kinds) {
            assert!(page.contains(&format!("\n| `{name}` |")), "{name}");
        }
    }
}
