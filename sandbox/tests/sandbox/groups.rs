//! What the kernel says of the control group of a run, in version 2, where a run has one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anneal_sandbox::{CancelToken, CgroupKind, Ended, sweep};

use crate::bench::{Bench, MIB, needs_sandbox, patient};

/// The groups of version 2 that this process has made and still has.
fn own() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with(&format!("anneal-{}-", std::process::id())) {
                found.push(entry.path());
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
    found
}

/// The group that limits this many processes, once it holds one that runs.
fn group_of(pids: u64) -> Option<PathBuf> {
    let start = Instant::now();
    while start.elapsed() < patient(Duration::from_secs(5)) {
        let of_this = |group: &PathBuf| {
            read(group, "pids.max").is_some_and(|max| max == pids.to_string() || max == (pids + 2).to_string())
        };
        if let Some(group) = own().into_iter().find(of_this).filter(|group| number(group, "pids.current") >= Some(2)) {
            return Some(group);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

fn read(group: &Path, file: &str) -> Option<String> {
    Some(fs::read_to_string(group.join(file)).ok()?.trim().to_owned())
}

fn number(group: &Path, file: &str) -> Option<u64> {
    read(group, file)?.parse().ok()
}

/// Whether runs have groups of version 2 here; says why not.
fn there_are_groups() -> bool {
    let outcome = Bench::new().run(&["true"]).unwrap().0;
    let has = outcome.surroundings.cgroup == CgroupKind::V2;
    if !has {
        let gaps = outcome.limits_not_enforced.join("; ");
        let line = format!("skipped: groups: this user's runs have no control groups of version 2: {gaps}\n");
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    }
    has
}

#[test]
fn the_limits_of_a_run_are_what_the_kernel_has_for_its_group() {
    needs_sandbox!();
    if !there_are_groups() {
        return;
    }
    let mut bench = Bench::new();
    bench.spec.limits.memory_bytes = 77 * MIB;
    bench.spec.limits.pids = 23;
    let cancel = CancelToken::new();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| bench.run_until(&["sleep", "60"], &cancel));
        let group = group_of(23);
        let seen = group.as_ref().map(|group| {
            let files = ["memory.max", "memory.oom.group", "memory.swap.max", "cpu.max", "cgroup.procs", "cgroup.type"];
            files.map(|file| (file, read(group, file)))
        });
        cancel.cancel();
        assert_eq!(run.join().unwrap().unwrap().0.ended, Ended::Cancelled);
        let Some([(_, memory), (_, together), (_, swap), (_, processor), (_, processes), (_, kind)]) = seen else {
            panic!("no group of this run was found")
        };
        assert_eq!(memory.as_deref(), Some((77 * MIB).to_string().as_str()));
        assert_eq!(together.as_deref(), Some("1"), "what is in the group is killed together");
        assert!(swap.is_none_or(|swap| swap == "0"));
        if let Some(processor) = processor {
            // Present where the controller was handed out; one processor is declared.
            assert!(["100000 100000", "max 100000"].contains(&processor.as_str()), "{processor}");
        }
        assert!(processes.is_some_and(|text| !text.is_empty()), "nothing of the run is in its group");
        assert_eq!(kind.as_deref(), Some("domain"));
        assert!(group.is_some_and(|group| !group.exists()), "the group is still there after its run");
    });
}

#[test]
fn a_payload_sees_its_own_group_as_the_root_of_all() {
    needs_sandbox!();
    let said = Bench::new().says(&["read", "/proc/self/cgroup"]);
    assert!(!said.is_empty() && said.lines().all(|line| line.ends_with(":/")), "{said}");
}

#[test]
fn a_sweep_finds_what_was_left_in_another_group_than_its_own() {
    let namespace = std::os::unix::fs::MetadataExt::ino(&fs::metadata("/proc/self/ns/pid").unwrap());
    let mut tried = 0;
    // A user may make groups in none of the hierarchies, only in the group that is delegated.
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let delegated = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let hierarchies = ["", "memory", "pids", "unified", delegated.trim_end_matches("anneal-main")];
    for hierarchy in hierarchies.map(|name| Path::new("/sys/fs/cgroup").join(name)) {
        let elsewhere = hierarchy.join(format!("elsewhere-{}", std::process::id()));
        if fs::create_dir(&elsewhere).is_err() {
            continue;
        }
        // In the directory that the hierarchies of version 1 are mounted in this is no group.
        let is_group = elsewhere.join("cgroup.procs").exists();
        // As a launcher leaves them that is gone, and as one has them that can't be seen from here.
        let [left, unseen] =
            [namespace, namespace + 1].map(|namespace| elsewhere.join(format!("anneal-1-1-{namespace}-1")));
        if is_group {
            [&left, &unseen].iter().for_each(|group| fs::create_dir(group).unwrap());
            sweep(&elsewhere.join("none")).unwrap();
            assert!(!left.exists() && unseen.exists(), "{}", hierarchy.display());
            fs::remove_dir(&unseen).unwrap();
            tried += 1;
        }
        fs::remove_dir(&elsewhere).unwrap();
    }
    if tried == 0 {
        let line = "skipped: groups: no hierarchy where this user may make groups\n";
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    }
}

#[test]
fn a_sweep_kills_what_is_alive_in_the_group_of_a_launcher_that_is_gone() {
    needs_sandbox!();
    if !there_are_groups() {
        return;
    }
    let mut bench = Bench::new();
    bench.spec.limits.pids = 29;
    let cancel = CancelToken::new();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| bench.run_until(&["sleep", "60"], &cancel));
        let group = group_of(29);
        let made = group.as_ref().map(|group| {
            // A group as a launcher leaves it that is gone: its process 1 has no such start.
            let namespace = std::os::unix::fs::MetadataExt::ino(&fs::metadata("/proc/self/ns/pid").unwrap());
            let left = group.with_file_name(format!("anneal-1-1-{namespace}-1"));
            fs::create_dir(&left).unwrap();
            let mut sleeper =
                std::process::Command::new(crate::bench::payload()).args(["sleep", "60"]).spawn().unwrap();
            fs::write(left.join("cgroup.procs"), sleeper.id().to_string()).unwrap();
            let swept = sweep(&left.join("none")).unwrap();
            let status = sleeper.wait().unwrap();
            (swept.groups, status, left.exists())
        });
        cancel.cancel();
        assert_eq!(run.join().unwrap().unwrap().0.ended, Ended::Cancelled, "the sweep left the other run alone");
        let (groups, status, exists) = made.expect("no group of this run was found");
        assert!(groups >= 1 && !exists, "{groups} groups were swept");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    });
}
