//! Looks at the host paths of a spec before anything starts, and gives output directories to the payload's user.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{fchown, getegid, geteuid, getgroups};

use super::contents;
use crate::{Error, HostFacts, MountSource, Result, Spec, Users};

/// The bits that let others search a directory, read it, read a file.
const OTHERS_SEARCH: u32 = 0o001;
const OTHERS_USE: u32 = 0o005;
const OTHERS_READ: u32 = 0o004;
/// How many symbolic links the kernel follows on one way.
const LINKS: usize = 40;

/// Output directories that belong to the payload's user for a run that may not come to be: with this value they go back to
/// the owners they had.
#[derive(Debug, Default)]
pub(super) struct Given(Vec<Taken>);

/// An output that no other run has meanwhile.
#[derive(Debug)]
struct Taken {
    directory: Flock<File>,
    /// Who had it, where it was given to the payload's user.
    owner: Option<(u32, u32)>,
    /// That user.
    user: u32,
    /// How many files may be in it.
    inodes: u64,
}

impl Given {
    /// The run has been, so they stay as it left them.
    pub(super) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        // The last one first: one that was taken twice had its true owner the first time.
        for Taken { directory, owner, user, inodes } in self.0.iter().rev() {
            let Some((uid, gid)) = *owner else { continue };
            let own = || fchown(directory.as_fd(), Some(uid.into()), Some(gid.into())).map_err(io::Error::from);
            if let Err(error) = contents::take_back(directory, *user, *inodes).and_then(|()| own()) {
                tracing::warn!(%error, "an output directory stays with the user of a run that did not come to be");
            }
        }
    }
}

/// Checks every path and prepares the outputs.
pub(super) fn prepare(spec: &Spec, host: &HostFacts) -> Result<Given> {
    apart(spec)?;
    let mut given = Given::default();
    for (index, path) in spec.root.iter().enumerate() {
        directory(&format!("root[{index}]"), path, host)?;
    }
    for (index, mount) in spec.mounts.iter().enumerate() {
        let field = format!("mounts[{index}].source");
        match &mount.source {
            MountSource::Trees(paths) => {
                for (layer, path) in paths.iter().enumerate() {
                    directory(&format!("{field}[{layer}]"), path, host)?;
                }
            }
            MountSource::File(path) => file(&field, path, host)?,
            MountSource::Output(path) => output(&field, path, host, spec.limits.output_inodes, &mut given)?,
            MountSource::Scratch { .. } => {}
        }
    }
    Ok(given)
}

/// Refuses outputs that lie in one another on the host, or in something that is mounted to be read: what is written to the
/// one would change the other.
fn apart(spec: &Spec) -> Result<()> {
    let found = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let mut outputs: Vec<(String, PathBuf)> = Vec::new();
    let mut others: Vec<(String, PathBuf)> =
        spec.root.iter().enumerate().map(|(index, path)| (format!("root[{index}]"), found(path))).collect();
    for (index, mount) in spec.mounts.iter().enumerate() {
        let field = format!("mounts[{index}].source");
        match &mount.source {
            MountSource::Trees(paths) => {
                others.extend(paths.iter().enumerate().map(|(layer, path)| (format!("{field}[{layer}]"), found(path))));
            }
            MountSource::File(path) => others.push((field, found(path))),
            MountSource::Output(path) => outputs.push((field, found(path))),
            MountSource::Scratch { .. } => {}
        }
    }
    for (at, (field, output)) in outputs.iter().enumerate() {
        let overlapping = outputs
            .iter()
            .skip(at + 1)
            .chain(&others)
            .find(|(_, other)| other.starts_with(output) || output.starts_with(other));
        if let Some((other, place)) = overlapping {
            let found = format!("{}, and {other} is {}", output.display(), place.display());
            let expected = "an output directory that has no other mount's host path in it and is in none";
            return Err(Error::Spec { field: field.clone(), found, expected });
        }
    }
    Ok(())
}

/// Why a run of this spec can't be another user's than the caller's: something it is given is closed to others. The
/// superuser's runs never have its user, so for them that is an error of [`prepare`].
pub(crate) fn closed_to_others(spec: &Spec) -> Option<String> {
    if nix::unistd::geteuid().is_root() {
        return None;
    }
    let trees = spec.root.iter().map(|path| (path, OTHERS_USE));
    let mounted = spec.mounts.iter().flat_map(|mount| match &mount.source {
        MountSource::Trees(paths) => paths.iter().map(|path| (path, OTHERS_USE)).collect(),
        MountSource::File(path) => vec![(path, OTHERS_READ)],
        MountSource::Output(_) | MountSource::Scratch { .. } => Vec::new(),
    });
    let closed =
        |(path, bits): &(&PathBuf, u32)| fs::symlink_metadata(path).is_ok_and(|found| found.mode() & bits != *bits);
    trees.chain(mounted).find(closed).map(|(path, _)| format!("{} is closed to other users", path.display()))
}

fn wrong(field: &str, path: &Path, expected: &'static str, source: io::Error) -> Error {
    Error::HostPath { field: field.to_owned(), path: path.to_path_buf(), expected, source }
}

fn directory(field: &str, path: &Path, host: &HostFacts) -> Result<()> {
    let expected = "a directory that is there and no symbolic link";
    let found = fs::symlink_metadata(path).map_err(|e| wrong(field, path, expected, e))?;
    if !found.is_dir() {
        return Err(wrong(field, path, expected, io::ErrorKind::NotADirectory.into()));
    }
    reachable(field, path)?;
    if host.is_another_user() && found.mode() & OTHERS_USE != OTHERS_USE {
        let expected = "a directory that every user may read and search, since the payload is another user";
        return Err(wrong(field, path, expected, io::ErrorKind::PermissionDenied.into()));
    }
    Ok(())
}

fn file(field: &str, path: &Path, host: &HostFacts) -> Result<()> {
    let expected = "a regular file that is there and no symbolic link";
    let found = fs::symlink_metadata(path).map_err(|e| wrong(field, path, expected, e))?;
    if !found.is_file() {
        return Err(wrong(field, path, expected, io::ErrorKind::InvalidInput.into()));
    }
    reachable(field, path)?;
    if host.is_another_user() && found.mode() & OTHERS_READ == 0 {
        let expected = "a file that every user may read, since the payload is another user";
        return Err(wrong(field, path, expected, io::ErrorKind::PermissionDenied.into()));
    }
    Ok(())
}

/// Whether the way to a path is open to whoever makes the sandbox. In the new user namespace the superuser has no power over
/// directories of others, so what it looks at here can be out of reach there.
fn reachable(field: &str, path: &Path) -> Result<()> {
    let expected = "a path that the superuser reaches without power over other users' directories: beneath directories \
                    that are root's own or open to all";
    let failed = |e: io::Error| wrong(field, path, expected, e);
    let own = (geteuid().as_raw(), getegid().as_raw());
    // Anyone else has found it by no more power than is left there.
    if own.0 != 0 {
        return Ok(());
    }
    let groups = getgroups().map_err(|errno| failed(errno.into()))?;
    for dir in passed(path.parent().unwrap_or(path)).map_err(failed)? {
        let found = fs::symlink_metadata(&dir).map_err(failed)?;
        let in_group = found.gid() == own.1 || groups.iter().any(|group| group.as_raw() == found.gid());
        let bit = if found.uid() == own.0 {
            OTHERS_SEARCH << 6
        } else if in_group {
            OTHERS_SEARCH << 3
        } else {
            OTHERS_SEARCH
        };
        if found.mode() & bit == 0 {
            let (mode, uid) = (found.mode() & 0o7777, found.uid());
            let closed = format!("{} belongs to user {uid} with mode {mode:04o}", dir.display());
            return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, closed)));
        }
    }
    Ok(())
}

/// Every directory that the kernel searches on the way to a directory, this one too; those before a link as well.
fn passed(to: &Path) -> io::Result<Vec<PathBuf>> {
    let mut todo: Vec<OsString> = std::path::absolute(to)?.iter().map(OsString::from).collect();
    todo.reverse();
    let (mut at, mut passed, mut links) = (PathBuf::from("/"), vec![PathBuf::from("/")], 0);
    while let Some(name) = todo.pop() {
        if name == "/" {
            at = PathBuf::from("/");
            continue;
        }
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        if fs::symlink_metadata(&next)?.is_symlink() {
            links += 1;
            if links > LINKS {
                return Err(io::Error::other("more symbolic links than the kernel follows"));
            }
            todo.extend(fs::read_link(&next)?.iter().rev().filter(|part| *part != ".").map(OsString::from));
            continue;
        }
        at = next;
        passed.push(at.clone());
    }
    Ok(passed)
}

/// An output directory: real, out of reach of other users, and the payload's own with what is in it.
fn output(field: &str, path: &Path, host: &HostFacts, inodes: u64, given: &mut Given) -> Result<()> {
    let expected = "a directory that is there and no symbolic link";
    let failed = |e: io::Error| wrong(field, path, expected, e);
    let directory: File =
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path).map_err(failed)?;
    let above = path.parent().unwrap_or(path).canonicalize().map_err(failed)?;
    let mut closed = false;
    for dir in above.ancestors() {
        closed |= fs::metadata(dir).map_err(failed)?.mode() & OTHERS_SEARCH == 0;
    }
    if !closed {
        return Err(Error::OutputExposed { field: field.to_owned(), path: path.to_path_buf() });
    }
    reachable(field, path)?;
    let directory = Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        let expected = "an output that no other run, and no other mount of this one, writes to";
        wrong(field, path, expected, errno.into())
    })?;
    let is_given = host.users == Users::Own;
    let found = directory.metadata().map_err(failed)?;
    let user = (host.outside_uid, host.outside_gid);
    // Noted first: whatever fails from here on, what was given goes back.
    let owner = is_given.then_some((found.uid(), found.gid()));
    given.0.push(Taken { directory, owner, user: user.0, inodes });
    let Some(Taken { directory, .. }) = given.0.last().filter(|_| is_given) else { return Ok(()) };
    fchown(directory.as_fd(), Some(user.0.into()), Some(user.1.into())).map_err(|errno| failed(errno.into()))?;
    let expected = "an output whose files can be given to the payload's user; empty it, or raise limits.output_inodes";
    contents::give(directory, user, inodes).map_err(|e| wrong(field, path, expected, e))
}
