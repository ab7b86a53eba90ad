//! What can be learnt from bytes alone, learnt once: facts about a file and about a layer.
//!
//! Facts depend on nothing but the bytes, so they are kept by digest and can be handed to the next run: the layers of a
//! release that did not change are not read again. Checks look at facts, never at bytes.

mod compression;
mod content;
mod der;
mod elf;
mod layer;
mod secret;

pub use content::{Elf, FileFacts, FileKind};
pub use elf::{ElfFacts, ElfKind, Stack, Symbol};
pub use layer::{LayerFacts, Member, MemberKind};
pub(crate) use secret::secrets_in;
pub use secret::{Secret, SecretKind};

use anneal_content::{BlobDigest, BlobSource};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read as _;

/// The largest file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Facts, or why there are none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Known<T> {
    /// The bytes were read.
    Read(T),
    /// They could not be read, for this reason.
    Unreadable(String),
}

impl<T> Known<T> {
    /// The facts, or the reason why there are none.
    pub fn get(&self) -> Result<&T, &str> {
        match self {
            Known::Read(facts) => Ok(facts),
            Known::Unreadable(why) => Err(why),
        }
    }
}

/// Facts by digest. Keep it between runs: what is in it is not read again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Facts about layers, by the digest of the compressed blob.
    pub layers: BTreeMap<BlobDigest, Known<LayerFacts>>,
    /// Facts about files, by the digest of their bytes.
    pub files: BTreeMap<BlobDigest, Known<FileFacts>>,
}

impl Seen {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a layer and every file in it, unless its facts are known.
    pub fn observe_layer(&mut self, digest: &BlobDigest, media_type: &str, blobs: &dyn BlobSource) {
        if matches!(self.layers.get(digest), Some(Known::Read(_))) {
            return;
        }
        let facts = match blobs.open(digest) {
            Err(error) => Known::Unreadable(error.to_string()),
            Ok(reader) => match layer::read(reader, media_type, &mut self.files) {
                Ok(facts) => Known::Read(facts),
                Err(why) => Known::Unreadable(why),
            },
        };
        self.layers.insert(*digest, facts);
    }

    /// Reads a file, unless its facts are known.
    pub fn observe_file(&mut self, digest: &BlobDigest, blobs: &dyn BlobSource) {
        if matches!(self.files.get(digest), Some(Known::Read(_))) {
            return;
        }
        let facts = match read_file(digest, blobs) {
            Ok(bytes) => FileFacts::of(&bytes),
            Err(why) => Known::Unreadable(why),
        };
        self.files.insert(*digest, facts);
    }
}

fn read_file(digest: &BlobDigest, blobs: &dyn BlobSource) -> Result<Vec<u8>, String> {
    let reader = blobs.open(digest).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    reader.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("larger than {FILE_BYTES_MAX} bytes, which is the most that is read"));
    }
    Ok(bytes)
}
