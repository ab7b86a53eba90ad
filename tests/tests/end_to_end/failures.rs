//! Builds that fail: what is remembered of them, and for how long.

use anneal_tests::{Daemon, Notes, scratch, wait_for};
use serde_json::Value;
use std::{fs, time::Duration};

/// The failures of a package that the journal has, oldest first.
fn failures(notes: &Notes, package: &str) -> Vec<Value> {
    let is_one = |event: &Value| event["event"] == "build-failed" && event["package"] == package;
    notes.place.events().into_iter().filter(is_one).collect()
}

#[test]
fn an_action_that_failed_is_not_run_again_for_another_derivation_until_the_failure_expires() {
    let dir = scratch();
    let notes = Notes::ready(dir.path()).with_steps(&["echo nobody can make this >&2", "exit 7"]);
    notes.with_card();
    let card = notes.place.catalog.join("packages/card.toml");
    let plain = fs::read_to_string(&card).unwrap().replace("  '''exit 7''',\n", "");
    fs::write(&card, &plain).unwrap();
    notes.edit("[build]\nrequires = []", "[build]\nrequires = [\"card\"]");

    let daemon = Daemon::start(&notes.place, &[]);
    notes.place.anneal(&["build", "note", "--quiet"]).refused(1, &["exited with code 7", "nobody can make this"]);
    let first = failures(&notes, "note");
    assert_eq!(first.len(), 1, "{first:?}");
    daemon.stop();

    // the card's steps are others and give the same: note has another derivation, and its action is the one that failed
    fs::write(&card, plain.replace("steps = [\n", "steps = [\n  'true',\n")).unwrap();
    let daemon = Daemon::start(&notes.place, &[]);
    let second = wait_for("the second failure", Duration::from_secs(60), || {
        failures(&notes, "note").into_iter().find(|event| event["derivation"] != first[0]["derivation"])
    });
    let summary = second["summary"].as_str().unwrap();
    assert!(summary.starts_with("note failed before") && summary.contains("nobody can make this"), "{summary}");
    assert_eq!(second["log"], first[0]["log"], "it is the log of the run that failed");
    let (again, before) = (&second["retry_after_ms"], &first[0]["retry_after_ms"]);
    assert!(again.as_u64() <= before.as_u64(), "{again} is no later than {before}: nothing ran in between");
    daemon.stop();
}

#[test]
fn a_failure_that_has_expired_is_tried_again_and_runs() {
    let dir = scratch();
    let notes = Notes::ready(dir.path()).with_steps(&["exit 7"]);
    let _daemon = Daemon::start(&notes.place, &["env", "ANNEAL_RETRY_SECONDS=1"]);
    let tries = wait_for("a third try", Duration::from_secs(60), || {
        let tries = failures(&notes, "note");
        (tries.len() >= 3).then_some(tries)
    });
    for one in &tries {
        let summary = one["summary"].as_str().unwrap();
        assert!(summary.starts_with("note does not build: exited with code 7"), "it ran: {summary}");
    }
}
