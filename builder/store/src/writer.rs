//! A blob that is written piece by piece, by a caller that does not have it whole.

use crate::{
    Error, Result,
    batch::{Batch, create, finish},
    record::RecordHasher,
    store::Inner,
    tree::FILE_MODE,
};
use anneal_content::BlobDigest;
use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

/// Writes one blob; nothing is in the store before [`BlobWriter::commit`], and nothing stays without it.
#[derive(Debug)]
pub struct BlobWriter {
    store: Arc<Inner>,
    file: File,
    path: PathBuf,
    hasher: RecordHasher,
}

impl BlobWriter {
    pub(crate) fn new(store: Arc<Inner>) -> Result<Self> {
        let path = store.temporary();
        store.may_write(&path, 0)?;
        let file = create(&path)?;
        let hasher = RecordHasher::new(store.chunk_hash);
        Ok(Self { store, file, path, hasher })
    }

    /// How many bytes were written so far.
    pub const fn size(&self) -> u64 {
        self.hasher.size()
    }

    /// Makes the blob durable; gives its digest and size.
    pub fn commit(self) -> Result<(BlobDigest, u64)> {
        let (digest, record) = self.hasher.clone().finish();
        let size = record.size;
        finish(&self.file, &self.path, FILE_MODE)?;
        let batch = Batch::new(&self.store)?;
        batch.add_file(self.path.clone(), digest, record)?;
        batch.commit()?;
        Ok((digest, size))
    }

    /// Makes the blob durable if it is the expected one; gives its size. Otherwise nothing is kept.
    pub fn commit_as(mut self, expected: &BlobDigest) -> Result<u64> {
        let (found, record) = self.hasher.clone().finish();
        if found != *expected {
            return Err(Error::Mismatch { expected: *expected, found, bytes: record.size });
        }
        self.flush().map_err(Error::io("write", &self.path))?;
        self.commit().map(|(_, size)| size)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.store.may_write(&self.path, bytes.len() as u64).map_err(|error| match error {
            Error::Full { .. } => io::Error::new(io::ErrorKind::StorageFull, error),
            other => io::Error::other(other),
        })?;
        let count = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // after a commit it has moved to its place
        let _ = fs::remove_file(&self.path);
    }
}
