//! A directory that cannot be a store, or is one that lost something: a clear error, and not a byte is touched.

use crate::{fresh, noise, rot::everything, told, writer};
use anneal_content::BlobDigest;
use anneal_store::{Error, OpenMode, Store};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Does something to the database in a store's directory; says whether there was anything to do it to.
type Harm = fn(&Path) -> bool;

fn named(db: &Path, is_meant: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let all = fs::read_dir(db).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = all.filter(|path| is_meant(path.file_name().unwrap().to_str().unwrap())).collect();
    found.sort();
    found
}

fn remove(found: &[PathBuf]) -> bool {
    found.iter().for_each(|path| fs::remove_file(path).unwrap());
    !found.is_empty()
}

fn cut(found: &[PathBuf], keep: impl Fn(u64) -> u64) -> bool {
    for path in found {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(keep(file.metadata().unwrap().len())).unwrap();
    }
    !found.is_empty()
}

fn logs(db: &Path) -> Vec<PathBuf> {
    let all = named(db, |name| name.ends_with(".log"));
    all.into_iter().filter(|path| fs::metadata(path).unwrap().len() > 0).collect()
}

const HARMS: &[(&str, Harm)] = &[
    ("a table is missing", |db| remove(&named(db, |name| name.ends_with(".sst"))[..1])),
    ("a table is empty", |db| cut(&named(db, |name| name.ends_with(".sst"))[..1], |_| 0)),
    ("a table is cut", |db| cut(&named(db, |name| name.ends_with(".sst"))[..1], |len| len / 2)),
    ("the list of tables is empty", |db| cut(&named(db, |name| name.starts_with("MANIFEST")), |_| 0)),
    ("the list of tables is cut", |db| cut(&named(db, |name| name.starts_with("MANIFEST")), |len| len / 2)),
    ("the list of tables is missing", |db| remove(&named(db, |name| name.starts_with("MANIFEST")))),
    ("nothing names the list of tables", |db| remove(&named(db, |name| name == "CURRENT"))),
    ("what names the list of tables is empty", |db| cut(&named(db, |name| name == "CURRENT"), |_| 0)),
    ("the log is cut in its middle", |db| cut(&logs(db), |len| len / 2)),
    ("the log lacks its last byte", |db| cut(&logs(db), |len| len - 1)),
    ("the log is empty", |db| cut(&logs(db), |_| 0)),
    ("the log is missing", |db| remove(&logs(db))),
    ("everything is missing", |db| fs::remove_dir_all(db).is_ok()),
];

#[test]
fn a_database_that_lost_a_part_is_named_and_not_touched() {
    for (what, harm) in HARMS {
        let (dir, store) = fresh();
        let at = store.dir().to_owned();
        drop(store);
        for round in 0..3 {
            let store = writer(dir.path());
            store.put_blob(&noise(round, 5000)).unwrap();
            store.append_events(&[noise(round, 300)]).unwrap();
            // the last thing that is acknowledged is no event
            store.put_record("note", &round.to_string(), &noise(round, 100)).unwrap();
        }
        assert!(harm(&at.join("db")), "{what}: there was nothing to harm");
        let before = everything(&at);
        for mode in [OpenMode::ReadWrite, OpenMode::ReadOnly] {
            let error = told(&Store::open(&at, mode).expect_err(what));
            assert!(error.contains(&at.display().to_string()), "{what}: {error}");
            assert_eq!(everything(&at), before, "{what}: something was touched");
        }
    }
}

#[test]
fn a_log_that_ends_in_a_write_that_nobody_was_told_of_is_no_damage() {
    let (_dir, store) = fresh();
    let at = store.dir().to_owned();
    store.put_record("note", "told", b"kept").unwrap();
    drop(store);
    // half a record, as a power cut leaves it
    for log in logs(&at.join("db")) {
        let mut bytes = fs::read(&log).unwrap();
        bytes.extend_from_slice(&[1, 2, 3, 4, 0xff, 0x03, 1]);
        bytes.extend_from_slice(&[9; 100]);
        fs::write(&log, bytes).unwrap();
    }
    let store = Store::open(&at, OpenMode::ReadWrite).unwrap();
    assert_eq!(store.record("note", "told").unwrap().unwrap(), b"kept");
}

#[test]
fn a_log_on_which_the_engine_would_turn_in_circles_is_refused() {
    let (_dir, store) = fresh();
    let at = store.dir().to_owned();
    store.put_record("note", "one", b"kept").unwrap();
    store.put_record("note", "two", b"kept").unwrap();
    drop(store);
    let log = logs(&at.join("db")).pop().unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let second = 7 + usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
    bytes[second + 6] ^= 4;
    fs::write(&log, bytes).unwrap();
    let before = everything(&at);
    for mode in [OpenMode::ReadWrite, OpenMode::ReadOnly] {
        let error = told(&Store::open(&at, mode).unwrap_err());
        assert!(error.contains(&format!("is damaged at byte {second}")), "{error}");
    }
    assert_eq!(everything(&at), before);
}

#[test]
fn a_foreign_directory_and_a_newer_store_keep_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("letters")).unwrap();
    fs::write(dir.path().join("letters/one"), "dear").unwrap();
    let before = everything(dir.path());
    let error = Store::open(dir.path(), OpenMode::ReadWrite).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    assert_eq!(everything(dir.path()), before);

    let (_newer, store) = fresh();
    let at = store.dir().to_owned();
    store.put_blob(b"from the future").unwrap();
    drop(store);
    fs::write(at.join("FORMAT"), "anneal store 2\n").unwrap();
    let before = everything(&at);
    for mode in [OpenMode::ReadWrite, OpenMode::ReadOnly] {
        let error = told(&Store::open(&at, mode).unwrap_err());
        assert!(error.contains("anneal store 2") && error.contains("use the program that wrote it"), "{error}");
    }
    assert_eq!(everything(&at), before);
}

/// A mounted file system, gone at the end of the test.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(kind: &str, options: Option<&str>) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        if let Err(error) = mount(Some("anneal-test"), dir.path(), Some(kind), MsFlags::empty(), options) {
            println!("skipped: can't mount {kind} here ({error})");
            return None;
        }
        Some(Self(dir))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_file_system_that_cannot_hold_a_store_is_refused_before_anything_is_made() {
    // it has directories and files, and no file can be written
    let Some(mounted) = Mounted::new("hugetlbfs", None) else { return };
    let error = Store::open(mounted.0.path(), OpenMode::ReadWrite).unwrap_err();
    assert!(matches!(error, Error::Footing { .. }), "{}", told(&error));
    let text = told(&error);
    assert!(text.contains(&mounted.0.path().display().to_string()) && text.contains("ext4, xfs or btrfs"), "{text}");
    assert_eq!(fs::read_dir(mounted.0.path()).unwrap().count(), 0);
}

#[test]
fn a_disk_without_room_for_a_store_says_so_and_stays_empty() {
    let Some(mounted) = Mounted::new("tmpfs", Some("size=64k")) else { return };
    let filler = mounted.0.path().join("filler");
    let _ = fs::write(&filler, vec![1; 1 << 20]);
    let at = mounted.0.path().join("store");
    let error = told(&Store::open(&at, OpenMode::ReadWrite).unwrap_err());
    assert!(error.contains("no space") && error.contains(&at.display().to_string()), "{error}");
    assert!(fs::read_dir(&at).map_or(0, Iterator::count) == 0, "something was left in it");
    fs::remove_file(filler).unwrap();
}

#[test]
fn a_store_in_which_nothing_was_acknowledged_yet_is_begun_again() {
    let (dir, store) = fresh();
    let at = store.dir().to_owned();
    drop(store);
    // each opening gives the list of tables a greater number
    drop(writer(dir.path()));
    drop(writer(dir.path()));
    fs::remove_dir_all(at.join("db")).unwrap();
    let digest = writer(dir.path()).put_blob(b"works").unwrap();
    assert_eq!(digest, BlobDigest::of(b"works"));
    assert!(writer(dir.path()).has(&digest).unwrap());
}

#[test]
fn what_is_no_file_in_a_files_place_is_refused_and_nobody_waits_for_it() {
    for pick in ["FORMAT", "HEAD", "CURRENT", "IDENTITY", "MANIFEST", ".log", ".sst"] {
        let (_dir, store) = fresh();
        let at = store.dir().to_owned();
        for round in 0..3 {
            store.put_blob(&noise(round, 5000)).unwrap();
        }
        drop(store);
        drop(Store::open(&at, OpenMode::ReadWrite).unwrap());
        let own = at.join(pick);
        let path = if own.exists() { own } else { named(&at.join("db"), |name| name.contains(pick)).remove(0) };
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
            let error = told(&Store::open(&at, mode).expect_err(pick));
            assert!(error.contains(&at.display().to_string()), "{pick}: {error}");
        }
    }
}
