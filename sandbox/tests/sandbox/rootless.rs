//! Everything once more without root: as a user whose runs share its own user, and as one that has subordinate ids.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::User;

use crate::bench::{PAYLOAD, payload};

/// An ordinary user who owns nothing and was given no ids.
const NOBODY: u32 = 65534;
/// An ordinary user who was given subordinate ids; `tests/install test` makes it.
const WITH_RANGES: &str = "anneal-test";
/// Set in the second run, so that there is no third.
const INNER: &str = "ANNEAL_TEST_ROOTLESS";

/// Runs every other test as a user; what it said.
fn as_user(uid: u32, gid: u32) -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (program, copy) = (dir.path().join("tests"), dir.path().join("payload"));
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::copy(payload(), &copy).unwrap();
    let home = dir.path().join("tmp");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(uid), Some(gid)).unwrap();
    let output = Command::new(program)
        .args(["--test-threads", "2", "--nocapture"])
        .current_dir("/")
        .env("TMPDIR", &home)
        .env(PAYLOAD, copy)
        .env(INNER, "1")
        .uid(uid)
        .gid(gid)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for line in said.lines().filter(|line| line.starts_with("skipped: ")) {
        tell(line);
    }
    said
}

fn tell(line: &str) {
    std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes()).unwrap();
}

fn is_first_run() -> bool {
    nix::unistd::geteuid().is_root() && std::env::var_os(INNER).is_none()
}

#[test]
fn every_other_test_holds_without_root_too() {
    if is_first_run() {
        let said = as_user(NOBODY, NOBODY);
        assert!(said.contains("subordinate: the host user of runs is Shared"), "{said}");
    }
}

#[test]
fn every_other_test_holds_with_subordinate_ids_too() {
    if !is_first_run() {
        return;
    }
    let Some(user) = User::from_name(WITH_RANGES).unwrap() else {
        return tell("skipped: subordinate ids: there is no user anneal-test (tests/install test makes it)");
    };
    let said = as_user(user.uid.as_raw(), user.gid.as_raw());
    assert!(!said.contains("subordinate: the host user of runs is"), "{said}");
}
