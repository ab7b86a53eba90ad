//! From a spec to the list of operations: a pure function, and the whole policy of a sandbox.

mod landlock;
mod masks;
mod mounts;

use std::time::Duration;

use anneal_sandbox_op::{Handle, IdMap, Namespace, Op, ProbeRequest, Resource};

pub(crate) use landlock::LANDLOCK_ABI;
pub(crate) use masks::{MEMORY_KIB, RELEASE, VERSION};

use crate::{HostFacts, HttpProbe, Kind, Result, Spec, Users, filter};

/// How long a server may take to stop after its probe was answered.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Size of the base: mount points and masks are small.
const BASE_BYTES: u64 = 4 << 20;
const BASE_INODES: u64 = 16 << 10;
/// The main stack, and how far a program may raise it.
const STACK_SOFT: u64 = 8 << 20;
const STACK_HARD: u64 = 64 << 20;
const LOCKED_BYTES: u64 = 64 << 10;
const QUEUE_BYTES: u64 = 800 << 10;
/// The kernel would allow as many as the host's memory holds.
const PENDING_SIGNALS: u64 = 4096;
/// Whatever protects a daemon from the kernel's search for memory is not handed on: a sandbox is the first to go.
const OOM_ADJUSTMENT: i32 = 1000;
pub(crate) const DOMAIN: &str = "(none)";
/// The devices of a sandbox, all without effect on the host.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];
const SHARED_MEMORY_BYTES: u64 = 64 << 20;
const SHARED_MEMORY_INODES: u64 = 4096;
const DEVICE_DIRECTORY_BYTES: u64 = 64 << 10;
const DEVICE_DIRECTORY_INODES: u64 = 64;

/// Every step of the making of a sandbox, in order. Fails where the spec makes no sense.
pub fn operations(spec: &Spec, host: &HostFacts) -> Result<Vec<Op>> {
    spec.check()?;
    let layout = mounts::Layout::of(spec)?;
    let (outside_uid, outside_gid) = (host.outside_uid, host.outside_gid);
    let mut ops = vec![Op::DieWithParent, Op::OomScore { adjustment: OOM_ADJUSTMENT }];
    if host.users == Users::Subordinate {
        ops.extend([Op::JoinUsers, Op::GiveLog { uid: outside_uid, gid: outside_gid }]);
    }
    ops.push(Op::Enter {
        namespaces: vec![
            Namespace::User,
            Namespace::Mount,
            Namespace::Pid,
            Namespace::Network,
            Namespace::Ipc,
            Namespace::Uts,
            Namespace::Cgroup,
        ],
        uid: IdMap { inside: spec.uid, outside: outside_uid },
        gid: IdMap { inside: spec.gid, outside: outside_gid },
        deny_setgroups: !host.is_another_user(),
    });
    // Up to `FilesAsLauncher` nothing depends on the mounts or the payload, so it can be done ahead of time.
    let (uid, gid) = (spec.uid, spec.gid);
    ops.extend(DEVICES.iter().map(|name| Op::Open { path: format!("/dev/{name}"), handle: Handle::Device }));
    ops.extend([
        Op::FilesAs { uid, gid },
        Op::Loopback,
        Op::Base { bytes: BASE_BYTES, inodes: BASE_INODES },
        Op::Directory { at: "dev".to_owned(), mode: 0o755 },
        Op::Directory { at: "proc".to_owned(), mode: 0o755 },
    ]);
    ops.extend(devices().into_iter().map(on_base));
    ops.extend(masks::operations(spec.limits.cpus, &spec.hostname).into_iter().map(on_base));
    ops.push(Op::FilesAsLauncher { uid, gid });
    if host.time_namespace {
        ops.push(Op::ZeroClocks);
    }
    ops.extend(layout.opens());
    ops.extend([
        Op::Become { uid, gid, clear_groups: host.is_another_user() },
        Op::NewKeyring,
        Op::Hostname { name: spec.hostname.clone(), domain: DOMAIN.to_owned() },
        Op::PrivateMounts,
    ]);
    ops.extend(layout.root());
    ops.extend(["dev", "proc"].map(|name| Op::Move { from: name.to_owned(), at: format!("/{name}") }));
    ops.extend(layout.mounts());
    ops.extend([Op::Pivot, Op::DropPrivileges]);
    ops.push(Op::Start { probe: spec.probe.as_ref().map(probe) });
    ops.extend(payload(spec, host)?);
    Ok(ops)
}

/// How many operations at the beginning of a list can be done ahead of time, for a spec that is not known yet.
pub(crate) fn ahead_of_time(ops: &[Op]) -> usize {
    ops.iter().position(|op| matches!(op, Op::FilesAsLauncher { .. })).unwrap_or(0)
}

/// The same operation on the base, where there is no root yet.
fn on_base(mut op: Op) -> Op {
    match &mut op {
        Op::Directory { at, .. }
        | Op::File { at, .. }
        | Op::Symlink { at, .. }
        | Op::Overlay { at, .. }
        | Op::Tmpfs { at, .. }
        | Op::Bind { at, .. }
        | Op::Proc { at }
        | Op::Terminals { at }
        | Op::ReadOnly { at } => *at = at.trim_start_matches('/').to_owned(),
        _ => {}
    }
    op
}

/// A new `/dev`.
fn devices() -> Vec<Op> {
    let mut ops = vec![Op::Tmpfs {
        at: "/dev".to_owned(),
        bytes: DEVICE_DIRECTORY_BYTES,
        inodes: DEVICE_DIRECTORY_INODES,
        mode: 0o755,
    }];
    for name in DEVICES {
        ops.push(Op::File { at: format!("/dev/{name}"), mode: 0o666, content: String::new() });
    }
    for directory in ["pts", "shm"] {
        ops.push(Op::Directory { at: format!("/dev/{directory}"), mode: 0o755 });
    }
    for (name, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        ops.push(Op::Symlink { at: format!("/dev/{name}"), to: to.to_owned() });
    }
    ops.push(Op::ReadOnly { at: "/dev".to_owned() });
    for name in DEVICES {
        let path = format!("/dev/{name}");
        // Read-only keeps the host's file from getting another time; the device behind it takes bytes all the same.
        ops.push(Op::Bind { from: path.clone(), at: path, writable: false, devices: true, optional: false });
    }
    ops.push(Op::Terminals { at: "/dev/pts".to_owned() });
    ops.push(Op::Tmpfs {
        at: "/dev/shm".to_owned(),
        bytes: SHARED_MEMORY_BYTES,
        inodes: SHARED_MEMORY_INODES,
        mode: 0o1777,
    });
    ops
}

fn probe(probe: &HttpProbe) -> ProbeRequest {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    ProbeRequest {
        port: probe.port,
        path: probe.path.clone(),
        ready_within_ms: milliseconds(probe.ready_within),
        stop_signal: probe.stop_signal,
        stop_within_ms: milliseconds(STOP_WITHIN),
    }
}

/// What the payload's own process does before it is the payload.
fn payload(spec: &Spec, host: &HostFacts) -> Result<Vec<Op>> {
    let limit = |resource, soft, hard| Op::Limit { resource, soft, hard };
    // Process 1 counts as well.
    let processes = spec.limits.pids.saturating_add(1);
    let mut ops = vec![
        Op::NewSession,
        Op::Umask { mask: spec.umask },
        limit(Resource::Core, 0, 0),
        limit(Resource::OpenFiles, spec.limits.open_files, spec.limits.open_files),
        limit(Resource::Processes, processes, processes),
        limit(Resource::Stack, STACK_SOFT, STACK_HARD),
        limit(Resource::Locked, LOCKED_BYTES, LOCKED_BYTES),
        limit(Resource::Queues, QUEUE_BYTES, QUEUE_BYTES),
        limit(Resource::Signals, PENDING_SIGNALS, PENDING_SIGNALS),
        limit(Resource::Nice, 0, 0),
        limit(Resource::RealTime, 0, 0),
    ];
    if !host.cpus.is_empty() {
        ops.push(Op::Affinity { cpus: host.cpus.clone() });
    }
    if spec.fixed_addresses.unwrap_or(spec.kind != Kind::Run) {
        ops.push(Op::FixedAddresses);
    }
    ops.extend(landlock::operation(spec, host)?);
    ops.extend(filter::operations(spec.trace));
    ops.push(Op::Exec {
        argv: spec.argv.clone(),
        env: spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        cwd: mounts::text("cwd", &spec.cwd)?.to_owned(),
    });
    Ok(ops)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::spec as example;
