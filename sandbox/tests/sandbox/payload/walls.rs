//! The part of the payload that tries the second wall and says what it sees of the machine.

use std::fs::{self, OpenOptions};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use super::{c, c_int, errno, fork, setsid, syscall};

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn getpriority(which: c_int, who: u32) -> c_int;
    fn umask(mask: u32) -> u32;
    fn personality(value: u64) -> c_int;
}

const PR_GET_SECUREBITS: c_int = 27;
const PR_SET_SECUREBITS: c_int = 28;
const PR_CAP_AMBIENT: c_int = 47;

pub(crate) fn report(what: &[&str]) {
    match what {
        ["secure-bits"] => secure_bits(),
        ["work", dirs @ ..] => dirs.iter().for_each(|dir| work(dir)),
        ["together"] => together(),
        ["varied", inputs] => varied(inputs),
        ["sys"] => sys(),
        ["size"] => size(),
        ["close", dir] => close(dir),
        ["widen"] => widen(),
        ["shared-tables", file] => shared_tables(file),
        ["hide", dir, how] => hide(dir, how),
        ["show-and-wait", path, seconds] => {
            print!("{}", std::fs::read_to_string(path).unwrap());
            std::thread::sleep(std::time::Duration::from_secs(seconds.parse().unwrap()));
        }
        other => panic!("unknown order {other:?}"),
    }
}

fn secure_bits() {
    // SAFETY: integers only.
    unsafe {
        println!("bits: {:#x}", prctl(PR_GET_SECUREBITS));
        for bits in [0u64, 1 << 4, 0b10_1111] {
            super::verdict(&format!("secure bits {bits:#x}"), prctl(PR_SET_SECUREBITS, bits, 0u64, 0u64, 0u64).into());
        }
        super::verdict("raise an ambient capability", prctl(PR_CAP_AMBIENT, 2u64, 0u64, 0u64, 0u64).into());
    }
}

/// Everything that a build does to files, in a place where it may.
fn work(dir: &str) {
    let at = |name: &str| format!("{dir}/{name}");
    let steps = || -> std::io::Result<()> {
        fs::create_dir_all(at("a/b"))?;
        fs::create_dir_all(at("c"))?;
        fs::write(at("a/file"), "12345")?;
        fs::rename(at("a/file"), at("c/moved"))?;
        fs::hard_link(at("c/moved"), at("a/b/link"))?;
        fs::rename(at("a/b"), at("c/b"))?;
        symlink("moved", at("c/symlink"))?;
        OpenOptions::new().write(true).open(at("c/moved"))?.set_len(2)?;
        OpenOptions::new().write(true).truncate(true).open(at("c/moved"))?;
        let _listener = UnixListener::bind(at("socket"))?;
        UnixStream::connect(at("socket"))?;
        // SAFETY: a string that lives through the call; 133 is mknod, 0o010644 a fifo.
        if unsafe { syscall(133, c(&at("fifo")).as_ptr(), 0o010644i64, 0i64) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        for name in ["socket", "fifo", "c/symlink"] {
            fs::remove_file(at(name))?;
        }
        fs::remove_dir_all(at("c"))?;
        fs::remove_dir_all(at("a"))
    };
    println!("work in {dir}: {:?}", steps());
}

/// Processes of one sandbox reach each other: by signals, abstract sockets, a session of their own.
fn together() {
    let name = SocketAddr::from_abstract_name("together").unwrap();
    let listener = UnixListener::bind_addr(&name).unwrap();
    // SAFETY: one thread, so nothing is locked in the child.
    let child = unsafe { fork() };
    if child == 0 {
        // SAFETY: no arguments.
        unsafe { setsid() };
        let connected = UnixStream::connect_addr(&name).map(drop);
        println!("child connects: {connected:?}");
        loop {
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
    }
    drop(listener.accept().unwrap());
    std::thread::sleep(std::time::Duration::from_millis(50));
    let mut status = 0;
    // SAFETY: integers, and a live one that is written.
    unsafe {
        println!("kill child: {}", kill(child, 15));
        waitpid(child, &mut status, 0);
        println!("child ended by: {}", status & 0x7f);
        println!("signal to process 1: {} {}", kill(1, 0), errno());
    }
    for (device, text) in [("/dev/null", "x"), ("/dev/full", ""), ("/dev/zero", "x")] {
        println!("write {device}: {:?}", fs::write(device, text));
    }
    println!("shared memory: {:?}", fs::write("/dev/shm/file", "x"));
    println!("terminal: {}", OpenOptions::new().read(true).write(true).open("/dev/ptmx").is_ok());
    println!("tcp: {}", std::net::TcpListener::bind("127.0.0.1:0").is_ok());
}

/// Everything that a variation may change, a line each.
fn varied(inputs: &str) {
    let order = |path: &str| -> Vec<String> {
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    println!("hostname={}", read("/proc/sys/kernel/hostname"));
    // SAFETY: integers only.
    unsafe {
        println!("uid={} gid={}", super::getuid(), super::getgid());
        println!("umask={:04o}", umask(0));
        println!("fixed-addresses={}", personality(0xffff_ffff) & 0x0004_0000 != 0);
        println!("priority={}", getpriority(0, 0));
    }
    std::env::vars().for_each(|(name, value)| println!("env.{name}={value}"));
    let mut mask = [0u8; 128];
    // SAFETY: the buffer has the size given.
    unsafe { super::sched_getaffinity(0, mask.len(), mask.as_mut_ptr()) };
    println!("cpus={}", mask.iter().map(|byte| byte.count_ones()).sum::<u32>());
    println!("cpuinfo={}", read("/proc/cpuinfo").matches("processor").count());
    println!("cwd={}", std::env::current_dir().unwrap().display());
    let mounts = read("/proc/self/mountinfo");
    let kind = |at: &str| {
        let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some(at)).unwrap_or_default();
        line.split(" - ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("none").to_owned()
    };
    println!("file-system={} {}", kind("/"), kind(inputs));
    println!("order={}", order(inputs).join(" "));
    let mut sorted = order(inputs);
    sorted.sort();
    let content = |name: &String| {
        let path = format!("{inputs}/{name}");
        let found = fs::symlink_metadata(&path).unwrap();
        use std::os::unix::fs::MetadataExt;
        let text = fs::read_link(&path).map(|to| format!("-> {}", to.display()));
        let text = text.or_else(|_| fs::read_to_string(&path)).unwrap_or_default();
        format!("{name}:{:o}:{}:{}:{text}", found.mode(), found.mtime(), found.nlink())
    };
    println!("inputs={}", sorted.iter().map(content).collect::<Vec<_>>().join(" "));
}

/// What the kernel says of memory, load and time.
fn size() {
    let mut words = [u64::MAX; 14];
    // SAFETY: a buffer with the size of the kernel's structure; 99 is sysinfo.
    let result = unsafe { syscall(99, words.as_mut_ptr()) };
    println!("{result}: up {} load {:?} memory {} {} unit {}", words[0], &words[1..4], words[4], words[5], words[13]);
}

/// Leaves many files in a directory that nobody may read.
fn close(dir: &str) {
    fs::create_dir(dir).unwrap();
    for number in 0..200 {
        fs::write(format!("{dir}/{number}"), "").unwrap();
    }
    // SAFETY: a string that lives through the call; 90 is chmod.
    println!("closed: {}", unsafe { syscall(90, c(dir).as_ptr(), 0i64) });
}

/// The files of `/proc/sys`, with what they say.
fn sys() {
    let mut waiting = vec!["/proc/sys".to_owned()];
    while let Some(dir) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let path = entry.path().to_str().unwrap().to_owned();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                println!("{path}: {}", text.trim().replace('\n', " "));
            }
        }
    }
}

/// A file and a link in directories that nobody may enter, and a fifo beside them.
fn hide(dir: &str, how: &str) {
    let closed = format!("{dir}/closed");
    std::fs::create_dir_all(format!("{closed}/in")).unwrap();
    std::fs::write(format!("{closed}/in/file"), "hidden").unwrap();
    fs::set_permissions(format!("{closed}/in/file"), fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("file", format!("{closed}/in/link")).unwrap();
    std::fs::write(format!("{dir}/open"), "x").unwrap();
    std::os::unix::net::UnixListener::bind(format!("{dir}/socket")).unwrap();
    for path in [format!("{closed}/in"), closed] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    match how {
        "succeed" => {}
        "fail" => std::process::exit(3),
        _ => std::thread::sleep(std::time::Duration::from_secs(60)),
    }
}

/// Asks for every processor there is, and says how many it has then.
fn widen() {
    let mut mask = [0xffu8; 128];
    // SAFETY: a live buffer of the given size; the second call writes to it.
    unsafe {
        println!("asked: {}", syscall(203, 0i64, 128i64, mask.as_ptr()));
        mask.fill(0);
        syscall(204, 0i64, 128i64, mask.as_mut_ptr());
    }
    println!("processors: {}", mask.iter().map(|byte| byte.count_ones()).sum::<u32>());
}

/// What the machine has one of for everybody, or what would tell which machine it is.
fn shared_tables(file: &str) {
    use std::os::fd::AsRawFd;
    let call = |what: &str, result: i64| super::verdict(what, result);
    // SAFETY: integers, a name that outlives its call, and buffers longer than what each command writes.
    unsafe {
        let mut pair = [0i32; 2];
        for (name, family) in [("vsock", 40i64), ("tipc", 30), ("inet", 2)] {
            call(&format!("socketpair of {name}"), syscall(53, family, 1i64, 0i64, pair.as_mut_ptr()));
        }
        call("a socket of type 6", syscall(41, 2i64, 6i64, 0i64));
        let mut context = 0u64;
        call("asynchronous input", syscall(206, 8i64, &mut context));
        call("huge pages in a file", syscall(319, c("huge").as_ptr(), 4i64));
        call("huge pages", syscall(9, 0i64, 2i64 << 20, 3i64, 0x40022i64, -1i64, 0i64));
        call("shared huge pages", syscall(29, 0i64, 2i64 << 20, 0o5600i64));
        let open = fs::File::open(file).unwrap();
        let mut buffer = [0u8; 4096];
        for command in [0x8008662cu64, 0x80111500, 0x80811501, 0x81009431, 0x80087601, 0xc020660b, 0x8400941f] {
            call(&format!("command {command:#x}"), super::ioctl(open.as_raw_fd(), command, buffer.as_mut_ptr()).into());
        }
        let mut spent = [7u64; 4];
        let ticks = syscall(100, spent.as_mut_ptr());
        println!("ticks: {ticks} {spent:?} {}", syscall(100, 0i64) >= ticks);
    }
    let mut terminals = Vec::new();
    while let Ok(terminal) = OpenOptions::new().read(true).write(true).open("/dev/ptmx") {
        terminals.push(terminal);
    }
    println!("terminals: {}", terminals.len());
}
