//! Directories for a while: gone with the value, and where a program was killed, with the next one's.
//!
//! Each is locked as long as it is used, so whoever makes the next one knows which are nobody's any more.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkdtemp};

use crate::{Error, Result, remove_tree};

/// One that was made just now may not be locked yet.
const YOUNG: Duration = Duration::from_secs(60);

/// A directory of this user's alone beneath the one for temporary files.
#[derive(Debug)]
pub struct TemporaryDirectory {
    path: PathBuf,
    _used: Flock<File>,
}

impl TemporaryDirectory {
    /// Makes one whose name begins like this, and removes those that killed programs have left.
    pub fn new(prefix: &str) -> Result<Self> {
        Self::beneath(&std::env::temp_dir(), prefix)
    }

    fn beneath(parent: &Path, prefix: &str) -> Result<Self> {
        let failed = |source: io::Error| Error::Launch { action: "make a directory", source };
        sweep(parent, prefix);
        // Six of them are what the call puts a name of its own for.
        let pattern = parent.join(format!("{prefix}{}", "X".repeat(6)));
        let path = mkdtemp(&pattern).map_err(|errno| failed(errno.into()))?;
        let used = lock(&path).map_err(failed)?;
        Ok(Self { path, _used: used })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(%error, "a temporary directory stays until the next one is made");
        }
    }
}

fn lock(path: &Path) -> io::Result<Flock<File>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = File::from(open(path, flags, Mode::empty())?);
    Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno.into())
}

/// Removes what nobody uses any more. What can't be removed is left to the next time.
fn sweep(parent: &Path, prefix: &str) {
    let now = SystemTime::now();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_one = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix))
            && fs::symlink_metadata(&path).is_ok_and(|found| {
                let age = found.modified().ok().and_then(|time| now.duration_since(time).ok());
                found.is_dir() && found.uid() == geteuid().as_raw() && age.is_some_and(|age| age > YOUNG)
            });
        if is_one && let Ok(_nobodys) = lock(&path) {
            let _ = remove_tree(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_program_left_goes_and_what_is_used_or_young_stays() {
        let parent = tempfile::tempdir().unwrap();
        let used = TemporaryDirectory::beneath(parent.path(), "one-").unwrap();
        let [left, young, other] = ["one-left", "one-young", "other"].map(|name| parent.path().join(name));
        for dir in [&left, &young, &other] {
            fs::create_dir(dir).unwrap();
            fs::write(dir.join("file"), "").unwrap();
        }
        let old = SystemTime::now() - 2 * YOUNG;
        for dir in [&left, &other, &used.path().to_owned()] {
            File::open(dir).unwrap().set_modified(old).unwrap();
        }
        let next = TemporaryDirectory::beneath(parent.path(), "one-").unwrap();
        assert!(!left.exists() && young.exists() && other.exists() && used.path().exists());
        let path = next.path().to_owned();
        drop(next);
        assert!(!path.exists());
    }
}
