//! The kernel's mount calls that work on handles, and the two old ones that are still needed.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::handle_path;
use crate::syscall::{Fault, c_string, check, own};

const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const MOVE_MOUNT_FROM_EMPTY: libc::c_uint = 0x04;
const MOVE_MOUNT_TO_EMPTY: libc::c_uint = 0x40;
const OPEN_TREE_CLONE: libc::c_uint = 1;
/// The old mount call takes its options in one page.
const OPTION_PAGE: usize = 4096;

/// What a mount does not allow; set-user-id bits never work on any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    pub(super) read_only: bool,
    pub(super) no_devices: bool,
    pub(super) no_exec: bool,
}

impl Attributes {
    fn bits(self) -> u64 {
        let mut bits = libc::MOUNT_ATTR_NOSUID;
        for (wanted, bit) in [
            (self.read_only, libc::MOUNT_ATTR_RDONLY),
            (self.no_devices, libc::MOUNT_ATTR_NODEV),
            (self.no_exec, libc::MOUNT_ATTR_NOEXEC),
        ] {
            if wanted {
                bits |= bit;
            }
        }
        bits
    }
}

/// A file system being configured.
#[derive(Debug)]
pub(super) struct FileSystem {
    name: &'static str,
    context: OwnedFd,
}

impl FileSystem {
    pub(super) fn open(name: &'static str) -> Result<Self, Fault> {
        let c_name = c_string(name)?;
        // SAFETY: the string outlives the call.
        let fd = unsafe { libc::syscall(libc::SYS_fsopen, c_name.as_ptr(), FSOPEN_CLOEXEC) };
        Ok(Self { name, context: own(fd, "fsopen").map_err(|fault| fault.about(name))? })
    }

    fn configure(&self, command: libc::c_uint, key: Option<&CStr>, value: Option<&CStr>) -> Result<(), Fault> {
        let key = key.map_or(std::ptr::null(), CStr::as_ptr);
        let value = value.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: key and value are null or strings that outlive the call, as the command demands.
        let result = unsafe {
            libc::syscall(libc::SYS_fsconfig, self.context.as_raw_fd(), command, key, value, 0 as libc::c_int)
        };
        check(result, "fsconfig").map(drop)
    }

    pub(super) fn text(&mut self, key: &str, value: &str) -> Result<(), Fault> {
        self.configure(FSCONFIG_SET_STRING, Some(&c_string(key)?), Some(&c_string(value)?))
            .map_err(|fault| fault.about(&format!("{} {key}={value}{}", self.name, self.complaint())))
    }

    fn flag(&mut self, key: &str) -> Result<(), Fault> {
        self.configure(FSCONFIG_SET_FLAG, Some(&c_string(key)?), None)
            .map_err(|fault| fault.about(&format!("{} {key}{}", self.name, self.complaint())))
    }

    pub(super) fn mount(self, attributes: Attributes) -> Result<OwnedFd, Fault> {
        self.configure(FSCONFIG_CMD_CREATE, None, None)
            .map_err(|fault| fault.about(&format!("create {}{}", self.name, self.complaint())))?;
        // SAFETY: a live descriptor and integers.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_fsmount,
                self.context.as_raw_fd(),
                FSMOUNT_CLOEXEC,
                attributes.bits() as libc::c_uint,
            )
        };
        own(fd, "fsmount").map_err(|fault| fault.about(self.name))
    }

    /// What the kernel has to say about the last failure, if anything.
    fn complaint(&self) -> String {
        let mut text = [0u8; 256];
        // SAFETY: the buffer has the length given.
        let length = unsafe { libc::read(self.context.as_raw_fd(), text.as_mut_ptr().cast(), text.len()) };
        let said = usize::try_from(length).ok().and_then(|length| text.get(..length)).unwrap_or_default();
        if said.is_empty() { String::new() } else { format!(": {}", String::from_utf8_lossy(said).trim()) }
    }
}

/// An overlay, detached; `None` where the kernel can't take layers one by one.
pub(super) fn overlay(layers: &[OwnedFd], upper: Option<&(OwnedFd, OwnedFd)>) -> Result<Option<OwnedFd>, Fault> {
    let mut overlay = FileSystem::open("overlay")?;
    overlay.text("source", "overlay")?;
    overlay.flag("userxattr")?;
    for layer in layers {
        match overlay.text("lowerdir+", &handle_path(layer.as_fd())) {
            Err(fault) if fault.errno() == libc::EINVAL => return Ok(None),
            other => other?,
        }
    }
    if let Some((upper, work)) = upper {
        overlay.text("upperdir", &handle_path(upper.as_fd()))?;
        overlay.text("workdir", &handle_path(work.as_fd()))?;
    }
    match overlay.mount(Attributes { read_only: upper.is_none(), no_devices: true, no_exec: false }) {
        // Before 6.5 an overlay's options are only strung together, so it takes `lowerdir+` like any other name and finds
        // fault with it here.
        Err(fault) if fault.errno() == libc::EINVAL => Ok(None),
        other => other.map(Some),
    }
}

/// An overlay by the old call, mounted on the target.
pub(super) fn overlay_in_place(
    layers: &[OwnedFd],
    upper: Option<&(OwnedFd, OwnedFd)>,
    target: BorrowedFd<'_>,
) -> Result<(), Fault> {
    // From there a layer's path is its number alone, so that as many fit on the page as the kernel stacks.
    // SAFETY: a string that outlives the call.
    check(libc::c_long::from(unsafe { libc::chdir(c"/proc/self/fd".as_ptr()) }), "chdir")?;
    let paths: Vec<String> = layers.iter().map(|layer| layer.as_raw_fd().to_string()).collect();
    let mut options = format!("userxattr,lowerdir={}", paths.join(":"));
    if let Some((upper, work)) = upper {
        options.push_str(&format!(",upperdir={},workdir={}", upper.as_raw_fd(), work.as_raw_fd()));
    }
    if options.len() >= OPTION_PAGE {
        return Err(Fault::check(format!("{} layers need a kernel from 6.7 on", layers.len())));
    }
    let mut flags = libc::MS_NOSUID | libc::MS_NODEV;
    if upper.is_none() {
        flags |= libc::MS_RDONLY;
    }
    mount_old(c"overlay", &handle_path(target), c"overlay", flags, &options)
}

fn mount_old(source: &CStr, target: &str, kind: &CStr, flags: u64, options: &str) -> Result<(), Fault> {
    let target = c_string(target)?;
    let options = c_string(options)?;
    // SAFETY: all four strings outlive the call.
    let result =
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    check(libc::c_long::from(result), "mount").map(drop)
}

/// Cuts all mounts off from the host's.
pub(super) fn private_mounts() -> Result<(), Fault> {
    mount_old(c"none", "/", c"none", libc::MS_REC | libc::MS_PRIVATE, "")
}

/// A detached copy of what a handle shows, without anything mounted beneath it.
pub(super) fn copy_mount(from: BorrowedFd<'_>) -> Result<OwnedFd, Fault> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint | libc::AT_EMPTY_PATH as libc::c_uint;
    // SAFETY: an empty string, a live descriptor and flags.
    own(unsafe { libc::syscall(libc::SYS_open_tree, from.as_raw_fd(), c"".as_ptr(), flags) }, "open_tree")
}

/// Takes rights away from a mount.
pub(super) fn set_attributes(mount: BorrowedFd<'_>, attributes: Attributes) -> Result<(), Fault> {
    let change = libc::mount_attr { attr_set: attributes.bits(), attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the change outlives the call and its size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &change,
            size_of::<libc::mount_attr>(),
        )
    };
    check(result, "mount_setattr").map(drop)
}

/// Attaches a detached mount to what a handle refers to.
pub(super) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Fault> {
    move_mount(mount, target.as_raw_fd(), c"", MOVE_MOUNT_FROM_EMPTY | MOVE_MOUNT_TO_EMPTY)
}

/// Fails where nothing has this name beneath a handle.
pub(super) fn find(dir: BorrowedFd<'_>, name: &str) -> Result<(), Fault> {
    identity_at(dir.as_raw_fd(), &c_string(name)?, libc::AT_SYMLINK_NOFOLLOW).map(drop)
}

/// Attaches a detached mount to a name beneath a handle; a link at its end is not followed.
pub(super) fn attach_in(mount: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &str) -> Result<(), Fault> {
    move_mount(mount, dir.as_raw_fd(), &c_string(name)?, MOVE_MOUNT_FROM_EMPTY).map_err(|fault| fault.about(name))
}

/// Attaches a detached mount over the root of the host.
pub(super) fn attach_over_root(mount: BorrowedFd<'_>) -> Result<(), Fault> {
    move_mount(mount, libc::AT_FDCWD, c"/", MOVE_MOUNT_FROM_EMPTY)
}

fn move_mount(mount: BorrowedFd<'_>, dir: libc::c_int, path: &CStr, flags: libc::c_uint) -> Result<(), Fault> {
    // SAFETY: two strings that outlive the call, descriptors and flags.
    let result =
        unsafe { libc::syscall(libc::SYS_move_mount, mount.as_raw_fd(), c"".as_ptr(), dir, path.as_ptr(), flags) };
    check(result, "move_mount").map(drop)
}

/// Makes a mount the root and lets go of everything that was there before.
///
/// `pivot_root` stacks the old root on top of the new one, and on the old root stands our own base. A mount that is left
/// on that stack is where `/..` leads, so both are taken off, and then it is proved that nothing is left: a sandbox
/// whose `/..` is not its `/` never starts.
pub(super) fn pivot(root: BorrowedFd<'_>) -> Result<(), Fault> {
    // SAFETY: a live descriptor.
    check(libc::c_long::from(unsafe { libc::fchdir(root.as_raw_fd()) }), "fchdir")?;
    // SAFETY: two strings that outlive the call.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }, "pivot_root")?;
    for _ in 0..OLD_MOUNTS {
        // SAFETY: a string that outlives the call; `.` leads to the topmost mount of the stack.
        check(libc::c_long::from(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }), "umount2")
            .map_err(|fault| fault.about("a mount of the host stays above the sandbox's root"))?;
    }
    // SAFETY: a string that outlives the call.
    check(libc::c_long::from(unsafe { libc::chdir(c"/".as_ptr()) }), "chdir")?;
    let new = identity(root, c"")?;
    for path in [c"/", c"/..", c"/../..", c"."] {
        if identity_at(libc::AT_FDCWD, path, 0)? != new {
            return Err(Fault::check(format!("{} is not the sandbox's own root", path.to_string_lossy())));
        }
    }
    Ok(())
}

/// What stands on the new root after `pivot_root`: the old root, and the base on top of it.
const OLD_MOUNTS: usize = 2;

/// Device and inode of what a handle refers to.
pub(super) fn identity(file: BorrowedFd<'_>, path: &CStr) -> Result<(libc::dev_t, libc::ino_t), Fault> {
    identity_at(file.as_raw_fd(), path, libc::AT_EMPTY_PATH)
}

fn identity_at(dir: libc::c_int, path: &CStr, flags: libc::c_int) -> Result<(libc::dev_t, libc::ino_t), Fault> {
    // SAFETY: `stat` is plain integers, overwritten by the call.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: a string that outlives the call and a buffer of the right type.
    check(libc::c_long::from(unsafe { libc::fstatat(dir, path.as_ptr(), &mut stat, flags) }), "fstatat")?;
    Ok((stat.st_dev, stat.st_ino))
}

/// The file type bits of what a handle refers to.
pub(super) fn kind(file: BorrowedFd<'_>) -> Result<libc::mode_t, Fault> {
    // SAFETY: `stat` is plain integers, overwritten by the call.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: a live descriptor and a buffer of the right type.
    check(libc::c_long::from(unsafe { libc::fstat(file.as_raw_fd(), &mut stat) }), "fstat")?;
    Ok(stat.st_mode & libc::S_IFMT)
}

/// Makes a directory unless there is one.
pub(super) fn make_directory(parent: BorrowedFd<'_>, name: &str, mode: u32) -> Result<(), Fault> {
    let c_name = c_string(name)?;
    // SAFETY: a live descriptor and a string that outlives the call.
    let result = unsafe { libc::mkdirat(parent.as_raw_fd(), c_name.as_ptr(), mode) };
    match check(libc::c_long::from(result), "mkdirat") {
        Err(fault) if fault.errno() == libc::EEXIST => Ok(()),
        other => other.map(drop).map_err(|fault| fault.about(name)),
    }
}

/// Makes a symbolic link.
pub(super) fn make_symlink(parent: BorrowedFd<'_>, name: &str, to: &str) -> Result<(), Fault> {
    let (name, to) = (c_string(name)?, c_string(to)?);
    // SAFETY: a live descriptor and strings that outlive the call.
    let result = unsafe { libc::symlinkat(to.as_ptr(), parent.as_raw_fd(), name.as_ptr()) };
    check(libc::c_long::from(result), "symlinkat").map(drop)
}
