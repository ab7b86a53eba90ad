//! Gives what lies in an output already to the payload's user: only what comes back as it was.

use std::os::fd::{AsFd, OwnedFd};

use super::directory::{Directory, give as give_one};
use super::{look, open_entry};
use crate::syscall::Fault;

const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;

/// Everything beneath a kept directory that belongs to user 0 and group 0 of this namespace, who is the caller.
pub(super) fn give(top: &OwnedFd, uid: u32, gid: u32, most: u64, depth: u32) -> Result<(), Fault> {
    let mut levels = vec![Directory::again(top)?];
    let mut seen = 0;
    loop {
        let held = u32::try_from(levels.len()).unwrap_or(u32::MAX);
        let Some(level) = levels.last_mut() else { return Ok(()) };
        let Some(name) = level.next()? else {
            levels.pop();
            continue;
        };
        seen += 1;
        if seen > most {
            return Err(Fault::check(format!("there are more than {most} files in it already; empty it")));
        }
        let entry = match open_entry(level, &name, libc::O_PATH) {
            // What is mounted in it is no part of it.
            Err(fault) if fault.errno() == libc::EXDEV => continue,
            opened => opened?,
        };
        let found = look(&entry)?;
        let is_directory = found.st_mode & libc::S_IFMT == libc::S_IFDIR;
        let whole = is_directory || found.st_nlink == 1 && found.st_mode & SET_ID == 0;
        if whole && (found.st_uid, found.st_gid) == (0, 0) {
            give_one(entry.as_fd(), uid, gid)?;
        }
        if is_directory {
            if held >= depth {
                return Err(Fault::check(format!("there are more than {depth} directories in each other; empty it")));
            }
            let inner = Directory::beneath(level, &name)?;
            levels.push(inner);
        }
    }
}
