//! Which control groups this process may make, found once.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The leaf that this process moves to, so that its own group can hand out controllers.
const LEAF: &str = "anneal-main";
const CONTROLLERS: &str = "+memory +pids";
/// Handed out where it is to be had; not every delegation has it.
const PROCESSOR: &str = "+cpu";

/// Where groups can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hierarchy {
    /// Version 2, beneath this group.
    Two {
        parent: PathBuf,
    },
    /// Version 1, beneath these groups.
    One {
        memory: Option<PathBuf>,
        pids: Option<PathBuf>,
    },
    None {
        reason: String,
    },
}

impl Hierarchy {
    /// Every group that may hold some of ours.
    pub(super) fn parents(self) -> Vec<PathBuf> {
        match self {
            Self::Two { parent } => vec![parent],
            Self::One { memory, pids } => memory.into_iter().chain(pids).collect(),
            Self::None { .. } => Vec::new(),
        }
    }
}

/// How many groups are looked through for some of ours; a host with more than that has its own way to clean up.
const LOOKED_AT: usize = 20_000;

/// Every group of the mounted hierarchies that may hold some of ours: a launcher that was killed need not have been in
/// the same group as this one.
pub(super) fn everywhere() -> BTreeSet<PathBuf> {
    let mounts = mounted(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    let is_used = |mount: &&Mounted| {
        mount.version == 2 || mount.options.split(',').any(|option| matches!(option, "memory" | "pids"))
    };
    let mut waiting: VecDeque<PathBuf> = mounts.iter().filter(is_used).map(|mount| mount.point.clone()).collect();
    let (mut found, mut looked_at) = (BTreeSet::from_iter(find().parents()), 0);
    while let Some(group) = waiting.pop_front() {
        found.insert(group.clone());
        for entry in fs::read_dir(&group).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            looked_at += 1;
            // A group without groups in it has two links: its name and itself.
            if entry.metadata().is_ok_and(|group| group.nlink() > 2) {
                waiting.push_back(entry.path());
            }
        }
        if looked_at > LOOKED_AT {
            break;
        }
    }
    found
}

/// A mounted control group file system.
#[derive(Debug, PartialEq, Eq)]
struct Mounted {
    version: u8,
    /// What part of the hierarchy is mounted.
    root: String,
    point: PathBuf,
    /// Options of the file system, with the controllers of version 1.
    options: String,
}

/// Finds out, once for the life of this process.
pub(super) fn find() -> Hierarchy {
    static FOUND: OnceLock<Hierarchy> = OnceLock::new();
    FOUND.get_or_init(look).clone()
}

fn look() -> Hierarchy {
    let mounts = mounted(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut reason = "no control group file system is mounted".to_owned();
    if let Some(mount) = mounts.iter().find(|mount| mount.version == 2) {
        match version_two(&place(mount, own_path(&own, "").unwrap_or("/"))) {
            Ok(parent) => return Hierarchy::Two { parent },
            Err(why) => reason = why,
        }
    }
    let parent = |controller: &str| {
        let mount =
            mounts.iter().find(|m| m.version == 1 && m.options.split(',').any(|option| option == controller))?;
        let dir = place(mount, own_path(&own, controller)?);
        let dir = if dir.is_dir() { dir } else { mount.point.clone() };
        writable(&dir).then_some(dir)
    };
    match (parent("memory"), parent("pids")) {
        (None, None) => Hierarchy::None { reason },
        (memory, pids) => Hierarchy::One { memory, pids },
    }
}

/// Whether this process may make a directory there.
fn writable(dir: &Path) -> bool {
    nix::unistd::access(dir, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK).is_ok()
}

/// Makes version 2 ready to hand out memory and pids, or says why it can't be.
fn version_two(own: &Path) -> Result<PathBuf, String> {
    if let Some(above) = own.parent().filter(|_| own.ends_with(LEAF))
        && hands_out(&fs::read_to_string(above.join("cgroup.subtree_control")).unwrap_or_default())
    {
        // A launcher that started this one has moved there before.
        return Ok(above.to_path_buf());
    }
    let controllers = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
    for wanted in ["memory", "pids"] {
        if !controllers.split_whitespace().any(|name| name == wanted) {
            return Err(format!("control group {} has no {wanted} controller", own.display()));
        }
    }
    let told = |what: &str, error: io::Error| {
        format!("{what} in control group {}: {error}; run with Delegate=yes or as root", own.display())
    };
    let enable = || {
        let control = own.join("cgroup.subtree_control");
        fs::write(&control, CONTROLLERS)?;
        // Without it the time of processors is not limited, only which of them are used.
        let _ = fs::write(&control, PROCESSOR);
        Ok(())
    };
    if enable().is_ok() {
        return Ok(own.to_path_buf());
    }
    let leaf = own.join(LEAF);
    if !leaf.is_dir() {
        fs::create_dir(&leaf).map_err(|error| told("cannot make a group", error))?;
    }
    let pid = std::process::id().to_string();
    fs::write(leaf.join("cgroup.procs"), &pid).map_err(|error| told("cannot move", error))?;
    enable().map(|()| own.to_path_buf()).map_err(|error| {
        // Others live in this group too; go back to them.
        let _ = fs::write(own.join("cgroup.procs"), &pid);
        let _ = fs::remove_dir(&leaf);
        told("cannot enable controllers", error)
    })
}

/// Whether a list of controllers has all that are wanted.
fn hands_out(controllers: &str) -> bool {
    ["memory", "pids"].iter().all(|wanted| controllers.split_whitespace().any(|name| name == *wanted))
}

/// The directory of a group.
fn place(mount: &Mounted, group: &str) -> PathBuf {
    let beneath = if mount.root == "/" { group } else { group.strip_prefix(&mount.root).unwrap_or("") };
    mount.point.join(beneath.trim_start_matches('/'))
}

/// This process's group in the hierarchy of a controller; version 2 has the empty name.
fn own_path<'a>(text: &'a str, controller: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        names.split(',').any(|name| name == controller).then_some(path)
    })
}

/// Control group mounts in the kernel's list of mounts.
fn mounted(text: &str) -> Vec<Mounted> {
    text.lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut before = before.split(' ').skip(3);
            let (root, point) = (before.next()?, before.next()?);
            let mut after = after.split(' ');
            let version = match after.next()? {
                "cgroup2" => 2,
                "cgroup" => 1,
                _ => return None,
            };
            let options = after.nth(1).unwrap_or_default().to_owned();
            Some(Mounted { version, root: root.to_owned(), point: PathBuf::from(point), options })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 25 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
31 25 0:27 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate
33 25 0:29 / /proc rw - proc proc rw
";
    const OWN: &str = "5:pids:/a\n4:memory:/b/c\n1:cpu,cpuacct:/\n0::/docker/x/y\n";

    #[test]
    fn control_group_mounts_are_told_from_others() {
        let mounts = mounted(MOUNTS);
        assert_eq!(mounts.iter().map(|m| m.version).collect::<Vec<_>>(), [1, 1, 2]);
        assert_eq!(mounts[1].options, "rw,cpu,cpuacct");
    }

    #[test]
    fn the_own_group_is_found_beneath_the_mounted_part() {
        let mounts = mounted(MOUNTS);
        assert_eq!(place(&mounts[0], own_path(OWN, "memory").unwrap()), Path::new("/sys/fs/cgroup/memory/b/c"));
        assert_eq!(place(&mounts[2], own_path(OWN, "").unwrap()), Path::new("/sys/fs/cgroup/y"));
        assert_eq!(own_path(OWN, "io"), None);
    }
}
