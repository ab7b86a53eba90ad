//! A finished JSON document: canonical bytes (RFC 8785) and what they are.

use crate::{DOCUMENT_BYTES_MAX, Descriptor, Error, limits::within};
use anneal_content::{BlobDigest, canonical_json};

/// The config blob of manifests that carry evidence instead of an image.
pub const EMPTY_CONFIG: &[u8] = b"{}";

/// A config, a manifest or an index as it is stored and served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its media type.
    pub media_type: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Document {
    pub(crate) fn of<T: serde::Serialize>(media_type: &'static str, value: &T) -> Result<Self, Error> {
        let bytes = canonical_json(value)?;
        within("size of the document in bytes", DOCUMENT_BYTES_MAX, bytes.len() as u64)?;
        Ok(Self { media_type, bytes })
    }
    /// The digest of the bytes.
    pub fn digest(&self) -> BlobDigest {
        BlobDigest::of(&self.bytes)
    }
    /// A descriptor of the document.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::of(self.media_type, &self.bytes)
    }
}

/// Parses JSON of a bounded size.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Error> {
    within(what, DOCUMENT_BYTES_MAX, bytes.len() as u64)?;
    serde_json::from_slice(bytes).map_err(|e| Error::Parse { what, reason: e.to_string() })
}

/// `type/subtype`, each of the characters that RFC 6838 allows.
pub(crate) fn check_media_type(field: &'static str, text: &str) -> Result<(), Error> {
    let name = |part: &str| {
        (1..=127).contains(&part.len())
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    match text.split_once('/') {
        Some((kind, subtype)) if name(kind) && name(subtype) => Ok(()),
        _ => Err(Error::Value { field, expected: "a media type such as `application/json`", found: shown(text) }),
    }
}

/// A value shortened for an error message.
pub(crate) fn shown(value: &str) -> String {
    value.chars().take(120).flat_map(char::escape_debug).collect()
}
