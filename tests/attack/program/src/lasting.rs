//! What could outlive a run: memory in the kernel's keeping, processes that fork away, outputs that go on changing.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::call::{c, raw};
use crate::report::Attack;

/// How long a process that forked away goes on, should it survive and should nobody tell it to stop.
const LIFE: Duration = Duration::from_secs(6);
const BEAT: Duration = Duration::from_millis(5);

/// P24: segments, semaphores and queues of a process of the host.
pub(crate) fn shared_memory(attack: &Attack) {
    let key = attack.number::<i64>("memory").unwrap_or(-1);
    for (name, number, args) in [
        ("a segment", libc::SYS_shmget, [key, 0, 0]),
        ("a set of semaphores", libc::SYS_semget, [key, 0, 0]),
        ("a queue", libc::SYS_msgget, [key, 0, 0]),
    ] {
        attack.absent(&format!("find {name} of the host"), raw(number, &args));
    }
    let name = c("anneal-attack");
    attack.absent("find a named queue of the host", raw(libc::SYS_mq_open, &[name.as_ptr() as i64, 0, 0, 0]));
    for (table, what) in [("shm", "segments"), ("sem", "semaphores"), ("msg", "queues")] {
        let lines = fs::read_to_string(format!("/proc/sysvipc/{table}")).unwrap_or_default().lines().count();
        attack.say(lines <= 1, &format!("list {what}"), format!("{lines} lines"));
    }
    for name in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        attack.say(false, "find a file in /dev/shm", name.file_name().to_string_lossy());
    }
}

/// P24b: leaves all of these; the next run looks. Its own, in this run, are there.
pub(crate) fn leave_shared_memory(attack: &Attack) {
    let key = attack.number::<i64>("leave").unwrap_or(0x616e_6e65);
    let found = raw(libc::SYS_shmget, &[key, 0, 0]);
    attack.absent("find a segment that an earlier run left", found);
    attack.absent("find a file that an earlier run left", fs::read("/dev/shm/left"));
    let _ = fs::write("/dev/shm/left", "x");
    let made = raw(libc::SYS_shmget, &[key, 4096, i64::from(libc::IPC_CREAT | 0o666)]);
    attack.say(made.is_ok(), "leave a segment", format!("{made:?}"));
}

/// Removes what the control of P24b has left on the host, as whoever runs the suite: a run may have been another user's.
pub(crate) fn forget(attack: &Attack) -> ExitCode {
    let key = attack.number::<i64>("leave").unwrap_or(-1);
    let removed =
        raw(libc::SYS_shmget, &[key, 0, 0]).and_then(|id| raw(libc::SYS_shmctl, &[id, libc::IPC_RMID.into(), 0]));
    if removed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Forks twice, with a session of its own in between. True in the one that got away, which must not return.
fn get_away() -> bool {
    // SAFETY: this program has one thread, so nothing is locked in the child.
    if unsafe { libc::fork() } != 0 {
        return false;
    }
    let _ = raw(libc::SYS_setsid, &[]);
    // SAFETY: as above; the one in between ends at once.
    unsafe {
        if libc::fork() != 0 {
            libc::_exit(0);
        }
    }
    true
}

/// Does something again and again until a file in the output says that it was seen, then ends the process.
fn beat(out: &str, mut act: impl FnMut(u64) -> io::Result<()>) -> ! {
    let stop = format!("{out}/stop");
    let end = Instant::now() + LIFE;
    let mut count = 0;
    while Instant::now() < end && fs::symlink_metadata(&stop).is_err() {
        count += 1;
        let _ = act(count);
        std::thread::sleep(BEAT);
    }
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(0) }
}

fn wait_for(attack: &Attack, what: &str, path: &str) {
    let end = Instant::now() + LIFE;
    while fs::symlink_metadata(path).is_err() && Instant::now() < end {
        std::thread::sleep(BEAT);
    }
    attack.say(fs::symlink_metadata(path).is_ok(), what, path);
}

/// P41: a process that forked away holds an output open and writes on. The host looks afterwards.
pub(crate) fn daemon(attack: &Attack) {
    let path = format!("{}/beat", attack.text("out"));
    if get_away() {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        beat(attack.text("out"), |count| {
            file.as_ref().map_err(|_| io::ErrorKind::Other.into()).and_then(|mut file| writeln!(file, "{count}"))
        });
    }
    wait_for(attack, "leave a process that writes", &path);
}

/// P42: the same with a mapping, which needs no descriptor.
pub(crate) fn mapped_output(attack: &Attack) {
    let path = format!("{}/mapped", attack.text("out"));
    let _ = fs::write(&path, [0; 4096]);
    if get_away() {
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let fd = file.as_ref().map_or(-1, |file| i64::from(file.as_raw_fd()));
        let (both, shared) = (i64::from(libc::PROT_READ | libc::PROT_WRITE), i64::from(libc::MAP_SHARED));
        let mapped = raw(libc::SYS_mmap, &[0, 4096, both, shared, fd, 0]);
        drop(file);
        let _ = fs::write(format!("{path}-there"), "x");
        beat(attack.text("out"), |count| {
            if let Ok(address) = mapped {
                // SAFETY: the mapping is a page long, aligned, and is never taken away.
                unsafe { std::ptr::write_volatile(address as *mut u64, count) };
            }
            Ok(())
        });
    }
    wait_for(attack, "leave a process with a writable mapping", &format!("{path}-there"));
}

/// P35: a directory in an output that is now a directory and now a link out of it.
pub(crate) fn swap_in_the_output(attack: &Attack) {
    let out = attack.text("out").to_owned();
    let (dir, link) = (format!("{out}/swapped"), format!("{out}/other"));
    let _ = fs::create_dir(&dir);
    let _ = fs::write(format!("{dir}/file"), "x");
    let _ = symlink(attack.text("canary"), &link);
    if get_away() {
        let (a, b, cwd) = (c(&dir), c(&link), i64::from(libc::AT_FDCWD));
        let _ = fs::write(format!("{out}/there"), "x");
        beat(&out, |count| {
            // Two swaps are as none to whoever looks; the count is not.
            let _ = fs::write(format!("{out}/there"), count.to_string());
            raw(libc::SYS_renameat2, &[cwd, a.as_ptr() as i64, cwd, b.as_ptr() as i64, 2]).map(drop)
        });
    }
    wait_for(attack, "leave a process that swaps", &format!("{out}/there"));
}

/// P43: an output that is hard to remove: closed, deep, unreadable, without a way in.
pub(crate) fn locked_output(attack: &Attack) {
    let out = attack.text("out");
    let mut deep = format!("{out}/locked");
    let made = (0..60).try_for_each(|_| {
        deep.push_str("/d");
        fs::create_dir_all(&deep)
    });
    attack.say(made.is_ok(), "make a deep directory", format!("{made:?}"));
    let _ = fs::write(format!("{deep}/file"), "x");
    let _ = fs::set_permissions(format!("{deep}/file"), fs::Permissions::from_mode(0o000));
    while deep.len() > out.len() + 1 {
        let _ = fs::set_permissions(&deep, fs::Permissions::from_mode(0o000));
        deep.truncate(deep.rfind('/').unwrap_or(0));
    }
    let closed = fs::read_dir(format!("{out}/locked"));
    attack.say(closed.is_err(), "close it", closed.map_or_else(|e| e.to_string(), |_| "still open".to_owned()));
}
