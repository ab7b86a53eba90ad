//! There is no way up, and none through other processes or the kernel.
//!
//! Each list of probes also runs outside a sandbox, where it must find what it looks for.

use std::collections::BTreeSet;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anneal_sandbox::{Error, MountSource};

use crate::bench::{Bench, PAYLOAD, needs_sandbox, payload};

/// Places that [`furnished`] mounts something at, beside `/tmp`.
const PLACES: &[&str] = &["/usr", "/proc", "/dev", "/dev/pts", "/dev/shm", "/tmp", "/src", "/both", "/empty", "/out"];
/// Set in a test process whose own root something is mounted over.
const COVERED: &str = "ANNEAL_TEST_COVERED";

/// A file that everyone on the host may read.
struct Canary {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Canary {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = dir.path().join("canary");
        std::fs::write(&path, "of the host").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        Self { _dir: dir, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// A bench with one mount of each sort.
fn furnished() -> Bench {
    let mut bench = Bench::new();
    std::fs::create_dir(bench.spec.root[0].join("usr")).unwrap();
    let (one, two) = (bench.tree("one", "file", "1"), bench.tree("two", "other", "2"));
    let file = bench.tree("three", "file", "3").join("file");
    bench.mount("/src", MountSource::Trees(vec![one.clone()]));
    bench.mount("/both", MountSource::Trees(vec![one, two]));
    bench.mount("/empty", MountSource::Trees(Vec::new()));
    bench.mount("/file", MountSource::File(file));
    bench.output("/out");
    bench
}

/// Runs a list of probes here, without a sandbox.
fn outside(args: &[&str]) -> String {
    let output = Command::new(payload()).args(args).current_dir("/").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn all_held(said: &str, at_least: usize) {
    let escaped: Vec<&str> = said.lines().filter(|line| !line.starts_with("held")).collect();
    assert!(escaped.is_empty(), "{escaped:#?}");
    assert!(said.lines().count() >= at_least, "{said}");
}

#[test]
fn there_is_nothing_above_the_root() {
    needs_sandbox!();
    let canary = Canary::new();
    let mut args = vec!["outward", canary.path()];
    args.extend(PLACES.iter().filter(|place| place.matches('/').count() == 1));
    for writable_root in [false, true] {
        let mut bench = furnished();
        bench.spec.writable_root = writable_root;
        all_held(&bench.says(&args), 300);
    }
}

#[test]
fn the_probes_for_ways_up_see_the_canary_where_there_is_no_sandbox() {
    let canary = Canary::new();
    let said = outside(&["outward", canary.path(), "/proc"]);
    for way in ["/..", "/../..", "/proc/..", "/proc/self/root/.."] {
        let line = format!("escaped: {way}{}: there", canary.path());
        assert!(said.lines().any(|said| said == line), "{line} is missing in\n{said}");
    }
    assert!(said.contains(&format!("escaped: openat .. of /proc, then {}: there", canary.path())), "{said}");
}

#[test]
fn process_1_shows_its_payload_nothing() {
    needs_sandbox!();
    all_held(&Bench::new().says(&["other-processes"]), 30);
    let said = outside(&["other-processes"]);
    assert!(said.contains("escaped: processes but the own and process 1"), "{said}");
}

#[test]
fn calls_that_reach_past_a_sandbox_do_not_exist() {
    needs_sandbox!();
    all_held(&Bench::new().says(&["no-such-call"]), 60);
}

/// One line of `mountinfo`: device, root within it, mount point, and options with type and source.
fn mounts(table: &str) -> Vec<(String, String, String, String)> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[2].to_owned(), words[3].to_owned(), words[4].to_owned(), words[5..].join(" "))
    };
    table.lines().map(line).collect()
}

#[test]
fn a_payload_sees_no_mount_but_those_of_its_own_sandbox() {
    needs_sandbox!();
    let bench = furnished();
    let seen = mounts(&bench.says(&["read", "/proc/self/mountinfo"]));
    let of_host = mounts(&std::fs::read_to_string("/proc/self/mountinfo").unwrap());
    let mut points = BTreeSet::new();
    for (device, root, at, rest) in &seen {
        assert!(points.insert(at.clone()), "two mounts at {at}");
        let declared = at == "/"
            || ["/dev", "/proc"].iter().any(|place| Path::new(at).starts_with(place))
            || bench.spec.mounts.iter().any(|mount| mount.at.to_str() == Some(at));
        assert!(declared, "a mount at {at}");
        let same = |(other, other_root, ..): &&(String, String, String, String)| other == device && other_root == root;
        if let Some((.., host_point, _)) = of_host.iter().find(same).filter(|_| !at.starts_with("/dev/")) {
            panic!("{host_point} of the host is mounted at {at}");
        }
        for path in [bench.spec.root[0].parent().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR"))] {
            assert!(!rest.contains(path.to_str().unwrap()), "{at} shows a path of the host: {rest}");
        }
    }
    for place in PLACES.iter().filter(|place| **place != "/usr") {
        assert!(points.contains(*place), "{place} is missing in {points:?}");
    }
}

#[test]
fn an_input_is_the_same_after_every_attempt_to_change_it() {
    needs_sandbox!();
    let bench = furnished();
    let of_host = |name: &str| bench.spec.root[0].with_file_name(name).join("file");
    let state = |path: &Path| {
        let found = std::fs::metadata(path).unwrap();
        (found.mode(), found.nlink(), found.mtime(), found.mtime_nsec(), std::fs::read(path).unwrap())
    };
    let before = [state(&of_host("one")), state(&of_host("three"))];
    all_held(&bench.says(&["change", "/out", "/src/file", "/both/file", "/file", "/payload"]), 44);
    assert_eq!([state(&of_host("one")), state(&of_host("three"))], before);
    let free = bench.tree("free", "file", "x").join("file");
    let said = outside(&["change", free.parent().unwrap().to_str().unwrap(), free.to_str().unwrap()]);
    assert!(said.contains("escaped: append to") && said.contains("escaped: remove"), "{said}");
}

#[test]
fn shared_memory_of_the_host_is_not_there() {
    needs_sandbox!();
    let key = 0x616e_0000 | (std::process::id() & 0xffff) as i32;
    // SAFETY: integers only.
    let segment = unsafe { libc::shmget(key, 4096, libc::IPC_CREAT | 0o666) };
    assert!(segment >= 0);
    let (control, said) =
        (outside(&["shared-memory", &key.to_string()]), Bench::new().run(&["shared-memory", &key.to_string()]));
    // SAFETY: the segment is ours; null asks for nothing to be filled in.
    unsafe { libc::shmctl(segment, libc::IPC_RMID, std::ptr::null_mut()) };
    assert!(control.starts_with("escaped"), "{control}");
    all_held(&said.unwrap().1, 1);
}

#[test]
fn nobody_outside_reaches_an_abstract_socket_of_a_payload() {
    needs_sandbox!();
    let name = format!("anneal-inside-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let said = std::thread::scope(|scope| {
        let run = scope.spawn(|| Bench::new().says(&["listen", &name]));
        while !run.is_finished() {
            assert!(UnixStream::connect_addr(&address).is_err(), "reached from outside");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        run.join().unwrap()
    });
    assert_eq!(said, "listening: true\n");
}

/// Where something is mounted over the root of the host, it can't be taken off again: the sandbox must not start.
#[test]
fn a_payload_does_not_start_while_a_mount_stays_above_its_root() {
    needs_sandbox!();
    if std::env::var_os(COVERED).is_some() {
        let error = Bench::new().run(&["say", "started"]).unwrap_err();
        assert!(matches!(&error, Error::Operation { op, .. } if op == "pivot"), "{error:?}");
        assert!(error.to_string().contains("a mount of the host stays above the sandbox's root"), "{error}");
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "escape::a_payload_does_not_start_while_a_mount_stays_above_its_root", "--nocapture"]);
    command.env(COVERED, "1").env(PAYLOAD, payload()).current_dir("/");
    // SAFETY: what the child does before exec takes no lock that another thread could hold but the allocator's, and
    // that one is safe across a fork.
    unsafe { command.pre_exec(cover_root) };
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Mounts something over the root, in a mount namespace of this process's own.
fn cover_root() -> std::io::Result<()> {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if uid.is_root() {
        unshare(CloneFlags::CLONE_NEWNS)?;
    } else {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
        for (name, text) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("{uid} {uid} 1")),
            ("gid_map", format!("{gid} {gid} 1")),
        ] {
            std::fs::write(format!("/proc/self/{name}"), text)?;
        }
    }
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    Ok(mount(Some("tmpfs"), "/", Some("tmpfs"), MsFlags::empty(), none)?)
}
