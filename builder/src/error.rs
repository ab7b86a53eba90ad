//! Why a plan could not be carried out.

use crate::sources::ChangedDirectory;
use anneal_content::{BlobDigest, PackageName};
use std::path::PathBuf;

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, and on which object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A build failed by itself.
    #[error(
        "{package} does not build: {ended}\n{tail}the whole log: anneal log {log}\n\
         again, with a shell where it fails: anneal recipe shell {package} --keep-failed"
    )]
    BuildFailed {
        /// The package.
        package: PackageName,
        /// How it ended.
        ended: String,
        /// The last lines of its log.
        tail: String,
        /// The whole log.
        log: BlobDigest,
    },
    /// A shell was asked for where something that the build needs is not there yet.
    #[error("{package} needs {needs}, which is not built here; `anneal build` builds what images ask for")]
    NotBuilt {
        /// The package.
        package: PackageName,
        /// What it needs.
        needs: PackageName,
    },
    /// A build was stopped because the daemon stops.
    #[error("the build of {package} was cancelled")]
    Cancelled {
        /// The package.
        package: PackageName,
    },
    /// What builds need was being put together when the daemon was stopped.
    #[error("the build root is not put together: the daemon stops; the next start goes on with what was fetched")]
    Stopped,
    /// A source could not be had.
    #[error("cannot fetch {file} for {package}")]
    Fetch {
        /// The package.
        package: String,
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: Box<anneal_fetch::Error>,
    },
    /// A directory of code is not what its recipe lists.
    #[error("{changed}")]
    SourceChanged {
        /// Whose, and how.
        changed: Box<ChangedDirectory>,
    },
    /// The build root could not be put together.
    #[error("cannot assemble the build root of {lock}")]
    BuildRoot {
        /// The lock's digest.
        lock: BlobDigest,
        /// Why.
        #[source]
        source: Box<anneal_fetch::Error>,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] anneal_store::Error),
    /// The sandbox could not be made.
    #[error(transparent)]
    Sandbox(#[from] anneal_sandbox::Error),
    /// The plan does not hold together.
    #[error(transparent)]
    Plan(#[from] anneal_plan::Error),
    /// The recipes do not hold together.
    #[error(transparent)]
    Recipe(#[from] anneal_recipe::Error),
    /// A value has no canonical form, or a tree does not list.
    #[error(transparent)]
    Content(#[from] anneal_content::Error),
    /// An image could not be packed.
    #[error(transparent)]
    Oci(#[from] anneal_oci::Error),
    /// The verification suite could not judge.
    #[error(transparent)]
    Checks(#[from] anneal_checks::Error),
    /// A statement could not be written.
    #[error(transparent)]
    Attest(#[from] anneal_attest::Error),
    /// A file or directory of the state could not be used.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// Something was to be built without a key to sign what comes of it.
    #[error("no build key signs the result of action {action}; only a daemon builds: start one with `anneal daemon`")]
    NoBuildKey {
        /// What was to be recorded.
        action: anneal_content::ActionDigest,
    },
    /// A result names something that is not there any more.
    #[error("{what} is missing from the store; run `anneal store scrub`")]
    Missing {
        /// What.
        what: String,
    },
    /// An OCI layout from outside is not what it should be.
    #[error("{path} is not a usable OCI layout: {reason}")]
    Layout {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// Whether it says something about this machine at this moment, and nothing about the package that was to be built.
    pub fn is_of_the_machine(&self) -> bool {
        match self {
            Self::Store(error) => error.is_of_the_machine(),
            Self::Sandbox(error) => !matches!(
                error,
                anneal_sandbox::Error::Spec { .. }
                    | anneal_sandbox::Error::Mount { .. }
                    | anneal_sandbox::Error::Exec { .. }
            ),
            Self::Fetch { source, .. } | Self::BuildRoot { source, .. } => {
                matches!(**source, anneal_fetch::Error::Spool { .. } | anneal_fetch::Error::Sink { .. })
            }
            Self::Io { .. } | Self::NoBuildKey { .. } | Self::Stopped => true,
            _ => false,
        }
    }
}

/// Names the path in an I/O error.
pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io { action, path, source }
}
