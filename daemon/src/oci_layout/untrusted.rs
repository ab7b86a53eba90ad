//! A layout that anybody may have written: what is in it, and that this is all.
//!
//! Nothing is opened but regular files beneath the directory, by names that are digests; no link is followed. Every
//! document is hashed before it is parsed, every size and count has a limit, and a file that nothing names is refused.

use super::{INDEX, INPUT, MARKER};
use crate::error::{Error, Result, io};
use anneal_attest::{BUNDLE_MEDIA_TYPE, SIMPLE_SIGNING_MEDIA_TYPE};
use anneal_content::BlobDigest;
use anneal_oci::{DOCUMENT_BYTES_MAX, Descriptor, ImageIndex, ImageManifest, LAYER_BYTES_MAX, MediaType};
use nix::{
    dir::Dir,
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read as _,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

/// How many things a layout may name.
const NAMED_MAX: usize = 100_000;
/// How deep indexes may lie in each other; `index.json` is the first.
const INDEX_DEPTH_MAX: usize = 3;
/// The largest bundle or payload of a signature.
pub(super) const STATEMENT_BYTES_MAX: u64 = 64 << 20;

/// A manifest, and where it is listed.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) digest: BlobDigest,
    pub(super) manifest: ImageManifest,
    /// The index that lists it, if it is not `index.json`.
    pub(super) index: Option<BlobDigest>,
}

/// What is in a layout. Sizes and media types are as descriptors claim; documents have their digests.
#[derive(Debug)]
pub(super) struct Layout {
    dir: PathBuf,
    blobs: OwnedFd,
    /// The entries of `index.json`.
    pub(super) entries: Vec<Descriptor>,
    pub(super) manifests: Vec<Listed>,
    /// Everything that is named, with its size.
    pub(super) named: BTreeMap<BlobDigest, u64>,
    /// What was read already, and where it was listed.
    followed: BTreeSet<(BlobDigest, Option<BlobDigest>)>,
}

fn refused(dir: &Path, why: impl std::fmt::Display) -> Error {
    Error::Input(format!("{} is refused: {why}", dir.display()))
}

fn shown(text: &str) -> String {
    text.chars().take(120).flat_map(char::escape_debug).collect()
}

fn beneath(dir: &OwnedFd, name: &str, directory: bool) -> std::io::Result<OwnedFd> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let kind = if directory { OFlag::O_DIRECTORY } else { OFlag::empty() };
    Ok(openat(dir.as_fd(), name, OFlag::O_RDONLY | flags | kind, Mode::empty())?)
}

fn names(dir: &OwnedFd) -> nix::Result<BTreeSet<String>> {
    let mut open =
        Dir::openat(dir.as_fd(), ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut names = BTreeSet::new();
    for entry in open.iter() {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.insert(name);
        }
        if names.len() > NAMED_MAX {
            break;
        }
    }
    Ok(names)
}

impl Layout {
    /// Reads the documents of a layout.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let root = File::open(dir).map(OwnedFd::from).map_err(io("open", dir))?;
        let marker = read_named(dir, &root, MARKER, 4096)?;
        let marker: serde_json::Value = serde_json::from_slice(&marker).unwrap_or_default();
        if marker.get("imageLayoutVersion").and_then(serde_json::Value::as_str) != Some("1.0.0") {
            return Err(refused(dir, "its oci-layout does not say version 1.0.0"));
        }
        let index = top_index(&read_named(dir, &root, INDEX, DOCUMENT_BYTES_MAX)?)?;
        let open_dir = |within: &OwnedFd, name: &str| {
            beneath(within, name, true).map_err(|e| refused(dir, format!("its directory {name} does not open: {e}")))
        };
        let blobs = open_dir(&open_dir(&root, "blobs")?, "sha256")?;
        let mut layout = Self {
            dir: dir.to_owned(),
            blobs,
            entries: index.manifests,
            manifests: Vec::new(),
            named: BTreeMap::new(),
            followed: BTreeSet::new(),
        };
        for entry in layout.entries.clone() {
            layout.follow(&entry, None, 1)?;
        }
        layout.require_nothing_else(&root)?;
        layout.require_subjects()?;
        Ok(layout)
    }

    fn refused(&self, why: impl std::fmt::Display) -> Error {
        refused(&self.dir, why)
    }

    fn follow(&mut self, entry: &Descriptor, index: Option<BlobDigest>, depth: usize) -> Result<()> {
        self.name(entry, DOCUMENT_BYTES_MAX)?;
        if !self.followed.insert((entry.digest, index)) {
            return Ok(());
        }
        if self.followed.len() > NAMED_MAX {
            return Err(self.refused(format!("it lists more than {NAMED_MAX} manifests")));
        }
        match entry.media_type.as_str() {
            MediaType::INDEX if depth < INDEX_DEPTH_MAX => {
                let bytes = self.read(&entry.digest, DOCUMENT_BYTES_MAX)?;
                for listed in ImageIndex::parse(&bytes)?.manifests {
                    self.follow(&listed, Some(entry.digest), depth + 1)?;
                }
                Ok(())
            }
            MediaType::INDEX => Err(self.refused(format!("index {} lies deeper than {INDEX_DEPTH_MAX}", entry.digest))),
            MediaType::MANIFEST => {
                let bytes = self.read(&entry.digest, DOCUMENT_BYTES_MAX)?;
                let manifest = ImageManifest::parse(&bytes)?;
                for part in manifest.layers.iter().chain([&manifest.config]) {
                    self.name(part, self.largest(part)?)?;
                }
                self.manifests.push(Listed { digest: entry.digest, manifest, index });
                Ok(())
            }
            other => Err(self.refused(format!("{} has the unknown media type `{}`", entry.digest, shown(other)))),
        }
    }

    /// How large a part of a manifest may be, by what it is.
    fn largest(&self, part: &Descriptor) -> Result<u64> {
        match part.media_type.as_str() {
            MediaType::CONFIG | MediaType::EMPTY => Ok(DOCUMENT_BYTES_MAX),
            MediaType::LAYER | MediaType::LAYER_GZIP | MediaType::LAYER_ZSTD | INPUT => Ok(LAYER_BYTES_MAX),
            BUNDLE_MEDIA_TYPE | SIMPLE_SIGNING_MEDIA_TYPE => Ok(STATEMENT_BYTES_MAX),
            other => Err(self.refused(format!("{} has the unknown media type `{}`", part.digest, shown(other)))),
        }
    }

    fn name(&mut self, entry: &Descriptor, largest: u64) -> Result<()> {
        let Descriptor { digest, size, .. } = entry;
        if *size > largest {
            return Err(self.refused(format!("{digest} is said to have {size} bytes; at most {largest} are read")));
        }
        match self.named.insert(*digest, *size) {
            Some(other) if other != *size => {
                Err(self.refused(format!("{digest} is said to have {other} bytes, and {size} elsewhere")))
            }
            None if self.named.len() > NAMED_MAX => Err(self.refused(format!("it names more than {NAMED_MAX} blobs"))),
            None => self.open_blob(digest).map(drop),
            Some(_) => Ok(()),
        }
    }

    /// A blob's file, which has the size that was said.
    pub(super) fn open_blob(&self, digest: &BlobDigest) -> Result<File> {
        let wrong = |why: String| self.refused(format!("blob {digest} {why}"));
        let file = beneath(&self.blobs, &digest.hex(), false).map(File::from).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => wrong("is missing".to_owned()),
            _ => wrong(format!("does not open, or is a link: {e}")),
        })?;
        let metadata = file.metadata().map_err(io("look at", &self.dir))?;
        if !metadata.is_file() {
            return Err(wrong("is not a regular file".to_owned()));
        }
        match self.named.get(digest) {
            Some(size) if *size == metadata.len() => Ok(file),
            Some(size) => Err(wrong(format!("has {} bytes, and is said to have {size}", metadata.len()))),
            None => Err(wrong("is named by nothing".to_owned())),
        }
    }

    /// A small blob, hashed.
    pub(super) fn read(&self, digest: &BlobDigest, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_blob(digest)?.take(limit + 1).read_to_end(&mut bytes).map_err(io("read", &self.dir))?;
        if bytes.len() as u64 > limit {
            return Err(self.refused(format!("blob {digest} has more than {limit} bytes")));
        }
        match BlobDigest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(self.refused(format!("blob {digest} hashes to {found}"))),
        }
    }

    /// What a bundle may hold.
    pub(super) fn read_statement(&self, digest: &BlobDigest) -> Result<Vec<u8>> {
        self.read(digest, STATEMENT_BYTES_MAX)
    }

    fn require_nothing_else(&self, root: &OwnedFd) -> Result<()> {
        let listed = |dir: &OwnedFd| names(dir).map_err(|e| io("list", &self.dir)(e.into()));
        let known: BTreeSet<String> = ["blobs", INDEX, MARKER].map(str::to_owned).into();
        if let Some(name) = listed(root)?.difference(&known).next() {
            return Err(self.refused(format!("it has `{}`, which is no part of a layout", shown(name))));
        }
        let hexes: BTreeSet<String> = self.named.keys().map(BlobDigest::hex).collect();
        match listed(&self.blobs)?.difference(&hexes).next() {
            Some(name) => Err(self.refused(format!("nothing in it names its file blobs/sha256/{}", shown(name)))),
            None => Ok(()),
        }
    }

    /// A statement about something that is not here would be kept for nothing.
    fn require_subjects(&self) -> Result<()> {
        let subjects =
            self.manifests.iter().filter_map(|listed| Some((listed.digest, listed.manifest.subject.as_ref()?)));
        for (digest, subject) in subjects {
            if self.named.get(&subject.digest) != Some(&subject.size) {
                return Err(self.refused(format!("{digest} is about {}, which is not in it", subject.digest)));
            }
        }
        Ok(())
    }
}

/// Other tools leave the media type of `index.json` out; the specification lets them. It is put in as text, so that
/// what is parsed is as strict about repeated fields as everywhere.
fn top_index(bytes: &[u8]) -> Result<ImageIndex> {
    let has_type = |object: &serde_json::Map<String, serde_json::Value>| object.contains_key("mediaType");
    let parsed = serde_json::from_slice::<serde_json::Value>(bytes);
    let value = parsed.map_err(|e| Error::Input(format!("index.json does not parse: {e}")))?;
    match (value.as_object(), bytes.trim_ascii_start().strip_prefix(b"{")) {
        (Some(object), Some(rest)) if !has_type(object) => {
            let typed = format!(r#"{{"mediaType":"{}","#, MediaType::INDEX);
            Ok(ImageIndex::parse(&[typed.as_bytes(), rest].concat())?)
        }
        _ => Ok(ImageIndex::parse(bytes)?),
    }
}

fn read_named(dir: &Path, root: &OwnedFd, name: &str, limit: u64) -> Result<Vec<u8>> {
    let wrong = |why: String| refused(dir, format!("its {name} {why}"));
    let file = beneath(root, name, false).map(File::from).map_err(|e| wrong(format!("does not open: {e}")))?;
    let metadata = file.metadata().map_err(io("look at", dir))?;
    if !metadata.is_file() || metadata.len() > limit {
        return Err(wrong(format!("is not a regular file of at most {limit} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(io("read", dir))?;
    Ok(bytes)
}
