//! What lies in an output already when a run begins: it becomes the payload's as the directory does, so that the next run of
//! the same spec can write over what the last one left.
//!
//! Given is only what comes back as it was: what belongs to the caller, user and group, or was left by a payload. A file
//! with several names may be something else of the host by another one, and set-id bits would be lost, so both stay.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::dir::{Dir, OwningIter};
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::unistd::{fchownat, getegid, geteuid};

use crate::host::is_of_payloads;

/// No output has more directories in each other.
const DEPTH: usize = 256;
const SET_ID: u32 = 0o6000;

/// Gives what is in an output to a payload's user; no more than so many entries are looked at.
pub(super) fn give(output: &File, user: (u32, u32), most: u64) -> io::Result<()> {
    let own = (geteuid().as_raw(), getegid().as_raw());
    let given = |found: &FileStat| {
        let whole = is_directory(found) || found.st_nlink == 1 && found.st_mode & SET_ID == 0;
        whole && ((found.st_uid, found.st_gid) == own || is_of_payloads(found.st_uid))
    };
    change(output, &given, user, most)
}

/// Makes what a payload's user has in an output the caller's, where there has been no run.
pub(super) fn take_back(output: &File, user: u32, most: u64) -> io::Result<()> {
    let own = (geteuid().as_raw(), getegid().as_raw());
    let taken = |found: &FileStat| found.st_uid == user && (is_directory(found) || found.st_mode & SET_ID == 0);
    change(output, &taken, own, most)
}

fn is_directory(found: &FileStat) -> bool {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

/// Changes the owner of everything beneath a directory that is chosen. By handles: never through a link or into a mount.
fn change(top: &File, chosen: &dyn Fn(&FileStat) -> bool, to: (u32, u32), most: u64) -> io::Result<()> {
    let mut levels = vec![entries(top)?];
    let mut seen = 0;
    while let Some((directory, iterator)) = levels.last_mut() {
        let Some(entry) = iterator.next() else {
            levels.pop();
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        seen += 1;
        if seen > most {
            return Err(io::Error::other(format!("there are more than {most} files in it already")));
        }
        let handle = match open(directory, name, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
            // What is mounted in it is no part of it.
            Err(nix::Error::EXDEV) => continue,
            opened => opened?,
        };
        let found = fstat(&handle)?;
        if chosen(&found) {
            let (uid, gid) = (Some(to.0.into()), Some(to.1.into()));
            fchownat(&handle, "", uid, gid, AtFlags::AT_EMPTY_PATH | AtFlags::AT_SYMLINK_NOFOLLOW)?;
        }
        if is_directory(&found) {
            if levels.len() >= DEPTH {
                return Err(io::Error::other(format!("there are more than {DEPTH} directories in each other in it")));
            }
            levels.push(entries(&handle)?);
        }
    }
    Ok(())
}

/// An open directory and what is in it.
fn entries(directory: &impl AsFd) -> io::Result<(OwnedFd, OwningIter)> {
    let opened = open(directory, c".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    let second = opened.try_clone()?;
    Ok((opened, Dir::from_fd(second)?.into_iter()))
}

fn open(directory: &impl AsFd, name: &std::ffi::CStr, flags: OFlag) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let resolve = if flags.contains(OFlag::O_PATH) { resolve & !ResolveFlag::RESOLVE_NO_SYMLINKS } else { resolve };
    openat2(directory.as_fd(), name, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve))
}
