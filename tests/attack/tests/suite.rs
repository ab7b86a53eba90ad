//! Nothing gets out, as root and as anyone, and every probe is alive.
//!
//! The table is printed. Where the host forbids user namespaces the tests say that they are skipped.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "all of this is a test"
)]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anneal_attack::{Ending, Mode, PROGRAM, Row, Table, Verdict, table_text};

/// An ordinary user who owns nothing.
const NOBODY: u32 = 65534;
/// An ordinary user who was given subordinate ids; `tests/install test` makes it.
const WITH_RANGES: &str = "anneal-test";
/// All of it, in both modes and without root in both ways, on two cores.
const BUDGET: Duration = Duration::from_secs(240);

/// Runs the suite as a user, from a copy that the user can reach.
fn suite(user: Option<(u32, u32)>) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    open(dir.path());
    let (program, home) = (dir.path().join("attack-suite"), dir.path().join("tmp"));
    std::fs::copy(env!("CARGO_BIN_EXE_attack-suite"), &program).unwrap();
    std::fs::create_dir(&home).unwrap();
    open(&home);
    let mut command = Command::new(program);
    command.args(["--control", "--json"]).current_dir("/").env("TMPDIR", &home);
    if let Some((user, group)) = user {
        std::os::unix::fs::chown(&home, Some(user), Some(group)).unwrap();
        command.uid(user).gid(group);
    }
    command.output().unwrap()
}

fn all_hold(user: Option<(u32, u32)>) -> Vec<Row> {
    let output = suite(user);
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("forbids user namespaces") {
        eprintln!("skipped: {said}");
        return Vec::new();
    }
    let rows: Vec<Row> = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    println!("{}", table_text(&rows));
    let bad: Vec<&Row> = rows.iter().filter(|row| !row.holds() || row.is_dead()).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    rows
}

#[test]
fn nothing_gets_out_in_either_mode_and_every_probe_is_alive() {
    let start = Instant::now();
    let own = all_hold(None);
    let is_root = nix::unistd::geteuid().is_root();
    let other = if is_root { all_hold(Some((NOBODY, NOBODY))) } else { Vec::new() };
    assert!(other.iter().all(|row| row.mode == Mode::Rootless));
    let ranged = nix::unistd::User::from_name(WITH_RANGES).unwrap().filter(|_| is_root);
    let subordinate =
        ranged.as_ref().map(|user| all_hold(Some((user.uid.as_raw(), user.gid.as_raw())))).unwrap_or_default();
    if is_root && ranged.is_none() {
        eprintln!("skipped: subordinate ids: there is no user {WITH_RANGES} (tests/install test makes it)");
    }
    // The one probe that tells the two ways without root apart.
    let users = |rows: &[Row]| rows.iter().find(|row| row.id == "P30c").map(|row| row.outcome.clone());
    assert!(other.is_empty() || matches!(users(&other), Some(Verdict::NotEnforced(_))), "{:?}", users(&other));
    assert!(subordinate.is_empty() || users(&subordinate) == Some(Verdict::Held), "{:?}", users(&subordinate));
    let counts = [own.len(), other.len(), subordinate.len()];
    println!("{counts:?} runs as this user, nobody and {WITH_RANGES}, in {:?}", start.elapsed());
    assert!(start.elapsed() < BUDGET, "{:?}", start.elapsed());
}

#[test]
fn each_probe_is_one_function_and_one_entry() {
    let table = Table::read().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("attack");
    std::fs::write(&program, PROGRAM).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let listed = Command::new(&program).arg("list").output().unwrap();
    let functions: Vec<String> = String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
    let entries: Vec<String> = table.probe.iter().map(|probe| probe.id.clone()).collect();
    assert_eq!(functions, entries);
}

/// The numbers of the list of probes.
fn numbers() -> impl Iterator<Item = u32> {
    [1..=26, 30..=48, 50..=53, 60..=64, 70..=77, 80..=83].into_iter().flatten()
}

#[test]
fn every_number_of_the_list_is_tried_here_or_says_where() {
    let table = Table::read().unwrap();
    let here = table.probe.iter().map(|probe| probe.id.as_str());
    let ids = here.chain(table.elsewhere.iter().map(|entry| entry.id.as_str()));
    let known: BTreeSet<String> = ids.map(|id| id.trim_end_matches(char::is_lowercase).to_owned()).collect();
    let wanted: BTreeSet<String> = numbers().map(|number| format!("P{number:02}")).collect();
    assert_eq!(wanted.len(), 66);
    assert_eq!(known, wanted);
}

#[test]
fn tests_that_are_named_are_there() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    for entry in Table::read().unwrap().elsewhere {
        assert!(!entry.why.is_empty() && !entry.tests.is_empty(), "{}", entry.id);
        for test in &entry.tests {
            let (file, name) = test.split_once(": ").unwrap();
            let text = std::fs::read_to_string(top.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert!(text.contains(&format!("fn {name}(")), "{}: {file} has no {name}", entry.id);
        }
    }
}

#[test]
fn what_is_about_outputs_is_tried_with_every_ending() {
    let about_outputs = |id: &str| ["P03", "P31", "P32", "P34", "P35", "P37", "P38", "P41", "P42", "P43"].contains(&id);
    for probe in Table::read().unwrap().probe.iter().filter(|probe| about_outputs(&probe.id)) {
        assert_eq!(probe.endings, [Ending::Succeeds, Ending::Fails, Ending::Cancelled], "{}", probe.id);
    }
}
