//! The handle: opening, and the state that all parts share.

use crate::{
    Backend, BucketPlace, Error, Result,
    acknowledged::Acknowledged,
    backend,
    collect::{self, Touches},
    db::{self, Changes, Db},
    engine_list::ListEnd,
    extent::Note,
    journal::{self, Head},
    layout::Layout,
    record::ChunkHash,
    remake,
};
use anneal_content::TreeDigest;
use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// What content leaves free on the disk, so that a full store can still take events, be read and be collected.
pub const RESERVE_BYTES: u64 = 32 << 20;
/// What records leave free: the database must never run out of space in the middle of its own work.
pub(crate) const RECORD_RESERVE_BYTES: u64 = RESERVE_BYTES / 2;

/// What a handle may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Read and write, alone.
    ReadWrite,
    /// Read what was there when it was opened.
    ReadOnly,
}

/// A store of blobs, trees, results, events and records. Cheap to clone; all clones are one store.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// What the clones of a handle share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) layout: Layout,
    pub(crate) db: Db,
    pub(crate) backend: Box<dyn Backend>,
    mode: OpenMode,
    pub(crate) chunk_hash: ChunkHash,
    failed: AtomicBool,
    temporaries: AtomicU64,
    /// Held while a number is taken and its row written.
    pub(crate) numbering: Mutex<()>,
    pub(crate) head: Mutex<Option<Head>>,
    /// The last write, and how far the list of tables goes, of a writer.
    extents: Option<(Note<u64>, Note<ListEnd>)>,
    pub(crate) making: Mutex<BTreeSet<TreeDigest>>,
    pub(crate) made: Condvar,
    pub(crate) touches: Arc<Touches>,
    // last: released when everything else is closed
    _lock: Option<File>,
}

impl Store {
    /// Opens the store in `dir`.
    ///
    /// A writer makes the store if the directory is empty or missing, is alone (a second one gets [`Error::Locked`]),
    /// and removes what an interrupted one left. A reader needs no lock, changes nothing, and sees what was
    /// acknowledged before it opened, also while a writer runs.
    ///
    /// A new store keeps its blobs in `dir`; one that was made otherwise knows where they are.
    pub fn open(dir: &Path, mode: OpenMode) -> Result<Self> {
        Self::open_trusting(dir, mode, ChunkHash::default())
    }

    /// The same with a choice of what vouches for the chunks of blobs: with SHA-256 no other hash is trusted.
    pub fn open_trusting(dir: &Path, mode: OpenMode, chunk_hash: ChunkHash) -> Result<Self> {
        Self::open_with(dir, mode, chunk_hash, None)
    }

    /// Opens the store in `dir` for writing, which keeps its blobs in a bucket. The bucket may have moved since.
    pub fn open_in_bucket(dir: &Path, chunk_hash: ChunkHash, bucket: &BucketPlace) -> Result<Self> {
        Self::open_with(dir, OpenMode::ReadWrite, chunk_hash, Some(bucket))
    }

    fn open_with(dir: &Path, mode: OpenMode, chunk_hash: ChunkHash, bucket: Option<&BucketPlace>) -> Result<Self> {
        let (layout, mut lock) = Layout::open(dir, mode, bucket.is_some())?;
        // before the database, so that a reader beside a writer never knows more than the database that it sees
        let acknowledged = Acknowledged::read(&layout)?;
        let mut writing = None;
        if let Some(lock) = lock.as_mut() {
            look(&layout, &acknowledged)?;
            collect::drop_ballast(&layout)?;
            layout.settle(lock)?;
        }
        let db = Db::open(&layout.db(), mode)?;
        hold(&acknowledged, &layout, &db, mode)?;
        remake::require_whole(&layout, &db)?;
        let backend = backend::open(&layout, &db, mode, bucket)?;
        if mode == OpenMode::ReadWrite {
            let head = Head::open(&layout, &db)?;
            writing = Some((head, (Note::open(&layout)?, Note::open(&layout)?)));
        }
        let (head, extents) = writing.unzip();
        let inner = Inner {
            layout,
            db,
            backend,
            mode,
            chunk_hash,
            failed: AtomicBool::new(false),
            temporaries: AtomicU64::new(0),
            numbering: Mutex::new(()),
            head: Mutex::new(head),
            extents,
            making: Mutex::new(BTreeSet::new()),
            made: Condvar::new(),
            touches: Arc::default(),
            _lock: lock,
        };
        if mode == OpenMode::ReadWrite {
            inner.take_ballast();
            inner.mend_head()?;
            inner.begin_list(acknowledged.writes)?;
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The store as it is now: a reader sees what was acknowledged when it opened, so it opens once more.
    pub fn reopen(&self) -> Result<Self> {
        match self.inner.mode {
            OpenMode::ReadWrite => Ok(self.clone()),
            mode => Self::open_trusting(&self.inner.layout.dir, mode, self.inner.chunk_hash),
        }
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        &self.inner.layout.dir
    }

    /// Where the bytes of blobs are.
    pub fn backend(&self) -> &dyn Backend {
        &*self.inner.backend
    }

    /// Whether the blobs are files of this store, and not in a bucket.
    pub fn keeps_blobs_as_files(&self) -> bool {
        !self.inner.layout.in_bucket
    }

    /// Notes for the next open what the engine did by itself since the last write. Worth a call now and then where a writer
    /// is open and idle.
    pub fn note_extent(&self) -> Result<()> {
        self.inner.poison(self.inner.note_list())
    }

    /// Whether this handle may write.
    pub fn mode(&self) -> OpenMode {
        self.inner.mode
    }
}

/// Whether the database that is there can be opened and has all that was acknowledged: opened to read, which changes
/// nothing, because opening it to write replaces what it could not replay.
fn look(layout: &Layout, acknowledged: &Acknowledged) -> Result<()> {
    let path = layout.db();
    // a first open that was interrupted
    if acknowledged.is_nothing() && db::is_blank(&path) {
        // which has no blob yet: they come after the first slot of the file HEAD
        let was_used = acknowledged.says_nothing() && layout.holds_blobs()?;
        return if was_used { Err(Error::HeadLost { dir: layout.dir.clone() }) } else { Ok(()) };
    }
    let db = Db::look(&path)?;
    let held = acknowledged.hold_against(layout, &db);
    // what a writer goes on from must be readable, too
    held.and_then(|()| journal::end(layout, &db).map(drop)).map_err(Error::into_unopened)
}

/// The same for a database that is open.
fn hold(acknowledged: &Acknowledged, layout: &Layout, db: &Db, mode: OpenMode) -> Result<()> {
    match acknowledged.hold_against(layout, db) {
        // it may have been made after it was looked for, and before the database was opened
        Err(Error::HeadLost { .. }) if mode == OpenMode::ReadOnly => {
            Acknowledged::read(layout)?.hold_against(layout, db)
        }
        held => held.map_err(Error::into_unopened),
    }
}

impl Drop for Inner {
    /// What the engine did since the last write is known to the next open, too.
    fn drop(&mut self) {
        if self.extents.is_none() || self.failed.load(Ordering::Acquire) {
            return;
        }
        self.db.end_work();
        if let Err(error) = self.note_list() {
            tracing::warn!(%error, "how far the list of tables goes was not noted");
        }
    }
}

impl Inner {
    pub(crate) fn mode(&self) -> OpenMode {
        self.mode
    }

    /// Whether content may be written, which must leave the reserve.
    pub(crate) fn may_write(&self, what: &Path, bytes: u64) -> Result<()> {
        self.may_use(what, bytes, RESERVE_BYTES)
    }

    fn may_use(&self, what: &Path, bytes: u64, reserve_bytes: u64) -> Result<()> {
        let dir = || self.layout.dir.clone();
        if self.mode == OpenMode::ReadOnly {
            return Err(Error::ReadOnly { dir: dir() });
        }
        if self.failed.load(Ordering::Acquire) {
            return Err(Error::Poisoned { dir: dir() });
        }
        let free_bytes = self.free_bytes()?;
        if free_bytes < reserve_bytes.saturating_add(bytes) {
            return Err(Error::Full { path: what.to_owned(), free_bytes, reserve_bytes });
        }
        Ok(())
    }

    /// Whether the database may be written, which may use a part of the reserve.
    pub(crate) fn may_record(&self) -> Result<()> {
        self.may_use(&self.layout.db(), 0, RECORD_RESERVE_BYTES)
    }

    /// What the file system has left for the store.
    pub(crate) fn free_bytes(&self) -> Result<u64> {
        self.layout.free_bytes()
    }

    /// No more writes: what is durable is no longer known.
    pub(crate) fn poison<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.failed.store(true, Ordering::Release);
            tracing::error!(%error, store = %self.layout.dir.display(), "the store takes no more writes");
        }
        result
    }

    /// No more writes where a sync failed; what a backend merely refused leaves no doubt.
    pub(crate) fn poison_unsynced<T>(&self, result: Result<T>) -> Result<T> {
        if matches!(result, Err(Error::Sync { .. })) { self.poison(result) } else { result }
    }

    /// Writes to the database, synced.
    pub(crate) fn write_db(&self, changes: Changes) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        self.may_record()?;
        self.poison(self.db.write(changes).and_then(|()| match &self.extents {
            Some((writes, _)) => writes.note(self.db.sequence()).and_then(|()| self.note_list()),
            None => Ok(()),
        }))
    }

    /// Notes how far the list of tables goes when a store is opened. Before the first write nothing is acknowledged, and the
    /// database may be another than the one that was noted; after it both slots are there.
    fn begin_list(&self, writes: u64) -> Result<()> {
        match &self.extents {
            Some((_, list)) if writes == 0 => self.poison(list.begin(self.db.list_end(ListEnd::default()))),
            _ => self.poison(self.note_list()),
        }
    }

    /// Notes how far the list of tables goes, where that is farther than before.
    fn note_list(&self) -> Result<()> {
        match &self.extents {
            Some((_, list)) => list.note(self.db.list_end(list.last())),
            None => Ok(()),
        }
    }

    /// Writes damaged slots of `HEAD` again, where this handle may write; says how many they were.
    pub(crate) fn mend_head(&self) -> Result<usize> {
        let guard = lock(&self.head);
        let wrong = Acknowledged::read(&self.layout)?.wrong;
        let slots = wrong.count();
        if let (Some(head), Some((writes, list))) = (guard.as_ref(), &self.extents)
            && slots > 0
        {
            let mended = writes.mend(wrong.writes).and_then(|()| list.mend(wrong.list));
            self.poison_unsynced(mended.and_then(|()| head.mend(&wrong)))?;
            let file = self.layout.head();
            tracing::warn!(file = %file.display(), slots, "damaged; what it says stood there twice, and was written again");
        }
        Ok(slots)
    }

    /// A path in `tmp` that nobody else has.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.layout.tmp().join(self.temporaries.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

/// Locks; a thread that panicked with the lock held leaves data that is replaced whole, never half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
