//! Where nothing but SHA-256 is trusted (FIPS 140): a store that was opened so writes lists of SHA-256 alone, and does not
//! believe a list of BLAKE3 that an earlier version, or another mode, left. It reads such a blob whole, holds it against
//! its own SHA-256, which is its name, and writes the list anew. A store may go from either mode to the other at any time.

use crate::{
    OpenMode, Result,
    collect::Node,
    db::{Changes, Table},
    record::{BlobRecord, CHUNK_BYTES, ChunkHash, RecordHasher},
    store::Inner,
};
use anneal_content::BlobDigest;

impl Inner {
    /// Whether a list of chunk hashes is one that this store believes.
    pub(crate) fn trusts(&self, record: &BlobRecord) -> bool {
        self.chunk_hash == ChunkHash::Blake3 || record.hash == ChunkHash::Sha256
    }

    /// A list that can be trusted in place of one that can't.
    pub(crate) fn rewrite_record(&self, digest: &BlobDigest, size: u64) -> Result<BlobRecord> {
        // From here on a collection keeps it, so that the row is not put back after it was deleted.
        let _lease = self.touches.lease();
        self.touch(Node::Blob(*digest));
        let record = self.hash_again(digest, size)?;
        if self.mode() == OpenMode::ReadWrite && self.db.contains(Table::Blobs, digest.as_bytes())? {
            let mut changes = Changes::default();
            changes.put(Table::Blobs, *digest.as_bytes(), record.encode());
            if let Err(error) = self.write_db(changes) {
                // what was read is right all the same
                tracing::warn!(%digest, %error, "a list of SHA-256 could not be written");
            }
        }
        Ok(record)
    }

    fn hash_again(&self, digest: &BlobDigest, size: u64) -> Result<BlobRecord> {
        let Some(mut content) = self.backend.open(digest, 0..size)? else {
            return Err(self.quarantine(digest, crate::blob::FILE_GONE.to_owned()));
        };
        let found = content.size();
        if found != size {
            return Err(self.quarantine(digest, format!("expected {size} bytes, found {found}")));
        }
        let mut hasher = RecordHasher::new(ChunkHash::Sha256);
        let (mut chunk, mut at) = (Vec::new(), 0);
        while at < size {
            let count = CHUNK_BYTES.min(size - at);
            if !content.read_at(at, usize::try_from(count).unwrap_or_default(), &mut chunk)? {
                return Err(self.quarantine(digest, format!("it ends after {at} of {size} bytes")));
            }
            hasher.update(&chunk);
            at += count;
        }
        match hasher.finish() {
            (found, record) if found == *digest => Ok(record),
            (found, _) => Err(self.quarantine(digest, format!("its bytes are {found}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Store};

    fn open(dir: &std::path::Path, hash: ChunkHash) -> Store {
        Store::open_trusting(dir, OpenMode::ReadWrite, hash).unwrap()
    }

    fn hash_of(store: &Store, digest: &BlobDigest) -> ChunkHash {
        store.inner.stored_record(digest).unwrap().hash
    }

    #[test]
    fn a_store_reads_lists_of_both_kinds_and_the_fips_mode_rewrites_those_that_it_does_not_trust() {
        let dir = tempfile::tempdir().unwrap();
        let large = vec![5; (CHUNK_BYTES as usize) * 2 + 3];
        let first = open(dir.path(), ChunkHash::Blake3).put_blob(&large).unwrap();
        let store = open(dir.path(), ChunkHash::Sha256);
        let second = store.put_blob(b"put in FIPS mode").unwrap();
        let mut writer = store.writer().unwrap();
        std::io::Write::write_all(&mut writer, &large[1..]).unwrap();
        let third = writer.commit().unwrap().0;
        let kinds = |store: &Store| [first, second, third].map(|digest| hash_of(store, &digest));
        assert_eq!(kinds(&store), [ChunkHash::Blake3, ChunkHash::Sha256, ChunkHash::Sha256]);
        let mut reader = store.open_range(&first, CHUNK_BYTES, 4).unwrap();
        assert_eq!(reader.next_chunk().unwrap(), Some([5; 4].as_slice()));
        assert_eq!(kinds(&store), [ChunkHash::Sha256; 3], "rewritten when it was read");
        drop((reader, store));
        let store = open(dir.path(), ChunkHash::Blake3);
        assert_eq!(store.read_blob(&first, u64::MAX).unwrap(), large, "and out of it again");
        assert_eq!(store.read_blob(&second, u64::MAX).unwrap(), b"put in FIPS mode");
    }

    #[test]
    fn a_list_of_blake3_that_vouches_for_other_bytes_is_not_believed_in_fips_mode() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), ChunkHash::Blake3);
        let digest = store.put_blob(b"what it is").unwrap();
        // somebody who can find collisions, or write to the database, changes bytes and list together
        std::fs::write(store.inner.layout.blob(&digest), b"what it wa").unwrap();
        let mut hasher = RecordHasher::new(ChunkHash::Blake3);
        hasher.update(b"what it wa");
        let mut changes = Changes::default();
        changes.put(Table::Blobs, *digest.as_bytes(), hasher.finish().1.encode());
        store.inner.write_db(changes).unwrap();
        assert_eq!(store.read_blob(&digest, 100).unwrap(), b"what it wa", "the list alone says nothing of the name");
        drop(store);
        for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
            let store = Store::open_trusting(dir.path(), mode, ChunkHash::Sha256).unwrap();
            let error = store.read_blob(&digest, 100).unwrap_err();
            assert!(matches!(&error, Error::Damaged { reason, .. } if reason.contains("its bytes are")), "{error}");
        }
        let store = open(dir.path(), ChunkHash::Sha256);
        assert!(!store.has(&digest).unwrap(), "it is out of service");
        store.put_blob(b"what it is").unwrap();
        assert_eq!(store.read_blob(&digest, 100).unwrap(), b"what it is");
    }

    #[test]
    fn a_reader_in_fips_mode_checks_without_writing_and_a_changed_byte_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let digest = open(dir.path(), ChunkHash::Blake3).put_blob(b"whole").unwrap();
        let reader = Store::open_trusting(dir.path(), OpenMode::ReadOnly, ChunkHash::Sha256).unwrap();
        assert_eq!(reader.read_blob(&digest, 10).unwrap(), b"whole");
        assert_eq!(hash_of(&reader, &digest), ChunkHash::Blake3);
        std::fs::write(reader.inner.layout.blob(&digest), b"whale").unwrap();
        assert!(reader.read_blob(&digest, 10).is_err());
    }
}
