//! Each limit ends a run that passes it, soon, and is named.

use std::io::Read;
use std::time::{Duration, Instant};

use anneal_sandbox::{CancelToken, Ended, IdMode, Outlet, run};

use crate::bench::{Bench, needs_sandbox, patient};

/// How long after its limit a run may still take to end.
const GRACE: Duration = Duration::from_secs(2);

#[test]
fn a_log_that_nobody_reads_keeps_no_limit_and_no_cancellation_from_ending_a_run() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.limits.log_bytes = 1 << 30;
    bench.spec.argv = ["/payload", "bomb", "flood"].map(str::to_owned).to_vec();
    for cancelled in [false, true] {
        bench.spec.limits.wall = patient(Duration::from_secs(if cancelled { 60 } else { 1 }));
        let (reader, writer) = std::io::pipe().unwrap();
        let (cancel, start) = (CancelToken::new(), Instant::now());
        let outcome = std::thread::scope(|scope| {
            let run = scope.spawn(|| run(&bench.spec, &mut Outlet::of(&writer).unwrap(), &cancel).unwrap());
            if cancelled {
                std::thread::sleep(patient(Duration::from_secs(1)));
                cancel.cancel();
            }
            run.join().unwrap()
        });
        assert_eq!(outcome.ended, if cancelled { Ended::Cancelled } else { Ended::WallLimit });
        assert!(start.elapsed() < patient(Duration::from_secs(1 + 2)), "{:?}", start.elapsed());
        assert!(outcome.limits_not_enforced.iter().any(|gap| gap.starts_with("log: ")), "{outcome:?}");
        drop(reader);
    }
}

#[test]
fn a_slow_reader_gets_the_whole_log_and_the_payload_waits_for_it() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.limits.log_bytes = 1 << 20;
    bench.spec.limits.silence = patient(Duration::from_millis(700));
    bench.spec.argv = ["/payload", "bomb", "flood"].map(str::to_owned).to_vec();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let (outcome, read) = std::thread::scope(|scope| {
        let run = scope.spawn(|| run(&bench.spec, &mut Outlet::of(&writer).unwrap(), &CancelToken::new()).unwrap());
        std::thread::sleep(patient(Duration::from_millis(1500)));
        let mut log = vec![0; 1 << 20];
        reader.read_exact(&mut log).unwrap();
        (run.join().unwrap(), log.iter().filter(|byte| **byte == b'x').count())
    });
    assert_eq!((outcome.ended, read), (Ended::LogLimit, 1 << 20));
}

#[test]
fn wall_time_ends_a_payload_that_ignores_every_signal() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.limits.wall = patient(Duration::from_millis(300));
    let start = Instant::now();
    let (outcome, log) = bench.run(&["stubborn"]).unwrap();
    assert_eq!(outcome.ended, Ended::WallLimit);
    assert!(log.contains("still here"));
    assert!(start.elapsed() < bench.spec.limits.wall + patient(GRACE));
}

#[test]
fn silence_ends_a_payload_that_says_nothing() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.limits.silence = patient(Duration::from_millis(300));
    assert_eq!(bench.run(&["sleep", "60"]).unwrap().0.ended, Ended::SilenceLimit);
}

#[test]
fn a_flood_of_output_ends_at_the_log_limit_and_what_was_within_is_kept() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.limits.log_bytes = 100_000;
    let (outcome, log) = bench.run(&["flood"]).unwrap();
    assert_eq!(outcome.ended, Ended::LogLimit);
    assert_eq!(log.len(), 100_000);
}

#[test]
fn memory_ends_a_payload_or_the_result_says_that_it_is_not_enforced() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.limits.memory_bytes = 64 << 20;
    let (outcome, _) = bench.run(&["true"]).unwrap();
    if outcome.limits_not_enforced.iter().any(|limit| limit.starts_with("memory: ")) {
        return;
    }
    assert_eq!(bench.run(&["eat"]).unwrap().0.ended, Ended::MemoryLimit);
    bench.says(&["true"]);
}

#[test]
fn forking_stops_at_the_limit_of_processes() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.limits.pids = 20;
    let said = bench.says(&["forks"]);
    assert!(said.starts_with("held: after 19 processes"), "{said}");
}

#[test]
fn an_output_that_grows_past_its_limit_ends_the_run_soon() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let out = bench.output("/out");
    bench.spec.limits.output_bytes = 8 << 20;
    let start = Instant::now();
    let (outcome, log) = bench.run(&["fill", "/out"]).unwrap();
    assert_eq!(outcome.ended, Ended::OutputLimit, "{log}");
    assert!(start.elapsed() < patient(GRACE), "{:?}", start.elapsed());
    assert!(outcome.surroundings.outputs_checked_every_ms.is_some());
    assert!(std::fs::read_dir(out).unwrap().count() >= 7);
}

#[test]
fn files_beyond_the_limit_of_an_output_are_noticed_even_when_the_payload_is_done() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.output("/out");
    bench.spec.limits.output_inodes = 100;
    assert!(bench.run(&["many", "/out", "100"]).unwrap().0.succeeded());
    let mut bench = Bench::new();
    bench.output("/out");
    bench.spec.limits.output_inodes = 100;
    assert_eq!(bench.run(&["many", "/out", "101"]).unwrap().0.ended, Ended::OutputLimit);
}

#[test]
fn what_is_closed_to_the_launcher_is_measured_or_the_result_says_that_it_was_not() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.output("/out");
    bench.spec.limits.output_inodes = 100;
    let (outcome, said) = bench.run(&["walls", "close", "/out/closed"]).unwrap();
    let told = outcome.limits_not_enforced.iter().any(|gap| gap.starts_with("outputs: "));
    assert!(outcome.ended == Ended::OutputLimit || told, "{} {said}", outcome.ended);
    // Root may read whatever it is, and so may a steward; the payload's own user is only told.
    assert!(!(told && outcome.surroundings.id_mode != IdMode::Shared));
}

#[test]
fn a_log_is_taken_no_faster_than_its_rate_and_nothing_of_it_is_lost() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.limits.log_bytes_per_second = 200_000;
    bench.spec.limits.log_bytes = 300_000;
    let start = Instant::now();
    let (outcome, log) = bench.run(&["flood"]).unwrap();
    assert_eq!(outcome.ended, Ended::LogLimit);
    assert_eq!(log.len(), 300_000);
    // A burst of a tenth of a second comes at once.
    assert!(start.elapsed() > Duration::from_millis(1200), "{:?}", start.elapsed());
}

#[test]
fn cancelling_ends_a_run_and_a_run_that_starts_later() {
    needs_sandbox!();
    let bench = Bench::new();
    let cancel = CancelToken::new();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| bench.run_until(&["sleep", "60"], &cancel));
        std::thread::sleep(Duration::from_millis(200));
        let start = Instant::now();
        cancel.cancel();
        assert_eq!(run.join().unwrap().unwrap().0.ended, Ended::Cancelled);
        assert!(start.elapsed() < patient(GRACE));
    });
    assert_eq!(bench.run_until(&["sleep", "60"], &cancel).unwrap().0.ended, Ended::Cancelled);
}
