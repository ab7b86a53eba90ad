//! Why a command ended, and with which exit code.
//!
//! 0 done; 1 the answer is no; 2 bad use or bad input; 3 the daemon or a peer is unreachable; 4 internal.

use std::{fmt, path::PathBuf};

/// The result of the daemon's and the command line's functions.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// What a command says when it fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The question was understood, and the answer is no.
    #[error("{0}")]
    No(String),
    /// The command or its input is wrong.
    #[error("{0}")]
    Input(String),
    /// Recipes are wrong; the text is rendered with spans.
    #[error("{0}")]
    Recipes(String),
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// The ledger refuses.
    #[error(transparent)]
    Refused(#[from] anneal_ledger::Refusal),
    /// Building failed.
    #[error(transparent)]
    Builder(#[from] anneal_builder::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] anneal_store::Error),
    /// A plan can't be made.
    #[error(transparent)]
    Plan(#[from] anneal_plan::Error),
    /// The recipes don't hold together.
    #[error(transparent)]
    Recipe(#[from] anneal_recipe::Error),
    /// A digest, name or tree is wrong.
    #[error(transparent)]
    Content(#[from] anneal_content::Error),
    /// An image document is wrong.
    #[error(transparent)]
    Oci(#[from] anneal_oci::Error),
    /// A key or statement is wrong.
    #[error(transparent)]
    Attest(#[from] anneal_attest::Error),
    /// An advisory is wrong.
    #[error(transparent)]
    Advisory(#[from] anneal_advisory::Error),
    /// The index refused.
    #[error(transparent)]
    Index(#[from] anneal_index::Error),
    /// A source or the build root is wrong.
    #[error(transparent)]
    Fetch(#[from] anneal_fetch::Error),
    /// The sandbox can't be made.
    #[error(transparent)]
    Sandbox(#[from] anneal_sandbox::Error),
    /// A document is lost that says what else is needed.
    #[error("{what}, {blob}, cannot be read, and nobody knows what it names; to have it back, {again}")]
    Unread {
        /// Which.
        what: String,
        /// The blob.
        blob: anneal_content::BlobDigest,
        /// How it comes back.
        again: &'static str,
        /// Why not.
        #[source]
        source: Box<anneal_store::Error>,
    },
    /// A file could not be used.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Something that must not happen.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::No(_) => 1,
            Self::Unreachable(_) => 3,
            Self::Fetch(anneal_fetch::Error::Branch { .. }) => 3,
            Self::Store(anneal_store::Error::Bucket(fault)) if !fault.is_sure() => 3,
            Self::Internal(_) | Self::Content(_) | Self::Plan(_) => 4,
            Self::Refused(_) | Self::Builder(_) => 1,
            _ => 2,
        }
    }

    /// The error and everything that caused it.
    pub(crate) fn chain(&self) -> String {
        Chain(self).to_string()
    }
}

/// Names the path in an I/O error.
pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io { action, path, source }
}

struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(inner) = cause {
            write!(f, "\n  because {inner}")?;
            cause = inner.source();
        }
        Ok(())
    }
}
