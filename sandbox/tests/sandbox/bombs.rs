//! Whatever a payload does to stay, or to take everything, it ends within its limit and two seconds, the limit is
//! named, and the launcher goes on answering.

use std::time::{Duration, Instant};

use anneal_sandbox::{Ended, MountSource, Outcome};

use crate::bench::{Bench, MIB, needs_sandbox, patient};

/// How long after its limit a run may still take to end.
const GRACE: Duration = Duration::from_secs(2);
/// How long another run may take meanwhile.
const ANSWERED: Duration = Duration::from_secs(2);
/// What a bomb is given: long enough that it has gone off.
const WALL: Duration = Duration::from_millis(1000);

fn small() -> Bench {
    let mut bench = Bench::new();
    bench.spec.limits.memory_bytes = 64 * MIB;
    bench.spec.limits.pids = 32;
    bench.spec.limits.wall = patient(WALL);
    bench
}

/// Runs a bomb, and something else beside it, and says how the bomb ended and how long it took.
fn explode(bench: &Bench, bomb: &[&str]) -> (Outcome, String, Duration) {
    let order: Vec<&str> = std::iter::once("bomb").chain(bomb.iter().copied()).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let bomb = scope.spawn(|| {
            let (outcome, log) = bench.run(&order).unwrap();
            (outcome, log, start.elapsed())
        });
        std::thread::sleep(patient(WALL) / 4);
        let asked = Instant::now();
        Bench::new().says(&["true"]);
        assert!(asked.elapsed() < patient(ANSWERED), "another run took {:?} beside {order:?}", asked.elapsed());
        let (outcome, log, took) = bomb.join().unwrap();
        assert!(!log.contains("went on"), "{log}");
        (outcome, log, took)
    })
}

/// The bomb is ended by its limit of wall time, not earlier and not much later.
fn ends_at_the_wall(bench: &Bench, bomb: &[&str]) -> String {
    let (outcome, log, took) = explode(bench, bomb);
    assert_eq!(outcome.ended, Ended::WallLimit, "{bomb:?}: {log}");
    let wall = bench.spec.limits.wall;
    assert!(took >= wall && took < wall + patient(GRACE), "{bomb:?} took {took:?} of {wall:?}");
    log
}

/// The bomb is ended by its limit of memory; or it is not, and the result says that there is none.
fn ends_for_want_of_memory(mut bench: Bench, bomb: &[&str]) {
    bench.spec.limits.wall = patient(Duration::from_secs(20));
    let (outcome, log, took) = explode(&bench, bomb);
    if outcome.limits_not_enforced.iter().any(|limit| limit.starts_with("memory: ")) {
        // It is bounded by itself, so it comes to its end.
        assert!(outcome.succeeded() && log.contains("escaped: "), "{bomb:?}: {} {log}", outcome.ended);
        return;
    }
    assert_eq!(outcome.ended, Ended::MemoryLimit, "{bomb:?}: {log}");
    assert!(took < patient(Duration::from_secs(3) + GRACE), "{bomb:?} took {took:?}");
}

#[test]
fn processes_that_make_processes_stay_within_their_number_and_end() {
    needs_sandbox!();
    let bench = small();
    if bench.run(&["true"]).unwrap().0.limits_not_enforced.iter().any(|limit| limit.starts_with("pids: ")) {
        // Said, as it has to be; without a limit this bomb is none to try.
        return;
    }
    let log = ends_at_the_wall(&bench, &["fork"]);
    assert!(log.contains("held: "), "{log}");
    let log = ends_at_the_wall(&bench, &["threads"]);
    assert!(log.starts_with("held: after ") && !log.contains("escaped"), "{log}");
}

#[test]
fn memory_of_one_process_ends_at_its_limit() {
    needs_sandbox!();
    ends_for_want_of_memory(small(), &["memory"]);
}

#[test]
fn memory_of_many_processes_ends_at_the_limit_of_all_together() {
    needs_sandbox!();
    ends_for_want_of_memory(small(), &["memory-of-many"]);
}

#[test]
fn memory_files_count_as_memory() {
    needs_sandbox!();
    let mut bench = small();
    // Each is a descriptor; where memory has no limit the bomb must come to its own end, not to that of descriptors.
    bench.spec.limits.open_files = 1024;
    ends_for_want_of_memory(bench, &["memfd"]);
}

#[test]
fn files_in_scratch_space_count_as_memory() {
    needs_sandbox!();
    let mut bench = small();
    bench.mount("/scratch", MountSource::Scratch { bytes: 1024 * MIB, inodes: 1000 });
    ends_for_want_of_memory(bench, &["write", "/scratch/file"]);
}

#[test]
fn scratch_space_has_a_size_and_a_number_of_files() {
    needs_sandbox!();
    let mut bench = small();
    bench.spec.limits.wall = patient(Duration::from_secs(20));
    bench.mount("/scratch", MountSource::Scratch { bytes: 8 * MIB, inodes: 100 });
    for bomb in [["write", "/scratch/file"], ["files", "/scratch"], ["write", "/dev/shm/file"], ["files", "/dev/shm"]] {
        if bomb == ["write", "/dev/shm/file"] {
            // As large as the limit of memory; which of the two is met first is no matter.
            bench.spec.limits.memory_bytes = 128 * MIB;
        }
        let (outcome, log, _) = explode(&bench, &bomb);
        assert!(outcome.succeeded() && log.starts_with("held: after "), "{bomb:?}: {} {log}", outcome.ended);
    }
}

#[test]
fn what_fills_an_output_ends_at_its_limit_of_bytes_or_of_files() {
    needs_sandbox!();
    let mut bench = small();
    bench.spec.limits.memory_bytes = 512 * MIB;
    bench.spec.limits.wall = patient(Duration::from_secs(20));
    bench.spec.limits.output_bytes = 32 * MIB;
    bench.spec.limits.output_inodes = 500;
    bench.output("/out");
    for bomb in [["write", "/out/file"], ["files", "/out"]] {
        let (outcome, log, took) = explode(&bench, &bomb);
        assert_eq!(outcome.ended, Ended::OutputLimit, "{bomb:?}: {log}");
        assert!(took < patient(Duration::from_secs(3) + GRACE), "{bomb:?} took {took:?}");
    }
}

#[test]
fn what_fills_the_disk_of_an_output_without_a_name_in_it_ends_at_its_limit() {
    needs_sandbox!();
    let mut bench = small();
    bench.spec.limits.memory_bytes = 512 * MIB;
    bench.spec.limits.wall = patient(Duration::from_secs(30));
    bench.spec.limits.output_bytes = 32 * MIB;
    let out = bench.output("/out");
    for bomb in [["unlinked", "/out/file"], ["mapped", "/out/file"]] {
        let (outcome, log, took) = explode(&bench, &bomb);
        assert_eq!(outcome.ended, Ended::OutputLimit, "{bomb:?}: {log}");
        assert!(took < patient(Duration::from_secs(3) + GRACE), "{bomb:?} took {took:?}");
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
    }
}

#[test]
fn a_file_that_loses_its_name_or_gets_one_counts_once() {
    needs_sandbox!();
    let mut bench = small();
    bench.spec.limits.memory_bytes = 512 * MIB;
    bench.spec.limits.wall = patient(Duration::from_secs(30));
    bench.spec.limits.output_bytes = 32 * MIB;
    bench.output("/out");
    let (outcome, log, _) = explode(&bench, &["renamed", "/out"]);
    assert!(outcome.succeeded() && log == "took turns\n", "{} {log}", outcome.ended);
}

#[test]
fn an_output_that_is_deeper_than_it_can_be_walked_ends_at_its_limit() {
    needs_sandbox!();
    let mut bench = small();
    bench.spec.limits.wall = patient(Duration::from_secs(60));
    let output = bench.output("/out");
    let (outcome, log, took) = explode(&bench, &["deep", "/out"]);
    // The directory of the test goes by a call for each level.
    anneal_sandbox::remove_tree(&output).unwrap();
    assert_eq!(outcome.ended, Ended::OutputLimit, "{log}");
    assert!(took < patient(Duration::from_secs(3) + GRACE), "{took:?}");
}

#[test]
fn what_the_kernel_keeps_of_files_on_disk_is_given_back_and_ends_nothing() {
    needs_sandbox!();
    let mut bench = small();
    bench.spec.limits.wall = patient(Duration::from_secs(50));
    let out = bench.output("/out");
    let in_memory = nix::sys::statfs::statfs(&out).unwrap().filesystem_type() == nix::sys::statfs::TMPFS_MAGIC;
    let (outcome, log, _) = explode(&bench, &["write", "/out/file"]);
    if in_memory {
        assert!([Ended::MemoryLimit, Ended::Exited(0)].contains(&outcome.ended), "{} {log}", outcome.ended);
    } else {
        assert!(outcome.succeeded() && log.starts_with("escaped: "), "{} {log}", outcome.ended);
    }
}

#[test]
fn a_flood_from_many_processes_ends_at_the_log_limit() {
    needs_sandbox!();
    let mut bench = small();
    bench.spec.limits.log_bytes = 10 * MIB;
    bench.spec.limits.wall = patient(Duration::from_secs(20));
    let (outcome, log, took) = explode(&bench, &["flood"]);
    assert_eq!(outcome.ended, Ended::LogLimit);
    assert_eq!(log.len() as u64, bench.spec.limits.log_bytes);
    assert!(took < patient(Duration::from_secs(3) + GRACE), "it took {took:?}");
}

#[test]
fn what_is_stopped_still_ends() {
    needs_sandbox!();
    ends_at_the_wall(&small(), &["stopped"]);
}

#[test]
fn a_parent_that_waits_in_the_kernel_still_ends() {
    needs_sandbox!();
    ends_at_the_wall(&small(), &["vfork"]);
}

#[test]
fn daemons_that_ignore_every_signal_end_with_the_payload() {
    needs_sandbox!();
    let bench = small();
    let (outcome, log, took) = explode(&bench, &["daemons"]);
    assert_eq!(outcome.ended, Ended::Exited(0));
    assert_eq!(log, "left daemons\n");
    assert!(took < patient(GRACE), "it took {took:?}");
}

#[test]
fn silence_is_a_limit_of_its_own_for_what_sleeps() {
    needs_sandbox!();
    let mut bench = small();
    bench.spec.limits.wall = patient(Duration::from_secs(20));
    bench.spec.limits.silence = patient(Duration::from_millis(500));
    let (outcome, _, took) = explode(&bench, &["stopped"]);
    assert_eq!(outcome.ended, Ended::SilenceLimit);
    assert!(took < bench.spec.limits.silence + patient(GRACE), "it took {took:?}");
}

#[test]
fn hundreds_of_orphans_are_reaped() {
    needs_sandbox!();
    let mut bench = small();
    bench.spec.limits.wall = patient(Duration::from_secs(20));
    let (outcome, log, _) = explode(&bench, &["orphans"]);
    assert!(outcome.succeeded() && log == "500 orphans\n", "{} {log}", outcome.ended);
}

#[test]
fn what_waits_in_sockets_counts_as_memory() {
    needs_sandbox!();
    let mut bench = small();
    bench.spec.limits.open_files = 1024;
    let (outcome, log, _) = explode(&bench, &["tcp"]);
    if outcome.limits_not_enforced.iter().any(|limit| limit.starts_with("memory: ")) {
        return;
    }
    let taken = log.split(' ').next_back().and_then(|mib| mib.trim().parse::<u64>().ok());
    // It is ended, or has no more than the limit and what the kernel lends to each socket.
    let held =
        outcome.ended != Ended::Exited(0) || taken.is_some_and(|mib| mib * MIB < 2 * bench.spec.limits.memory_bytes);
    assert!(held, "{} {log}", outcome.ended);
}
