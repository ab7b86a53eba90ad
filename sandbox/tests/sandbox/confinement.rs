//! What an outcome says of the payload's privileges is what the payload itself sees.

use std::time::Duration;

use anneal_sandbox::{CancelToken, Confinement, Ended, Kind};

use crate::bench::{Bench, needs_sandbox, patient};

#[test]
fn an_outcome_says_what_held_the_payload() {
    needs_sandbox!();
    for (kind, uid, gid) in
        [(Kind::Build, 1000, 1000), (Kind::Test, 1234, 567), (Kind::Run, 0, 0), (Kind::Run, 65532, 0)]
    {
        let mut bench = Bench::new();
        (bench.spec.kind, bench.spec.uid, bench.spec.gid) = (kind, uid, gid);
        let (outcome, said) = bench.run(&["facts"]).unwrap();
        let seen = Confinement { no_new_privileges: true, no_capabilities: true, read_only_root: true, uid, gid };
        assert_eq!(outcome.confinement, Some(seen));
        for fact in [format!("uid: {uid}"), format!("gid: {gid}"), "NoNewPrivs: 1".to_owned()] {
            assert!(said.lines().any(|line| line == fact), "{fact} is missing in\n{said}");
        }
    }
}

#[test]
fn an_outcome_says_that_a_root_could_be_written() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.writable_root = true;
    let (outcome, said) = bench.run(&["write", "/new", "x"]).unwrap();
    let held = outcome.confinement.unwrap();
    assert!(!held.read_only_root, "{said}");
    assert!(held.no_new_privileges && held.no_capabilities);
}

#[test]
fn nothing_is_said_of_a_payload_that_was_never_executed() {
    needs_sandbox!();
    let cancel = CancelToken::new();
    cancel.cancel();
    let (outcome, _) = Bench::new().run_until(&["true"], &cancel).unwrap();
    assert_eq!((outcome.ended, outcome.confinement), (Ended::Cancelled, None));
}

#[test]
fn a_payload_that_is_stopped_by_a_limit_was_held_too() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.limits.wall = patient(Duration::from_millis(700));
    let (outcome, _) = bench.run(&["sleep", "60"]).unwrap();
    assert_eq!(outcome.ended, Ended::WallLimit);
    assert!(outcome.confinement.is_some_and(|held| held.no_capabilities && held.no_new_privileges));
}
