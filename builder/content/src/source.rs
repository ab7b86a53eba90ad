//! Where pure code reads blobs from: the store in production, memory in tests and for small products.

use crate::BlobDigest;
use std::{collections::BTreeMap, io::Read};

/// Why a blob could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The blob is not there.
    #[error("blob {0} is not in the store")]
    Missing(BlobDigest),
    /// The bytes that were read are not the blob's.
    #[error("blob {digest} is damaged: {reason}")]
    Damaged {
        /// The blob.
        digest: BlobDigest,
        /// What differs.
        reason: String,
    },
    /// Reading failed.
    #[error("reading blob {digest} failed")]
    Io {
        /// The blob.
        digest: BlobDigest,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

/// A source of blobs by digest. What it yields has been checked against the digest.
pub trait BlobSource: Sync {
    /// A reader over the blob's bytes; damage found while reading is an [`std::io::Error`].
    fn open(&self, digest: &BlobDigest) -> Result<Box<dyn Read + Send + '_>, ReadError>;

    /// The whole blob, which the caller knows to be small.
    fn read(&self, digest: &BlobDigest) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        self.open(digest)?.read_to_end(&mut bytes).map_err(|source| ReadError::Io { digest: *digest, source })?;
        Ok(bytes)
    }
}

/// Blobs in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryBlobs(BTreeMap<BlobDigest, Vec<u8>>);

impl MemoryBlobs {
    /// An empty source.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a blob and names it.
    pub fn insert(&mut self, bytes: impl Into<Vec<u8>>) -> BlobDigest {
        let bytes = bytes.into();
        let digest = BlobDigest::of(&bytes);
        self.0.insert(digest, bytes);
        digest
    }
}

impl BlobSource for MemoryBlobs {
    fn open(&self, digest: &BlobDigest) -> Result<Box<dyn Read + Send + '_>, ReadError> {
        match self.0.get(digest) {
            Some(bytes) => Ok(Box::new(bytes.as_slice())),
            None => Err(ReadError::Missing(*digest)),
        }
    }
}
