//! Writes beneath one directory and nowhere else.
//!
//! Every parent is opened by `openat2` with RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS and
//! RESOLVE_NO_XDEV, so no path of an archive leads out, whatever links the archive made before.
//! Nothing is ever replaced: two entries of the same name are an error, so that the result does not
//! depend on the order in which packages are unpacked. Modes are 0755 and 0644, times are one
//! constant, the owner is the caller.

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2},
    sys::{
        stat::{Mode, SFlag, UtimensatFlags, fchmod, fstatat, futimens, mkdirat, utimensat},
        time::TimeSpec,
    },
    unistd::{linkat, symlinkat},
};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Every modification time: 1980-01-01, which the formats of all archivers can hold and `make` takes
/// for an ordinary time.
pub(crate) const FIXED_TIME_SECONDS: i64 = 315_532_800;

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

/// A directory that is being filled; several threads may fill it.
#[derive(Debug)]
pub(crate) struct Beneath {
    root: OwnedFd,
    made: Mutex<BTreeSet<String>>,
}

impl Beneath {
    /// Takes an existing directory.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let root = open(path, DIRECTORY, Mode::empty())?;
        Ok(Self { root, made: Mutex::new(BTreeSet::new()) })
    }

    /// Makes a directory and its parents; one that exists is fine.
    pub(crate) fn directory(&self, path: &str) -> io::Result<()> {
        self.handle(path).map(drop)
    }

    /// Makes a file from a reader and says how many bytes it has.
    pub(crate) fn file(&self, path: &str, executable: bool, content: &mut dyn Read) -> io::Result<u64> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let mut file = File::from(fd);
        let bytes = io::copy(content, &mut file)?;
        fchmod(&file, Mode::from_bits_truncate(if executable { 0o755 } else { 0o644 }))?;
        futimens(&file, &fixed_time(), &fixed_time())?;
        Ok(bytes)
    }

    /// Makes a symbolic link; where it leads is not looked at.
    pub(crate) fn symlink(&self, path: &str, target: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        symlinkat(target, &parent, name)?;
        utimensat(&parent, name, &fixed_time(), &fixed_time(), UtimensatFlags::NoFollowSymlink)?;
        Ok(())
    }

    /// Makes a second name for a file that was made before.
    pub(crate) fn hard_link(&self, path: &str, existing: &str) -> io::Result<()> {
        let (from, from_name) = self.parent(existing)?;
        let found = fstatat(&from, from_name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the link's other name is not a file"));
        }
        let (to, to_name) = self.parent(path)?;
        linkat(&from, from_name, &to, to_name, AtFlags::empty())?;
        Ok(())
    }

    /// Gives every directory its time, when nothing more will be written.
    pub(crate) fn finish(self) -> io::Result<()> {
        let made = std::mem::take(&mut *self.made());
        for path in &made {
            futimens(self.open_beneath(path)?, &fixed_time(), &fixed_time())?;
        }
        futimens(&self.root, &fixed_time(), &fixed_time())?;
        Ok(())
    }

    fn made(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parent<'p>(&self, path: &'p str) -> io::Result<(OwnedFd, &'p str)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.handle(parent)?, name))
    }

    /// A directory beneath the root, made if it is not there.
    fn handle(&self, path: &str) -> io::Result<OwnedFd> {
        if path.is_empty() {
            return self.root.try_clone();
        }
        if !self.made().contains(path) {
            let (parent, name) = self.parent(path)?;
            match mkdirat(&parent, name, Mode::S_IRWXU) {
                Ok(()) => {
                    let fd = openat(&parent, name, DIRECTORY, Mode::empty())?;
                    fchmod(fd, Mode::from_bits_truncate(0o755))?;
                }
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            let fd = self.open_beneath(path)?;
            self.made().insert(path.to_owned());
            return Ok(fd);
        }
        self.open_beneath(path)
    }

    fn open_beneath(&self, path: &str) -> io::Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
        Ok(openat2(&self.root, path, OpenHow::new().flags(DIRECTORY).resolve(resolve))?)
    }
}

fn fixed_time() -> TimeSpec {
    TimeSpec::new(FIXED_TIME_SECONDS, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::MetadataExt};

    fn beneath() -> (tempfile::TempDir, Beneath) {
        let dir = tempfile::tempdir().unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        (dir, beneath)
    }

    #[test]
    fn a_link_made_before_does_not_lead_a_file_out() {
        let outside = tempfile::tempdir().unwrap();
        let (_dir, beneath) = beneath();
        beneath.symlink("way", outside.path().to_str().unwrap()).unwrap();
        assert!(beneath.file("way/out", false, &mut &b"x"[..]).is_err());
        assert!(beneath.directory("way/out").is_err());
        assert!(beneath.symlink("way/out", "x").is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_is_not_taken_for_the_directory_it_leads_to() {
        let (_dir, beneath) = beneath();
        beneath.directory("real").unwrap();
        beneath.symlink("alias", "real").unwrap();
        assert!(beneath.directory("alias").is_err());
        assert!(beneath.file("alias/x", false, &mut &b""[..]).is_err());
    }

    #[test]
    fn dot_dot_never_leaves_the_root() {
        let (dir, beneath) = beneath();
        assert!(beneath.file("../escaped", false, &mut &b"x"[..]).is_err());
        assert!(beneath.file("a/../../escaped", false, &mut &b"x"[..]).is_err());
        assert!(!dir.path().parent().unwrap().join("escaped").exists());
    }

    #[test]
    fn nothing_is_replaced() {
        let (dir, beneath) = beneath();
        beneath.file("a", false, &mut &b"first"[..]).unwrap();
        assert_eq!(beneath.file("a", false, &mut &b"second"[..]).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(beneath.symlink("a", "b").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"first");
    }

    #[test]
    fn a_second_name_is_only_given_to_a_file() {
        let (dir, beneath) = beneath();
        beneath.symlink("passwd", "/etc/passwd").unwrap();
        assert!(beneath.hard_link("copy", "passwd").is_err());
        assert!(beneath.hard_link("copy", "absent").is_err());
        beneath.file("a", false, &mut &b"x"[..]).unwrap();
        beneath.hard_link("copy", "a").unwrap();
        assert_eq!(fs::read(dir.path().join("copy")).unwrap(), b"x");
    }

    #[test]
    fn times_and_modes_are_constants_whatever_the_order_of_writing() {
        let (dir, beneath) = beneath();
        beneath.file("d/e/run", true, &mut &b""[..]).unwrap();
        beneath.symlink("d/link", "e").unwrap();
        beneath.file("d/plain", false, &mut &b""[..]).unwrap();
        beneath.finish().unwrap();
        for (path, mode) in [("", 0o755), ("d", 0o755), ("d/e", 0o755), ("d/e/run", 0o755), ("d/plain", 0o644)] {
            let found = fs::symlink_metadata(dir.path().join(path)).unwrap();
            assert_eq!(found.mtime(), FIXED_TIME_SECONDS, "{path}");
            assert!(path.is_empty() || found.mode() & 0o7777 == mode, "{path} has {:o}", found.mode());
        }
        assert_eq!(fs::symlink_metadata(dir.path().join("d/link")).unwrap().mtime(), FIXED_TIME_SECONDS);
    }
}
