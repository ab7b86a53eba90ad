//! Starts a sandbox, stays with it, and comes back when nothing of it is alive.

mod failure;
mod inbox;
mod outputs;
mod rate;
mod stage;
mod watch;

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anneal_sandbox_op::{Op, encode};

use crate::cgroup::{self, Group};
use crate::plan::LANDLOCK_ABI;
use crate::slot::Slot;
use crate::{CancelToken, Error, HostFacts, Outcome, Result, Spec, Surroundings, doctor, operations, program};

/// Runs a payload to its end, whatever ends it. Everything it writes to standard output and error goes to `log`.
///
/// Blocks the calling thread, which must live until it returns: the sandbox dies with that thread. Any number of threads
/// may call it at once. When it returns, every process of the sandbox is dead.
pub fn run(spec: &Spec, log: &mut dyn Write, cancel: &CancelToken) -> Result<Outcome> {
    run_list(spec, &|ops| ops, log, cancel)
}

/// As [`run`], with the list of operations changed before it is applied: the negative control of the attack suite, which
/// takes walls away and must then find a way out. What a changed list does is up to whoever changes it.
#[cfg(feature = "negative-control")]
pub fn run_edited(
    spec: &Spec,
    edit: &dyn Fn(Vec<Op>) -> Vec<Op>,
    log: &mut dyn Write,
    cancel: &CancelToken,
) -> Result<Outcome> {
    run_list(spec, edit, log, cancel)
}

fn run_list(
    spec: &Spec,
    edit: &dyn Fn(Vec<Op>) -> Vec<Op>,
    log: &mut dyn Write,
    cancel: &CancelToken,
) -> Result<Outcome> {
    spec.check()?;
    let slot = Slot::take()?;
    // A child would keep this process's own group from handing anything on, so this comes before there is one.
    cgroup::settle();
    // It takes a while to come up; everything else is found out meanwhile.
    let starting = Starting::new()?;
    let host = HostFacts::gather(&slot, spec.limits.cpus);
    let ops = edit(operations(spec, &host)?);
    stage::prepare(spec, &host)?;
    let outputs = outputs::Meter::open(spec)?;
    let mut group = Group::create(&spec.limits);
    let mut not_enforced = std::mem::take(&mut group.missing);
    not_enforced.extend(host_gaps(spec, &host, &group));
    refuse_gaps(spec, &not_enforced)?;
    let started_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
    let sandbox = starting.hand_over(ops, &group, &host)?;
    let cgroup = group.kind;
    let checked = outputs.every_ms();
    let seen = watch::Watch::new(spec, sandbox, group, outputs, log, cancel).run()?;
    refuse_gaps(spec, &seen.degraded)?;
    not_enforced.extend(seen.degraded);
    Ok(Outcome {
        ended: seen.ended,
        exec_ns: seen.exec_ns,
        exit_ns: seen.exit_ns,
        started_ms,
        log_bytes: seen.log_bytes,
        confinement: seen.confinement,
        limits_not_enforced: not_enforced,
        surroundings: Surroundings::gather(&host, cgroup, started_ms, checked),
        usage: seen.usage,
        probe: seen.probe,
        refused: seen.refused,
        refused_more: seen.refused_more,
        trace: seen.trace,
    })
}

/// What this host can't give to this spec.
fn host_gaps(spec: &Spec, host: &HostFacts, group: &Group) -> Vec<String> {
    let mut gaps = Vec::new();
    if host.outside_uid == 0 && !group.limits_pids {
        gaps.push("pids: no pids control group, and the superuser's processes are not counted".to_owned());
    }
    if !host.privileged {
        gaps.push(format!("own user: runs share host user {}; run as root for one each", host.outside_uid));
    }
    if host.cpus.len() < spec.limits.cpus as usize {
        gaps.push(format!("cpus: {} declared, {} available", spec.limits.cpus, host.cpus.len()));
    }
    if !host.time_namespace {
        gaps.push("clocks: no time namespaces, so the clocks that count from boot are the host's".to_owned());
    }
    if host.landlock_abi < LANDLOCK_ABI {
        gaps.push(format!(
            "landlock: version {} of its interface, 2 needed; there is no second wall",
            host.landlock_abi
        ));
    }
    gaps
}

/// A strict spec is refused where something of it can't be enforced.
fn refuse_gaps(spec: &Spec, gaps: &[String]) -> Result<()> {
    if !spec.strict || gaps.is_empty() {
        return Ok(());
    }
    Err(Error::NotEnforced { gaps: gaps.iter().map(|gap| format!("{gap} ({})", doctor::mend(gap))).collect() })
}

/// A started init program and this side of its pipes.
#[derive(Debug)]
struct Sandbox {
    /// The process that makes the namespaces and ends.
    maker: Child,
    control: UnixStream,
    log: OwnedFd,
}

/// An init program that waits for its list.
#[derive(Debug)]
struct Starting {
    /// Nothing once it has its list.
    sandbox: Option<Sandbox>,
    /// The payload's end of the log.
    output: OwnedFd,
}

fn launch(action: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Launch { action, source }
}

impl Starting {
    /// Starts the init program.
    fn new() -> Result<Self> {
        let (control, theirs) = UnixStream::pair().map_err(launch("make the control socket"))?;
        let (log, output) = io::pipe().map_err(launch("make the log pipe"))?;
        let end = || output.try_clone().map_err(launch("make the log pipe"));
        let mut command = Command::new(program::path()?);
        // Otherwise process lists show the number of a descriptor.
        command.arg0("anneal-sandbox");
        command.env_clear().current_dir("/");
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(end()?).stderr(end()?);
        // With the command go this process's copies of the other ends.
        let maker = command.spawn().map_err(launch("start the init program"))?;
        Ok(Self { sandbox: Some(Sandbox { maker, control, log: log.into() }), output: output.into() })
    }

    /// Sends the list, with its process put into the group.
    fn hand_over(mut self, mut ops: Vec<Op>, group: &Group, host: &HostFacts) -> Result<Sandbox> {
        let control = |reason: String| Error::Control { reason };
        let mut joins = Vec::new();
        for tasks in group.entrances() {
            let tasks = tasks.to_str().ok_or_else(|| control("a control group's path is not UTF-8".to_owned()))?;
            joins.push(Op::JoinGroup { tasks: tasks.to_owned() });
        }
        ops.splice(0..0, joins);
        let message = encode(&ops).map_err(|error| control(error.to_string()))?;
        if host.privileged {
            // A payload may open its own standard output again by name, as servers that log to `/dev/stdout` do.
            let owner = Some(host.outside_uid.into());
            nix::unistd::fchown(self.output.as_fd(), owner, None)
                .map_err(|errno| Error::Launch { action: "give the log pipe to the payload", source: errno.into() })?;
        }
        let sandbox = self.sandbox.as_mut().ok_or_else(|| control("a list was sent twice".to_owned()))?;
        group.add(sandbox.maker.id()).map_err(launch("fill the control group"))?;
        sandbox.control.write_all(&message).map_err(launch("send the operations"))?;
        sandbox.control.set_nonblocking(true).map_err(launch("prepare the control socket"))?;
        self.sandbox.take().ok_or_else(|| control("a list was sent twice".to_owned()))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(Sandbox { mut maker, .. }) = self.sandbox.take() {
            // It has not made anything yet. Either fails only if it is gone already.
            let _ = maker.kill();
            let _ = maker.wait();
        }
    }
}
