//! The journal: in order, without gaps, and not silently shorter than what was acknowledged.

use crate::{
    fresh,
    rot::{differing, everything},
    told, writer,
};
use anneal_store::{Error, OpenMode, Store};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn events(store: &Store, from: u64) -> Vec<(u64, Vec<u8>)> {
    store.events_from(from).unwrap().collect::<Result<_, _>>().unwrap()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn events_are_numbered_from_zero_without_gaps_over_restarts() {
    let (dir, store) = fresh();
    assert_eq!(store.append_events(&[]).unwrap(), 0);
    assert_eq!(store.append_events(&[b"a".to_vec(), vec![], b"c".to_vec()]).unwrap(), 0);
    assert_eq!(store.append_events(&[b"d".to_vec()]).unwrap(), 3);
    drop(store);
    let store = writer(dir.path());
    assert_eq!(store.append_events(&[b"e".to_vec()]).unwrap(), 4);
    assert_eq!(store.event_count().unwrap(), 5);
    let texts: Vec<_> =
        events(&store, 0).into_iter().map(|(seq, bytes)| (seq, String::from_utf8(bytes).unwrap())).collect();
    let expected: Vec<_> = (0..).zip(["a", "", "c", "d", "e"].map(String::from)).collect();
    assert_eq!(texts, expected);
    assert_eq!(events(&store, 3), [(3, b"d".to_vec()), (4, b"e".to_vec())]);
    assert!(events(&store, 5).is_empty() && events(&store, 99).is_empty());
}

#[test]
fn appends_from_many_threads_do_not_mix() {
    let (_dir, store) = fresh();
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..20 {
                    let first = store.append_events(&[vec![thread, number, 0], vec![thread, number, 1]]).unwrap();
                    let pair: Vec<_> = events(store, first).into_iter().take(2).map(|(_, bytes)| bytes).collect();
                    assert_eq!(pair, [vec![thread, number, 0], vec![thread, number, 1]]);
                }
            });
        }
    });
    assert_eq!(events(&store, 0).len(), 160);
}

#[test]
fn an_event_longer_than_the_limit_is_refused() {
    let (_dir, store) = fresh();
    let limit = 16 << 20;
    let error = store.append_events(&[vec![0; limit + 1]]).unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error}");
    store.append_events(&[vec![0; limit]]).unwrap();
    assert_eq!(store.event_count().unwrap(), 1);
}

#[test]
fn a_database_that_lost_acknowledged_events_does_not_open() {
    let (dir, store) = fresh();
    let at = store.dir().to_owned();
    store.append_events(&[b"kept".to_vec()]).unwrap();
    drop(store);
    let old = dir.path().join("old");
    copy(&at.join("db"), &old);
    writer(dir.path()).append_events(&[b"lost".to_vec()]).unwrap();
    fs::remove_dir_all(at.join("db")).unwrap();
    copy(&old, &at.join("db"));
    let error = Store::open(&at, OpenMode::ReadWrite).unwrap_err();
    assert!(matches!(error, Error::Shortened { .. }), "{}", told(&error));
}

#[test]
fn a_rewritten_last_event_and_a_lost_head_are_noticed_but_a_torn_head_is_not_fatal() {
    let (dir, store) = fresh();
    let at = store.dir().to_owned();
    for event in [b"a", b"b", b"c"] {
        store.append_events(&[event.to_vec()]).unwrap();
    }
    drop(store);
    let head = fs::read(at.join("HEAD")).unwrap();
    // one slot torn: the other one counts, and it names an event that is there
    for slot in [0, 64] {
        let mut torn = head.clone();
        torn[slot + 20] ^= 1;
        fs::write(at.join("HEAD"), torn).unwrap();
        drop(writer(dir.path()));
    }
    for cut in [None, Some(0), Some(40), Some(128)] {
        match cut {
            None => fs::remove_file(at.join("HEAD")).unwrap(),
            Some(bytes) => fs::write(at.join("HEAD"), &head[..bytes]).unwrap(),
        }
        let before = everything(&at);
        for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
            let error = Store::open(&at, mode).unwrap_err();
            assert!(matches!(error, Error::HeadLost { .. }), "{cut:?}: {}", told(&error));
            assert!(told(&error).contains("HEAD"), "{error}");
            assert_eq!(differing(&before, &everything(&at)), [] as [PathBuf; 0], "{cut:?}");
        }
    }
    // another history of the same length
    let (_other_dir, other) = fresh();
    for _ in 0..3 {
        other.append_events(&[b"x".to_vec()]).unwrap();
    }
    fs::copy(other.dir().join("HEAD"), at.join("HEAD")).unwrap();
    let error = Store::open(&at, OpenMode::ReadWrite).unwrap_err();
    assert!(told(&error).contains("not the event that was acknowledged"), "{error}");
}
