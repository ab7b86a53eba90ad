//! What is mounted in a sandbox, and what would stay above it. The ways out themselves are tried by `tests/attack`.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anneal_sandbox::{Error, MountSource};

use crate::bench::{Bench, PAYLOAD, needs_sandbox, payload};

/// Places that [`furnished`] mounts something at, beside `/tmp`.
const PLACES: &[&str] = &["/usr", "/proc", "/dev", "/dev/pts", "/dev/shm", "/tmp", "/src", "/both", "/empty", "/out"];
/// Set in a test process whose own root something is mounted over.
const COVERED: &str = "ANNEAL_TEST_COVERED";

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
fn a_socket_in_a_declared_tree_leads_to_nobody_on_the_host() {
    needs_sandbox!();
    for trees in [1, 2] {
        let mut bench = Bench::new();
        let mut sources = vec![bench.tree("one", "file", "1")];
        sources.extend((1..trees).map(|_| bench.tree("two", "file", "2")));
        let path = sources[0].join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        bench.mount("/in", MountSource::Trees(sources));
        let said = bench.says(&["connect-path", "/in/socket"]);
        assert!(said.starts_with("held"), "{trees} trees: {said}");
        drop(listener);
    }
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
