//! Hears of what a payload attempts: the refused, and in a traced run every path it looks up.
//!
//! The second system call filter does not answer by itself. The kernel holds the calling process and asks a descriptor,
//! which the init program has passed to the launcher. The launcher finds the rule that the call fell under, notes it, and
//! answers: refused with the error that the payload would see without a witness, or, where something else is the wall,
//! go on. A call that must not happen is never told to go on; if the launcher dies the kernel answers `ENOSYS`.
//!
//! What is read from a process's memory is what stood there when it was looked at. Another thread can change it at
//! any time, so it is a description and decides nothing. The number and the arguments of a call can't change.
//!
//! A caller that was heard waits for its answer whatever signals come. Before that a signal interrupts it, as it does any
//! slow call: it begins anew, or fails with `EINTR` where the handler was installed without `SA_RESTART`.

mod attempts;
mod detail;
mod inputs;
mod interpreter;
mod listener;
mod lookups;
mod names;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Spec;
use crate::filter::{self, Notice, Rule};
use attempts::Attempts;
use listener::{Answer, Call, Listener, Readiness};
use lookups::Lookups;
use names::Names;

/// So many calls are answered before limits and the log are looked at again.
const AT_ONCE: usize = 64;
/// The kernel's unit of time for programs: `sysconf(_SC_CLK_TCK)` is 100 on Linux.
const MILLISECONDS_A_TICK: u128 = 10;

/// What a refused attempt was aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attempt {
    /// Something beyond this machine, or a family of sockets that is not for builds.
    Network,
    /// A device file, or a terminal command that reaches beyond the terminal.
    Device,
    /// Mounting, or another root.
    Mount,
    /// A new namespace, or entering one.
    Namespace,
    /// Keys that the kernel holds.
    Keyring,
    /// The memory, the descriptors or the course of another process.
    TraceProcess,
    /// The kernel itself: modules, its clock, its name, its tracing, and interfaces that widen its surface.
    Kernel,
    /// A file that runs as its owner or its group.
    SetId,
}

/// An attempt that a sandbox refused. Attempts alike in everything are one with a count.
///
/// They are seen where a system call says what is wanted. Not seen: the addresses of `sendmsg` and `sendmmsg`, files and
/// devices that are not there to be opened, what a filter of the payload's own refuses first, and what a program decides
/// not to try since it can read that it is confined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedAttempt {
    /// What it was aimed at.
    pub what: Attempt,
    /// The system call.
    pub call: String,
    /// What the arguments said, as far as they could be read; printable, at most 200 characters, may be empty.
    pub detail: String,
    /// How often.
    pub times: u64,
}

impl fmt::Display for RefusedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.serialize(&mut *f)?;
        write!(f, ": {}", self.call)?;
        if !self.detail.is_empty() {
            write!(f, " {}", self.detail)?;
        }
        if self.times > 1 { write!(f, ", {} times", self.times) } else { Ok(()) }
    }
}

/// What a traced run looked up, against what its spec declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// How this was observed and what can't be seen that way, in one sentence or a few.
    pub method: String,
    /// Paths that were looked up and that no declared input has, sorted. Nothing undeclared exists in a sandbox, so none
    /// of them was read: the attempt is the evidence. At most 512.
    pub reads_outside: Vec<String>,
    /// Files of the declared inputs, by their path in the sandbox, that no process was seen to open, sorted. At most 1,000.
    pub never_read: Vec<String>,
    /// Whether there was more than is listed, or more than could be observed.
    pub truncated: bool,
}

/// What was seen of a whole run.
#[derive(Debug)]
pub(crate) struct Testimony {
    /// The refused attempts in the order in which each was first seen.
    pub(crate) refused: Vec<RefusedAttempt>,
    /// Whether there were others.
    pub(crate) refused_more: bool,
    /// What a traced run looked up.
    pub(crate) trace: Option<Trace>,
    /// What could not be done on this host, each with the reason.
    pub(crate) degraded: Vec<String>,
}

/// The launcher's ear for one run.
#[derive(Debug)]
pub(crate) struct Witness {
    rules: &'static [Rule],
    listener: Option<Listener>,
    /// When the payload began.
    begun: Option<Instant>,
    subordinate: bool,
    names: Names,
    attempts: Attempts,
    lookups: Option<Lookups>,
    /// Whether the kernel would not take a listener.
    unheard: bool,
    /// Why a payload saw the host's names, if it did.
    own_names: Option<io::Error>,
}

impl Witness {
    /// For a run that has not started.
    ///
    /// Where the payload is a subordinate user of the launcher's, it takes a steward to look into its processes.
    pub(crate) fn new(spec: &Spec, subordinate: bool) -> Self {
        Self {
            rules: filter::rules(spec.trace),
            listener: None,
            begun: None,
            subordinate,
            names: Names::of(&spec.hostname),
            attempts: Attempts::default(),
            lookups: spec.trace.then(|| Lookups::new(spec)),
            unheard: false,
            own_names: None,
        }
    }

    /// Takes the descriptor that the kernel asks.
    pub(crate) fn listen(&mut self, descriptor: OwnedFd) {
        if let Some(lookups) = &mut self.lookups {
            lookups.observe();
        }
        self.listener = Some(Listener::new(descriptor, self.subordinate));
    }

    /// The payload's exec has happened.
    pub(crate) fn start(&mut self) {
        self.begun = Some(Instant::now());
        if let Some(lookups) = &mut self.lookups {
            lookups.start();
        }
    }

    /// Takes note that there is none to take: refused calls are refused all the same.
    pub(crate) fn stay_deaf(&mut self) {
        self.unheard = true;
    }

    /// What becomes readable when there is something to answer.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// Answers what waits, up to a bound, so that a flood of calls keeps nobody from looking at the limits.
    pub(crate) fn serve(&mut self) -> io::Result<()> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        for _ in 0..AT_ONCE {
            match listener.readiness()? {
                Readiness::Asked => {}
                Readiness::Quiet => break,
                // Every process under the filter is dead.
                Readiness::Over => return Ok(()),
            }
            if let Some(call) = listener.receive()? {
                let answer = self.decide(&listener, &call);
                listener.answer(&call, answer)?;
            }
        }
        self.listener = Some(listener);
        Ok(())
    }

    /// Notes a call and says what becomes of it.
    fn decide(&mut self, listener: &Listener, call: &Call) -> Answer {
        let Some(rule) = self.rules.iter().find(|rule| rule.fits(call.number, &call.arguments)) else {
            // The kernel asks by the same rules; were it ever not so, the call must not happen.
            return Answer::Fail(libc::EPERM);
        };
        match rule.notice {
            Notice::Refuse { what, errno, detail } => {
                self.attempts.note(what, rule.call, detail::describe(detail, listener, call));
                Answer::Fail(errno)
            }
            Notice::Address { pointer, length } => {
                if let Some(address) = detail::outward(listener, call, pointer, length) {
                    self.attempts.note(Attempt::Network, rule.call, address);
                }
                Answer::GoOn
            }
            Notice::Names => self.tell(listener, call, self.names.bytes().to_vec()),
            Notice::Size => self.tell(listener, call, names::size().to_vec()),
            Notice::Ticks => match call.arguments {
                // It asks for the clock alone.
                [0, ..] => Answer::Value(self.ticks()),
                _ => match self.tell(listener, call, vec![0; size_of::<libc::tms>()]) {
                    Answer::Succeed => Answer::Value(self.ticks()),
                    answer => answer,
                },
            },
            Notice::Observe(lookup) => {
                if let Some(lookups) = &mut self.lookups {
                    lookups.look(listener, call, lookup);
                }
                Answer::GoOn
            }
        }
    }

    /// How long it has been since the payload began, in hundredths of a second.
    fn ticks(&self) -> i64 {
        let since = self.begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        i64::try_from(since.as_millis() / MILLISECONDS_A_TICK).unwrap_or(i64::MAX)
    }

    /// Writes fixed facts to where the caller wants them.
    fn tell(&mut self, listener: &Listener, call: &Call, facts: Vec<u8>) -> Answer {
        let [address, ..] = call.arguments;
        match listener.memory(call, true) {
            Ok(memory) => match memory.write(address, &facts) {
                Ok(()) => Answer::Succeed,
                Err(_) => Answer::Fail(libc::EFAULT),
            },
            // Nobody hears it.
            Err(error) if listener::gone(&error) => Answer::Fail(libc::EFAULT),
            // A program that may be executed and not read shuts an ordinary user out of its memory. Its build goes on with
            // the host's facts, and the result says so.
            Err(error) => {
                self.own_names.get_or_insert(error);
                Answer::GoOn
            }
        }
    }

    /// What was seen, once every process is dead.
    pub(crate) fn testify(self, spec: &Spec) -> Testimony {
        let (refused, refused_more) = self.attempts.list();
        let degraded =
            self.own_names.map(|error| format!("uname: the payload saw the host's release or size: {error}"));
        Testimony {
            refused,
            refused_more,
            trace: self.lookups.map(|lookups| if self.unheard { Trace::unheard() } else { lookups.conclude(spec) }),
            degraded: degraded.into_iter().collect(),
        }
    }
}
