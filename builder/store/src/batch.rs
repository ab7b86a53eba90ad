//! The write path: many blobs made durable together.
//!
//! 1. write every temporary;
//! 2. the backend keeps them durably; in a directory it syncs them, each on its own if they are few, else all with one
//!    `syncfs`, renames them, and syncs the directories in the same way (`backend/directory.rs`);
//! 3. one synced database write; then the caller is told.
//!
//! A crash before 3 leaves blobs that no record names; they are replaced when the blob comes again. A sync that fails
//! is never repeated, because the kernel may have dropped the data and would report success: the store is poisoned.

use crate::{
    Error, Lease, Result, Staged,
    collect::Node,
    db::{Changes, Table},
    layout::{create_dir, remove_tree, sync},
    record::{BlobRecord, CHUNK_BYTES, RecordHasher},
    store::{Inner, lock},
    tree::MTIME_SECS,
};
use anneal_content::BlobDigest;
use std::{
    collections::BTreeMap,
    fs::{self, File, FileTimes, OpenOptions},
    io::{Read, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// Up to so many files or directories are synced one by one; more, with one `syncfs`.
const SYNC_EACH_MAX: usize = 8;
/// Room for a whole small file.
const READ_BYTES: usize = 64 << 10;
/// Temporaries beyond the first few are spread over so many directories, since each is locked while a file is made in it.
const LANES: u64 = 4;
/// The first few.
const UNSPREAD: u64 = 64;

/// Blobs on their way into the store; any thread may add. Dropped without [`Batch::commit`], it leaves nothing.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    store: &'a Inner,
    dir: PathBuf,
    next: AtomicU64,
    /// Opened before the first write, so that its error state covers all of them.
    file_system: OnceLock<File>,
    pending: Mutex<BTreeMap<BlobDigest, (PathBuf, BlobRecord)>>,
    /// What the batch adds or finds is not collected while it lives.
    _lease: Lease,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(store: &'a Inner) -> Result<Self> {
        let dir = store.temporary();
        store.may_write(&dir, 0)?;
        Ok(Self {
            store,
            dir,
            next: AtomicU64::new(0),
            file_system: OnceLock::new(),
            pending: Mutex::default(),
            _lease: store.touches.lease(),
        })
    }

    /// Adds bytes; those that the store or the batch has already cost nothing more than their digest.
    pub(crate) fn add_bytes(&self, bytes: &[u8], mode: u32) -> Result<(BlobDigest, u64)> {
        let mut hasher = RecordHasher::new(self.store.chunk_hash);
        hasher.update(bytes);
        let (digest, record) = hasher.finish();
        let size = record.size;
        if self.has(&digest)? {
            return Ok((digest, size));
        }
        let path = self.temporary(size)?;
        let written = create_in_lane(&path).and_then(|mut file| {
            file.write_all(bytes).map_err(|e| self.write_error(&path, e))?;
            finish(&file, &path, mode)
        });
        self.keep(digest, path, record, written)?;
        Ok((digest, size))
    }

    /// Adds a stream of at most `limit` bytes; `from` names it in errors.
    pub(crate) fn add_reader(
        &self,
        reader: &mut dyn Read,
        from: &Path,
        limit: u64,
        mode: u32,
    ) -> Result<(BlobDigest, u64)> {
        let mut buffer = Vec::new();
        let limit_reached = limit.saturating_add(1);
        let first = limit_reached.min(CHUNK_BYTES);
        read_some(reader, first, &mut buffer).map_err(Error::io("read", from))?;
        if buffer.len() as u64 > limit {
            return Err(Error::TooLong { what: from.display().to_string(), limit });
        }
        if (buffer.len() as u64) < first {
            return self.add_bytes(&buffer, mode);
        }
        let path = self.temporary(buffer.len() as u64)?;
        let mut hasher = RecordHasher::new(self.store.chunk_hash);
        let mut copy = || {
            let mut file = create_in_lane(&path)?;
            while !buffer.is_empty() {
                hasher.update(&buffer);
                if hasher.size() > limit {
                    return Err(Error::TooLong { what: from.display().to_string(), limit });
                }
                self.store.may_write(&path, buffer.len() as u64)?;
                file.write_all(&buffer).map_err(|e| self.write_error(&path, e))?;
                read_some(reader, CHUNK_BYTES, &mut buffer).map_err(Error::io("read", from))?;
            }
            finish(&file, &path, mode)
        };
        let written = copy();
        let (digest, record) = hasher.finish();
        let size = record.size;
        self.keep(digest, path, record, written)?;
        Ok((digest, size))
    }

    /// Takes over a file that is written and finished already, in `tmp`.
    pub(crate) fn add_file(&self, path: PathBuf, digest: BlobDigest, record: BlobRecord) -> Result<()> {
        self.start()?;
        self.keep(digest, path, record, Ok(()))
    }

    /// Records a temporary, or removes it where it failed or is not needed.
    fn keep(&self, digest: BlobDigest, path: PathBuf, record: BlobRecord, written: Result<()>) -> Result<()> {
        let is_new = written.and_then(|()| Ok(!self.has(&digest)?));
        if let Ok(true) = is_new
            && let std::collections::btree_map::Entry::Vacant(slot) = lock(&self.pending).entry(digest)
        {
            slot.insert((path, record));
            return Ok(());
        }
        let _ = fs::remove_file(&path);
        is_new.map(|_| ())
    }

    fn has(&self, digest: &BlobDigest) -> Result<bool> {
        // first, so that it is not collected between this look and the end of the batch
        self.store.touch(Node::Blob(*digest));
        if lock(&self.pending).contains_key(digest) {
            return Ok(true);
        }
        self.store.db.contains(Table::Blobs, digest.as_bytes())
    }

    fn start(&self) -> Result<&File> {
        if let Some(file) = self.file_system.get() {
            return Ok(file);
        }
        let root = &self.store.layout.dir;
        let file = File::open(root).map_err(Error::io("open", root))?;
        create_dir(&self.dir)?;
        Ok(self.file_system.get_or_init(|| file))
    }

    fn temporary(&self, bytes: u64) -> Result<PathBuf> {
        self.start()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let lane = (number >= UNSPREAD).then(|| self.dir.join(format!("lane{}", number % LANES)));
        let path = lane.as_ref().unwrap_or(&self.dir).join(number.to_string());
        self.store.may_write(&path, bytes)?;
        Ok(path)
    }

    /// A write that found no space says so in the store's words.
    fn write_error(&self, path: &Path, error: std::io::Error) -> Error {
        match (error.kind(), self.store.may_write(path, 1)) {
            (std::io::ErrorKind::StorageFull, Err(full)) => full,
            _ => Error::io("write", path)(error),
        }
    }

    /// Makes everything durable and visible.
    pub(crate) fn commit(self) -> Result<()> {
        let pending = std::mem::take(&mut *lock(&self.pending));
        if pending.is_empty() {
            return Ok(());
        }
        self.store.may_record()?;
        let (mut staged, mut changes) = (Vec::with_capacity(pending.len()), Changes::default());
        for (digest, (path, record)) in pending {
            changes.put(Table::Blobs, *digest.as_bytes(), record.encode());
            staged.push(Staged { digest, size: record.size, path });
        }
        self.store.poison_unsynced(self.store.backend.keep(&staged, self.start()?))?;
        self.store.write_db(changes)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.file_system.get().is_some()
            && let Err(error) = remove_tree(&self.dir)
        {
            tracing::warn!(%error, "a temporary directory stays until the next start");
        }
    }
}

/// Replaces the buffer by up to `count` bytes; fewer only at the end.
fn read_some(reader: &mut dyn Read, count: u64, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    buffer.clear();
    // without room the first reads are of a few bytes each
    buffer.reserve(READ_BYTES);
    reader.take(count).read_to_end(buffer).map(|_| ())
}

/// Opens a fresh file.
pub(crate) fn create(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    opened.map_err(Error::io("create", path))
}

/// Opens a fresh file whose directory may not be there yet.
fn create_in_lane(path: &Path) -> Result<File> {
    match (create(path), path.parent()) {
        (Err(Error::Io { source, .. }), Some(lane)) if source.kind() == std::io::ErrorKind::NotFound => {
            create_dir(lane)?;
            create(path)
        }
        (opened, _) => opened,
    }
}

/// Gives an inode the mode and the time that all of its kind have.
pub(crate) fn finish(file: &File, path: &Path, mode: u32) -> Result<()> {
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(Error::io("change mode of", path))?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(MTIME_SECS);
    let times = FileTimes::new().set_modified(time).set_accessed(time);
    file.set_times(times).map_err(Error::io("set times of", path))
}

/// Syncs files or directories of one file system: each on its own if they are few.
pub(crate) fn sync_all<'p>(
    count: usize,
    paths: impl Iterator<Item = &'p Path>,
    file_system: &File,
    batch: &Path,
) -> Result<()> {
    if count <= SYNC_EACH_MAX {
        return paths.into_iter().try_for_each(sync);
    }
    rustix::fs::syncfs(file_system).map_err(|e| Error::Sync { path: batch.to_owned(), source: e.into() })
}
