//! Starts a sandbox, stays with it, and comes back when nothing of it is alive.

mod contents;
mod failure;
mod inbox;
/// The same file as the steward's, which does for the caller without root what the launcher does for root.
#[path = "../init/src/nameless.rs"]
mod nameless;
mod outputs;
mod passing;
mod place;
mod rate;
mod stage;
mod watch;

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use anneal_sandbox_op::Op;

use crate::cgroup::Group;
use crate::plan::LANDLOCK_ABI;
use crate::{CancelToken, Error, HostFacts, Outcome, Result, Spec, Surroundings, Users, doctor, operations};

pub(crate) use place::Place;
use place::Sandbox;
pub(crate) use stage::closed_to_others;

/// Runs a payload to its end, whatever ends it. Everything it writes to standard output and error goes to `log`.
///
/// A writer that would have to wait says `WouldBlock`, as [`crate::Outlet`] does: limits are counted by the same thread, so
/// one that waits keeps them from being enforced. The payload waits meanwhile.
///
/// Blocks the calling thread, which must live until it returns: the sandbox dies with that thread. Any number of threads
/// may call it at once. When it returns, every process of the sandbox is dead.
pub fn run(spec: &Spec, log: &mut dyn Write, cancel: &CancelToken) -> Result<Outcome> {
    run_new(spec, &unchanged, log, cancel)
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
    run_new(spec, edit, log, cancel)
}

/// Runs a payload in a new place. Where a user of its own could not reach what it must, it gets the caller's.
fn run_new(
    spec: &Spec,
    edit: &dyn Fn(Vec<Op>) -> Vec<Op>,
    log: &mut dyn Write,
    cancel: &CancelToken,
) -> Result<Outcome> {
    spec.check()?;
    match run_in(Place::new(&spec.limits, closed_to_others(spec))?, spec, edit, log, cancel) {
        // Nothing has run yet.
        Err(Error::OutputKept { path, source }) => {
            let reason = format!("output {} can't be given to another user: {source}", path.display());
            run_in(Place::new(&spec.limits, Some(reason))?, spec, edit, log, cancel)
        }
        done => done,
    }
}

/// The list as it is.
pub(crate) fn unchanged(ops: Vec<Op>) -> Vec<Op> {
    ops
}

/// Runs a payload in a place that is new or prepared; for a prepared one the list must begin as it was prepared.
pub(crate) fn run_in(
    place: Place,
    spec: &Spec,
    edit: &dyn Fn(Vec<Op>) -> Vec<Op>,
    log: &mut dyn Write,
    cancel: &CancelToken,
) -> Result<Outcome> {
    let ops = edit(operations(spec, &place.host)?);
    // Back to their owners unless there is a run; behind the sandbox, which is given up first.
    let given = stage::prepare(spec, &place.host)?;
    let mut outputs = outputs::Meter::open(spec)?;
    // Whatever goes wrong from here on, the sandbox is given up before its outputs are.
    let mut place = place;
    outputs.entrust(&place.host)?;
    let mut not_enforced = std::mem::take(&mut place.group.missing);
    not_enforced.extend(host_gaps(spec, &place.host, &place.group));
    refuse_gaps(spec, &not_enforced)?;
    let started_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
    let Place { starting, group, slot, host, .. } = place.begin(ops)?;
    let sandbox = starting.hand_out()?;
    let cgroup = group.kind;
    let checked = outputs.every_ms();
    let seen = watch::Watch::new(spec, &host, sandbox, group, outputs, log, cancel).holding(&slot).run()?;
    given.keep();
    refuse_gaps(spec, &seen.degraded)?;
    let is_known = |gap: &String| not_enforced.contains(gap);
    let news: Vec<String> = seen.degraded.into_iter().filter(|gap| !is_known(gap)).collect();
    not_enforced.extend(news);
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
    let mut gaps = crate::host::missing().to_vec();
    if host.outside_uid == 0 && !group.limits_pids {
        gaps.push("pids: no pids control group, and the superuser's processes are not counted".to_owned());
    }
    if let Users::Shared { reason } = &host.users {
        gaps.push(format!("own user: runs share host user {}: {reason}", host.outside_uid));
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

fn launch(action: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Launch { action, source }
}
