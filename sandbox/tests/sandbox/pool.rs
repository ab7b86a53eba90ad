//! A sandbox from a pool is the same as any other, and one that nobody uses leaves nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anneal_sandbox::{CancelToken, Pool};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::bench::{Bench, PAYLOAD, POOLED, needs_sandbox, patient, payload};

/// Names what a process of its own is to do.
const PART: &str = "ANNEAL_TEST_POOL_PART";
const PATIENCE: Duration = Duration::from_secs(20);

/// A bench whose next run is one from a pool.
fn prepared() -> Bench {
    let mut bench = Bench::new();
    bench.spec.argv = vec!["/payload".to_owned()];
    let pool = Pool::new(1).unwrap();
    pool.prepare_for(&bench.spec);
    pool.settle();
    assert_eq!(pool.ready(), 1);
    bench.pool = Some(pool);
    bench
}

/// Processes whose parent is this one.
fn children(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent_of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        parent_of == Some(parent)
    };
    let pids =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(is_child).collect()
}

/// Not a test by itself: what processes of their own do.
#[test]
fn part() {
    match std::env::var(PART).as_deref() {
        Ok("drop") => {
            let bench = prepared();
            assert_eq!(children(std::process::id()).len(), 1);
            bench.run(&["true"]).unwrap();
            bench.pool.as_ref().unwrap().settle();
            assert_eq!(children(std::process::id()).len(), 1);
            drop(bench);
            assert_eq!(children(std::process::id()), Vec::<u32>::new());
            assert_eq!(nix::sys::wait::wait(), Err(nix::Error::ECHILD), "somebody was not waited for");
        }
        Ok("wait to be killed") => {
            let _bench = prepared();
            std::io::Write::write_all(&mut std::io::stdout(), b"prepared\n").unwrap();
            std::thread::sleep(patient(PATIENCE));
        }
        _ => {}
    }
}

fn start(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["pool::part", "--exact", "--nocapture"]).env(PART, part).env(PAYLOAD, payload()).env_remove(POOLED);
    command
}

/// Control groups of a process, wherever there are any.
fn groups(pid: u32) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with(&format!("anneal-{pid}-")) {
                    found.push(name);
                }
                waiting.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_pool_that_is_dropped_leaves_no_process_and_no_control_group() {
    needs_sandbox!();
    let mut child = start("drop").stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    assert_eq!(groups(pid), Vec::<String>::new());
}

#[test]
fn prepared_sandboxes_die_with_a_launcher_that_is_killed() {
    needs_sandbox!();
    let mut launcher = start("wait to be killed").stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut out = std::io::BufReader::new(launcher.stdout.take().unwrap());
    while !said.contains("prepared") {
        assert!(std::io::BufRead::read_line(&mut out, &mut said).unwrap() > 0, "{said}");
    }
    let made = children(launcher.id());
    assert_eq!(made.len(), 1);
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    let start = Instant::now();
    while made.iter().any(|pid| is_alive(*pid)) {
        assert!(start.elapsed() < patient(PATIENCE), "a prepared sandbox outlives its launcher");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process is there and no zombie that waits for another parent.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_payload_sees_the_same_from_a_pool_and_without() {
    needs_sandbox!();
    let (mut plain, pooled) = (Bench::new(), prepared());
    plain.pool = None;
    for order in [
        &["facts"][..],
        &["environment"],
        &["list", "/"],
        &["list", "/dev"],
        &["list", "/proc/self/fd"],
        &["list", "/proc/fs"],
        &["read", "/proc/cpuinfo"],
        &["read", "/proc/interrupts"],
        &["read", "/proc/self/limits"],
        &["read", "/proc/self/cgroup"],
        &["read", "/proc/self/oom_score_adj"],
    ] {
        assert_eq!(without_seconds(&plain.says(order)), without_seconds(&pooled.says(order)), "{order:?}");
    }
    assert_eq!(mounts(&plain), mounts(&pooled));
}

/// What a payload says, but for the seconds that its sandbox is up: a second may end while it says so.
fn without_seconds(said: &str) -> String {
    let is_up = |line: &str| {
        line.strip_prefix("up: ").is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|seconds| seconds < 60))
    };
    said.lines().filter(|line| !is_up(line)).collect::<Vec<_>>().join("\n")
}

/// Every mount of a sandbox, sorted by place, without numbers that the kernel counts up and without the user of the run.
fn mounts(bench: &Bench) -> Vec<String> {
    let table = bench.says(&["read", "/proc/self/mountinfo"]);
    let mut lines: Vec<String> = table
        .lines()
        .map(|line| {
            line.split([' ', ',']).skip(3).filter(|word| !word.starts_with("uid=") && !word.starts_with("gid="))
        })
        .map(|words| words.collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    assert!(lines.len() > 20, "{table}");
    lines
}

#[test]
fn clocks_of_a_sandbox_that_has_waited_start_at_its_run() {
    needs_sandbox!();
    let bench = prepared();
    std::thread::sleep(Duration::from_millis(3200));
    let mut spec = bench.spec.clone();
    spec.argv.push("facts".to_owned());
    let mut log = Vec::new();
    let pool = bench.pool.as_ref().unwrap();
    assert_eq!(pool.ready(), 1);
    pool.run(&spec, &mut log, &CancelToken::new()).unwrap();
    let said = String::from_utf8(log).unwrap();
    let up = said.lines().find_map(|line| line.strip_prefix("up: ")).unwrap().parse::<u64>().unwrap();
    let kernel_has_them = Path::new("/proc/self/ns/time_for_children").exists();
    assert!(up <= 1 || !kernel_has_them, "{said}");
}

#[test]
fn a_prepared_sandbox_is_used_once() {
    needs_sandbox!();
    let bench = prepared();
    assert!(bench.says(&["write", "/dev/shm/left", "x"]).starts_with("escaped"));
    assert!(bench.says(&["read", "/dev/shm/left"]).starts_with("held"));
}

#[test]
fn a_spec_of_another_kind_is_not_run_in_what_was_prepared() {
    needs_sandbox!();
    let mut bench = prepared();
    bench.spec.uid = 1234;
    bench.spec.limits.pids = 17;
    let mut spec = bench.spec.clone();
    spec.argv.push("facts".to_owned());
    let mut log = Vec::new();
    let pool = bench.pool.as_ref().unwrap();
    pool.run(&spec, &mut log, &CancelToken::new()).unwrap();
    assert!(String::from_utf8(log).unwrap().contains("\nuid: 1234\n"));
    pool.settle();
    assert_eq!(pool.ready(), 1);
}

/// What is mounted after a sandbox was prepared is not in its view of the host; it must not see what lies beneath.
#[test]
fn a_tree_that_was_mounted_since_is_what_the_payload_sees() {
    needs_sandbox!();
    if !nix::unistd::geteuid().is_root() {
        let line = "skipped: a tree that was mounted since: only root can mount\n";
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
        return;
    }
    let bench = prepared();
    let newer = bench.tree("newer", "marker", "x");
    std::fs::copy(payload(), newer.join("payload")).unwrap();
    std::fs::set_permissions(&newer, std::fs::Permissions::from_mode(0o755)).unwrap();
    // A namespace of this thread alone: the host's own mounts are left as they are.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    mount(Some(&newer), &bench.spec.root[0], None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let mut spec = bench.spec.clone();
    spec.argv.extend(["list".to_owned(), "/".to_owned()]);
    let mut log = Vec::new();
    bench.pool.as_ref().unwrap().run(&spec, &mut log, &CancelToken::new()).unwrap();
    let said = String::from_utf8(log).unwrap();
    assert!(said.contains("marker"), "{said}");
}

#[test]
fn every_wall_stands_in_a_sandbox_from_a_pool_too() {
    needs_sandbox!();
    if std::env::var_os(POOLED).is_some() {
        return;
    }
    let walls =
        ["confinement::", "escape::", "files::", "isolation::", "lifecycle::", "limits::", "walls::", "witness::"];
    let output = Command::new(std::env::current_exe().unwrap())
        .args(walls)
        .args(["--test-threads", "2", "--nocapture"])
        .env(PAYLOAD, payload())
        .env(POOLED, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains(" 0 passed"), "{said}");
}
