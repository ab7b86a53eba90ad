//! What everything in Anneal is named by: digests, names, versions, trees and canonical JSON.
//!
//! A blob is bytes, named by SHA-256. A tree is a Merkle directory in the encoding of the Remote
//! Execution API, named by the SHA-256 of its root [`Directory`]. A derivation is named by BLAKE3
//! before anything is built. Pure: no clock, no disk, no network.

mod action;
mod digest;
mod directory;
mod error;
mod journal;
mod json;
mod listing;
mod name;
mod source;

pub use action::{ActionResult, SignedResult};
pub use digest::{
    ActionDigest, BlobDigest, BlobHasher, CatalogDigest, DerivationId, InterfaceDigest, JournalChain, TreeDigest,
};
pub use directory::{Directory, DirectoryNode, FileNode, SymlinkNode};
pub use error::Error;
pub use journal::JournalHead;
pub use json::{blob_digest_of, canonical_json};
pub use listing::{Entry, EntryKind, TreePath, list, listing_text};
pub use name::{CheckId, CommitId, EntryName, ImageName, OutputName, PackageName, Tag, Version};
pub use source::{BlobSource, MemoryBlobs, ReadError};

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;
