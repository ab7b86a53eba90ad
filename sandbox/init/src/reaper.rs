//! Process 1: reaps every orphan, times the payload, ends the rest.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use anneal_sandbox_op::{Event, ProbeAnswer, ProbeRequest};

use crate::control::Control;
use crate::probe;
use crate::syscall::{self, Fault, check, own};

/// How the payload's first process ended.
#[derive(Debug, Clone, Copy)]
struct End {
    status: i32,
    at_ns: u64,
}

/// What process 1 knows of its children.
#[derive(Debug)]
pub(crate) struct Reaper {
    payload: i32,
    signals: OwnedFd,
    end: Option<End>,
}

/// Makes the death of a child readable on a descriptor; to be called before there is one.
pub(crate) fn watch_children() -> Result<OwnedFd, Fault> {
    // SAFETY: a signal set is plain integers.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: a live set; null asks for no copy of the old one; -1 asks for a new descriptor.
    let fd = unsafe {
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    own(fd.into(), "signalfd")
}

impl Reaper {
    /// For a payload that has just been forked.
    pub(crate) fn new(payload: i32, signals: OwnedFd) -> Self {
        Self { payload, signals, end: None }
    }

    /// Sees the payload through to its end and reports it.
    pub(crate) fn run(
        mut self,
        control: &mut Control,
        mut warned: File,
        probe: Option<&ProbeRequest>,
    ) -> Result<(), Fault> {
        // Exec closes the other end without a word; a payload that could not exec has reported it and says so.
        let mut byte = [0];
        if matches!(warned.read(&mut byte), Ok(1)) {
            return Ok(());
        }
        let exec_ns = syscall::monotonic_ns();
        control.send(&Event::Started { exec_ns })?;
        let answer = match probe {
            Some(request) => self.probe(control, request, exec_ns)?,
            None => None,
        };
        while self.end.is_none() {
            self.wait(control, None)?;
        }
        let event = self.finish(answer);
        control.send(&event)
    }

    /// Waits until the payload answers, then asks it to stop and waits for that.
    fn probe(&mut self, control: &Control, request: &ProbeRequest, exec_ns: u64) -> Result<Option<ProbeAnswer>, Fault> {
        let answer = probe::until_answered(request, exec_ns, |pause| {
            self.wait(control, Some(pause))?;
            Ok(self.end.is_some())
        })?;
        if self.end.is_none() {
            syscall::kill(self.payload, request.stop_signal)?;
        }
        let deadline = syscall::monotonic_ns().saturating_add(request.stop_within_ms.saturating_mul(1_000_000));
        while self.end.is_none() && syscall::monotonic_ns() < deadline {
            let left = Duration::from_nanos(deadline.saturating_sub(syscall::monotonic_ns()));
            self.wait(control, Some(left))?;
        }
        let in_time = self.end.is_some();
        if !in_time {
            syscall::kill(self.payload, libc::SIGKILL)?;
        }
        let clean = in_time
            && self.end.is_some_and(|end| {
                (libc::WIFEXITED(end.status) && libc::WEXITSTATUS(end.status) == 0)
                    || (libc::WIFSIGNALED(end.status) && libc::WTERMSIG(end.status) == request.stop_signal)
            });
        Ok(answer.map(|answer| ProbeAnswer {
            status: answer.status,
            body: answer.body,
            answered_after_ms: answer.after_ms,
            stopped_cleanly: clean,
        }))
    }

    /// Sleeps until a child dies or the time is over, and reaps what has died.
    fn wait(&mut self, control: &Control, at_most: Option<Duration>) -> Result<(), Fault> {
        let timeout = at_most.map_or(-1, |time| i32::try_from(time.as_millis()).unwrap_or(i32::MAX));
        let mut watched = [
            libc::pollfd { fd: self.signals.as_raw_fd(), events: libc::POLLIN, revents: 0 },
            libc::pollfd { fd: control.as_fd().as_raw_fd(), events: 0, revents: 0 },
        ];
        // SAFETY: the array has the length given.
        let ready = unsafe { libc::poll(watched.as_mut_ptr(), watched.len() as libc::nfds_t, timeout) };
        check(libc::c_long::from(ready), "poll")?;
        let [children, launcher] = watched;
        if launcher.revents != 0 {
            // The launcher is gone; with this process everything ends.
            syscall::exit_now(1);
        }
        if children.revents != 0 {
            self.drain_signals();
        }
        self.reap();
        Ok(())
    }

    fn drain_signals(&self) {
        let mut buffer = [0u8; size_of::<libc::signalfd_siginfo>() * 8];
        // SAFETY: the buffer has the length given.
        while unsafe { libc::read(self.signals.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) } > 0 {}
    }

    /// Reaps all that have died, without waiting.
    fn reap(&mut self) {
        while let Some(pid) = self.reap_one(libc::WNOHANG) {
            if pid == 0 {
                return;
            }
        }
    }

    /// Reaps one child; `None` when there is none left.
    fn reap_one(&mut self, flags: i32) -> Option<i32> {
        let mut status = 0;
        // SAFETY: a live integer.
        let pid = unsafe { libc::waitpid(-1, &mut status, flags) };
        if pid == self.payload {
            self.end = Some(End { status, at_ns: syscall::monotonic_ns() });
        }
        (pid >= 0).then_some(pid)
    }

    /// Kills and reaps the rest, then says how the payload ended.
    fn finish(&mut self, probe: Option<ProbeAnswer>) -> Event {
        let end = self.end.unwrap_or(End { status: 0, at_ns: syscall::monotonic_ns() });
        // Fails when nobody is left, which is as well.
        let _ = syscall::kill(-1, libc::SIGKILL);
        while self.reap_one(0).is_some() {}
        Event::Ended {
            exit_ns: end.at_ns,
            code: libc::WIFEXITED(end.status).then(|| libc::WEXITSTATUS(end.status)),
            signal: libc::WIFSIGNALED(end.status).then(|| libc::WTERMSIG(end.status)),
            probe,
        }
    }
}
