//! The descriptor that the kernel asks, and the memory of those it asks about.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::steward::Steward;
use crate::subordinate::Subordinate;

/// Asks the kernel to switch to the one that was answered at once; kernels from 6.6 on know it.
const SYNCHRONOUS_WAKE_UP: libc::c_ulong = 1;

/// A process that waits for an answer.
#[derive(Debug)]
pub(super) struct Call {
    id: u64,
    /// The thread, by its number in the launcher's own process namespace.
    pub(super) thread: u32,
    pub(super) number: i64,
    pub(super) arguments: [u64; 6],
}

/// What a process is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The call returns this error.
    Fail(i32),
    /// The call returns zero.
    Succeed,
    /// The call returns this value.
    Value(i64),
    /// The kernel does the call.
    GoOn,
}

/// Whether there is something to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    /// At least one process waits, or did a moment ago.
    Asked,
    /// Nobody waits.
    Quiet,
    /// Nobody can ask any more.
    Over,
}

/// Whether an error means that the process does not wait any more.
pub(super) fn gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// The launcher's end.
#[derive(Debug)]
pub(super) struct Listener {
    descriptor: OwnedFd,
    /// Who looks into the payload's processes, where the launcher is another user without root; started when it is needed.
    steward: Option<OnceCell<Steward>>,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Listener {
    pub(super) fn new(descriptor: OwnedFd, subordinate: bool) -> Self {
        // SAFETY: the command takes an integer. Without it answers are slower, so a kernel that does not know it is no fault.
        unsafe { libc::ioctl(descriptor.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNCHRONOUS_WAKE_UP) };
        Self { descriptor, steward: subordinate.then(OnceCell::new) }
    }

    /// Looks without waiting.
    pub(super) fn readiness(&self) -> io::Result<Readiness> {
        let mut watched = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, PollTimeout::ZERO) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let seen = watched.first().and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        // An error alone means that a signal kept the kernel from looking.
        Ok(if seen.contains(PollFlags::POLLIN) {
            Readiness::Asked
        } else if seen.contains(PollFlags::POLLHUP) {
            Readiness::Over
        } else {
            Readiness::Quiet
        })
    }

    /// The next that waits; `None` where it was killed in between. Waits itself unless [`Self::readiness`] said
    /// [`Readiness::Asked`] just before: the kernel counts questions, and nobody else takes any.
    pub(super) fn receive(&self) -> io::Result<Option<Call>> {
        // SAFETY: plain integers; the kernel demands zeros.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        match self.command(libc::SECCOMP_IOCTL_NOTIF_RECV, &mut asked) {
            Ok(()) => Ok(Some(Call {
                id: asked.id,
                thread: asked.pid,
                number: i64::from(asked.data.nr),
                arguments: asked.data.args,
            })),
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Answers. One that was killed in between needs no answer.
    pub(super) fn answer(&self, call: &Call, answer: Answer) -> io::Result<()> {
        let mut told = libc::seccomp_notif_resp { id: call.id, val: 0, error: 0, flags: 0 };
        match answer {
            Answer::Fail(errno) => told.error = -errno,
            Answer::Succeed => {}
            Answer::Value(value) => told.val = value,
            Answer::GoOn => told.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        }
        match self.command(libc::SECCOMP_IOCTL_NOTIF_SEND, &mut told) {
            Err(error) if !gone(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the caller still waits. If so, whatever was opened by its number before belongs to it and to nobody who
    /// got the number later.
    pub(super) fn waits(&self, call: &Call) -> bool {
        let mut id = call.id;
        self.command(libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &mut id).is_ok()
    }

    /// One command. A signal to this thread interrupts each of them before it has done anything.
    fn command<T>(&self, number: libc::c_ulong, about: &mut T) -> io::Result<()> {
        loop {
            // SAFETY: a live structure of the size that is part of the command's number; the three callers see to it.
            if unsafe { libc::ioctl(self.descriptor.as_raw_fd(), number, std::ptr::from_mut(about)) } == 0 {
                return Ok(());
            }
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            }
        }
    }

    /// The memory of the caller.
    pub(super) fn memory(&self, call: &Call, write: bool) -> io::Result<Memory> {
        let file = match &self.steward {
            None => File::options().read(true).write(write).open(format!("/proc/{}/mem", call.thread))?,
            Some(steward) => started(steward)?.memory(call.thread, write)?.into(),
        };
        if self.waits(call) { Ok(Memory(file)) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
    }

    /// Where a link of the caller's directory in `/proc` leads: `cwd`, or a number in `fd`.
    pub(super) fn link(&self, call: &Call, name: &str) -> io::Result<PathBuf> {
        match &self.steward {
            None => fs::read_link(format!("/proc/{}/{name}", call.thread)),
            Some(steward) => Ok(OsString::from_vec(started(steward)?.link(call.thread, name)?).into()),
        }
    }
}

fn started(steward: &OnceCell<Steward>) -> io::Result<&Steward> {
    if let Some(steward) = steward.get() {
        return Ok(steward);
    }
    let users = Subordinate::own().map_err(io::Error::other)?;
    let new = Steward::start(users).map_err(io::Error::other)?;
    Ok(steward.get_or_init(|| new))
}

/// The memory of one process, as it was when it asked; another program that it executes later has another.
#[derive(Debug)]
pub(super) struct Memory(File);

impl Memory {
    /// Bytes from an address, fewer where readable memory ends.
    pub(super) fn read(&self, address: u64, at_most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; at_most];
        let length = self.0.read_at(&mut bytes, address)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// A string, without the zero at its end, cut off after `at_most` bytes.
    pub(super) fn string(&self, address: u64, at_most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = self.read(address, at_most)?;
        if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
            bytes.truncate(end);
        }
        Ok(bytes)
    }

    /// Writes all bytes.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, address)
    }
}
