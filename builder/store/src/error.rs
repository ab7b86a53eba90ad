//! What can go wrong in the store; each message names the object, what was found and what to do next.

use crate::{BucketFault, BucketPlace};
use anneal_content::{ActionDigest, BlobDigest, TreeDigest};
use std::{io, path::PathBuf};

/// What RocksDB reported, kept opaque so that no caller depends on the engine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DatabaseFault(pub(crate) String);

/// What to do about damage.
const MEND: &str = "mend it with `anneal store scrub`, or build it again";

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A second process wants to write.
    #[error("store {} is in use by {holder}; stop it, or ask it over its socket", dir.display())]
    Locked {
        /// The store's directory.
        dir: PathBuf,
        /// Who holds the lock, as the holder wrote it.
        holder: String,
    },
    /// The directory has things in it, but is not a store.
    #[error("{} is not empty and not an anneal store (no {marker} file in it); name another directory", dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// The file that marks a store.
        marker: &'static str,
    },
    /// There is no store to read.
    #[error("there is no store in {}; a command that writes, or the daemon, makes one", dir.display())]
    Absent {
        /// The directory.
        dir: PathBuf,
    },
    /// The store was written by another version.
    #[error("store {} has format `{found}`, this program knows `{known}`; use the program that wrote it", dir.display())]
    Format {
        /// The directory.
        dir: PathBuf,
        /// What its marker says, cut to 60 characters.
        found: String,
        /// What this program writes.
        known: &'static str,
    },
    /// The bucket that keeps the blobs refused, or could not be asked.
    #[error(transparent)]
    Bucket(Box<BucketFault>),
    /// A store that was made to keep its blobs elsewhere.
    #[error(
        "store {} keeps its blobs in its directory and not in {asked}; leave the bucket out of the configuration, or \
         make a new store and restore a backup into it", dir.display()
    )]
    OtherBackend {
        /// The store's directory.
        dir: PathBuf,
        /// What was to be opened.
        asked: Box<BucketPlace>,
    },
    /// A store whose blobs are in a bucket, of which nobody knows which one.
    #[error("store {} keeps its blobs in a bucket, and its file BUCKET is gone; put it back from a copy", dir.display())]
    NoBucket {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The file system lacks something that a store cannot do without.
    #[error("the file system of {} has no {lacks}, which a store needs; name a directory on ext4, xfs or btrfs", dir.display())]
    Footing {
        /// The directory.
        dir: PathBuf,
        /// What it lacks.
        lacks: &'static str,
        /// What it answered.
        #[source]
        source: io::Error,
    },
    /// The database ends before what was acknowledged.
    #[error(
        "the database of {} ends at write {found}, and write {acknowledged} was acknowledged: its log is damaged or cut; \
         nothing was changed, restore it from a backup",
        dir.display()
    )]
    Shortened {
        /// The store's directory.
        dir: PathBuf,
        /// The last write that was acknowledged.
        acknowledged: u64,
        /// The last one that can be read.
        found: u64,
    },
    /// The database is gone, or has tables and nothing that names them.
    #[error("the database {} is not whole: {lacks} is missing; nothing was changed, restore it from a backup", path.display())]
    Beheaded {
        /// The database's directory.
        path: PathBuf,
        /// What it lacks.
        lacks: &'static str,
    },
    /// The engine does not take its own files any more.
    #[error(
        "the database {} is damaged and cannot be opened; nothing was changed, `anneal store scrub --mend` makes the table \
         of blobs again where that alone is damaged, else restore it from a backup", path.display()
    )]
    Unopened {
        /// The database's directory.
        path: PathBuf,
        /// The engine's own words.
        #[source]
        source: DatabaseFault,
    },
    /// The table of blobs was dropped to be made again from their files, and that did not come to its end.
    #[error(
        "the table of blobs of {} is being made again from their files, and that was interrupted; stop the daemon and run \
         `anneal store scrub --mend`, which begins again", dir.display()
    )]
    HalfMade {
        /// The store's directory.
        dir: PathBuf,
    },
    /// There are rows, and nothing says any more how many were acknowledged.
    #[error(
        "the file HEAD of {}, which says what was acknowledged, is lost or damaged, so nobody can tell whether the \
         database has all of it; nothing was changed, put HEAD back from a copy or restore a backup", dir.display()
    )]
    HeadLost {
        /// The store's directory.
        dir: PathBuf,
    },
    /// A write to a store that was opened for reading.
    #[error("store {} is open for reading only, and this needs writing; go through the daemon", dir.display())]
    ReadOnly {
        /// The directory.
        dir: PathBuf,
    },
    /// The disk is full, or would be but for the reserve.
    #[error(
        "no space to write {}: {free_bytes} bytes are free and {reserve_bytes} are kept in reserve; make room and retry",
        path.display()
    )]
    Full {
        /// What was to be written.
        path: PathBuf,
        /// What is free.
        free_bytes: u64,
        /// What the store leaves free for the database and for collecting garbage.
        reserve_bytes: u64,
    },
    /// The file system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The verb, such as `write`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Data could not be made durable. Retrying could report success for data that the kernel has dropped.
    #[error("cannot make {} durable; the store takes no more writes: check the disk, then restart", path.display())]
    Sync {
        /// What was being synced.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// An earlier sync or database write failed, so this handle takes no more writes.
    #[error("store {} takes no more writes since an earlier one failed; check the disk, then restart", dir.display())]
    Poisoned {
        /// The directory.
        dir: PathBuf,
    },
    /// The database refused.
    #[error("cannot {operation} in the database {}", path.display())]
    Database {
        /// The verb, such as `read blob record`.
        operation: &'static str,
        /// The database's directory.
        path: PathBuf,
        /// What it said.
        #[source]
        source: DatabaseFault,
    },
    /// A value in the database does not decode.
    #[error("{what} in the store does not decode: {reason}; restore it from a backup")]
    Record {
        /// What kind of record, and its key.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The journal ends before the event that was acknowledged last, or its chain is broken.
    #[error("journal of {} is damaged at event {seq}: {reason}; restore it from a backup", dir.display())]
    Journal {
        /// The directory.
        dir: PathBuf,
        /// The event.
        seq: u64,
        /// What is wrong.
        reason: String,
    },
    /// A blob is not there.
    #[error("blob {digest} is not in the store; fetch or build it again")]
    Missing {
        /// The blob.
        digest: BlobDigest,
    },
    /// A blob was there, and nothing needed it any more.
    #[error("blob {digest} was collected on {date} by retention; build it again from the revision that it came from")]
    Collected {
        /// The blob.
        digest: BlobDigest,
        /// When, as a date.
        date: String,
    },
    /// A second collection was asked for.
    #[error("a collection is under way; wait for its end")]
    Collecting,
    /// Something that is kept cannot be followed, so nobody knows what else is to be kept.
    #[error("nothing was collected: {what} hides what it names ({wrong}), and it is kept for {why}; {MEND}")]
    Hidden {
        /// What cannot be read.
        what: String,
        /// What is wrong with it.
        wrong: String,
        /// What it is kept for.
        why: String,
    },
    /// A blob's bytes are not what was stored.
    #[error("blob {digest} is damaged: {reason}; it is no longer served, fetch or build it again")]
    Damaged {
        /// The blob.
        digest: BlobDigest,
        /// What differs.
        reason: String,
    },
    /// A stream's bytes are not those that were announced.
    #[error("expected blob {expected}, found {found} ({bytes} bytes); nothing of it was kept")]
    Mismatch {
        /// What was announced.
        expected: BlobDigest,
        /// What the bytes hash to.
        found: BlobDigest,
        /// How many came.
        bytes: u64,
    },
    /// A stream or value is longer than the caller allows.
    #[error("{what} is longer than the limit of {limit} bytes; nothing of it was kept")]
    TooLong {
        /// What was being stored or read.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A range does not lie in its blob.
    #[error("range {offset}+{len} is not in blob {digest} of {size} bytes")]
    Range {
        /// The blob.
        digest: BlobDigest,
        /// Where the range starts.
        offset: u64,
        /// How long it is.
        len: u64,
        /// How long the blob is.
        size: u64,
    },
    /// A directory may not be a tree.
    #[error(transparent)]
    Capture(#[from] anneal_capture::Error),
    /// A tree is not what its digest says.
    #[error("cannot use tree {tree}")]
    Tree {
        /// The tree.
        tree: TreeDigest,
        /// What is wrong.
        #[source]
        source: anneal_content::Error,
    },
    /// An action has more results than are kept.
    #[error("action {action} already has {limit} results; it is not deterministic, so more results say nothing new")]
    TooManyResults {
        /// The action.
        action: ActionDigest,
        /// The limit.
        limit: usize,
    },
    /// A record's kind or key can't be stored.
    #[error("`{found}` is not a record {part}: expected 1 to {limit} bytes without NUL")]
    RecordName {
        /// `kind` or `key`.
        part: &'static str,
        /// What was given, cut to 120 characters.
        found: String,
        /// The longest allowed.
        limit: usize,
    },
    /// A directory that is to hold a backup holds something else.
    #[error("{} is not an anneal backup that this program knows: {}", dir.display(), not_backup(found.as_deref(), marker, known))]
    NotBackup {
        /// The directory.
        dir: PathBuf,
        /// What its marker says, cut to 60 characters; none: it has none.
        found: Option<String>,
        /// The file that marks a backup.
        marker: &'static str,
        /// What this program writes.
        known: &'static str,
    },
    /// A second backup into the same directory.
    #[error("{holder} is writing to the backup {}; wait for its end", dir.display())]
    BackupLocked {
        /// The directory.
        dir: PathBuf,
        /// Who holds the lock, as the holder wrote it.
        holder: String,
    },
    /// A second backup of the same store.
    #[error("a backup of this store is under way; wait for its end")]
    BackingUp,
    /// The backup's disk is full.
    #[error("no space left for the backup {}; its earlier generations are whole: make room and try again, what was copied stays", dir.display())]
    BackupFull {
        /// The directory.
        dir: PathBuf,
    },
    /// The daemon stops.
    #[error("the backup to {} was stopped before its end; what was copied stays, and its earlier generations are whole", dir.display())]
    BackupStopped {
        /// The directory.
        dir: PathBuf,
    },
    /// A file of a backup is missing, or its bytes are not what its name says.
    #[error("{digest} in the backup {} is damaged: {reason}; use another copy of the backup, or an earlier generation", dir.display())]
    BackupDamaged {
        /// The directory.
        dir: PathBuf,
        /// What the file should be.
        digest: BlobDigest,
        /// What is wrong.
        reason: String,
    },
    /// There is no such generation.
    #[error("the backup {} has no generation{}: {}", dir.display(), number.map(|n| format!(" {n}")).unwrap_or_default(), known_generations(known))]
    NoGeneration {
        /// The directory.
        dir: PathBuf,
        /// Which was asked for.
        number: Option<u64>,
        /// Those there are.
        known: Vec<u64>,
    },
    /// A restore would have to mix with what is there.
    #[error("{} is not empty; a backup is restored into a directory of its own", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
}

fn not_backup(found: Option<&str>, marker: &str, known: &str) -> String {
    match found {
        Some(found) => format!("it has format `{found}`, expected `{known}`; use the program that wrote it"),
        None => format!("there is no {marker} file in it; name another directory, or an empty one to begin a backup"),
    }
}

fn known_generations(known: &[u64]) -> String {
    match known {
        [] => "none was ever finished in it; name another directory, or make a backup".to_owned(),
        known => format!("it has {}", known.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
    }
}

impl Error {
    /// Whether it says something about this machine at this moment, and nothing about what was asked for: the same may
    /// work when there is room again, or after a restart.
    pub fn is_of_the_machine(&self) -> bool {
        matches!(
            self,
            Self::Full { .. }
                | Self::Io { .. }
                | Self::Sync { .. }
                | Self::Poisoned { .. }
                | Self::Database { .. }
                | Self::Bucket(_)
        )
    }

    /// A database that cannot be read where it is opened, in the words of one that cannot be opened.
    pub(crate) fn into_unopened(self) -> Self {
        match self {
            Self::Database { path, source, .. } => Self::Unopened { path, source },
            other => other,
        }
    }

    /// A closure that names the operation and the path of an I/O error.
    pub(crate) fn io(operation: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }
}

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;
