//! What changed between two images: what an approver is shown, and signs.

use anneal_content::{BlobDigest, Entry, EntryKind, PackageName, TreePath, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A package that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageChange {
    /// The package.
    pub package: PackageName,
    /// Its version before; `None` if it is new.
    pub from: Option<Version>,
    /// Its version now; `None` if it is gone.
    pub to: Option<Version>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileChange {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its bytes, mode or target differ.
    Changed,
}

/// What changed between the last publication and a candidate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDiff {
    /// The manifest before; `None` for a first release.
    pub from: Option<BlobDigest>,
    /// The manifest now.
    pub to: Option<BlobDigest>,
    /// Packages that differ.
    pub packages: Vec<PackageChange>,
    /// Files that differ.
    pub files: BTreeMap<TreePath, FileChange>,
    /// Compressed bytes of all layers before.
    pub bytes_before: u64,
    /// Compressed bytes of all layers now.
    pub bytes_now: u64,
    /// Layers that a client which has the old image must pull.
    pub layers_new: usize,
    /// Layers that it has.
    pub layers_reused: usize,
    /// The bytes of the new layers.
    pub bytes_to_pull: u64,
}

/// One side of a comparison.
#[derive(Debug, Clone, Default)]
pub struct Side {
    /// The manifest.
    pub manifest: Option<BlobDigest>,
    /// Packages and versions.
    pub packages: BTreeMap<PackageName, Version>,
    /// Every entry.
    pub entries: Vec<Entry>,
    /// Layers and their sizes.
    pub layers: Vec<(BlobDigest, u64)>,
}

/// Compares two images.
pub fn image_diff(before: &Side, now: &Side) -> ImageDiff {
    let mut names: Vec<_> = before.packages.keys().chain(now.packages.keys()).collect();
    names.sort();
    names.dedup();
    let change = |package: &PackageName| {
        let (from, to) = (before.packages.get(package).cloned(), now.packages.get(package).cloned());
        (from != to).then(|| PackageChange { package: package.clone(), from, to })
    };
    let had = |digest: &BlobDigest| before.layers.iter().any(|(layer, _)| layer == digest);
    let new: Vec<_> = now.layers.iter().filter(|(digest, _)| !had(digest)).collect();
    ImageDiff {
        from: before.manifest,
        to: now.manifest,
        packages: names.into_iter().filter_map(change).collect(),
        files: file_changes(&before.entries, &now.entries),
        bytes_before: before.layers.iter().map(|(_, size)| size).sum(),
        bytes_now: now.layers.iter().map(|(_, size)| size).sum(),
        layers_new: new.len(),
        layers_reused: now.layers.len() - new.len(),
        bytes_to_pull: new.iter().map(|(_, size)| size).sum(),
    }
}

fn file_changes(before: &[Entry], now: &[Entry]) -> BTreeMap<TreePath, FileChange> {
    fn files(entries: &[Entry]) -> BTreeMap<&TreePath, &Entry> {
        entries.iter().filter(|e| e.kind != EntryKind::Directory).map(|e| (&e.path, e)).collect()
    }
    let (old, new) = (files(before), files(now));
    let mut changes = BTreeMap::new();
    for (path, entry) in &new {
        match old.get(path) {
            None => drop(changes.insert((*path).clone(), FileChange::Added)),
            Some(was) if was != entry => drop(changes.insert((*path).clone(), FileChange::Changed)),
            Some(_) => {}
        }
    }
    for path in old.keys().filter(|path| !new.contains_key(*path)) {
        changes.insert((*path).clone(), FileChange::Removed);
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, content: &str) -> Entry {
        let kind = EntryKind::File { digest: BlobDigest::of(content.as_bytes()), size: content.len() as u64 };
        Entry { path: TreePath::new(path).unwrap(), kind, mode: 0o644 }
    }

    fn side(version: &str, files: &[(&str, &str)], layers: &[(&str, u64)]) -> Side {
        Side {
            manifest: Some(BlobDigest::of(version.as_bytes())),
            packages: [(PackageName::new("zlib").unwrap(), Version::new(version).unwrap())].into(),
            entries: files.iter().map(|(p, c)| entry(p, c)).collect(),
            layers: layers.iter().map(|(l, s)| (BlobDigest::of(l.as_bytes()), *s)).collect(),
        }
    }

    #[test]
    fn a_bump_shows_its_version_its_files_and_what_a_client_pulls() {
        let before =
            side("1.2.11", &[("usr/lib/libz.so.1", "old"), ("gone", "x"), ("same", "s")], &[("a", 5), ("b", 7)]);
        let now = side("1.2.13", &[("usr/lib/libz.so.1", "new"), ("fresh", "y"), ("same", "s")], &[("a", 5), ("c", 9)]);
        let diff = image_diff(&before, &now);
        assert_eq!(diff.packages.len(), 1);
        let files: Vec<_> = diff.files.iter().map(|(path, change)| (path.as_str(), *change)).collect();
        let expected =
            [("fresh", FileChange::Added), ("gone", FileChange::Removed), ("usr/lib/libz.so.1", FileChange::Changed)];
        assert_eq!(files, expected);
        assert_eq!((diff.layers_new, diff.layers_reused, diff.bytes_to_pull), (1, 1, 9));
        assert_eq!((diff.bytes_before, diff.bytes_now), (12, 14));
    }
}
