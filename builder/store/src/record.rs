//! What the database keeps about a blob, and the hasher that makes it.
//!
//! ```text
//! 1 byte   which hash the list is of: 1 BLAKE3, 2 SHA-256
//! 8 bytes  size, big-endian
//! 32 bytes that hash of each chunk of 1 MiB, the last one shorter; none for the empty blob
//! ```
//! A store may have lists of both kinds. One that was opened with SHA-256 trusts no other: see `fips.rs`.

use crate::{Error, Result};
use anneal_content::{BlobDigest, BlobHasher};
use std::fmt;

/// How many bytes are checked together, and so the most that a reader holds in memory.
pub const CHUNK_BYTES: u64 = 1 << 20;
const HASH_BYTES: usize = 32;

/// What vouches for a chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChunkHash {
    /// Nearly free, and the default.
    #[default]
    Blake3,
    /// Where nothing but approved hashes may be trusted.
    Sha256,
}

impl ChunkHash {
    const fn code(self) -> u8 {
        match self {
            Self::Blake3 => 1,
            Self::Sha256 => 2,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        [Self::Blake3, Self::Sha256].into_iter().find(|hash| hash.code() == code)
    }

    fn of(self, bytes: &[u8]) -> [u8; HASH_BYTES] {
        match self {
            Self::Blake3 => *blake3::hash(bytes).as_bytes(),
            Self::Sha256 => *BlobDigest::of(bytes).as_bytes(),
        }
    }
}

impl fmt::Display for ChunkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blake3 => "BLAKE3",
            Self::Sha256 => "SHA-256",
        })
    }
}

/// Size and chunk hashes of one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlobRecord {
    pub(crate) size: u64,
    pub(crate) hash: ChunkHash,
    pub(crate) chunks: Vec<[u8; HASH_BYTES]>,
}

impl BlobRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(9 + self.chunks.len() * HASH_BYTES);
        bytes.push(self.hash.code());
        bytes.extend_from_slice(&self.size.to_be_bytes());
        bytes.extend(self.chunks.iter().flatten());
        bytes
    }

    pub(crate) fn decode(digest: &BlobDigest, bytes: &[u8]) -> Result<Self> {
        let wrong = |reason: String| Error::Record { what: format!("record of blob {digest}"), reason };
        let (hash, size, rest) = split(bytes).ok_or_else(|| wrong(format!("unknown form of {} bytes", bytes.len())))?;
        let (chunks, tail) = rest.as_chunks::<HASH_BYTES>();
        if !tail.is_empty() || chunks.len() as u64 != size.div_ceil(CHUNK_BYTES) {
            return Err(wrong(format!("{} bytes of chunk hashes for {size} bytes", rest.len())));
        }
        Ok(Self { size, hash, chunks: chunks.to_vec() })
    }

    /// Whether these are the bytes of a chunk.
    pub(crate) fn has_chunk(&self, index: u64, bytes: &[u8]) -> bool {
        let expected = usize::try_from(index).ok().and_then(|index| self.chunks.get(index));
        expected.is_some_and(|hash| self.hash.of(bytes) == *hash)
    }

    /// The size alone.
    pub(crate) fn size(digest: &BlobDigest, bytes: &[u8]) -> Result<u64> {
        split(bytes).map(|(_, size, _)| size).ok_or_else(|| Error::Record {
            what: format!("record of blob {digest}"),
            reason: format!("unknown form of {} bytes", bytes.len()),
        })
    }
}

fn split(bytes: &[u8]) -> Option<(ChunkHash, u64, &[u8])> {
    let (code, rest) = bytes.split_first()?;
    let (size, rest) = rest.split_first_chunk::<8>()?;
    Some((ChunkHash::of_code(*code)?, u64::from_be_bytes(*size), rest))
}

/// The hasher of one chunk.
#[derive(Debug, Clone)]
enum ChunkHasher {
    Blake3(Box<blake3::Hasher>),
    Sha256(BlobHasher),
}

impl ChunkHasher {
    fn new(hash: ChunkHash) -> Self {
        match hash {
            ChunkHash::Blake3 => Self::Blake3(Box::default()),
            ChunkHash::Sha256 => Self::Sha256(BlobHasher::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(hasher) => drop(hasher.update(bytes).count()),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    /// The hash of the chunk; begins another one.
    fn end(&mut self) -> [u8; HASH_BYTES] {
        match self {
            Self::Blake3(hasher) => {
                let hash = *hasher.finalize().as_bytes();
                hasher.reset();
                hash
            }
            Self::Sha256(hasher) => *std::mem::replace(hasher, BlobHasher::new()).finish().0.as_bytes(),
        }
    }
}

/// Hashes a stream whole (SHA-256) and by chunk.
#[derive(Debug, Clone)]
pub(crate) struct RecordHasher {
    whole: BlobHasher,
    hash: ChunkHash,
    chunk: ChunkHasher,
    size: u64,
    chunks: Vec<[u8; HASH_BYTES]>,
}

impl RecordHasher {
    pub(crate) fn new(hash: ChunkHash) -> Self {
        Self { whole: BlobHasher::new(), hash, chunk: ChunkHasher::new(hash), size: 0, chunks: Vec::new() }
    }

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
        self.chunks.push(self.chunk.end());
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn finish(mut self) -> (BlobDigest, BlobRecord) {
        if !self.size.is_multiple_of(CHUNK_BYTES) {
            self.end_chunk();
        }
        (self.whole.finish().0, BlobRecord { size: self.size, hash: self.hash, chunks: self.chunks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record_of(bytes: &[u8], step: usize) -> (BlobDigest, BlobRecord) {
        let mut hasher = RecordHasher::new(ChunkHash::Blake3);
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
    fn the_list_names_its_hash_and_both_kinds_find_a_changed_chunk() {
        for (hash, code) in [(ChunkHash::Blake3, 1), (ChunkHash::Sha256, 2)] {
            let mut hasher = RecordHasher::new(hash);
            hasher.update(&vec![7; CHUNK_BYTES as usize + 1]);
            let (digest, record) = hasher.finish();
            let bytes = record.encode();
            assert_eq!(bytes[0], code, "{hash}");
            let read = BlobRecord::decode(&digest, &bytes).unwrap();
            assert_eq!((read.hash, read.chunks.len()), (hash, 2));
            assert!(read.has_chunk(1, &[7]) && !read.has_chunk(1, &[8]) && !read.has_chunk(2, &[7]));
            let other = [&[3 - code], &bytes[1..]].concat();
            assert!(
                !BlobRecord::decode(&digest, &other).unwrap().has_chunk(1, &[7]),
                "under another name it is nothing"
            );
            assert!(BlobRecord::decode(&digest, &[&[9], &bytes[1..]].concat()).is_err(), "no such hash");
        }
        assert_eq!(ChunkHash::Sha256.of(b"x"), *BlobDigest::of(b"x").as_bytes());
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
