//! What a steward does: in the user namespace where the caller's subordinate ids exist, it measures, takes back and looks
//! at what belongs to them.
//!
//! It reads nothing that a payload wrote but names and numbers of files, goes by handles beneath the directories it was
//! handed, and changes the owner only of what belongs to the ids it is told. It executes nothing and ends when the
//! launcher closes its socket or dies.

mod contents;
mod directory;
mod measure;
mod reclaim;

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use anneal_sandbox_op::{Answer, Errand};

use crate::control::Control;
use crate::syscall::{self, Fault, check};

/// How many directories one steward keeps.
const KEPT_MAX: usize = 256;

/// A steward at work.
pub(crate) struct Steward<'a> {
    control: &'a mut Control,
    kept: Vec<OwnedFd>,
}

/// What goes back to the launcher.
type Done = Result<(Answer, Option<OwnedFd>), Fault>;

impl<'a> Steward<'a> {
    /// One that keeps nothing yet.
    pub(crate) fn new(control: &'a mut Control) -> Self {
        Self { control, kept: Vec::new() }
    }

    /// Does errands until nobody asks any more.
    pub(crate) fn serve(mut self) -> Result<(), Fault> {
        while let Some((errand, handle)) = self.control.receive()? {
            let (answer, opened) = match self.perform(&errand, handle) {
                Ok(done) => done,
                Err(fault) => (Answer::Failed { call: fault.call().to_owned(), errno: fault.errno() }, None),
            };
            match opened {
                Some(opened) => self.control.send_with(&answer, opened.as_fd())?,
                None => self.control.answer(&answer)?,
            }
        }
        Ok(())
    }

    fn perform(&mut self, errand: &Errand, handle: Option<OwnedFd>) -> Done {
        let answer = match errand {
            Errand::Keep => self.keep(handle)?,
            Errand::Give { most, depth, uid, gid } => {
                for kept in &self.kept {
                    directory::give(kept.as_fd(), *uid, *gid)?;
                    contents::give(kept, *uid, *gid, *most, *depth)?;
                }
                Answer::Done
            }
            Errand::Measure { init, bytes, inodes, depth } => {
                measure::measure(&self.kept, *init, *bytes, *inodes, *depth)?
            }
            Errand::Reclaim { uids, gids, depth } => reclaim::reclaim(&self.kept, *uids, *gids, *depth)?,
            Errand::Memory { thread, writable } => {
                let path = format!("/proc/{thread}/mem");
                let file = fs::OpenOptions::new().read(true).write(*writable).open(&path);
                let file = file.map_err(|e| Fault::io("open", &e).about(&path))?;
                return Ok((Answer::Done, Some(file.into())));
            }
            Errand::Link { thread, name } => {
                let path = format!("/proc/{thread}/{name}");
                let to = fs::read_link(&path).map_err(|e| Fault::io("readlink", &e).about(&path))?;
                Answer::Leads { to: to.as_os_str().as_bytes().to_vec() }
            }
        };
        Ok((answer, None))
    }

    fn keep(&mut self, handle: Option<OwnedFd>) -> Result<Answer, Fault> {
        let handle = handle.ok_or_else(|| Fault::check("no directory came with the message"))?;
        if self.kept.len() >= KEPT_MAX {
            return Err(Fault::check(format!("{KEPT_MAX} directories are kept already")));
        }
        self.kept.push(handle);
        Ok(Answer::Done)
    }
}

/// What a handle refers to.
fn look(handle: &impl AsFd) -> Result<libc::stat, Fault> {
    // SAFETY: `stat` is plain integers, overwritten by the call.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: a live buffer of the right type.
    let result = unsafe { libc::fstat(handle.as_fd().as_raw_fd(), &mut found) };
    check(libc::c_long::from(result), "fstat")?;
    Ok(found)
}

/// Opens an entry of a directory: never through a link, never out of it or into a mount.
fn open_entry(dir: &impl AsFd, name: &std::ffi::CStr, flags: i32) -> Result<OwnedFd, Fault> {
    syscall::open_entry(dir.as_fd(), name, flags | libc::O_NOFOLLOW)
}
