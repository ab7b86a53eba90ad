//! What the init program holds while it works through the list, and which operation does what.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use anneal_sandbox_op::{Event, Op};

use crate::control::Control;
use crate::mounts::Root;
use crate::reaper;
use crate::steward::Steward;
use crate::syscall::{Fault, Side};
use crate::{enter, landlock, payload, privilege, syscall};

/// Whether this process goes on with the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// With the next operation.
    Continue,
    /// No: its work is done.
    Finish,
}

/// The state of the making.
#[derive(Debug)]
pub(crate) struct World {
    control: Control,
    /// The descriptor that came with the list.
    descriptor: Option<OwnedFd>,
    root: Root,
    /// In the payload: the pipe that tells process 1 that exec failed, and that exec closes.
    warning: Option<File>,
}

impl World {
    /// Nothing made yet.
    pub(crate) fn new(control: Control) -> Self {
        Self { control, descriptor: None, root: Root::default(), warning: None }
    }

    /// The way to the launcher.
    pub(crate) fn control(&mut self) -> &mut Control {
        &mut self.control
    }

    /// Takes the descriptor that came with a list.
    pub(crate) fn take(&mut self, descriptor: Option<OwnedFd>) {
        self.descriptor = descriptor;
    }

    /// Tells process 1 that the payload will not come to exec and that this has been reported.
    pub(crate) fn forewarn(&mut self) {
        if let Some(pipe) = &mut self.warning {
            // A failure to warn means that process 1 is gone, and this process with it.
            let _ = pipe.write_all(&[1]);
        }
    }

    /// Applies one operation.
    pub(crate) fn apply(&mut self, op: &Op) -> Result<Next, Fault> {
        match op {
            Op::DieWithParent => syscall::die_with_parent(),
            Op::JoinGroup { tasks } => enter::join_group(tasks),
            Op::OomScore { adjustment } => std::fs::write("/proc/self/oom_score_adj", adjustment.to_string())
                .map_err(|e| Fault::io("write oom_score_adj", &e)),
            Op::Enter { namespaces, uid, gid, deny_setgroups } => {
                enter::enter(&mut self.control, namespaces, *uid, *gid, *deny_setgroups)
            }
            Op::NewUsers => enter::new_users(),
            Op::JoinUsers => {
                let users =
                    self.descriptor.take().ok_or_else(|| Fault::check("no user namespace came with the list"))?;
                enter::join_users(users.as_fd())
            }
            Op::GiveLog { uid, gid } => enter::give_log(*uid, *gid),
            Op::KeepForFiles => privilege::keep_for_files(),
            Op::Serve => {
                Steward::new(&mut self.control).serve()?;
                return Ok(Next::Finish);
            }
            Op::FilesAs { uid, gid } => privilege::files_as(*uid, *gid),
            Op::FilesAsLauncher { uid, gid } => privilege::files_as_launcher(*uid, *gid),
            Op::Become { uid, gid, clear_groups } => privilege::become_user(*uid, *gid, *clear_groups),
            Op::Hostname { name, domain } => enter::hostname(name, domain),
            Op::Loopback => enter::loopback_up(),
            Op::ZeroClocks => enter::zero_clocks(),
            Op::Umask { mask } => {
                syscall::umask(*mask);
                Ok(())
            }
            Op::Affinity { cpus } => self.or_degraded("processor affinity", payload::affinity(cpus)),
            Op::NewKeyring => self.or_degraded("a session keyring of its own", privilege::new_keyring()),
            Op::FixedAddresses => payload::fixed_addresses(),
            Op::DropPrivileges => privilege::drop_all(),
            Op::NewSession => payload::new_session(),
            Op::Limit { resource, soft, hard } => payload::limit(*resource, *soft, *hard),
            Op::Landlock { abi, read, write, devices, scopes } => {
                landlock::restrict(*abi, read, write, devices, scopes)
            }
            Op::Seccomp { program, .. } => privilege::seccomp(program),
            Op::Witness { program, .. } => self.witness(program),
            Op::Exec { argv, env, cwd } => {
                payload::prepare(cwd)?;
                self.control.send(&Event::Confined(privilege::observe()?))?;
                payload::exec(argv, env)
            }
            Op::Start { probe } => return self.start(probe.as_ref()),
            mount => self.root.apply(mount),
        }?;
        Ok(Next::Continue)
    }

    /// Passes the launcher the descriptor by which it is asked about system calls.
    fn witness(&mut self, program: &[u64]) -> Result<(), Fault> {
        match privilege::witness(program)? {
            Some(listener) => self.control.send_with(&Event::Listening, listener.as_fd()),
            None => {
                let reason = "another program hears of this one's system calls".to_owned();
                self.control.send(&Event::Unheard { reason })
            }
        }
    }

    /// Forks the payload; this process stays as reaper.
    fn start(&mut self, probe: Option<&anneal_sandbox_op::ProbeRequest>) -> Result<Next, Fault> {
        let signals = reaper::watch_children()?;
        let (warned, warning) = enter::pipe()?;
        match syscall::clone(libc::SIGCHLD as u64, "fork")? {
            Side::Child => {
                drop((signals, warned));
                self.warning = Some(warning);
                payload::reset_signals()?;
                Ok(Next::Continue)
            }
            Side::Parent(pid) => {
                drop(warning);
                reaper::Reaper::new(pid, signals).run(&mut self.control, warned, probe)?;
                Ok(Next::Finish)
            }
        }
    }

    /// Goes on without something that only some hosts have, and says so.
    fn or_degraded(&mut self, what: &str, result: Result<(), Fault>) -> Result<(), Fault> {
        match result {
            Ok(()) => Ok(()),
            Err(fault) => {
                let reason = std::io::Error::from_raw_os_error(fault.errno());
                self.control.send(&Event::Degraded { what: format!("{what}: {reason}") })
            }
        }
    }
}

/// Handles of host paths, by path.
pub(crate) type Handles = BTreeMap<String, OwnedFd>;
