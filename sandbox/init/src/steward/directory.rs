//! An open directory that is read entry by entry, with one descriptor.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;

use super::open_entry;
use crate::syscall::{Fault, check};

/// A directory and the place that reading it has come to.
pub(super) struct Directory(NonNull<libc::DIR>);

impl Directory {
    /// Opens a second time what is held already, so that reading it begins at its beginning.
    pub(super) fn again(handle: &OwnedFd) -> Result<Self, Fault> {
        Self::of(open_entry(handle, c".", libc::O_RDONLY | libc::O_DIRECTORY)?)
    }

    /// Opens an entry of a directory.
    pub(super) fn beneath(dir: &impl AsFd, name: &CStr) -> Result<Self, Fault> {
        Self::of(open_entry(dir, name, libc::O_RDONLY | libc::O_DIRECTORY)?)
    }

    fn of(handle: OwnedFd) -> Result<Self, Fault> {
        let descriptor = handle.into_raw_fd();
        // SAFETY: a descriptor that nothing else owns any more; the stream closes it.
        match NonNull::new(unsafe { libc::fdopendir(descriptor) }) {
            Some(stream) => Ok(Self(stream)),
            None => {
                let fault = Fault::last("fdopendir");
                // SAFETY: the call has failed, so the descriptor is still ours to close.
                unsafe { libc::close(descriptor) };
                Err(fault)
            }
        }
    }

    /// The next name, the directory itself and the one above left out.
    pub(super) fn next(&mut self) -> Result<Option<CString>, Fault> {
        loop {
            // SAFETY: the thread's own error number; an end leaves it alone, an error sets it.
            unsafe { *libc::__errno_location() = 0 };
            // SAFETY: the stream is open as long as this value lives.
            let entry = unsafe { libc::readdir64(self.0.as_ptr()) };
            if entry.is_null() {
                let fault = Fault::last("readdir");
                return if fault.errno() == 0 { Ok(None) } else { Err(fault) };
            }
            // SAFETY: the entry stays until the next call and its name ends with zero.
            let name = unsafe { CStr::from_ptr((*entry).d_name.as_ptr()) };
            if name != c"." && name != c".." {
                return Ok(Some(name.to_owned()));
            }
        }
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream is open, and its descriptor with it, as long as this value is borrowed.
        unsafe { BorrowedFd::borrow_raw(libc::dirfd(self.0.as_ptr())) }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // SAFETY: the stream is open and nobody uses it after this.
        unsafe { libc::closedir(self.0.as_ptr()) };
    }
}

/// Gives what a handle refers to to a user.
pub(super) fn give(handle: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<(), Fault> {
    let itself = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: an empty string that outlives the call, and integers.
    let result = unsafe { libc::fchownat(handle.as_raw_fd(), c"".as_ptr(), uid, gid, itself) };
    check(libc::c_long::from(result), "fchownat").map(drop)
}
