//! The same digests under Debian's `reprotest`: another path, environment, clock, locale, host name, home, time zone, umask,
//! number of processors, address layout, kernel's name and order of directories around the daemon itself.
//!
//! It is part of `make full`. The package is compiled, in the whole build root.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]
#![allow(clippy::print_stderr, reason = "what was varied is for whoever runs it")]

use anneal_tests::{Notes, Said, copy_tree, is_root, program, root_of_builds, scratch, skipped, tool, top};
use std::{fs, process::Command};

/// Everything that reprotest 0.7 varies but the user, which takes a second account and sudo.
const VARIED: &str = "-user_group";

#[test]
fn reprotest_gets_the_same_digests_around_our_daemon() {
    for name in ["reprotest", "disorderfs", "faketime"] {
        if tool(name).is_none() {
            return;
        }
    }
    if !is_root() {
        return skipped("no permission to change the hostname or to mount");
    }
    let dir = scratch();
    let notes = Notes::ready(dir.path()).with_steps(&[
        "printf 'int main(int n, char **all) { return n - 1 + all[0][0] * 0; }' >program.c",
        "cc -O2 -g0 -o program program.c && install -Dm755 program \"$OUT/usr/bin/program\"",
    ]);
    let (source, states) = (dir.path().join("source"), dir.path().join("states"));
    fs::create_dir(&states).unwrap();
    copy_tree(&notes.place.catalog, &source.join("recipes"));
    fs::copy(top().join("tests/reprotest/build"), source.join("build")).unwrap();
    let settings = format!(
        "program='{}'\nlock='{}'\nroot='{}'\nstates='{}'\n",
        program().display(),
        top().join("vendor/build-root.lock").display(),
        root_of_builds().display(),
        states.display()
    );
    fs::write(source.join("settings"), settings).unwrap();
    let run = |command: &str| {
        let mut reprotest = Command::new("reprotest");
        reprotest.args(["--no-diffoscope", "--vary", VARIED, "-c", command]).arg(&source).arg("digests");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANNEAL_")) {
            reprotest.env_remove(name);
        }
        Said::by(&mut reprotest)
    };
    let said = run("./build").fine();
    eprintln!("{}", said.out.lines().filter(|line| line.contains("manifest")).collect::<Vec<_>>().join("\n"));
    assert!(said.out.contains("\"manifest\":\"sha256:"), "{}\n{}", said.out, said.err);
    // The control: what lets the host name in is caught by the same means.
    let control = run("./build && hostname >>digests");
    assert_ne!(control.code, 0, "reprotest varies nothing here:\n{}\n{}", control.out, control.err);
}
