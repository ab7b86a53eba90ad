//! Dropping old generations: first their names, synced, then every file that no other generation names.
//!
//! A crash in between leaves files that nothing names; the next time takes them. Where a generation that stays cannot be
//! read, nobody knows what it names, and nothing is removed.

use super::{Backup, part, pool::PoolWriter};
use crate::{Error, Result, layout::sync};
use anneal_content::BlobDigest;
use std::{collections::BTreeSet, fs, num::NonZeroUsize, path::Path};

/// What was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Forgotten {
    /// Numbers of the generations.
    pub generations: Vec<u64>,
    /// Files that only they named.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Backup {
    /// Keeps the newest generations of a directory, and drops all others.
    pub fn forget(dir: &Path, keep: NonZeroUsize) -> Result<Forgotten> {
        let writer = PoolWriter::open(dir)?;
        let backup = Self { pool: writer.pool.clone() };
        let mut kept = backup.pool.generations()?;
        let mut forgotten = Forgotten::default();
        while kept.len() > keep.get() {
            forgotten.generations.extend(kept.pop_first());
        }
        let mut named = BTreeSet::new();
        for number in kept {
            backup.add_named(number, &mut named)?;
        }
        let generations = backup.pool.generations_dir();
        for number in &forgotten.generations {
            let path = generations.join(number.to_string());
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        sync(&generations)?;
        for byte in 0..=u8::MAX {
            let folder = dir.join(format!("blobs/sha256/{byte:02x}"));
            for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
                let entry = entry.map_err(Error::io("list", &folder))?;
                let digest = format!("sha256:{}", entry.file_name().display()).parse::<BlobDigest>();
                if digest.is_ok_and(|digest| named.contains(&digest)) {
                    continue;
                }
                let path = entry.path();
                forgotten.bytes += entry.metadata().map_err(Error::io("look at", &path))?.len();
                forgotten.files += 1;
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(forgotten)
    }

    /// Everything that a generation names.
    fn add_named(&self, number: u64, named: &mut BTreeSet<BlobDigest>) -> Result<()> {
        let generation = self.generation(Some(number))?;
        let manifest = &generation.manifest;
        named.insert(generation.digest);
        let others = [&manifest.journal, &manifest.results, &manifest.failures, &manifest.records];
        // what its store had lost may lie here, and is wanted: the next generation lends it
        named.extend(others.into_iter().flatten().chain(&manifest.blobs).chain(&manifest.damaged));
        for part in &manifest.blobs {
            for row in part::rows(&self.pool.read_part(part)?) {
                named.insert(self.blob_row(part, row)?.0);
            }
        }
        Ok(())
    }
}
