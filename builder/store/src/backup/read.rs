//! Reading a backup: what generations there are, whether one is whole, and making a store of it again.

use super::{MANIFEST_BYTES_MAX, Manifest, part, pool::Pool};
use crate::{
    BucketPlace, Error, OpenMode, Result, Store,
    batch::Batch,
    db::{Changes, Row, Table},
    record::ChunkHash,
    tree::FILE_MODE,
};
use anneal_content::BlobDigest;
use std::path::{Path, PathBuf};

/// So many blobs, or so many bytes, are made durable together.
const BATCH_BLOBS: usize = 512;
const BATCH_BYTES: u64 = 256 << 20;
/// So many rows are written together.
const BATCH_ROWS: usize = 1000;

/// A directory with generations.
#[derive(Debug, Clone)]
pub struct Backup {
    pub(crate) pool: Pool,
}

/// One of them. Its manifest is the one that the seal must name; who signed the seal is the caller's to verify.
#[derive(Debug, Clone)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// The digest of the manifest.
    pub digest: BlobDigest,
    /// What it holds.
    pub manifest: Manifest,
    /// What the layer above signed.
    pub seal: Vec<u8>,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Checked {
    /// Files that were read.
    pub files: u64,
    /// Bytes of blobs that were read.
    pub bytes: u64,
    /// Files that are not what they should be, and why.
    pub wrong: Vec<(BlobDigest, String)>,
}

impl Backup {
    /// Opens a directory that a backup was made in.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self { pool: Pool::open(dir)? })
    }

    /// The newest generation, or the one with this number.
    pub fn generation(&self, number: Option<u64>) -> Result<Generation> {
        let known = self.pool.generations()?;
        let wanted = number.or(known.last().copied());
        let text = wanted.map(|number| self.pool.generation(number)).transpose()?.flatten();
        let (Some(number), Some(text)) = (wanted, text) else {
            return Err(Error::NoGeneration { dir: self.pool.dir.clone(), number, known: known.into_iter().collect() });
        };
        let wrong = |reason: String| Error::Record {
            what: format!("generation {number} of the backup {}", self.pool.dir.display()),
            reason,
        };
        let (digest, seal) = text.split_once('\n').ok_or_else(|| wrong("it has no seal".to_owned()))?;
        let digest: BlobDigest = digest.parse().map_err(|e: anneal_content::Error| wrong(e.to_string()))?;
        let manifest = self.pool.read(&digest, MANIFEST_BYTES_MAX)?;
        let manifest = serde_json::from_slice(&manifest).map_err(|e| wrong(e.to_string()))?;
        Ok(Generation { number, digest, manifest, seal: seal.trim_end().as_bytes().to_vec() })
    }

    /// Reads all that a generation names against its digests.
    pub fn check(&self, generation: &Generation) -> Result<Checked> {
        let Manifest { blobs, journal, results, failures, records, damaged, .. } = &generation.manifest;
        let mut checked = Checked::default();
        for part in [journal, results, failures, records].into_iter().flatten() {
            checked.files += 1;
            match self.pool.read_part(part) {
                Err(Error::BackupDamaged { digest, reason, .. }) => checked.wrong.push((digest, reason)),
                read => drop(read?),
            }
        }
        for part in blobs {
            checked.files += 1;
            let rows = match self.pool.read_part(part) {
                Err(Error::BackupDamaged { digest, reason, .. }) => {
                    checked.wrong.push((digest, format!("{reason}; nobody knows which blobs it lists")));
                    continue;
                }
                read => read?,
            };
            for row in part::rows(&rows) {
                let (digest, size) = self.blob_row(part, row)?;
                if damaged.contains(&digest) {
                    continue;
                }
                checked.files += 1;
                checked.bytes += size;
                checked.wrong.extend(self.pool.wrong_with(&digest, size)?.map(|reason| (digest, reason)));
            }
        }
        Ok(checked)
    }

    /// The generations that cannot be restored because their manifests cannot be read, with why. While one of them is kept,
    /// nothing that is dropped makes room.
    pub fn unreadable(&self) -> Result<Vec<(u64, String)>> {
        let mut found = Vec::new();
        for number in self.pool.generations()? {
            match self.generation(Some(number)) {
                Err(error @ (Error::BackupDamaged { .. } | Error::Record { .. })) => {
                    found.push((number, error.to_string()));
                }
                // dropped by another since it was listed
                Err(Error::NoGeneration { .. }) => {}
                read => drop(read?),
            }
        }
        Ok(found)
    }

    /// Moves the files away that a check found wrong, and gives where they are now: the next backup copies again what the
    /// store still has, where otherwise a file of the right size would be believed.
    pub fn set_aside(&self, checked: &Checked) -> Result<Vec<(BlobDigest, PathBuf)>> {
        if checked.wrong.is_empty() {
            return Ok(Vec::new());
        }
        self.pool.set_aside(&checked.wrong.iter().map(|(digest, _)| *digest).collect::<Vec<_>>())
    }

    pub(super) fn blob_row(
        &self,
        part: &BlobDigest,
        row: std::result::Result<Row, String>,
    ) -> Result<(BlobDigest, u64)> {
        let (key, value) = row.map_err(|reason| self.pool.damaged(part, reason))?;
        match (<[u8; 32]>::try_from(&*key), <[u8; 8]>::try_from(&*value)) {
            (Ok(key), Ok(value)) => Ok((BlobDigest::from_bytes(key), u64::from_be_bytes(value))),
            _ => Err(self.pool.damaged(part, "its rows do not decode".to_owned())),
        }
    }

    /// Makes a store of a generation in a directory that is not there yet. Every blob is hashed on its way, and the
    /// journal's chain is computed anew and held against the manifest's.
    pub fn restore(&self, generation: &Generation, dir: &Path, chunk_hash: ChunkHash) -> Result<Store> {
        self.restore_with(generation, dir, chunk_hash, None)
    }

    /// The same, with the blobs in a bucket where no store has its own.
    pub fn restore_in_bucket(
        &self,
        generation: &Generation,
        dir: &Path,
        chunk_hash: ChunkHash,
        bucket: &BucketPlace,
    ) -> Result<Store> {
        self.restore_with(generation, dir, chunk_hash, Some(bucket))
    }

    fn restore_with(
        &self,
        generation: &Generation,
        dir: &Path,
        chunk_hash: ChunkHash,
        bucket: Option<&BucketPlace>,
    ) -> Result<Store> {
        if dir.exists() {
            return Err(Error::NotEmpty { dir: dir.to_owned() });
        }
        let manifest = &generation.manifest;
        let store = match bucket {
            None => Store::open_trusting(dir, OpenMode::ReadWrite, chunk_hash)?,
            Some(bucket) => Store::open_in_bucket(dir, chunk_hash, bucket)?,
        };
        self.restore_blobs(&store, manifest)?;
        for (table, parts) in [
            (Table::Results, &manifest.results),
            (Table::Failures, &manifest.failures),
            (Table::Records, &manifest.records),
        ] {
            for part in parts {
                self.restore_rows(&store, table, part)?;
            }
        }
        for part in &manifest.journal {
            self.restore_events(&store, part)?;
        }
        let found = store.journal_head()?;
        if found != manifest.head {
            let reason = format!("expected {} events with chain {}", manifest.head.events, manifest.head.chain);
            return Err(Error::Journal { dir: self.pool.dir.clone(), seq: found.events, reason });
        }
        Ok(store)
    }

    fn restore_blobs(&self, store: &Store, manifest: &Manifest) -> Result<()> {
        let (mut batch, mut blobs, mut bytes) = (Batch::new(&store.inner)?, 0, 0);
        for part in &manifest.blobs {
            for row in part::rows(&self.pool.read_part(part)?) {
                let (digest, size) = self.blob_row(part, row)?;
                if manifest.damaged.contains(&digest) {
                    continue;
                }
                let mut file = self.pool.open_blob(&digest)?;
                let from = self.pool.blob(&digest);
                let found = match batch.add_reader(&mut file, &from, size, FILE_MODE) {
                    Err(Error::TooLong { .. }) => Err(format!("it is longer than {size} bytes")),
                    added => match added?.0 {
                        found if found == digest => Ok(()),
                        found => Err(format!("it hashes to {found}")),
                    },
                };
                found.map_err(|reason| self.pool.damaged(&digest, reason))?;
                (blobs, bytes) = (blobs + 1, bytes + size);
                if blobs >= BATCH_BLOBS || bytes >= BATCH_BYTES {
                    batch.commit()?;
                    (batch, blobs, bytes) = (Batch::new(&store.inner)?, 0, 0);
                }
            }
        }
        batch.commit()
    }

    fn restore_rows(&self, store: &Store, table: Table, part: &BlobDigest) -> Result<()> {
        let (mut changes, mut count) = (Changes::default(), 0);
        for row in part::rows(&self.pool.read_part(part)?) {
            let (key, value) = row.map_err(|reason| self.pool.damaged(part, reason))?;
            changes.put(table, key, value);
            count += 1;
            if count % BATCH_ROWS == 0 {
                store.inner.write_db(std::mem::take(&mut changes))?;
            }
        }
        store.inner.write_db(changes)
    }

    fn restore_events(&self, store: &Store, part: &BlobDigest) -> Result<()> {
        let mut events = Vec::new();
        for row in part::rows(&self.pool.read_part(part)?) {
            let (_, value) = row.map_err(|reason| self.pool.damaged(part, reason))?;
            let event = value.get(32..).ok_or_else(|| self.pool.damaged(part, "an event has no chain".to_owned()))?;
            events.push(event.to_vec());
        }
        store.append_events(&events).map(drop)
    }
}
