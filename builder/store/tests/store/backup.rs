//! Backups: everything that was there comes back with the right bytes, also beside a collection; what is damaged, foreign,
//! full or interrupted is said, and takes no earlier generation with it.

mod rot;
mod trouble;

use crate::{fresh, noise, record, results, told, writer};
use anneal_content::{ActionDigest, ActionResult, BlobDigest, BlobSource as _, JournalHead, OutputName, TreeDigest};
use anneal_store::{Backed, Backup, ChunkHash, Error, FailureRecord, IngestRules, Meaning, Root, Store, Sweep, Swept};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    num::NonZeroUsize,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

const NO_MEANING: Meaning<'static> = Meaning { document: &|_| None, records: &[] };
/// A time after everything that these tests do.
const LATER_MS: u64 = 4_000_000_000_000;

fn built(store: &Store, number: u64) -> ActionDigest {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("bin")).unwrap();
    fs::write(dir.path().join("bin/tool"), noise(number, 5000)).unwrap();
    let tree = store.ingest(dir.path(), &IngestRules::default()).unwrap();
    let action = ActionDigest::of(&number.to_be_bytes());
    let result = ActionResult {
        outputs: BTreeMap::from([(OutputName::out(), tree)]),
        log: store.put_blob(format!("the log of {number}").as_bytes()).unwrap(),
        worker: "test".to_owned(),
        started_ms: 0,
        payload_ms: 0,
        limits_not_enforced: Vec::new(),
        variation: Vec::new(),
        built_with: BTreeMap::new(),
    };
    record(store, &action, &result).unwrap();
    action
}

/// A store with something of everything.
fn filled(store: &Store) -> Vec<ActionDigest> {
    let actions = (0..20).map(|number| built(store, number)).collect();
    store.put_blob(b"").unwrap();
    store.put_blob(&noise(77, (3 << 20) + 5)).unwrap();
    store.put_record("kind", "key", b"value").unwrap();
    let failure = FailureRecord {
        log: store.put_blob(b"it failed").unwrap(),
        summary: "no".into(),
        at_ms: 1,
        expires_ms: LATER_MS + 1,
    };
    store.record_failure(&ActionDigest::of(b"failed"), &failure).unwrap();
    let events: Vec<_> = (0..2500_u32).map(|number| format!("event {number}").into_bytes()).collect();
    store.append_events(&events).unwrap();
    actions
}

#[track_caller]
fn back_up(store: &Store, dir: &Path) -> Backed {
    store.backup(dir, &|| false).unwrap().seal(b"sealed").unwrap()
}

fn refused(outcome: Result<impl std::fmt::Debug, Error>, with: &[&str]) -> Error {
    let error = outcome.unwrap_err();
    let text = told(&error);
    assert!(with.iter().all(|part| text.contains(part)), "{text}");
    error
}

fn restore(backup: &Path, to: &Path) -> Store {
    let backup = Backup::open(backup).unwrap();
    backup.restore(&backup.generation(None).unwrap(), to, ChunkHash::Blake3).unwrap()
}

/// Every action's trees and logs can be read.
fn whole(store: &Store, actions: &[ActionDigest]) -> usize {
    let mut count = 0;
    for result in actions.iter().flat_map(|action| results(store, action)) {
        count += 1;
        store.read(&result.log).unwrap();
        for tree in result.outputs.values() {
            anneal_content::list(tree, store).unwrap();
            fs::read(store.materialize(tree).unwrap().join("bin/tool")).unwrap();
        }
    }
    count
}

fn collect_all(store: &Store) -> Swept {
    let collection = store.collection().unwrap();
    let survey = collection.survey(Vec::<Root>::new(), NO_MEANING, 0, LATER_MS).unwrap();
    let sweep = Sweep { meaning: NO_MEANING, remember: &BTreeSet::new(), stop: &|| false };
    collection.sweep(survey, &sweep).unwrap()
}

/// Every file of a backup that holds bytes by digest.
fn pool(dir: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(dir.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())).collect()
}

#[test]
fn what_was_backed_up_is_restored_to_the_last_byte_and_event() {
    let (dir, store) = fresh();
    let actions = filled(&store);
    let to = dir.path().join("backup");
    let backed = back_up(&store, &to);
    let stats = store.stats().unwrap();
    assert_eq!((backed.generation, backed.events, backed.blobs), (1, 2500, stats.blobs));
    assert_eq!((backed.bytes, &backed.damaged), (stats.blob_bytes, &Vec::new()));
    let head = store.journal_head().unwrap();
    let late = store.put_blob(b"after the backup").unwrap();
    store.append_events(&[b"after the backup".to_vec()]).unwrap();
    drop(store);
    fs::remove_dir_all(dir.path().join("store")).unwrap();

    let backup = Backup::open(&to).unwrap();
    let generation = backup.generation(None).unwrap();
    assert_eq!((generation.seal.as_slice(), generation.manifest.head), (b"sealed".as_slice(), head));
    assert_eq!(backup.check(&generation).unwrap().wrong, []);
    let fips = backup.restore(&generation, &dir.path().join("fips"), ChunkHash::Sha256).unwrap();
    assert_eq!(whole(&fips, &actions), 20);
    let store = restore(&to, &dir.path().join("store"));
    assert_eq!(store.journal_head().unwrap(), head);
    let events: Vec<_> = store.events_from(0).unwrap().map(|event| event.unwrap().1).collect();
    assert_eq!((events.len(), events[2499].as_slice()), (2500, b"event 2499".as_slice()));
    assert_eq!(whole(&store, &actions), 20);
    assert_eq!(store.read_blob(&BlobDigest::of(&noise(77, (3 << 20) + 5)), 1 << 30).unwrap(), noise(77, (3 << 20) + 5));
    assert_eq!(store.record("kind", "key").unwrap().unwrap(), b"value");
    assert!(store.failure(&ActionDigest::of(b"failed"), 5).unwrap().is_some());
    assert!(!store.has(&late).unwrap());
    let now = store.stats().unwrap();
    assert_eq!(
        (now.blobs, now.blob_bytes, now.results, now.records),
        (stats.blobs, stats.blob_bytes, 20, stats.records)
    );
    store.append_events(&[b"and on it goes".to_vec()]).unwrap();
    drop(store);
    writer(dir.path());
}

#[test]
fn an_empty_store_is_backed_up_too() {
    let (dir, store) = fresh();
    let to = dir.path().join("backup");
    assert_eq!(back_up(&store, &to).events, 0);
    assert_eq!(restore(&to, &dir.path().join("again")).journal_head().unwrap(), JournalHead::START);
}

#[test]
fn a_second_backup_copies_what_is_new_and_nothing_else() {
    let (dir, store) = fresh();
    filled(&store);
    let to = dir.path().join("backup");
    let first = back_up(&store, &to);
    assert!(first.copied_bytes > first.bytes, "{first:?}");
    let again = back_up(&store, &to);
    assert_eq!((again.generation, again.copied_files), (2, 0), "{again:?}");
    let new = store.put_blob(&noise(5, 100_000)).unwrap();
    store.append_events(&[b"one more".to_vec()]).unwrap();
    let third = back_up(&store, &to);
    // the blob, the part that lists it, the last part of the journal, the manifest
    assert_eq!((third.copied_files, third.blobs), (4, first.blobs + 1), "{third:?}");
    let backup = Backup::open(&to).unwrap();
    for number in 1..=3 {
        let generation = backup.generation(Some(number)).unwrap();
        assert_eq!(backup.check(&generation).unwrap().wrong, []);
        let store = backup.restore(&generation, &dir.path().join(number.to_string()), ChunkHash::Blake3).unwrap();
        assert_eq!(store.has(&new).unwrap(), number == 3);
    }
    refused(backup.generation(Some(4)), &["no generation 4: it has 1, 2, 3"]);
}

#[test]
fn old_generations_are_dropped_with_what_only_they_named() {
    let (dir, store) = fresh();
    let actions = filled(&store);
    let to = dir.path().join("backup");
    back_up(&store, &to);
    collect_all(&store);
    let kept = store.put_blob(b"kept").unwrap();
    back_up(&store, &to);
    store.put_record("kind", "another", b"value").unwrap();
    back_up(&store, &to);
    let files = pool(&to).len();
    let forgotten = Backup::forget(&to, NonZeroUsize::new(2).unwrap()).unwrap();
    assert_eq!((forgotten.generations.as_slice(), pool(&to).len()), ([1].as_slice(), files - forgotten.files as usize));
    assert!(forgotten.files > 60, "{forgotten:?}");
    let backup = Backup::open(&to).unwrap();
    for number in [2, 3] {
        let generation = backup.generation(Some(number)).unwrap();
        assert_eq!(backup.check(&generation).unwrap().wrong, []);
        let restored = backup.restore(&generation, &dir.path().join(number.to_string()), ChunkHash::Blake3).unwrap();
        assert!(restored.has(&kept).unwrap() && whole(&restored, &actions) == 0);
    }
    refused(backup.generation(Some(1)), &["it has 2, 3"]);
    let again = Backup::forget(&to, NonZeroUsize::new(2).unwrap()).unwrap();
    assert_eq!((again.generations, again.files), (vec![], 0));
    assert_eq!(back_up(&store, &to).generation, 4);
    // what stays cannot be read: nothing goes
    let manifest = backup.generation(None).unwrap().digest.hex();
    fs::write(to.join(format!("blobs/sha256/{}/{manifest}", &manifest[..2])), "{}").unwrap();
    let files = pool(&to).len();
    refused(Backup::forget(&to, NonZeroUsize::MIN), &["is damaged"]);
    assert_eq!((pool(&to).len(), fs::read_dir(to.join("generations")).unwrap().count()), (files, 3));
}

#[test]
fn a_collection_takes_nothing_that_a_backup_has_yet_to_copy() {
    let (dir, store) = fresh();
    let actions = filled(&store);
    let to = dir.path().join("backup");
    let swept = std::cell::OnceCell::new();
    // in the middle of the backup everything is garbage
    let collect = || {
        swept.get_or_init(|| collect_all(&store));
        false
    };
    let backed = store.backup(&to, &collect).unwrap().seal(b"").unwrap();
    assert_eq!(backed.damaged, []);
    let swept = swept.get().unwrap();
    assert!(swept.actions == 20 && swept.blobs == 0, "{swept:?}");
    assert_eq!(whole(&restore(&to, &dir.path().join("restored")), &actions), 20);
    // what was copied is not held any more
    assert_eq!(collect_all(&store).blobs, backed.blobs - 1, "the log of a failure that counts stays");
    assert_eq!(back_up(&store, &to).blobs, 1);
}

#[test]
fn a_backup_beside_collections_and_writers_is_of_one_moment() {
    let (dir, store) = fresh();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                let _lease = store.lease();
                let action = built(&store, number);
                store.append_events(&[action.as_bytes().to_vec()]).unwrap();
                if stop.load(std::sync::atomic::Ordering::Acquire) {
                    return;
                }
            }
        });
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Acquire) {
                collect_all(&store);
            }
        });
        let to = dir.path().join("backup");
        for round in 0..6 {
            std::thread::sleep(std::time::Duration::from_millis(60));
            let backed = back_up(&store, &to);
            assert_eq!(backed.damaged, []);
            let at = dir.path().join(format!("restored-{round}"));
            let restored = restore(&to, &at);
            let actions = restored.events_from(0).unwrap().map(|event| event.unwrap().1);
            let actions = actions.map(|event| ActionDigest::from_bytes(*event.first_chunk().unwrap()));
            whole(&restored, &actions.collect::<Vec<_>>());
        }
        stop.store(true, std::sync::atomic::Ordering::Release);
    });
}

#[test]
fn a_tree_that_was_restored_is_the_same_tree() {
    let (dir, store) = fresh();
    let from = dir.path().join("from");
    fs::create_dir_all(from.join("empty")).unwrap();
    fs::write(from.join("file"), "text").unwrap();
    fs::set_permissions(from.join("file"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("file", from.join("link")).unwrap();
    let tree: TreeDigest = store.ingest(&from, &IngestRules::default()).unwrap();
    let to = dir.path().join("backup");
    back_up(&store, &to);
    let restored = restore(&to, &dir.path().join("restored"));
    let at = restored.materialize(&tree).unwrap();
    assert_eq!(fs::read(at.join("file")).unwrap(), b"text");
    assert_eq!(fs::metadata(at.join("file")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read_link(at.join("link")).unwrap(), Path::new("file"));
    assert!(at.join("empty").is_dir());
}
