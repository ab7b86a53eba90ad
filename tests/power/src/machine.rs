//! File systems on disks that are files, and how nothing of them stays behind.
//!
//! A test that mounts runs itself once more in a mount namespace of its own. When its last process ends, however it ends,
//! the kernel unmounts what was mounted there; loop devices are set to go with their mounts, and a FUSE file system goes
//! with its server. Only the directory beneath them can stay; the next run removes those whose process is gone.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Says to a test that it is the one inside.
const ALONE: &str = "ANNEAL_POWER_ALONE";
/// How directories of these tests begin; the process follows.
const PREFIX: &str = "anneal-power.";

/// A file system that a store may stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4, its metadata in a journal.
    Ext4,
    /// XFS, a log that replays what was done.
    Xfs,
    /// btrfs, copy on write, with a log tree for fsync.
    Btrfs,
}

impl FileSystem {
    /// The kernel's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// How large a disk it needs here; XFS is not made smaller than 300 MiB.
    pub const fn disk_bytes(self) -> usize {
        match self {
            Self::Ext4 => 128 << 20,
            Self::Xfs => 304 << 20,
            Self::Btrfs => 192 << 20,
        }
    }

    /// What its disk writes at once or not at all. btrfs does not survive a torn superblock, so its disk has large sectors.
    pub const fn sector_bytes(self) -> usize {
        match self {
            Self::Ext4 | Self::Xfs => 512,
            Self::Btrfs => 4096,
        }
    }

    /// How it is made, whole at once and without trying to discard.
    const fn make(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Ext4 => {
                ("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"])
            }
            Self::Xfs => ("mkfs.xfs", &["-q", "-f", "-K"]),
            Self::Btrfs => ("mkfs.btrfs", &["-q", "-f", "-K", "-m", "single", "-d", "single"]),
        }
    }

    /// Makes one on a disk.
    pub fn format(self, disk: &Path) -> io::Result<()> {
        let (program, arguments) = self.make();
        run(Command::new(program).args(arguments).arg(disk))
    }

    /// Whether the kernel has it and there is a program to make it; the reason why not.
    fn missing(self) -> Option<String> {
        let is_known = || {
            let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
            known.lines().any(|line| line.trim() == self.name())
        };
        // it may be a module that nobody has needed yet
        if !is_known() && (Command::new("modprobe").arg(self.name()).output().is_err() || !is_known()) {
            return Some(format!("the kernel has no {}", self.name()));
        }
        let (program, _) = self.make();
        let is_there = Command::new(program).arg("-V").output().is_ok();
        (!is_there).then(|| format!("no {program}"))
    }
}

/// Why power can't be cut on this machine; `None` where it can.
pub fn missing(file_system: FileSystem) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("no root, who alone may mount".to_owned());
    }
    if fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() {
        return Some("no /dev/fuse".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("no loop devices".to_owned());
    }
    let namespace = Command::new("unshare").args(["--mount", "true"]).output();
    if !namespace.is_ok_and(|output| output.status.success()) {
        return Some("no mount namespaces".to_owned());
    }
    file_system.missing()
}

/// Whether this process has a mount namespace of its own.
pub fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

/// Runs one test of this program again in a mount namespace of its own; says whether it passed.
pub fn run_alone(test: &str) -> bool {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ALONE, "1");
    command.status().is_ok_and(|status| status.success())
}

/// A directory in memory if there is one, else among temporary files; those of runs that were killed are removed.
pub fn ram_dir(name: &str) -> tempfile::TempDir {
    let shared = Path::new("/dev/shm");
    let parent = if fs::metadata(shared).is_ok_and(|m| m.is_dir()) { shared.to_owned() } else { std::env::temp_dir() };
    for entry in fs::read_dir(&parent).into_iter().flatten().flatten() {
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let process = file_name.strip_prefix(PREFIX).and_then(|rest| rest.split('.').next());
        if process.is_some_and(|id| id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let prefix = format!("{PREFIX}{}.{name}.", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).unwrap()
}

/// A disk's file system, mounted until this is dropped.
#[derive(Debug)]
pub struct Mounted {
    dir: PathBuf,
    is_mounted: bool,
}

impl Mounted {
    /// Mounts a disk; its journal is replayed where there is something in it.
    pub fn new(file_system: FileSystem, disk: &Path, dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        run(Command::new("mount").args(["-t", file_system.name(), "-o", "loop"]).arg(disk).arg(dir))?;
        Ok(Self { dir: dir.to_owned(), is_mounted: true })
    }

    /// The same as a machine does it that boots after a power cut. A disk writes sectors whole and ext4's superblock has
    /// two of them, so one may be torn; then it is checked first, which takes the superblock from its copies. Says
    /// whether that was needed.
    pub fn at_boot(file_system: FileSystem, disk: &Path, dir: &Path) -> io::Result<(Self, bool)> {
        let refused = match Self::new(file_system, disk, dir) {
            Ok(mounted) => return Ok((mounted, false)),
            Err(refused) => refused,
        };
        if file_system != FileSystem::Ext4 {
            return Err(refused);
        }
        let status = Command::new("e2fsck").args(["-f", "-y"]).arg(disk).output()?.status;
        // 1: errors were corrected; 2: the same, and a machine that runs from this disk should boot again
        if status.code().is_none_or(|code| code > 2) {
            return Err(io::Error::other(format!("{refused}; and e2fsck ended with {status}")));
        }
        Ok((Self::new(file_system, disk, dir)?, true))
    }

    /// Unmounts it.
    pub fn unmount(mut self) -> io::Result<()> {
        self.is_mounted = false;
        run(Command::new("umount").arg(&self.dir))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_mounted {
            // lazily: what still holds it is about to end as well
            let _ = run(Command::new("umount").arg("--lazy").arg(&self.dir));
        }
    }
}

/// Gives this mount namespace another boot, as there is after a power cut: a store drops what it made in an earlier one.
pub fn boot_again(dir: &Path) -> io::Result<()> {
    let id = dir.join("boot_id");
    fs::write(&id, "00000000-0000-4000-8000-000000000002\n")?;
    run(Command::new("mount").arg("--bind").arg(id).arg("/proc/sys/kernel/random/boot_id"))
}

fn run(command: &mut Command) -> io::Result<()> {
    let Output { status, stderr, stdout } = command.output()?;
    if status.success() {
        return Ok(());
    }
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()).join(" ");
    Err(io::Error::other(format!("{command:?}: {said} ({status})")))
}
