//! Two thousand runs, a third of them killed, leave nothing: a program of its own, since it counts what there is.
//!
//! It counts in a pid namespace and, as root, in control groups of its own, so that nothing else on the machine is
//! counted. `ANNEAL_TEST_SEED` repeats a run, `ANNEAL_TEST_RUNS` makes a shorter one.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by their attribute, and these are all tests")]

#[allow(dead_code, reason = "not everything that the other tests share is needed here")]
#[path = "sandbox/bench.rs"]
mod bench;
#[path = "nothing_left/census.rs"]
mod census;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anneal_sandbox::{CancelToken, Ended, MountSource, remove_tree, sweep};

use bench::{Bench, PAYLOAD, needs_sandbox, patient, payload};
use census::{Census, own_groups, remove_groups};

const RUNS: u64 = 2000;
const THREADS: u64 = 4;
/// One in so many runs is ended with its launcher; another one in three by its token.
const LAUNCHER_DIES: u64 = 20;
/// Set in the process that is alone in its namespace.
const ALONE: &str = "ANNEAL_TEST_ALONE";
/// Set in a launcher that is to be killed.
const VICTIM: &str = "ANNEAL_TEST_VICTIM";
/// How long the kernel may take to let go of what is dead.
const PATIENCE: Duration = Duration::from_secs(20);

fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

#[test]
fn two_thousand_runs_of_which_a_third_is_killed_leave_nothing() {
    if std::env::var_os(ALONE).is_some() || std::env::var_os(VICTIM).is_some() {
        return;
    }
    needs_sandbox!();
    if Command::new("unshare").arg("--version").output().is_err() {
        say("skipped: no unshare");
        return;
    }
    let groups = own_groups();
    // The shell in between is process 1 and reaps orphans. It stays out of the groups: in version 2 only a launcher that is
    // alone in its group can make others beneath it.
    let mut script = "(".to_owned();
    for group in &groups {
        script.push_str(&format!("echo 0 >'{}/cgroup.procs' && ", group.display()));
    }
    script.push_str("exec \"$0\" \"$@\"); exit $?");
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    if !nix::unistd::geteuid().is_root() {
        unshare.args(["--user", "--map-current-user"]);
    }
    let status = unshare
        .args(["sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["alone", "--exact", "--nocapture"])
        .env(ALONE, "1")
        .env(PAYLOAD, payload())
        .status()
        .unwrap();
    for group in &groups {
        // The leaf of the launcher itself, where it needed one.
        let _ = std::fs::remove_dir(group.join("anneal-main"));
    }
    // The kernel removes a group only if nothing is in it.
    let left: Vec<_> = groups.iter().filter(|group| std::fs::remove_dir(group).is_err()).collect();
    let beneath: Vec<_> = left.iter().flat_map(|group| remove_groups(group)).collect();
    assert!(status.success(), "{status}, and {beneath:?} were left");
    assert!(left.is_empty(), "{left:?} could not be removed; beneath them were {beneath:?}");
}

/// Not a test by itself: what runs in a namespace of its own.
#[test]
fn alone() {
    if std::env::var_os(ALONE).is_none() || std::env::var_os(VICTIM).is_some() {
        return;
    }
    let seed = number("ANNEAL_TEST_SEED").unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64 % 1_000_000_007
    });
    let wanted = number("ANNEAL_TEST_RUNS").unwrap_or(RUNS);
    say(&format!("nothing left: ANNEAL_TEST_SEED={seed} repeats these {wanted} runs"));
    let place = tempfile::tempdir().unwrap();
    // Only root and the user of the run may reach outputs.
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let runs = place.path().join("runs");
    std::fs::create_dir(&runs).unwrap();
    // What is made once and kept: the memory file of the init program, the group of the launcher.
    Bench::new().says(&["true"]);
    let before = Census::take(place.path());
    say(&format!("before: {before}"));
    let start = Instant::now();
    let counted = Counted::default();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut bench = Bench::new();
                loop {
                    let run = next.fetch_add(1, Ordering::Relaxed);
                    if run >= wanted {
                        return;
                    }
                    one(&mut bench, &runs, run, &mut Dice(seed.wrapping_add(run)), &counted);
                }
            });
        }
    });
    let swept = sweep(&runs).unwrap();
    let took = start.elapsed();
    let killed = counted.cancelled.load(Ordering::Relaxed) + counted.launchers.load(Ordering::Relaxed);
    say(&format!(
        "{wanted} runs in {took:.1?}: {} ended by themselves, {} cancelled, {} died with their launcher; swept {swept:?}",
        counted.ended.load(Ordering::Relaxed),
        counted.cancelled.load(Ordering::Relaxed),
        counted.launchers.load(Ordering::Relaxed),
    ));
    assert!(killed * 3 >= wanted.saturating_sub(wanted / 10), "only {killed} runs were killed");
    let waiting = Instant::now();
    let mut after = Census::take(place.path());
    while after != before && waiting.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
        after = Census::take(place.path());
    }
    say(&format!("after:  {after} ({:.1?} later)", waiting.elapsed()));
    assert_eq!(before, after, "what was there before and after {wanted} runs differs");
}

/// How the runs ended.
#[derive(Default)]
struct Counted {
    ended: AtomicU64,
    cancelled: AtomicU64,
    launchers: AtomicU64,
}

/// One run, ended in the way the dice say.
fn one(bench: &mut Bench, runs: &Path, run: u64, dice: &mut Dice, counted: &Counted) {
    let out = runs.join(run.to_string());
    std::fs::create_dir(&out).unwrap();
    if run.is_multiple_of(LAUNCHER_DIES) {
        let mut launcher = Command::new(std::env::current_exe().unwrap())
            .args(["victim", "--exact"])
            .env(VICTIM, "1")
            .env("TMPDIR", &out)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(patient(Duration::from_micros(dice.below(60_000))));
        launcher.kill().unwrap();
        launcher.wait().unwrap();
        // Its directories and groups are the sweep's to find.
        counted.launchers.fetch_add(1, Ordering::Relaxed);
        return;
    }
    bench.mount("/out", MountSource::Output(out.clone()));
    if run.is_multiple_of(3) {
        let cancel = CancelToken::new();
        let pause = patient(Duration::from_micros(dice.below(20_000)));
        let ended = std::thread::scope(|scope| {
            let running = scope.spawn(|| bench.run_until(&["beat", "/out/beat"], &cancel));
            std::thread::sleep(pause);
            cancel.cancel();
            running.join().unwrap().unwrap().0.ended
        });
        assert_eq!(ended, Ended::Cancelled);
        counted.cancelled.fetch_add(1, Ordering::Relaxed);
    } else {
        bench.says(&["write", "/out/file", "text"]);
        assert_eq!(std::fs::read_to_string(out.join("file")).unwrap(), "text");
        counted.ended.fetch_add(1, Ordering::Relaxed);
    }
    bench.spec.mounts.pop();
    remove_tree(&out).unwrap();
}

/// Not a test by itself: a launcher that is to be killed.
#[test]
fn victim() {
    if std::env::var_os(VICTIM).is_some() {
        let mut bench = Bench::new();
        bench.output("/out");
        bench.run(&["beat", "/out/beat"]).unwrap();
    }
}
