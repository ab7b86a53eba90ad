//! What there is of everything that a run makes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// How the groups begin that [`own_groups`] makes.
const GROUP: &str = "nothing-left-";

/// Counts, and names where there are few.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Census {
    processes: usize,
    namespaces: usize,
    mounts: usize,
    groups: BTreeSet<PathBuf>,
    loop_devices: usize,
    files: BTreeSet<PathBuf>,
    descriptors: usize,
}

impl std::fmt::Display for Census {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { processes, namespaces, mounts, groups, loop_devices, files, descriptors } = self;
        write!(
            f,
            "{processes} processes, {namespaces} namespaces, {mounts} mounts, {} control groups, {loop_devices} loop devices, \
             {} files, {descriptors} descriptors",
            groups.len(),
            files.len()
        )
    }
}

impl Census {
    /// Counts what is there now, with everything in a directory.
    pub(crate) fn take(dir: &Path) -> Self {
        let processes: Vec<PathBuf> = entries(Path::new("/proc"))
            .into_iter()
            .filter(|path| name(path).is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())))
            .collect();
        // A namespace lives through a process in it or through a descriptor of it.
        let namespaces: BTreeSet<PathBuf> = processes
            .iter()
            .flat_map(|process| [process.join("ns"), process.join("fd")])
            .flat_map(|links| entries(&links))
            .filter_map(|link| fs::read_link(link).ok())
            .filter(|target| target.to_str().is_some_and(|target| target.contains(":[") && is_namespace(target)))
            .collect();
        let mut files = BTreeSet::new();
        beneath(dir, &mut files);
        let mut groups = BTreeSet::new();
        for group in control_groups() {
            // Only in a group of our own nobody else makes any; this process may have moved to a leaf of it.
            let own = group.ancestors().find(|group| name(group).is_some_and(|name| name.starts_with(GROUP)));
            let Some(group) = own else { continue };
            directories(group, &mut groups);
        }
        Self {
            processes: processes.len(),
            namespaces: namespaces.len(),
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(),
            groups,
            loop_devices: entries(Path::new("/sys/block")).iter().filter(|disk| disk.join("loop").is_dir()).count(),
            files,
            descriptors: entries(Path::new("/proc/self/fd")).len(),
        }
    }
}

fn is_namespace(target: &str) -> bool {
    ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"].iter().any(|kind| target.starts_with(kind))
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// The paths in a directory; none where it can't be read, or is gone meanwhile.
fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn beneath(dir: &Path, found: &mut BTreeSet<PathBuf>) {
    for path in entries(dir) {
        if path.is_dir() && !path.is_symlink() {
            beneath(&path, found);
        }
        found.insert(path);
    }
}

fn directories(dir: &Path, found: &mut BTreeSet<PathBuf>) {
    for path in entries(dir).into_iter().filter(|path| path.is_dir()) {
        directories(&path, found);
        found.insert(path);
    }
}

/// The groups this process is in: one in the hierarchy of version 2, one in each of version 1 that limits something.
fn control_groups() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let mut groups = Vec::new();
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next().unwrap(), before.next().unwrap());
        let kind = after.split(' ').next().unwrap();
        let options = after.rsplit(' ').next().unwrap();
        let controller = match kind {
            "cgroup2" => "",
            "cgroup" => {
                match ["memory", "pids"].into_iter().find(|name| options.split(',').any(|option| option == *name)) {
                    Some(controller) => controller,
                    None => continue,
                }
            }
            _ => continue,
        };
        let path = own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (names, path) = (parts.next()?, parts.next()?);
            names.split(',').any(|name| name == controller).then_some(path)
        });
        let Some(path) = path else { continue };
        let beneath = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
        let group = Path::new(point).join(beneath);
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

/// New groups beneath those of this process, where it may make some.
pub(crate) fn own_groups() -> Vec<PathBuf> {
    let mut made = Vec::new();
    for parent in control_groups() {
        // Version 2 hands controllers on only when told to, and only from a group without processes or the root.
        let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory +pids");
        let group = parent.join(format!("{GROUP}{}", std::process::id()));
        if fs::create_dir(&group).is_ok() {
            made.push(group);
        }
    }
    made
}

/// Removes a group with all that are beneath it, and names those.
pub(crate) fn remove_groups(group: &Path) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    directories(group, &mut found);
    for path in found.iter().rev().map(PathBuf::as_path).chain([group]) {
        // What can't be removed has been named, and the test fails.
        let _ = fs::remove_dir(path);
    }
    found.into_iter().collect()
}
