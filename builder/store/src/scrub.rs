//! What a scrub asks of a store: everything that there is, a part at a time.
//!
//! Nothing here notes that a blob is used, so that reading all of a store keeps nothing in it alive.

use crate::{
    Result, Store,
    db::{Table, prefix_end},
    record::BlobRecord,
};
use anneal_content::BlobDigest;

/// The blobs whose digests begin with one byte: a 256th of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Those in service, in order, with their sizes.
    pub recorded: Vec<(BlobDigest, u64)>,
    /// Files beside them that no record names.
    pub leftovers: u64,
}

impl Store {
    /// The blobs that begin with a byte.
    pub fn part(&self, first: u8) -> Result<Part> {
        // files first: a blob that is put meanwhile has its file before its row
        let found = self.inner.backend.list(first)?;
        let mut part = Part::default();
        for row in self.inner.db.rows(Table::Blobs, &[first], prefix_end(&[first]))? {
            let (key, value) = row?;
            let digest = BlobDigest::from_bytes(key.first_chunk::<32>().copied().unwrap_or_default());
            part.recorded.push((digest, BlobRecord::size(&digest, &value)?));
        }
        let is_recorded = |digest: &BlobDigest| part.recorded.binary_search_by(|(known, _)| known.cmp(digest)).is_ok();
        part.leftovers = found.iter().filter(|digest| !is_recorded(digest)).count() as u64;
        Ok(part)
    }

    /// How long a blob is; `None` where it is not in service.
    pub fn recorded_size(&self, digest: &BlobDigest) -> Result<Option<u64>> {
        let record = self.inner.db.get(Table::Blobs, digest.as_bytes())?;
        record.map(|bytes| BlobRecord::size(digest, &bytes)).transpose()
    }
}
