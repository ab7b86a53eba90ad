//! From a directory to a tree: its files' bytes into a sink, its directories canonical messages.

use crate::{
    Error, IngestRules, Result,
    error::refused,
    parallel::in_parallel,
    root::{Found, Root},
};
use anneal_content::{
    BlobDigest, BlobHasher, Directory, DirectoryNode, EntryName, FileNode, SymlinkNode, TreeDigest, TreePath,
};
use rustix::fs::Stat;
use std::{
    collections::BTreeMap,
    io::Read,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// The mode of a directory that is in a tree only because something beneath it is.
const DIRECTORY_MODE: u32 = 0o755;

/// Where bytes go. Any thread may add.
pub trait Sink: Sync {
    /// What goes wrong in it, or before.
    type Error: From<Error> + Send;

    /// Takes the bytes of a file of a `mode`, at most `limit`; `from` names the file in errors. Gives digest and length.
    fn add_file(
        &self,
        content: &mut dyn Read,
        from: &Path,
        limit: u64,
        mode: u32,
    ) -> Result<(BlobDigest, u64), Self::Error>;

    /// Takes an encoded directory.
    fn add_directory(&self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Keeps nothing.
struct HashOnly;

impl Sink for HashOnly {
    type Error = Error;

    fn add_file(&self, content: &mut dyn Read, from: &Path, limit: u64, _mode: u32) -> Result<(BlobDigest, u64)> {
        let mut hasher = BlobHasher::new();
        let mut limited = content.take(limit.saturating_add(1));
        std::io::copy(&mut limited, &mut hasher).map_err(Error::io("read", from))?;
        Ok(hasher.finish())
    }

    fn add_directory(&self, _bytes: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// The tree that [`capture`] would give; nothing is kept.
pub fn digest_dir(dir: &Path, rules: &IngestRules) -> Result<TreeDigest> {
    capture(dir, rules, &HashOnly)
}

/// Takes in a directory that nobody writes to any more. Owners and times are dropped, modes are kept.
pub fn capture<S: Sink>(dir: &Path, rules: &IngestRules, sink: &S) -> Result<TreeDigest, S::Error> {
    let mut trees = capture_split(dir, rules, sink, &|_, _| ())?;
    trees.remove(&()).map_or_else(|| encode(Forest::default(), sink), Ok)
}

/// Takes in a directory as several trees: `classify` says for each file, link (`true`) and empty directory to
/// which one it belongs. Other directories come with what is in them. A tree without entries is not given.
pub fn capture_split<S: Sink, K: Ord + Clone>(
    dir: &Path,
    rules: &IngestRules,
    sink: &S,
    classify: &dyn Fn(&TreePath, bool) -> K,
) -> Result<BTreeMap<K, TreeDigest>, S::Error> {
    let root = Root::open(dir)?;
    let Found { directories, files, links, .. } = root.walk(rules)?;
    let total = AtomicU64::new(0);
    let taken = in_parallel(&files, |path| take_file(&root, path, rules, sink, &total))?;
    if !rules.names_elsewhere {
        check_names(&files, &taken)?;
    }
    let modes: BTreeMap<_, _> = directories.iter().map(|(path, mode, _)| (path.clone(), rules.kept(*mode))).collect();
    let mut forests: BTreeMap<K, Forest> = BTreeMap::new();
    for (path, taken) in files.into_iter().zip(taken) {
        let forest = forests.entry(classify(&path, false)).or_default();
        let (digest, size, mode) = (taken.digest, taken.size, rules.kept(taken.stat.st_mode));
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

/// A file that was read.
struct Taken {
    digest: BlobDigest,
    size: u64,
    stat: Stat,
}

fn take_file<S: Sink>(
    root: &Root,
    path: &TreePath,
    rules: &IngestRules,
    sink: &S,
    total: &AtomicU64,
) -> Result<Taken, S::Error> {
    let (file, stat) = root.open_file(path)?;
    let (limit, bytes) = (rules.file_bytes_max, u64::try_from(stat.st_size).unwrap_or(u64::MAX));
    // Asked before a byte is read: a hole of a terabyte costs its writer nothing.
    if bytes > limit {
        return Err(Error::TooLong { path: path.to_string(), bytes, limit }.into());
    }
    if total.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > rules.bytes_max {
        return Err(refused(path.as_str(), format!("with it there are more than {} bytes", rules.bytes_max)).into());
    }
    let mut content = (&file).take(bytes.saturating_add(1));
    let (digest, size) = sink.add_file(&mut content, &root.at(path), limit, rules.kept(stat.st_mode))?;
    root.check_unchanged(path, &file, &stat, rules)?;
    if size != bytes {
        let reason = format!("it has {bytes} bytes and gave {size}; is something still running?");
        return Err(refused(path.as_str(), reason).into());
    }
    Ok(Taken { digest, size, stat })
}

/// Every name of each file must be in the directory.
fn check_names(files: &[TreePath], taken: &[Taken]) -> Result<()> {
    let mut names: BTreeMap<(u64, u64), (u64, u64, &TreePath)> = BTreeMap::new();
    for (path, Taken { stat, .. }) in files.iter().zip(taken).filter(|(_, taken)| taken.stat.st_nlink > 1) {
        let (_, seen, _) = names.entry((stat.st_dev, stat.st_ino)).or_insert((stat.st_nlink, 0, path));
        *seen += 1;
    }
    match names.values().find(|(all, seen, _)| all != seen) {
        Some((all, seen, path)) => {
            let reason =
                format!("its file has {all} names (hard links), and {seen} of them here; copy the file instead");
            Err(refused(path.as_str(), reason))
        }
        None => Ok(()),
    }
}

/// The directories of a tree that is being put together, by path; the root's is `None`.
type Forest = BTreeMap<Option<TreePath>, Directory>;

fn name_of(path: &TreePath) -> Result<EntryName> {
    EntryName::new(path.file_name()).map_err(|e| refused(path.as_str(), e.to_string()))
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
fn encode<S: Sink>(mut forest: Forest, sink: &S) -> Result<TreeDigest, S::Error> {
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

fn encode_one<S: Sink>(
    mut directory: Directory,
    path: Option<&TreePath>,
    digests: &BTreeMap<TreePath, (TreeDigest, u64)>,
    sink: &S,
) -> Result<(TreeDigest, u64), S::Error> {
    for node in &mut directory.directories {
        let at = path.map_or_else(|| TreePath::from(node.name.clone()), |path| path.join(&node.name));
        if let Some((digest, size)) = digests.get(&at) {
            (node.digest, node.size) = (*digest, *size);
        }
    }
    let (bytes, digest) = directory.encode();
    sink.add_directory(&bytes)?;
    Ok((digest, bytes.len() as u64))
}
