//! The second wall: the kernel's Landlock, by its three calls.
//!
//! They are called as they are: the `landlock` crate would bring four more crates into this program and decide by
//! itself what to leave out on an older kernel, which the list of operations has decided already.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anneal_sandbox_op::Scope;

use crate::syscall::{self, Fault, check, open_beneath, own};

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const MAKE_SOCK: u64 = 1 << 9;
const MAKE_FIFO: u64 = 1 << 10;
const MAKE_BLOCK: u64 = 1 << 11;
const MAKE_SYM: u64 = 1 << 12;
/// Moves and links from one directory to another.
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;

const READ: u64 = EXECUTE | READ_FILE | READ_DIR;
const CHANGE: u64 = READ
    | WRITE_FILE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SOCK
    | MAKE_FIFO
    | MAKE_SYM
    | REFER
    | TRUNCATE;
const DEVICES: u64 = READ_FILE | READ_DIR | WRITE_FILE | IOCTL_DEV;
/// Held back beneath every place.
const NOWHERE: u64 = MAKE_CHAR | MAKE_BLOCK;

const RULE_PATH_BENEATH: libc::c_int = 1;

/// `struct landlock_ruleset_attr`; an older kernel takes the longer one as long as what it does not know is zero.
#[repr(C)]
struct Ruleset {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// The rights that a version of the interface knows.
fn known(abi: u32) -> u64 {
    let mut rights = READ | CHANGE | NOWHERE;
    for (since, right) in [(2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)] {
        rights = if abi >= since { rights | right } else { rights & !right };
    }
    rights
}

/// Puts this process and all it will fork behind the wall, for good.
pub(crate) fn restrict(
    abi: u32,
    read: &[String],
    write: &[String],
    devices: &[String],
    scopes: &[Scope],
) -> Result<(), Fault> {
    let bit = |scope: &Scope| match scope {
        Scope::AbstractSockets => 1 << 0,
        Scope::Signals => 1 << 1,
    };
    let scoped = scopes.iter().map(bit).fold(0, |all, one: u64| all | one);
    let wanted = Ruleset { handled_access_fs: known(abi), handled_access_net: 0, scoped };
    // SAFETY: the attributes outlive the call and their size is given.
    let fd = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &wanted, size_of::<Ruleset>(), 0) };
    let ruleset = own(fd, "landlock_create_ruleset")?;
    let root = syscall::open_host("/", libc::O_PATH | libc::O_DIRECTORY)?;
    for (places, rights) in [(read, READ), (write, CHANGE), (devices, DEVICES)] {
        for place in places {
            allow(ruleset.as_fd(), root.as_fd(), place, rights & known(abi))?;
        }
    }
    // SAFETY: a live descriptor and a zero.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) }, "landlock_restrict_self")
        .map(drop)
}

fn allow(ruleset: BorrowedFd<'_>, root: BorrowedFd<'_>, place: &str, rights: u64) -> Result<(), Fault> {
    let handle = match open_beneath(root, place.trim_start_matches('/'), libc::O_PATH, 0) {
        // The payload can't get there either, so it needs no right there.
        Err(fault) if fault.errno() == libc::EACCES => return Ok(()),
        other => other?,
    };
    let rule = PathBeneath { allowed_access: rights, parent_fd: handle.as_raw_fd() };
    // SAFETY: a live descriptor, and a rule of the type named that outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_PATH_BENEATH, &rule, 0) };
    check(result, "landlock_add_rule").map(drop).map_err(|fault| fault.about(place))
}
