//! The step from the host into new namespaces.
//!
//! One `clone` makes all of them. It asks for `CLONE_PARENT`, so process 1 is a child of the launcher itself:
//! the launcher kills it and waits for it without anything in between, and once that wait returns the kernel has
//! ended every process of the namespace. The process that called `clone` writes the id maps, since mapping to
//! an id that is not one's own takes a capability on the host, and is done.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use anneal_sandbox_op::{Event, IdMap, Namespace};

use crate::control::Control;
use crate::syscall::{self, Fault, Side, own};

/// Makes the namespaces. Returns in process 1 only; its maker ends here.
pub(crate) fn enter(
    control: &mut Control,
    namespaces: &[Namespace],
    uid: IdMap,
    gid: IdMap,
    deny_setgroups: bool,
) -> Result<(), Fault> {
    let (mut mapped, map_done) = pipe()?;
    let flags = namespaces.iter().fold(libc::CLONE_PARENT as u64, |flags, namespace| flags | flag(*namespace));
    match syscall::clone(flags, "clone")? {
        Side::Child => {
            drop(map_done);
            syscall::die_with_parent()?;
            let mut byte = [0];
            match mapped.read(&mut byte) {
                Ok(1) => Ok(()),
                // The maker has reported what went wrong.
                _ => syscall::exit_now(1),
            }
        }
        Side::Parent(pid) => {
            drop(mapped);
            control.send(&Event::Entered { pid })?;
            if let Err(fault) = map_ids(pid, uid, gid, deny_setgroups) {
                syscall::kill(pid, libc::SIGKILL)?;
                return Err(fault);
            }
            let mut map_done = map_done;
            map_done.write_all(&[1]).map_err(|e| Fault::io("write to process 1", &e))?;
            syscall::exit_now(0)
        }
    }
}

/// Makes a user namespace and stays in it.
pub(crate) fn new_users() -> Result<(), Fault> {
    // SAFETY: one integer; there is one thread.
    syscall::check(libc::c_long::from(unsafe { libc::unshare(libc::CLONE_NEWUSER) }), "unshare user").map(drop)
}

/// Enters a user namespace that the caller owns.
pub(crate) fn join_users(users: BorrowedFd<'_>) -> Result<(), Fault> {
    // SAFETY: integers only; there is one thread.
    let result = unsafe { libc::setns(users.as_raw_fd(), libc::CLONE_NEWUSER) };
    syscall::check(libc::c_long::from(result), "setns user")?;
    // A change of credentials can take the signal on the parent's death away.
    syscall::die_with_parent()
}

/// Gives the pipe that is standard output and error to a user.
pub(crate) fn give_log(uid: u32, gid: u32) -> Result<(), Fault> {
    // SAFETY: integers only.
    syscall::check(libc::c_long::from(unsafe { libc::fchown(1, uid, gid) }), "fchown of the log").map(drop)
}

/// A pipe whose ends exec closes.
pub(crate) fn pipe() -> Result<(File, File), Fault> {
    let mut ends = [0; 2];
    // SAFETY: the array holds the two descriptors the call writes.
    syscall::check(libc::c_long::from(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }), "pipe2")?;
    let [read, write] = ends;
    let read: OwnedFd = own(read.into(), "pipe2")?;
    let write: OwnedFd = own(write.into(), "pipe2")?;
    Ok((File::from(read), File::from(write)))
}

fn flag(namespace: Namespace) -> u64 {
    let flag = match namespace {
        Namespace::User => libc::CLONE_NEWUSER,
        Namespace::Mount => libc::CLONE_NEWNS,
        Namespace::Pid => libc::CLONE_NEWPID,
        Namespace::Network => libc::CLONE_NEWNET,
        Namespace::Ipc => libc::CLONE_NEWIPC,
        Namespace::Uts => libc::CLONE_NEWUTS,
        Namespace::Cgroup => libc::CLONE_NEWCGROUP,
    };
    flag as u64
}

fn map_ids(pid: i32, uid: IdMap, gid: IdMap, deny_setgroups: bool) -> Result<(), Fault> {
    if deny_setgroups {
        write_whole(pid, "setgroups", "deny")?;
    }
    write_whole(pid, "uid_map", &format!("{} {} 1\n", uid.inside, uid.outside))?;
    write_whole(pid, "gid_map", &format!("{} {} 1\n", gid.inside, gid.outside))
}

/// Writes a process's file in one call, as the kernel demands of the maps.
fn write_whole(pid: i32, name: &str, content: &str) -> Result<(), Fault> {
    let path = format!("/proc/{pid}/{name}");
    let call = || format!("write {content:?} to /proc/PID/{name}");
    let mut file = File::options().write(true).open(&path).map_err(|e| Fault::io(call(), &e))?;
    file.write_all(content.as_bytes()).map_err(|e| Fault::io(call(), &e))
}

/// Enters this process, which has one thread, in a control group. The kernel takes 0 for the task that writes.
pub(crate) fn join_group(tasks: &str) -> Result<(), Fault> {
    std::fs::write(tasks, "0").map_err(|e| Fault::io("join the control group", &e).about(tasks))
}

/// Lets the clocks that count from boot start at zero in the children of this process.
pub(crate) fn zero_clocks() -> Result<(), Fault> {
    // SAFETY: one integer; there is one thread.
    syscall::check(libc::c_long::from(unsafe { libc::unshare(libc::CLONE_NEWTIME) }), "unshare time")?;
    let seconds = |clock| syscall::clock(clock) / 1_000_000_000;
    let offsets =
        format!("monotonic -{} 0\nboottime -{} 0\n", seconds(libc::CLOCK_MONOTONIC), seconds(libc::CLOCK_BOOTTIME));
    std::fs::write("/proc/self/timens_offsets", offsets).map_err(|e| Fault::io("write timens_offsets", &e))
}

/// Sets the names of this machine.
pub(crate) fn hostname(name: &str, domain: &str) -> Result<(), Fault> {
    // SAFETY: pointer and length describe a live string each.
    let result = unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) };
    syscall::check(libc::c_long::from(result), "sethostname")?;
    // SAFETY: as above.
    let result = unsafe { libc::setdomainname(domain.as_ptr().cast(), domain.len()) };
    syscall::check(libc::c_long::from(result), "setdomainname").map(drop)
}

/// Brings the loopback interface up.
pub(crate) fn loopback_up() -> Result<(), Fault> {
    // SAFETY: integers only.
    let socket = own(
        libc::c_long::from(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }),
        "socket",
    )?;
    // SAFETY: `ifreq` is plain bytes and integers; zero is an empty request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = *byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request outlives the call and names an interface by a string that ends with zero.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) };
    syscall::check(libc::c_long::from(result), "ioctl SIOCSIFFLAGS").map(drop)
}
