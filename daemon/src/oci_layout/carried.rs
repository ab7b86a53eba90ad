//! A layout that is read where it lies, to build an image of it again; nothing is taken in.

use super::{REF_NAME, untrusted::Layout};
use crate::error::{Error, Result, io};
use anneal_attest::{ANNOTATION_PREDICATE_TYPE, BUNDLE_MEDIA_TYPE, PredicateType};
use anneal_content::BlobDigest;
use anneal_store::Store;
use std::{
    io::{Read as _, Write as _},
    path::Path,
};

/// The largest document that is read whole.
const BLOB_BYTES_MAX: u64 = 64 << 20;
/// How much of an input is copied at once.
const PIECE_BYTES: usize = 1 << 20;

/// Images with what was said about them.
#[derive(Debug)]
pub(crate) struct Carried(Layout);

impl Carried {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        Layout::open(dir).map(Self)
    }

    /// The image's manifest that a name of the layout, or a digest of an index or of a manifest, means.
    pub(crate) fn find(&self, text: &str) -> Result<BlobDigest> {
        let named = |digest: &BlobDigest| {
            let mut entries = self.0.entries.iter().filter(|entry| entry.digest == *digest);
            entries.any(|entry| entry.annotations.get(REF_NAME).is_some_and(|name| name == text))
        };
        let is_meant = |digest: &BlobDigest| digest.to_string() == text || named(digest);
        let images = self.0.manifests.iter().filter(|listed| listed.manifest.subject.is_none());
        let meant = images.filter(|listed| is_meant(&listed.digest) || listed.index.as_ref().is_some_and(is_meant));
        let mut found: Vec<BlobDigest> = meant.map(|listed| listed.digest).collect();
        found.sort();
        found.dedup();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => {
                let names: Vec<&str> = self
                    .0
                    .entries
                    .iter()
                    .filter_map(|entry| entry.annotations.get(REF_NAME))
                    .map(String::as_str)
                    .collect();
                let shown: String = text.chars().take(120).flat_map(char::escape_debug).collect();
                Err(Error::Input(format!("the layout has no image `{shown}`; it has: {}", names.join(", "))))
            }
            several => Err(Error::Input(format!(
                "{} images of the layout are meant; name a manifest by digest",
                several.len()
            ))),
        }
    }

    /// What says this kind of thing about a manifest, by its own account: bundles that nobody verified yet.
    pub(crate) fn statements(&self, manifest: &BlobDigest, kind: PredicateType) -> Result<Vec<Vec<u8>>> {
        let about = self.0.manifests.iter().filter(|listed| {
            let claimed = listed.manifest.annotations.get(ANNOTATION_PREDICATE_TYPE);
            listed.manifest.subject.as_ref().is_some_and(|subject| subject.digest == *manifest)
                && claimed.is_some_and(|claimed| claimed == kind.uri())
        });
        let layers = about.flat_map(|listed| &listed.manifest.layers);
        let bundles = layers.filter(|layer| layer.media_type == BUNDLE_MEDIA_TYPE);
        bundles.map(|bundle| self.0.read_statement(&bundle.digest)).collect()
    }

    /// A document, hashed.
    pub(crate) fn blob(&self, digest: &BlobDigest) -> Result<Vec<u8>> {
        self.0.read(digest, BLOB_BYTES_MAX)
    }

    /// Copies a blob into a store, which hashes it; `false` where the layout does not have it.
    pub(crate) fn copy(&self, digest: &BlobDigest, store: &Store) -> Result<bool> {
        let Some(size) = self.0.named.get(digest) else { return Ok(false) };
        copy(&self.0, digest, *size, store)?;
        Ok(true)
    }
}

/// Copies a blob of a layout into a store, which hashes it.
pub(super) fn copy(layout: &Layout, digest: &BlobDigest, size: u64, store: &Store) -> Result<()> {
    let mut file = layout.open_blob(digest)?.take(size);
    let mut writer = store.writer()?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = file.read(&mut piece).map_err(io("read", digest.to_string()))?;
        let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        writer.write_all(bytes).map_err(io("take in", digest.to_string()))?;
    }
    writer.commit_as(digest)?;
    Ok(())
}
