//! A static program that tries one thing in a sandbox and says how it went.
//!
//! It is compiled by the tests with the compiler alone, so it declares the few C functions it needs. It prints
//! `held: ...` where a wall stood and `escaped: ...` where none did; other answers are plain lines.

#[path = "payload/bombs.rs"]
mod bombs;
#[path = "payload/attempts.rs"]
mod attempts;
#[path = "payload/walls.rs"]
mod walls;

use std::ffi::CString;
use std::io::{Read, Write};
use std::time::Duration;

#[allow(non_camel_case_types)]
type c_int = i32;

unsafe extern "C" {
    fn fork() -> c_int;
    fn setsid() -> c_int;
    fn chmod(path: *const i8, mode: u32) -> c_int;
    fn mknod(path: *const i8, mode: u32, dev: u64) -> c_int;
    fn unshare(flags: c_int) -> c_int;
    fn syscall(number: i64, ...) -> i64;
    fn getuid() -> u32;
    fn getgid() -> u32;
    fn umask(mask: u32) -> u32;
    fn signal(number: c_int, handler: usize) -> usize;
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn ioctl(fd: c_int, command: u64, ...) -> c_int;
    fn sched_getaffinity(pid: c_int, size: usize, mask: *mut u8) -> c_int;
    fn getsid(pid: c_int) -> c_int;
    fn personality(value: u64) -> c_int;
}

fn errno() -> String {
    std::io::Error::last_os_error().to_string()
}

fn verdict(what: &str, result: i64) {
    if result < 0 { println!("held: {what}: {}", errno()) } else { println!("escaped: {what}") }
}

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["true"] => {}
        ["exit", code] => std::process::exit(code.parse().unwrap()),
        ["say", words @ ..] => println!("{}", words.join(" ")),
        ["read", path] => match std::fs::read(path) {
            Ok(bytes) => print!("{}", String::from_utf8_lossy(&bytes)),
            Err(error) => println!("held: read {path}: {error}"),
        },
        ["write", path, text] => match std::fs::write(path, text) {
            Ok(()) => println!("escaped: write {path}"),
            Err(error) => println!("held: write {path}: {error}"),
        },
        ["list", path] => {
            let mut names: Vec<String> =
                std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            println!("{}", names.join(" "));
        }
        ["environment"] => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        ["facts"] => facts(),
        ["connect", address] => match std::net::TcpStream::connect(address) {
            Ok(_) => println!("escaped: connect {address}"),
            Err(error) => println!("held: connect {address}: {error}"),
        },
        ["connect-path", path] => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => println!("escaped: connect {path}"),
            Err(error) => println!("held: connect {path}: {error}"),
        },
        ["touch", path] => {
            // SAFETY: a string that outlives the call; 280 is utimensat, and no times stand for now.
            verdict("touch", unsafe { syscall(280, -100i64, c(path).as_ptr(), 0i64, 0i64) });
        }
        ["attempt-each"] => attempts::each(),
        ["names"] => attempts::names(),
        ["look", paths @ ..] => attempts::look(paths),
        ["attempt-flood", processes] => attempts::flood(processes.parse().unwrap()),
        ["execute-leased", path] => attempts::execute_leased(path),
        ["killed-while-waiting", rounds] => attempts::killed_while_waiting(rounds.parse().unwrap()),
        ["daemon", path] => daemon(path),
        ["beat", path] => beat(path),
        ["sleep", seconds] => std::thread::sleep(Duration::from_secs(seconds.parse().unwrap())),
        ["stubborn"] => {
            // SAFETY: 1 is the constant for ignoring a signal.
            unsafe { (1..32).for_each(|number| _ = signal(number, 1)) };
            loop {
                println!("still here");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        ["flood"] => {
            let line = [b'x'; 65536];
            while std::io::stdout().write_all(&line).is_ok() {}
        }
        ["eat"] => {
            let mut eaten: Vec<Vec<u8>> = Vec::new();
            loop {
                eaten.push(vec![1; 1 << 20]);
            }
        }
        ["eat-files", path] => {
            let mut file = std::fs::File::create(path).unwrap();
            loop {
                if let Err(error) = file.write_all(&[1; 65536]) {
                    println!("held: {error}");
                    return;
                }
            }
        }
        ["forks"] => forks(),
        ["bomb", kind @ ..] => bombs::explode(kind),
        ["fill", dir] => {
            // Files of a MiB until something ends it.
            for number in 0.. {
                std::fs::write(format!("{dir}/{number}"), vec![1; 1 << 20]).unwrap();
            }
        }
        ["many", dir, count] => {
            for number in 0..count.parse().unwrap() {
                std::fs::write(format!("{dir}/{number}"), "").unwrap();
            }
        }
        ["walls", rest @ ..] => walls::report(rest),
        ["serve", port] => serve(port.parse().unwrap()),
        ["crash"] => std::process::abort(),
        other => panic!("unknown order {other:?}"),
    }
}

fn facts() {
    let mut fds: Vec<String> =
        std::fs::read_dir("/proc/self/fd").unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    fds.sort();
    // One of them is the listing itself.
    println!("fds: {}", fds.join(" "));
    // SAFETY: no arguments but integers.
    let (uid, gid, mask, sid, address) =
        unsafe { (getuid(), getgid(), umask(0), getsid(0), personality(0xffff_ffff)) };
    println!("uid: {uid}\ngid: {gid}\numask: {mask:04o}\nsession: {sid}\npersonality: {address:x}\npid: {}", std::process::id());
    println!("cwd: {}", std::env::current_dir().unwrap().display());
    let mut mask = [0u8; 128];
    // SAFETY: the buffer has the size given.
    unsafe { sched_getaffinity(0, mask.len(), mask.as_mut_ptr()) };
    println!("cpus: {}", mask.iter().map(|byte| byte.count_ones()).sum::<u32>());
    for (name, path) in [("hostname", "/proc/sys/kernel/hostname"), ("boot", "/proc/sys/kernel/random/boot_id")] {
        println!("{name}: {}", std::fs::read_to_string(path).unwrap().trim());
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Groups", "SigBlk", "SigIgn"] {
        let value = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:"))).unwrap_or("?");
        println!("{field}: {}", value.trim());
    }
    let net = std::fs::read_to_string("/proc/self/net/dev").unwrap();
    let names: Vec<&str> = net.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect();
    println!("interfaces: {}", names.join(" "));
    let mut pids: Vec<u32> = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    println!("pids: {pids:?}");
    let up: std::time::Duration = {
        let mut time = [0i64; 2];
        // SAFETY: a buffer with the layout of timespec; 228 is clock_gettime, 7 is CLOCK_BOOTTIME.
        unsafe { syscall(228, 7i64, time.as_mut_ptr()) };
        Duration::new(time[0] as u64, time[1] as u32)
    };
    println!("up: {}", up.as_secs());
}

/// Leaves a process behind that writes on and on.
fn daemon(path: &str) {
    // SAFETY: one thread, so nothing is locked in the child.
    if unsafe { fork() } == 0 {
        // SAFETY: no arguments.
        unsafe { setsid() };
        // SAFETY: as above.
        if unsafe { fork() } == 0 {
            beat(path);
        }
        std::process::exit(0);
    }
    while std::fs::read_to_string(path).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("left a daemon");
}

/// Writes a higher and higher number.
fn beat(path: &str) {
    for beat in 0.. {
        std::fs::write(path, beat.to_string()).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn forks() {
    let mut made = 0;
    loop {
        // SAFETY: one thread, so nothing is locked in the child.
        match unsafe { fork() } {
            0 => loop {
                std::thread::sleep(Duration::from_secs(60));
            },
            -1 => break println!("held: after {made} processes: {}", errno()),
            _ => made += 1,
        }
    }
}

fn serve(port: u16) {
    // SAFETY: the default action of SIGTERM ends the program; a handler that exits makes it clean.
    unsafe { signal(15, leave as *const () as usize) };
    // The one who asks counts from when it has seen the start, which on a busy machine is a while after it.
    std::thread::sleep(Duration::from_millis(300));
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).unwrap();
        let line = String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned();
        let body = format!("you said {line}");
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    }
}

extern "C" fn leave(_: c_int) {
    std::process::exit(0);
}
