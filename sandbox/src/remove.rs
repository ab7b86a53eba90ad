//! Removes what a payload made, however it is built: closed directories, any depth, names of any bytes.
//!
//! Everything happens beneath handles, so a directory that becomes a link meanwhile leads nowhere. There is no recursion
//! and no path that grows: what lies in a directory that is not empty is moved to the top and taken from there. So
//! three open directories are enough for a tree of a hundred thousand levels, which no path could name.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, RenameFlags, ResolveFlag, open, openat, openat2, renameat2};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use crate::steward::Steward;
use crate::subordinate::Subordinate;
use crate::{Error, Result};

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Removes a file or a whole directory, also one whose permissions a payload has taken away; none is fine. Never follows
/// a link, and never enters a mount: one beneath the directory is an error.
pub fn remove_tree(path: &Path) -> Result<()> {
    let failed = |source: io::Error| Error::Sweep { path: path.to_path_buf(), source };
    let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let name = CString::new(name.as_bytes()).map_err(|error| failed(error.into()))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = match open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(parent) => parent,
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(failed(errno.into())),
    };
    match remove(&parent, &name) {
        // A launcher without root that was killed has left things that are a subordinate user's.
        Err(Errno::EACCES | Errno::EPERM) if !geteuid().is_root() => {
            reclaim(&parent, &name).map_err(failed)?;
            remove(&parent, &name)
        }
        done => done,
    }
    .map_err(|errno| failed(errno.into()))
}

/// Makes everything in a directory that belongs to a subordinate id of this user its own.
fn reclaim(parent: &OwnedFd, name: &CStr) -> io::Result<()> {
    // As far as it goes, without root, where there are no such ids.
    let Ok(users) = Subordinate::own() else { return Ok(()) };
    let top = openat(parent, name, DIRECTORY | OFlag::O_PATH, Mode::empty())?;
    let steward = Steward::start(users).map_err(io::Error::other)?;
    steward.keep(top.as_fd())?;
    steward.reclaim(users).map(drop)
}

fn remove(parent: &OwnedFd, name: &CStr) -> nix::Result<()> {
    if unlink(parent, name)? {
        return Ok(());
    }
    let top = enter(parent, name)?;
    let mut moved = 0_u64;
    loop {
        let names = list(&top)?;
        if names.is_empty() {
            return unlinkat(parent, name, UnlinkatFlags::RemoveDir);
        }
        for name in names {
            if unlink(&top, &name)? {
                continue;
            }
            let inner = enter(&top, &name)?;
            for entry in list(&inner)? {
                if !unlink(&inner, &entry)? {
                    // A directory can only be moved by who may write to it.
                    enter(&inner, &entry)?;
                    move_up(&inner, &entry, &top, &mut moved)?;
                }
            }
            unlinkat(&top, name.as_c_str(), UnlinkatFlags::RemoveDir)?;
        }
    }
}

/// Removes what is not a directory with something in it; says whether it did.
fn unlink(at: &OwnedFd, name: &CStr) -> nix::Result<bool> {
    match unlinkat(at, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(true),
        Err(Errno::EISDIR) => {}
        Err(errno) => return Err(errno),
    }
    match unlinkat(at, name, UnlinkatFlags::RemoveDir) {
        Ok(()) => Ok(true),
        Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::EBUSY) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Opens a directory and gives it back to its owner.
fn enter(at: &OwnedFd, name: &CStr) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    let handle = openat2(at, name, OpenHow::new().flags(DIRECTORY | OFlag::O_PATH).resolve(resolve))?;
    if fstat(&handle)?.st_mode & 0o700 != 0o700 {
        // A handle of a closed directory can only be named this way before Linux 6.6.
        let itself = format!("/proc/self/fd/{}", handle.as_raw_fd());
        fchmodat(at, itself.as_str(), Mode::S_IRWXU, FchmodatFlags::FollowSymlink)?;
    }
    openat(&handle, ".", DIRECTORY, Mode::empty())
}

fn list(directory: &OwnedFd) -> nix::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::openat(directory, ".", DIRECTORY, Mode::empty())?.iter() {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Moves a directory to the top, under a name that is free there.
fn move_up(from: &OwnedFd, name: &CStr, top: &OwnedFd, moved: &mut u64) -> nix::Result<()> {
    loop {
        let free = format!(".removed-{moved}");
        *moved += 1;
        match renameat2(from, name, top, free.as_str(), RenameFlags::RENAME_NOREPLACE) {
            Err(Errno::EEXIST) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::openat;
    use nix::sys::stat::mkdirat;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_whose_permissions_are_gone_is_removed_and_its_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("kept"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir_all(kept.join("inner")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        symlink(&kept, tree.join("a/link")).unwrap();
        symlink("../../kept", tree.join("a/b/link")).unwrap();
        for closed in ["a/b", "a", ""] {
            chmod(&tree.join(closed), 0o000);
        }
        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&tree.join("absent/too")).unwrap();
        assert!(!tree.exists() && kept.join("inner").exists());
    }

    #[test]
    fn a_link_is_removed_and_what_it_leads_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("kept/inner")).unwrap();
        symlink("kept", dir.path().join("link")).unwrap();
        remove_tree(&dir.path().join("link")).unwrap();
        assert!(fs::symlink_metadata(dir.path().join("link")).is_err() && dir.path().join("kept/inner").exists());
    }

    #[test]
    fn a_tree_deeper_than_any_path_and_than_the_limit_of_open_files_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut at: OwnedFd = fs::File::open(&tree).unwrap().into();
        for _ in 0..1_500 {
            mkdirat(&at, "deeper", Mode::S_IRWXU).unwrap();
            mkdirat(&at, ".removed-0", Mode::S_IRWXU).unwrap();
            at = openat(&at, "deeper", DIRECTORY, Mode::empty()).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn names_of_any_bytes_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        for name in [&b"\xff\n"[..], b"-rf", b".removed-0", &[b'n'; 255]] {
            fs::create_dir_all(tree.join(std::ffi::OsStr::from_bytes(name)).join("inner/more")).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }
}
