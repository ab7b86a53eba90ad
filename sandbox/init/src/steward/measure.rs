//! How much is in directories that a payload may still be writing to.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use anneal_sandbox_op::Answer;

use super::directory::Directory;
use super::{look, open_entry};
use crate::nameless::{Found, Search};
use crate::syscall::Fault;

/// Bytes of a block in `st_blocks`.
const BLOCK: u64 = 512;
/// Descriptors between two looks at what they add up to.
const STEPS: u32 = 1024;

/// A walk under way.
struct Walk {
    bytes: u64,
    inodes: u64,
    too_deep: bool,
    /// Files with several names that have been counted.
    linked: BTreeSet<(u64, u64)>,
    hidden: bool,
}

/// Adds up until a limit is passed. What has gone meanwhile is not there; the handles of all directories on the way down
/// are held, so it does not matter where they are moved.
pub(super) fn measure(
    kept: &[OwnedFd],
    init: Option<u32>,
    bytes: u64,
    inodes: u64,
    depth: u32,
) -> Result<Answer, Fault> {
    let mut walk = Walk { bytes: 0, inodes: 0, too_deep: false, linked: BTreeSet::new(), hidden: false };
    if let Some(init) = init {
        walk.hold(kept, init, bytes)?;
        if walk.bytes > bytes {
            return Ok(walk.answer());
        }
    }
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
    /// Counts what processes hold. It comes first: what gets a name meanwhile is then not counted again.
    fn hold(&mut self, kept: &[OwnedFd], init: u32, bytes: u64) -> Result<(), Fault> {
        let devices = kept.iter().map(|top| look(top).map(|found| found.st_dev)).collect::<Result<Vec<_>, Fault>>()?;
        let mut search = Search::new(init, devices);
        while !search.go_on(STEPS) && search.found.bytes <= bytes {}
        let Found { bytes, files, hidden } = search.found;
        (self.bytes, self.inodes, self.hidden) = (bytes, files.len() as u64, hidden);
        self.linked = files;
        Ok(())
    }

    fn count(&mut self, found: &libc::stat) {
        let directory = found.st_mode & libc::S_IFMT == libc::S_IFDIR;
        let file = (found.st_dev, found.st_ino);
        let counted = if found.st_nlink > 1 { !self.linked.insert(file) } else { self.linked.contains(&file) };
        if !directory && counted {
            return;
        }
        self.inodes = self.inodes.saturating_add(1);
        let blocks = u64::try_from(found.st_blocks).unwrap_or(0);
        self.bytes = self.bytes.saturating_add(blocks.saturating_mul(BLOCK));
    }

    fn answer(self) -> Answer {
        Answer::Measured { bytes: self.bytes, inodes: self.inodes, too_deep: self.too_deep, hidden: self.hidden }
    }
}
