//! Everything once more without root.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::bench::{PAYLOAD, payload};

/// An ordinary user who owns nothing.
const NOBODY: u32 = 65534;
/// Set in the second run, so that there is no third.
const INNER: &str = "ANNEAL_TEST_ROOTLESS";

#[test]
fn every_other_test_holds_without_root_too() {
    if !nix::unistd::geteuid().is_root() || std::env::var_os(INNER).is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (program, copy) = (dir.path().join("tests"), dir.path().join("payload"));
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::copy(payload(), &copy).unwrap();
    let home = dir.path().join("tmp");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    let output = Command::new(program)
        .args(["--test-threads", "2", "--nocapture"])
        .current_dir("/")
        .env("TMPDIR", &home)
        .env(PAYLOAD, copy)
        .env(INNER, "1")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for line in said.lines().filter(|line| line.starts_with("skipped: ")) {
        std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes()).unwrap();
    }
}
