//! How much is in directories that a payload may still be writing to.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use anneal_sandbox_op::Answer;

use super::directory::Directory;
use super::{look, open_entry};
use crate::syscall::Fault;

/// Bytes of a block in `st_blocks`.
const BLOCK: u64 = 512;

/// A walk under way.
struct Walk {
    bytes: u64,
    inodes: u64,
    too_deep: bool,
    /// Files with several names that have been counted.
    linked: BTreeSet<(u64, u64)>,
}

/// Adds up until a limit is passed. What has gone meanwhile is not there; the handles of all directories on the way down
/// are held, so it does not matter where they are moved.
pub(super) fn measure(kept: &[OwnedFd], bytes: u64, inodes: u64, depth: u32) -> Result<Answer, Fault> {
    let mut walk = Walk { bytes: 0, inodes: 0, too_deep: false, linked: BTreeSet::new() };
    for top in kept {
        let mut levels = vec![Directory::again(top)?];
        loop {
            let held = u32::try_from(levels.len()).unwrap_or(u32::MAX);
            let Some(level) = levels.last_mut() else { break };
            let Some(name) = level.next()? else {
                levels.pop();
                continue;
            };
            let Some(found) = gone(open_entry(level, &name, libc::O_PATH).and_then(|entry| look(&entry)))? else {
                continue;
            };
            walk.count(&found);
            if found.st_mode & libc::S_IFMT == libc::S_IFDIR {
                walk.too_deep |= held > depth;
                if !walk.too_deep
                    && let Some(inner) = gone(Directory::beneath(level, &name))?
                {
                    levels.push(inner);
                }
            }
            if walk.bytes > bytes || walk.inodes > inodes || walk.too_deep {
                return Ok(walk.answer());
            }
        }
    }
    Ok(walk.answer())
}

/// Nothing where something has gone, or become something else, since its name was read.
fn gone<T>(result: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match result {
        Err(fault)
            if matches!(fault.errno(), libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EXDEV | libc::EAGAIN) =>
        {
            Ok(None)
        }
        other => other.map(Some),
    }
}

impl Walk {
    fn count(&mut self, found: &libc::stat) {
        let directory = found.st_mode & libc::S_IFMT == libc::S_IFDIR;
        if !directory && found.st_nlink > 1 && !self.linked.insert((found.st_dev, found.st_ino)) {
            return;
        }
        self.inodes = self.inodes.saturating_add(1);
        let blocks = u64::try_from(found.st_blocks).unwrap_or(0);
        self.bytes = self.bytes.saturating_add(blocks.saturating_mul(BLOCK));
    }

    fn answer(self) -> Answer {
        Answer::Measured { bytes: self.bytes, inodes: self.inodes, too_deep: self.too_deep }
    }
}
