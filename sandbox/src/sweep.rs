//! Removes what a run leaves: its directories after a good end, and everything else after a killed launcher.
//!
//! A launcher that dies takes its sandboxes with it, and their mounts are private to them. What can stay are
//! control groups and the directories that the caller made for outputs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

use crate::{Error, Result, cgroup, remove_tree};

/// What a sweep has removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Control groups of launchers that are gone.
    pub groups: usize,
    /// Mounts beneath the directory.
    pub mounts: usize,
    /// Entries of the directory.
    pub entries: usize,
}

/// Removes what a killed launcher left: its control groups with anything still alive in them, every mount beneath `dir`,
/// and everything in `dir`, which must hold nothing but directories of runs. To be called before the first run.
pub fn sweep(dir: &Path) -> Result<Swept> {
    let failed = |path: &Path, source: io::Error| Error::Sweep { path: path.to_path_buf(), source };
    let groups = sweep_groups()?;
    let mut swept = Swept { groups, ..Swept::default() };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(swept),
        other => other.map_err(|error| failed(dir, error))?,
    };
    let whole = dir.canonicalize().map_err(|error| failed(dir, error))?;
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(|error| failed(dir, error))?;
    for point in mounts_beneath(&table, &whole) {
        umount2(&point, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
            .map_err(|errno| failed(&point, errno.into()))?;
        swept.mounts += 1;
    }
    for entry in entries {
        remove_tree(&entry.map_err(|error| failed(dir, error))?.path())?;
        swept.entries += 1;
    }
    Ok(swept)
}

/// Removes control groups of launchers that are gone, with anything still alive in them; says how many.
pub fn sweep_groups() -> Result<usize> {
    cgroup::sweep().map_err(|(path, source)| Error::Sweep { path, source })
}

/// Mount points strictly beneath a directory, the last mounted first.
fn mounts_beneath(table: &str, dir: &Path) -> Vec<PathBuf> {
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| PathBuf::from(unescape(point)));
    let mut beneath: Vec<PathBuf> = points.filter(|point| point.starts_with(dir) && point != dir).collect();
    beneath.reverse();
    beneath
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_beneath_the_directory_are_taken_and_inner_ones_first() {
        let table = "1 0 8:1 / / rw - ext4 a rw\n2 1 0:5 / /s/run\\040s/a rw - tmpfs a rw\n\
                     3 2 0:6 / /s/run\\040s/a/b rw - tmpfs a rw\n4 1 0:7 / /s/run\\040s rw - tmpfs a rw\n\
                     5 1 0:7 / /s/other rw - tmpfs a rw\n";
        let found = mounts_beneath(table, Path::new("/s/run s"));
        assert_eq!(found, [PathBuf::from("/s/run s/a/b"), PathBuf::from("/s/run s/a")]);
    }
}
