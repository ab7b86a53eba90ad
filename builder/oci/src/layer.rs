//! A layer: entries to a deterministic tar, compressed.
//!
//! Entries are written in the order of their paths, component by component, so a directory comes before what is
//! in it. Directories that nobody listed are added with mode 0755 and owner 0:0. Every time is the source
//! epoch; owners are numbers. The archive has no entry for the root and no `./`.

use crate::{
    Descriptor, Error, MediaType, PATH_BYTES_MAX,
    block::{self, Codec},
    document::shown,
    gzip::Gzip,
    limits::{ENTRIES_MAX, EPOCH_MAX, LAYER_BYTES_MAX, within},
    ustar::{BLOCK, END, Header, Kind},
    zstandard::Zstd,
};
use anneal_content::{BlobDigest, BlobSource, EntryKind, TreePath};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    num::NonZeroUsize,
};

/// Names everything that the bytes of a layer depend on besides its entries; part of every provenance.
///
/// The number changes with any change of the tar, the block sizes or the framing.
pub const LAYER_WRITER: &str = "anneal-layer-2 ustar+pax gzip-1MiB libdeflate-1.26 zstd-4MiB zstd-1.5.7";

/// The longest symbolic link target, as on Linux.
const TARGET_MAX: usize = 4095;
/// How much of a file is held in memory at a time.
const READ_BYTES: usize = 128 << 10;

/// One path of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEntry {
    /// Where, without a leading slash.
    pub path: TreePath,
    /// What.
    pub kind: EntryKind,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Every client reads it.
    #[default]
    Gzip,
    /// Smaller and faster; clients of the last years read it.
    Zstd,
}

impl Compression {
    /// The level used unless another is asked for: gzip 6, zstd 3.
    pub fn default_level(self) -> u8 {
        match self {
            Self::Gzip => 6,
            Self::Zstd => 3,
        }
    }
    /// The media type of a layer compressed like this.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Gzip => MediaType::LAYER_GZIP,
            Self::Zstd => MediaType::LAYER_ZSTD,
        }
    }
}

/// How a layer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// The codec.
    pub compression: Compression,
    /// Its level: 1 to 9 for gzip, 1 to 19 for zstd.
    pub level: u8,
    /// How many threads compress; the bytes do not depend on it.
    pub threads: NonZeroUsize,
    /// The time of every entry, in seconds since 1970.
    pub epoch_secs: u64,
}

impl Packing {
    /// The codec's usual level.
    pub fn new(compression: Compression, threads: NonZeroUsize, epoch_secs: u64) -> Self {
        Self { compression, level: compression.default_level(), threads, epoch_secs }
    }
}

/// A layer that was written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PackedLayer {
    /// Its media type, which names the compression.
    pub media_type: String,
    /// The digest of the compressed bytes, by which it is pulled.
    pub digest: BlobDigest,
    /// How many compressed bytes.
    pub size: u64,
    /// The digest of the tar, by which a config names it.
    pub diff_id: BlobDigest,
    /// How many bytes the tar has.
    pub uncompressed: u64,
}

impl PackedLayer {
    /// The descriptor for a manifest.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest, self.size)
    }
}

/// Writes a layer to `sink`, reading file contents from `blobs`.
///
/// The order of `entries` does not matter. A directory may be listed more than once if its mode and owner are the
/// same each time; any other path may be listed once.
pub fn pack_layer(
    entries: &[LayerEntry],
    blobs: &dyn BlobSource,
    packing: &Packing,
    sink: &mut dyn Write,
) -> Result<PackedLayer, Error> {
    let (gzip, zstd);
    let codec: &dyn Codec = match packing.compression {
        Compression::Gzip => {
            gzip = Gzip::new(packing.level)?;
            &gzip
        }
        Compression::Zstd => {
            zstd = Zstd::new(packing.level)?;
            &zstd
        }
    };
    within("source epoch in seconds", EPOCH_MAX, packing.epoch_secs)?;
    let entries = arrange(entries)?;
    let written = block::compress(codec, packing.threads.get(), sink, |out| {
        for entry in &entries {
            append(entry, blobs, packing.epoch_secs, out)?;
        }
        out.write_all(&END).map_err(|source| Error::Sink { source })
    })?;
    Ok(PackedLayer {
        media_type: packing.compression.media_type().to_owned(),
        digest: written.packed.0,
        size: written.packed.1,
        diff_id: written.plain.0,
        uncompressed: written.plain.1,
    })
}

/// Checks the entries, adds missing parents and sorts.
fn arrange(entries: &[LayerEntry]) -> Result<Vec<LayerEntry>, Error> {
    within("number of entries in the layer", ENTRIES_MAX, entries.len() as u64)?;
    let mut content = 0_u64;
    let mut by_path: BTreeMap<&str, LayerEntry> = BTreeMap::new();
    for entry in entries {
        check(entry)?;
        if let EntryKind::File { size, .. } = entry.kind {
            content = content.saturating_add(size);
        }
        if let Some(first) = by_path.get(entry.path.as_str()) {
            if entry.kind != EntryKind::Directory || first != entry {
                let (first, second) = (describe(first), describe(entry));
                return Err(Error::Conflict { path: shown(entry.path.as_str()), first, second });
            }
            continue;
        }
        by_path.insert(entry.path.as_str(), entry.clone());
    }
    within("content of the layer in bytes", LAYER_BYTES_MAX, content)?;
    let mut missing = BTreeMap::new();
    for entry in by_path.values() {
        let mut above = entry.path.parent();
        while let Some(parent) = above {
            match by_path.get(parent.as_str()) {
                Some(LayerEntry { kind: EntryKind::Directory, .. }) => break,
                Some(other) => {
                    let (path, parent) = (shown(entry.path.as_str()), shown(parent.as_str()));
                    return Err(Error::NotUnderDirectory { path, parent, found: describe(other) });
                }
                None => {}
            }
            above = parent.parent();
            let (kind, mode, uid, gid) = (EntryKind::Directory, 0o755, 0, 0);
            if missing.insert(parent.clone(), LayerEntry { path: parent, kind, mode, uid, gid }).is_some() {
                break;
            }
        }
    }
    let mut sorted: Vec<_> = by_path.into_values().chain(missing.into_values()).collect();
    within("number of entries in the layer", ENTRIES_MAX, sorted.len() as u64)?;
    sorted.sort_by(|a, b| a.path.as_str().split('/').cmp(b.path.as_str().split('/')));
    Ok(sorted)
}

fn check(entry: &LayerEntry) -> Result<(), Error> {
    let path = || shown(entry.path.as_str());
    within("length of a path in bytes", PATH_BYTES_MAX, entry.path.as_str().len() as u64)?;
    if entry.path.as_str().split('/').any(|name| name.starts_with(".wh.")) {
        return Err(Error::Whiteout { path: path() });
    }
    if entry.mode > 0o7777 {
        return Err(Error::Mode { path: path(), mode: entry.mode });
    }
    match &entry.kind {
        EntryKind::Symlink { target } if !(1..=TARGET_MAX).contains(&target.len()) || target.contains('\0') => {
            Err(Error::Target { path: path(), length: target.len() })
        }
        _ => Ok(()),
    }
}

fn describe(entry: &LayerEntry) -> String {
    let LayerEntry { mode, uid, gid, .. } = entry;
    let what = match &entry.kind {
        EntryKind::File { digest, .. } => format!("a file {}", digest.short()),
        EntryKind::Directory => "a directory".to_owned(),
        EntryKind::Symlink { target } => format!("a link to `{}`", shown(target)),
    };
    format!("{what} (mode {mode:04o}, owner {uid}:{gid})")
}

fn append(entry: &LayerEntry, blobs: &dyn BlobSource, mtime: u64, out: &mut dyn Write) -> Result<(), Error> {
    let mut path = entry.path.as_str().to_owned();
    let (kind, size, target) = match &entry.kind {
        EntryKind::File { size, .. } => (Kind::File, *size, ""),
        EntryKind::Symlink { target } => (Kind::Symlink, 0, target.as_str()),
        EntryKind::Directory => {
            path.push('/');
            (Kind::Directory, 0, "")
        }
    };
    let LayerEntry { mode, uid, gid, .. } = *entry;
    let header = Header { path: &path, kind, mode, uid, gid, size, mtime, target };
    out.write_all(&header.encode()).map_err(|source| Error::Sink { source })?;
    match &entry.kind {
        EntryKind::File { digest, size } => append_content(entry, digest, *size, blobs, out),
        EntryKind::Directory | EntryKind::Symlink { .. } => Ok(()),
    }
}

fn append_content(
    entry: &LayerEntry,
    digest: &BlobDigest,
    expected: u64,
    blobs: &dyn BlobSource,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let path = || shown(entry.path.as_str());
    let blob = blobs.open(digest).map_err(|source| Error::Content { path: path(), source })?;
    // One byte more than expected, so that a longer blob is noticed.
    let mut content = blob.take(expected.saturating_add(1));
    let mut buffer = vec![0; READ_BYTES.min(usize::try_from(expected).unwrap_or(READ_BYTES) + 1)];
    let mut found = 0;
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(Error::ContentIo { path: path(), digest: *digest, source }),
        };
        found += count as u64;
        if found > expected {
            break;
        }
        out.write_all(buffer.get(..count).unwrap_or_default()).map_err(|source| Error::Sink { source })?;
    }
    if found != expected {
        return Err(Error::ContentSize { path: path(), digest: *digest, expected, found });
    }
    let padding = found.next_multiple_of(BLOCK as u64) - found;
    let zeros = [0; BLOCK];
    let padding = zeros.get(..usize::try_from(padding).unwrap_or(0)).unwrap_or_default();
    out.write_all(padding).map_err(|source| Error::Sink { source })
}
