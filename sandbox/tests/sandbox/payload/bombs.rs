//! The part of the payload that takes all it can get, or does not go.
//!
//! Each one is bounded, so that it does no harm where nothing holds it: it then says `escaped` and ends.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::Duration;

use super::{c, c_int, errno, fork, setsid, signal, syscall};

unsafe extern "C" {
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn vfork() -> c_int;
    fn mmap(at: *mut u8, length: usize, access: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut u8;
}

const SIGSTOP: c_int = 19;
const MIB: usize = 1 << 20;
/// Nothing takes more than this.
const MOST_MIB: usize = 256;
const MOST_FILES: usize = 20_000;
const MOST_PROCESSES: usize = 2000;
const ORPHANS: usize = 500;
/// How long what was taken is held.
const HELD: Duration = Duration::from_secs(10);

pub(crate) fn explode(kind: &[&str]) {
    match kind {
        ["fork"] => forks(),
        ["threads"] => threads(),
        ["memory"] => {
            let mut taken: Vec<Vec<u8>> = Vec::new();
            fill(|| {
                taken.push(vec![1; MIB]);
                Ok(())
            });
        }
        ["memory-of-many"] => many(),
        ["memfd"] => {
            // SAFETY: 319 is memfd_create; the name outlives the call.
            let fd = unsafe { syscall(319, c("bomb").as_ptr(), 0i64) };
            // SAFETY: a new descriptor has no other owner.
            let mut file = unsafe { File::from_raw_fd(i32::try_from(fd).unwrap()) };
            fill(|| file.write_all(&vec![1; MIB]));
        }
        ["write", path] => {
            let mut file = File::create(path).unwrap();
            let mut written = 0;
            fill(|| {
                file.write_all(&vec![1; MIB])?;
                written += 1;
                // What waits to be written can't be given back when memory is short.
                if written % 8 == 0 { file.sync_data() } else { Ok(()) }
            });
        }
        ["tcp"] => sockets(),
        ["unlinked", path] => {
            let mut file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
            std::fs::remove_file(path).unwrap();
            fill(|| file.write_all(&vec![1; MIB]).and_then(|()| file.sync_data()));
            std::thread::sleep(HELD);
        }
        ["mapped", path] => mapped(path),
        // More than half of what is allowed, with a name half of the time.
        ["renamed", directory] => {
            let start = std::time::Instant::now();
            while start.elapsed() < Duration::from_secs(2) {
                let path = format!("{directory}/file");
                let mut file = File::create(&path).unwrap();
                file.write_all(&vec![1; 20 * MIB]).unwrap();
                std::thread::sleep(Duration::from_millis(20));
                std::fs::remove_file(&path).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
            println!("took turns");
        }
        ["files", directory] => {
            for number in 0..MOST_FILES {
                if let Err(error) = File::create(format!("{directory}/{number}")) {
                    return println!("held: after {number} files: {error}");
                }
            }
            println!("escaped: {MOST_FILES} files");
        }
        // A tree is moved into a new directory again and again: no path to its end is ever taken.
        ["deep", directory] => {
            std::env::set_current_dir(directory).unwrap();
            std::fs::create_dir("inner").unwrap();
            for levels in 0..MOST_FILES {
                let deeper = std::fs::create_dir("outer")
                    .and_then(|()| std::fs::rename("inner", "outer/d"))
                    .and_then(|()| std::fs::rename("outer", "inner"));
                if let Err(error) = deeper {
                    return println!("held: after {levels} levels: {error}");
                }
            }
            println!("escaped: {MOST_FILES} levels");
        }
        ["flood"] => {
            for _ in 0..3 {
                // SAFETY: one thread, so nothing is locked in the child.
                unsafe { fork() };
            }
            let line = [b'x'; 65536];
            loop {
                let written = std::io::stdout().write_all(&line).and_then(|()| std::io::stderr().write_all(&line));
                if written.is_err() {
                    return;
                }
            }
        }
        ["stopped"] => {
            // SAFETY: integers; the processes of this namespace but for process 1 and this one, then this one.
            unsafe {
                if fork() == 0 {
                    forever();
                }
                kill(-1, SIGSTOP);
                kill(std::process::id() as c_int, SIGSTOP);
            }
            println!("escaped: went on after SIGSTOP");
        }
        ["daemons"] => daemons(),
        ["vfork"] => {
            // SAFETY: the child only sleeps; its parent, which shares its memory, does not go on meanwhile.
            if unsafe { vfork() } == 0 {
                forever();
            }
        }
        ["orphans"] => orphans(),
        other => panic!("unknown bomb {other:?}"),
    }
}

fn forever() -> ! {
    // SAFETY: 1 is the constant for ignoring a signal.
    unsafe { (1..32).for_each(|number| _ = signal(number, 1)) };
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Takes a MiB again and again.
fn fill(mut take: impl FnMut() -> std::io::Result<()>) {
    for taken in 0..MOST_MIB {
        if let Err(error) = take() {
            return println!("held: after {taken} MiB: {error}");
        }
    }
    println!("escaped: {MOST_MIB} MiB");
}

/// Fills a file that has no name and that nothing has open.
fn mapped(path: &str) {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    std::fs::remove_file(path).unwrap();
    file.set_len((MOST_MIB * MIB) as u64).unwrap();
    // SAFETY: a new place in memory, readable and writable (3), shared with the file (1), which is as long.
    let at = unsafe { mmap(std::ptr::null_mut(), MOST_MIB * MIB, 3, 1, file.as_raw_fd(), 0) };
    assert!(at.addr() != usize::MAX, "{}", errno());
    drop(file);
    let mut taken = 0;
    fill(|| {
        // SAFETY: within what was mapped.
        unsafe { std::ptr::write_bytes(at.add(taken * MIB), 1, MIB) };
        taken += 1;
        Ok(())
    });
    std::thread::sleep(HELD);
}

/// Every process that comes into being makes more, and none goes.
fn forks() {
    let mut refused = false;
    let mut made = 0;
    while made < MOST_PROCESSES {
        // SAFETY: one thread, so nothing is locked in the child.
        match unsafe { fork() } {
            -1 if !refused => {
                println!("held: {}", errno());
                refused = true;
            }
            -1 => std::thread::sleep(Duration::from_millis(1)),
            0 => refused = true,
            _ => made += 1,
        }
    }
    println!("escaped: {made} processes");
}

fn threads() {
    let wait = || std::thread::sleep(Duration::from_secs(3600));
    for made in 0..MOST_PROCESSES {
        if let Err(error) = std::thread::Builder::new().stack_size(64 << 10).spawn(wait) {
            println!("held: after {made} threads: {error}");
            wait();
        }
    }
    println!("escaped: {MOST_PROCESSES} threads");
}

/// Eight processes that each stay below the limit.
fn many() {
    for _ in 0..8 {
        // SAFETY: one thread, so nothing is locked in the child.
        if unsafe { fork() } == 0 {
            let taken = vec![1u8; MOST_MIB / 8 * MIB];
            std::thread::sleep(Duration::from_secs(1));
            std::process::exit(i32::from(taken[MIB] != 1));
        }
    }
    let mut status = 0;
    // SAFETY: a live integer.
    while unsafe { waitpid(-1, &mut status, 0) } > 0 {}
    println!("escaped: {MOST_MIB} MiB");
}

/// Leaves processes that have cut every tie, and goes.
fn daemons() {
    for _ in 0..4 {
        // SAFETY: one thread, so nothing is locked in the children; no arguments.
        unsafe {
            if fork() == 0 {
                setsid();
                if fork() == 0 {
                    forever();
                }
                std::process::exit(0);
            }
        }
    }
    println!("left daemons");
}

/// Many children of children, which only process 1 is left to reap.
fn orphans() {
    let mut made = 0;
    while made < ORPHANS {
        // SAFETY: one thread, so nothing is locked in the children.
        unsafe {
            let child = fork();
            if child == 0 {
                fork();
                std::process::exit(0);
            }
            if child > 0 {
                let mut status = 0;
                waitpid(child, &mut status, 0);
                made += 1;
            }
        }
    }
    println!("{made} orphans");
}

/// Connections to itself in which nobody reads what was written.
fn sockets() {
    use std::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut open, mut bytes) = (Vec::new(), 0);
    let piece = vec![1; MIB];
    while bytes < MOST_MIB * MIB {
        let Ok(mut sender) = TcpStream::connect(listener.local_addr().unwrap()) else { break };
        let Ok((receiver, _)) = listener.accept() else { break };
        sender.set_nonblocking(true).unwrap();
        while let Ok(written) = sender.write(&piece) {
            bytes += written;
        }
        open.push((sender, receiver));
    }
    println!("connections {} MiB {}", open.len(), bytes / MIB);
}
