//! A tree as a flat, sorted list of paths: what layers, checks and inventories work on.

use crate::{BlobDigest, BlobSource, Directory, EntryName, Error, TreeDigest};
use std::fmt;

/// How many directories deep a tree may be.
const DEPTH_MAX: usize = 64;
/// How many entries a tree may have.
const ENTRIES_MAX: usize = 2_000_000;

/// A path in a tree: canonical, relative, `/` between names, never empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TreePath(String);

impl TreePath {
    /// Checks every component.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        for part in text.split('/') {
            EntryName::new(part)?;
        }
        Ok(Self(text))
    }
    /// The path as text, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
    /// The directory it is in; `None` at the root.
    pub fn parent(&self) -> Option<TreePath> {
        self.0.rsplit_once('/').map(|(dir, _)| Self(dir.to_owned()))
    }
    /// A path one name longer.
    pub fn join(&self, name: &EntryName) -> TreePath {
        Self(format!("{}/{name}", self.0))
    }
}

impl From<EntryName> for TreePath {
    fn from(name: EntryName) -> Self {
        Self(name.as_str().to_owned())
    }
}
impl TryFrom<String> for TreePath {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        Self::new(text)
    }
}
impl From<TreePath> for String {
    fn from(path: TreePath) -> Self {
        path.0
    }
}
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Its bytes.
        digest: BlobDigest,
        /// How many.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// What it points to, as written.
        target: String,
    },
}

/// One path of a tree.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// Where.
    pub path: TreePath,
    /// What.
    #[serde(flatten)]
    pub kind: EntryKind,
    /// Permission bits; 0o777 for a symbolic link.
    pub mode: u32,
}

/// Every entry of a tree, sorted by path (a directory before what is in it); the root itself is not listed.
pub fn list(tree: &TreeDigest, blobs: &dyn BlobSource) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    let mut todo: Vec<(Option<TreePath>, TreeDigest, usize)> = vec![(None, *tree, 0)];
    while let Some((base, digest, depth)) = todo.pop() {
        if depth > DEPTH_MAX {
            return Err(Error::TooDeep { limit: DEPTH_MAX, path: base.map(|p| p.0).unwrap_or_default() });
        }
        let bytes = blobs.read(&digest.as_blob()).map_err(|source| Error::Read { digest: digest.as_blob(), source })?;
        let directory = Directory::decode(&digest, &bytes)?;
        let at = |name: EntryName| base.as_ref().map_or_else(|| TreePath::from(name.clone()), |b| b.join(&name));
        for file in directory.files {
            entries.push(Entry {
                path: at(file.name),
                kind: EntryKind::File { digest: file.digest, size: file.size },
                mode: file.mode,
            });
        }
        for link in directory.symlinks {
            entries.push(Entry { path: at(link.name), kind: EntryKind::Symlink { target: link.target }, mode: 0o777 });
        }
        for dir in directory.directories {
            let path = at(dir.name);
            entries.push(Entry { path: path.clone(), kind: EntryKind::Directory, mode: dir.mode });
            todo.push((Some(path), dir.digest, depth + 1));
        }
        if entries.len() > ENTRIES_MAX {
            return Err(Error::TooMany { limit: ENTRIES_MAX });
        }
    }
    entries.sort_by(|a, b| a.path.0.split('/').cmp(b.path.0.split('/')));
    Ok(entries)
}

/// A listing for people and goldens: mode, size, digest or target, path; one entry a line.
pub fn listing_text(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let line = match &entry.kind {
            EntryKind::File { digest, size } => {
                format!("-{:04o} {size:>9} {} {}\n", entry.mode, digest.short(), entry.path)
            }
            EntryKind::Directory => format!("d{:04o} {:>9} {:12} {}\n", entry.mode, "", "", entry.path),
            EntryKind::Symlink { target } => {
                format!("l{:04o} {:>9} {:12} {} -> {target}\n", entry.mode, "", "", entry.path)
            }
        };
        text.push_str(&line);
    }
    text
}
