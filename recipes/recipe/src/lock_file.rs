//! What a program's own lock file says that it is built from.
//!
//! | file | of | what each entry is known by |
//! |---|---|---|
//! | `Cargo.lock` | Rust | SHA-256 of the crate |
//! | `go.sum` | Go | `h1:`, a hash over what is in the module's zip, and one over its `go.mod` |
//! | `uv.lock` | Python | SHA-256 of each of a project's files |
//! | `requirements*.txt` | Python | SHA-256 of the files that will do, without their names |
//!
//! Only files of registries are taken: what has no digest is refused with its line, and nothing is left out in silence.
//! Pure: where the files are, how large they are and that they have these digests is for whoever fetches them.

mod cargo;
mod go_sum;
mod requirements;
mod uv;

use crate::{Error, Place};
use anneal_content::BlobDigest;

/// How large a lock file may be.
pub const MAX_LOCK_FILE_BYTES: u64 = 4 << 20;

/// A file that a lock file names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockedFile {
    /// Where it may be; of several places the first that has a file with the digest. A list of digests alone doesn't say
    /// what the file is called, so names are tried.
    pub places: Vec<Place>,
    /// What it has to be.
    pub pinned: Pinned,
}

/// What a lock file knows of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pinned {
    /// One of these digests.
    Sha256(Vec<BlobDigest>),
    /// Go's hash over the names and contents of a module. The `go` command checks it when it builds.
    GoSum(String),
}

impl Pinned {
    /// Whether a file with a digest will do; where that can't be told, the toolchain tells it in the build.
    pub fn allows(&self, sha256: &BlobDigest) -> bool {
        match self {
            Self::Sha256(digests) => digests.contains(sha256),
            Self::GoSum(_) => true,
        }
    }
}

/// Which of a Python project's wheels will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WheelTarget {
    /// The minor version of Python 3.
    pub python: u32,
    /// Whether the C library is musl; otherwise it is glibc.
    pub musl: bool,
}

/// The kinds of lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockFile {
    /// `Cargo.lock`
    Cargo,
    /// `go.sum`
    GoSum,
    /// `requirements.txt` and the like
    Requirements,
    /// `uv.lock`
    Uv,
}

impl LockFile {
    /// By a file's name.
    pub fn of(path: &str) -> Option<Self> {
        match path.rsplit('/').next()? {
            "Cargo.lock" => Some(Self::Cargo),
            "go.sum" => Some(Self::GoSum),
            "uv.lock" => Some(Self::Uv),
            name if name.starts_with("requirements") && name.ends_with(".txt") => Some(Self::Requirements),
            _ => None,
        }
    }
}

/// Reads a lock file: every file of a registry that it names, sorted, none twice.
pub fn read_lock_file(kind: LockFile, path: &str, text: &str, target: WheelTarget) -> Result<Vec<LockedFile>, Error> {
    let bytes = text.len();
    if bytes as u64 > MAX_LOCK_FILE_BYTES {
        let most = usize::try_from(MAX_LOCK_FILE_BYTES).unwrap_or(usize::MAX);
        return Err(Error::TooLarge { what: path.to_owned(), found: bytes, unit: "bytes", most });
    }
    let lines = Lines { path, text };
    let mut files = match kind {
        LockFile::Cargo => cargo::read(&lines)?,
        LockFile::GoSum => go_sum::read(&lines)?,
        LockFile::Requirements => requirements::read(&lines, target)?,
        LockFile::Uv => uv::read(&lines, target)?,
    };
    files.sort();
    files.dedup();
    let most = crate::locked::LOCKED_MAX;
    if files.len() > most {
        return Err(Error::TooLarge { what: path.to_owned(), found: files.len(), unit: "sources", most });
    }
    Ok(files)
}

/// A lock file's text, for messages that name a line of it.
struct Lines<'t> {
    path: &'t str,
    text: &'t str,
}

impl Lines<'_> {
    /// What is wrong at a byte of the text.
    fn wrong(&self, at: usize, reason: impl Into<String>, help: &'static str) -> Error {
        let line = 1 + self.text.bytes().take(at).filter(|b| *b == b'\n').count();
        Error::LockFile { path: self.path.to_owned(), line, reason: reason.into(), help }
    }
    /// What an entry is called, as a place.
    fn place(&self, at: usize, text: &str) -> Result<Place, Error> {
        text.parse().map_err(|error: Error| self.wrong(at, error.to_string(), "no registry has a file of such a name"))
    }
    /// The tables `[[package]]` of a lock file that is TOML, each with where it stands.
    fn packages(&self) -> Result<Vec<(usize, toml::Table)>, Error> {
        #[derive(serde::Deserialize)]
        struct Lock {
            #[serde(default)]
            package: Vec<toml::Spanned<toml::Table>>,
        }
        let made = "the program that wrote it can write it again";
        let lock: Lock = toml::from_str(self.text)
            .map_err(|e| self.wrong(e.span().map_or(0, |span| span.start), e.message().to_owned(), made))?;
        Ok(lock.package.into_iter().map(|package| (package.span().start, package.into_inner())).collect())
    }
}

/// A text of a table.
fn text_of<'t>(table: &'t toml::Table, key: &str) -> Option<&'t str> {
    table.get(key)?.as_str()
}

/// 64 hex digits as a digest.
fn sha256(hex: &str) -> Option<BlobDigest> {
    format!("sha256:{hex}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_is_known_by_its_name() {
        for (path, kind) in [
            ("app/Cargo.lock", Some(LockFile::Cargo)),
            ("go.sum", Some(LockFile::GoSum)),
            ("requirements-dev.txt", Some(LockFile::Requirements)),
            ("uv.lock", Some(LockFile::Uv)),
            ("Cargo.toml", None),
            ("my-go.sum", None),
        ] {
            assert_eq!(LockFile::of(path), kind, "{path}");
        }
    }

    #[test]
    fn a_lock_file_that_is_too_large_is_not_read() {
        let text = "#".repeat(5 << 20);
        let target = WheelTarget { python: 13, musl: true };
        let error = read_lock_file(LockFile::Cargo, "Cargo.lock", &text, target).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
        let many: String = (0..2001).map(|n| format!("example.org/m{n} v1.0.0 h1:{}=\n", "A".repeat(43))).collect();
        let error = read_lock_file(LockFile::GoSum, "go.sum", &many, target).unwrap_err();
        assert!(matches!(error, Error::TooLarge { found: 2001, .. }), "{error}");
    }
}
