//! A damaged table of blobs is made again from the blobs' files; damage of anything else changes nothing.

use crate::{
    rot::{Original, differing, everything, original, rows},
    told, unless_locked,
};
use anneal_content::BlobDigest;
use anneal_store::{ChunkHash, Error, OpenMode, REMADE_PARTS, Remade, Store};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
};

/// Something that can befall a file.
type Harm = (&'static str, fn(&Path));

const HARMS: [Harm; 4] = [
    ("a bit of a row", |path| flip(path, |bytes| bytes / 4)),
    ("a bit of the footer", |path| flip(path, |bytes| bytes - 20)),
    ("cut", |path| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    }),
    ("gone", |path| fs::remove_file(path).unwrap()),
];

fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

fn remake(at: &Path) -> anneal_store::Result<Option<Remade>> {
    unless_locked(|| Store::remake_blob_table(at, ChunkHash::Blake3, 2, &|_| {}))
}

/// The files of tables, each with the name of its table.
fn tables(original: &Original) -> Vec<(PathBuf, &'static str)> {
    let copy = original.copy();
    let db = copy.path().join("store/db");
    let names = fs::read_dir(&db).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = names.filter(|name| name.to_str().unwrap().ends_with(".sst")).collect();
    drop(copy);
    let table_of = |name: &std::ffi::OsString| {
        let copy = original.copy();
        let at = copy.path().join("store");
        let path = Path::new("db").join(name);
        flip(&at.join(&path), |bytes| bytes / 4);
        let store = Store::open(&at, OpenMode::ReadOnly).ok()?;
        let read = store.read_tables(&|| false).unwrap();
        Some((path, read.iter().find(|table| table.fault.is_some())?.name))
    };
    names.iter().filter_map(table_of).collect()
}

fn one_of<'t>(tables: &'t [(PathBuf, &str)], wanted: &str) -> &'t Path {
    &tables.iter().find(|(_, table)| *table == wanted).unwrap_or_else(|| panic!("no file of `{wanted}`: {tables:?}")).0
}

fn assert_whole(at: &Path, original: &Original) {
    for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
        let store = unless_locked(|| Store::open(at, mode)).unwrap();
        assert!(store.read_tables(&|| false).unwrap().iter().all(|table| table.fault.is_none()));
        assert_eq!(rows(&store).unwrap(), original.rows);
        for (digest, bytes) in &original.blobs {
            assert_eq!(&store.read_blob(digest, u64::MAX).unwrap(), bytes);
        }
    }
}

#[test]
fn a_damaged_table_of_blobs_is_made_again_from_their_files_with_every_row_as_it_was() {
    let original = original();
    let blobs: Vec<_> = tables(&original).into_iter().filter(|(_, table)| *table == "blobs").collect();
    assert!(!blobs.is_empty());
    for (path, _) in &blobs {
        for (how, harm) in HARMS {
            let copy = original.copy();
            let at = copy.path().join("store");
            harm(&at.join(path));
            let remade = remake(&at).unwrap().unwrap_or_else(|| panic!("{how} was not seen"));
            assert_eq!(remade, Remade { rows: original.blobs.len() as u64, ..Remade::default() }, "{how}");
            assert_whole(&at, &original);
            assert_eq!(remake(&at).unwrap(), None, "it is done once");
        }
    }
}

#[test]
fn a_sound_store_and_one_with_any_other_damage_are_left_as_they_are() {
    let original = original();
    let tables = tables(&original);
    let left_alone = |what: &str, copy: tempfile::TempDir| {
        let at = copy.path().join("store");
        let before = everything(&at);
        assert_eq!(remake(&at).unwrap(), None, "{what}");
        let changed = differing(&before, &everything(&at));
        assert!(changed.is_empty(), "{what}: {changed:?}");
    };
    left_alone("sound", original.copy());
    for table in ["results", "journal", "records"] {
        for (how, harm) in HARMS {
            let copy = original.copy();
            harm(&copy.path().join("store").join(one_of(&tables, table)));
            left_alone(&format!("{table}: {how}"), copy);
            let copy = original.copy();
            for table in [table, "blobs"] {
                harm(&copy.path().join("store").join(one_of(&tables, table)));
            }
            left_alone(&format!("{table} and blobs: {how}"), copy);
        }
    }
    let copy = original.copy();
    let head = copy.path().join("store/HEAD");
    harm_head(&head);
    flip(&copy.path().join("store").join(one_of(&tables, "blobs")), |bytes| bytes / 4);
    left_alone("blobs, and nothing says what was acknowledged", copy);
    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(remake(&nothing.path().join("none")).unwrap(), None);
    assert!(!nothing.path().join("none").exists());
}

fn harm_head(head: &Path) {
    fs::write(head, [0_u8; 256]).unwrap();
}

#[test]
fn a_store_whose_table_is_half_made_does_not_open_until_it_is_made_again_from_the_start() {
    let original = original();
    let blobs = one_of(&tables(&original), "blobs").to_owned();
    let copy = original.copy();
    let at = copy.path().join("store");
    flip(&at.join(&blobs), |bytes| bytes / 4);
    for stop_after in [1, 100, REMADE_PARTS] {
        let parts = AtomicU16::new(0);
        let stopped = catch_unwind(AssertUnwindSafe(|| {
            unless_locked(|| {
                Store::remake_blob_table(&at, ChunkHash::Blake3, 1, &|_| {
                    assert!(parts.fetch_add(1, Ordering::Relaxed) + 1 < stop_after, "the power went away");
                })
            })
        }));
        assert!(stopped.is_err());
        for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
            let error = unless_locked(|| Store::open(&at, mode)).unwrap_err();
            assert!(matches!(error, Error::HalfMade { .. }), "{}", told(&error));
            assert!(told(&error).contains("anneal store scrub --mend"), "{}", told(&error));
        }
    }
    assert_eq!(remake(&at).unwrap().unwrap().rows, original.blobs.len() as u64);
    assert_whole(&at, &original);
}

#[test]
fn blobs_that_are_lost_while_their_table_is_made_again_are_named_and_none_of_their_bytes_is_served() {
    let original = original();
    let blobs = one_of(&tables(&original), "blobs").to_owned();
    let copy = original.copy();
    let at = copy.path().join("store");
    flip(&at.join(&blobs), |bytes| bytes - 20);
    let file = |digest: &BlobDigest| at.join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex());
    let rotten = *original.blobs.keys().next().unwrap();
    let bytes = original.blobs[&rotten].iter().map(|byte| !byte).collect::<Vec<u8>>();
    // a new inode: the old one is the original's, too
    fs::remove_file(file(&rotten)).unwrap();
    fs::write(file(&rotten), &bytes).unwrap();
    let remade = remake(&at).unwrap().unwrap();
    assert_eq!(remade.rows, original.blobs.len() as u64 - 1);
    let expected = format!("its bytes are {}", BlobDigest::of(&bytes));
    assert_eq!(remade.lost.into_iter().collect::<Vec<_>>(), [(rotten, expected.clone())]);
    let store = unless_locked(|| Store::open(&at, OpenMode::ReadWrite)).unwrap();
    assert_eq!(store.out_of_service().unwrap(), [(rotten, expected)]);
    assert!(matches!(store.read_blob(&rotten, u64::MAX), Err(Error::Missing { .. })));
    store.put_blob(&original.blobs[&rotten]).unwrap();
    assert_eq!(store.read_blob(&rotten, u64::MAX).unwrap(), original.blobs[&rotten]);
}

#[test]
fn nobody_makes_the_table_of_a_store_again_that_another_has_open() {
    let original = original();
    let copy = original.copy();
    let at = copy.path().join("store");
    let open = unless_locked(|| Store::open(&at, OpenMode::ReadWrite)).unwrap();
    assert!(matches!(Store::remake_blob_table(&at, ChunkHash::Blake3, 2, &|_| {}), Err(Error::Locked { .. })));
    drop(open);
    assert_eq!(remake(&at).unwrap(), None);
}
