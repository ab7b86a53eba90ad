//! Ways out through other processes, and what this one is allowed.

use std::fs::{self, File, OpenOptions};
use std::sync::atomic::AtomicU8;

use crate::call::{address, in_a_child, open_at, raw, status};
use crate::report::Attack;

/// A byte that another process may lose.
static SPARE: AtomicU8 = AtomicU8::new(0);

/// Process 1 of the sandbox and the process of the host that runs as the same user.
fn others(attack: &Attack) -> Vec<u32> {
    let mut others = if attack.arg("outside").is_some() { vec![] } else { vec![1] };
    others.extend(attack.number::<u32>("pid"));
    others
}

/// P04: the program that made the sandbox must not be there to be written, nor kept open until it can be.
pub(crate) fn write_programs(attack: &Attack) {
    let write = |path: &str| OpenOptions::new().write(true).open(path);
    attack.fails("write /proc/self/exe", write("/proc/self/exe"));
    for pid in others(attack) {
        let path = format!("/proc/{pid}/exe");
        attack.denied(&format!("write {path}"), write(&path));
        attack.denied(&format!("read {path}"), File::open(&path));
        let handle = open_at(libc::AT_FDCWD, &path, libc::O_PATH, 0);
        attack.denied(&format!("hold a handle of {path}"), handle);
    }
}

/// P05: what `/proc` offers of other processes.
pub(crate) fn look_into_others(attack: &Attack) {
    for pid in others(attack) {
        for name in ["root", "cwd", "exe", "ns/mnt", "ns/user", "ns/net", "ns/pid"] {
            let path = format!("/proc/{pid}/{name}");
            attack.denied(&format!("readlink {path}"), fs::read_link(&path));
            attack.denied(&format!("open {path}"), File::open(&path));
            attack.denied(&format!("metadata {path}"), fs::metadata(&path));
        }
        for name in ["root/", "root/..", "cwd/", "fd", "fdinfo", "map_files"] {
            attack.denied(&format!("list /proc/{pid}/{name}"), fs::read_dir(format!("/proc/{pid}/{name}")));
        }
        for name in ["environ", "mem", "maps", "auxv", "stack", "syscall"] {
            attack.denied(&format!("read /proc/{pid}/{name}"), fs::read(format!("/proc/{pid}/{name}")));
        }
        // Opened and not read: a pipe would keep whoever reads it waiting.
        for fd in [0, 1, 2, 3] {
            attack.denied(&format!("open /proc/{pid}/fd/{fd}"), File::open(format!("/proc/{pid}/fd/{fd}")));
        }
        attack.denied(&format!("list /proc/{pid}/task/{pid}/fd"), fs::read_dir(format!("/proc/{pid}/task/{pid}/fd")));
    }
    let names =
        fs::read_dir("/proc").map(|entries| entries.flatten().map(|entry| entry.file_name()).collect::<Vec<_>>());
    let pids =
        names.unwrap_or_default().iter().filter_map(|name| name.to_str()?.parse::<u32>().ok()).collect::<Vec<_>>();
    let strangers = pids.iter().filter(|pid| **pid != 1 && **pid != std::process::id()).count();
    attack.say(strangers == 0, "see other processes", format!("{strangers}"));
}

/// P06: descriptors, working directory and root that came with the process.
pub(crate) fn inherited(attack: &Attack) {
    let mut open: Vec<i32> = Vec::new();
    for fd in 3..1024 {
        if raw(libc::SYS_fcntl, &[fd, libc::F_GETFD.into()]).is_ok() {
            open.push(fd as i32);
        }
    }
    attack.say(open.is_empty(), "descriptors above the three standard ones", format!("{open:?}"));
    for fd in 0..3 {
        let moved = raw(libc::SYS_fchdir, &[fd]);
        attack.fails(&format!("change to descriptor {fd}"), moved);
        attack.fails(&format!("the parent of descriptor {fd}"), open_at(fd as i32, "..", libc::O_PATH, 0));
    }
    for fd in open {
        let path = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
        attack.fails(&format!("open .. of descriptor {fd}, {}", path.display()), open_at(fd, "..", libc::O_PATH, 0));
    }
    let cwd = std::env::current_dir().map(|path| path.display().to_string());
    attack.say(cwd.as_ref().is_ok_and(|path| path.starts_with('/')), "working directory", format!("{cwd:?}"));
    let reached = fs::read(format!("{}{}", "../".repeat(40), attack.text("canary").trim_start_matches('/')));
    attack.absent("a file of the host, upwards from the working directory", reached);
}

/// P08: other processes are not to be traced, read, written or asked for their descriptors.
pub(crate) fn take_over_others(attack: &Attack) {
    let mut byte = [0u8];
    let own = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    for pid in others(attack) {
        let target = i64::from(pid);
        attack.fails(&format!("attach to {pid}"), trace(libc::PTRACE_ATTACH, target));
        attack.fails(&format!("seize {pid}"), trace(libc::PTRACE_SEIZE, target));
        // A static program lies at the same addresses in each process, and the companion is this program.
        let there = libc::iovec { iov_base: SPARE.as_ptr().cast(), iov_len: 1 };
        for (name, number) in [("read", libc::SYS_process_vm_readv), ("write", libc::SYS_process_vm_writev)] {
            let result = raw(number, &[target, address(&own), 1, address(&there), 1, 0]);
            attack.fails(&format!("{name} the memory of {pid}"), result);
        }
        attack.fails(&format!("compare with {pid}"), raw(libc::SYS_kcmp, &[1, target, 0, 0, 0]));
        let handle = raw(libc::SYS_pidfd_open, &[target, 0]);
        let taken = handle.and_then(|handle| raw(libc::SYS_pidfd_getfd, &[handle, 0, 0]));
        attack.fails(&format!("take a descriptor of {pid}"), taken);
    }
}

/// Traces a process and lets it go on again: one that stays stopped would be of no more use.
fn trace(how: libc::c_uint, target: i64) -> std::io::Result<i64> {
    let traced = raw(libc::SYS_ptrace, &[how.into(), target, 0, 0])?;
    if how == libc::PTRACE_SEIZE {
        raw(libc::SYS_ptrace, &[libc::PTRACE_INTERRUPT.into(), target, 0, 0])?;
    }
    let _ = raw(libc::SYS_wait4, &[target, 0, libc::__WALL.into(), 0]);
    let _ = raw(libc::SYS_ptrace, &[libc::PTRACE_DETACH.into(), target, 0, 0]);
    let _ = raw(libc::SYS_kill, &[target, libc::SIGCONT.into()]);
    Ok(traced)
}

/// P09: signals stay within. Signal 0 only asks.
pub(crate) fn signal_others(attack: &Attack) {
    attack.fails("signal everyone", raw(libc::SYS_kill, &[-1, 0]));
    if let Some(pid) = attack.number::<i64>("pid") {
        attack.fails("signal a process of the host by its number", raw(libc::SYS_kill, &[pid, 0]));
        attack.fails("signal its group", raw(libc::SYS_kill, &[-pid, 0]));
        attack.fails("hold a handle of it", raw(libc::SYS_pidfd_open, &[pid, 0]));
        let queued = raw(libc::SYS_tgkill, &[pid, pid, 0]);
        attack.fails("signal its thread", queued);
    }
    if attack.arg("outside").is_none() {
        // Process 1 takes no signal from within that would end it; being here afterwards means that it lives.
        let _ = raw(libc::SYS_kill, &[1, libc::SIGKILL.into()]);
        std::thread::sleep(std::time::Duration::from_millis(20));
        attack.say(true, "kill process 1", "still here");
    }
}

/// P16: what the kernel says this process may do.
pub(crate) fn privileges(attack: &Attack) {
    let none = "0000000000000000";
    for (field, wanted) in [
        ("CapInh", none),
        ("CapPrm", none),
        ("CapEff", none),
        ("CapBnd", none),
        ("CapAmb", none),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        attack.equals(field, &status(field), wanted);
    }
    let bits = raw(libc::SYS_prctl, &[libc::PR_GET_SECUREBITS.into(), 0, 0, 0, 0]);
    attack.say(matches!(bits, Ok(bits) if bits & 0b1110_1111 == 0b1110_1111), "secure bits", format!("{bits:?}"));
    let loosen = raw(libc::SYS_prctl, &[libc::PR_SET_SECUREBITS.into(), 0, 0, 0, 0]);
    attack.fails("change the secure bits", loosen);
    let raise = raw(libc::SYS_prctl, &[libc::PR_CAP_AMBIENT.into(), libc::PR_CAP_AMBIENT_RAISE.into(), 0, 0, 0]);
    attack.fails("raise an ambient capability", raise);
    attack.denied(
        "look at the memory of process 1",
        if attack.arg("outside").is_some() { Ok(()) } else { File::open("/proc/1/mem").map(drop) },
    );
}

/// P18: no other user, no other group, no other map.
pub(crate) fn become_another(attack: &Attack) {
    let own = (raw(libc::SYS_getuid, &[]).unwrap_or(0), raw(libc::SYS_getgid, &[]).unwrap_or(0));
    for id in [0, 1, 65534, 4_200_001, 1001].into_iter().filter(|id| *id != own.0 && *id != own.1) {
        attack.fails(&format!("become user {id}"), raw(libc::SYS_setuid, &[id]));
        attack.fails(&format!("become group {id}"), raw(libc::SYS_setgid, &[id]));
        attack.fails(&format!("become user {id} in part"), raw(libc::SYS_setresuid, &[-1, id, -1]));
        // This one never fails: it says who it was before, twice if nothing has changed.
        let _ = raw(libc::SYS_setfsuid, &[id]);
        let after = raw(libc::SYS_setfsuid, &[-1]);
        attack.say(
            matches!(after, Ok(after) if after == own.0),
            &format!("open files as user {id}"),
            format!("{after:?}"),
        );
    }
    let groups = [own.1 as u32];
    attack.fails("set supplementary groups", raw(libc::SYS_setgroups, &[1, address(&groups)]));
    attack.fails("give up supplementary groups", raw(libc::SYS_setgroups, &[0, 0]));
    for map in ["uid_map", "gid_map"] {
        attack.fails(&format!("write {map}"), fs::write(format!("/proc/self/{map}"), "0 0 1\n"));
    }
    let header = [0x2008_0522u32, 0];
    let data = [1u32, 1, 0, 0, 0, 0];
    attack.fails("set a capability", raw(libc::SYS_capset, &[address(&header), address(&data)]));
    // A set-user-id program would be the other way; no mount lets one work and no file can become one.
    let code = in_a_child(|| i32::from(raw(libc::SYS_setreuid, &[0, 0]).is_ok() && own.0 != 0));
    attack.say(code == 0, "become user 0 in a child", format!("code {code}"));
}
