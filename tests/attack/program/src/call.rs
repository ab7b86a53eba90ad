//! Wrappers of the calls that the probes make, so that most of them need no unchecked code of their own.

use std::ffi::CString;
use std::io::{self, Error};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// A string for the kernel; what holds a zero byte ends there.
pub(crate) fn c(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

/// A system call with integers, none of which the kernel takes for an address it may use.
///
/// Addresses are passed as [`address`] of something that lives through the call.
pub(crate) fn raw(number: i64, args: &[i64]) -> io::Result<i64> {
    let arg = |at: usize| args.get(at).copied().unwrap_or(0);
    // SAFETY: callers pass integers, or addresses of values that outlive the call and have the layout it asks for.
    let result = unsafe { libc::syscall(number, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// The address of a value, as an argument of a call.
pub(crate) fn address<T: ?Sized>(value: &T) -> i64 {
    std::ptr::from_ref(value).cast::<u8>() as i64
}

/// The address of a value that a call fills in.
pub(crate) fn address_mut<T: ?Sized>(value: &mut T) -> i64 {
    std::ptr::from_mut(value).cast::<u8>() as i64
}

/// A call that returns a new descriptor.
pub(crate) fn descriptor(number: i64, args: &[i64]) -> io::Result<OwnedFd> {
    let fd = raw(number, args)?;
    // SAFETY: the kernel has just made it; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Opens a path beneath a directory, or anywhere with `AT_FDCWD`.
pub(crate) fn open_at(dir: RawFd, path: &str, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    let path = c(path);
    descriptor(libc::SYS_openat, &[dir.into(), path.as_ptr() as i64, flags.into(), mode.into()])
}

/// Runs something in a child; its exit code, or the signal that ended it as a negative number.
pub(crate) fn in_a_child(act: impl FnOnce() -> i32) -> i32 {
    // SAFETY: this program has one thread wherever it forks, so nothing is locked in the child.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let code = act();
        // SAFETY: ends the process at once; what it printed is flushed line by line.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: a live integer.
    if child < 0 || unsafe { libc::waitpid(child, &mut status, 0) } < 0 {
        return -1000;
    }
    if libc::WIFSIGNALED(status) { -libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

/// A field of this process's status.
pub(crate) fn status(field: &str) -> String {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::trim));
    line.unwrap_or("unknown").to_owned()
}
