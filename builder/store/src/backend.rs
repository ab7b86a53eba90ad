//! Where the bytes of blobs are: a trait, and what may be relied on whoever implements it.
//!
//! | implementation | where | made durable by |
//! |---|---|---|
//! | [`directory`](directory.rs) | files beside the metadata, the default | sync, rename, sync |
//! | [`bucket`](bucket.rs) | objects on an S3-compatible server | the server, when it answers 200 |
//!
//! The metadata (sizes, chunk hashes, results, journal) is in the local database in both cases, and the database alone
//! says which blobs there are. A backend is asked for bytes by digest and for nothing else; it is not trusted, since
//! each chunk that it gives is compared with the hash in the database. `tests/contract` holds every implementation
//! against this contract:
//!
//! * **All or nothing.** A blob is there whole or not at all, whatever ends a [`Backend::keep`] half-way.
//! * **Durable.** What `keep` was given is there under its digest, with its bytes, when it returns `Ok`. What was there
//!   under that digest before, right or wrong, doesn't matter.
//! * **Absent is an answer, unreachable an error.** Only a backend that is sure answers that a blob is not there.
//! * **Together.** All functions may be called by many threads at once, also about the same blob.
//!
//! A store keeps the backend that it was made with, and says in its directory which one that is (`place.rs`).

mod bucket;
mod directory;
mod place;

pub use bucket::{BucketFault, BucketPlace};
pub(crate) use directory::{FileContent, digests_in, move_away};

use crate::{
    Error, OpenMode, Result,
    db::{Db, Table},
    layout::Layout,
};
use anneal_content::BlobDigest;
use bucket::Bucket;
use directory::Directory;
use place::Place;
use std::{
    fmt::Debug,
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
};

/// A finished file in the store's `tmp` that is to become a blob.
#[derive(Debug)]
pub struct Staged {
    /// What its bytes hash to.
    pub digest: BlobDigest,
    /// How many they are.
    pub size: u64,
    /// The file. It may be moved away.
    pub path: PathBuf,
}

/// Keeps the bytes of blobs.
pub trait Backend: Debug + Send + Sync {
    /// Makes staged files blobs; all are durable when it returns `Ok`, and any may be when it does not.
    ///
    /// `file_system` is a handle on the file system of the staged files that was opened before the first was written.
    /// An [`Error::Sync`](crate::Error::Sync) says that nobody knows what is durable any more.
    fn keep(&self, staged: &[Staged], file_system: &File) -> Result<()>;

    /// Opens a blob, of which the bytes in `range` will be asked for; `None` where it is not there, and
    /// [`Error::Damaged`](crate::Error::Damaged) where what is there can hold no bytes.
    fn open(&self, digest: &BlobDigest, range: Range<u64>) -> Result<Option<Box<dyn Content>>>;

    /// Moves what a damaged blob holds to the file `to`, on the store's own file system, for a human to look at. One that
    /// is not there is fine.
    fn set_aside(&self, digest: &BlobDigest, to: &Path) -> Result<()>;

    /// Takes blobs out of sight; those that are not there are fine. What may take its time is left in the directory
    /// `bin`, which the caller removes. Gives how many went, as far as that is known.
    fn take_away(&self, digests: &[BlobDigest], bin: &Path) -> Result<u64>;

    /// All blobs whose digests begin with a byte, in order, also those that no record names.
    fn list(&self, first: u8) -> Result<Vec<BlobDigest>>;

    /// When blobs came, in milliseconds since 1970 by the clock of whoever keeps them; `None` where one is not there.
    fn came_ms(&self, digests: &[BlobDigest]) -> Result<Vec<Option<u64>>>;

    /// The blob's file on the store's own file system, to which a tree may link; `None` where there is no such thing.
    fn inode(&self, digest: &BlobDigest) -> Option<PathBuf>;

    /// What people call it.
    fn name(&self) -> String;
}

/// The bytes of one blob.
pub trait Content: Debug + Send {
    /// How many the backend has, which may be more or fewer than there should be.
    fn size(&self) -> u64;

    /// Replaces the buffer by `count` bytes from `offset` on; `false` where the content ends before.
    fn read_at(&mut self, offset: u64, count: usize, buffer: &mut Vec<u8>) -> Result<bool>;
}

/// Where a store's blobs are, as its directory says, or the caller where it is new or its bucket has moved.
pub(crate) fn open(layout: &Layout, db: &Db, mode: OpenMode, bucket: Option<&BucketPlace>) -> Result<Box<dyn Backend>> {
    let dir = || layout.dir.clone();
    match bucket {
        None if !layout.in_bucket => return Ok(Box::new(Directory::new(layout.clone()))),
        Some(asked) if !layout.in_bucket => {
            return Err(Error::OtherBackend { dir: dir(), asked: Box::new(asked.clone()) });
        }
        _ => {}
    }
    let known = Place::read(layout)?;
    let place = match (&known, bucket) {
        (Some(known), None) => known.clone(),
        (Some(known), Some(bucket)) => Place { bucket: bucket.clone(), ..known.clone() },
        (None, Some(bucket)) => Place::new(bucket.clone())?,
        (None, None) => return Err(Error::NoBucket { dir: dir() }),
    };
    let opened = Bucket::new(&place)?;
    if mode == OpenMode::ReadWrite {
        // before the bucket repeats the name, so that one that was claimed is never nobody's
        if known.is_none() {
            place.write(layout)?;
        }
        opened.claim(&place, db.rows(Table::Blobs, &[], None)?.next().is_none())?;
        if known.is_some_and(|known| known != place) {
            place.write(layout)?;
        }
    }
    Ok(Box::new(opened))
}
