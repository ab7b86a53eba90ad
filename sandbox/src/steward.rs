//! A process of ours in the user namespace of the caller's subordinate ids, for what the caller may not do itself: measure
//! what a payload wrote, make it the caller's again, and look at a payload's memory.
//!
//! It is the init program with another list, which stands in `golden/sandbox/steward.txt`. It dies with the thread that
//! started it, or when this value goes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use anneal_sandbox_op::{Answer, Errand, Op};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::filter;
use crate::subordinate::Subordinate;
use crate::{Error, Result, control};

/// How long an errand may take. Walks are bounded by the limits of what is walked; this is for a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(600);
/// No walk holds more directories open.
pub(crate) const DEPTH: u32 = 256;

/// One at work.
#[derive(Debug)]
pub(crate) struct Steward {
    child: Child,
    control: UnixStream,
}

/// What was in directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
    pub(crate) too_deep: bool,
    /// Whether there were processes that could not be looked at.
    pub(crate) hidden: bool,
}

/// What a steward does before it serves.
pub(crate) fn operations() -> Vec<Op> {
    vec![Op::DieWithParent, Op::JoinUsers, Op::KeepForFiles, filter::of_a_steward(), Op::Serve]
}

impl Steward {
    /// Starts one.
    pub(crate) fn start(users: &Subordinate) -> Result<Self> {
        let launch = |source| Error::Launch { action: "start a steward", source };
        let (child, control) = control::start(Stdio::null(), Stdio::null())?;
        let steward = Self { child, control };
        steward.control.set_read_timeout(Some(PATIENCE)).map_err(launch)?;
        control::send(&steward.control, &operations(), Some(users.namespace())).map_err(launch)?;
        Ok(steward)
    }

    /// Hands it a directory, which it keeps.
    pub(crate) fn keep(&self, directory: BorrowedFd<'_>) -> io::Result<()> {
        control::send(&self.control, &Errand::Keep, Some(directory))?;
        self.done()
    }

    /// Gives the kept directories, and what is the caller's in them, to a user.
    pub(crate) fn give(&self, uid: u32, gid: u32, most: u64) -> io::Result<()> {
        control::send(&self.control, &Errand::Give { most, depth: DEPTH, uid, gid }, None)?;
        self.done()
    }

    /// Asks what is in the kept directories and what the descendants of a process hold, up to limits;
    /// [`Steward::measured`] has the answer.
    pub(crate) fn measure(&self, init: Option<u32>, bytes: u64, inodes: u64) -> io::Result<()> {
        control::send(&self.control, &Errand::Measure { init, bytes, inodes, depth: DEPTH }, None)
    }

    /// Whether an answer is there.
    pub(crate) fn has_answered(&self) -> bool {
        let mut watched = [PollFd::new(self.control.as_fd(), PollFlags::POLLIN)];
        poll(&mut watched, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// How long the next answers may take.
    pub(crate) fn answer_within(&self, time: Duration) -> io::Result<()> {
        self.control.set_read_timeout(Some(time.clamp(Duration::from_millis(1), PATIENCE)))
    }

    /// Waits for the answer to a question for what is in the kept directories.
    pub(crate) fn measured(&self) -> io::Result<Measured> {
        match self.answer()? {
            (Answer::Measured { bytes, inodes, too_deep, hidden }, _) => {
                Ok(Measured { bytes, inodes, too_deep, hidden })
            }
            (other, _) => Err(surprise(&other)),
        }
    }

    /// Makes the kept directories and what is in them the caller's again. Returns paths of what stays as it is, because a
    /// change of owner would take its set-id bits away.
    pub(crate) fn reclaim(&self, users: &Subordinate) -> io::Result<Vec<String>> {
        self.answer_within(PATIENCE)?;
        control::send(&self.control, &Errand::Reclaim { uids: users.uids, gids: users.gids, depth: DEPTH }, None)?;
        match self.answer()? {
            (Answer::Reclaimed { left, .. }, _) => Ok(left),
            (other, _) => Err(surprise(&other)),
        }
    }

    /// Opens the memory of a thread.
    pub(crate) fn memory(&self, thread: u32, writable: bool) -> io::Result<OwnedFd> {
        control::send(&self.control, &Errand::Memory { thread, writable }, None)?;
        match self.answer()? {
            (Answer::Done, Some(opened)) => Ok(opened),
            (other, _) => Err(surprise(&other)),
        }
    }

    /// Where a link in a thread's directory of `/proc` leads.
    pub(crate) fn link(&self, thread: u32, name: &str) -> io::Result<Vec<u8>> {
        control::send(&self.control, &Errand::Link { thread, name: name.to_owned() }, None)?;
        match self.answer()? {
            (Answer::Leads { to }, _) => Ok(to),
            (other, _) => Err(surprise(&other)),
        }
    }

    fn done(&self) -> io::Result<()> {
        match self.answer()? {
            (Answer::Done, _) => Ok(()),
            (other, _) => Err(surprise(&other)),
        }
    }

    /// The next answer. What the kernel refused is an error with the kernel's own number.
    fn answer(&self) -> io::Result<(Answer, Option<OwnedFd>)> {
        match control::receive(&self.control)? {
            (Answer::Failed { call, errno: 0 }, _) => Err(io::Error::other(call)),
            (Answer::Failed { call, errno }, _) => {
                tracing::debug!(call, errno, "a steward could not do an errand");
                Err(io::Error::from_raw_os_error(errno))
            }
            answer => Ok(answer),
        }
    }
}

fn surprise(answer: &Answer) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a steward answered {answer:?}"))
}

impl Drop for Steward {
    fn drop(&mut self) {
        // It holds nothing that is not written; one that is gone already is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
