//! OCI layouts on disk: read one that a client pulled, unpack its layers, write one.
//!
//! A layout comes from outside, so each blob is hashed before it is believed, sizes are bounded, and layers are unpacked
//! into a tree of our own, never onto the host's paths.

use crate::{Error, Result, error::io};
use anneal_content::{
    BlobDigest, Directory, DirectoryNode, EntryKind, EntryName, FileNode, SymlinkNode, TreeDigest, TreePath,
};
use anneal_oci::{Descriptor, ImageConfig, ImageIndex, ImageManifest, LayerEntry, MediaType};
use anneal_store::Store;
use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

/// An image in a layout.
#[derive(Debug, Clone, PartialEq)]
pub struct LayoutImage {
    /// The manifest's digest.
    pub manifest_digest: BlobDigest,
    /// The manifest.
    pub manifest: ImageManifest,
    /// The configuration.
    pub config: ImageConfig,
    /// The layout's directory.
    pub dir: PathBuf,
}

/// The annotation by which a layout names its images.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The largest blob of a layout that is read, in memory.
const BLOB_BYTES_MAX: u64 = 1 << 30;
/// The most that one layer may unpack to, in memory.
const UNPACKED_BYTES_MAX: u64 = 2 << 30;
/// The most entries of one layer.
const UNPACKED_ENTRIES_MAX: usize = 1_000_000;

fn wrong(dir: &Path, reason: impl Into<String>) -> Error {
    Error::Layout { path: dir.to_owned(), reason: reason.into() }
}

fn blob(dir: &Path, digest: &BlobDigest) -> Result<Vec<u8>> {
    let path = dir.join("blobs/sha256").join(digest.hex());
    let size = std::fs::metadata(&path).map_err(io("read", &path))?.len();
    if size > BLOB_BYTES_MAX {
        return Err(wrong(dir, format!("blob {digest} has {size} bytes, more than {BLOB_BYTES_MAX}")));
    }
    let bytes = std::fs::read(&path).map_err(io("read", &path))?;
    let found = BlobDigest::of(&bytes);
    if found == *digest { Ok(bytes) } else { Err(wrong(dir, format!("blob {digest} hashes to {found}"))) }
}

/// Reads the image of a layout that has this name there, or its only one, following an index to the entry for Linux on
/// amd64.
pub fn read_layout(dir: &Path, name: Option<&str>) -> Result<LayoutImage> {
    let path = dir.join("index.json");
    let size = std::fs::metadata(&path).map_err(io("read", &path))?.len();
    if size > anneal_oci::DOCUMENT_BYTES_MAX {
        return Err(wrong(dir, format!("index.json has {size} bytes, more than {}", anneal_oci::DOCUMENT_BYTES_MAX)));
    }
    let bytes = std::fs::read(&path).map_err(io("read", &path))?;
    let mut top: LayoutIndex = serde_json::from_slice(&bytes).map_err(|e| wrong(dir, format!("index.json: {e}")))?;
    if let Some(name) = name {
        top.manifests.retain(|d| d.annotations.get(REF_NAME).is_some_and(|found| found == name));
    }
    let mut descriptor = pick(&top.manifests, dir)?;
    if descriptor.media_type == MediaType::INDEX {
        descriptor = pick(&ImageIndex::parse(&blob(dir, &descriptor.digest)?)?.manifests, dir)?;
    }
    let manifest = ImageManifest::parse(&blob(dir, &descriptor.digest)?)?;
    let config = ImageConfig::parse(&blob(dir, &manifest.config.digest)?)?;
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        return Err(wrong(dir, "the configuration and the manifest count different layers"));
    }
    Ok(LayoutImage { manifest_digest: descriptor.digest, manifest, config, dir: dir.to_owned() })
}

/// The index of a layout, which unlike a served one need not say what it is.
#[derive(serde::Deserialize)]
struct LayoutIndex {
    manifests: Vec<Descriptor>,
}

fn pick(manifests: &[Descriptor], dir: &Path) -> Result<Descriptor> {
    let fits = |d: &&Descriptor| d.platform.as_ref().is_none_or(|p| p.os == "linux" && p.architecture == "amd64");
    manifests.iter().find(fits).cloned().ok_or_else(|| wrong(dir, "it lists no image for linux/amd64"))
}

/// Unpacks an image's layers into the store, lowest first; what comes back are the trees, lowest first.
pub fn unpack_layers(image: &LayoutImage, store: &Store) -> Result<Vec<TreeDigest>> {
    let mut trees = Vec::new();
    for (layer, diff_id) in image.manifest.layers.iter().zip(&image.config.rootfs.diff_ids) {
        let bytes = blob(&image.dir, &layer.digest)?;
        let tar = expand(&image.dir, layer, &bytes)?;
        let found = BlobDigest::of(&tar);
        if found != *diff_id {
            return Err(wrong(&image.dir, format!("layer {} unpacks to {found}, expected {diff_id}", layer.digest)));
        }
        trees.push(tree_of(&readable(entries_of(&image.dir, &tar, store)?), store)?);
    }
    Ok(trees)
}

fn expand(dir: &Path, layer: &Descriptor, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut tar = Vec::new();
    let read = match layer.media_type.as_str() {
        MediaType::LAYER_GZIP => {
            flate2::read::MultiGzDecoder::new(bytes).take(UNPACKED_BYTES_MAX).read_to_end(&mut tar)
        }
        MediaType::LAYER_ZSTD => {
            let decoder = zstd::stream::read::Decoder::new(bytes).map_err(io("unpack", dir))?;
            decoder.take(UNPACKED_BYTES_MAX).read_to_end(&mut tar)
        }
        other => return Err(wrong(dir, format!("layer {} has the unknown type {other}", layer.digest))),
    };
    read.map_err(io("unpack", dir))?;
    Ok(tar)
}

fn entries_of(dir: &Path, tar: &[u8], store: &Store) -> Result<Vec<LayerEntry>> {
    let mut entries = BTreeMap::new();
    let bad = |e: std::io::Error| wrong(dir, format!("a layer's archive is damaged: {e}"));
    for entry in tar::Archive::new(tar).entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        let raw = String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| wrong(dir, "a path is not UTF-8"))?;
        let text = raw.trim_start_matches("./").trim_end_matches('/');
        if text.is_empty() || text == "." {
            continue;
        }
        let path = TreePath::new(text)?;
        if path.file_name().starts_with(".wh.") {
            return Err(wrong(
                dir,
                format!("{path} removes something from a lower layer, which no layer of ours does"),
            ));
        }
        let header = entry.header();
        let mode = header.mode().map_err(bad)? & 0o7777;
        let (uid, gid) = (id(header.uid().map_err(bad)?), id(header.gid().map_err(bad)?));
        let kind = match header.entry_type() {
            tar::EntryType::Regular => {
                let (digest, size) = store.put_reader(&mut entry, UNPACKED_BYTES_MAX)?;
                EntryKind::File { digest, size }
            }
            tar::EntryType::Directory => EntryKind::Directory,
            tar::EntryType::Symlink => {
                let target = entry.link_name_bytes().map(|b| String::from_utf8_lossy(&b).into_owned());
                EntryKind::Symlink { target: target.unwrap_or_default() }
            }
            other => return Err(wrong(dir, format!("{path} is of type {other:?}, which no layer of ours holds"))),
        };
        if entries.insert(path.clone(), LayerEntry { path: path.clone(), kind, mode, uid, gid }).is_some() {
            return Err(wrong(dir, format!("{path} is there twice")));
        }
        if entries.len() > UNPACKED_ENTRIES_MAX {
            return Err(wrong(dir, format!("a layer has more than {UNPACKED_ENTRIES_MAX} entries")));
        }
    }
    Ok(entries.into_values().collect())
}

fn id(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[derive(Default)]
struct Node {
    files: Vec<FileNode>,
    symlinks: Vec<SymlinkNode>,
    directories: BTreeMap<EntryName, (u32, Node)>,
}

/// Entries as a tree can show them to the image's own user: a tree has no owners, so what belongs to another user than
/// root is made readable for everyone. For running an image only; a layer keeps what was declared.
pub(crate) fn readable(mut entries: Vec<LayerEntry>) -> Vec<LayerEntry> {
    for entry in entries.iter_mut().filter(|entry| entry.uid != 0 || entry.gid != 0) {
        entry.mode |= if entry.kind == EntryKind::Directory { 0o055 } else { (entry.mode & 0o100) >> 2 | 0o044 };
    }
    entries
}

/// The tree that these entries make; owners are not part of it.
pub(crate) fn tree_of(entries: &[LayerEntry], store: &Store) -> Result<TreeDigest> {
    let mut root = Node::default();
    for entry in entries {
        let mut node = &mut root;
        let parts: Vec<&str> = entry.path.as_str().split('/').collect();
        let Some((last, parents)) = parts.split_last() else { continue };
        for parent in parents {
            node = &mut node.directories.entry(EntryName::new(*parent)?).or_insert_with(|| (0o755, Node::default())).1;
        }
        let name = EntryName::new(*last)?;
        match &entry.kind {
            EntryKind::File { digest, size } => {
                node.files.push(FileNode { name, digest: *digest, size: *size, mode: entry.mode });
            }
            EntryKind::Symlink { target } => node.symlinks.push(SymlinkNode { name, target: target.clone() }),
            EntryKind::Directory => {
                node.directories.entry(name).or_insert_with(|| (0o755, Node::default())).0 = entry.mode
            }
        }
    }
    store_node(root, store).map(|(tree, _)| tree)
}

fn store_node(node: Node, store: &Store) -> Result<(TreeDigest, u64)> {
    let mut directory = Directory { files: node.files, symlinks: node.symlinks, directories: Vec::new() };
    for (name, (mode, child)) in node.directories {
        let (digest, size) = store_node(child, store)?;
        directory.directories.push(DirectoryNode { name, digest, size, mode });
    }
    let (bytes, tree) = directory.encode();
    store.put_blob(&bytes)?;
    Ok((tree, bytes.len() as u64))
}

/// Writes a layout that holds these blobs, with an index that names one manifest or index.
pub fn write_layout(
    dir: &Path,
    top: &Descriptor,
    blobs: &[BlobDigest],
    source: &dyn anneal_content::BlobSource,
) -> Result<()> {
    let into = dir.join("blobs/sha256");
    std::fs::create_dir_all(&into).map_err(io("create", &into))?;
    for digest in blobs {
        let path = into.join(digest.hex());
        let mut reader = source.open(digest).map_err(|e| anneal_content::Error::Read { digest: *digest, source: e })?;
        let mut file = std::fs::File::create(&path).map_err(io("create", &path))?;
        std::io::copy(&mut reader, &mut file).map_err(io("write", &path))?;
    }
    let index = anneal_oci::image_index(std::slice::from_ref(top), &BTreeMap::new())?;
    let path = dir.join("index.json");
    std::fs::write(&path, index.bytes).map_err(io("write", &path))?;
    let path = dir.join("oci-layout");
    std::fs::write(&path, r#"{"imageLayoutVersion":"1.0.0"}"#).map_err(io("write", &path))
}
