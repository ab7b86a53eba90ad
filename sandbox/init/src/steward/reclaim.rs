//! How what a payload made becomes the caller's again, once every process of the payload is dead.
//!
//! Nothing changes any more but by the caller's own hand, so a directory that was moved is moved by us: what lies too deep
//! to hold a handle of every directory on the way is moved to the top, and walked from there.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anneal_sandbox_op::{Answer, IdRange, MAX_LEFT};

use super::directory::{Directory, give};
use super::{look, open_entry};
use crate::syscall::{Fault, check};

/// The bits that let a file run as its owner or its group; a change of owner takes them away.
const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;

/// Taking back under way.
struct Reclaim {
    uids: IdRange,
    gids: IdRange,
    depth: usize,
    entries: u64,
    moved: u64,
    left: Vec<String>,
}

/// A directory on the way down, and its name in the one above.
struct Level {
    directory: Directory,
    name: CString,
}

/// Gives kept directories and everything in them to user 0 of this namespace, as far as it belongs to these ids.
pub(super) fn reclaim(kept: &[OwnedFd], uids: IdRange, gids: IdRange, depth: u32) -> Result<Answer, Fault> {
    let depth = usize::try_from(depth).unwrap_or(usize::MAX).max(1);
    let mut work = Reclaim { uids, gids, depth, entries: 0, moved: 0, left: Vec::new() };
    for top in kept {
        work.take(top.as_fd(), "")?;
        let before = work.moved;
        work.walk(top, Level { directory: Directory::again(top)?, name: CString::default() })?;
        let mut next = before;
        while next < work.moved {
            let name = moved_name(next)?;
            next += 1;
            match Directory::beneath(top, &name) {
                // A payload had thought of that name, and it is a file.
                Err(fault) if matches!(fault.errno(), libc::ENOTDIR | libc::ELOOP) => {}
                directory => work.walk(top, Level { directory: directory?, name })?,
            }
        }
    }
    Ok(Answer::Reclaimed { entries: work.entries, left: work.left, moved: work.moved })
}

fn moved_name(number: u64) -> Result<CString, Fault> {
    CString::new(format!(".reclaimed-{number}")).map_err(|_| Fault::check("a name holds a zero byte"))
}

impl Reclaim {
    /// One directory and all beneath it.
    fn walk(&mut self, top: &OwnedFd, first: Level) -> Result<(), Fault> {
        let mut levels = vec![first];
        loop {
            let held = levels.len();
            let Some(level) = levels.last_mut() else { return Ok(()) };
            let Some(name) = level.directory.next()? else {
                levels.pop();
                continue;
            };
            let about = |fault: Fault| fault.about(&name.to_string_lossy());
            let entry = open_entry(&level.directory, &name, libc::O_PATH).map_err(about)?;
            if look(&entry)?.st_mode & libc::S_IFMT != libc::S_IFDIR {
                let path = path(&levels, &name);
                self.take(entry.as_fd(), &path).map_err(about)?;
                continue;
            }
            self.take(entry.as_fd(), "").map_err(about)?;
            if held >= self.depth {
                self.move_up(level.directory.as_fd(), &name, top)?;
                continue;
            }
            let directory = Directory::beneath(&level.directory, &name).map_err(about)?;
            levels.push(Level { directory, name });
        }
    }

    /// Gives one entry back; what would lose its set-id bits stays, for whoever reads the output to refuse it.
    fn take(&mut self, entry: BorrowedFd<'_>, path: &str) -> Result<(), Fault> {
        let found = look(&entry)?;
        if !self.uids.contains(found.st_uid) && !self.gids.contains(found.st_gid) {
            return Ok(());
        }
        if found.st_mode & libc::S_IFMT != libc::S_IFDIR && found.st_mode & SET_ID != 0 {
            if self.left.len() < MAX_LEFT {
                self.left.push(path.to_owned());
            }
            return Ok(());
        }
        give(entry, 0, 0)?;
        self.entries += 1;
        Ok(())
    }

    fn move_up(&mut self, from: BorrowedFd<'_>, name: &CStr, top: &OwnedFd) -> Result<(), Fault> {
        loop {
            let free = moved_name(self.moved)?;
            // SAFETY: two strings that outlive the call, and integers.
            let result = unsafe {
                let (from, to) = (from.as_raw_fd(), top.as_raw_fd());
                libc::syscall(libc::SYS_renameat2, from, name.as_ptr(), to, free.as_ptr(), libc::RENAME_NOREPLACE)
            };
            match check(result, "renameat2") {
                // A payload may have thought of that name. It is walked once more then, which does no harm.
                Err(fault) if fault.errno() == libc::EEXIST => self.moved += 1,
                other => {
                    self.moved += 1;
                    return other.map(drop);
                }
            }
        }
    }
}

/// Where an entry is, from the kept directory on.
fn path(levels: &[Level], name: &CStr) -> String {
    let names = levels.iter().map(|level| level.name.as_c_str()).chain([name]).filter(|name| !name.is_empty());
    names.map(|name| name.to_string_lossy().escape_debug().to_string()).collect::<Vec<_>>().join("/")
}
