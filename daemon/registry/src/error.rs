//! Why a request is not answered with what it asked for: status, OCI error code, and a message.

use anneal_content::BlobDigest;
use axum::http::StatusCode;

/// A refusal, as the client sees it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("this registry answers GET and HEAD only, found {method}; images come in by publication")]
    Method { method: String },
    #[error("there is nothing at this path; expected /v2/NAME/manifests, blobs, tags/list or referrers")]
    Path,
    #[error("`{found}` is not a repository name: {reason}")]
    Name { found: String, reason: String },
    #[error("repository `{name}` is not known here")]
    UnknownName { name: String },
    #[error("`{found}` is not a digest, expected sha256: and 64 lower-case hex digits")]
    Digest { found: String },
    #[error("`{found}` is not a tag, expected 1 to 128 of A-Z, a-z, 0-9, `.`, `_`, `-`")]
    Tag { found: String },
    #[error("manifest `{reference}` is not in repository `{name}`")]
    UnknownManifest { name: String, reference: String },
    #[error("blob {digest} is not in repository `{name}`")]
    UnknownBlob { name: String, digest: String },
    #[error("range is not in blob {digest} of {size} bytes")]
    Range { digest: BlobDigest, size: u64 },
    #[error("query is not understood: {reason}")]
    Query { reason: String },
    #[error("{limit} downloads are running, no more fit; try again in a second")]
    Busy { limit: usize },
    #[error("blob {digest} cannot be served; the daemon's log says why")]
    Unservable { digest: BlobDigest },
    #[error("the answer cannot be written as JSON: {reason}")]
    Encode { reason: String },
}

impl Error {
    /// The status and the code of the distribution specification.
    pub(crate) fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            Self::Path => (StatusCode::NOT_FOUND, "UNSUPPORTED"),
            Self::Name { .. } => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            Self::UnknownName { .. } => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            Self::Digest { .. } => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            Self::Tag { .. } => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
            Self::UnknownManifest { .. } => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Self::UnknownBlob { .. } => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            Self::Range { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID"),
            Self::Query { .. } => (StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID"),
            Self::Busy { .. } => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            Self::Unservable { .. } | Self::Encode { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
        }
    }
}

/// A value shortened for a message: at most 120 characters, with control characters escaped.
pub(crate) fn shown(value: &str) -> String {
    value.chars().take(120).flat_map(char::escape_debug).collect()
}
