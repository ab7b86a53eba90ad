//! Reading a blob: no byte leaves before its chunk has been compared with the hash that was taken when it came.

use crate::{
    Content, Error, Result,
    record::{BlobRecord, CHUNK_BYTES},
    store::Inner,
};
use anneal_content::BlobDigest;
use std::{
    io::{self, Read},
    sync::Arc,
};

/// A reader over a blob or a range of it. Holds one chunk of 1 MiB at most.
///
/// Damage ends the stream with an error before the damaged chunk, and takes the blob out of service.
#[derive(Debug)]
pub struct BlobReader {
    store: Arc<Inner>,
    digest: BlobDigest,
    record: BlobRecord,
    content: Box<dyn Content>,
    /// The next byte to give, and the end of the range.
    at: u64,
    end: u64,
    chunk: Vec<u8>,
    /// Which chunk is in `chunk`.
    loaded: Option<u64>,
}

impl BlobReader {
    pub(crate) fn new(
        store: Arc<Inner>,
        digest: BlobDigest,
        record: BlobRecord,
        offset: u64,
        len: u64,
    ) -> Result<Self> {
        let end = offset.saturating_add(len);
        // whole chunks, because only those can be checked
        let from = offset / CHUNK_BYTES * CHUNK_BYTES;
        let until = end.div_ceil(CHUNK_BYTES).saturating_mul(CHUNK_BYTES).min(record.size);
        let content = match store.backend.open(&digest, from..until) {
            Ok(Some(content)) => content,
            Ok(None) => return Err(store.quarantine(&digest, crate::blob::FILE_GONE.to_owned())),
            Err(Error::Damaged { reason, .. }) => return Err(store.quarantine(&digest, reason)),
            Err(error) => return Err(error),
        };
        let found = content.size();
        if found != record.size {
            let reason = format!("expected {} bytes, found {found}", record.size);
            return Err(store.quarantine(&digest, reason));
        }
        Ok(Self { store, digest, record, content, at: offset, end, chunk: Vec::new(), loaded: None })
    }

    /// The blob.
    pub const fn digest(&self) -> &BlobDigest {
        &self.digest
    }

    /// The whole blob's size, also where this reads a range.
    pub const fn blob_size(&self) -> u64 {
        self.record.size
    }

    /// How many bytes are still to come.
    pub const fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    /// The next bytes, checked: the rest of the current chunk; `None` at the end.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let index = self.at / CHUNK_BYTES;
        if self.loaded != Some(index) {
            self.load(index)?;
        }
        let start = index * CHUNK_BYTES;
        let until = self.end.min(start + self.chunk.len() as u64);
        let bytes = within(&self.chunk, self.at - start, until - start);
        self.at = until;
        Ok(Some(bytes))
    }

    /// The next bytes, as [`BlobReader::next_chunk`], for a caller that keeps them.
    pub fn take_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let before = self.at;
        let Some(given) = self.next_chunk()?.map(<[u8]>::len) else { return Ok(None) };
        let from = usize::try_from(before % CHUNK_BYTES).unwrap_or_default();
        self.loaded = None;
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.truncate(from + given);
        chunk.drain(..from);
        Ok(Some(chunk))
    }

    fn load(&mut self, index: u64) -> Result<()> {
        self.loaded = None;
        let start = index * CHUNK_BYTES;
        let len = CHUNK_BYTES.min(self.record.size.saturating_sub(start));
        if !self.content.read_at(start, usize::try_from(len).unwrap_or_default(), &mut self.chunk)? {
            return Err(self.store.quarantine(&self.digest, format!("it ends in chunk {index}")));
        }
        if !self.record.has_chunk(index, &self.chunk) {
            let reason = format!("chunk {index} (bytes {start} to {}) has another hash", start + len);
            return Err(self.store.quarantine(&self.digest, reason));
        }
        self.loaded = Some(index);
        Ok(())
    }
}

/// A part of a chunk; empty where it is not in it, which its callers rule out.
fn within(chunk: &[u8], from: u64, to: u64) -> &[u8] {
    let index = |n| usize::try_from(n).unwrap_or(usize::MAX);
    chunk.get(index(from)..index(to)).unwrap_or_default()
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let before = self.at;
        let count = match self.next_chunk() {
            Ok(Some(bytes)) => {
                let count = bytes.len().min(buffer.len());
                for (to, from) in buffer.iter_mut().zip(bytes) {
                    *to = *from;
                }
                count
            }
            Ok(None) => return Ok(0),
            Err(Error::Io { source, .. }) => return Err(source),
            Err(error @ Error::Bucket(_)) => return Err(io::Error::other(error)),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        self.at = before + count as u64;
        Ok(count)
    }
}
