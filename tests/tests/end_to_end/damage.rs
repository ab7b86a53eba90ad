//! Damage on the disk: a scrub finds it, says who needs it, what was built with it and how it comes back; a build that needs
//! it makes it again; and what is there a second time is put right.

use crate::collect::{begun, publish};
use anneal_tests::{Daemon, Notes, Place, scratch, wait_for};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// What the package's first release installs.
const NOTE: &[u8] = b"the note of release 1.0\n";

/// The file of the blob with these bytes.
fn blob_with(place: &Place, wanted: &[u8]) -> PathBuf {
    let folders = fs::read_dir(place.state.join("store/blobs/sha256")).unwrap();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).find(|path| fs::read(path).unwrap() == wanted).unwrap()
}

/// Flips a bit in the middle of a file.
fn rot(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(path, bytes).unwrap();
}

fn scrub(place: &Place, more: &[&str]) -> (bool, Value) {
    let said = place.anneal(&[&["store", "scrub", "--json"], more].concat());
    (said.code == 0, said.json())
}

#[test]
fn a_damaged_result_is_named_with_what_was_built_with_it_and_the_next_build_makes_it_again() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let (daemon, ..) = begun(place);
    drop(daemon);
    assert!(scrub(place, &[]).0, "a fresh store is whole");

    let file = blob_with(place, NOTE);
    let digest = format!("sha256:{}", file.file_name().unwrap().to_str().unwrap());
    rot(&file);
    let (whole, report) = scrub(place, &[]);
    assert!(!whole, "{report}");
    assert_eq!(report["damage"][&digest]["kind"], "corrupt", "{report}");
    let follows = &report["consequences"][&digest];
    let named = |field: &str| follows[field].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned());
    assert!(named("needed_for").any(|why| why.contains("note")), "{follows}");
    assert_eq!(named("in_doubt").collect::<Vec<_>>(), ["package note", "image note"], "{follows}");
    assert!(follows["remedy"].as_str().unwrap().contains("anneal build note"), "{follows}");

    // nothing else has its bytes, so mending takes it out of service; it is named still
    let (whole, report) = scrub(place, &["--mend"]);
    assert!(!whole && report["damage"][&digest].is_object(), "{report}");
    assert!(report["damage"][&digest]["why"].as_str().unwrap().contains("not mended: its file is gone"), "{report}");
    assert!(report["consequences"][&digest]["in_doubt"].as_array().is_some_and(|all| all.len() == 2), "{report}");
    assert!(!file.exists() && place.state.join("store/quarantine").join(file.file_name().unwrap()).exists());

    let _daemon = Daemon::start(place, &[]);
    place.anneal(&["build", "note", "--quiet"]).fine();
    wait_for("the damaged file to come again", Duration::from_secs(60), || file.exists().then_some(()));
    assert_eq!(fs::read(&file).unwrap(), NOTE);
    wait_for("a store that is whole again", Duration::from_secs(60), || scrub(place, &[]).0.then_some(()));
}

#[test]
fn what_is_lost_comes_back_out_of_a_backup_and_only_as_what_it_was() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let (daemon, ..) = begun(place);
    drop(daemon);
    let backup = dir.path().join("backup");
    let backup_dir = backup.to_str().unwrap();
    place.anneal(&["store", "backup", backup_dir]).fine();
    let file = blob_with(place, NOTE);
    let digest = format!("sha256:{}", file.file_name().unwrap().to_str().unwrap());
    rot(&file);
    // taken out of service, so that the next scrub no longer sees it among the blobs
    assert!(!scrub(place, &["--mend"]).0);
    place.anneal(&["store", "scrub", "--mend", "--backup", "/nowhere"]).refused(2, &["/nowhere"]);
    place.anneal(&["store", "scrub", "--backup", backup_dir]).refused(2, &["--mend"]);

    let hex = file.file_name().unwrap().to_str().unwrap();
    let kept = backup.join("blobs/sha256").join(&hex[..2]).join(hex);
    let sound = fs::read(&kept).unwrap();
    rot(&kept);
    let (whole, report) = scrub(place, &["--mend", "--backup", backup_dir]);
    assert!(!whole && report["damage"][&digest].is_object(), "{report}");
    let why = report["damage"][&digest]["why"].as_str().unwrap();
    assert!(why.contains("not mended: the backup's copy is damaged: it hashes to"), "{why}");
    assert!(!file.exists());
    fs::write(&kept, sound).unwrap();

    let (whole, report) = scrub(place, &["--mend", "--backup", backup_dir]);
    assert!(whole, "{report}");
    assert!(report["mended"][&digest].as_str().is_some_and(|how| how.contains("backup")), "{report}");
    assert_eq!(fs::read(&file).unwrap(), NOTE);
    assert!(scrub(place, &[]).0);
}

#[test]
fn a_damaged_table_of_blobs_is_told_with_its_remedy_and_mending_makes_it_again_from_the_files() {
    const TABLE: &str = "the database's table `blobs`";
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let (daemon, key, (candidate, _)) = begun(place);
    publish(place, &candidate, &key);
    drop(daemon);
    // the next writer moves what the log has to tables
    place.anneal(&["store", "scrub", "--mend"]).fine();
    let files = fs::read_dir(place.state.join("store/db")).unwrap().map(|entry| entry.unwrap().path());
    let says_blobs = |bytes: &[u8]| bytes.windows(9).any(|part| part == b"nameblobs");
    let is_of_blobs =
        |path: &PathBuf| path.extension().is_some_and(|kind| kind == "sst") && says_blobs(&fs::read(path).unwrap());
    let tables: Vec<PathBuf> = files.filter(is_of_blobs).collect();
    assert!(!tables.is_empty());
    for path in &tables {
        let mut bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 9]).unwrap();
        place.anneal(&["store", "scrub"]).refused(2, &["damaged", "anneal store scrub --mend"]);
        bytes[20] ^= 4;
        fs::write(path, bytes).unwrap();
        let (whole, report) = scrub(place, &[]);
        let why = report["damage"][TABLE]["why"].as_str().unwrap_or_default();
        let is_told = why.contains("`anneal store scrub --mend` without a daemon makes it again");
        assert!(!whole && is_told, "{report}");
    }
    let (whole, report) = scrub(place, &["--mend"]);
    let how = report["mended"][TABLE].as_str().unwrap_or_default();
    assert!(whole && how.starts_with("it was made again from the files of "), "{report}");
    assert!(scrub(place, &[]).0);
    let _daemon = Daemon::start(place, &[]);
    place.anneal(&["build", "note", "--quiet"]).fine();
}

#[test]
fn a_lost_catalogue_and_a_lost_lock_say_how_they_come_back_and_a_start_or_a_build_puts_them_back() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let (daemon, key, (candidate, manifest)) = begun(place);
    publish(place, &candidate, &key);
    let events = place.events();
    let newest = |field: &str| {
        let named = events.iter().rev().find_map(|event| event[field].as_str().map(ToOwned::to_owned));
        named.unwrap_or_else(|| panic!("no event has {field}: {events:?}"))
    };
    drop(daemon);
    let (lock, revision) = (newest("build_root"), newest("revision"));
    let catalogue =
        events.iter().find(|event| event["revision"] == revision.as_str()).unwrap()["blob"].as_str().unwrap();
    let file = |digest: &str| {
        let hex = digest.strip_prefix("sha256:").unwrap();
        place.state.join("store/blobs/sha256").join(&hex[..2]).join(hex)
    };
    for (digest, what) in [(lock.as_str(), "the lock of the build root"), (catalogue, "the catalogue")] {
        let sound = fs::read(file(digest)).unwrap();
        rot(&file(digest));
        assert!(!scrub(place, &["--mend"]).0 && !file(digest).exists());
        let (_, report) = scrub(place, &[]);
        let why = report["damage"][digest]["why"].as_str().unwrap();
        assert!(why.contains(what.trim_start_matches("the ")) && why.contains("not in the store"), "{report}");
        assert!(report["consequences_unknown"].as_str().unwrap().contains(what), "{report}");
        for command in [&["store", "gc"][..], &["store", "gc", "--dry-run"], &["store", "why", &manifest]] {
            place.anneal(command).refused(2, &[what, digest, "`anneal build`", "scrub --mend --backup DIR"]);
        }
        drop(Daemon::start(place, &[]));
        assert!(fs::read(file(digest)).unwrap() == sound, "a start puts {what} back");
        place.anneal(&["store", "gc"]).fine();

        // lost again, and found while a daemon runs
        rot(&file(digest));
        let _daemon = Daemon::start(place, &[]);
        place.anneal(&["store", "pin", digest, "--reason", "a look"]).refused(2, &["damaged"]);
        assert!(!file(digest).exists());
        place.anneal(&["build", "--quiet"]).fine();
        assert!(fs::read(file(digest)).unwrap() == sound, "a build puts {what} back");
        place.anneal(&["store", "gc"]).fine();
    }
    assert!(scrub(place, &[]).0);
}
