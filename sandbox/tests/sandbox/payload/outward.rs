//! The part of the payload that looks for a way out: upwards, through other processes, through the kernel.
//!
//! A way counts as closed only for the right reason. A probe that finds nothing because it looked at the wrong place
//! would hold everywhere, so the tests run the same probes outside a sandbox too, where they must report an escape.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use super::{c, c_int, errno, fork, syscall};

unsafe extern "C" {
    fn openat(dir: c_int, path: *const i8, flags: c_int) -> c_int;
    fn fchdir(dir: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn chmod(path: *const i8, mode: u32) -> c_int;
    fn utimes(path: *const i8, times: *const i64) -> c_int;
    fn linkat(from: c_int, old: *const i8, to: c_int, new: *const i8, flags: c_int) -> c_int;
    fn shmget(key: c_int, size: usize, flags: c_int) -> c_int;
}

const O_DIRECTORY: c_int = 0o200_000;
const O_PATH: c_int = 0o10_000_000;
const EPERM: i32 = 1;
const ENOSYS: i32 = 38;
const SIGSYS: i32 = 31;

fn report(held: bool, what: &str, seen: &str) {
    println!("{}: {what}: {seen}", if held { "held" } else { "escaped" });
}

/// Looks whether a way up ends at `/` and does not lead to a file that exists on the host only.
fn look(way: &str, canary: &str) {
    let root = fs::metadata("/").map(|found| (found.dev(), found.ino())).unwrap();
    match fs::metadata(way).map(|found| (found.dev(), found.ino())) {
        Ok(found) => report(found == root, way, &format!("device and inode {found:?}, those of / are {root:?}")),
        Err(error) => report(false, way, &error.to_string()),
    }
    let names = |path: &str| -> Vec<_> {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    report(names(way) == names("/"), &format!("list {way}"), &format!("{:?}", names(way)));
    absent(&format!("{way}{canary}"), &fs::read(format!("{way}{canary}")));
}

fn absent<T>(what: &str, result: &std::io::Result<T>) {
    match result {
        Err(error) => report(error.kind() == ErrorKind::NotFound, what, &error.to_string()),
        Ok(_) => report(false, what, "there"),
    }
}

fn open_in(dir: RawFd, path: &str, flags: c_int) -> std::io::Result<OwnedFd> {
    // SAFETY: the string outlives the call; a new descriptor has no other owner.
    unsafe {
        match openat(dir, c(path).as_ptr(), flags) {
            -1 => Err(std::io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Every way upwards: by name, by handle, from each place.
pub(crate) fn climb(canary: &str, places: &[&str]) {
    let mut ways: Vec<String> = ["/..", "/../..", "/proc/self/root", "/proc/self/root/..", "/proc/thread-self/root/../.."]
        .map(str::to_owned)
        .to_vec();
    ways.extend(places.iter().flat_map(|place| [format!("{place}/.."), format!("{place}/../..")]));
    ways.push(format!("/{}", "../".repeat(40)));
    ways.iter().for_each(|way| look(way, canary));
    absent(canary, &fs::read(canary));
    std::env::set_current_dir("/").unwrap();
    for way in ["..", "../../..", "/proc/self/cwd/.."] {
        look(way, canary);
    }
    for place in places.iter().chain(&["/"]) {
        for flags in [O_DIRECTORY, O_DIRECTORY | O_PATH] {
            climb_from(place, flags, canary);
        }
    }
    // Of the descriptors that came with the process none may be a directory.
    for fd in 0..3 {
        // SAFETY: integers only.
        let moved = unsafe { fchdir(fd) } == 0;
        report(!moved, &format!("fchdir to descriptor {fd}"), &errno());
        for name in ["..", "../../.."] {
            report(open_in(fd, name, O_PATH).is_err(), &format!("{name} of descriptor {fd}"), &errno());
        }
    }
}

/// Upwards from a handle of a place.
fn climb_from(place: &str, flags: c_int, canary: &str) {
    let handle = open_in(-100, place, flags).unwrap();
    for up in ["..", "../../../../.."] {
        let above = open_in(handle.as_raw_fd(), up, flags).unwrap();
        let through = format!("/proc/self/fd/{}", above.as_raw_fd());
        look(&through, canary);
        let found = open_in(above.as_raw_fd(), canary.trim_start_matches('/'), 0);
        absent(&format!("openat {up} of {place}, then {canary}"), &found);
    }
    // SAFETY: a live descriptor.
    assert_eq!(unsafe { fchdir(handle.as_raw_fd()) }, 0);
    look("..", canary);
    let mut step = handle;
    for _ in 0..64 {
        step = open_in(step.as_raw_fd(), "..", flags).unwrap();
    }
    look(&format!("/proc/self/fd/{}", step.as_raw_fd()), canary);
    std::env::set_current_dir("/").unwrap();
}

/// What `/proc` offers of other processes. It is all there, so anything but a refusal is a hole.
pub(crate) fn other_processes() {
    let denied = |what: &str, error: Option<std::io::Error>| match error {
        Some(error) => report(error.kind() == ErrorKind::PermissionDenied, what, &error.to_string()),
        None => report(false, what, "allowed"),
    };
    for name in ["root", "cwd", "exe", "ns/mnt", "ns/user", "task/1/root", "task/1/cwd"] {
        let path = format!("/proc/1/{name}");
        denied(&format!("readlink {path}"), fs::read_link(&path).err());
        denied(&format!("open {path}"), fs::File::open(&path).err());
        denied(&format!("metadata {path}"), fs::metadata(&path).err());
    }
    for name in ["root/", "root/..", "cwd/", "fd", "fdinfo", "map_files", "task/1/fd"] {
        denied(&format!("list /proc/1/{name}"), fs::read_dir(format!("/proc/1/{name}")).err());
    }
    for name in ["environ", "mem", "maps", "auxv", "stack", "syscall", "fd/0", "fd/3"] {
        denied(&format!("read /proc/1/{name}"), fs::File::open(format!("/proc/1/{name}")).err());
    }
    for path in ["/proc/self/exe", "/proc/1/exe"] {
        let result = fs::OpenOptions::new().write(true).open(path);
        report(result.is_err(), &format!("write {path}"), &errno());
    }
    let others: Vec<String> = fs::read_dir("/proc")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.parse::<u32>().is_ok_and(|pid| pid != 1 && pid != std::process::id()))
        .collect();
    report(others.is_empty(), "processes but the own and process 1", &format!("{others:?}"));
}

/// Calls that no build needs. They must be refused before the kernel looks at their arguments, which no call accepts.
const CALLS: &[(&str, i64)] = &[
    ("mount", 165),
    ("umount2", 166),
    ("pivot_root", 155),
    ("chroot", 161),
    ("open_tree", 428),
    ("move_mount", 429),
    ("fsopen", 430),
    ("fsconfig", 431),
    ("fsmount", 432),
    ("fspick", 433),
    ("mount_setattr", 442),
    ("statmount", 457),
    ("listmount", 458),
    ("open_tree_attr", 467),
    ("listns", 470),
    ("setns", 308),
    ("unshare", 272),
    ("clone3", 435),
    ("openat2", 437),
    ("name_to_handle_at", 303),
    ("open_by_handle_at", 304),
    ("process_vm_readv", 310),
    ("process_vm_writev", 311),
    ("pidfd_getfd", 438),
    ("kcmp", 312),
    ("ptrace", 101),
    ("fanotify_init", 300),
    ("fanotify_mark", 301),
    ("quotactl", 179),
    ("quotactl_fd", 443),
    ("swapon", 167),
    ("swapoff", 168),
    ("reboot", 169),
    ("syslog", 103),
    ("acct", 163),
    ("iopl", 172),
    ("ioperm", 173),
    ("modify_ldt", 154),
    ("kexec_load", 246),
    ("kexec_file_load", 320),
    ("init_module", 175),
    ("finit_module", 313),
    ("delete_module", 176),
    ("lookup_dcookie", 212),
    ("vmsplice", 278),
    ("io_uring_setup", 425),
    ("io_uring_enter", 426),
    ("io_uring_register", 427),
    ("add_key", 248),
    ("request_key", 249),
    ("keyctl", 250),
    ("bpf", 321),
    ("perf_event_open", 298),
    ("userfaultfd", 323),
    ("memfd_secret", 447),
    ("mbind", 237),
    ("move_pages", 279),
    ("migrate_pages", 256),
    ("settimeofday", 164),
    ("clock_settime", 227),
    ("adjtimex", 159),
    ("sethostname", 170),
    ("setdomainname", 171),
    ("setxattrat", 463),
    ("file_setattr", 469),
];

/// Tries every call of the table, and two doors to the calls of other architectures.
pub(crate) fn calls() {
    for (name, number) in CALLS {
        // SAFETY: -1 is no address, no descriptor, no process, no length and no known flag, so that none of these would
        // do anything even if it were let through. Zero would not do: with it some change the name of the machine.
        let result = unsafe { syscall(*number, -1i64, -1i64, -1i64, -1i64, -1i64, -1i64) };
        let error = std::io::Error::last_os_error();
        let refused = matches!(error.raw_os_error(), Some(EPERM | ENOSYS));
        report(result < 0 && refused, name, &error.to_string());
    }
    in_a_child("call 20 of the 32-bit architecture", || {
        let mut result = 20i64;
        // SAFETY: number 20 asks for the process's id and touches no memory.
        unsafe { std::arch::asm!("int 0x80", inlateout("rax") result, out("r8") _, out("r9") _, out("r10") _, out("r11") _) };
        result > 0
    });
    // SAFETY: number 39 asks for the process's id.
    in_a_child("call 39 of the x32 architecture", || unsafe { syscall(0x4000_0000 | 39) > 0 });
}

/// Holds if the child is killed by a filter or its call fails.
fn in_a_child(what: &str, works: impl Fn() -> bool) {
    // SAFETY: one thread, so nothing is locked in the child.
    let child = unsafe { fork() };
    if child == 0 {
        std::process::exit(i32::from(works()));
    }
    let mut status = 0;
    // SAFETY: a live integer.
    unsafe { waitpid(child, &mut status, 0) };
    let (signal, code) = (status & 0x7f, status >> 8 & 0xff);
    report(signal == SIGSYS || signal == 0 && code == 0, what, &format!("signal {signal}, code {code}"));
}

/// Tries to change files that were given to be read, or to get hold of them from where writing is allowed.
pub(crate) fn change(output: &str, inputs: &[&str]) {
    for input in inputs {
        let said = |what: &str, result: c_int| report(result != 0, &format!("{what} {input}"), &errno());
        let failed = |result: std::io::Result<()>| if result.is_ok() { 0 } else { -1 };
        let new = format!("{output}/linked");
        let handle = open_in(-100, input, O_PATH).unwrap();
        let through = format!("/proc/self/fd/{}", handle.as_raw_fd());
        said("append to", failed(fs::OpenOptions::new().append(true).open(input).map(drop)));
        said("write through a handle of", failed(fs::OpenOptions::new().write(true).open(&through).map(drop)));
        said("truncate through a handle of", failed(fs::write(&through, "")));
        said("remove", failed(fs::remove_file(input)));
        said("rename", failed(fs::rename(input, format!("{input}.old"))));
        said("move", failed(fs::rename(input, &new)));
        said("link", failed(fs::hard_link(input, &new)));
        // SAFETY: the strings outlive the calls; null asks for the time of now; 0x400 follows the link.
        unsafe {
            said("chmod", chmod(c(input).as_ptr(), 0o777));
            said("chmod through a handle of", chmod(c(&through).as_ptr(), 0o777));
            said("utimes", utimes(c(input).as_ptr(), std::ptr::null()));
            said("link through a handle of", linkat(-100, c(&through).as_ptr(), -100, c(&new).as_ptr(), 0x400));
        }
    }
}

/// Asks for a segment that another process of the host made.
pub(crate) fn shared_memory(key: i32) {
    // SAFETY: integers only.
    let found = unsafe { shmget(key, 0, 0) };
    absent("shared memory of the host", &if found < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) });
}

/// Takes connections on an abstract socket for a while, its own first.
pub(crate) fn listen(name: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let own = UnixStream::connect_addr(&address);
    listener.accept().unwrap();
    println!("listening: {}", own.is_ok());
    listener.set_nonblocking(true).unwrap();
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        if listener.accept().is_ok() {
            println!("escaped: connected from outside");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
