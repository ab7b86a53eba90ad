//! Why an Interface can't be computed.

use anneal_content::{BlobDigest, TreePath};

/// What stands in the way. A file that isn't understood is none: it counts with its whole content.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tree can't be read, or the Interface has no canonical form.
    #[error("an interface cannot be computed: {0}")]
    Content(#[from] anneal_content::Error),
    /// A file of a tree can't be read.
    #[error(
        "an interface cannot be computed without {path}, blob {digest}: read the store against its digests with `anneal store scrub`"
    )]
    Read {
        /// The file.
        path: TreePath,
        /// Its bytes.
        digest: BlobDigest,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
}
