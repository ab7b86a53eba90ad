//! Canonical JSON (RFC 8785): the only form over which a digest of JSON is taken.

use crate::{BlobDigest, Error};

/// The canonical bytes of a value: sorted keys, no spaces, shortest numbers.
pub fn canonical_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json_canonicalizer::to_vec(value).map_err(|e| Error::Json { reason: e.to_string() })
}

/// The digest of a value's canonical JSON.
pub fn blob_digest_of<T: serde::Serialize>(value: &T) -> Result<BlobDigest, Error> {
    Ok(BlobDigest::of(&canonical_json(value)?))
}
