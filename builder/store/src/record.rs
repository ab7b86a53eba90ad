//! What the database keeps about a blob, and the hasher that makes it.
//!
//! ```text
//! 1 byte   format, 1
//! 8 bytes  size, big-endian
//! 32 bytes BLAKE3 of each chunk of 1 MiB, the last one shorter; none for the empty blob
//! ```
//! The format byte leaves room for another chunk hash.

use crate::{Error, Result};
use anneal_content::{BlobDigest, BlobHasher};

/// How many bytes are checked together, and so the most that a reader holds in memory.
pub const CHUNK_BYTES: u64 = 1 << 20;
const FORMAT: u8 = 1;
const HASH_BYTES: usize = 32;

/// Size and chunk hashes of one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlobRecord {
    pub(crate) size: u64,
    pub(crate) chunks: Vec<[u8; HASH_BYTES]>,
}

impl BlobRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(9 + self.chunks.len() * HASH_BYTES);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.size.to_be_bytes());
        bytes.extend(self.chunks.iter().flatten());
        bytes
    }

    pub(crate) fn decode(digest: &BlobDigest, bytes: &[u8]) -> Result<Self> {
        let wrong = |reason: String| Error::Record { what: format!("record of blob {digest}"), reason };
        let (size, rest) = split_size(bytes).ok_or_else(|| wrong(format!("unknown form of {} bytes", bytes.len())))?;
        let (chunks, tail) = rest.as_chunks::<HASH_BYTES>();
        if !tail.is_empty() || chunks.len() as u64 != size.div_ceil(CHUNK_BYTES) {
            return Err(wrong(format!("{} bytes of chunk hashes for {size} bytes", rest.len())));
        }
        Ok(Self { size, chunks: chunks.to_vec() })
    }

    /// Whether these are the bytes of a chunk.
    pub(crate) fn has_chunk(&self, index: u64, bytes: &[u8]) -> bool {
        let expected = usize::try_from(index).ok().and_then(|index| self.chunks.get(index));
        expected.is_some_and(|hash| blake3::hash(bytes).as_bytes() == hash)
    }

    /// The size alone.
    pub(crate) fn size(digest: &BlobDigest, bytes: &[u8]) -> Result<u64> {
        split_size(bytes).map(|(size, _)| size).ok_or_else(|| Error::Record {
            what: format!("record of blob {digest}"),
            reason: format!("unknown form of {} bytes", bytes.len()),
        })
    }
}

fn split_size(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let rest = bytes.strip_prefix(&[FORMAT])?;
    let (size, rest) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*size), rest))
}

/// Hashes a stream whole (SHA-256) and by chunk (BLAKE3).
#[derive(Debug, Clone, Default)]
pub(crate) struct RecordHasher {
    whole: BlobHasher,
    chunk: blake3::Hasher,
    size: u64,
    chunks: Vec<[u8; HASH_BYTES]>,
}

impl RecordHasher {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - self.size % CHUNK_BYTES;
            let (now, rest) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            self.chunk.update(now);
            self.size += now.len() as u64;
            if self.size.is_multiple_of(CHUNK_BYTES) {
                self.end_chunk();
            }
            bytes = rest;
        }
    }

    fn end_chunk(&mut self) {
        self.chunks.push(*self.chunk.finalize().as_bytes());
        self.chunk.reset();
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn finish(mut self) -> (BlobDigest, BlobRecord) {
        if !self.size.is_multiple_of(CHUNK_BYTES) {
            self.end_chunk();
        }
        (self.whole.finish().0, BlobRecord { size: self.size, chunks: self.chunks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record_of(bytes: &[u8], step: usize) -> (BlobDigest, BlobRecord) {
        let mut hasher = RecordHasher::default();
        bytes.chunks(step.max(1)).for_each(|part| hasher.update(part));
        hasher.finish()
    }

    #[test]
    fn a_record_does_not_depend_on_how_the_bytes_arrive() {
        let bytes: Vec<u8> = (0..(CHUNK_BYTES as usize * 2 + 17)).map(|i| (i * 7 % 251) as u8).collect();
        let whole = record_of(&bytes, bytes.len());
        assert_eq!(whole.1.chunks.len(), 3);
        assert_eq!(whole.0, BlobDigest::of(&bytes));
        for step in [1 << 20, (1 << 20) + 1, 4093] {
            assert_eq!(record_of(&bytes, step), whole);
        }
    }

    #[test]
    fn a_chunk_ends_exactly_at_a_mebibyte() {
        for (size, chunks) in [(0, 0), (1, 1), (CHUNK_BYTES - 1, 1), (CHUNK_BYTES, 1), (CHUNK_BYTES + 1, 2)] {
            assert_eq!(record_of(&vec![9; size as usize], 65_536).1.chunks.len(), chunks, "{size} bytes");
        }
    }

    #[test]
    fn a_record_survives_its_encoding_and_a_cut_one_is_refused() {
        let (digest, record) = record_of(&vec![3; CHUNK_BYTES as usize + 5], 1000);
        let bytes = record.encode();
        assert_eq!(BlobRecord::decode(&digest, &bytes).unwrap(), record);
        for cut in [0, 1, 8, 9, 40, bytes.len() - 1] {
            assert!(BlobRecord::decode(&digest, &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
