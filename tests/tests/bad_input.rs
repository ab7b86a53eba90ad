//! Bad input of every kind, given to the program that was built: what it says, how it ends, and that nothing is lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

use anneal_tests::{Daemon, Notes, Place, Said, is_root, note_advisory, scratch, sha256, skipped, tool, wait_for};
use std::{fs, path::Path, process::Command, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);

/// The place works: its daemon starts, builds, and has this many candidates in the end.
#[track_caller]
fn all_is_well(place: &Place, candidates: usize) {
    let daemon = place.daemon();
    place.anneal(&["build", "--quiet"]).fine();
    assert_eq!(place.candidates().len(), candidates);
    daemon.stop();
    place.anneal(&["store", "scrub"]).fine();
}

/// Asks the daemon's socket through curl, since no command sends what is wrong.
fn post(place: &Place, path: &str, body: &Path) -> Option<(u16, String)> {
    let mut curl = tool("curl")?;
    let socket = place.state.join("anneal.sock");
    curl.args(["--silent", "--write-out", "\n%{http_code}", "--data-binary", &format!("@{}", body.display())]);
    let said = Said::by(curl.arg("--unix-socket").arg(socket).arg(format!("http://anneal{path}"))).fine();
    let (text, status) = said.out.rsplit_once('\n').unwrap();
    Some((status.parse().unwrap(), text.to_owned()))
}

fn blob(place: &Place, digest: &str) -> Option<Vec<u8>> {
    let mut curl = tool("curl")?;
    curl.args(["--silent", "--fail", "--unix-socket"]).arg(place.state.join("anneal.sock"));
    let output = curl.arg(format!("http://anneal/v1/blob/{digest}")).output().unwrap();
    assert!(output.status.success());
    Some(output.stdout)
}

#[test]
fn a_recipe_with_mistakes_names_file_line_and_remedy_and_the_daemon_keeps_the_good_ones() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let daemon = place.daemon();
    place.anneal(&["build", "--quiet"]).fine();
    let good = fs::read_to_string(notes.recipe()).unwrap();
    let mistakes: &[(&str, &str, &[&str])] = &[
        ("license = \"MIT\"\n", "", &["license", "note.toml"]),
        ("requires = []\ncpus", "requires = [\"noet\"]\ncpus", &["noet", "note.toml:", "did you mean"]),
        ("requires = []\ncpus", "requires = [\"note\"]\ncpus", &["note.toml:", "itself"]),
        ("sha256 = \"", "sha256 = \"00", &["sha256", "note.toml:", "64"]),
    ];
    for (from, to, says) in mistakes {
        notes.edit(from, to);
        place.anneal(&["recipe", "check"]).refused(2, says);
        place.anneal(&["build"]).refused(2, says);
        fs::write(notes.recipe(), &good).unwrap();
    }
    // All of them at once are told at once.
    notes.edit("license = \"MIT\"\n", "");
    let image = place.catalog.join("images/note.toml");
    let good_image = fs::read_to_string(&image).unwrap();
    fs::write(&image, good_image.replace("user = \"65532:65532\"", "user = \"somebody\"")).unwrap();
    place.anneal(&["recipe", "check"]).refused(2, &["license", "note.toml", "somebody", "2 mistakes in 2 files"]);
    fs::write(notes.recipe(), &good).unwrap();
    fs::write(&image, good_image).unwrap();
    daemon.stop();
    all_is_well(place, 1);
}

#[test]
fn packages_that_need_each_other_are_refused_with_the_whole_circle() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let second = fs::read_to_string(notes.recipe()).unwrap().replace("\"note\"\nsummary", "\"reply\"\nsummary");
    let second = second.replace("requires = []\ncpus", "requires = [\"note\"]\ncpus");
    fs::write(notes.place.catalog.join("packages/reply.toml"), second).unwrap();
    notes.place.anneal(&["recipe", "check"]).fine();
    notes.edit("requires = []\ncpus", "requires = [\"reply\"]\ncpus");
    let says: &[&str] = &["note", "reply", "note.toml:"];
    notes.place.anneal(&["recipe", "check"]).refused(2, says);
    notes.place.anneal(&["daemon"]).refused(2, says);
    notes.edit("requires = [\"reply\"]\ncpus", "requires = []\ncpus");
    all_is_well(&notes.place, 1);
}

#[test]
fn a_source_with_other_bytes_than_the_recipe_says_is_not_built() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let file = place.catalog.join("sources/note-1.0.txt");
    let good = fs::read(&file).unwrap();
    let evil = good.to_ascii_uppercase();
    fs::write(&file, &evil).unwrap();
    let daemon = place.daemon();
    let (wanted, found) = (sha256(&good), sha256(&evil));
    place.anneal(&["build"]).refused(1, &["note", "path:sources/note-1.0.txt", &wanted, &found]);
    assert!(place.candidates().is_empty());
    daemon.stop();
    // Mended, it is tried again as soon as the daemon starts anew or the time to wait is over.
    fs::write(&file, &good).unwrap();
    let daemon = Daemon::start(place, &[]);
    daemon.stop();
}

#[test]
fn a_source_that_is_gone_everywhere_lists_every_place_that_was_tried() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let places = ["path:sources/gone.txt", "path:sources/gone-too.txt", "https://127.0.0.1:9/note.txt"];
    let list = places.iter().map(|place| format!("\"{place}\"")).collect::<Vec<_>>().join(", ");
    notes.edit("\"path:sources/note-1.0.txt\"", &list);
    let daemon = notes.place.daemon();
    let said = notes.place.anneal(&["build"]).refused(1, &places);
    assert!(said.err.contains("note.txt"), "{}", said.err);
    // Another image of the catalogue would not be held up, and a mended recipe is another recipe: it is built at once.
    notes.edit(&list, "\"path:sources/note-1.0.txt\"");
    notes.edit("cpus = 1", "cpus = 2");
    notes.place.anneal(&["build", "--quiet"]).fine();
    daemon.stop();
    all_is_well(&notes.place, 1);
}

#[test]
fn a_build_that_fails_shows_its_last_forty_lines_and_where_the_rest_is() {
    let dir = scratch();
    let steps = ["for n in $(seq 100); do echo \"line number $n.\"; done; echo broken >&2; exit 3"];
    let notes = Notes::ready(dir.path()).with_steps(&steps);
    let daemon = notes.place.daemon();
    let said = notes
        .place
        .anneal(&["build"])
        .refused(1, &["note", "code 3", "line number 100.", "broken", "anneal log sha256:"]);
    // Forty lines in all: the last word, and 39 of the hundred.
    assert!(said.err.contains("line number 62."), "{}", said.err);
    assert!(!said.err.contains("line number 61."), "{}", said.err);
    let digest = said.err.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap().to_owned();
    let log = notes.place.anneal(&["log", digest.trim_end_matches(|c: char| !c.is_ascii_hexdigit())]).fine();
    assert!(log.out.contains("line number 1.\n") && log.out.contains("line number 100.\n"), "{}", log.out);
    daemon.stop();
    let notes = notes.with_steps(&["true"]);
    all_is_well(&notes.place, 1);
}

#[test]
fn a_record_that_is_not_json_is_reported_by_name_and_holds_up_no_other() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let daemon = place.daemon();
    place.anneal(&["build", "--quiet"]).fine();
    place.feed("A-BROKEN.json", b"this is no JSON\n");
    place.feed("B-EMPTY.json", b"");
    place.feed("C-GOOD.json", &note_advisory("TEST-2026-1", "1.1"));
    wait_for("the good record's candidate", PATIENCE, || {
        place.candidates().iter().any(|c| c["fixes"][0] == "TEST-2026-1").then_some(())
    });
    for name in ["A-BROKEN.json", "B-EMPTY.json"] {
        assert!(daemon.said().contains(name), "{}", daemon.said());
    }
    let broken = place.state.join("feed/A-BROKEN.json");
    place.anneal(&["advisory", "import", broken.to_str().unwrap()]).refused(2, &["A-BROKEN.json", "JSON"]);
    daemon.stop();
    all_is_well(place, 2);
}

#[test]
fn a_full_disk_stops_the_work_and_loses_nothing() {
    if !is_root() {
        return skipped("no permission to mount a small file system");
    }
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Said::by(Command::new("mount").args(["-t", "tmpfs", "-o", "size=160m", "anneal-test"]).arg(&disk));
    if mounted.code != 0 {
        return skipped("no permission to mount a small file system");
    }
    let _unmount = Unmount(disk.clone());
    // Everything but the build root is on the small disk.
    let place = Place::new(&disk.join("state"), &notes.place.catalog);
    fs::create_dir(&place.state).unwrap();
    std::os::unix::fs::symlink(notes.place.state.join("roots"), place.state.join("roots")).unwrap();
    let daemon = place.daemon();
    place.anneal(&["build", "--quiet"]).fine();
    let key = place.approver("ada");
    place.approve("c1", &key).fine();
    wait_for("the publication", PATIENCE, || (daemon.get("/v2/note/manifests/latest").status == 200).then_some(()));
    let served = daemon.get("/v2/note/manifests/latest").body;
    let before = place.events().len();
    let filler = disk.join("filler");
    let _ = Said::by(Command::new("dd").args(["if=/dev/zero", "bs=64k"]).arg(format!("of={}", filler.display())));
    let record = dir.path().join("TEST-2026-1.json");
    fs::write(&record, note_advisory("TEST-2026-1", "1.1")).unwrap();
    let import = ["advisory", "import", record.to_str().unwrap()];
    let said = place.anneal(&import);
    assert!(said.code != 0 && said.err.contains("TEST-2026-1.json"), "{}", said.err);
    assert!(said.err.contains("no space") && said.err.contains("make room"), "{}", said.err);
    assert_eq!(place.events().len(), before);
    // What was served is still served.
    assert_eq!(daemon.get("/v2/note/manifests/latest").body, served);
    fs::remove_file(&filler).unwrap();
    // With room again it goes on, without a restart.
    place.anneal(&import).fine();
    wait_for("the advisory's candidate", PATIENCE, || {
        place.candidates().iter().any(|c| c["fixes"][0] == "TEST-2026-1").then_some(())
    });
    assert_eq!(daemon.get("/v2/note/manifests/latest").body, served);
    daemon.stop();
    place.anneal(&["store", "scrub"]).fine();
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_the_first_goes_on() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let mut daemon = notes.place.daemon();
    let other = Place::new(&notes.place.state, &notes.place.catalog);
    let state = notes.place.state.to_str().unwrap().to_owned();
    other.anneal(&["daemon"]).refused(2, &["in use", &state, &daemon.id().to_string()]);
    assert!(!daemon.has_ended());
    // Its socket is still the first one's.
    notes.place.anneal(&["build", "--quiet"]).fine();
    daemon.stop();
    all_is_well(&notes.place, 1);
}

#[test]
fn a_port_in_use_is_named_with_the_flag_that_chooses_another() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let taken = std::net::TcpListener::bind(&notes.place.listen).unwrap();
    notes.place.anneal(&["daemon"]).refused(2, &[&notes.place.listen, "--listen"]);
    drop(taken);
    all_is_well(&notes.place, 1);
}

#[test]
fn only_an_enrolled_key_decides_and_only_about_the_candidate_of_today() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let daemon = place.daemon();
    place.anneal(&["build", "--quiet"]).fine();
    // A key that nobody enrolled.
    let stranger = dir.path().join("stranger.pem");
    place.anneal(&["key", "new", stranger.to_str().unwrap()]).fine();
    place.approve("c1", &stranger).refused(1, &["not an enrolled approver", "anneal key list"]);
    // The daemon's own keys are nobody's to approve with.
    let (own, secret) = (dir.path().join("release.pub"), place.state.join("keys/release.pem"));
    place.anneal(&["key", "export", "release", "-o", own.to_str().unwrap()]).fine();
    let enroll = ["key", "enroll", own.to_str().unwrap(), "--name", "Nobody"];
    place.anneal(&enroll).refused(2, &["the daemon's own release key", "anneal key new"]);
    place.approve("c1", &secret).refused(1, &["not an enrolled approver"]);
    // A newer candidate supersedes.
    let key = place.approver("ada");
    place.feed("one.json", &note_advisory("TEST-2026-1", "1.1"));
    wait_for("the second candidate", PATIENCE, || (place.candidates().len() == 2).then_some(()));
    place.approve("c1", &key).refused(1, &["c1", "superseded", "c2"]);
    // Another image than the one that was looked at.
    let other = format!("sha256:{}", sha256(b"something else"));
    let args = ["candidate", "approve", "c2", "--digest", &other, "--key", key.to_str().unwrap()];
    place.anneal(&args).refused(1, &["c2", &other, "nothing was signed"]);
    assert_eq!(daemon.get("/v2/note/manifests/latest").status, 404);
    // A key that was revoked.
    let keys = place.anneal(&["key", "list", "--json"]).fine().json();
    let id = keys["approvers"].as_object().unwrap().keys().next().unwrap().clone();
    let release = place.anneal(&["key", "export", "release"]).fine().out;
    assert_eq!(keys["daemon"]["release"]["pem"], release.as_str(), "{keys}");
    let late = place.approver("grace");
    place.anneal(&["key", "revoke", &id, "--reason", "lost"]).fine();
    place.approve("c2", &key).refused(1, &[&id]);
    place.approve("c2", &late).fine();
    wait_for("the publication", PATIENCE, || (daemon.get("/v2/note/manifests/latest").status == 200).then_some(()));
    daemon.stop();
    all_is_well(place, 2);
}

#[test]
fn a_decision_that_was_tampered_with_or_is_about_another_candidate_is_refused() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let daemon = place.daemon();
    place.anneal(&["build", "--quiet"]).fine();
    let key = place.approver("ada");
    place.approve("c1", &key).fine();
    wait_for("the publication", PATIENCE, || (place.candidates()[0]["status"] == "published").then_some(()));
    let served = daemon.get("/v2/note/manifests/latest").body;
    let statement = place.candidates()[0]["decision"][2].as_str().unwrap().to_owned();
    let Some(good) = blob(place, &statement) else { return };
    place.feed("one.json", &note_advisory("TEST-2026-1", "1.1"));
    wait_for("the second candidate", PATIENCE, || (place.candidates().len() == 2).then_some(()));
    let before = place.events().len();
    let file = dir.path().join("decision");
    // Replayed; about the right candidate but with another payload; not a statement at all.
    let text = String::from_utf8(good.clone()).unwrap();
    let mut bundle: serde_json::Value = serde_json::from_str(&text).unwrap();
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap().to_owned();
    let changed = anneal_tests::recoded(&payload, |text| text.replace("\"c1\"", "\"c2\"").replace("first", "other"));
    bundle["dsseEnvelope"]["payload"] = changed.into();
    for wrong in [good.clone(), bundle.to_string().into_bytes(), b"approve it, please".to_vec(), Vec::new()] {
        fs::write(&file, &wrong).unwrap();
        let Some((status, text)) = post(place, "/v1/candidates/c2/decision", &file) else { return };
        assert!((400..500).contains(&status), "{status} {text}");
        assert!(text.contains("c2"), "{text}");
    }
    // The same about the candidate that it was made for: it is decided already.
    fs::write(&file, &good).unwrap();
    let (status, text) = post(place, "/v1/candidates/c1/decision", &file).unwrap();
    assert!((400..500).contains(&status) && text.contains("c1"), "{status} {text}");
    assert_eq!(place.events().len(), before, "nothing was journalled");
    assert_eq!(daemon.get("/v2/note/manifests/latest").body, served);
    daemon.stop();
    all_is_well(place, 2);
}

#[test]
fn the_demo_does_not_touch_a_state_that_is_not_its_own() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let daemon = place.daemon();
    place.anneal(&["build", "--quiet"]).fine();
    daemon.stop();
    let before = place.events();
    let state = place.state.to_str().unwrap();
    let said = place.anneal(&["demo"]);
    if said.err.contains("skopeo, which is not here") {
        return skipped("no skopeo");
    }
    said.refused(2, &[state, "not a state directory of the demo"]);
    assert_eq!(place.events(), before);
    all_is_well(place, 1);
}
