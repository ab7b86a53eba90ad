//! Where the host forbids namespaces nothing is run, and the setting that forbids them is named.
//!
//! The settings are those of a user namespace around the test, where anyone may change them.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anneal_sandbox::{Error, self_check};

use crate::bench::{Bench, PAYLOAD, needs_sandbox, payload};

/// Names the setting in the process that lives under it.
const SETTING: &str = "ANNEAL_TEST_FORBIDDEN";

/// Not a test by itself: what happens under a setting.
#[test]
fn under_a_setting() {
    let Ok(setting) = std::env::var(SETTING) else { return };
    match Bench::new().run(&["true"]) {
        Err(Error::NamespacesForbidden { setting: told, .. }) => assert!(told.starts_with(&setting), "{told}"),
        other => panic!("{other:?}"),
    }
    let report = self_check();
    assert!(!report.usable);
    let mends: Vec<_> = report.findings.iter().filter_map(|finding| finding.mend.as_deref()).collect();
    assert!(mends.iter().any(|mend| mend.starts_with(&setting)), "{report:#?}");
}

/// Makes a user namespace around the process to come, with one setting at zero.
fn forbid(path: &str, uid: u32, gid: u32) -> std::io::Result<()> {
    // SAFETY: one integer; after a fork there is one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    std::fs::write(path, "0")
}

#[test]
fn a_host_that_forbids_namespaces_is_told_which_setting_does() {
    needs_sandbox!();
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    for kind in ["user", "net", "mnt"] {
        let path = format!("/proc/sys/user/max_{kind}_namespaces");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["forbidden::under_a_setting", "--exact", "--nocapture"]).stdin(Stdio::null());
        command.env(SETTING, format!("user.max_{kind}_namespaces is 0")).env(PAYLOAD, payload());
        // SAFETY: the closure makes system calls and small strings, in a process that has one thread.
        unsafe { command.pre_exec(move || forbid(&path, uid, gid)) };
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}
