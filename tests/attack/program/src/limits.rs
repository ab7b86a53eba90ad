//! Ways to use up the host, each bounded here as well, so that a missing limit costs little.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::call::{address, address_mut, in_a_child, raw};
use crate::report::Attack;

const MIB: usize = 1 << 20;

/// P23: a crash leaves no picture of the memory and starts no helper on the host.
pub(crate) fn core_files(attack: &Attack) {
    let mut limits = [0u64; 2];
    let _ = raw(libc::SYS_prlimit64, &[0, libc::RLIMIT_CORE.into(), 0, address_mut(&mut limits)]);
    attack.say(limits == [0, 0], "limit of core files", format!("{limits:?}"));
    let wanted = [u64::from(u32::MAX); 2];
    let raised = raw(libc::SYS_prlimit64, &[0, libc::RLIMIT_CORE.into(), address(&wanted), 0]);
    let may_crash = raised.is_err();
    attack.fails("raise it", raised);
    if !may_crash {
        return;
    }
    // SAFETY: this program has one thread, so nothing is locked in the child.
    let child = unsafe { libc::fork() };
    if child == 0 {
        std::process::abort();
    }
    let mut status = 0;
    // SAFETY: a live integer.
    unsafe { libc::waitpid(child, &mut status, 0) };
    attack.say(libc::WIFSIGNALED(status) && !libc::WCOREDUMP(status), "crash", format!("status {status:x}"));
    let left = fs::read_dir(".")
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("core"));
    attack.say(!left, "leave a core file", if left { "left" } else { "none" });
}

/// P25: more of the processors, and memory that can't be taken back.
pub(crate) fn scheduling(attack: &Attack) {
    let parameter = [1u32];
    for (name, policy) in [("first in, first out", 1), ("round robin", 2)] {
        attack.fails(
            &format!("be scheduled {name}"),
            raw(libc::SYS_sched_setscheduler, &[0, policy, address(&parameter)]),
        );
    }
    // Size, policy, flags, nice, priority, runtime, deadline, period.
    let deadline = [48u64 | 6 << 32, 0, 0, 10_000_000, 20_000_000, 20_000_000];
    attack.fails("be scheduled by deadline", raw(libc::SYS_sched_setattr, &[0, address(&deadline), 0]));
    attack.fails("be nicer to itself", raw(libc::SYS_setpriority, &[0, 0, -20]));
    attack.fails("read and write before all others", raw(libc::SYS_ioprio_set, &[1, 0, 1 << 13]));
    attack.fails("lock all memory to come", raw(libc::SYS_mlockall, &[i64::from(libc::MCL_CURRENT)]));
    let some = vec![1u8; MIB];
    attack.fails("lock a mebibyte", raw(libc::SYS_mlock, &[some.as_ptr() as i64, MIB as i64]));
    for (name, resource) in [
        ("processes", libc::RLIMIT_NPROC),
        ("open files", libc::RLIMIT_NOFILE),
        ("locked memory", libc::RLIMIT_MEMLOCK),
    ] {
        let limits = [u64::from(u32::MAX); 2];
        attack.fails(
            &format!("raise the limit of {name}"),
            raw(libc::SYS_prlimit64, &[0, resource.into(), address(&limits), 0]),
        );
    }
    let fewer = raw(libc::SYS_prlimit64, &[1, libc::RLIMIT_NPROC.into(), address(&[0u64; 2]), 0]);
    attack.fails("take the limits of process 1 away", fewer);
}

/// P70: processes without end; the host counts them and so does this.
pub(crate) fn fork_bomb(attack: &Attack) {
    let limit = attack.number::<u32>("pids").unwrap_or(16);
    let mut made = 0;
    let error = loop {
        // SAFETY: this program has one thread, so nothing is locked in the child.
        match unsafe { libc::fork() } {
            0 => std::thread::sleep(Duration::from_secs(2)),
            -1 => break Some(std::io::Error::last_os_error()),
            _ => {
                made += 1;
                if made > limit * 2 {
                    break None;
                }
                continue;
            }
        }
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) };
    };
    attack.say(error.is_some() && made <= limit, "fork without end", format!("{made} made, then {error:?}"));
}

/// P71: memory, up to four times the limit. Being here afterwards means that there was no limit.
pub(crate) fn memory_bomb(attack: &Attack) {
    let limit = attack.number::<usize>("memory-bytes").unwrap_or(64 * MIB);
    let kind = attack.text("kind");
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    let mut file = match kind {
        "memfd" => crate::call::descriptor(libc::SYS_memfd_create, &[c"x".as_ptr() as i64, 0]).map(File::from).ok(),
        "tmpfs" => File::create("/dev/shm/eaten").ok(),
        _ => None,
    };
    for _ in 0..limit * 4 / MIB {
        match &mut file {
            Some(file) => drop(file.write_all(&vec![1; MIB])),
            None => eaten.push(vec![1; MIB]),
        }
    }
    attack.say(false, "use more memory than there is", format!("{} MiB", limit * 4 / MIB));
}

/// P72: bytes and files.
pub(crate) fn disk_and_inode_bomb(attack: &Attack) {
    for (place, most) in [("/tmp", 24), ("/dev/shm", 80)] {
        let path = format!("{place}/big");
        let file = File::create(&path);
        let full = file.and_then(|mut file| (0..most).try_for_each(|_| file.write_all(&vec![1; MIB])));
        attack.say(full.is_err(), &format!("write more to {place} than there is"), format!("{full:?}"));
        let _ = fs::remove_file(&path);
    }
    for (place, most) in [("/tmp", 1200), ("/dev/shm", 5000)] {
        let made = (0..most).take_while(|at| File::create(format!("{place}/f{at}")).is_ok()).count();
        attack.say(made < most, &format!("make more files in {place} than there are"), format!("{made} files"));
        (0..made).for_each(|at| drop(fs::remove_file(format!("{place}/f{at}"))));
    }
    let sparse = File::create("/tmp/sparse")
        .and_then(|file| raw(libc::SYS_fallocate, &[file.as_raw_fd().into(), 0, 0, 1 << 40]));
    attack.fails("reserve a tebibyte", sparse);
}

/// P73: a log without end, though not quite: four times the limit.
pub(crate) fn log_flood(attack: &Attack) {
    let limit = attack.number::<usize>("log-bytes").unwrap_or(MIB);
    let line = vec![b'z'; 64 << 10];
    let mut written = 0;
    while written < limit * 4 && std::io::stdout().write_all(&line).is_ok() {
        written += line.len();
    }
    // What is said begins a line.
    let _ = std::io::stdout().write_all(b"\n");
    attack.say(false, "write more than the log takes", format!("{written} bytes"));
}

/// P74: deaf to every signal, with one child stopped and one that spins, until someone ends it.
pub(crate) fn deaf_and_stopped(attack: &Attack) {
    for signal in 1..32 {
        // SAFETY: ignoring is no function of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let end = Instant::now() + Duration::from_secs(6);
    for stopped in [true, false] {
        // SAFETY: this program has one thread, so nothing is locked in the child.
        if unsafe { libc::fork() } == 0 {
            if stopped {
                // SAFETY: stops this child.
                unsafe { libc::raise(libc::SIGSTOP) };
            }
            while Instant::now() < end {}
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) };
        }
    }
    while Instant::now() < end {
        println!("still here");
        std::thread::sleep(Duration::from_millis(20));
    }
    attack.say(false, "outlive the limit of time", "6 s");
}

/// P75: nothing is said for longer than silence may last.
pub(crate) fn silence(attack: &Attack) {
    std::thread::sleep(Duration::from_secs(6));
    attack.say(false, "outlive the limit of silence", "6 s");
}

/// P77: children that lose their parent, more of them than there may be at one time.
pub(crate) fn orphans(attack: &Attack) {
    const ORPHANS: u32 = 500;
    let mut failed = 0;
    for _ in 0..ORPHANS {
        let code = in_a_child(|| {
            // SAFETY: this program has one thread, so nothing is locked in the child.
            match unsafe { libc::fork() } {
                -1 => 1,
                _ => 0,
            }
        });
        if code != 0 {
            failed += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    // Process 1 takes them in as they come; none is left as a shell of itself for long.
    std::thread::sleep(Duration::from_millis(100));
    let left = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .count();
    attack.say(
        failed < ORPHANS / 4 && left <= 4,
        "leave more orphans than there may be processes",
        format!("{failed} failed, {left} left"),
    );
}
