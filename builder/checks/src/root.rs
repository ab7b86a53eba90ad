//! The file system that a container sees: layers merged in order, or the packages' own entries where there is no image.

use crate::observe::{LayerFacts, MemberKind};
use anneal_content::{BlobDigest, Entry, EntryKind};
use std::collections::BTreeMap;

/// How many links are followed before it counts as a loop, as in Linux.
const LINKS_MAX: usize = 40;
/// Directories that the runtime fills: a link into them is resolved when the container runs.
const RUNTIME_DIRS: &[&str] = &["dev", "proc", "sys"];

/// What stands at a path of the merged file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKind {
    File { digest: BlobDigest, size: u64 },
    Directory,
    Symlink { target: String },
    Special { what: String },
}

/// One path of the merged file system.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    pub(crate) mode: u32,
    pub(crate) xattrs: Vec<String>,
}

/// A file of an earlier layer that a later one covers.
#[derive(Debug, Clone)]
pub(crate) struct Hidden {
    pub(crate) path: String,
    pub(crate) layer: usize,
    pub(crate) by: usize,
}

/// Why a path does not lead to anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    Missing(String),
    Escapes(String),
    Loop,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lost::Missing(path) => write!(f, "/{path} does not exist"),
            Lost::Escapes(target) => write!(f, "{target:?} climbs out of the root"),
            Lost::Loop => write!(f, "more than {LINKS_MAX} links"),
        }
    }
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Led {
    /// To this path, which is no link; empty for the root itself.
    To(String),
    /// Into a directory that the runtime fills.
    Runtime,
}

/// The merged file system.
#[derive(Debug, Clone, Default)]
pub(crate) struct Root {
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) hidden: Vec<Hidden>,
    /// The layer that gave each path.
    from: BTreeMap<String, usize>,
}

impl Root {
    /// Adds a package's entries, where there are no layers.
    pub(crate) fn add_entries(&mut self, entries: &[Entry]) {
        for entry in entries {
            let kind = match &entry.kind {
                EntryKind::File { digest, size } => NodeKind::File { digest: *digest, size: *size },
                EntryKind::Directory => NodeKind::Directory,
                EntryKind::Symlink { target } => NodeKind::Symlink { target: target.clone() },
            };
            let node = Node { kind, mode: entry.mode, xattrs: Vec::new() };
            self.nodes.entry(entry.path.as_str().to_owned()).or_insert(node);
        }
    }

    /// Puts a layer on top.
    pub(crate) fn add_layer(&mut self, number: usize, layer: &LayerFacts) {
        for member in &layer.members {
            let Some(path) = plain_path(&member.path) else { continue };
            let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
            if name == ".wh..wh..opq" {
                self.cover(number, dir, false);
                continue;
            }
            if let Some(gone) = name.strip_prefix(".wh.") {
                let gone = if dir.is_empty() { gone.to_owned() } else { format!("{dir}/{gone}") };
                self.cover(number, &gone, true);
                continue;
            }
            let kind = match &member.kind {
                MemberKind::File { digest, size } => NodeKind::File { digest: *digest, size: *size },
                MemberKind::Directory => NodeKind::Directory,
                MemberKind::Symlink { target } => NodeKind::Symlink { target: target.clone() },
                MemberKind::Special { what } => NodeKind::Special { what: what.clone() },
                MemberKind::HardLink { target } => match plain_path(target).and_then(|t| self.nodes.get(t)) {
                    Some(Node { kind: kind @ NodeKind::File { .. }, .. }) => kind.clone(),
                    _ => NodeKind::Special { what: format!("a hard link to {target:?}, which is no earlier file") },
                },
            };
            let directory_again =
                kind == NodeKind::Directory && self.nodes.get(path).is_some_and(|n| n.kind == NodeKind::Directory);
            let same = self.nodes.get(path).is_some_and(|n| n.kind == kind);
            if !directory_again && !same {
                self.cover(number, path, true);
            }
            self.nodes.insert(path.to_owned(), Node { kind, mode: member.mode, xattrs: member.xattrs.clone() });
            self.from.insert(path.to_owned(), number);
        }
    }

    /// Takes away what is beneath a path, and the path itself, and remembers files of earlier layers.
    fn cover(&mut self, number: usize, path: &str, itself: bool) {
        let beneath = format!("{path}/");
        let gone: Vec<String> = self
            .nodes
            .range(path.to_owned()..)
            .take_while(|(p, _)| p.starts_with(path))
            .filter(|(p, _)| path.is_empty() || p.starts_with(&beneath) || (itself && p.as_str() == path))
            .map(|(p, _)| p.clone())
            .collect();
        for path in gone {
            let layer = self.from.remove(&path).unwrap_or(number);
            if let Some(Node { kind: NodeKind::File { .. }, .. }) = self.nodes.remove(&path)
                && layer != number
            {
                self.hidden.push(Hidden { path, layer, by: number });
            }
        }
    }

    /// The layer that gave a path.
    pub(crate) fn layer_of(&self, path: &str) -> Option<usize> {
        self.from.get(path).copied()
    }

    /// Follows a path, absolute or from the root, through every link.
    pub(crate) fn resolve(&self, path: &str) -> Result<Led, Lost> {
        let mut done: Vec<String> = Vec::new();
        let mut todo: Vec<String> = parts(path).rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                if done.pop().is_none() {
                    return Err(Lost::Escapes(path.to_owned()));
                }
                continue;
            }
            done.push(part);
            if done.len() == 1 && done.first().is_some_and(|d| RUNTIME_DIRS.contains(&d.as_str())) && !todo.is_empty() {
                return Ok(Led::Runtime);
            }
            let here = done.join("/");
            match self.nodes.get(&here) {
                None => return Err(Lost::Missing(here)),
                Some(Node { kind: NodeKind::Symlink { target }, .. }) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Lost::Loop);
                    }
                    done.pop();
                    if target.starts_with('/') {
                        done.clear();
                    } else if climbs_out(&done, target) {
                        return Err(Lost::Escapes(target.clone()));
                    }
                    todo.extend(parts(target).rev().map(str::to_owned));
                }
                Some(_) => {}
            }
        }
        Ok(Led::To(done.join("/")))
    }

    /// The file that a path leads to.
    pub(crate) fn file(&self, path: &str) -> Option<(String, &Node)> {
        let Ok(Led::To(path)) = self.resolve(path) else { return None };
        let node = self.nodes.get(&path)?;
        matches!(node.kind, NodeKind::File { .. }).then_some((path, node))
    }
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|p| !p.is_empty() && *p != ".")
}

/// Whether a relative target has more `..` than there are directories.
fn climbs_out(from: &[String], target: &str) -> bool {
    let mut depth = from.len();
    for part in parts(target) {
        if part == ".." {
            let Some(less) = depth.checked_sub(1) else { return true };
            depth = less;
        } else {
            depth += 1;
        }
    }
    false
}

/// A member's path without a leading `./`, if it is canonical and stays beneath the root.
pub(crate) fn plain_path(written: &str) -> Option<&str> {
    let path = written.strip_prefix("./").unwrap_or(written);
    let good = |p: &str| !p.is_empty() && p != "." && p != ".." && !p.contains('\0');
    path.split('/').all(good).then_some(path)
}
