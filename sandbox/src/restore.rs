//! Makes outputs their caller's again that a launcher which was killed could not give back.
//!
//! A launcher that ends by itself gives them back, and so does the next run with the same output. This is for whoever wants
//! to read or remove them without another run.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use crate::host::is_of_payloads;
use crate::steward::Steward;
use crate::subordinate::Subordinate;
use crate::{Error, Result};

/// Makes a directory, and everything in it that belongs to an id of the caller's payloads, the caller's. No run may be using
/// it. Gives the paths of what stays as it is, because a change of owner would take its set-id bits away.
pub fn give_back(directory: &Path) -> Result<Vec<String>> {
    let failed = |source: io::Error| Error::NotGivenBack { path: directory.to_path_buf(), source };
    if !fs::symlink_metadata(directory).map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    if geteuid().is_root() {
        return own_all(directory).map_err(failed);
    }
    let users = Subordinate::own().map_err(|reason| failed(io::Error::other(reason.to_owned())))?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let handle = open(directory, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    let steward = Steward::start(users)?;
    steward.keep(handle.as_fd()).and_then(|()| steward.reclaim(users)).map_err(failed)
}

/// The same for root, who needs nobody for it. The processes that could change something under way are dead.
fn own_all(directory: &Path) -> io::Result<Vec<String>> {
    let (mut left, mut todo) = (Vec::new(), vec![directory.to_path_buf()]);
    while let Some(path) = todo.pop() {
        let found = fs::symlink_metadata(&path)?;
        if found.is_dir() {
            for entry in fs::read_dir(&path)? {
                todo.push(entry?.path());
            }
        }
        if !is_of_payloads(found.uid()) {
            continue;
        }
        if found.is_file() && found.mode() & 0o6000 != 0 {
            left.push(path.display().to_string());
        } else {
            lchown(&path, Some(0), Some(0))?;
        }
    }
    Ok(left)
}
