//! A published image built again from what its evidence names, long after the recipes have moved on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

use anneal_tests::{Notes, Place, file, scratch};
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path, time::Duration};
use tempfile::TempDir;

const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// A note that was published, and whose recipe is another one since.
fn published() -> (TempDir, Notes, String) {
    let dir = scratch();
    let notes = Notes::with_small_root(dir.path());
    notes.place.release_all();
    let manifest = notes.place.candidates()[0]["manifest"].as_str().unwrap().to_owned();
    notes.edit("steps = [\n", "steps = [\n  'mkdir -p \"$OUT/usr/share/later\"',");
    notes.edit("version = \"1.0\"\n\n[upstream]", "version = \"1.1\"\n\n[upstream]");
    let daemon = notes.place.daemon();
    notes.place.anneal(&["build", "note"]).fine();
    daemon.stop();
    assert_ne!(newest(&notes.place), manifest, "the recipe of today makes another image");
    (dir, notes, manifest)
}

fn newest(place: &Place) -> String {
    let list = place.anneal(&["image", "list", "--json"]).fine().json();
    let newest = list.as_array().unwrap().iter().max_by_key(|one| one["image"]["at_ms"].as_u64()).unwrap();
    newest["image"]["manifest"].as_str().unwrap().to_owned()
}

/// A directory to build in that has the build root already, since unpacking it says nothing here.
fn scratch_with_root(dir: &Path, name: &str) -> String {
    let scratch = dir.join(name);
    fs::create_dir(&scratch).unwrap();
    Notes::link_small_root(&scratch);
    scratch.to_str().unwrap().to_owned()
}

#[test]
fn an_image_is_built_again_from_its_evidence_though_the_recipes_changed() {
    let (dir, notes, manifest) = published();
    let there = scratch_with_root(dir.path(), "there");
    // Not even the recipes of today are there.
    fs::rename(&notes.place.catalog, dir.path().join("gone")).unwrap();
    fs::create_dir(&notes.place.catalog).unwrap();
    let said = notes.place.anneal(&["image", "reproduce", &manifest, "--scratch", &there, "--json"]).fine();
    let told = said.json();
    assert_eq!((told["reproduced"].as_bool(), &told["rebuilt"]), (Some(true), &told["manifest"]));
    assert_eq!(told["manifest"], manifest.as_str());
    assert!(said.err.contains("building note 1.0"), "it was really built:\n{}", said.err);
    // A second time needs another directory: what one holds could be what the first time made.
    notes.place.anneal(&["image", "reproduce", &manifest, "--scratch", &there]).refused(2, &["has a store already"]);
    let there = scratch_with_root(dir.path(), "again");
    let daemon_less = notes.place.anneal(&["image", "reproduce", &manifest, "--scratch", &there]).fine();
    assert!(daemon_less.out.contains("reproduced: 1 packages built from its evidence alone"), "{}", daemon_less.out);
}

/// The file of a bundle of this type, copied out of a state directory.
fn bundle(place: &Place, manifest: &str, to: &Path) -> String {
    let digest = place.bundle(manifest, PROVENANCE).parse().unwrap();
    fs::copy(file(&place.state.join("store"), &digest), to).unwrap();
    to.to_str().unwrap().to_owned()
}

#[test]
fn only_another_operator_who_builds_what_was_carried_to_them_makes_an_image_reproduced() {
    let (dir, notes, manifest) = published();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let ours = &notes.place;
    let (bare, layout, our_key) = (path("bare"), path("layout"), path("ours.pub"));
    ours.anneal(&["store", "export", &manifest, &bare]).fine();
    let said = ours.anneal(&["store", "export", &manifest, &layout, "--rebuildable"]).fine();
    assert!(said.out.contains("things that they were built from"), "{}", said.out);
    ours.anneal(&["key", "export", "build", "-o", &our_key]).fine();
    let first = bundle(ours, &manifest, &dir.path().join("first.json"));
    // Neither the recipes nor the store are there where it is built again.
    for gone in [&notes.place.catalog, &ours.state.join("store")] {
        fs::rename(gone, gone.with_extension("gone")).unwrap();
    }

    let stranger = Notes::with_small_root(&dir.path().join("stranger"));
    let theirs = &stranger.place;
    let confirmation = path("confirmation.json");
    let reproduce = |from: &str, more: &[&str]| {
        let scratch = scratch_with_root(dir.path(), &format!("scratch{}", fs::read_dir(dir.path()).unwrap().count()));
        let mut ask = vec!["image", "reproduce", &manifest, "--from", from, "--scratch", &scratch];
        ask.extend(more);
        theirs.anneal(&ask)
    };
    reproduce(&layout, &[]).refused(2, &["--key"]);
    reproduce(&layout, &["--key", &our_key, "--confirm", &confirmation]).refused(2, &["keys/build.pem is not there"]);
    theirs.daemon().stop();
    let their_key = path("theirs.pub");
    theirs.anneal(&["key", "export", "build", "-o", &their_key]).fine();
    reproduce(&layout, &["--key", &their_key]).refused(1, &["is not verified"]);
    reproduce(&bare, &["--key", &our_key])
        .refused(1, &["is not enough to build it again", "catalog", "build-root.lock"]);
    let said = reproduce(&layout, &["--key", &our_key, "--confirm", &confirmation]).fine();
    assert!(said.out.contains("reproduced: 1 packages") && said.out.contains(&confirmation), "{}", said.out);
    assert!(said.err.contains("building note 1.0"), "it was really built:\n{}", said.err);
    reproduce(&layout, &["--key", &our_key, "--confirm", &confirmation]).refused(2, &["is there already"]);

    let imported = theirs.anneal(&["store", "import", &layout, "--json"]).fine().json();
    let kept = theirs
        .anneal(&["store", "why", &anneal_content::BlobDigest::of(b"the note of release 1.0\n").to_string()])
        .fine();
    assert!(kept.out.contains("imported from an OCI layout"), "{imported}: {}", kept.out);

    let verify = |bundle: &str, key: &str, more: &[&str]| {
        theirs.anneal(&[&["verify", bundle, "--key", key, "--digest", &manifest], more].concat())
    };
    let alone = verify(&first, &our_key, &[]).fine();
    assert!(!alone.out.contains("REPRODUCED"), "one operator is one: {}", alone.out);
    let both = verify(&first, &our_key, &["--confirmation", &confirmation, "--independent", &their_key]).fine();
    assert!(both.out.contains("REPRODUCED: key "), "{}", both.out);
    verify(&first, &our_key, &["--confirmation", &confirmation]).refused(2, &["--independent"]);
    let own = ["--confirmation", first.as_str(), "--independent", our_key.as_str()];
    verify(&first, &our_key, &own).refused(1, &["not reproduced", "who builds twice is not two"]);
    let swapped = ["--confirmation", first.as_str(), "--independent", their_key.as_str()];
    verify(&first, &our_key, &swapped).refused(1, &["is not verified"]);
}

#[test]
fn a_layout_in_which_an_input_was_changed_is_not_built_from() {
    let (dir, notes, manifest) = published();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (layout, key) = (path("layout"), path("build.pub"));
    notes.place.anneal(&["store", "export", &manifest, &layout, "--rebuildable"]).fine();
    notes.place.anneal(&["key", "export", "build", "-o", &key]).fine();
    let source = anneal_content::BlobDigest::of(b"the note of release 1.0\n");
    let carried = Path::new(&layout).join("blobs/sha256").join(source.hex());
    fs::remove_file(&carried).unwrap();
    fs::write(&carried, "the note of release 9.0\n").unwrap();
    let there = scratch_with_root(dir.path(), "there");
    let ask = ["image", "reproduce", &manifest, "--from", &layout, "--key", &key, "--scratch", &there];
    notes.place.anneal(&ask).refused(2, &["expected blob", &source.to_string()]);
}

#[test]
fn a_source_that_was_tampered_with_is_no_source() {
    let (dir, notes, manifest) = published();
    let text = "the note of release 1.0\n";
    let digest = anneal_content::BlobDigest::of(text.as_bytes());
    let archived = file(&notes.place.state.join("store"), &digest);
    let there = scratch_with_root(dir.path(), "there");
    // The archive's copy and the one at its place say something else now.
    for path in [&archived, &notes.place.catalog.join("sources/note-1.0.txt")] {
        let mut permissions = fs::metadata(path).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
        fs::set_permissions(path, permissions).unwrap();
        fs::write(path, "the note of release 9.9\n").unwrap();
    }
    let said = notes.place.anneal(&["image", "reproduce", &manifest, "--scratch", &there]);
    said.refused(1, &["was not reproduced", "note.txt", &digest.to_string()]);
}

#[test]
fn what_the_evidence_lacks_is_named() {
    let (dir, notes, manifest) = published();
    let shown = notes.place.anneal(&["image", "show", &manifest, "--json"]).fine().json();
    let store = notes.place.state.join("store");
    let lock: anneal_content::BlobDigest = shown["image"]["build_root"].as_str().unwrap().parse().unwrap();
    let there = scratch_with_root(dir.path(), "there");
    fs::remove_file(file(&store, &lock)).unwrap();
    let said = notes.place.anneal(&["image", "reproduce", &manifest, "--scratch", &there]);
    said.refused(1, &["is not enough to build it again", "build-root.lock", &lock.to_string()]);
    // Signed by another key than the one that is trusted.
    let key = dir.path().join("stranger.pem");
    notes.place.anneal(&["key", "new", key.to_str().unwrap()]).fine();
    let public = format!("{}.pub", key.display());
    let said = notes.place.anneal(&["image", "reproduce", &manifest, "--key", &public]);
    said.refused(1, &["is not verified"]);
    // And a bundle that is gone.
    let bundle: anneal_content::BlobDigest = notes.place.bundle(&manifest, PROVENANCE).parse().unwrap();
    fs::remove_file(file(&store, &bundle)).unwrap();
    let there = scratch_with_root(dir.path(), "another");
    assert_ne!(notes.place.anneal(&["image", "reproduce", &manifest, "--scratch", &there]).code, 0);
}

#[test]
fn the_build_root_of_what_was_published_is_kept_when_the_lock_changes() {
    let (_dir, notes, manifest) = published();
    let daemon = notes.place.daemon();
    let shown = notes.place.anneal(&["image", "show", &manifest, "--json"]).fine().json();
    let lock = shown["image"]["build_root"].as_str().unwrap();
    let why = notes.place.anneal(&["store", "why", lock]).fine();
    assert!(why.out.contains("the lock of the build root of"), "{}", why.out);
    daemon.stop();
}

#[test]
fn an_image_that_came_out_the_same_from_a_later_build_is_signed_whatever_its_version_is_spelled_with() {
    let dir = scratch();
    let notes = Notes::with_small_root(dir.path());
    // A `+` may stand in versions; in package URLs and tags it must not.
    notes.edit("version = \"1.0\"", "version = \"1.0+r1\"");
    notes.edit("steps = ['grep -q note", "steps = ['grep -q nothing");
    let _daemon = notes.place.daemon();
    notes.place.anneal(&["build", "note"]).refused(1, &["note"]);
    // The test is put right, and a step that changes nothing has the package built once more: later by a second, since
    // statements count in seconds.
    std::thread::sleep(Duration::from_millis(1100));
    notes.edit("steps = ['grep -q nothing", "steps = ['grep -q note");
    notes.edit("steps = [\n", "steps = [\n  'true',");
    notes.place.anneal(&["build", "note"]).fine();
    let key = notes.place.approver("ada");
    let candidate = &notes.place.candidates()[0];
    notes.place.approve(&format!("c{}", candidate["id"]), &key).fine();
    let manifest = candidate["manifest"].as_str().unwrap();
    let keys: BTreeSet<String> = notes.place.events().iter().filter_map(|e| assembled(e, manifest)).collect();
    assert_eq!(keys.len(), 2, "the same bytes came from two builds: {keys:?}");
    let times = &notes.place.predicate(manifest, PROVENANCE)["runDetails"]["metadata"];
    assert!(times["finishedOn"].is_string() && times["startedOn"].is_null(), "{times}");
    let sbom = notes.place.predicate(manifest, "https://spdx.dev/Document").to_string();
    assert!(sbom.contains("\"pkg:generic/note@1.0%2Br1\"") && sbom.contains("\"1.0+r1\""), "{sbom}");
}

/// What the image was made from, where this event is of its making.
fn assembled(event: &Value, manifest: &str) -> Option<String> {
    (event["manifest"] == manifest).then(|| event["key"].as_str().map(ToOwned::to_owned))?
}
