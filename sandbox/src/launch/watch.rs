//! The launcher's side of a run: passes the log on, counts time and bytes, ends what goes too far.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anneal_sandbox_op::{Confinement, Event, Failure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitStatus;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::inbox::Inbox;
use super::outputs::{Last, Meter};
use super::passing::{LAST_WORDS, Passing};
use super::rate::Rate;
use super::{Sandbox, failure, launch};
use crate::cgroup::Group;
use crate::slot::Slot;
use crate::witness::{Testimony, Witness};
use crate::{
    CancelToken, Ended, Error, HostFacts, Limits, ProbeResult, RefusedAttempt, Result, Spec, Trace, Usage, Users,
};

/// How often cancellation and memory are looked at; also how late either may be noticed.
const TICK: Duration = Duration::from_millis(50);
/// With it a run ends within two seconds of its wall time.
const LAST_LOOK: Duration = Duration::from_millis(1500);
/// Bytes read from the log at once.
const CHUNK: usize = 64 << 10;

/// What was seen of a run.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) ended: Ended,
    pub(super) exec_ns: u64,
    pub(super) exit_ns: u64,
    pub(super) log_bytes: u64,
    pub(super) confinement: Option<Confinement>,
    pub(super) degraded: Vec<String>,
    pub(super) usage: Usage,
    pub(super) probe: Option<ProbeResult>,
    pub(super) refused: Vec<RefusedAttempt>,
    pub(super) refused_more: bool,
    pub(super) trace: Option<Trace>,
}

/// What there is to read.
#[derive(Debug, Clone, Copy)]
struct Ready {
    control: bool,
    log: bool,
    witness: bool,
}

/// A run being watched.
pub(super) struct Watch<'a> {
    spec: &'a Spec,
    slot: Option<&'a Slot>,
    /// Whether no other run can have been given the id of this one.
    has_number: bool,
    sandbox: Sandbox,
    group: Group,
    outputs: Meter,
    witness: Witness,
    log: Passing<'a>,
    cancel: &'a CancelToken,
    started: Instant,
    last_output: Instant,
    /// When memory was last looked at.
    last_look: Option<Instant>,
    log_bytes: u64,
    rate: Rate,
    log_open: bool,
    inbox: Inbox,
    /// Process 1, once it exists.
    init: Option<Pid>,
    /// Why it was ended from here.
    stopped: Option<Ended>,
    failed: Option<Failure>,
    confinement: Option<Confinement>,
    exec_ns: Option<u64>,
    report: Option<Event>,
    /// What the kernel counted for process 1 and all that it waited for.
    used: Usage,
    degraded: Vec<String>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        spec: &'a Spec,
        host: &HostFacts,
        sandbox: Sandbox,
        group: Group,
        outputs: Meter,
        log: &'a mut dyn Write,
        cancel: &'a CancelToken,
    ) -> Self {
        let now = Instant::now();
        Self {
            spec,
            slot: None,
            has_number: true,
            group,
            outputs,
            witness: Witness::new(spec, host.users == Users::Subordinate),
            log: Passing::new(log),
            cancel,
            started: now,
            last_output: now,
            last_look: None,
            log_bytes: 0,
            rate: Rate::new(spec.limits.log_bytes_per_second, now),
            log_open: true,
            inbox: Inbox::default(),
            init: sandbox.init,
            sandbox,
            stopped: None,
            failed: None,
            confinement: None,
            exec_ns: None,
            report: None,
            used: Usage::default(),
            degraded: Vec::new(),
        }
    }

    /// Looks whether the number of the run stays its own.
    pub(super) fn holding(self, slot: &'a Slot) -> Self {
        Self { slot: Some(slot), ..self }
    }

    /// Stays until every process is dead.
    pub(super) fn run(mut self) -> Result<Seen> {
        let watched = self.watch();
        if watched.is_err() {
            self.stop(Ended::Cancelled);
        }
        let how = self.bury();
        watched?;
        self.drain()?;
        let exit_ns = monotonic_ns();
        self.conclude(exit_ns, how)
    }

    /// Until the control socket closes, which means that no process is left to report anything.
    fn watch(&mut self) -> Result<()> {
        fcntl(&self.sandbox.log, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .map_err(|e| launch("watch the log")(e.into()))?;
        loop {
            self.log.go_on();
            self.enforce();
            let ready = self.poll()?;
            if ready.log {
                self.read_log()?;
            }
            if ready.control && !self.read_events()? {
                return Ok(());
            }
            if ready.witness {
                self.witness.serve().map_err(launch("answer the system calls of the payload"))?;
            }
        }
    }

    /// Sleeps until there is something to read or to look at.
    fn poll(&mut self) -> Result<Ready> {
        let behind = self.log.pause();
        let takes_log = self.log_open && behind.is_none() && self.rate.available(Instant::now()) > 0;
        let limits: &Limits = &self.spec.limits;
        let next = [
            (self.started + limits.wall).saturating_duration_since(Instant::now()),
            (self.last_output + limits.silence).saturating_duration_since(Instant::now()),
            match behind {
                Some(pause) => TICK.min(pause),
                None if takes_log || !self.log_open => TICK,
                None => TICK.min(self.rate.pause()),
            },
        ];
        let wait = next.into_iter().min().unwrap_or(TICK).as_millis().saturating_add(1);
        let mut watched = vec![PollFd::new(self.sandbox.control.as_fd(), PollFlags::POLLIN)];
        let mut watch = |fd| {
            watched.push(PollFd::new(fd, PollFlags::POLLIN));
            watched.len() - 1
        };
        let log = takes_log.then(|| watch(self.sandbox.log.as_fd()));
        let witness = self.witness.descriptor().map(watch);
        match poll(&mut watched, PollTimeout::from(u16::try_from(wait).unwrap_or(u16::MAX))) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(launch("wait for the sandbox")(errno.into())),
        }
        let ready = |index: usize| watched.get(index).is_some_and(|fd| fd.any().unwrap_or(false));
        Ok(Ready { control: ready(0), log: log.is_some_and(ready), witness: witness.is_some_and(ready) })
    }

    /// Ends the run if a limit is passed or the caller wants it.
    fn enforce(&mut self) {
        if self.log.behind() > 0 {
            // The payload is not silent: it is not listened to.
            self.last_output = Instant::now();
        }
        if self.stopped.is_none() {
            let limits = &self.spec.limits;
            let reason = if self.cancel.is_cancelled() {
                Some(Ended::Cancelled)
            } else if self.log_bytes > limits.log_bytes {
                Some(Ended::LogLimit)
            } else if self.started.elapsed() >= limits.wall {
                Some(Ended::WallLimit)
            } else if self.last_output.elapsed() >= limits.silence {
                Some(Ended::SilenceLimit)
            } else if self.look_at_memory() {
                Some(Ended::MemoryLimit)
            } else if self.outputs.look(Instant::now()) {
                Some(Ended::OutputLimit)
            } else {
                self.log.error.is_some().then_some(Ended::Cancelled)
            };
            if let Some(reason) = reason {
                self.stop(reason);
            }
        }
    }

    /// Whether the group ran out of memory. It takes a file to know, so not at every turn.
    fn look_at_memory(&mut self) -> bool {
        if self.last_look.is_some_and(|last| last.elapsed() < TICK) {
            return false;
        }
        self.last_look = Some(Instant::now());
        self.group.out_of_memory()
    }

    /// Kills process 1, and with it the namespace; at once, or as soon as there is one.
    fn stop(&mut self, reason: Ended) {
        self.stopped.get_or_insert(reason);
        if let Some(init) = self.init {
            // It is our child and not waited for yet, so the id is still its own; it may be dead already.
            let _ = kill(init, Signal::SIGKILL);
        }
    }

    fn read_log(&mut self) -> Result<()> {
        let mut chunk = vec![0; CHUNK];
        let most = usize::try_from(self.rate.available(Instant::now())).unwrap_or(CHUNK).min(CHUNK);
        let chunk = chunk.get_mut(..most).unwrap_or_default();
        match nix::unistd::read(&self.sandbox.log, &mut *chunk) {
            Ok(0) => self.log_open = false,
            Ok(length) => {
                let left = self.spec.limits.log_bytes.saturating_sub(self.log_bytes);
                self.log_bytes = self.log_bytes.saturating_add(length as u64);
                self.rate.take(length as u64);
                self.last_output = Instant::now();
                let kept = usize::try_from(left).unwrap_or(usize::MAX).min(length);
                self.log.pass(chunk.get(..kept).unwrap_or_default());
            }
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
            Err(errno) => return Err(launch("read the log")(errno.into())),
        }
        Ok(())
    }

    /// Reads what the init program says; false once it says nothing more.
    fn read_events(&mut self) -> Result<bool> {
        let (said, listener) = self.inbox.receive(&self.sandbox.control)?;
        if let Some(listener) = listener {
            self.witness.listen(listener);
        }
        while let Some(event) = self.inbox.next()? {
            self.note(event);
        }
        Ok(said)
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Entered { pid } => {
                self.init = Some(Pid::from_raw(pid));
                if let Some(reason) = self.stopped {
                    self.stop(reason);
                }
            }
            // The descriptor came with the first byte of this message.
            Event::Listening => {}
            Event::Unheard { reason } => {
                self.witness.stay_deaf();
                self.degraded.push(format!("refused attempts are not listed and uname is the host's: {reason}"));
            }
            Event::Confined(confinement) => {
                self.confinement = Some(confinement);
                // From now on its processes are to be seen by whoever takes a number.
                if self.slot.is_some_and(|slot| !slot.holds()) {
                    self.has_number = false;
                    self.stop(Ended::Cancelled);
                }
            }
            Event::Started { exec_ns } => {
                self.exec_ns = Some(exec_ns);
                self.outputs.attend(self.init.map(|init| init.as_raw().unsigned_abs()));
                self.witness.start();
            }
            Event::Degraded { what } => self.degraded.push(what),
            Event::Failed(failure) => {
                self.failed.get_or_insert(failure);
            }
            // The launcher hears of that before a run begins.
            Event::Prepared => {}
            ended @ Event::Ended { .. } => self.report = Some(ended),
        }
    }

    /// Waits for process 1 and its maker. Once the first wait returns, the namespace is empty.
    fn bury(&mut self) -> String {
        let mut how = "no status".to_owned();
        if let Some(init) = self.init {
            if self.stopped.is_some() || self.failed.is_some() {
                // It may be dead already.
                let _ = kill(init, Signal::SIGKILL);
            }
            how = loop {
                match wait_with_usage(init) {
                    Err(nix::Error::EINTR) => {}
                    Ok((status, usage)) => {
                        self.used = usage;
                        break format!("{status:?}");
                    }
                    Err(errno) => break errno.to_string(),
                }
            };
        }
        if let Ok(status) = self.sandbox.maker.wait()
            && self.init.is_none()
        {
            how = status.to_string();
        }
        how
    }

    /// Takes what is still in the pipe, as long as somebody reads it.
    fn drain(&mut self) -> Result<()> {
        // Nobody writes any more, and a pipe holds little.
        self.rate = Rate::new(u64::MAX, Instant::now());
        let (end, cancel) = (Instant::now() + self.left(LAST_WORDS), self.cancel);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let lost = self.log.finish(left, &|| cancel.is_cancelled());
            if lost > 0 {
                self.degraded
                    .push(format!("log: its reader took no more of it; {lost} bytes and what came after are lost"));
                return Ok(());
            }
            if !self.log_open {
                return Ok(());
            }
            let before = self.log_bytes;
            self.read_log()?;
            if self.log_bytes == before {
                break;
            }
        }
        Ok(())
    }

    /// What is left of the wall time, and no less than a moment.
    fn left(&self, moment: Duration) -> Duration {
        (self.started + self.spec.limits.wall).saturating_duration_since(Instant::now()).max(moment)
    }

    fn conclude(mut self, now: u64, how: String) -> Result<Seen> {
        if let Some(source) = self.log.error {
            return Err(Error::Log { source });
        }
        if !self.has_number {
            let source = io::Error::other("the file that it was locked by has been removed; run it again");
            return Err(Error::Launch { action: "keep a user id", source });
        }
        if self.exec_ns.is_some() && self.confinement.is_none() {
            return Err(Error::Control { reason: "the payload was executed and nobody said what holds it".to_owned() });
        }
        // Its number may be another process's from now on.
        self.outputs.attend(None);
        let over_memory = self.group.out_of_memory();
        let over_outputs = match self.stopped.is_none().then(|| self.outputs.look_at_all(self.left(LAST_LOOK))) {
            None | Some(Last::Within) => None,
            Some(Last::Over) => Some(Ended::OutputLimit),
            Some(Last::Unfinished) => {
                let gap = "outputs: there was more than could be measured within the limit of wall time once more";
                self.degraded.push(gap.to_owned());
                Some(Ended::WallLimit)
            }
        };
        let left = self.outputs.give_back().map_err(|source| Error::OutputLost { source })?;
        self.degraded
            .extend(left.iter().map(|path| format!("outputs: {path:?} has set-id bits, so it stays the payload's")));
        if self.outputs.unreadable {
            self.degraded.push("outputs: a directory the launcher may not read was not measured".to_owned());
        }
        if self.outputs.hidden {
            let gap = "outputs: files without a name were not measured: a process hides what it has open, or the kernel \
                       does not say";
            self.degraded.push(gap.to_owned());
        }
        let Testimony { refused, refused_more, trace, degraded } = self.witness.testify(self.spec);
        self.degraded.extend(degraded);
        let mut seen = Seen {
            ended: Ended::Cancelled,
            exec_ns: self.exec_ns.unwrap_or(now),
            exit_ns: now,
            log_bytes: self.log_bytes,
            confinement: self.confinement,
            degraded: self.degraded,
            usage: self.used,
            probe: None,
            refused,
            refused_more,
            trace,
        };
        let by_itself = match self.report {
            Some(Event::Ended { exit_ns, code, signal, probe }) => {
                seen.exit_ns = exit_ns;
                seen.probe = probe.map(|answer| ProbeResult {
                    status: answer.status,
                    body: answer.body,
                    answered_after_ms: answer.answered_after_ms,
                    stopped_cleanly: answer.stopped_cleanly,
                });
                code.map(Ended::Exited).or(signal.map(Ended::Signaled))
            }
            _ => None,
        };
        let over_log = (self.log_bytes > self.spec.limits.log_bytes).then_some(Ended::LogLimit);
        let memory = over_memory.then_some(Ended::MemoryLimit);
        seen.ended = match (self.stopped.or(memory).or(over_log).or(over_outputs), self.failed, by_itself) {
            (Some(reason), _, _) => reason,
            (None, Some(failed), _) => return Err(failure::explain(self.spec, failed)),
            (None, None, Some(ended)) => ended,
            (None, None, None) => return Err(Error::InitLost { how }),
        };
        Ok(seen)
    }
}

fn monotonic_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| (time.tv_sec() as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec() as u64))
}

/// Waits for a child; says how it ended and what it and its children used.
fn wait_with_usage(child: Pid) -> nix::Result<(WaitStatus, Usage)> {
    let mut status = 0;
    // SAFETY: all-zero bytes are a value of this structure of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals of the types that the call writes.
    Errno::result(unsafe { libc::wait4(child.as_raw(), &mut status, 0, &mut usage) })?;
    let milliseconds = |time: libc::timeval| {
        let (seconds, rest) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_usec).unwrap_or(0));
        seconds * 1000 + rest / 1000
    };
    let usage = Usage {
        user_ms: milliseconds(usage.ru_utime),
        system_ms: milliseconds(usage.ru_stime),
        max_rss_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    };
    Ok((WaitStatus::from_raw(child, status)?, usage))
}
