//! Retention by number, whose word a result is, and the scrub that a daemon does by itself.

use crate::collect::{begun, digests, other_than, publish};
use anneal_tests::{Daemon, Notes, scratch, wait_for};
use serde_json::Value;
use std::{fs, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);

fn status(daemon: &Daemon, manifest: &str) -> u16 {
    daemon.get(&format!("/v2/note/manifests/{manifest}")).status
}

#[test]
fn an_old_release_is_withdrawn_in_the_journal_and_then_collected_and_what_was_said_of_it_stays() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let (daemon, key, (first, released)) = begun(place);
    publish(place, &first, &key);
    notes
        .edit("]\n\n[runtime]", "  'install -Dm644 /src/note.txt \"$OUT/usr/share/note/second.txt\"',\n]\n\n[runtime]");
    place.anneal(&["build", "--quiet"]).fine();
    let (second, newer) = other_than(place, &released);
    publish(place, &second, &key);
    let all = digests(place, &released);
    // by default both are served for ever, whatever is collected
    place.anneal(&["store", "gc"]).fine();
    assert_eq!([&released, &newer].map(|manifest| status(&daemon, manifest)), [200, 200]);
    daemon.stop();

    let daemon = Daemon::start(place, &["env", "ANNEAL_KEEP_DAYS=0", "ANNEAL_KEEP_PUBLISHED=1 releases"]);
    let look = place.anneal(&["store", "gc", "--dry-run", "--json"]).fine().json();
    assert_eq!(look["withdrawn"].as_array().unwrap().len(), 1, "{look}");
    assert!(look["withdrawn"][0]["why"].as_str().unwrap().contains("1 releases are kept"), "{look}");
    assert_eq!(status(&daemon, &released), 200, "only looked at");
    let withdrawn = |event: &&Value| event["event"] == "publications-withdrawn";
    assert_eq!(place.events().iter().filter(withdrawn).count(), 0);
    place.anneal(&["store", "gc"]).fine();
    assert_eq!([&released, &newer].map(|manifest| status(&daemon, manifest)), [404, 200]);
    assert_eq!(place.events().iter().filter(withdrawn).count(), 1);
    place.anneal(&["store", "gc"]).fine();
    place.anneal(&["store", "why", &released]).refused(1, &["nothing needs"]);
    assert!(place.anneal(&["store", "why", &released]).out.contains("collected on"));
    assert!(all.iter().any(|digest| place.anneal(&["store", "why", digest]).code == 0), "its evidence");
    place.anneal(&["candidate", "show", &first]).fine();
    place.anneal(&["store", "scrub"]).fine();
    let stats = place.anneal(&["store", "stats", "--json"]).fine().json();
    assert_eq!(stats["publications"], serde_json::json!([1, 1]), "{stats}");
    daemon.stop();

    // it was decided: another setting does not bring it back
    let daemon = place.daemon();
    assert_eq!([&released, &newer].map(|manifest| status(&daemon, manifest)), [404, 200]);
    daemon.stop();
}

#[test]
fn a_result_is_believed_as_long_as_its_key_counts() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let daemon = place.daemon();
    place.anneal(&["build", "--quiet"]).fine();
    other_than(place, "");
    let public = dir.path().join("build.pub");
    place.anneal(&["key", "export", "build", "-o", public.to_str().unwrap()]).fine();
    daemon.stop();
    let scrub = place.anneal(&["store", "scrub", "--json"]).fine().json();
    assert!(scrub["unsigned"] == 0 && scrub["results"].as_u64().unwrap() >= 2, "{scrub}");

    // another key, as if this one had been lost: nothing of what it signed is used
    let keys = place.state.join("keys");
    fs::remove_file(keys.join("build.pem")).unwrap();
    place.daemon().stop();
    let scrub = place.anneal(&["store", "scrub", "--json"]);
    assert_eq!((scrub.code, &scrub.json()["results"]), (1, &0.into()), "{}", scrub.out);
    assert!(scrub.json()["unsigned"].as_u64().unwrap() >= 2, "{}", scrub.out);
    let plan = place.anneal(&["store", "stats"]).fine();
    assert!(plan.out.contains("which are never used"), "{}", plan.out);

    // rotated, with the earlier key's public half beside it: they count again
    fs::copy(&public, keys.join("build-earlier.pub")).unwrap();
    place.anneal(&["store", "scrub"]).fine();
}

#[test]
fn a_failed_build_is_tried_once_until_its_time_is_over_and_its_failure_is_nobody_elses() {
    let dir = scratch();
    let notes = Notes::ready(dir.path()).with_steps(&["echo broken; exit 3"]);
    let place = &notes.place;
    let daemon = Daemon::start(place, &["env", "ANNEAL_RETRY_SECONDS=3600"]);
    place.anneal(&["build", "--quiet"]).refused(1, &["note"]);
    std::thread::sleep(Duration::from_secs(3));
    let failed =
        |place: &anneal_tests::Place| place.events().iter().filter(|event| event["event"] == "build-failed").count();
    assert_eq!(failed(place), 1, "it is not tried again and again");
    let stats = place.anneal(&["store", "stats", "--json"]).fine().json();
    assert_eq!((&stats["results"], &stats["failures"]), (&0.into(), &0.into()), "a failure is no result of its action");
    daemon.stop();
    let daemon = Daemon::start(place, &["env", "ANNEAL_RETRY_SECONDS=1"]);
    wait_for("another attempt", PATIENCE, || (failed(place) >= 1).then_some(()));
    daemon.stop();
}

#[test]
fn a_daemon_scrubs_by_itself_and_goes_on_where_it_was_stopped() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let daemon = place.daemon();
    place.anneal(&["build", "--quiet"]).fine();
    let (_, manifest) = other_than(place, "");
    daemon.stop();
    let shown = place.anneal(&["image", "show", &manifest, "--json"]).fine().json();
    let layer = shown["image"]["layers"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let file = place.state.join("store/blobs/sha256").join(&layer[..2]).join(&layer);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, [&whole[1..], b"x"].concat()).unwrap();
    // what a daemon leaves that was stopped in the middle of a scrub
    let store = anneal_store::Store::open(&place.state.join("store"), anneal_store::OpenMode::ReadWrite).unwrap();
    store.put_record("scrub", "position", br#"{ "begun_ms": 1, "next": 0 }"#).unwrap();
    drop(store);
    let never = Daemon::start(place, &["env", "ANNEAL_SCRUB_DAYS=0"]);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(
        place.anneal(&["store", "stats", "--json"]).fine().json()["scrub"],
        Value::Null,
        "0 days: never by itself"
    );
    never.stop();

    let daemon = place.daemon();
    let last = wait_for("the scrub", PATIENCE, || {
        let stats = place.anneal(&["store", "stats", "--json"]).fine().json();
        (!stats["scrub"].is_null()).then_some(stats)
    });
    assert_eq!((&last["scrub"]["corrupt"], &last["quarantined"]["blobs"]), (&1.into(), &1.into()), "{last}");
    let metrics = String::from_utf8(daemon.get("/metrics").body).unwrap();
    for line in [
        "scrub_corrupt 1\n",
        "scrub_unsigned 0\n",
        "builds_differing 0\n",
        "builds_asked 1\n",
        "store_tree_bytes_stored ",
    ] {
        assert!(metrics.contains(&format!("anneal_{line}")), "{line} in {metrics}");
    }
    daemon.stop();
}
