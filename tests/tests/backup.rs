//! The backup drill: a daemon under load is backed up beside its work, lost, and restored; and who saw more of the journal
//! than came back is told so by a signed record, and of tampering otherwise.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]
#![allow(clippy::print_stderr, reason = "what was measured is for whoever runs it")]

use anneal_tests::{Daemon, Notes, Place, copy_tree, note_advisory, scratch, sha256, wait_for};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What was acknowledged so far.
#[derive(Default)]
struct Acknowledged {
    advisories: Mutex<BTreeSet<String>>,
    /// Manifests, and those of them that are published.
    images: Mutex<BTreeSet<String>>,
    published: Mutex<BTreeSet<String>>,
}

/// As much of it as there was at one moment.
struct Seen {
    advisories: BTreeSet<String>,
    images: BTreeSet<String>,
    published: BTreeSet<String>,
}

impl Acknowledged {
    fn seen(&self) -> Seen {
        let [advisories, images, published] =
            [&self.advisories, &self.images, &self.published].map(|set| set.lock().unwrap().clone());
        Seen { advisories, images, published }
    }

    /// Takes in advisories that touch nothing, one after the other.
    fn import(&self, place: &Place, dir: &Path, stop: &AtomicBool) {
        for number in 0.. {
            let id = format!("LOAD-2026-{number}");
            let file = dir.join(format!("{id}.json"));
            let record = String::from_utf8(note_advisory(&id, "1.1")).unwrap().replace("note\"", "elsewhere\"");
            fs::write(&file, record).unwrap();
            place.anneal(&["advisory", "import", text(&file)]).fine();
            self.advisories.lock().unwrap().insert(id);
            if stop.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Changes the recipe again and again, and approves what comes of it.
    fn build_and_approve(&self, notes: &Notes, key: &Path, stop: &AtomicBool) {
        let place = &notes.place;
        let recipe = fs::read_to_string(notes.recipe()).unwrap();
        for number in 0.. {
            let step = format!("'install -Dm644 /src/note.txt \"$OUT/usr/share/note/{number}.txt\"',\n]\n\n[runtime]");
            fs::write(notes.recipe(), recipe.replace("]\n\n[runtime]", &format!("  {step}"))).unwrap();
            place.anneal(&["build", "--quiet"]).fine();
            let newest = place.candidates().into_iter().max_by_key(|c| c["id"].as_u64()).unwrap();
            let (id, manifest) = (format!("c{}", newest["id"]), newest["manifest"].as_str().unwrap().to_owned());
            self.images.lock().unwrap().insert(manifest.clone());
            if newest["status"] == "open" && place.approve(&id, key).code == 0 {
                wait_for("the publication", PATIENCE, || {
                    let found = place.candidates().into_iter().find(|c| format!("c{}", c["id"]) == id);
                    (found.unwrap()["status"] == "published").then_some(())
                });
                self.published.lock().unwrap().insert(manifest);
            }
            if stop.load(Ordering::Acquire) {
                return;
            }
        }
    }
}

/// Asks for a page all the while; gives the longest time that it took.
fn longest_answer(daemon: &Daemon, stop: &AtomicBool) -> Duration {
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::Acquire) {
        let begun = Instant::now();
        assert_eq!(daemon.get("/v2/").status, 200);
        longest = longest.max(begun.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    longest
}

/// A published image can be pulled: manifest, config and layers have their digests.
fn pulls(daemon: &Daemon, manifest: &str) {
    let got = daemon.get(&format!("/v2/note/manifests/{manifest}"));
    assert_eq!((got.status, format!("sha256:{}", sha256(&got.body)).as_str()), (200, manifest));
    let json = got.json();
    for part in json["layers"].as_array().unwrap().iter().chain([&json["config"]]) {
        let digest = part["digest"].as_str().unwrap();
        let blob = daemon.get(&format!("/v2/note/blobs/{digest}"));
        assert_eq!((blob.status, format!("sha256:{}", sha256(&blob.body)).as_str()), (200, digest));
    }
    let referrers = daemon.get(&format!("/v2/note/referrers/{manifest}")).json();
    assert!(referrers["manifests"].as_array().unwrap().len() >= 4, "{referrers}");
}

fn back_up(place: &Place, to: &Path) -> serde_json::Value {
    place.anneal(&["store", "backup", text(to), "--json"]).fine().json()
}

fn checkpoint(place: &Place, to: PathBuf) -> PathBuf {
    place.anneal(&["log", "head", "-o", text(&to)]).fine();
    to
}

fn verify(place: &Place, since: &Path, key: &Path) -> serde_json::Value {
    place.anneal(&["log", "verify", "--since", text(since), "--key", text(key), "--json"]).fine().json()
}

#[test]
fn a_daemon_that_was_lost_under_load_is_restored_with_all_that_was_acknowledged_before_the_backup() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let (backups, log_key) = (dir.path().join("backups"), dir.path().join("log.pub"));
    let daemon = Daemon::start(place, &["env", "ANNEAL_KEEP_DAYS=0"]);
    place.anneal(&["build", "--quiet"]).fine();
    let key = place.approver("ada");
    place.anneal(&["key", "export", "log", "-o", text(&log_key)]).fine();
    let early = checkpoint(place, dir.path().join("early"));

    let (stop, done) = (AtomicBool::new(false), Acknowledged::default());
    let backing_up = AtomicBool::new(false);
    let (before, second) = std::thread::scope(|scope| {
        scope.spawn(|| done.import(place, dir.path(), &stop));
        scope.spawn(|| done.build_and_approve(&notes, &key, &stop));
        wait_for("a publication", PATIENCE, || (!done.seen().published.is_empty()).then_some(()));
        let asking = scope.spawn(|| longest_answer(&daemon, &backing_up));
        let begun = Instant::now();
        let first = back_up(place, &backups);
        eprintln!("the first backup took {} ms: {first}", begun.elapsed().as_millis());
        place.anneal(&["store", "gc"]).fine();
        let published = done.seen().published.len();
        wait_for("another publication", PATIENCE, || (done.seen().published.len() > published).then_some(()));
        let before = done.seen();
        let begun = Instant::now();
        let second = back_up(place, &backups);
        eprintln!("the second backup took {} ms: {second}", begun.elapsed().as_millis());
        backing_up.store(true, Ordering::Release);
        eprintln!("the longest answer beside them took {} ms", asking.join().unwrap().as_millis());
        let advisories = before.advisories.len();
        wait_for("work after the backup", PATIENCE, || (done.seen().advisories.len() > advisories + 3).then_some(()));
        stop.store(true, Ordering::Release);
        assert_eq!((&first["generation"], &second["generation"]), (&1.into(), &2.into()));
        assert!(second["copied_bytes"].as_u64() < first["copied_bytes"].as_u64(), "only what is new is copied");
        (before, second)
    });
    let late = checkpoint(place, dir.path().join("late"));
    let all = place.events().len() as u64;
    let keys = dir.path().join("keys-kept-apart");
    copy_tree(&place.state.join("keys"), &keys);
    place.anneal(&["store", "backup", text(&backups), "--check"]).fine();
    daemon.kill();
    fs::remove_dir_all(&place.state).unwrap();

    place.anneal(&["store", "restore", text(&backups)]).refused(2, &["no secret keys", "--keys DIR", "--new-keys"]);
    let restored =
        place.anneal(&["store", "restore", text(&backups), "--keys", text(&keys), "--by", "grace", "--json"]);
    let restored = restored.fine().json();
    assert_eq!((&restored["backup"], &restored["events"]), (&2.into(), &second["events"]), "{restored}");
    place.anneal(&["store", "restore", text(&backups), "--keys", text(&keys)]).refused(2, &["has a store already"]);
    Notes::link_root(&place.state);
    let daemon = place.daemon();
    place.anneal(&["store", "scrub"]).fine();
    let known = place.anneal(&["advisory", "list", "--json"]).fine().out;
    for id in &before.advisories {
        assert!(known.contains(&format!("\"{id}\"")), "{id} was acknowledged");
    }
    for manifest in &before.images {
        place.anneal(&["image", "show", manifest]).fine();
    }
    for manifest in &before.published {
        pulls(&daemon, manifest);
    }
    assert_eq!(verify(place, &early, &log_key)["verdict"], "consistent");
    let told = verify(place, &late, &log_key);
    let events = second["events"].as_u64().unwrap();
    assert!(events < all);
    assert_eq!(
        (&told["verdict"], &told["lost"]),
        (&"restored".into(), &serde_json::json!([events, all - 1])),
        "{told}"
    );
    assert_eq!((&told["record"]["by"], &told["record"]["backup"]), (&"grace".into(), &2.into()), "{told}");
    let journal = place.anneal(&["log"]).fine().out;
    assert!(journal.contains("restored by grace from backup 2"), "{journal}");
    let newer = checkpoint(place, dir.path().join("newer"));
    place.anneal(&["build", "--quiet"]).fine();
    assert_eq!(verify(place, &newer, &log_key)["verdict"], "consistent");
    // it goes on, and is backed up into the same place
    let third = place.anneal(&["store", "backup", text(&backups), "--keep", "1", "--json"]).fine().json();
    assert_eq!((&third["generation"], &third["forgotten"]["generations"]), (&3.into(), &serde_json::json!([1, 2])));
    place.anneal(&["store", "backup", text(&backups), "--check"]).fine();
    daemon.stop();
}

#[test]
fn a_store_that_was_put_back_without_a_record_is_tampered_with() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let log_key = dir.path().join("log.pub");
    let daemon = place.daemon();
    place.anneal(&["build", "--quiet"]).fine();
    place.anneal(&["key", "export", "log", "-o", text(&log_key)]).fine();
    daemon.stop();
    let old = dir.path().join("old");
    copy_tree(&place.state.join("store"), &old);
    let daemon = place.daemon();
    place.approver("mallory");
    let seen = checkpoint(place, dir.path().join("seen"));
    daemon.stop();
    assert_eq!(verify(place, &seen, &log_key)["verdict"], "consistent", "without a daemon it is the same");
    fs::remove_dir_all(place.state.join("store")).unwrap();
    copy_tree(&old, &place.state.join("store"));
    let said = ["the journal was tampered with", "no signed restore record explains that"];
    let ask = ["log", "verify", "--since", text(&seen), "--key", text(&log_key)];
    place.anneal(&ask).refused(1, &said);
    let daemon = place.daemon();
    place.anneal(&ask).refused(1, &said);
    place.approver("eve");
    place.anneal(&ask).refused(1, &["are not those that were seen"]);
    daemon.stop();
    // a checkpoint of another key is none
    let stranger = dir.path().join("stranger.pem");
    place.anneal(&["key", "new", text(&stranger)]).fine();
    let other = stranger.with_extension("pem.pub");
    let ask = ["log", "verify", "--since", text(&seen), "--key", text(&other)];
    place.anneal(&ask).refused(1, &["is no checkpoint of this log key"]);
}

#[test]
fn a_backup_is_refused_checked_and_restored_as_asked() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let (backups, log_key) = (dir.path().join("backups"), dir.path().join("log.pub"));
    let daemon = place.daemon();
    place.anneal(&["build", "--quiet"]).fine();
    place.anneal(&["key", "export", "log", "-o", text(&log_key)]).fine();
    place.anneal(&["store", "backup", text(&place.catalog)]).refused(2, &["no BACKUP file in it"]);
    place.anneal(&["store", "backup", text(&place.state.join("backup"))]).refused(2, &["is in the state directory"]);
    place.anneal(&["store", "backup", text(&backups), "--with-keys"]).fine();
    daemon.stop();
    // without a daemon, beneath its lock
    place.anneal(&["store", "backup", text(&backups)]).fine();
    let elsewhere = Place::new(&dir.path().join("elsewhere"), &place.catalog);
    let check = ["store", "backup", text(&backups), "--check", "--key", text(&log_key)];
    elsewhere.anneal(&check).fine();
    elsewhere
        .anneal(&["store", "backup", text(&backups), "--check", "--generation", "7"])
        .refused(2, &["no generation 7"]);

    // the seal of one generation under another, and a generation that somebody else sealed
    let generation = |number: u64| backups.join(format!("generations/{number}"));
    let (one, two) = (fs::read(generation(1)).unwrap(), fs::read(generation(2)).unwrap());
    fs::write(generation(2), &one).unwrap();
    elsewhere.anneal(&check).refused(1, &["is not the daemon's own", "generation 1"]);
    fs::write(generation(2), &two).unwrap();
    let stranger = Notes::ready(&dir.path().join("stranger"));
    let (theirs, daemon) = (dir.path().join("theirs"), stranger.place.daemon());
    stranger.place.anneal(&["store", "backup", text(&theirs)]).fine();
    daemon.stop();
    elsewhere
        .anneal(&["store", "backup", text(&theirs), "--check", "--key", text(&log_key)])
        .refused(1, &["is not the daemon's own", "signature"]);
    let (theirs, keys) = (text(&theirs).to_owned(), backups.join("keys"));
    elsewhere.anneal(&["store", "restore", &theirs, "--keys", text(&keys)]).refused(1, &["is not the daemon's own"]);

    // one bit of one file
    let folders = fs::read_dir(backups.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let victim = folders
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|file| file.unwrap().path())
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let good = fs::read(&victim).unwrap();
    let mut bad = good.clone();
    bad[3] ^= 8;
    fs::write(&victim, &bad).unwrap();
    let name = victim.file_name().unwrap().to_str().unwrap().to_owned();
    elsewhere.anneal(&check).refused(1, &["damaged"]);
    elsewhere.anneal(&["store", "restore", text(&backups)]).refused(1, &[&name, "is damaged", "earlier generation"]);
    fs::write(&victim, good).unwrap();

    // the interrupted restore is begun anew, with the keys that are in the backup
    fs::write(elsewhere.state.join("other"), "").unwrap();
    elsewhere.anneal(&["store", "restore", text(&backups)]).refused(2, &["is not empty (other is in it)"]);
    fs::remove_file(elsewhere.state.join("other")).unwrap();
    elsewhere.anneal(&["store", "restore", text(&backups), "--generation", "1"]).fine();
    Notes::link_root(&elsewhere.state);
    let daemon = elsewhere.daemon();
    assert_eq!(elsewhere.candidates().len(), 1);
    let exported = elsewhere.anneal(&["key", "export", "log"]).fine().out;
    assert_eq!(exported, fs::read_to_string(&log_key).unwrap());
    daemon.stop();

    // where all keys are lost
    let anew = Place::new(&dir.path().join("anew"), &place.catalog);
    let said = anew.anneal(&["store", "restore", text(&backups), "--new-keys"]).fine();
    assert!(said.out.contains("the keys are new, and the backup's seal was not verified"), "{}", said.out);
    assert_ne!(anew.anneal(&["key", "export", "log"]).fine().out, exported);
}
