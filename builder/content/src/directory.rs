//! A directory in the encoding of the Remote Execution API (`build.bazel.remote.execution.v2`).
//!
//! ```text
//! Directory { files: [FileNode], directories: [DirectoryNode], symlinks: [SymlinkNode] }
//! ```
//! Canonical: each list sorted by name, no name twice in the three lists together. A file's mode is
//! 0644 or, where `is_executable`, 0755; another mode (a 0555 program, say) and a directory's mode other
//! than 0755 stand in `node_properties.unix_mode`. Owners and times are not part of a tree: every package
//! file belongs to root, and times are the source epoch when a layer is written.

use crate::{BlobDigest, EntryName, Error, TreeDigest};
use prost::Message as _;

/// A file in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileNode {
    /// Its name.
    pub name: EntryName,
    /// Its bytes.
    pub digest: BlobDigest,
    /// How many bytes.
    pub size: u64,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
}

/// A directory in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryNode {
    /// Its name.
    pub name: EntryName,
    /// The encoded [`Directory`].
    pub digest: TreeDigest,
    /// The encoded directory's size in bytes.
    pub size: u64,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
}

/// A symbolic link in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymlinkNode {
    /// Its name.
    pub name: EntryName,
    /// What it points to, as written: 1 to 4095 bytes of UTF-8.
    pub target: String,
}

/// One directory of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// Files, sorted by name.
    pub files: Vec<FileNode>,
    /// Directories, sorted by name.
    pub directories: Vec<DirectoryNode>,
    /// Symbolic links, sorted by name.
    pub symlinks: Vec<SymlinkNode>,
}

mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Digest {
        #[prost(string, tag = "1")]
        pub hash: String,
        #[prost(int64, tag = "2")]
        pub size_bytes: i64,
    }
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Mode {
        #[prost(uint32, tag = "1")]
        pub value: u32,
    }
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct NodeProperties {
        #[prost(message, optional, tag = "3")]
        pub unix_mode: Option<Mode>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct File {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(message, optional, tag = "2")]
        pub digest: Option<Digest>,
        #[prost(bool, tag = "4")]
        pub is_executable: bool,
        #[prost(message, optional, tag = "6")]
        pub node_properties: Option<NodeProperties>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Child {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(message, optional, tag = "2")]
        pub digest: Option<Digest>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Symlink {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub target: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Property {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub value: String,
    }
    /// `DirectoryNode` has no properties in the API, so a child's unusual mode is a property of its parent.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct OwnProperties {
        #[prost(message, repeated, tag = "1")]
        pub properties: Vec<Property>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Directory {
        #[prost(message, repeated, tag = "1")]
        pub files: Vec<File>,
        #[prost(message, repeated, tag = "2")]
        pub directories: Vec<Child>,
        #[prost(message, repeated, tag = "3")]
        pub symlinks: Vec<Symlink>,
        #[prost(message, optional, tag = "5")]
        pub node_properties: Option<OwnProperties>,
    }
}

const FILE_MODE: u32 = 0o644;
const EXECUTABLE_MODE: u32 = 0o755;
const DIRECTORY_MODE: u32 = 0o755;
/// The longest symbolic link target, as on Linux.
const TARGET_MAX: usize = 4095;

fn wire_digest(hash: String, size: u64) -> Option<wire::Digest> {
    Some(wire::Digest { hash, size_bytes: i64::try_from(size).unwrap_or(i64::MAX) })
}

impl Directory {
    /// Sorts the three lists, so that the encoding is canonical.
    pub fn sort(&mut self) {
        self.files.sort_by(|a, b| a.name.cmp(&b.name));
        self.directories.sort_by(|a, b| a.name.cmp(&b.name));
        self.symlinks.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// The canonical encoding, and its digest.
    pub fn encode(&self) -> (Vec<u8>, TreeDigest) {
        let mut sorted = self.clone();
        sorted.sort();
        let bytes = sorted.to_wire().encode_to_vec();
        let digest = TreeDigest::from_bytes(*BlobDigest::of(&bytes).as_bytes());
        (bytes, digest)
    }

    fn to_wire(&self) -> wire::Directory {
        let files = self.files.iter().map(|file| {
            let is_executable = file.mode & 0o111 != 0;
            let plain = if is_executable { EXECUTABLE_MODE } else { FILE_MODE };
            wire::File {
                name: file.name.to_string(),
                digest: wire_digest(file.digest.hex(), file.size),
                is_executable,
                node_properties: (file.mode != plain)
                    .then_some(wire::NodeProperties { unix_mode: Some(wire::Mode { value: file.mode }) }),
            }
        });
        let directories = self
            .directories
            .iter()
            .map(|dir| wire::Child { name: dir.name.to_string(), digest: wire_digest(dir.digest.hex(), dir.size) });
        let symlinks =
            self.symlinks.iter().map(|link| wire::Symlink { name: link.name.to_string(), target: link.target.clone() });
        let modes: Vec<_> = self
            .directories
            .iter()
            .filter(|dir| dir.mode != DIRECTORY_MODE)
            .map(|dir| wire::Property { name: format!("mode:{}", dir.name), value: format!("{:04o}", dir.mode) })
            .collect();
        wire::Directory {
            files: files.collect(),
            directories: directories.collect(),
            symlinks: symlinks.collect(),
            node_properties: (!modes.is_empty()).then_some(wire::OwnProperties { properties: modes }),
        }
    }

    /// Decodes and checks: the bytes must be exactly what [`Directory::encode`] would write.
    pub fn decode(digest: &TreeDigest, bytes: &[u8]) -> Result<Self, Error> {
        let undecodable = |reason: String| Error::Decode { digest: *digest, reason };
        let not_canonical = |reason: &str| Error::NotCanonical { digest: *digest, reason: reason.to_owned() };
        let wire = wire::Directory::decode(bytes).map_err(|e| undecodable(e.to_string()))?;
        let mut dir_modes = std::collections::BTreeMap::new();
        for property in wire.node_properties.iter().flat_map(|p| &p.properties) {
            let name =
                property.name.strip_prefix("mode:").ok_or_else(|| not_canonical("an unknown directory property"))?;
            let mode =
                u32::from_str_radix(&property.value, 8).map_err(|_| not_canonical("a mode that is not octal"))?;
            dir_modes.insert(name.to_owned(), mode);
        }
        let mut directory = Self::default();
        for file in wire.files {
            let (digest, size) = file_digest(file.digest, &not_canonical)?;
            let plain = if file.is_executable { EXECUTABLE_MODE } else { FILE_MODE };
            let mode = file.node_properties.and_then(|p| p.unix_mode).map_or(plain, |m| m.value);
            if mode > 0o7777 {
                return Err(not_canonical("a mode above 7777"));
            }
            directory.files.push(FileNode { name: EntryName::new(file.name)?, digest, size, mode });
        }
        for child in wire.directories {
            let (blob, size) = file_digest(child.digest, &not_canonical)?;
            let mode = dir_modes.remove(&child.name).unwrap_or(DIRECTORY_MODE);
            if mode > 0o7777 {
                return Err(not_canonical("a mode above 7777"));
            }
            directory.directories.push(DirectoryNode {
                name: EntryName::new(child.name)?,
                digest: TreeDigest::from_bytes(*blob.as_bytes()),
                size,
                mode,
            });
        }
        for link in wire.symlinks {
            if link.target.is_empty() || link.target.len() > TARGET_MAX || link.target.contains('\0') {
                return Err(not_canonical("a symbolic link target that is empty, too long or holds NUL"));
            }
            directory.symlinks.push(SymlinkNode { name: EntryName::new(link.name)?, target: link.target });
        }
        directory.check_names(&not_canonical)?;
        if directory.to_wire().encode_to_vec() != bytes {
            return Err(not_canonical("unknown fields or another order"));
        }
        Ok(directory)
    }

    fn check_names(&self, wrong: &dyn Fn(&str) -> Error) -> Result<(), Error> {
        let mut seen = std::collections::BTreeSet::new();
        let names = self
            .files
            .iter()
            .map(|n| &n.name)
            .chain(self.directories.iter().map(|n| &n.name))
            .chain(self.symlinks.iter().map(|n| &n.name));
        for name in names {
            if !seen.insert(name) {
                return Err(wrong("a name that occurs twice"));
            }
        }
        let sorted = self.files.is_sorted_by(|a, b| a.name < b.name)
            && self.directories.is_sorted_by(|a, b| a.name < b.name)
            && self.symlinks.is_sorted_by(|a, b| a.name < b.name);
        if sorted { Ok(()) } else { Err(wrong("names that are not sorted")) }
    }
}

fn file_digest(digest: Option<wire::Digest>, wrong: &dyn Fn(&str) -> Error) -> Result<(BlobDigest, u64), Error> {
    let digest = digest.ok_or_else(|| wrong("an entry without a digest"))?;
    let size = u64::try_from(digest.size_bytes).map_err(|_| wrong("a negative size"))?;
    Ok((format!("sha256:{}", digest.hash).parse()?, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, mode: u32) -> FileNode {
        FileNode { name: EntryName::new(name).unwrap(), digest: BlobDigest::of(name.as_bytes()), size: 3, mode }
    }

    #[test]
    fn a_directory_survives_the_wire_with_its_modes() {
        let subdirectory = DirectoryNode {
            name: EntryName::new("tmp").unwrap(),
            digest: TreeDigest::from_bytes([1; 32]),
            size: 9,
            mode: 0o1777,
        };
        let mut dir = Directory {
            files: vec![file("z", 0o4755), file("a", 0o644), file("b", 0o555)],
            directories: vec![subdirectory],
            symlinks: vec![SymlinkNode { name: EntryName::new("link").unwrap(), target: "../x".into() }],
        };
        let (bytes, digest) = dir.encode();
        dir.sort();
        assert_eq!(Directory::decode(&digest, &bytes).unwrap(), dir);
    }

    #[test]
    fn the_empty_directory_is_the_empty_message() {
        let (bytes, digest) = Directory::default().encode();
        assert!(bytes.is_empty());
        assert_eq!(digest.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn a_name_used_twice_is_refused() {
        let dir = Directory {
            files: vec![file("x", 0o644)],
            symlinks: vec![SymlinkNode { name: EntryName::new("x").unwrap(), target: "y".into() }],
            ..Directory::default()
        };
        let (bytes, digest) = dir.encode();
        assert!(Directory::decode(&digest, &bytes).is_err());
    }

    #[test]
    fn trailing_unknown_fields_are_refused() {
        let (mut bytes, digest) = Directory::default().encode();
        bytes.extend_from_slice(&[0x7a, 0x01, b'x']);
        assert!(Directory::decode(&digest, &bytes).is_err());
    }
}
