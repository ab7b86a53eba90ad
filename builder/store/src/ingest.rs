//! A directory becomes a tree: its files blobs in fresh inodes, its directories canonical messages, all durable at once.

use crate::{
    Error, IngestRules, Result, Store,
    batch::Batch,
    tree::{FILE_MODE, inode_mode},
};
use anneal_capture::{Sink, capture, capture_split};
use anneal_content::{BlobDigest, OutputName, TreeDigest, TreePath};
use std::{collections::BTreeMap, io::Read, path::Path};

/// The tree that [`Store::ingest`] would give; nothing is stored.
pub fn digest_dir(dir: &Path, rules: &IngestRules) -> Result<TreeDigest> {
    Ok(anneal_capture::digest_dir(dir, rules)?)
}

impl Store {
    /// Takes in a directory that nobody writes to any more. Owners and times are dropped, modes are kept.
    pub fn ingest(&self, dir: &Path, rules: &IngestRules) -> Result<TreeDigest> {
        let batch = Batch::new(&self.inner)?;
        let tree = capture(dir, rules, &batch)?;
        batch.commit()?;
        Ok(tree)
    }

    /// Takes in a directory as several trees: `classify` says for each file, link (`true`) and empty directory to
    /// which one it belongs. Other directories come with what is in them. An output without entries has no tree.
    pub fn ingest_split(
        &self,
        dir: &Path,
        rules: &IngestRules,
        classify: &dyn Fn(&TreePath, bool) -> OutputName,
    ) -> Result<BTreeMap<OutputName, TreeDigest>> {
        let batch = Batch::new(&self.inner)?;
        let trees = capture_split(dir, rules, &batch, classify)?;
        batch.commit()?;
        Ok(trees)
    }
}

impl Sink for Batch<'_> {
    type Error = Error;

    fn add_file(&self, content: &mut dyn Read, from: &Path, limit: u64, mode: u32) -> Result<(BlobDigest, u64)> {
        self.add_reader(content, from, limit, inode_mode(mode))
    }

    fn add_directory(&self, bytes: &[u8]) -> Result<()> {
        self.add_bytes(bytes, FILE_MODE).map(drop)
    }
}
