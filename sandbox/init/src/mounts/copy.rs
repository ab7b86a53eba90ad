//! Inputs as copies on a fresh file system, made in a chosen order, for builds that must not depend on either.
//!
//! Nothing but this process can change source or target yet, so paths beneath their handles are safe to use.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::handle_path;
use crate::syscall::{Fault, check};

/// A copy under way.
struct Copy {
    reversed: bool,
    /// Where a file with several names has been copied to.
    linked: BTreeMap<(u64, u64), PathBuf>,
    /// Directories that are to get their content, with the source of each.
    waiting: Vec<(PathBuf, PathBuf)>,
    /// Directories whose mode and time are set when all is in them.
    filled: Vec<(PathBuf, Metadata)>,
}

/// Copies everything beneath one directory into another, in the order of names or the reverse.
pub(super) fn tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>, reversed: bool) -> Result<(), Fault> {
    let (from, to) = (PathBuf::from(handle_path(from)), PathBuf::from(handle_path(to)));
    let fault = |error: io::Error| Fault::io("copy an input", &error);
    let root = fs::metadata(&from).map_err(fault)?;
    let mut copy = Copy { reversed, linked: BTreeMap::new(), waiting: vec![(from, to.clone())], filled: Vec::new() };
    copy.filled.push((to, root));
    while let Some((from, to)) = copy.waiting.pop() {
        copy.directory(&from, &to).map_err(|error| fault(error).about(&from.display().to_string()))?;
    }
    for (path, found) in copy.filled.iter().rev() {
        finish(path, found).map_err(fault)?;
    }
    Ok(())
}

impl Copy {
    fn directory(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names =
            fs::read_dir(from)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<OsString>>>()?;
        names.sort_unstable();
        if self.reversed {
            names.reverse();
        }
        names.iter().try_for_each(|name| self.entry(&from.join(name), to.join(name)))
    }

    fn entry(&mut self, from: &Path, to: PathBuf) -> io::Result<()> {
        let found = fs::symlink_metadata(from)?;
        let kind = found.file_type();
        if kind.is_dir() {
            fs::create_dir(&to)?;
            // What can't be searched by the payload can't be by this process.
            if fs::read_dir(from).is_ok() {
                self.waiting.push((from.to_path_buf(), to.clone()));
            }
            self.filled.push((to, found));
            return Ok(());
        }
        if kind.is_symlink() {
            symlink(fs::read_link(from)?, &to)?;
            return link_time(&to, &found);
        }
        if !kind.is_file() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        if found.nlink() > 1 {
            if let Some(first) = self.linked.get(&(found.dev(), found.ino())) {
                return fs::hard_link(first, &to);
            }
            self.linked.insert((found.dev(), found.ino()), to.clone());
        }
        let mut target = File::create(&to)?;
        match File::open(from) {
            Ok(mut source) => io::copy(&mut source, &mut target).map(drop)?,
            // The payload could not read it either; its mode says so.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return target.set_permissions(Permissions::from_mode(0o000));
            }
            Err(error) => return Err(error),
        }
        target.set_permissions(Permissions::from_mode(found.mode() & 0o7777))?;
        target.set_times(times(&found)?)
    }
}

fn times(found: &Metadata) -> io::Result<FileTimes> {
    let modified = found.modified()?;
    Ok(FileTimes::new().set_accessed(modified).set_modified(modified))
}

/// Gives a directory the mode and time of its source.
fn finish(path: &Path, found: &Metadata) -> io::Result<()> {
    let directory = File::open(path)?;
    directory.set_times(times(found)?)?;
    directory.set_permissions(Permissions::from_mode(found.mode() & 0o7777))
}

/// Gives a symbolic link the time of its source.
fn link_time(path: &Path, found: &Metadata) -> io::Result<()> {
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    let time = libc::timespec { tv_sec: found.mtime(), tv_nsec: found.mtime_nsec() };
    // SAFETY: a string and two times that outlive the call.
    let result =
        unsafe { libc::utimensat(libc::AT_FDCWD, name.as_ptr(), [time, time].as_ptr(), libc::AT_SYMLINK_NOFOLLOW) };
    check(libc::c_long::from(result), "utimensat").map(drop).map_err(|_| io::Error::last_os_error())
}
