//! What may be served: plain data, made from publications and replaced as a whole.

use anneal_content::{BlobDigest, ImageName, Tag};
use anneal_oci::Descriptor;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that `/v2/` may answer with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// Repositories by image name.
    pub repositories: BTreeMap<ImageName, Repository>,
}

/// One repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repository {
    /// The manifest or index of each tag; it must be among `manifests`.
    pub tags: BTreeMap<Tag, BlobDigest>,
    /// Manifests and indexes, evidence included, with their media types.
    pub manifests: BTreeMap<BlobDigest, String>,
    /// Configs, layers, evidence and the empty config.
    pub blobs: BTreeSet<BlobDigest>,
    /// What is attached to a manifest, in the order in which clients shall see it: signatures first, because some
    /// clients look no further than they must. Each must be among `manifests`.
    pub referrers: BTreeMap<BlobDigest, Vec<Descriptor>>,
}

impl Repository {
    /// Whether a digest may leave as a blob. Manifests may too: some clients ask for them so.
    pub(crate) fn holds(&self, digest: &BlobDigest) -> bool {
        self.blobs.contains(digest) || self.manifests.contains_key(digest)
    }
}
