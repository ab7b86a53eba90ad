//! The part of the payload that tries what is refused and listed, and looks things up to be traced.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::{c, c_int, chmod, fork, ioctl, mknod, socket, syscall, unshare};

unsafe extern "C" {
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn openat(dir: c_int, path: *const i8, flags: c_int) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
}

const NEW_USER: c_int = 0x1000_0000;
const NEW_NETWORK: c_int = 0x4000_0000;
const KILL: c_int = 9;

/// Prints the name of an attempt and the number of the error it ended with, zero for none.
fn try_it(name: &str, result: i64) {
    let errno = if result < 0 { std::io::Error::last_os_error().raw_os_error().unwrap() } else { 0 };
    println!("{name}: {errno}");
}

/// One attempt of each sort.
pub(crate) fn each() {
    fs::write("/tmp/file", "x").unwrap();
    // SAFETY: strings live through the calls; the rest are integers.
    unsafe {
        try_it("mount", syscall(165, c("none").as_ptr(), c("/tmp/\u{1b}here").as_ptr(), c("tmpfs").as_ptr(), 0i64, 0i64));
        try_it("fsopen", syscall(430, c("tmpfs").as_ptr(), 0i64));
        try_it("unshare", unshare(NEW_USER | NEW_NETWORK).into());
        try_it("clone", syscall(56, i64::from(NEW_USER) | 17, 0i64, 0i64, 0i64, 0i64));
        try_it("keyctl", syscall(250, 0i64, -3i64, 0i64));
        try_it("ptrace", syscall(101, 16i64, 1i64, 0i64, 0i64));
        try_it("mknod", mknod(c("/tmp/mem").as_ptr(), 0o020666, (1 << 8) | 1).into());
        try_it("ioctl", ioctl(0, 0x1_0000_5412, c("x").as_ptr()).into());
        try_it("chmod", chmod(c("/tmp/file").as_ptr(), 0o4755).into());
        try_it("open", syscall(2, c("/tmp/made").as_ptr(), 0o101i64, 0o2755i64));
        try_it("bpf", syscall(321, 5i64, 0i64, 0i64));
        try_it("io_uring_setup", syscall(425, 1i64, 0i64));
        try_it("socket", socket(40, 1, 0).into());
        try_it("raw socket", socket(2, 3, 1).into());
    }
    println!("connect: {}", std::net::TcpStream::connect("192.0.2.1:443").unwrap_err().raw_os_error().unwrap());
    let udp = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    println!("sendto: {}", udp.send_to(b"x", "198.51.100.7:123").unwrap_err().raw_os_error().unwrap());
    let _ = udp.send_to(b"who is there", "127.0.0.1:53");
    // None of these leads anywhere.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _own = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    udp.send_to(b"x", ("127.0.0.1", listener.local_addr().unwrap().port())).unwrap();
    let _ = std::os::unix::net::UnixStream::connect("/tmp/no-socket");
}

/// What `uname` says, and what it says to a pointer to nowhere.
pub(crate) fn names() {
    let mut names = [0u8; 6 * 65];
    // SAFETY: a buffer of the size that the call writes.
    try_it("uname", unsafe { syscall(63, names.as_mut_ptr()) });
    for field in names.chunks(65) {
        println!("{}", String::from_utf8_lossy(field).trim_end_matches('\0'));
    }
    // SAFETY: no address of this program; the call must say so.
    try_it("uname to nowhere", unsafe { syscall(63, 8i64) });
}

/// Opens each to read: as it is, by way of the working directory for `cwd:DIR:NAME`, by a handle for `at:DIR:NAME`.
pub(crate) fn look(paths: &[&str]) {
    for path in paths {
        let found = match path.split(':').collect::<Vec<_>>().as_slice() {
            ["cwd", dir, name] => {
                std::env::set_current_dir(dir).unwrap();
                fs::read(name).is_ok()
            }
            ["at", dir, name] => {
                let dir = fs::File::open(dir).unwrap();
                // SAFETY: the string outlives the call; a new descriptor has no other owner.
                unsafe {
                    let file = openat(dir.as_raw_fd(), c(name).as_ptr(), 0);
                    if file >= 0 {
                        drop(OwnedFd::from_raw_fd(file));
                    }
                    file >= 0
                }
            }
            ["stat", path] => fs::metadata(path).is_ok(),
            ["make", path] => fs::write(path, "x").is_ok(),
            ["run", path] => std::process::Command::new(path).arg("true").status().is_ok(),
            _ => fs::read(path).is_ok(),
        };
        println!("{path}: {}", if found { "there" } else { "missing" });
    }
}

/// Many processes that do nothing but what is refused.
pub(crate) fn flood(processes: usize) {
    for _ in 1..processes {
        // SAFETY: one thread, so nothing is locked in the child.
        if unsafe { fork() } == 0 {
            break;
        }
    }
    let mut number = 0u32;
    loop {
        number = number.wrapping_add(1);
        let path = c(&format!("/tmp/{number}"));
        // SAFETY: a string that outlives the call.
        unsafe { chmod(path.as_ptr(), 0o4755) };
    }
}

/// Executes a file that it holds a lease on, so that whoever opens the file has to wait.
pub(crate) fn execute_leased(path: &str) {
    const SET_LEASE: c_int = 1024;
    const WRITE_LEASE: c_int = 1;
    fs::write(path, "#!/payload\n").unwrap();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let file = fs::File::open(path).unwrap();
    // SAFETY: a live descriptor and integers; the last one ignores the signal that asks for the lease back.
    let leased = unsafe {
        super::signal(29, 1);
        fcntl(file.as_raw_fd(), SET_LEASE, WRITE_LEASE)
    };
    println!("{}", if leased == 0 { "leased" } else { "no lease" });
    let _ = std::process::Command::new(path).status();
}

/// Grandchildren that are killed while they wait for an answer, or just before or after.
pub(crate) fn killed_while_waiting(rounds: usize) {
    for round in 0..rounds {
        // SAFETY: one thread, so nothing is locked in the child; integers and a live one.
        unsafe {
            let child = fork();
            if child == 0 {
                let grandchild = fork();
                if grandchild == 0 {
                    loop {
                        unshare(NEW_USER);
                    }
                }
                std::thread::sleep(Duration::from_micros(37 * (round as u64 % 50)));
                kill(grandchild, KILL);
                let mut status = 0;
                waitpid(grandchild, &mut status, 0);
                std::process::exit(i32::from(status & 0x7f != KILL));
            }
            let mut status = 0;
            waitpid(child, &mut status, 0);
            assert_eq!(status, 0, "the grandchild of round {round} was not killed");
        }
    }
    println!("all dead");
}
