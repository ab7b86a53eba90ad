//! Ways out through calls of the kernel: made in earnest where that is harmless, with senseless arguments elsewhere.
//!
//! A call with senseless arguments is refused only if it is refused before the kernel looks at them, since no call accepts
//! them: -1 is no address, no descriptor, no process, no length and no known flag. Zero would not do: with it some calls
//! change the name of the machine.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use crate::call::{address, address_mut, c, descriptor, in_a_child, open_at, raw};
use crate::report::Attack;

const SENSELESS: [i64; 6] = [-1; 6];

fn senseless(attack: &Attack, calls: &[(&str, i64)]) {
    for (name, number) in calls {
        attack.refused(&format!("{name}, senseless"), raw(*number, &SENSELESS));
    }
}

/// P07: words put into a terminal's mouth, also by a command whose high bits differ.
pub(crate) fn terminals(attack: &Attack) {
    let own = open_at(libc::AT_FDCWD, "/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY, 0);
    let fds = (0..3).chain(own.as_ref().ok().map(AsRawFd::as_raw_fd)).collect::<Vec<_>>();
    let byte = [b'x', 0];
    for fd in fds {
        for (name, command) in [("TIOCSTI", 0x5412), ("TIOCLINUX", 0x541c), ("TIOCCONS", 0x541d), ("TIOCSETD", 0x5423)]
        {
            for (bits, high) in [("", 0), (", high bits", 1 << 32), (", highest bit", i64::MIN)] {
                let result = raw(libc::SYS_ioctl, &[fd.into(), command | high, address(&byte)]);
                attack.refused(&format!("{name} on descriptor {fd}{bits}"), result);
            }
        }
    }
    attack.fails("open the controlling terminal", open_at(libc::AT_FDCWD, "/dev/tty", libc::O_RDWR, 0));
    let (session, pid) = (raw(libc::SYS_getsid, &[0]).unwrap_or(0), i64::from(std::process::id()));
    attack.say(session == pid, "a session of its own", format!("session {session}, process {pid}"));
    for name in ["tty0", "tty1", "console", "vcs", "ttyS0"] {
        attack.absent(
            &format!("open /dev/{name}"),
            open_at(libc::AT_FDCWD, &format!("/dev/{name}"), libc::O_RDONLY | libc::O_NOCTTY | libc::O_NONBLOCK, 0),
        );
    }
}

/// P10: new namespaces and those of others.
pub(crate) fn namespaces(attack: &Attack) {
    for (name, flag) in [
        ("user", libc::CLONE_NEWUSER),
        ("mount", libc::CLONE_NEWNS),
        ("network", libc::CLONE_NEWNET),
        ("pid", libc::CLONE_NEWPID),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
        ("cgroup", libc::CLONE_NEWCGROUP),
        ("time", libc::CLONE_NEWTIME),
    ] {
        // In a child, so that this process stays where it is. Its code is the error number.
        let error =
            in_a_child(|| raw(libc::SYS_unshare, &[flag.into()]).err().and_then(|e| e.raw_os_error()).unwrap_or(0));
        attack.say(matches!(error, libc::EPERM | libc::ENOSYS), &format!("unshare {name}"), format!("error {error}"));
        // A clone with a stack of none goes on like a fork.
        let error =
            in_a_child(|| match raw(libc::SYS_clone, &[i64::from(flag) | i64::from(libc::SIGCHLD), 0, 0, 0, 0]) {
                // SAFETY: ends the child of the child at once.
                Ok(0) => unsafe { libc::_exit(0) },
                other => other.err().and_then(|e| e.raw_os_error()).unwrap_or(0),
            });
        // The time namespace shares its bit with the signal and is not made by this call.
        let harmless = flag == libc::CLONE_NEWTIME;
        attack.say(
            harmless || matches!(error, libc::EPERM | libc::ENOSYS),
            &format!("clone {name}"),
            format!("error {error}"),
        );
        let arguments = [flag as u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0, 0, 0, 0];
        let error =
            in_a_child(|| match raw(libc::SYS_clone3, &[address(&arguments), size_of_val(&arguments) as i64]) {
                // SAFETY: as above.
                Ok(0) => unsafe { libc::_exit(0) },
                other => other.err().and_then(|e| e.raw_os_error()).unwrap_or(0),
            });
        // Only this answer makes a C library fall back to the older call.
        attack.say(error == libc::ENOSYS, &format!("clone3 {name}"), format!("error {error}"));
    }
    for name in ["user", "mnt", "net", "pid", "ipc", "uts", "cgroup"] {
        let handle = open_at(libc::AT_FDCWD, &format!("/proc/self/ns/{name}"), libc::O_RDONLY, 0);
        let entered = handle.and_then(|handle| raw(libc::SYS_setns, &[handle.as_raw_fd().into(), 0]));
        attack.refused(&format!("setns {name}"), entered);
    }
    senseless(attack, &[("setns", libc::SYS_setns), ("listns", 470)]);
}

/// P11: mounts, by the old calls and the new ones.
pub(crate) fn mounts(attack: &Attack) {
    let place = format!("{}/mount", attack.text("scratch"));
    let _ = fs::create_dir(&place);
    let (none, place, tmpfs, bind) = (c("none"), c(&place), c("tmpfs"), c("/"));
    let at = |text: &std::ffi::CStr| text.as_ptr() as i64;
    let over = libc::MS_BIND as i64;
    attack.refused("mount a tmpfs", raw(libc::SYS_mount, &[at(&none), at(&place), at(&tmpfs), 0, 0]));
    attack.refused("bind the root", raw(libc::SYS_mount, &[at(&bind), at(&place), 0, over, 0]));
    let again = (libc::MS_REMOUNT | libc::MS_BIND) as i64;
    attack.refused("make a mount writable", raw(libc::SYS_mount, &[at(&none), at(&place), 0, again, 0]));
    attack.refused("umount", raw(libc::SYS_umount2, &[at(&place), libc::MNT_DETACH.into()]));
    attack.refused("chroot", raw(libc::SYS_chroot, &[at(&place)]).and_then(|_| raw(libc::SYS_chroot, &[at(&c("."))])));
    attack.refused("fsopen", descriptor(libc::SYS_fsopen, &[at(&tmpfs), 1]));
    attack.refused(
        "open_tree",
        descriptor(libc::SYS_open_tree, &[libc::AT_FDCWD.into(), at(&bind), 1 | i64::from(libc::O_CLOEXEC)]),
    );
    attack.refused("fspick", descriptor(libc::SYS_fspick, &[libc::AT_FDCWD.into(), at(&bind), 1]));
    let change = [0u64, 1, 0, 0];
    let size = size_of_val(&change) as i64;
    attack.refused(
        "mount_setattr",
        raw(libc::SYS_mount_setattr, &[libc::AT_FDCWD.into(), at(&bind), 0, address(&change), size]),
    );
    senseless(
        attack,
        &[
            ("mount", libc::SYS_mount),
            ("umount2", libc::SYS_umount2),
            ("pivot_root", libc::SYS_pivot_root),
            ("chroot", libc::SYS_chroot),
            ("open_tree", libc::SYS_open_tree),
            ("move_mount", libc::SYS_move_mount),
            ("fsopen", libc::SYS_fsopen),
            ("fsconfig", libc::SYS_fsconfig),
            ("fsmount", libc::SYS_fsmount),
            ("fspick", libc::SYS_fspick),
            ("mount_setattr", libc::SYS_mount_setattr),
            ("statmount", 457),
            ("listmount", 458),
            ("open_tree_attr", 467),
        ],
    );
}

/// P12: parts of the kernel that no build needs.
pub(crate) fn kernel_surface(attack: &Attack) {
    let mut parameters = [0u8; 120];
    attack.refused("io_uring_setup", descriptor(libc::SYS_io_uring_setup, &[4, address_mut(&mut parameters)]));
    attack.refused("userfaultfd", descriptor(libc::SYS_userfaultfd, &[1 | i64::from(libc::O_CLOEXEC)]));
    // A software clock of this process alone: what the usual settings let everyone count.
    let mut event = [0u64; 16];
    (event[0], event[5]) = (1 | 128 << 32, 1 << 5 | 1 << 6);
    attack.refused("perf_event_open", descriptor(libc::SYS_perf_event_open, &[address(&event), 0, -1, -1, 0]));
    senseless(
        attack,
        &[
            ("bpf", libc::SYS_bpf),
            ("perf_event_open", libc::SYS_perf_event_open),
            ("userfaultfd", libc::SYS_userfaultfd),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("io_uring_enter", libc::SYS_io_uring_enter),
            ("io_uring_register", libc::SYS_io_uring_register),
            ("kexec_load", libc::SYS_kexec_load),
            ("kexec_file_load", libc::SYS_kexec_file_load),
            ("init_module", libc::SYS_init_module),
            ("finit_module", libc::SYS_finit_module),
            ("delete_module", libc::SYS_delete_module),
            ("iopl", libc::SYS_iopl),
            ("ioperm", libc::SYS_ioperm),
            ("modify_ldt", libc::SYS_modify_ldt),
            ("swapon", libc::SYS_swapon),
            ("swapoff", libc::SYS_swapoff),
            ("reboot", libc::SYS_reboot),
            ("syslog", libc::SYS_syslog),
            ("acct", libc::SYS_acct),
            ("quotactl", libc::SYS_quotactl),
            ("quotactl_fd", 443),
            ("lookup_dcookie", libc::SYS_lookup_dcookie),
            ("fanotify_init", libc::SYS_fanotify_init),
            ("fanotify_mark", libc::SYS_fanotify_mark),
            ("open_by_handle_at", libc::SYS_open_by_handle_at),
            ("name_to_handle_at", libc::SYS_name_to_handle_at),
            ("vmsplice", libc::SYS_vmsplice),
            ("memfd_secret", libc::SYS_memfd_secret),
            ("mbind", libc::SYS_mbind),
            ("set_mempolicy", libc::SYS_set_mempolicy),
            ("move_pages", libc::SYS_move_pages),
            ("migrate_pages", libc::SYS_migrate_pages),
            ("settimeofday", libc::SYS_settimeofday),
            ("clock_settime", libc::SYS_clock_settime),
            ("clock_adjtime", libc::SYS_clock_adjtime),
            ("adjtimex", libc::SYS_adjtimex),
            ("sethostname", libc::SYS_sethostname),
            ("setdomainname", libc::SYS_setdomainname),
            ("openat2", libc::SYS_openat2),
            ("process_mrelease", 448),
            ("nfsservctl", 180),
            ("vhangup", libc::SYS_vhangup),
            ("uselib", 134),
            ("sysfs", 139),
            ("_sysctl", 156),
            ("map_shadow_stack", 453),
            ("lsm_set_self_attr", 460),
            ("cachestat", 451),
        ],
    );
}

/// P13: keyrings, and a key that the host's session holds.
pub(crate) fn keyrings(attack: &Attack) {
    const SESSION: i64 = -3;
    const SEARCH: i64 = 10;
    let (user, name, own) = (c("user"), c("anneal-attack"), c("anneal-attack-own"));
    let at = |text: &std::ffi::CStr| text.as_ptr() as i64;
    if attack.arg("key").is_some() {
        let found = raw(libc::SYS_keyctl, &[SEARCH, SESSION, at(&user), at(&name), 0]);
        attack.refused("find a key of the host's session", found.or_else(none_there(attack)));
        attack.refused(
            "request it",
            raw(libc::SYS_request_key, &[at(&user), at(&name), 0, 0]).or_else(none_there(attack)),
        );
    }
    attack.refused("add a key", raw(libc::SYS_add_key, &[at(&user), at(&own), at(&own), 1, SESSION]));
    attack.refused("ask for the session keyring", raw(libc::SYS_keyctl, &[0, SESSION, 0]));
    attack.refused("join a session keyring", raw(libc::SYS_keyctl, &[1, 0]));
    senseless(
        attack,
        &[("keyctl", libc::SYS_keyctl), ("add_key", libc::SYS_add_key), ("request_key", libc::SYS_request_key)],
    );
    let shown = fs::read("/proc/keys").map_or(0, |bytes| bytes.len());
    attack.say(shown == 0, "list keys", format!("{shown} bytes"));
}

/// A key that is not there counts as a wall too: the keyring is another one.
fn none_there(_: &Attack) -> impl Fn(io::Error) -> io::Result<i64> {
    |error| match error.raw_os_error() {
        Some(libc::ENOKEY) => Err(io::Error::from_raw_os_error(libc::EPERM)),
        _ => Err(error),
    }
}

/// P15: the same kernel by the doors of other architectures.
pub(crate) fn architectures(attack: &Attack) {
    let closed = |what: &str, code: i32| {
        attack.say(
            code == 0 || code == -libc::SIGSYS || code == -libc::SIGSEGV,
            what,
            if code < 0 { format!("signal {}", -code) } else { format!("code {code}") },
        );
    };
    for (name, number) in
        [("20, which names the process", 20i64), ("21, which mounts", 21), ("310, which unshares", 310)]
    {
        let code = in_a_child(|| {
            // SAFETY: zero is no address and no flag, so the calls fail or only name the process; no memory is touched.
            unsafe {
                std::arch::asm!("push rbx", "xor ebx, ebx", "int 0x80", "pop rbx", inlateout("rax") number => _, in("rcx") 0, in("rdx") 0,
                    in("rsi") 0, in("rdi") 0, out("r8") _, out("r9") _, out("r10") _, out("r11") _)
            };
            // Whatever it answers, the call was made.
            1
        });
        closed(&format!("32-bit call {name}"), code);
    }
    for (name, number) in
        [("39, which names the process", 39), ("272, which unshares", 272), ("165, which mounts", 165)]
    {
        let code = in_a_child(|| match raw(0x4000_0000 | number, &[0]) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => 0,
            _ => 1,
        });
        closed(&format!("x32 call {name}"), code);
    }
}

/// P17: how the kernel sees this program.
pub(crate) fn process_settings(attack: &Attack) {
    for (name, value) in [
        ("PER_LINUX32", 0x0008i64),
        ("ADDR_COMPAT_LAYOUT", 0x020_0000),
        ("UNAME26", 0x002_0000),
        ("READ_IMPLIES_EXEC", 0x040_0000),
    ] {
        let error = in_a_child(|| i32::from(raw(libc::SYS_personality, &[value]).is_ok()));
        attack.say(error == 0, &format!("personality {name}"), if error == 0 { "refused" } else { "done" });
    }
    let now = raw(libc::SYS_personality, &[0xffff_ffff]);
    attack.say(matches!(now, Ok(0x004_0000)), "personality", format!("{now:x?}"));
    for option in 1..15 {
        let set = raw(libc::SYS_prctl, &[libc::PR_SET_MM.into(), option, 0, 0, 0]);
        attack.refused(&format!("PR_SET_MM {option}"), set);
    }
}

/// P21: device files, and the mark that overlays read as removal.
pub(crate) fn device_nodes(attack: &Attack) {
    for (name, kind, major, minor) in [
        ("memory", libc::S_IFCHR, 1, 1),
        ("a disk", libc::S_IFBLK, 254, 0),
        ("fuse", libc::S_IFCHR, 10, 229),
        ("kvm", libc::S_IFCHR, 10, 232),
        ("btrfs control", libc::S_IFCHR, 10, 234),
        ("loop", libc::S_IFBLK, 7, 0),
        ("null", libc::S_IFCHR, 1, 3),
        ("a whiteout", libc::S_IFCHR, 0, 0),
    ] {
        for place in ["scratch", "out"] {
            let path = c(&format!("{}/node", attack.text(place)));
            let (at, mode) = (path.as_ptr() as i64, i64::from(kind | 0o666));
            let device = libc::makedev(major, minor) as i64;
            attack.refused(&format!("make {name} in {place}"), raw(libc::SYS_mknod, &[at, mode, device]));
            let from: i64 = libc::AT_FDCWD.into();
            attack.refused(
                &format!("make {name} in {place} by handle"),
                raw(libc::SYS_mknodat, &[from, at, mode, device]),
            );
            let _ = fs::remove_file(format!("{}/node", attack.text(place)));
        }
    }
    // Renaming can leave a whiteout too.
    let (old, new) = (format!("{}/old", attack.text("scratch")), format!("{}/new", attack.text("scratch")));
    let _ = fs::write(&old, "x");
    let (from, to) = (c(&old), c(&new));
    let cwd: i64 = libc::AT_FDCWD.into();
    let _ = raw(libc::SYS_renameat2, &[cwd, from.as_ptr() as i64, cwd, to.as_ptr() as i64, 4]);
    use std::os::unix::fs::FileTypeExt;
    let left = fs::symlink_metadata(&old).is_ok_and(|found| found.file_type().is_char_device());
    attack.say(!left, "leave a whiteout by renaming", if left { "left" } else { "none" });
}
