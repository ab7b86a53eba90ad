//! Without root, runs with subordinate ids: apart from each other and from the caller, and nothing of theirs stays.
//!
//! Each says that it is skipped where runs share the caller's user. [`crate::rootless`] runs all tests as a user that has
//! such ids.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anneal_sandbox::{CancelToken, Ended, IdMode, MountSource, give_back, remove_tree, sweep};

use crate::bench::{Bench, PAYLOAD, needs_sandbox, patient, payload};
use crate::crash::{VICTIM, wait_for};

/// Whether runs have subordinate ids here; says so if not.
fn have(test: &str) -> bool {
    let (outcome, _) = Bench::new().run(&["true"]).unwrap();
    let found = outcome.surroundings.id_mode == IdMode::Subordinate;
    if !found {
        let line = format!("skipped: {test}: the host user of runs is {:?}\n", outcome.surroundings.id_mode);
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    }
    found
}

macro_rules! needs_subordinate {
    () => {
        needs_sandbox!();
        if !have(module_path!()) {
            return;
        }
    };
}

fn own() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Everything in a directory, with what it is.
fn beneath(dir: &Path) -> Vec<(std::path::PathBuf, std::fs::Metadata)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let inner = metadata.is_dir();
        found.push((path.clone(), metadata));
        if inner {
            found.extend(beneath(&path));
        }
    }
    found
}

#[test]
fn two_runs_at_once_have_two_host_users_and_neither_is_the_caller() {
    needs_subordinate!();
    let bench = Bench::new();
    let cancel = CancelToken::new();
    let user = |args: &[&str]| {
        let said = bench.run_until(args, &cancel).unwrap().1;
        said.split_whitespace().nth(1).and_then(|id| id.parse::<u32>().ok())
    };
    let map = ["walls", "show-and-wait", "/proc/self/uid_map", "1"];
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| user(&map));
        let other = scope.spawn(|| user(&map));
        (one.join().unwrap().unwrap(), other.join().unwrap().unwrap())
    });
    assert_ne!(one, other);
    assert!(one != own() && other != own() && one > 1000 && other > 1000, "{one} {other}");
}

#[test]
fn a_file_of_the_caller_alone_is_closed_to_a_payload_unless_it_runs_as_the_caller() {
    needs_subordinate!();
    let mut bench = Bench::new();
    let tree = bench.tree("tree", "secret", "of the caller");
    std::fs::set_permissions(tree.join("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
    bench.mount("/tree", MountSource::Trees(vec![tree.clone()]));
    let (outcome, said) = bench.run(&["read", "/tree/secret"]).unwrap();
    assert!(said.starts_with("held: ") && said.contains("Permission denied"), "{said}");
    assert_eq!(outcome.surroundings.id_mode, IdMode::Subordinate);
    // What is closed to others as a whole can only be given to a run that is the caller's, which says so.
    std::fs::set_permissions(&tree, std::fs::Permissions::from_mode(0o700)).unwrap();
    let (outcome, said) = bench.run(&["read", "/tree/secret"]).unwrap();
    assert_eq!((outcome.surroundings.id_mode, said.as_str()), (IdMode::Shared, "of the caller"));
    let gap = outcome.limits_not_enforced.iter().find(|gap| gap.starts_with("own user: "));
    assert!(gap.is_some_and(|gap| gap.contains("is closed to other users")), "{gap:?}");
}

#[test]
fn what_a_payload_leaves_is_the_callers_whatever_it_closed_and_however_it_ended() {
    needs_subordinate!();
    for (args, ended) in [
        (["walls", "hide", "/out", "succeed"], Ended::Exited(0)),
        (["walls", "hide", "/out", "fail"], Ended::Exited(3)),
        (["walls", "hide", "/out", "hang"], Ended::WallLimit),
    ] {
        let mut bench = Bench::new();
        let out = bench.output("/out");
        bench.spec.limits.wall = Duration::from_secs(2);
        let (outcome, said) = bench.run(&args).unwrap();
        assert_eq!(outcome.ended, ended, "{said}");
        let gap = outcome.limits_not_enforced.iter().find(|gap| gap.starts_with("outputs: "));
        assert_eq!(gap, None, "all of it was measured");
        assert_eq!(std::fs::metadata(&out).unwrap().uid(), own());
        // Permission bits are the payload's word and stay; who may change them is the caller.
        for closed in ["closed", "closed/in"] {
            let path = out.join(closed);
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0, "{closed}");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        let found = beneath(&out);
        assert_eq!(found.len(), 6, "{found:?}");
        for (path, metadata) in found {
            assert_eq!((metadata.uid(), metadata.gid()), (own(), own_group()), "{}", path.display());
        }
        assert_eq!(std::fs::read_to_string(out.join("closed/in/file")).unwrap(), "hidden");
    }
}

fn own_group() -> u32 {
    nix::unistd::getegid().as_raw()
}

#[test]
fn a_payload_hides_nothing_from_the_limits_of_its_outputs() {
    needs_subordinate!();
    let mut bench = Bench::new();
    bench.output("/out");
    bench.spec.limits.output_inodes = 100;
    let (outcome, said) = bench.run(&["walls", "close", "/out/closed"]).unwrap();
    assert_eq!(outcome.ended, Ended::OutputLimit, "{said}");
}

#[test]
fn a_tree_too_deep_for_any_path_is_taken_back_and_removed() {
    needs_subordinate!();
    let mut bench = Bench::new();
    let out = bench.output("/out");
    bench.spec.limits.wall = patient(Duration::from_secs(4));
    assert_eq!(bench.run(&["bomb", "deep", "/out"]).unwrap().0.ended, Ended::OutputLimit);
    remove_tree(&out).unwrap();
    assert!(!out.exists());
}

/// A launcher that is killed while its payload writes; gives the directory of runs and the output in it.
fn killed(bench: &mut Bench) -> (PathBuf, PathBuf) {
    let runs = bench.output("/elsewhere").parent().unwrap().join("runs");
    let out = runs.join("1/out");
    std::fs::create_dir_all(&out).unwrap();
    let mut launcher = Command::new(std::env::current_exe().unwrap())
        .args(["crash::victim", "--exact"])
        .env(VICTIM, &out)
        .env(PAYLOAD, payload())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the first beat", || out.join("beat").exists());
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    let left = std::fs::metadata(&out).unwrap().uid();
    assert_ne!(left, own(), "this is what there is to sweep");
    let alive = || {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries.filter(|entry| entry.metadata().is_ok_and(|found| found.uid() == left)).count()
    };
    wait_for("the end of the sandbox", || alive() == 0);
    (runs, out)
}

#[test]
fn what_a_killed_launcher_left_to_another_user_is_swept() {
    needs_subordinate!();
    let mut bench = Bench::new();
    let (runs, _) = killed(&mut bench);
    assert_eq!(sweep(&runs).unwrap().entries, 1);
    assert_eq!(std::fs::read_dir(&runs).unwrap().count(), 0);
}

#[test]
fn what_a_killed_launcher_left_to_another_user_can_be_had_back_as_it_is() {
    needs_subordinate!();
    let mut bench = Bench::new();
    let (_, out) = killed(&mut bench);
    assert_eq!(give_back(&out).unwrap(), Vec::<String>::new());
    let owners = [&out, &out.join("beat")].map(|path| std::fs::symlink_metadata(path).unwrap().uid());
    assert_eq!(owners, [own(); 2]);
    let refused = give_back(&out.join("beat")).unwrap_err().to_string();
    assert!(refused.contains("see that it is a directory"), "{refused}");
}
