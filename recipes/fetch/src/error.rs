//! What can go wrong between a digest and its bytes, and between a lock and its build root.

use anneal_content::{BlobDigest, CommitId};
use std::{fmt, io, path::PathBuf};

/// One place that was asked, and why it did not help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The place, as written in the recipe.
    pub place: String,
    /// Where that led, if it was resolved to something else: a mirror's address, a client's name.
    pub via: Option<String>,
    /// Why it did not help.
    pub reason: String,
    /// What a directory is packed to today, where that is why.
    pub changed: Option<BlobDigest>,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.via {
            Some(via) => write!(f, "{} (through {via}): {}", self.place, self.reason),
            None => write!(f, "{}: {}", self.place, self.reason),
        }
    }
}

/// Why something was not fetched, locked or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No place had the bytes.
    #[error(
        "source {sha256} ({bytes} bytes) is gone everywhere:\n{}add a place that still has it, or set a mirror",
        lines(attempts)
    )]
    GoneEverywhere {
        /// What was wanted.
        sha256: BlobDigest,
        /// Its size.
        bytes: u64,
        /// Every place that was asked.
        attempts: Vec<Attempt>,
    },
    /// A directory of code is not what it was when its digest was written, and no other place has what it was.
    #[error(
        "`{place}` has changed since its digest was written: expected {expected}, found {found}; `anneal recipe lock path` \
         and the package's name write the new one"
    )]
    DirectoryChanged {
        /// The place.
        place: String,
        /// What its recipe lists.
        expected: BlobDigest,
        /// What it is packed to today.
        found: BlobDigest,
    },
    /// A place that was believed had nothing.
    #[error("nothing was fetched:\n{}name a place that has the file, or set a mirror", lines(attempts))]
    NothingThere {
        /// What was asked.
        attempts: Vec<Attempt>,
    },
    /// The source is larger than anything Anneal fetches.
    #[error("source {sha256} is listed with {bytes} bytes: expected at most {limit}; check `bytes` in its recipe")]
    TooLarge {
        /// What was wanted.
        sha256: BlobDigest,
        /// The listed size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The bytes were fetched and verified, but could not be handed over.
    #[error("cannot write source {sha256} to where it was wanted")]
    Sink {
        /// What was wanted.
        sha256: BlobDigest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no room for a download, or no temporary directory.
    #[error("cannot keep a download in {path}; free some room there or set another directory for downloads")]
    Spool {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A lock file did not parse.
    #[error("build root lock does not parse: {reason}; lock it anew with `anneal recipe lock build-root`")]
    Lock {
        /// What is wrong, and where.
        reason: String,
    },
    /// What should name a branch of a git repository does not.
    #[error(
        "`{found}` names no branch of a git repository: {reason}; write `git+https://host/path.git#branch:directory`, or \
         `git+file:///path.git#branch:directory` for a repository on this machine"
    )]
    BranchPlace {
        /// What was written.
        found: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A branch could not be looked at or fetched.
    #[error("{place} cannot be followed now: {reason}")]
    Branch {
        /// The branch.
        place: String,
        /// What git said.
        reason: String,
    },
    /// A commit has something that is never taken.
    #[error("commit {commit} is not taken: {reason}")]
    CommitRefused {
        /// The commit.
        commit: CommitId,
        /// What, and where.
        reason: String,
    },
    /// The files of a commit could not be written.
    #[error("cannot write {path}, of commit {commit}")]
    CommitFile {
        /// The commit.
        commit: CommitId,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The machine's package manager could not answer.
    #[error("cannot lock the build root through apt: {step}: {reason}; {next}")]
    Apt {
        /// What was attempted.
        step: &'static str,
        /// What apt said.
        reason: String,
        /// What to try.
        next: &'static str,
    },
    /// A package of the build root could not be opened or read.
    #[error("cannot read package `{package}` of the build root")]
    PackageRead {
        /// The package.
        package: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A package of the build root is not what the lock names.
    #[error("package `{package}` of the build root hashes to {found}: expected {expected}; fetch it again")]
    PackageDigest {
        /// The package.
        package: String,
        /// What the lock says.
        expected: BlobDigest,
        /// What was read.
        found: BlobDigest,
    },
    /// A package is not a package that Anneal unpacks.
    #[error("package `{package}` is not unpacked: {reason}")]
    PackageRefused {
        /// The package.
        package: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// An entry of a package breaks a rule of extraction.
    #[error("package `{package}` is not unpacked: entry `{entry}` {reason}")]
    EntryRefused {
        /// The package.
        package: String,
        /// The entry, with control characters escaped.
        entry: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// The destination could not be written.
    #[error("cannot write `{entry}` of the build root beneath {root}")]
    Write {
        /// The destination.
        root: PathBuf,
        /// What was written, relative to it.
        entry: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The destination holds something already.
    #[error("cannot assemble a build root in {path}: expected an empty or missing directory, found {found}")]
    NotEmpty {
        /// The destination.
        path: PathBuf,
        /// What is there.
        found: String,
    },
}

fn lines(attempts: &[Attempt]) -> String {
    attempts.iter().map(|a| format!("  {a}\n")).collect()
}

/// Text from outside, for an error message: at most `limit` characters, control characters escaped.
pub(crate) fn shown(text: &str, limit: usize) -> String {
    text.chars().take(limit).flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
