//! Opening: one writer, any number of readers, and nothing touched where it is not a store.

use crate::{
    fresh,
    full_disk::Disk,
    journal::copy,
    rot::{differing, everything},
    told, writer,
};
use anneal_content::{ActionDigest, BlobDigest, BlobSource as _, TreeDigest};
use anneal_store::{Error, FailureRecord, IngestRules, OpenMode, Store};
use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn a_second_writer_is_refused_and_told_who_holds_the_store() {
    let (dir, store) = fresh();
    let error = Store::open(store.dir(), OpenMode::ReadWrite).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert!(told(&error).contains(&format!("process {}", std::process::id())), "{error}");
    drop(store);
    drop(writer(dir.path()));
}

#[test]
fn a_reader_sees_what_was_acknowledged_before_it_opened_also_beside_the_writer() {
    let (_dir, store) = fresh();
    let digest = store.put_blob(b"hello").unwrap();
    store.append_events(&[b"event".to_vec()]).unwrap();
    let reader = Store::open(store.dir(), OpenMode::ReadOnly).unwrap();
    let later = store.put_blob(b"later").unwrap();
    assert_eq!(reader.read(&digest).unwrap(), b"hello");
    assert_eq!(reader.events_from(0).unwrap().count(), 1);
    assert!(!reader.has(&later).unwrap());
    let again = Store::open(store.dir(), OpenMode::ReadOnly).unwrap();
    assert_eq!(again.read(&later).unwrap(), b"later");
    drop(store);
    assert_eq!(reader.stats().unwrap().blobs, 1);
    assert_eq!(again.stats().unwrap().blobs, 2);
}

#[test]
fn a_reader_opens_again_and_again_while_the_writer_flushes_its_tables() {
    let (_dir, store) = fresh();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            // enough to fill several write buffers, so that files come and go under the readers
            for number in 0..40_u32 {
                store.put_record("big", &number.to_string(), &crate::noise(u64::from(number), 1 << 20)).unwrap();
            }
        });
        let mut opened = 0;
        while !writing.is_finished() || opened < 10 {
            let reader = Store::open(store.dir(), OpenMode::ReadOnly).unwrap();
            let count = reader.records("big").unwrap().len();
            assert!(reader.record("big", &count.to_string()).unwrap().is_none());
            opened += 1;
        }
    });
    assert_eq!(Store::open(store.dir(), OpenMode::ReadOnly).unwrap().records("big").unwrap().len(), 40);
}

#[test]
fn a_reader_writes_nothing() {
    let (dir, store) = fresh();
    let digest = store.put_blob(b"hello").unwrap();
    let at = store.dir().to_owned();
    drop(store);
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&at)
            .unwrap()
            .chain(fs::read_dir(at.join("db")).unwrap())
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap()))
            .collect();
        names.sort();
        names
    };
    let before = names();
    let reader = Store::open(&at, OpenMode::ReadOnly).unwrap();
    let failure = FailureRecord { log: digest, summary: String::new(), at_ms: 0, expires_ms: 1 };
    let action = ActionDigest::of(b"a");
    let refusals = [
        reader.put_blob(b"x").unwrap_err(),
        reader.put_blob(b"hello").unwrap_err(),
        reader.writer().unwrap_err(),
        reader.ingest(dir.path(), &IngestRules::default()).unwrap_err(),
        reader.materialize(&TreeDigest::from_bytes([1; 32])).unwrap_err(),
        reader.append_events(&[]).unwrap_err(),
        reader.put_record("a", "b", b"").unwrap_err(),
        reader.record_failure(&action, &failure).unwrap_err(),
    ];
    for error in refusals {
        assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
    }
    assert_eq!(reader.read(&digest).unwrap(), b"hello");
    drop(reader);
    assert_eq!(names(), before);
}

#[test]
fn what_is_not_a_store_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let error = Store::open(&dir.path().join("none"), OpenMode::ReadOnly).unwrap_err();
    assert!(matches!(error, Error::Absent { .. }), "{error}");
    assert!(!dir.path().join("none").exists());
    fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    let error = Store::open(dir.path(), OpenMode::ReadWrite).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let (_dir, store) = fresh();
    let at = store.dir().to_owned();
    drop(store);
    fs::write(at.join("FORMAT"), "anneal store 99\n").unwrap();
    let lock = fs::read(at.join("LOCK")).unwrap();
    for mode in [OpenMode::ReadWrite, OpenMode::ReadOnly] {
        let error = Store::open(&at, mode).unwrap_err();
        assert!(told(&error).contains("`anneal store 99`") && told(&error).contains("`anneal store 1`"), "{error}");
    }
    assert_eq!(fs::read(at.join("LOCK")).unwrap(), lock);
}

#[test]
fn a_first_open_that_was_interrupted_is_completed() {
    let (dir, store) = fresh();
    let at = store.dir().to_owned();
    drop(store);
    for gone in ["db", "blobs", "HEAD", "tmp", "trees", "BOOT", "quarantine", "modes"] {
        let path = at.join(gone);
        if path.is_dir() { fs::remove_dir_all(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
    }
    let digest = writer(dir.path()).put_blob(b"works").unwrap();
    assert_eq!(digest, BlobDigest::of(b"works"));
}

#[test]
fn an_open_empties_tmp() {
    let (dir, store) = fresh();
    let left = store.dir().join("tmp/7/deep");
    drop(store);
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("file"), "left").unwrap();
    let store = writer(dir.path());
    assert!(crate::temporaries(&store).is_empty());
}

#[test]
fn a_damaged_database_is_an_error_that_names_it() {
    let (_dir, store) = fresh();
    let at = store.dir().to_owned();
    drop(store);
    fs::write(at.join("db/CURRENT"), "nonsense\n").unwrap();
    for mode in [OpenMode::ReadWrite, OpenMode::ReadOnly] {
        let error = Store::open(&at, mode).unwrap_err();
        assert!(told(&error).contains(&at.join("db").display().to_string()), "{}", told(&error));
    }
}

#[test]
fn what_a_first_open_left_that_was_stopped_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("anneal-trial.4711");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("file"), "text").unwrap();
    drop(Store::open(dir.path(), OpenMode::ReadWrite).unwrap());
    assert!(!left.exists());
}

#[test]
fn a_database_that_is_gone_or_has_lost_a_part_is_refused_in_plain_words_and_none_is_put_in_its_place() {
    let (dir, store) = fresh();
    let at = store.dir().to_owned();
    store.append_events(&[b"acknowledged".to_vec()]).unwrap();
    store.put_record("note", "a", &crate::noise(1, 9 << 20)).unwrap();
    drop(store);
    // an open writes what is only in the log to a table
    drop(writer(dir.path()));
    let whole = at.with_file_name("whole");
    copy(&at.join("db"), &whole);
    let manifest = names(&whole).into_iter().find(|name| name.starts_with("MANIFEST")).unwrap();
    let table = names(&whole).into_iter().find(|name| name.ends_with(".sst")).unwrap();
    for gone in ["", "CURRENT", &manifest, &table] {
        let _ = fs::remove_dir_all(at.join("db"));
        if !gone.is_empty() {
            copy(&whole, &at.join("db"));
            fs::remove_file(at.join("db").join(gone)).unwrap();
        }
        let before = everything(&at);
        for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
            let error = Store::open(&at, mode).unwrap_err();
            let plain = matches!(error, Error::Beheaded { .. } | Error::Unopened { .. });
            assert!(plain && error.to_string().contains("restore it from a backup"), "{gone}: {}", told(&error));
            assert_eq!(differing(&before, &everything(&at)), [] as [PathBuf; 0], "{gone}");
            assert_eq!(at.join("db").exists(), !gone.is_empty());
        }
    }
    let _ = fs::remove_dir_all(at.join("db"));
    copy(&whole, &at.join("db"));
    assert_eq!(Store::open(&at, OpenMode::ReadOnly).unwrap().event_count().unwrap(), 1);
}

#[test]
fn a_disk_too_small_for_a_store_is_refused_before_anything_is_made_on_it() {
    let Some(disk) = Disk::new() else { return };
    disk.fill();
    let at = disk.path().join("state/store");
    let error = Store::open(&at, OpenMode::ReadWrite).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{}", told(&error));
    assert!(!disk.path().join("state").exists());
    disk.make_room();
    drop(Store::open(&at, OpenMode::ReadWrite).unwrap());
}

#[test]
fn no_empty_store_is_made_over_blobs_whose_database_and_head_are_gone() {
    let (dir, store) = fresh();
    let at = store.dir().to_owned();
    let digest = store.put_blob(b"precious").unwrap();
    drop(store);
    fs::remove_dir_all(at.join("db")).unwrap();
    fs::remove_file(at.join("HEAD")).unwrap();
    for head in [None, Some(0), Some(63), Some(256)] {
        if let Some(length) = head {
            fs::write(at.join("HEAD"), vec![0; length]).unwrap();
        }
        let before = everything(&at);
        let error = Store::open(&at, OpenMode::ReadWrite).unwrap_err();
        assert!(matches!(error, Error::HeadLost { .. }), "{head:?}: {}", told(&error));
        assert_eq!(differing(&before, &everything(&at)), [] as [PathBuf; 0]);
    }
    fs::remove_file(at.join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex())).unwrap();
    assert_eq!(writer(dir.path()).stats().unwrap().blobs, 0);
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
