//! Collecting beside a daemon: what was ever published stays and can be pulled, what was set aside goes and is said to be
//! gone, and it comes back when a catalogue asks for it again.

use crate::registry::skopeo_copy;
use anneal_tests::{Daemon, NUMBERED, Notes, Place, note_advisory, scratch, sha256, wait_for};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The newest candidate, when it is about another image than this one.
pub(crate) fn other_than(place: &Place, before: &str) -> (String, String) {
    wait_for("another candidate", PATIENCE, || {
        let newest = place.candidates().into_iter().max_by_key(|c| c["id"].as_u64())?;
        let manifest = newest["manifest"].as_str()?.to_owned();
        (manifest != before && newest["status"] == "open").then(|| (format!("c{}", newest["id"]), manifest))
    })
}

pub(crate) fn publish(place: &Place, candidate: &str, key: &Path) {
    place.approve(candidate, key).fine();
    wait_for("the publication", PATIENCE, || {
        place.candidates().iter().find(|c| format!("c{}", c["id"]) == candidate && c["status"] == "published").map(drop)
    });
}

/// Everything that an image is, as its publication shows it.
pub(crate) fn digests(place: &Place, manifest: &str) -> BTreeSet<String> {
    let shown = place.anneal(&["image", "show", manifest, "--json"]).fine().json();
    let image = &shown["image"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let layers = image["layers"].as_array().unwrap().iter().map(|layer| text(&layer["digest"]));
    let evidence = image["evidence"].as_array().unwrap().iter().map(|evidence| text(&evidence["bundle"]));
    layers.chain(evidence).chain([text(&image["manifest"]), text(&image["index"])]).collect()
}

fn pulls(place: &Place, manifest: &str, into: &Path) {
    let Some(said) = skopeo_copy(place, &format!("note@{manifest}"), into) else { return };
    said.fine();
    for blob in fs::read_dir(into.join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        assert_eq!(sha256(&fs::read(blob.path()).unwrap()), blob.file_name().to_str().unwrap());
    }
}

/// A daemon that keeps nothing for being young, an approver's key, and the first candidate with its manifest.
pub(crate) fn begun(place: &Place) -> (Daemon, PathBuf, (String, String)) {
    let daemon = Daemon::start(place, &["env", "ANNEAL_KEEP_DAYS=0"]);
    place.anneal(&["build", "--quiet"]).fine();
    let key = place.approver("ada");
    (daemon, key, other_than(place, ""))
}

#[test]
fn what_was_published_stays_what_was_rejected_goes_and_a_catalogue_brings_it_back() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let (daemon, key, (first, released)) = begun(place);
    publish(place, &first, &key);
    place.feed("advisory.json", &note_advisory("TEST-2026-1", "1.1"));
    let (fixed, patched) = other_than(place, &released);
    publish(place, &fixed, &key);

    // an image that is rejected, and then replaced
    let step =
        |text: &str| format!("'install -Dm644 /src/note.txt \"$OUT/usr/share/note/{text}.txt\"',\n]\n\n[runtime]");
    notes.edit("]\n\n[runtime]", &format!("  {}", step("second")));
    place.anneal(&["build", "--quiet"]).fine();
    let (second, rejected) = other_than(place, &patched);
    place.anneal(&["candidate", "reject", &second, "--key", key.to_str().unwrap()]).fine();
    let of_second = fs::read_to_string(notes.recipe()).unwrap();
    notes.edit("second.txt", "third.txt");
    place.anneal(&["build", "--quiet"]).fine();
    let (_, third) = other_than(place, &rejected);
    let gone = digests(place, &rejected);

    let look = place.anneal(&["store", "gc", "--dry-run", "--json"]).fine().json();
    assert_eq!(look["images"], serde_json::json!([rejected]), "{look}");
    assert!(look["gaps"].as_array().unwrap().is_empty() && look["absent"].as_array().unwrap().is_empty(), "{look}");
    let listed = |digest: &str| look["blobs"].as_array().unwrap().iter().any(|blob| blob[0] == digest);
    assert!(listed(&rejected));
    for image in [&released, &patched, &third] {
        for digest in digests(place, image) {
            assert!(!listed(&digest), "{digest} of {image} would go");
            place.anneal(&["store", "why", &digest]).fine();
        }
    }
    let swept = place.anneal(&["store", "gc", "--json"]).fine().json();
    assert!(swept["swept"]["blobs"].as_u64().unwrap() >= look["blobs"].as_array().unwrap().len() as u64, "{swept}");
    let again = place.anneal(&["store", "gc", "--json"]).fine().json();
    assert_eq!((&again["swept"]["blobs"], &again["images"]), (&0.into(), &serde_json::json!([])), "{again}");
    for (name, image) in [("released", &released), ("patched", &patched)] {
        pulls(place, image, &dir.path().join(name));
    }
    place.anneal(&["store", "why", &rejected]).refused(1, &["nothing needs"]);
    let why = place.anneal(&["store", "why", &rejected]);
    assert!(why.out.contains("collected on"), "{}", why.out);
    // what was found and decided about it stays
    assert!(gone.iter().any(|digest| place.anneal(&["store", "why", digest]).code == 0), "its evidence");
    place.anneal(&["candidate", "show", &second]).fine();
    assert!(String::from_utf8(daemon.get("/metrics").body).unwrap().contains("anneal_collections 2"));
    place.anneal(&["store", "stats", "--json"]).fine();
    place.anneal(&["store", "scrub"]).fine();

    // the catalogue asks for it again: it is built again, checked again, and may be published after all
    fs::write(notes.recipe(), of_second).unwrap();
    place.anneal(&["build", "--quiet"]).fine();
    let (once_more, back) = other_than(place, &third);
    assert_eq!(back, rejected, "the same recipe is the same image");
    publish(place, &once_more, &key);
    pulls(place, &back, &dir.path().join("back"));
    place.anneal(&["store", "gc"]).fine();
    pulls(place, &back, &dir.path().join("still"));
    daemon.stop();

    // without a daemon it is the same, under the store's lock
    let stopped = place.anneal(&["store", "gc", "--json"]).fine().json();
    assert_eq!(stopped["images"], serde_json::json!([]), "young, by the default of 14 days");
    place.anneal(&["store", "scrub"]).fine();
}

#[test]
fn a_pin_keeps_a_rejected_image_until_it_is_removed() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let (daemon, key, (first, manifest)) = begun(place);
    place.anneal(&["candidate", "reject", &first, "--key", key.to_str().unwrap()]).fine();
    notes.edit("/usr/share/note/note.txt\"',\n  'install", "/usr/share/note/other.txt\"',\n  'install");
    notes.edit(
        "grep -q note \"$SYSROOT/usr/share/note/note.txt\"",
        "grep -q note \"$SYSROOT/usr/share/note/other.txt\"",
    );
    place.anneal(&["build", "--quiet"]).fine();
    other_than(place, &manifest);
    place.anneal(&["store", "pin", &manifest, "--reason", "for the post-mortem"]).fine();
    place.anneal(&["store", "gc"]).fine();
    let why = place.anneal(&["store", "why", &manifest]).fine();
    assert!(why.out.contains("pinned: for the post-mortem"), "{}", why.out);
    let layer = digests(place, &manifest);
    for digest in &layer {
        place.anneal(&["store", "why", digest]).fine();
    }
    place.anneal(&["store", "unpin", &manifest]).fine();
    place.anneal(&["store", "unpin", &manifest]).refused(1, &["is not pinned"]);
    place.anneal(&["store", "gc"]).fine();
    place.anneal(&["store", "why", &manifest]).refused(1, &["nothing needs"]);
    daemon.stop();
}

#[test]
fn an_image_that_comes_back_after_a_collection_is_tested_again_and_not_refused() {
    let dir = scratch();
    let notes = Notes::ready(dir.path()).with_steps(&[NUMBERED]);
    let place = &notes.place;
    let (daemon, key, (first, released)) = begun(place);
    publish(place, &first, &key);
    notes.edit("echo number 0", "echo number 1");
    place.anneal(&["build", "--quiet"]).fine();
    let (second, other) = other_than(place, &released);
    publish(place, &second, &key);
    // what the tests of the first image said is nothing that anything needs; the image itself stays
    place.anneal(&["store", "gc"]).fine();
    notes.edit("echo number 1", "echo number 0");
    place.anneal(&["build", "--quiet"]).fine();
    let (third, back) = other_than(place, &other);
    assert_eq!(back, released);
    publish(place, &third, &key);
    daemon.stop();
}
