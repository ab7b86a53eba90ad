//! What can be wrong with a digest, a name or a directory.

use crate::{BlobDigest, TreeDigest};

/// Why a value is not what it claims to be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A digest did not parse.
    #[error("`{found}` is not a digest: expected `{algorithm}:` and {hex_len} lower-case hex digits")]
    Digest {
        /// The algorithm that was expected.
        algorithm: &'static str,
        /// How many hex digits it has.
        hex_len: usize,
        /// What was found, cut to 120 characters.
        found: String,
    },
    /// A name did not parse.
    #[error("`{found}` is not a valid {kind}: {rule}")]
    Name {
        /// What kind of name was expected.
        kind: &'static str,
        /// The rule it must follow.
        rule: &'static str,
        /// What was found, cut to 120 characters.
        found: String,
    },
    /// An encoded directory did not decode.
    #[error("directory {digest} does not decode: {reason}")]
    Decode {
        /// The directory.
        digest: TreeDigest,
        /// What the decoder said.
        reason: String,
    },
    /// A directory decodes, but is not in canonical form.
    #[error("directory {digest} is not canonical: {reason}")]
    NotCanonical {
        /// The directory.
        digest: TreeDigest,
        /// Which rule it breaks.
        reason: String,
    },
    /// A tree is deeper than [`crate::listing`] will follow.
    #[error("tree is deeper than {limit} directories at `{path}`")]
    TooDeep {
        /// The limit.
        limit: usize,
        /// Where it was passed.
        path: String,
    },
    /// A tree has more entries than the limit.
    #[error("tree has more than {limit} entries")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// A value cannot be written as canonical JSON.
    #[error("value has no canonical JSON form: {reason}")]
    Json {
        /// What the encoder said.
        reason: String,
    },
    /// A blob could not be read.
    #[error("cannot read blob {digest}")]
    Read {
        /// The blob.
        digest: BlobDigest,
        /// Why.
        #[source]
        source: crate::ReadError,
    },
}

/// A value shortened for an error message: at most 120 characters, with control characters escaped.
pub(crate) fn shown(value: &str) -> String {
    value.chars().take(120).flat_map(|c| c.escape_debug()).collect()
}
