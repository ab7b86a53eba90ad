//! What can go wrong in the index. The remedy is mostly the same: it can be made again.

use std::path::PathBuf;

/// What RocksDB reported, kept opaque so that no caller depends on the engine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DatabaseFault(pub(crate) String);

/// Why the index could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine refused.
    #[error(
        "cannot {operation} the index in {}; if nobody else uses it and there is space, remove it: the daemon makes it again",
        path.display()
    )]
    Database {
        /// The verb, such as `read`.
        operation: &'static str,
        /// The index's directory.
        path: PathBuf,
        /// What the engine said.
        #[source]
        source: DatabaseFault,
    },
    /// The index was written by another version.
    #[error("the index in {} has format `{found}`, this program knows `{known}`; remove it: the daemon makes it again", path.display())]
    Format {
        /// The index's directory.
        path: PathBuf,
        /// What it says, cut to 60 characters.
        found: String,
        /// What this program writes.
        known: &'static str,
    },
    /// A row does not say what its table holds.
    #[error("the index in {} has a damaged row in table `{table}`: {reason}; remove it: the daemon makes it again", path.display())]
    Row {
        /// The index's directory.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An id or alias that cannot be a key.
    #[error(
        "`{found}` cannot be the id of an advisory: expected 1 to {limit} printable ASCII characters without spaces"
    )]
    Id {
        /// The longest id.
        limit: usize,
        /// What was found, cut to 120 characters.
        found: String,
    },
}
