//! The action cache and the small records.

use crate::{fresh, record, results, told, writer};
use anneal_content::{ActionDigest, ActionResult, BlobDigest, OutputName, TreeDigest};
use anneal_store::{Error, FailureRecord, RESULTS_MAX};

fn result(seed: u8) -> ActionResult {
    ActionResult {
        outputs: [(OutputName::new("out").unwrap(), TreeDigest::from_bytes([seed; 32]))].into(),
        log: BlobDigest::of(&[seed]),
        worker: "a test".to_owned(),
        started_ms: u64::from(seed),
        payload_ms: 1,
        limits_not_enforced: vec![],
        variation: vec![],
        built_with: [].into(),
    }
}

#[test]
fn results_are_added_never_replaced_and_the_same_one_counts_once() {
    let (dir, store) = fresh();
    // the last action's digest has no successor among prefixes
    let actions = [ActionDigest::of(b"a"), ActionDigest::of(b"b"), ActionDigest::from_bytes([255; 32])];
    for action in &actions {
        assert!(results(&store, action).is_empty());
        for seed in [3, 1, 2, 1, 3] {
            record(&store, action, &result(seed)).unwrap();
        }
    }
    drop(store);
    let store = writer(dir.path());
    for action in &actions {
        assert_eq!(results(&store, action), [result(3), result(1), result(2)]);
    }
    let stats = store.stats().unwrap();
    assert_eq!((stats.actions, stats.results), (3, 9));
}

#[test]
fn an_action_has_a_limit_of_results() {
    let (_dir, store) = fresh();
    let action = ActionDigest::of(b"a");
    for started_ms in 0..RESULTS_MAX as u64 {
        record(&store, &action, &ActionResult { started_ms, ..result(0) }).unwrap();
    }
    let error = record(&store, &action, &result(1)).unwrap_err();
    assert!(matches!(error, Error::TooManyResults { .. }), "{error}");
    assert_eq!(results(&store, &action).len(), RESULTS_MAX);
}

#[test]
fn a_failure_counts_until_it_expires_or_a_result_comes() {
    let (_dir, store) = fresh();
    let action = ActionDigest::of(b"a");
    let failure = FailureRecord {
        log: BlobDigest::of(b"log"),
        summary: "step 2 exited with 1".to_owned(),
        at_ms: 100,
        expires_ms: 200,
    };
    assert_eq!(store.failure(&action, 100).unwrap(), None);
    store.record_failure(&action, &failure).unwrap();
    assert_eq!(store.failure(&action, 199).unwrap(), Some(failure.clone()));
    assert_eq!(store.failure(&action, 200).unwrap(), None);
    let later = FailureRecord { expires_ms: 300, ..failure };
    store.record_failure(&action, &later).unwrap();
    assert_eq!(store.failure(&action, 200).unwrap(), Some(later));
    record(&store, &action, &result(1)).unwrap();
    assert_eq!(store.failure(&action, 200).unwrap(), None);
}

#[test]
fn records_are_kept_apart_by_kind_and_sorted_by_key() {
    let (dir, store) = fresh();
    for (kind, key, value) in
        [("key", "b", "1"), ("key", "a", "2"), ("keys", "c", "3"), ("ke", "y", "4"), ("key", "b", "5")]
    {
        store.put_record(kind, key, value.as_bytes()).unwrap();
    }
    drop(store);
    let store = writer(dir.path());
    let pairs = |kind| store.records(kind).unwrap();
    assert_eq!(pairs("key"), [("a".to_owned(), b"2".to_vec()), ("b".to_owned(), b"5".to_vec())]);
    assert_eq!(pairs("keys").len(), 1);
    store.remove_record("key", "a").unwrap();
    assert_eq!(store.record("key", "a").unwrap(), None);
    assert_eq!(store.record("ke", "y").unwrap().unwrap(), b"4");
    for (kind, key) in
        [("", "a"), ("a\0b", "c"), ("a", ""), ("a", "b\0"), (&"k".repeat(65), "a"), ("a", &"k".repeat(1025))]
    {
        let error = store.put_record(kind, key, b"").unwrap_err();
        assert!(told(&error).contains("is not a record"), "{error}");
    }
    store.put_record(&"k".repeat(64), &"k".repeat(1024), b"").unwrap();
}
