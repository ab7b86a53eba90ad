//! What the action cache keeps, whose word it takes, and what it forgets.

use super::*;
use crate::OpenMode;
use anneal_content::TreeDigest;

fn result(seed: u8) -> ActionResult {
    ActionResult {
        outputs: [(OutputName::out(), TreeDigest::from_bytes([seed; 32]))].into(),
        log: BlobDigest::of(b"log"),
        worker: "a test".to_owned(),
        started_ms: 0,
        payload_ms: 0,
        limits_not_enforced: Vec::new(),
        variation: Vec::new(),
        built_with: [].into(),
    }
}

fn signed_by(key_id: &str, action: &ActionDigest, result: &ActionResult) -> SignedResult {
    let payload = SignedResult::payload_of(action, result).unwrap();
    SignedResult { payload, key_id: key_id.to_owned(), signature: String::new() }
}

fn believes(signed: &SignedResult) -> bool {
    signed.key_id == "ours"
}

fn write_row(store: &Store, action: &ActionDigest, number: u32, value: Vec<u8>) {
    let mut changes = Changes::default();
    changes.put(Table::Results, [action.as_bytes().as_slice(), &number.to_be_bytes()].concat(), value);
    store.inner.write_db(changes).unwrap();
}

/// Every way in which a row can be nobody's word, written past the store's own door.
fn forgeries(action: &ActionDigest) -> [Vec<u8>; 5] {
    let of_another = signed_by("ours", &ActionDigest::of(b"another action"), &result(3));
    let garbled = SignedResult { payload: "{}".to_owned(), ..of_another.clone() };
    [
        serde_json::to_vec(&result(1)).unwrap(),
        serde_json::to_vec(&signed_by("theirs", action, &result(2))).unwrap(),
        serde_json::to_vec(&of_another).unwrap(),
        serde_json::to_vec(&garbled).unwrap(),
        b"no JSON".to_vec(),
    ]
}

#[test]
fn a_result_that_no_build_key_signed_for_this_action_is_never_used_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), OpenMode::ReadWrite).unwrap();
    let action = ActionDigest::of(b"an action");
    for (number, row) in forgeries(&action).into_iter().enumerate() {
        write_row(&store, &action, u32::try_from(number).unwrap(), row);
    }
    assert_eq!(store.results(&action, &believes).unwrap(), []);
    let told: Vec<String> = store.survey_results(&believes).unwrap().unsigned.into_iter().map(|(_, why)| why).collect();
    assert_eq!(told.len(), 5, "{told:?}");
    for (told, expected) in told.iter().zip([
        "no signature",
        "key theirs signed it",
        "as a result of action",
        "what was signed does not decode",
        "does not decode",
    ]) {
        assert!(told.contains(expected), "{told} for {expected}");
    }
}

#[test]
fn the_result_of_a_new_run_takes_the_place_of_what_nobody_vouches_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), OpenMode::ReadWrite).unwrap();
    let action = ActionDigest::of(b"an action");
    for (number, row) in forgeries(&action).into_iter().enumerate() {
        write_row(&store, &action, u32::try_from(number).unwrap(), row);
    }
    // the same outcome as the unsigned record says: it still needs its signature
    store.record_result(&signed_by("ours", &action, &result(1)), &believes).unwrap();
    assert_eq!(store.results(&action, &believes).unwrap(), [result(1)]);
    let survey = store.survey_results(&believes).unwrap();
    assert_eq!((survey.believed, survey.unsigned), (1, vec![]));
    assert_eq!(survey.logs.into_iter().collect::<Vec<_>>(), [(result(1).log, action)]);
    store.record_result(&signed_by("ours", &action, &result(2)), &believes).unwrap();
    assert_eq!(store.results(&action, &believes).unwrap(), [result(1), result(2)]);
}

#[test]
fn a_key_that_is_no_longer_trusted_takes_its_results_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), OpenMode::ReadWrite).unwrap();
    let action = ActionDigest::of(b"an action");
    store.record_result(&signed_by("ours", &action, &result(1)), &believes).unwrap();
    assert_eq!(store.results(&action, &|_| false).unwrap(), []);
    assert_eq!(store.survey_results(&|_| false).unwrap().unsigned.len(), 1);
}

#[test]
fn results_that_differ_are_the_report_of_a_build_that_is_not_deterministic() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), OpenMode::ReadWrite).unwrap();
    let (same, other) = (ActionDigest::of(b"same"), ActionDigest::of(b"other"));
    for (action, seed, started_ms) in [(same, 1, 1), (same, 1, 2), (other, 1, 1), (other, 2, 2), (other, 1, 3)] {
        let result = ActionResult { started_ms, ..result(seed) };
        store.record_result(&signed_by("ours", &action, &result), &believes).unwrap();
    }
    let forged = signed_by("theirs", &same, &result(9));
    write_row(&store, &same, 9, serde_json::to_vec(&forged).unwrap());
    let survey = store.survey_results(&believes).unwrap();
    let expected = Differing { action: other, results: 3, distinct: 2, outputs: vec![OutputName::out()] };
    assert_eq!((survey.differing, survey.believed), (vec![expected], 5));
}
