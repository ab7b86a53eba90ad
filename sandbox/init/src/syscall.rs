//! The system calls that neither the standard library nor anything safe offers, each wrapped once.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use anneal_sandbox_op::{Failure, Op};

/// A call or a check that failed.
#[derive(Debug)]
pub(crate) struct Fault {
    call: String,
    errno: i32,
}

impl Fault {
    /// A failed system call, from the thread's error number.
    pub(crate) fn last(call: impl Into<String>) -> Self {
        Self::io(call, &io::Error::last_os_error())
    }

    /// A failed call of the standard library.
    pub(crate) fn io(call: impl Into<String>, error: &io::Error) -> Self {
        Self { call: call.into(), errno: error.raw_os_error().unwrap_or(0) }
    }

    /// Something that is not as it must be.
    pub(crate) fn check(what: impl Into<String>) -> Self {
        Self { call: what.into(), errno: 0 }
    }

    /// The system call or the check.
    pub(crate) fn call(&self) -> &str {
        &self.call
    }

    /// The error number.
    pub(crate) fn errno(&self) -> i32 {
        self.errno
    }

    /// The same fault with something said about it.
    pub(crate) fn about(mut self, what: &str) -> Self {
        self.call = format!("{} ({what})", self.call);
        self
    }

    /// As the launcher hears of it.
    pub(crate) fn report(&self, index: usize, op: &Op) -> Failure {
        Failure { index, op: op.to_string(), call: self.call.clone(), errno: self.errno }
    }
}

/// Turns the result of a call into a value or a fault.
pub(crate) fn check(result: libc::c_long, call: &str) -> Result<libc::c_long, Fault> {
    if result < 0 { Err(Fault::last(call)) } else { Ok(result) }
}

/// A string for the kernel.
pub(crate) fn c_string(text: &str) -> Result<CString, Fault> {
    CString::new(text).map_err(|_| Fault::check(format!("{text:?} holds a zero byte")))
}

/// Takes ownership of a descriptor that a call has just returned.
pub(crate) fn own(result: libc::c_long, call: &str) -> Result<OwnedFd, Fault> {
    let fd = check(result, call)?;
    // SAFETY: the kernel has just returned this descriptor to us, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Closes every descriptor from `first` on, or lets exec close them.
pub(crate) fn close_from(first: u32, at_exec: bool) -> Result<(), Fault> {
    let flags: libc::c_uint = if at_exec { libc::CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: three integers; no descriptor from `first` on is owned by any value yet, or it stays open until exec.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) }, "close_range").map(drop)
}

/// A copy of a descriptor, at or above `lowest`, that exec closes.
pub(crate) fn duplicate_above(fd: RawFd, lowest: RawFd) -> Result<OwnedFd, Fault> {
    // SAFETY: integers only; a bad descriptor is an error of the call.
    own(libc::c_long::from(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, lowest) }), "fcntl F_DUPFD_CLOEXEC")
}

/// Puts a descriptor in the place of a standard one.
pub(crate) fn replace_standard(fd: BorrowedFd<'_>, standard: RawFd) -> Result<(), Fault> {
    // SAFETY: integers only; the standard descriptors are owned by no value.
    check(libc::c_long::from(unsafe { libc::dup2(fd.as_raw_fd(), standard) }), "dup2").map(drop)
}

/// Sets the mask for new files.
pub(crate) fn umask(mask: u32) {
    // SAFETY: one integer, can't fail.
    unsafe { libc::umask(mask) };
}

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The process that forked, with its child's id.
    Parent(i32),
    /// The new process.
    Child,
}

/// Forks, into new namespaces if flags say so. The child of a clone with `CLONE_PARENT` belongs to the launcher.
pub(crate) fn clone(flags: u64, call: &str) -> Result<Side, Fault> {
    // SAFETY: without CLONE_VM this is a fork: the child goes on with a copy of everything, and there is one thread,
    // so no lock is held. A null stack means that the child keeps the address of the parent's.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, 0usize) };
    match check(pid, call)? {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(pid as i32)),
    }
}

/// Ends this process at once.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: never returns, runs no destructors.
    unsafe { libc::_exit(code) }
}

/// Nanoseconds since boot, as this process's time namespace sees them.
pub(crate) fn monotonic_ns() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// Reads a clock in nanoseconds.
pub(crate) fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call; the clocks asked for exist on every kernel.
    unsafe { libc::clock_gettime(id, &mut time) };
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

/// One `prctl` of up to two arguments.
pub(crate) fn prctl(option: libc::c_int, first: u64, second: u64, call: &str) -> Result<libc::c_long, Fault> {
    // SAFETY: every option used in this program takes integers or a string literal, and unused arguments must be zero.
    let result = unsafe { libc::prctl(option, first, second, 0u64, 0u64) };
    check(libc::c_long::from(result), call)
}

/// Sends a signal.
pub(crate) fn kill(pid: i32, signal: i32) -> Result<(), Fault> {
    // SAFETY: integers only.
    check(libc::c_long::from(unsafe { libc::kill(pid, signal) }), "kill").map(drop)
}

/// Asks to be killed when the parent dies.
pub(crate) fn die_with_parent() -> Result<(), Fault> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0, "prctl PR_SET_PDEATHSIG").map(drop)
}

/// Opens a path beneath a directory handle, never through a symbolic link and never out of it.
pub(crate) fn open_beneath(dir: BorrowedFd<'_>, path: &str, flags: i32, mode: u32) -> Result<OwnedFd, Fault> {
    let path = if path.is_empty() { "." } else { path };
    let name = c_string(path)?;
    // SAFETY: `open_how` is plain integers, for which zero is the documented default.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.mode = u64::from(mode);
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    openat2(dir.as_raw_fd(), &name, &how).map_err(|fault| fault.about(path))
}

/// Opens an entry of a directory: never through a link, out of the directory, or into another mount.
pub(crate) fn open_entry(dir: BorrowedFd<'_>, name: &CStr, flags: i32) -> Result<OwnedFd, Fault> {
    // SAFETY: as above.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve =
        libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS | libc::RESOLVE_NO_XDEV;
    openat2(dir.as_raw_fd(), name, &how)
}

/// Opens a host path; its last part must not be a symbolic link.
pub(crate) fn open_host(path: &str, flags: i32) -> Result<OwnedFd, Fault> {
    let name = c_string(path)?;
    // SAFETY: as above.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC | libc::O_NOFOLLOW) as u64;
    openat2(libc::AT_FDCWD, &name, &how)
}

fn openat2(dir: RawFd, path: &CStr, how: &libc::open_how) -> Result<OwnedFd, Fault> {
    // SAFETY: `path` and `how` outlive the call and the size is that of `how`.
    let fd = unsafe { libc::syscall(libc::SYS_openat2, dir, path.as_ptr(), how, size_of::<libc::open_how>()) };
    own(fd, "openat2")
}

/// Sends bytes, and one descriptor with them, over a stream socket.
pub(crate) fn send_descriptor(socket: BorrowedFd<'_>, bytes: &[u8], descriptor: BorrowedFd<'_>) -> Result<(), Fault> {
    // Room for one control message with one descriptor; integers of eight bytes align it as its header needs.
    let mut control = [0u64; 4];
    let length = size_of::<RawFd>() as libc::c_uint;
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: `msghdr` is plain integers and pointers, for which zero means none.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: arithmetic only; the space for one descriptor is 24 bytes, and the room is 32.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(length) } as usize;
    // SAFETY: the room is large enough for a first header and a descriptor after it, and lives to the end of the call;
    // the kernel only reads the bytes.
    let sent = unsafe {
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(length) as usize;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(descriptor.as_raw_fd());
        libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL)
    };
    check(sent as libc::c_long, "sendmsg").map(drop)
}

/// Receives bytes, and the one descriptor that may come with them, which exec closes.
pub(crate) fn receive_descriptor(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Fault> {
    // Room for one control message with one descriptor, as above.
    let mut control = [0u64; 4];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: `msghdr` is plain integers and pointers, for which zero means none.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    let length = loop {
        // SAFETY: the message describes live buffers.
        let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
        match check(length as libc::c_long, "recvmsg") {
            Err(fault) if fault.errno() == libc::EINTR => {}
            // Its end was closed with something unread in it, as a launcher that dies does.
            Err(fault) if fault.errno() == libc::ECONNRESET => return Ok((0, None)),
            other => break other?,
        }
    };
    // SAFETY: the kernel has written the headers that these calls read, within the room and its length.
    let descriptor = unsafe {
        let header = libc::CMSG_FIRSTHDR(&message);
        let passed = !header.is_null()
            && (*header).cmsg_level == libc::SOL_SOCKET
            && (*header).cmsg_type == libc::SCM_RIGHTS
            && (*header).cmsg_len == libc::CMSG_LEN(size_of::<RawFd>() as libc::c_uint) as usize;
        passed.then(|| OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned()))
    };
    Ok((usize::try_from(length).unwrap_or(0), descriptor))
}
