//! Why a layer or a document could not be made or read.

use anneal_content::{BlobDigest, ReadError};

/// What went wrong, and with what.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path is listed twice, and the two entries differ or are not directories.
    #[error("layer entry `{path}` is listed twice, as {first} and as {second}; give each path once")]
    Conflict {
        /// The path.
        path: String,
        /// What the first entry is.
        first: String,
        /// What the second entry is.
        second: String,
    },
    /// A path leads through something that is not a directory.
    #[error("layer entry `{path}` lies under `{parent}`, which is {found} and not a directory")]
    NotUnderDirectory {
        /// The path.
        path: String,
        /// The entry above it.
        parent: String,
        /// What that entry is.
        found: String,
    },
    /// A name would delete files of lower layers when the image is unpacked.
    #[error("layer entry `{path}` has a name that begins with `.wh.`, which OCI reads as a deletion; rename it")]
    Whiteout {
        /// The path.
        path: String,
    },
    /// A mode has more than the twelve permission bits.
    #[error("layer entry `{path}` has mode {mode:o}, expected at most 7777")]
    Mode {
        /// The path.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// A symbolic link that no unpacker can make.
    #[error("symbolic link `{path}` has a target of {length} bytes, expected 1 to 4095 without NUL")]
    Target {
        /// The path.
        path: String,
        /// The target's length.
        length: usize,
    },
    /// Something is over its limit.
    #[error("{what} is {found}, the limit is {limit}")]
    TooLarge {
        /// What was measured.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// What was found.
        found: u64,
    },
    /// A compression level that the codec does not have.
    #[error("{codec} has no compression level {found}, expected {low} to {high}")]
    Level {
        /// The codec.
        codec: &'static str,
        /// The lowest level.
        low: u8,
        /// The highest level.
        high: u8,
        /// The level that was asked for.
        found: u8,
    },
    /// A file's content could not be opened.
    #[error("cannot read the content of layer entry `{path}`")]
    Content {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// A file's content could not be read to its end.
    #[error("cannot read the content of layer entry `{path}`, blob {digest}")]
    ContentIo {
        /// The path.
        path: String,
        /// The blob.
        digest: BlobDigest,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file's content is not as long as its entry says.
    #[error("layer entry `{path}` is listed with {expected} bytes, but blob {digest} has {found}")]
    ContentSize {
        /// The path.
        path: String,
        /// The blob.
        digest: BlobDigest,
        /// The size in the entry.
        expected: u64,
        /// How many bytes were read; one more than expected where the blob goes on.
        found: u64,
    },
    /// The compressed bytes could not be written.
    #[error("cannot write the layer")]
    Sink {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A value is not one that the document may hold.
    #[error("{field} is `{found}`, expected {expected}")]
    Value {
        /// Which field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// A document did not parse.
    #[error("{what} does not parse: {reason}")]
    Parse {
        /// Which document was expected.
        what: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// A document has no canonical form.
    #[error(transparent)]
    Canonical(#[from] anneal_content::Error),
}
