//! A directory becomes a tree: its files blobs in fresh inodes, its directories canonical messages, all durable at once.

use crate::{
    Error, IngestRules, Result, Store,
    batch::Batch,
    tree::{DIRECTORY_MODE, FILE_MODE, inode_mode},
    walk::{Found, Root, in_parallel, refused},
};
use anneal_content::{
    BlobDigest, BlobHasher, Directory, DirectoryNode, EntryName, FileNode, OutputName, SymlinkNode, TreeDigest,
    TreePath,
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// The tree that [`Store::ingest`] would give; nothing is stored.
pub fn digest_dir(dir: &Path, rules: &IngestRules) -> Result<TreeDigest> {
    let mut trees = take_in(dir, rules, Sink::HashOnly, &|_, _| ())?;
    trees.remove(&()).map_or_else(|| encode(Forest::default(), Sink::HashOnly), Ok)
}

impl Store {
    /// Takes in a directory that nobody writes to any more. Owners and times are dropped, modes are kept.
    pub fn ingest(&self, dir: &Path, rules: &IngestRules) -> Result<TreeDigest> {
        let batch = Batch::new(&self.inner)?;
        let mut trees = take_in(dir, rules, Sink::Store(&batch), &|_, _| ())?;
        let tree = trees.remove(&()).map_or_else(|| encode(Forest::default(), Sink::Store(&batch)), Ok)?;
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
        let trees = take_in(dir, rules, Sink::Store(&batch), classify)?;
        batch.commit()?;
        Ok(trees)
    }
}

/// Where bytes go.
#[derive(Clone, Copy)]
enum Sink<'a> {
    Store(&'a Batch<'a>),
    HashOnly,
}

/// The directories of a tree that is being put together, by path; the root's is `None`.
type Forest = BTreeMap<Option<TreePath>, Directory>;

fn take_in<K: Ord + Clone>(
    dir: &Path,
    rules: &IngestRules,
    sink: Sink<'_>,
    classify: &dyn Fn(&TreePath, bool) -> K,
) -> Result<BTreeMap<K, TreeDigest>> {
    let root = Root::open(dir)?;
    let Found { directories, files, links } = root.walk(rules)?;
    let total = AtomicU64::new(0);
    let contents = in_parallel(&files, |path| take_file(&root, path, rules, sink, &total))?;
    let modes: BTreeMap<_, _> = directories.iter().map(|(path, mode, _)| (path.clone(), *mode)).collect();
    let mut forests: BTreeMap<K, Forest> = BTreeMap::new();
    for (path, (digest, size, mode)) in files.into_iter().zip(contents) {
        let forest = forests.entry(classify(&path, false)).or_default();
        let node = FileNode { name: name_of(&path)?, digest, size, mode };
        directory_at(forest, path.parent(), &modes)?.files.push(node);
    }
    for (path, target) in links {
        let forest = forests.entry(classify(&path, true)).or_default();
        let node = SymlinkNode { name: name_of(&path)?, target };
        directory_at(forest, path.parent(), &modes)?.symlinks.push(node);
    }
    for (path, ..) in directories.into_iter().filter(|(_, _, is_empty)| *is_empty) {
        let forest = forests.entry(classify(&path, false)).or_default();
        directory_at(forest, Some(path), &modes)?;
    }
    forests.into_iter().map(|(key, forest)| Ok((key, encode(forest, sink)?))).collect()
}

fn take_file(
    root: &Root,
    path: &TreePath,
    rules: &IngestRules,
    sink: Sink<'_>,
    total: &AtomicU64,
) -> Result<(BlobDigest, u64, u32)> {
    let (mut file, mode) = root.open_file(path)?;
    let limit = rules.file_bytes_max;
    let (digest, size) = match sink {
        Sink::Store(batch) => batch.add_reader(&mut file, &root.at(path), limit, inode_mode(mode))?,
        Sink::HashOnly => {
            let mut hasher = BlobHasher::new();
            let mut limited = std::io::Read::take(file, limit.saturating_add(1));
            std::io::copy(&mut limited, &mut hasher).map_err(Error::io("read", &root.at(path)))?;
            hasher.finish()
        }
    };
    if size > limit {
        return Err(Error::TooLong { what: root.at(path).display().to_string(), limit });
    }
    if total.fetch_add(size, Ordering::Relaxed).saturating_add(size) > rules.bytes_max {
        return Err(refused(path.as_str(), &format!("with it there are more than {} bytes", rules.bytes_max)));
    }
    Ok((digest, size, mode))
}

fn name_of(path: &TreePath) -> Result<EntryName> {
    EntryName::new(path.file_name()).map_err(|e| refused(path.as_str(), &e.to_string()))
}

/// The directory at a path; made if need be, with a node in its parent (whose digest [`encode`] fills in).
fn directory_at<'f>(
    forest: &'f mut Forest,
    path: Option<TreePath>,
    modes: &BTreeMap<TreePath, u32>,
) -> Result<&'f mut Directory> {
    let (mut missing, mut at) = (Vec::new(), path.clone());
    while let Some(directory) = at.take_if(|directory| !forest.contains_key(&Some(directory.clone()))) {
        at = directory.parent();
        missing.push(directory);
    }
    for directory in missing.into_iter().rev() {
        let mode = modes.get(&directory).copied().unwrap_or(DIRECTORY_MODE);
        let node = DirectoryNode { name: name_of(&directory)?, digest: TreeDigest::from_bytes([0; 32]), size: 0, mode };
        forest.entry(directory.parent()).or_default().directories.push(node);
        forest.entry(Some(directory)).or_default();
    }
    Ok(forest.entry(path).or_default())
}

/// Encodes from the deepest directory up; gives the root's digest.
fn encode(mut forest: Forest, sink: Sink<'_>) -> Result<TreeDigest> {
    let root = forest.remove(&None).unwrap_or_default();
    let mut digests: BTreeMap<TreePath, (TreeDigest, u64)> = BTreeMap::new();
    let mut order: Vec<_> = forest.into_iter().filter_map(|(path, directory)| Some((path?, directory))).collect();
    order.sort_by_key(|(path, _)| std::cmp::Reverse(path.as_str().split('/').count()));
    for (path, directory) in order {
        let encoded = encode_one(directory, Some(&path), &digests, sink)?;
        digests.insert(path, encoded);
    }
    Ok(encode_one(root, None, &digests, sink)?.0)
}

fn encode_one(
    mut directory: Directory,
    path: Option<&TreePath>,
    digests: &BTreeMap<TreePath, (TreeDigest, u64)>,
    sink: Sink<'_>,
) -> Result<(TreeDigest, u64)> {
    for node in &mut directory.directories {
        let at = path.map_or_else(|| TreePath::from(node.name.clone()), |path| path.join(&node.name));
        if let Some((digest, size)) = digests.get(&at) {
            (node.digest, node.size) = (*digest, *size);
        }
    }
    let (bytes, digest) = directory.encode();
    if let Sink::Store(batch) = sink {
        batch.add_bytes(&bytes, FILE_MODE)?;
    }
    Ok((digest, bytes.len() as u64))
}
