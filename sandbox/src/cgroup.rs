//! One control group per run: memory, processes and (in version 2) processor time of a payload together.
//!
//! Version 2 is used where the caller may enable its memory and pids controllers: in the root group, or in a
//! group delegated to it (systemd's `Delegate=yes`), from which it moves itself to a leaf first, since a group with
//! processes can't hand out controllers. Otherwise version 1, where its memory and pids hierarchies are mounted and
//! writable. Otherwise there is no group, and the result of each run says what is not enforced. The number of
//! processes is also a limit of the payload's user, which needs no group.
//!
//! A group is named `anneal-<pid>-<start of that process>-<process namespace>-<number>`, so that a later start can
//! tell what a killed launcher has left. Groups of launchers in another process namespace are left alone, since from
//! here nobody can see whether they live.

mod hierarchy;

use std::fs;
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hierarchy::Hierarchy;

use crate::{CgroupKind, Limits};

/// How every group begins.
const PREFIX: &str = "anneal-";
/// Process 1 and, for a moment, its maker count as well.
const OWN_PROCESSES: u64 = 2;
/// Microseconds over which the time of processors is counted.
const PROCESSOR_PERIOD: u64 = 100_000;
/// A group is busy until its last process has left, which on a host with more to do than it can takes a while.
const REMOVE_ATTEMPTS: u32 = 1000;
const REMOVE_PAUSE: Duration = Duration::from_millis(2);

/// The groups of one run, in one hierarchy or two.
#[derive(Debug, Default)]
pub(crate) struct Group {
    dirs: Vec<PathBuf>,
    oom: Option<fs::File>,
    /// What is not enforced, and why.
    pub(crate) missing: Vec<String>,
    /// Whether the number of processes is limited by a group.
    pub(crate) limits_pids: bool,
    /// Which groups there are.
    pub(crate) kind: CgroupKind,
}

impl Group {
    /// Makes the groups for one run, as far as this host allows.
    pub(crate) fn create(limits: &Limits) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}{}", own_prefix(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut group = Self::default();
        match hierarchy::find() {
            Hierarchy::None { reason } => group.missing.push(format!("memory: {reason}")),
            Hierarchy::Two { parent } => {
                group.kind = CgroupKind::V2;
                if let Err(error) = group.fill_two(&parent.join(&name), limits) {
                    group.missing.push(format!("memory: cannot make a control group in {}: {error}", parent.display()));
                }
            }
            Hierarchy::One { memory, pids } => {
                group.kind = CgroupKind::V1;
                match memory {
                    Some(parent) => {
                        if let Err(error) = group.fill_one(&parent.join(&name), limits) {
                            let parent = parent.display();
                            group.missing.push(format!("memory: cannot make a control group in {parent}: {error}"));
                        }
                    }
                    None => {
                        group.missing.push("memory: no memory hierarchy where this user may make groups".to_owned())
                    }
                }
                if let Some(parent) = pids {
                    group.limits_pids = group.fill_pids(&parent.join(&name), limits).is_ok();
                }
            }
        }
        if group.dirs.is_empty() {
            group.kind = CgroupKind::None;
        }
        group
    }

    fn make(&mut self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir)?;
        self.dirs.push(dir.to_path_buf());
        Ok(())
    }

    fn fill_two(&mut self, dir: &Path, limits: &Limits) -> io::Result<()> {
        self.make(dir)?;
        fs::write(dir.join("memory.max"), limits.memory_bytes.to_string())?;
        fs::write(dir.join("memory.oom.group"), "1")?;
        // Missing where the kernel has no swap.
        let _ = fs::write(dir.join("memory.swap.max"), "0");
        fs::write(dir.join("pids.max"), limits.pids.saturating_add(OWN_PROCESSES).to_string())?;
        // Missing where the controller is not handed out.
        let time = u64::from(limits.cpus).saturating_mul(PROCESSOR_PERIOD);
        let _ = fs::write(dir.join("cpu.max"), format!("{time} {PROCESSOR_PERIOD}"));
        self.limits_pids = true;
        self.oom = Some(fs::File::open(dir.join("memory.events"))?);
        Ok(())
    }

    fn fill_one(&mut self, dir: &Path, limits: &Limits) -> io::Result<()> {
        self.make(dir)?;
        fs::write(dir.join("memory.limit_in_bytes"), limits.memory_bytes.to_string())?;
        // Missing where the kernel does not account for swap.
        let _ = fs::write(dir.join("memory.memsw.limit_in_bytes"), limits.memory_bytes.to_string());
        // What waits in TCP's buffers is counted apart from the rest here.
        if let Err(error) = fs::write(dir.join("memory.kmem.tcp.limit_in_bytes"), limits.memory_bytes.to_string()) {
            self.missing.push(format!("memory: what waits in buffers of TCP is not counted: {error}"));
        }
        self.oom = Some(fs::File::open(dir.join("memory.oom_control"))?);
        Ok(())
    }

    fn fill_pids(&mut self, dir: &Path, limits: &Limits) -> io::Result<()> {
        self.make(dir)?;
        fs::write(dir.join("pids.max"), limits.pids.saturating_add(OWN_PROCESSES).to_string())
    }

    /// The lists of tasks, of version 1, that the run's first process enters itself in before it does anything else.
    /// A task that moves itself need not stop all forks of the machine, as moving another process does: that takes
    /// several milliseconds.
    pub(crate) fn entrances(&self) -> Vec<PathBuf> {
        self.dirs.iter().filter(|_| self.kind == CgroupKind::V1).map(|dir| dir.join("tasks")).collect()
    }

    /// Moves a process into a group of version 2; what it forks is born in.
    pub(crate) fn add(&self, pid: u32) -> io::Result<()> {
        self.dirs
            .iter()
            .filter(|_| self.kind == CgroupKind::V2)
            .try_for_each(|dir| fs::write(dir.join("cgroup.procs"), pid.to_string()))
    }

    /// Whether the kernel has killed something in it for want of memory.
    pub(crate) fn out_of_memory(&mut self) -> bool {
        let Some(file) = &mut self.oom else { return false };
        let mut text = String::new();
        if file.rewind().and_then(|()| file.read_to_string(&mut text)).is_err() {
            return false;
        }
        text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for dir in &self.dirs {
            if let Err(error) = remove(dir) {
                tracing::warn!(group = %dir.display(), %error, "a control group stays behind until the next sweep");
            }
        }
    }
}

/// Finds out which groups can be made, and makes this process's own ready for it; once, so that it costs the first run.
pub(crate) fn settle() {
    hierarchy::find();
}

/// Removes an empty group, waiting a moment where its last process is still leaving.
fn remove(dir: &Path) -> io::Result<()> {
    for _ in 1..REMOVE_ATTEMPTS {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(REMOVE_PAUSE),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => return other,
        }
    }
    fs::remove_dir(dir)
}

/// What the names of this process's groups begin with.
fn own_prefix() -> String {
    let pid = std::process::id();
    format!("{PREFIX}{pid}-{}-{}-", start_of(pid).unwrap_or(0), process_namespace())
}

/// The number of the process namespace that this process sees; 0 where `/proc` does not say.
fn process_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino())
}

/// When a process started, in ticks since boot; tells two processes with the same id apart.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces; the start is the 20th field after it.
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// Whether the launcher that made a group is still there.
fn is_owned(name: &str) -> bool {
    let mut parts = name.trim_start_matches(PREFIX).split('-');
    let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
    match (number(), number(), number()) {
        (Some(pid), Some(start), Some(namespace)) if namespace == process_namespace() => {
            u32::try_from(pid).ok().and_then(start_of) == Some(start)
        }
        // Not a group of ours, or one whose launcher is out of sight: leave it alone.
        _ => true,
    }
}

/// Kills and removes the groups of launchers that are gone. Says which could not be removed.
pub(crate) fn sweep() -> Result<usize, (PathBuf, io::Error)> {
    let mut removed = 0;
    let own = nix::unistd::geteuid().as_raw();
    for parent in hierarchy::everywhere() {
        let Ok(entries) = fs::read_dir(&parent) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            // What another user's launcher has left is that user's to remove.
            if is_owned(name) || entry.metadata().map_or(true, |found| found.uid() != own) {
                continue;
            }
            let dir = entry.path();
            kill_all(&dir);
            remove(&dir).map_err(|error| (dir, error))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Kills whatever is left in a group.
fn kill_all(dir: &Path) {
    if fs::write(dir.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let processes = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 1) {
        // Gone already is as well.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_belongs_to_the_process_whose_id_and_start_it_names() {
        let own = format!("{}7", own_prefix());
        assert!(is_owned(&own));
        let pid = std::process::id();
        let namespace = process_namespace();
        assert!(!is_owned(&format!("{PREFIX}{pid}-1-{namespace}-7")), "the same id, but another start");
        assert!(is_owned(&format!("{PREFIX}{pid}-1-{}-7", namespace + 1)), "a launcher that can't be seen may live");
        assert!(is_owned("anneal-main"), "what is not named as ours is left alone");
    }
}
