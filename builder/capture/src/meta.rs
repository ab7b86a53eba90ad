//! Kinds, modes and extended attributes: what an inode may be.

use crate::{
    Result,
    error::{Error, refused},
    names::printable,
};
use rustix::{fs::FileType, io::Errno};
use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

/// The longest list of extended attributes that is looked at: the kernel has no longer one.
const XATTRS_BYTES_MAX: usize = 64 << 10;
/// An attribute that some systems put on every file, without a meaning for its content.
const LABEL: &[u8] = b"security.selinux";
const SET_ID: u32 = 0o6000;
const STICKY: u32 = 0o1000;
/// What to do about a mode that keeps its owner out. Root would not notice, so it is asked for by everyone.
pub(crate) const UNREADABLE: &str =
    "its mode keeps its owner from reading it; give files at least 0400 and directories 0500";

pub(crate) fn check_kind(path: &str, found: FileType, expected: FileType) -> Result<()> {
    let what = match found {
        kind if kind == expected => return Ok(()),
        FileType::Socket => "a socket",
        FileType::Fifo => "a fifo",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Symlink => "a symbolic link, which was a file a moment ago",
        _ => "of a kind that a tree can't hold",
    };
    Err(refused(path, format!("it is {what}; a tree holds files, directories and symbolic links")))
}

/// Permission bits, given the whole mode of a file or directory.
pub(crate) fn check_mode(path: &str, mode: u32) -> Result<u32> {
    let bits = mode & 0o7777;
    let is_directory = FileType::from_raw_mode(mode) == FileType::Directory;
    if bits & SET_ID != 0 {
        return Err(refused(path, format!("mode {bits:04o} is setuid or setgid; take that bit away before the end")));
    }
    if bits & STICKY != 0 && !is_directory {
        return Err(refused(path, format!("mode {bits:04o} is sticky, which means something on directories alone")));
    }
    let needed = if is_directory { 0o500 } else { 0o400 };
    if bits & needed == needed { Ok(bits) } else { Err(refused(path, UNREADABLE)) }
}

/// Extended attributes of a file or directory.
pub(crate) fn check_attributes(path: &str, at: &Path, handle: &OwnedFd) -> Result<()> {
    let listed = rustix::fs::flistxattr_query(handle).and_then(|len| {
        let mut names = vec![0; len.min(XATTRS_BYTES_MAX)];
        let len = if len == 0 { 0 } else { rustix::fs::flistxattr(handle, names.as_mut_slice())? };
        names.truncate(len);
        Ok(names)
    });
    judge(path, at, listed)
}

/// Extended attributes of a symbolic link. No call takes a handle of a link before Linux 6.13, so the directory's handle
/// is named through `/proc`, which follows that one name and not the link.
pub(crate) fn check_link_attributes(path: &str, at: &Path, directory: &OwnedFd, name: &str) -> Result<()> {
    let link = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    let listed = rustix::fs::llistxattr_query(&link).and_then(|len| {
        let mut names = vec![0; len.min(XATTRS_BYTES_MAX)];
        let len = if len == 0 { 0 } else { rustix::fs::llistxattr(&link, names.as_mut_slice())? };
        names.truncate(len);
        Ok(names)
    });
    judge(path, at, listed)
}

/// Names, each ended by NUL.
fn judge(path: &str, at: &Path, listed: rustix::io::Result<Vec<u8>>) -> Result<()> {
    let names = match listed {
        Ok(names) => names,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(e) => return Err(Error::io("list attributes of", at)(e.into())),
    };
    match names.split(|byte| *byte == 0).find(|name| !name.is_empty() && *name != LABEL) {
        Some(name) => {
            let name = printable(name);
            Err(refused(path, format!("it has the extended attribute `{name}`, which no tree can hold; remove it")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: u32 = 0o100_000;
    const DIRECTORY: u32 = 0o040_000;

    #[test]
    fn plain_modes_are_kept_and_sticky_is_for_directories() {
        for mode in [0o644, 0o755, 0o400, 0o777, 0o600] {
            assert_eq!(check_mode("a", FILE | mode).unwrap(), mode);
        }
        for mode in [0o755, 0o500, 0o1777] {
            assert_eq!(check_mode("a", DIRECTORY | mode).unwrap(), mode);
        }
        for mode in [0o4755, 0o2755, 0o6711, 0o1644, 0o000, 0o111, 0o044] {
            assert!(check_mode("a", FILE | mode).is_err(), "{mode:o}");
        }
        for mode in [0o2755, 0o4755, 0o000, 0o400, 0o100, 0o077] {
            assert!(check_mode("a", DIRECTORY | mode).is_err(), "{mode:o}");
        }
    }

    #[test]
    fn only_the_label_of_the_system_is_passed_over() {
        let at = Path::new("/a");
        assert!(judge("a", at, Ok(vec![])).is_ok());
        assert!(judge("a", at, Ok(b"security.selinux\0".to_vec())).is_ok());
        assert!(judge("a", at, Err(Errno::NOTSUP)).is_ok());
        for names in [&b"security.capability\0"[..], b"security.selinux\0user.x\0", b"trusted.overlay.opaque\0"] {
            assert!(judge("a", at, Ok(names.to_vec())).is_err());
        }
        assert!(judge("a", at, Err(Errno::RANGE)).is_err());
    }
}
