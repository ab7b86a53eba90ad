//! Where a run will be: a user id and a control group of its own, and an init program that waits for its list.
//!
//! A place can be prepared for a run that is not known yet: then the init program has already done what is the same for
//! every run. The list it gets in the end is the same; it comes in two parts.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::Duration;

use anneal_sandbox_op::{Event, Op};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::{failure, launch};
use crate::cgroup::{self, Group};
use crate::host::take_slot;
use crate::plan::ahead_of_time;
use crate::slot::Slot;
use crate::subordinate::Subordinate;
use crate::{Error, HostFacts, Limits, Result, Spec, Users, control, operations};

/// How long preparing may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a dead init program's last words are waited for; they are there already, or never come.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// A started init program and this side of its pipes.
#[derive(Debug)]
pub(super) struct Sandbox {
    /// The process that makes the namespaces and ends.
    pub(super) maker: Child,
    pub(super) control: UnixStream,
    pub(super) log: OwnedFd,
    /// Process 1, where it exists already.
    pub(super) init: Option<Pid>,
}

/// An init program that waits for a list.
#[derive(Debug)]
pub(super) struct Starting {
    /// Nothing once it is somebody else's to end.
    sandbox: Option<Sandbox>,
    /// The payload's end of the log.
    output: OwnedFd,
}

/// Everything that one run has for itself. Given up in this order: a group can't be removed before its processes are dead.
#[derive(Debug)]
pub(crate) struct Place {
    pub(super) starting: Starting,
    pub(super) group: Group,
    pub(super) slot: Slot,
    pub(super) host: HostFacts,
    /// What has been done ahead of time.
    done: Vec<Op>,
}

impl Place {
    /// A new one.
    ///
    /// `only_caller` says why the run can have no user but the caller's, if so.
    pub(crate) fn new(limits: &Limits, only_caller: Option<String>) -> Result<Self> {
        let slot = take_slot(only_caller)?;
        // A child would keep this process's own group from handing anything on, so this comes before there is one.
        cgroup::settle();
        // It takes a while to come up; everything else is found out meanwhile.
        let starting = Starting::new()?;
        let host = HostFacts::gather(&slot, limits.cpus);
        Ok(Self { starting, group: Group::create(limits), slot, host, done: Vec::new() })
    }

    /// Does ahead of time what a run of this spec needs and others as well.
    pub(crate) fn prepare(mut self, spec: &Spec) -> Result<Self> {
        let mut ops = operations(spec, &self.host)?;
        ops.truncate(ahead_of_time(&ops));
        self.starting.send(&ops, &self.group, &self.host)?;
        self.starting.await_prepared(spec)?;
        self.done = ops;
        Ok(self)
    }

    /// Whether what was done ahead of time is what a run of this spec begins with.
    pub(crate) fn fits(&self, spec: &Spec) -> bool {
        operations(spec, &self.host).is_ok_and(|ops| ops.starts_with(&self.done))
    }

    /// The mount namespace, which lives as long as this file is open.
    pub(crate) fn mount_namespace(&self) -> Option<File> {
        let init = self.starting.sandbox.as_ref()?.init?;
        File::open(format!("/proc/{init}/ns/mnt")).ok()
    }

    /// Sends the list, or what is left of it.
    pub(super) fn begin(mut self, ops: Vec<Op>) -> Result<Self> {
        if self.done.is_empty() {
            self.starting.send(&ops, &self.group, &self.host)?;
            return Ok(self);
        }
        let Some(rest) = ops.strip_prefix(self.done.as_slice()) else {
            return Err(Error::Control { reason: "a prepared sandbox was given to a run it is not for".to_owned() });
        };
        self.starting.send_only(&same(rest)?, None)?;
        Ok(self)
    }
}

/// Adds to each opened path of the host what it must be: the mounts of a prepared sandbox are as old as itself.
fn same(ops: &[Op]) -> Result<Vec<Op>> {
    let mut checked = Vec::with_capacity(ops.len());
    for op in ops {
        checked.push(op.clone());
        if let Op::Open { path, .. } = op {
            let found = fs::symlink_metadata(path).map_err(launch("look at a path of the spec again"))?;
            checked.push(Op::Same { path: path.clone(), device: found.dev(), inode: found.ino() });
        }
    }
    Ok(checked)
}

fn twice() -> Error {
    Error::Control { reason: "an init program was used twice".to_owned() }
}

impl Starting {
    /// Starts the init program.
    fn new() -> Result<Self> {
        let (log, output) = io::pipe().map_err(launch("make the log pipe"))?;
        let end = || output.try_clone().map_err(launch("make the log pipe"));
        let (maker, control) = control::start(end()?.into(), end()?.into())?;
        let sandbox = Sandbox { maker, control, log: log.into(), init: None };
        Ok(Self { sandbox: Some(sandbox), output: output.into() })
    }

    /// Sends the first list; the init program enters its group before anything else.
    fn send(&mut self, ops: &[Op], group: &Group, host: &HostFacts) -> Result<()> {
        let mut whole = Vec::with_capacity(ops.len() + 2);
        for tasks in group.entrances() {
            let broken = || Error::Control { reason: "a control group's path is not UTF-8".to_owned() };
            whole.push(Op::JoinGroup { tasks: tasks.to_str().ok_or_else(broken)?.to_owned() });
        }
        whole.extend_from_slice(ops);
        if host.users == Users::Own {
            // A payload may open its own standard output again by name, as servers that log to `/dev/stdout` do.
            let owner = Some(host.outside_uid.into());
            nix::unistd::fchown(self.output.as_fd(), owner, None)
                .map_err(|errno| Error::Launch { action: "give the log pipe to the payload", source: errno.into() })?;
        }
        let maker = self.sandbox.as_ref().ok_or_else(twice)?.maker.id();
        group.add(maker).map_err(launch("fill the control group"))?;
        let subordinate = if host.users == Users::Subordinate { Subordinate::own().ok() } else { None };
        self.send_only(&whole, subordinate.map(Subordinate::namespace))
    }

    fn send_only(&mut self, ops: &[Op], users: Option<BorrowedFd<'_>>) -> Result<()> {
        let sandbox = self.sandbox.as_ref().ok_or_else(twice)?;
        control::send(&sandbox.control, ops, users).map_err(launch("send the operations"))
    }

    /// Waits until the first part of a list is done.
    fn await_prepared(&mut self, spec: &Spec) -> Result<()> {
        let failed = launch("hear from the init program");
        let sandbox = self.sandbox.as_mut().ok_or_else(twice)?;
        sandbox.control.set_read_timeout(Some(PATIENCE)).map_err(&failed)?;
        loop {
            match control::receive(&sandbox.control).map_err(&failed)?.0 {
                Event::Entered { pid } => sandbox.init = Some(Pid::from_raw(pid)),
                Event::Failed(failure) => return Err(failure::explain(spec, failure)),
                Event::Prepared => {
                    sandbox.maker.wait().map_err(failed)?;
                    return Ok(());
                }
                // Nothing else can be said before there is a payload, but that something is missing; then it is said to nobody.
                other => return Err(Error::Control { reason: format!("{other:?} came too early") }),
            }
        }
    }

    /// From here on somebody else sees to its end.
    pub(super) fn hand_out(mut self) -> Result<Sandbox> {
        let sandbox = self.sandbox.take().ok_or_else(twice)?;
        sandbox.control.set_nonblocking(true).map_err(launch("prepare the control socket"))?;
        Ok(sandbox)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let Some(mut sandbox) = self.sandbox.take() else { return };
        // It has run nobody's program yet. Each of these fails only for a process that is gone already.
        let _ = sandbox.maker.kill();
        let _ = sandbox.maker.wait();
        // What it has said and nobody has heard yet: process 1 is a child of this process, so nobody else waits for it.
        let _ = sandbox.control.set_read_timeout(Some(LAST_WORDS));
        while sandbox.init.is_none() {
            match control::receive(&sandbox.control) {
                Ok((Event::Entered { pid }, _)) => sandbox.init = Some(Pid::from_raw(pid)),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        if let Some(init) = sandbox.init {
            let _ = kill(init, Signal::SIGKILL);
            let _ = waitpid(init, None);
        }
    }
}
