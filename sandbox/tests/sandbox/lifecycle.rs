//! When a run is over nothing of it is left, and what is said about it is true.

use std::time::Duration;

use anneal_sandbox::{Ended, HttpProbe};

use crate::bench::{Bench, needs_sandbox, patient};

#[test]
fn a_daemon_that_forked_twice_is_dead_when_the_run_returns() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let out = bench.output("/out");
    assert_eq!(bench.says(&["daemon", "/out/beat"]), "left a daemon\n");
    let last = std::fs::read_to_string(out.join("beat")).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(std::fs::read_to_string(out.join("beat")).unwrap(), last);
}

#[test]
fn exit_codes_and_signals_are_told_apart() {
    needs_sandbox!();
    let bench = Bench::new();
    assert_eq!(bench.run(&["exit", "3"]).unwrap().0.ended, Ended::Exited(3));
    assert_eq!(bench.run(&["crash"]).unwrap().0.ended, Ended::Signaled(6));
}

#[test]
fn the_time_of_a_run_is_from_exec_to_exit() {
    needs_sandbox!();
    let (outcome, _) = Bench::new().run(&["sleep", "1"]).unwrap();
    let took = Duration::from_nanos(outcome.exit_ns - outcome.exec_ns);
    assert!(took >= Duration::from_millis(900) && took < patient(Duration::from_secs(3)), "{took:?}");
}

#[test]
fn a_server_is_asked_one_thing_inside_its_sandbox_and_then_stopped() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let ready_within = Duration::from_secs(20);
    bench.spec.probe = Some(HttpProbe { port: 8080, path: "/hello?x=1".to_owned(), ready_within, stop_signal: 15 });
    let (outcome, log) = bench.run(&["serve", "8080"]).unwrap();
    assert_eq!(outcome.ended, Ended::Exited(0), "{log}");
    let probe = outcome.probe.unwrap();
    assert_eq!(probe.status, 200);
    assert_eq!(String::from_utf8(probe.body).unwrap(), "you said GET /hello?x=1 HTTP/1.0");
    assert!(probe.stopped_cleanly && probe.answered_after_ms >= 30);
}

#[test]
fn a_server_that_never_answers_has_no_probe_result() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let ready_within = Duration::from_millis(300);
    bench.spec.probe = Some(HttpProbe { port: 8080, path: "/".to_owned(), ready_within, stop_signal: 15 });
    let (outcome, _) = bench.run(&["sleep", "60"]).unwrap();
    assert_eq!(outcome.probe, None);
    assert_eq!(outcome.ended, Ended::Signaled(15));
    let (outcome, _) = bench.run(&["exit", "4"]).unwrap();
    assert_eq!((outcome.ended, outcome.probe), (Ended::Exited(4), None));
}

#[test]
fn many_runs_leave_no_descriptor_and_no_child_behind() {
    needs_sandbox!();
    let bench = Bench::new();
    bench.says(&["true"]);
    // Other tests of this process run beside this one, so only growth by the number of runs means a leak.
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for _ in 0..60 {
        bench.says(&["true"]);
    }
    assert!(open() < before + 50, "{} descriptors after {before}", open());
}
