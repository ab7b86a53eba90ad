//! Blobs: bytes by SHA-256, put in whole and read back in checked chunks.

use crate::{
    BlobReader, BlobWriter, Error, Result, Store,
    batch::Batch,
    collect::Node,
    db::Table,
    record::BlobRecord,
    store::Inner,
    tree::{FILE_MODE, Wrong},
};
use anneal_content::{BlobDigest, BlobSource, ReadError};
use std::{io::Read, path::Path, sync::Arc};

impl Store {
    /// Stores bytes; durable when it returns.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<BlobDigest> {
        let batch = Batch::new(&self.inner)?;
        let (digest, _) = batch.add_bytes(bytes, FILE_MODE)?;
        batch.commit()?;
        Ok(digest)
    }

    /// Stores several blobs for the price of one.
    pub fn put_blobs(&self, blobs: &[&[u8]]) -> Result<Vec<BlobDigest>> {
        let batch = Batch::new(&self.inner)?;
        let digests = blobs.iter().map(|bytes| batch.add_bytes(bytes, FILE_MODE).map(|(digest, _)| digest));
        let digests = digests.collect::<Result<_>>()?;
        batch.commit()?;
        Ok(digests)
    }

    /// Stores a stream of at most `limit` bytes; gives its digest and size.
    pub fn put_reader(&self, reader: &mut dyn Read, limit: u64) -> Result<(BlobDigest, u64)> {
        let batch = Batch::new(&self.inner)?;
        let stored = batch.add_reader(reader, Path::new("the given stream"), limit, FILE_MODE)?;
        batch.commit()?;
        Ok(stored)
    }

    /// A blob to be written piece by piece.
    pub fn writer(&self) -> Result<BlobWriter> {
        BlobWriter::new(Arc::clone(&self.inner))
    }

    /// Whether a blob is in the store. A damaged one is not.
    pub fn has(&self, digest: &BlobDigest) -> Result<bool> {
        self.inner.touch(Node::Blob(*digest));
        self.inner.db.contains(Table::Blobs, digest.as_bytes())
    }

    /// How long a blob is; `None` where it is not in the store.
    pub fn size(&self, digest: &BlobDigest) -> Result<Option<u64>> {
        self.inner.touch(Node::Blob(*digest));
        let record = self.inner.db.get(Table::Blobs, digest.as_bytes())?;
        record.map(|bytes| BlobRecord::size(digest, &bytes)).transpose()
    }

    /// A reader over a whole blob.
    pub fn open_blob(&self, digest: &BlobDigest) -> Result<BlobReader> {
        let record = self.inner.blob_record(digest)?;
        let size = record.size;
        BlobReader::new(Arc::clone(&self.inner), *digest, record, 0, size)
    }

    /// A reader over `len` bytes from `offset`; the range must lie in the blob.
    pub fn open_range(&self, digest: &BlobDigest, offset: u64, len: u64) -> Result<BlobReader> {
        let record = self.inner.blob_record(digest)?;
        let size = record.size;
        match offset.checked_add(len) {
            Some(end) if end <= size => BlobReader::new(Arc::clone(&self.inner), *digest, record, offset, len),
            _ => Err(Error::Range { digest: *digest, offset, len, size }),
        }
    }

    /// A whole blob of at most `limit` bytes.
    pub fn read_blob(&self, digest: &BlobDigest, limit: u64) -> Result<Vec<u8>> {
        let mut reader = self.open_blob(digest)?;
        if reader.remaining() > limit {
            return Err(Error::TooLong { what: format!("blob {digest}"), limit });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(reader.remaining()).unwrap_or_default());
        while let Some(chunk) = reader.next_chunk()? {
            bytes.extend_from_slice(chunk);
        }
        Ok(bytes)
    }
}

impl Inner {
    /// What vouches for a blob's chunks, in the hash that this store trusts.
    pub(crate) fn blob_record(&self, digest: &BlobDigest) -> Result<BlobRecord> {
        let record = self.stored_record(digest)?;
        if self.trusts(&record) { Ok(record) } else { self.rewrite_record(digest, record.size) }
    }

    /// The record as it stands there, whatever hash it is of.
    pub(crate) fn stored_record(&self, digest: &BlobDigest) -> Result<BlobRecord> {
        match self.db.get(Table::Blobs, digest.as_bytes())? {
            Some(bytes) => BlobRecord::decode(digest, &bytes),
            None => Err(self.missing(digest)),
        }
    }

    /// Whether a blob was found damaged before.
    fn is_damaged(&self, digest: &BlobDigest) -> bool {
        let key = format!("{DAMAGE}\0{}", digest.hex());
        self.db.contains(Table::Records, key.as_bytes()).unwrap_or(true)
    }

    /// Takes a damaged blob out of service, so that it is never served and can be put again.
    pub(crate) fn quarantine(&self, digest: &BlobDigest, reason: String) -> Error {
        match self.stored_record(digest) {
            // its file went with its record, a moment after the record was read
            Err(gone @ (Error::Missing { .. } | Error::Collected { .. })) if !self.is_damaged(digest) => return gone,
            // a reader may hold an inode that is out of service already, while the blob has come again
            Ok(record) if self.trusts(&record) => match self.check_blob(digest, &record, |_| Ok(())) {
                Ok(()) => return Error::Damaged { digest: *digest, reason },
                // nobody can say now what is there
                Err(Wrong::Unread(error @ Error::Bucket(_))) => return error,
                Err(_) => {}
            },
            _ => {}
        }
        tracing::error!(%digest, reason, "a blob is damaged");
        // a reader only reports; and where this fails, every read finds the damage again
        if let Err(error) = self.take_out(digest, &reason) {
            tracing::debug!(%digest, %error, "a damaged blob stays in its place");
        }
        Error::Damaged { digest: *digest, reason }
    }
}

/// The kind of the records that say which blobs were found damaged, and how.
pub const DAMAGE: &str = "damage";
/// How a blob is damaged whose file is not there at all.
pub const FILE_GONE: &str = "its file is gone";

impl BlobSource for Store {
    fn open(&self, digest: &BlobDigest) -> std::result::Result<Box<dyn Read + Send + '_>, ReadError> {
        Ok(Box::new(self.open_blob(digest).map_err(|e| read_error(*digest, e))?))
    }

    fn read(&self, digest: &BlobDigest) -> std::result::Result<Vec<u8>, ReadError> {
        self.read_blob(digest, u64::MAX).map_err(|e| read_error(*digest, e))
    }
}

fn read_error(digest: BlobDigest, error: Error) -> ReadError {
    match error {
        Error::Missing { digest } => ReadError::Missing(digest),
        Error::Damaged { digest, reason } => ReadError::Damaged { digest, reason },
        Error::Io { source, .. } => ReadError::Io { digest, source },
        other => ReadError::Io { digest, source: std::io::Error::other(other) },
    }
}
