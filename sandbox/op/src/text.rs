//! Operations as text, one a line: what the golden files hold and what an error quotes.

use std::fmt;

use crate::{Handle, IdMap, Namespace, Op, ProbeRequest, Resource, Scope};

/// A whole list, one operation a line.
pub fn listing(ops: &[Op]) -> String {
    ops.iter().map(|op| format!("{op}\n")).collect()
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Mount => "mount",
            Self::Pid => "pid",
            Self::Network => "network",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
        })
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (host {})", self.inside, self.outside)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "directory",
            Self::File => "file",
            Self::Device => "device",
        })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Core => "core",
            Self::OpenFiles => "open-files",
            Self::Processes => "processes",
            Self::Stack => "stack",
            Self::Locked => "locked",
            Self::Queues => "queues",
            Self::Signals => "signals",
            Self::Nice => "nice",
            Self::RealTime => "real-time",
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AbstractSockets => "abstract-sockets",
            Self::Signals => "signals",
        })
    }
}

impl fmt::Display for ProbeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, path, ready_within_ms, stop_signal, stop_within_ms } = self;
        write!(
            f,
            "GET {path:?} at port {port} within {ready_within_ms} ms, then signal {stop_signal} and {stop_within_ms} ms"
        )
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DieWithParent => f.write_str("die-with-parent"),
            Self::JoinGroup { tasks } => write!(f, "join-group {tasks:?}"),
            Self::OomScore { adjustment } => write!(f, "oom-score {adjustment}"),
            Self::NewUsers => f.write_str("new-users"),
            Self::JoinUsers => f.write_str("join-users"),
            Self::GiveLog { uid, gid } => write!(f, "give-log host {uid}:{gid}"),
            Self::KeepForFiles => f.write_str("keep-for-files"),
            Self::Serve => f.write_str("serve"),
            Self::Enter { namespaces, uid, gid, deny_setgroups } => {
                let names: Vec<String> = namespaces.iter().map(ToString::to_string).collect();
                let groups = if *deny_setgroups { " deny-setgroups" } else { "" };
                write!(f, "enter {} uid {uid} gid {gid}{groups}", names.join(","))
            }
            Self::Open { path, handle } => write!(f, "open {handle} {path:?}"),
            Self::FilesAs { uid, gid } => write!(f, "files-as {uid}:{gid}"),
            Self::FilesAsLauncher { uid, gid } => write!(f, "files-as-launcher, really {uid}:{gid}"),
            Self::Become { uid, gid, clear_groups } => {
                write!(f, "become {uid}:{gid}{}", if *clear_groups { " clear-groups" } else { "" })
            }
            Self::Hostname { name, domain } => write!(f, "hostname {name:?} domain {domain:?}"),
            Self::Loopback => f.write_str("loopback up"),
            Self::Umask { mask } => write!(f, "umask {mask:04o}"),
            Self::ZeroClocks => f.write_str("zero-clocks"),
            Self::Affinity { cpus } => write!(f, "affinity {} cpus {cpus:?}", cpus.len()),
            Self::FixedAddresses => f.write_str("fixed-addresses"),
            Self::NewKeyring => f.write_str("new-keyring"),
            Self::DropPrivileges => f.write_str("drop-privileges"),
            Self::Start { probe: None } => f.write_str("start"),
            Self::Start { probe: Some(probe) } => write!(f, "start probe {probe}"),
            Self::NewSession => f.write_str("new-session"),
            Self::Limit { resource, soft, hard } => write!(f, "limit {resource} {soft} {hard}"),
            Self::Landlock { abi, read, write, devices, scopes } => {
                write!(f, "landlock version {abi} read {read:?} write {write:?} devices {devices:?}")?;
                let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
                if scopes.is_empty() { Ok(()) } else { write!(f, " scopes {}", scopes.join(",")) }
            }
            Self::Seccomp { summary, .. } => write!(f, "seccomp {summary}"),
            Self::Witness { summary, .. } => write!(f, "witness {summary}"),
            Self::Exec { argv, env, cwd } => write!(f, "exec {argv:?} in {cwd:?} env {env:?}"),
            mount => mount_text(mount, f),
        }
    }
}

/// The operations that build the root.
fn mount_text(op: &Op, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match op {
        Op::PrivateMounts => f.write_str("private-mounts"),
        Op::Base { bytes, inodes } => write!(f, "base {bytes} bytes {inodes} inodes"),
        Op::Directory { at, mode } => write!(f, "directory {at:?} {mode:04o}"),
        Op::File { at, mode, content } => write!(f, "file {at:?} {mode:04o} {content:?}"),
        Op::Symlink { at, to } => write!(f, "symlink {at:?} -> {to:?}"),
        Op::Overlay { at, lower, points, upper } => {
            write!(f, "overlay {at:?} lower {lower:?}")?;
            if let Some(points) = points {
                write!(f, " points {points:?}")?;
            }
            if let Some(upper) = upper {
                write!(f, " upper {upper:?}")?;
            }
            Ok(())
        }
        Op::Tmpfs { at, bytes, inodes, mode } => write!(f, "tmpfs {at:?} {bytes} bytes {inodes} inodes {mode:04o}"),
        Op::Bind { from, at, writable, devices, optional } => {
            write!(f, "bind {from:?} at {at:?}")?;
            f.write_str(if *writable { " writable" } else { " read-only" })?;
            f.write_str(if *devices { " devices" } else { "" })?;
            f.write_str(if *optional { " if-there" } else { "" })
        }
        Op::Copy { from, at, bytes, inodes, reversed, writable } => {
            write!(f, "copy {from:?} to {at:?} {bytes} bytes {inodes} inodes")?;
            f.write_str(if *reversed { " reversed" } else { "" })?;
            f.write_str(if *writable { " writable" } else { " read-only" })
        }
        Op::Same { path, device, inode } => write!(f, "same {path:?} device {device} inode {inode}"),
        Op::Move { from, at } => write!(f, "move {from:?} to {at:?}"),
        Op::Proc { at } => write!(f, "proc {at:?}"),
        Op::Terminals { at } => write!(f, "terminals {at:?}"),
        Op::ReadOnly { at } => write!(f, "read-only {at:?}"),
        Op::Pivot => f.write_str("pivot"),
        other => write!(f, "{other:?}"),
    }
}
