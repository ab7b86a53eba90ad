//! What the launcher asks of a steward, and what that answers.
//!
//! A steward is the init program once more, beside the sandbox and not in it: a process in the user namespace where
//! the caller is user 0 and the caller's subordinate ids exist. It does for a caller without root what root does for
//! itself. Messages are framed as lists and events are; at most one descriptor travels with one.

use serde::{Deserialize, Serialize};

/// Ids in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl IdRange {
    /// Whether an id is one of them.
    pub fn contains(self, id: u32) -> bool {
        id.checked_sub(self.first).is_some_and(|place| place < self.count)
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "errand", rename_all = "kebab-case")]
pub enum Errand {
    /// Keep the directory whose handle comes with this message, for what is asked next.
    Keep,
    /// Give the kept directories, and what in them belongs to user 0 and group 0, to a user. What would lose set-id bits by
    /// that, or has a second name, stays.
    Give {
        /// No more entries are looked at.
        most: u64,
        /// Directories in each other.
        depth: u32,
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// Add up what is in the kept directories, and in files without a name that processes of a run hold, until a limit is
    /// passed.
    Measure {
        /// Process 1 of the run, once it has a payload and as long as it lives.
        init: Option<u32>,
        /// Bytes on the disk.
        bytes: u64,
        /// Entries.
        inodes: u64,
        /// Directories in each other.
        depth: u32,
    },
    /// Give the kept directories and what is in them back to user 0, as far as it belongs to these ids.
    Reclaim {
        /// Users.
        uids: IdRange,
        /// Groups.
        gids: IdRange,
        /// What lies in more directories than this is moved up to the kept one.
        depth: u32,
    },
    /// Open the memory of a thread.
    Memory {
        /// The thread, by its number on the host.
        thread: u32,
        /// Whether for writing as well.
        writable: bool,
    },
    /// Read one of the links in a thread's directory in `/proc`.
    Link {
        /// The thread.
        thread: u32,
        /// Which: `cwd`, or a number in `fd`.
        name: String,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It is done; if something was to be opened, its descriptor came with this.
    Done,
    /// So much was there, up to the limit that was passed.
    Measured {
        /// Bytes on the disk.
        bytes: u64,
        /// Entries.
        inodes: u64,
        /// Whether there were more directories in each other than allowed.
        too_deep: bool,
        /// Whether there were processes that could not be looked at.
        hidden: bool,
    },
    /// It was given back.
    Reclaimed {
        /// How many entries changed their owner.
        entries: u64,
        /// Paths, at most [`MAX_LEFT`], of what stays as it is: a change of owner would take its set-id bits away unseen.
        left: Vec<String>,
        /// How much was moved up.
        moved: u64,
    },
    /// Where a link leads.
    Leads {
        /// The bytes of the path.
        to: Vec<u8>,
    },
    /// It could not be done.
    Failed {
        /// The system call, and on what.
        call: String,
        /// The error number, or zero where it was a check.
        errno: i32,
    },
}

/// How many paths an answer names.
pub const MAX_LEFT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_first_and_its_last_and_nothing_beside_them() {
        let range = IdRange { first: 100_000, count: 10 };
        let held: Vec<u32> = (99_990..100_030).filter(|id| range.contains(*id)).collect();
        assert_eq!(held, (100_000..100_010).collect::<Vec<u32>>());
        assert!(IdRange { first: u32::MAX, count: 5 }.contains(u32::MAX));
        assert!(!IdRange { first: 7, count: 0 }.contains(7));
    }
}
