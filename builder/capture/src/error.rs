//! Why a directory is not taken in; each message names the path beneath it and the rule.

use std::{io, path::PathBuf};

/// Why a directory could not be read as a tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The verb, such as `open`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Something in the directory may not be in a tree.
    #[error("cannot take in `{path}`: {reason}")]
    Refused {
        /// Where, beneath the directory that is taken in; escaped where it is not printable. `.` is the directory itself.
        path: String,
        /// Which rule it breaks, and what to do.
        reason: String,
    },
    /// A file is longer than the rules allow.
    #[error("cannot take in `{path}`: it has {bytes} bytes, more than the limit of {limit} bytes for one file")]
    TooLong {
        /// Where, beneath the directory that is taken in.
        path: String,
        /// How many it has.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
}

impl Error {
    /// A closure that names the operation and the path of an I/O error.
    pub(crate) fn io(operation: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }
}

pub(crate) fn refused(path: &str, reason: impl Into<String>) -> Error {
    Error::Refused { path: path.to_owned(), reason: reason.into() }
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
