//! What a store stands on: a trial of the file system, made before anything of a store is.
//!
//! A store needs files that can be linked, renamed over one another, given a mode and a time, synced with their
//! directory, and locked. FAT, some network file systems and some shared folders of virtual machines lack one of these;
//! there a store would lose data, or fail when it is too late to choose another place.

use crate::{
    Error, Result,
    layout::remove_tree,
    tree::{FILE_MODE, MTIME_SECS},
};
use rustix::fs::{FlockOperation, flock};
use std::{
    ffi::OsStr,
    fs::{self, File, FileTimes, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    time::{Duration, SystemTime},
};

/// Says whether something has the effect that it should have.
type Trial = fn(&Path) -> io::Result<bool>;

/// What is tried, in order, each with the words of the error.
const TRIALS: &[(&str, Trial)] = &[
    ("files that can be written and read", writes),
    ("hard links", links),
    ("a rename that replaces a file", renames),
    ("modes of files", modes),
    ("times of files", times),
    ("symbolic links", symlinks),
    ("names that differ in case", cases),
    ("a sync of files and directories", syncs),
    ("locks", locks),
];

/// How a directory in which something is tried is called, before the number of the process that tries.
const TRIAL: &str = "anneal-trial.";

/// Whether an entry is what a trial that was stopped has left.
pub(crate) fn is_trial(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(TRIAL.as_bytes())
}

/// Tries a directory's file system; leaves nothing behind.
pub(crate) fn try_out(dir: &Path) -> Result<()> {
    let place = dir.join(format!("{TRIAL}{}", std::process::id()));
    remove_tree(&place)?;
    fs::create_dir(&place).map_err(Error::io("create directory", &place))?;
    let lacks = TRIALS.iter().find_map(|(what, trial)| match trial(&place) {
        Ok(true) => None,
        Ok(false) => {
            Some(Error::Footing { dir: dir.to_owned(), lacks: what, source: io::Error::other("it has no effect") })
        }
        Err(e) if is_full(&e) => Some(Error::io("write", &place)(e)),
        Err(source) => Some(Error::Footing { dir: dir.to_owned(), lacks: what, source }),
    });
    remove_tree(&place)?;
    lacks.map_or(Ok(()), Err)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn writes(dir: &Path) -> io::Result<bool> {
    let path = dir.join("file");
    fs::write(&path, "text")?;
    Ok(fs::read(&path)? == b"text")
}

fn links(dir: &Path) -> io::Result<bool> {
    let (one, other) = (dir.join("one"), dir.join("other"));
    fs::write(&one, "one")?;
    fs::hard_link(&one, &other)?;
    let (one, other) = (fs::metadata(&one)?, fs::metadata(&other)?);
    Ok(one.ino() == other.ino() && other.nlink() == 2)
}

fn renames(dir: &Path) -> io::Result<bool> {
    let (new, old) = (dir.join("new"), dir.join("old"));
    fs::write(&old, "old")?;
    fs::write(&new, "new")?;
    fs::rename(&new, &old)?;
    Ok(fs::read(&old)? == b"new" && !new.exists())
}

fn modes(dir: &Path) -> io::Result<bool> {
    let path = dir.join("mode");
    fs::write(&path, "")?;
    let mut kept = true;
    for mode in [0o755, 0o400, FILE_MODE] {
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        kept &= fs::metadata(&path)?.permissions().mode() & 0o7777 == mode;
    }
    Ok(kept)
}

fn times(dir: &Path) -> io::Result<bool> {
    let file = File::create(dir.join("time"))?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(MTIME_SECS);
    file.set_times(FileTimes::new().set_modified(time))?;
    Ok(file.metadata()?.mtime() == MTIME_SECS as i64)
}

fn symlinks(dir: &Path) -> io::Result<bool> {
    let path = dir.join("link");
    std::os::unix::fs::symlink("../nowhere", &path)?;
    Ok(fs::read_link(&path)? == Path::new("../nowhere"))
}

fn cases(dir: &Path) -> io::Result<bool> {
    fs::write(dir.join("case"), "lower")?;
    fs::write(dir.join("CASE"), "upper")?;
    Ok(fs::read(dir.join("case"))? == b"lower")
}

fn syncs(dir: &Path) -> io::Result<bool> {
    File::open(dir.join("case"))?.sync_all()?;
    File::open(dir)?.sync_all()?;
    Ok(true)
}

fn locks(dir: &Path) -> io::Result<bool> {
    let path = dir.join("lock");
    let (one, other) = (File::create(&path)?, File::create(&path)?);
    flock(&one, FlockOperation::NonBlockingLockExclusive)?;
    Ok(flock(&other, FlockOperation::NonBlockingLockExclusive).is_err())
}
