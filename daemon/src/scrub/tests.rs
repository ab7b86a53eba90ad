//! A scrub of the daemon: when it begins, how fast it goes, and where it goes on.

use super::*;
use anneal_store::{Meaning, Node, OpenMode, Root, Sweep};
use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

fn scrubbed(store: &Store, passed: &(dyn Fn(u16, &Report) + Sync)) -> Report {
    let how = How {
        trusted: &Keyring::new(),
        threads: 2,
        throttle: &Throttle::new(0),
        stop: &|| false,
        tally: &Tally::default(),
        passed,
    };
    scrub(store, &how, 0, Report::default()).unwrap()
}

fn file_of(dir: &Path, digest: &BlobDigest) -> std::path::PathBuf {
    let hex = digest.hex();
    dir.join("blobs/sha256").join(&hex[..2]).join(&hex)
}

#[test]
fn a_store_in_which_every_byte_is_right_has_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path(), OpenMode::ReadWrite).unwrap().put_blobs(&[b"whole", b"", b"more"]).unwrap());
    let store = Store::open(dir.path(), OpenMode::ReadOnly).unwrap();
    let report = scrubbed(&store, &|_, _| {});
    assert_eq!((report.blobs, report.bytes, report.damage.len()), (3, 9, 0));
}

#[test]
fn what_was_changed_is_corrupt_and_what_was_removed_is_missing_for_readers_and_for_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Store::open(dir.path(), OpenMode::ReadWrite).unwrap().put_blobs(&[b"whole", b"gone", b"good"]).unwrap();
    std::fs::write(file_of(dir.path(), &blobs[0]), b"whale").unwrap();
    std::fs::remove_file(file_of(dir.path(), &blobs[1])).unwrap();
    for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
        let report = scrubbed(&Store::open(dir.path(), mode).unwrap(), &|_, _| {});
        assert_eq!(report.damage[&blobs[0].to_string()].kind, Kind::Corrupt, "{report:?}");
        assert_eq!(report.damage[&blobs[1].to_string()].kind, Kind::Missing, "{report:?}");
        assert_eq!((report.blobs, report.damage.len()), (1, 2));
    }
}

#[test]
fn a_scrub_that_was_stopped_goes_on_where_it_was_and_finds_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), OpenMode::ReadWrite).unwrap();
    let contents: Vec<Vec<u8>> = (0..500_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    let blobs = store.put_blobs(&contents).unwrap();
    std::fs::write(file_of(dir.path(), &blobs[7]), b"else").unwrap();
    drop(store);
    let store = Store::open(dir.path(), OpenMode::ReadOnly).unwrap();
    let whole = scrubbed(&store, &|_, _| {});
    let (stop, reached) = (AtomicBool::new(false), std::sync::Mutex::new((0, Report::default())));
    let how = How {
        trusted: &Keyring::new(),
        threads: 3,
        throttle: &Throttle::new(0),
        stop: &|| stop.load(Ordering::Acquire),
        tally: &Tally::default(),
        passed: &|next, report| {
            *reached.lock().unwrap() = (next, report.clone());
            stop.store(next == 100, Ordering::Release);
        },
    };
    assert!(scrub(&store, &how, 0, Report::default()).unwrap().stopped);
    let (next, before) = reached.lock().unwrap().clone();
    assert!(next == 100 && before.blobs < 500);
    stop.store(false, Ordering::Release);
    assert_eq!(scrub(&store, &How { stop: &|| false, ..how }, next, before).unwrap(), whole);
    assert_eq!((whole.blobs, whole.damage.len()), (499, 1));
}

#[test]
fn a_result_that_nobody_vouches_for_is_counted_as_unsigned() {
    use anneal_attest::{Role, SecretKey, sign_result};
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), OpenMode::ReadWrite).unwrap();
    let key = SecretKey::generate(Role::Build, &mut getrandom::SysRng).unwrap();
    let result = anneal_content::ActionResult {
        outputs: BTreeMap::new(),
        log: BlobDigest::of(b"log"),
        worker: "a test".into(),
        started_ms: 0,
        payload_ms: 0,
        limits_not_enforced: vec![],
        variation: vec![],
        built_with: [].into(),
    };
    let signed = sign_result(&anneal_content::ActionDigest::of(b"a"), &result, &key).unwrap();
    store.record_result(&signed, &|_| true).unwrap();
    let mut trusted = Keyring::new();
    trusted.trust(Role::Build, key.public().clone()).unwrap();
    for (trusted, unsigned) in [(trusted, 0), (Keyring::new(), 1)] {
        let how = How {
            trusted: &trusted,
            threads: 2,
            throttle: &Throttle::new(0),
            stop: &|| false,
            tally: &Tally::default(),
            passed: &|_, _| {},
        };
        let report = scrub(&store, &how, 0, Report::default()).unwrap();
        assert_eq!((report.count(Kind::Unsigned), report.results), (unsigned, 1 - unsigned));
    }
}

/// A collector that never rests, one scrub after the other by the writer and by readers, and blobs that come and go.
#[test]
fn a_scrub_beside_collections_never_takes_what_was_collected_for_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), OpenMode::ReadWrite).unwrap();
    let kept = store.put_blob(b"kept").unwrap();
    let stop = AtomicBool::new(false);
    let (mut scrubs, mut gone) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0_u64;
            while !stop.load(Ordering::Acquire) {
                round += 1;
                let contents: Vec<Vec<u8>> =
                    (0..200_u64).map(|n| (round % 3 * 1000 + n).to_be_bytes().to_vec()).collect();
                let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
                store.put_blobs(&contents).unwrap();
            }
        });
        let collector = scope.spawn(|| {
            let meaning = Meaning { document: &|_| None, records: &[] };
            let mut gone = 0;
            while !stop.load(Ordering::Acquire) {
                let collection = store.collection().unwrap();
                let root = Root { node: Node::Blob(kept), kind: "kept", why: "a test".into() };
                let survey = collection.survey(vec![root], meaning, 0, u64::MAX / 2).unwrap();
                let how = Sweep { meaning, remember: &BTreeSet::new(), stop: &|| stop.load(Ordering::Acquire) };
                gone += collection.sweep(survey, &how).unwrap().blobs;
            }
            gone
        });
        let until = std::time::Instant::now() + std::time::Duration::from_secs(6);
        while std::time::Instant::now() < until {
            for mode in [OpenMode::ReadWrite, OpenMode::ReadOnly] {
                let seen =
                    if mode == OpenMode::ReadWrite { store.clone() } else { Store::open(dir.path(), mode).unwrap() };
                let report = scrubbed(&seen, &|_, _| {});
                assert!(report.damage.is_empty(), "{report:?}");
                assert!(report.blobs >= 1);
                scrubs += 1;
            }
        }
        stop.store(true, Ordering::Release);
        gone = collector.join().unwrap();
    });
    assert!(scrubs >= 4 && gone > 200, "{scrubs} scrubs, {gone} collected");
    assert_eq!(store.stats().unwrap().damaged_blobs, 0);
}

#[test]
fn a_damaged_table_is_one_finding_however_many_blobs_have_their_rows_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), OpenMode::ReadWrite).unwrap();
    let contents: Vec<Vec<u8>> = (0..400_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    store.put_blobs(&contents.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    drop(store);
    // an open writes what is only in the log to tables
    drop(Store::open(dir.path(), OpenMode::ReadWrite).unwrap());
    let tables = std::fs::read_dir(dir.path().join("db")).unwrap().map(|entry| entry.unwrap().path());
    let [table] = &tables.filter(|path| path.extension().is_some_and(|kind| kind == "sst")).collect::<Vec<_>>()[..]
    else {
        panic!("expected one table")
    };
    let mut bytes = std::fs::read(table).unwrap();
    bytes[100] ^= 1;
    std::fs::write(table, bytes).unwrap();
    for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
        let report = scrubbed(&Store::open(dir.path(), mode).unwrap(), &|_, _| {});
        let found: Vec<_> = report.damage.iter().map(|(what, one)| (what.as_str(), one.kind)).collect();
        assert_eq!(found, [("the database's table `blobs`", Kind::Corrupt)], "{report:?}");
        let why = &report.damage.values().next().unwrap().why;
        assert!(why.contains("`anneal store scrub --mend` without a daemon makes it again"), "{why}");
    }
}

#[test]
fn a_damaged_slot_of_the_head_is_found_by_a_reader_and_mended_by_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path(), OpenMode::ReadWrite).unwrap().append_events(&[b"event".to_vec()]).unwrap();
    let head = dir.path().join("HEAD");
    let whole = std::fs::read(&head).unwrap();
    let store = Store::open(dir.path(), OpenMode::ReadWrite).unwrap();
    let mut bytes = whole.clone();
    bytes[70] ^= 8;
    std::fs::write(&head, bytes).unwrap();
    let seen = scrubbed(&Store::open(dir.path(), OpenMode::ReadOnly).unwrap(), &|_, _| {});
    assert_eq!(seen.damage["the file HEAD"].kind, Kind::Corrupt, "{seen:?}");
    let mended = scrubbed(&store, &|_, _| {});
    assert!(!mended.damage.contains_key("the file HEAD") && mended.mended.contains_key("the file HEAD"), "{mended:?}");
    let again = scrubbed(&Store::open(dir.path(), OpenMode::ReadOnly).unwrap(), &|_, _| {});
    assert!(!again.damage.contains_key("the file HEAD"), "{again:?}");
}
