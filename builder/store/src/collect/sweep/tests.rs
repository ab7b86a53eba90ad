//! A sweep on a slow disk, and one beside a backup that ends while it goes on.

use super::*;
use crate::{OpenMode, Root, Store};
use anneal_content::{ActionResult, OutputName, SignedResult};
use std::{collections::BTreeMap, sync::Mutex};

#[test]
fn on_a_slow_disk_batches_shrink_until_nobody_waits_long_and_grow_again_when_it_recovers() {
    // a disk on which each thing takes 5 ms
    let slow = |size: usize| Duration::from_millis(5 * size as u64);
    let sizes: Vec<usize> =
        std::iter::successors(Some(BATCH), |size| Some(next_batch(*size, slow(*size)))).take(50).collect();
    assert!(sizes.iter().skip(5).all(|size| slow(*size) <= Duration::from_millis(50)), "{sizes:?}");
    let recovered = (0..20).fold(1, |size, _| next_batch(size, Duration::ZERO));
    assert_eq!(recovered, BATCH);
    assert_eq!(next_batch(1, Duration::from_secs(9)), 1, "one at a time is the least");
}

#[test]
fn results_that_a_backup_held_for_a_moment_do_not_outlive_what_they_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), OpenMode::ReadWrite).unwrap();
    // the results are one batch, what they name is in the next ones
    let (mut logs, mut damaged) = (Vec::new(), Vec::new());
    for number in 0..BATCH {
        let action = ActionDigest::of(&number.to_be_bytes());
        let source = tempfile::tempdir().unwrap();
        fs::write(source.path().join("file"), format!("file {number}")).unwrap();
        let tree = store.ingest(source.path(), &crate::IngestRules::default()).unwrap();
        let log = store.put_blob(format!("log {number}").as_bytes()).unwrap();
        let result = ActionResult {
            outputs: BTreeMap::from([(OutputName::out(), tree)]),
            log,
            worker: "test".to_owned(),
            started_ms: 0,
            payload_ms: 0,
            limits_not_enforced: Vec::new(),
            variation: Vec::new(),
            built_with: BTreeMap::new(),
        };
        let payload = SignedResult::payload_of(&action, &result).unwrap();
        let signed = SignedResult { payload, key_id: "ours".to_owned(), signature: String::new() };
        store.record_result(&signed, &|_| true).unwrap();
        logs.push(log);
        damaged.push(BlobDigest::of(format!("file {number}").as_bytes()));
    }
    for digest in &damaged {
        store.inner.take_out(digest, "a test").unwrap();
    }
    let meaning = Meaning { document: &|_| None, records: &[] };
    let collection = store.collection().unwrap();
    let survey = collection.survey(Vec::<Root>::new(), meaning, 0, 4_000_000_000_000).unwrap();
    let (hold, asked) = (Mutex::new(Some(store.inner.touches.hold().unwrap())), Mutex::new(0));
    let stop = || {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        if *asked == 2 {
            drop(hold.lock().unwrap().take());
        }
        false
    };
    let swept = collection.sweep(survey, &Sweep { meaning, remember: &BTreeSet::new(), stop: &stop }).unwrap();
    assert!(*asked.lock().unwrap() > 2 && swept.actions == 0, "{swept:?}");
    assert!(logs.iter().all(|log| store.has(log).unwrap()), "{swept:?}");
    assert_eq!(store.out_of_service().unwrap().len(), BATCH, "or a result that lacks a file would read as whole");
    let collection = store.collection().unwrap();
    let survey = collection.survey(Vec::new(), meaning, 0, 4_000_000_000_000).unwrap();
    let swept = collection.sweep(survey, &Sweep { meaning, remember: &BTreeSet::new(), stop: &|| false }).unwrap();
    assert_eq!((swept.actions, swept.records), (BATCH as u64, BATCH as u64), "{swept:?}");
    assert!(!store.lacks_something().unwrap() && store.stats().unwrap().blobs == 0);
}
