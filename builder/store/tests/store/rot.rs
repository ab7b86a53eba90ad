//! One flipped bit, in 200 files one after the other: it is found, none of it is served, and what can be put right is.
//!
//! The bits come from a seed that is printed; `ANNEAL_TEST_SEED=N` repeats them.

use crate::{noise, told};
use anneal_content::{ActionDigest, ActionResult, BlobDigest, OutputName, TreeDigest};
use anneal_store::{Error, FailureRecord, IngestRules, Mended, OpenMode, Store, digest_dir};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// Flips in blobs, in materialised trees, and in the database.
const BLOBS: usize = 80;
const TREES: usize = 20;
const DATABASE: usize = 100;
const MIB: usize = 1 << 20;

struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = || u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let seed = std::env::var("ANNEAL_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(now);
        println!("ANNEAL_TEST_SEED={seed}");
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end.max(1) as u64).unwrap()
    }
    fn take<T>(&mut self, from: &mut Vec<T>) -> T {
        let at = self.below(from.len());
        from.swap_remove(at)
    }
}

/// Table and key, to the value.
pub(crate) type Rows = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

/// A store as builds leave it: trees with files of several modes and sizes, results, failures, events, records.
pub(crate) struct Original {
    dir: tempfile::TempDir,
    pub(crate) blobs: BTreeMap<BlobDigest, Vec<u8>>,
    trees: BTreeSet<TreeDigest>,
    pub(crate) rows: Rows,
}

pub(crate) fn rows(store: &Store) -> anneal_store::Result<Rows> {
    let mut rows = BTreeMap::new();
    store.each_row(|table, key, value| drop(rows.insert((table, key.to_vec()), value.to_vec())))?;
    Ok(rows)
}

pub(crate) fn original() -> Original {
    let dir = in_memory();
    let at = dir.path().join("store");
    let mut trees = BTreeSet::new();
    for round in 0..4_u64 {
        // each start moves what the log has to tables
        let store = Store::open(&at, OpenMode::ReadWrite).unwrap();
        let source = dir.path().join("source");
        for file in 0..30_u64 {
            let path = source.join(format!("{}/{file}", file % 5));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let size = if file == 0 { 2 * MIB + 77_777 } else { 500 + 900 * usize::try_from(file).unwrap() };
            fs::write(&path, noise(round * 100 + file, size)).unwrap();
            let mode = [0o644, 0o755, 0o555, 0o444][usize::try_from(file % 4).unwrap()];
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let tree = store.ingest(&source, &IngestRules::of_a_materialized_tree()).unwrap();
        store.materialize(&tree).unwrap();
        trees.insert(tree);
        fs::remove_dir_all(&source).unwrap();
        for number in 0..40_u64 {
            let log = store.put_blob(&noise(10_000 + round * 100 + number, 3000)).unwrap();
            let action = ActionDigest::of(&noise(number, 10));
            let result = ActionResult {
                outputs: BTreeMap::from([("out".parse::<OutputName>().unwrap(), tree)]),
                log,
                worker: format!("round {round}"),
                started_ms: number,
                payload_ms: 1,
                limits_not_enforced: Vec::new(),
                variation: Vec::new(),
                built_with: BTreeMap::new(),
            };
            store.record_result(&crate::signed(&action, &result), &crate::believes).unwrap();
            store.put_record("note", &format!("{round} {number}"), &noise(number, 400)).unwrap();
            store.append_events(&[noise(20_000 + number, 700)]).unwrap();
        }
        let failure = FailureRecord { log: BlobDigest::of(b"log"), summary: "no".into(), at_ms: 1, expires_ms: 2 };
        store.record_failure(&ActionDigest::of(&[round as u8]), &failure).unwrap();
    }
    let store = Store::open(&at, OpenMode::ReadOnly).unwrap();
    let rows = rows(&store).unwrap();
    let digests = rows.keys().filter(|(table, _)| *table == "blobs");
    let digests = digests.map(|(_, key)| BlobDigest::from_bytes(*key.first_chunk::<32>().unwrap()));
    let blobs = digests.map(|digest| (digest, store.read_blob(&digest, u64::MAX).unwrap())).collect();
    Original { dir, blobs, trees, rows }
}

impl Original {
    fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// A copy of the store in which files share inodes as they do in the original, and none with it where it matters.
    pub(crate) fn copy(&self) -> tempfile::TempDir {
        let copy = in_memory();
        link_tree(&self.path(), &copy.path().join("store"));
        copy
    }
}

/// A directory in memory, where there is one: a bit flips there as on a disk, and nothing here is about syncs.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn link_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, new) = (entry.path(), to.join(entry.file_name()));
        let is_shared =
            ["blobs", "trees", "modes"].iter().any(|part| path.components().any(|c| c.as_os_str() == *part));
        if entry.file_type().unwrap().is_dir() {
            link_tree(&path, &new);
            fs::set_permissions(&new, entry.metadata().unwrap().permissions()).unwrap();
            let file = fs::File::open(&new).unwrap();
            file.set_modified(entry.metadata().unwrap().modified().unwrap()).unwrap();
        } else if is_shared {
            fs::hard_link(&path, &new).unwrap();
        } else {
            fs::copy(&path, &new).unwrap();
        }
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// Flips one bit of a file in a copy: in a new inode, which takes the place of the old one wherever that was.
fn flip(copy: &Path, path: &Path, random: &mut Random) -> String {
    let (inode, mode) = fs::metadata(path).map(|m| (m.ino(), m.permissions())).unwrap();
    let mut bytes = fs::read(path).unwrap();
    let (at, bit) = (random.below(bytes.len()), random.below(8));
    bytes[at] ^= 1 << bit;
    let rotten = copy.join("rotten");
    fs::write(&rotten, &bytes).unwrap();
    fs::set_permissions(&rotten, mode).unwrap();
    let time = fs::metadata(path).unwrap().modified().unwrap();
    fs::File::open(&rotten).unwrap().set_modified(time).unwrap();
    for other in files(copy) {
        if fs::symlink_metadata(&other).unwrap().ino() == inode {
            let parent = other.parent().unwrap();
            let (held, at) = fs::metadata(parent).map(|m| (m.permissions(), m.modified().unwrap())).unwrap();
            fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).unwrap();
            fs::remove_file(&other).unwrap();
            fs::hard_link(&rotten, &other).unwrap();
            fs::set_permissions(parent, held).unwrap();
            fs::File::open(parent).unwrap().set_modified(at).unwrap();
        }
    }
    fs::remove_file(&rotten).unwrap();
    format!("bit {bit} of byte {at} of {} in {}", bytes.len(), path.strip_prefix(copy).unwrap().display())
}

fn digest_of(path: &Path) -> BlobDigest {
    format!("sha256:{}", path.file_name().unwrap().to_str().unwrap()).parse().unwrap()
}

/// Everything that a reader gives out before it stops, which must be a part of the right bytes.
fn served(mut reader: anneal_store::BlobReader) -> (Vec<u8>, Option<Error>) {
    let mut bytes = Vec::new();
    loop {
        match reader.next_chunk() {
            Ok(Some(chunk)) => bytes.extend_from_slice(chunk),
            Ok(None) => return (bytes, None),
            Err(error) => return (bytes, Some(error)),
        }
    }
}

#[test]
fn a_flipped_bit_in_a_blob_is_never_served_and_the_blob_comes_back_where_its_bytes_still_are() {
    let mut random = Random::new();
    let original = original();
    let copy = original.copy();
    let at = copy.path().join("store");
    let mut all = files(&at.join("blobs"));
    let (mut mended, mut lost) = (0, 0);
    let mut rotten = Vec::new();
    for _ in 0..BLOBS {
        let path = random.take(&mut all);
        rotten.push((digest_of(&path), flip(&at, &path, &mut random)));
    }
    // a reader that finds it serves nothing of it either, and changes nothing
    let reader = Store::open(&at, OpenMode::ReadOnly).unwrap();
    let store = Store::open(&at, OpenMode::ReadWrite).unwrap();
    for (number, (digest, what)) in rotten.iter().enumerate() {
        let right = &original.blobs[digest];
        for handle in [&reader, &store] {
            for _ in 0..3 {
                let from = random.below(right.len());
                let len = random.below(right.len() - from + 1);
                if let Ok(range) = handle.open_range(digest, from as u64, len as u64) {
                    assert!(right[from..from + len].starts_with(&served(range).0), "{what}: wrong bytes in a range");
                }
            }
            let (bytes, error) = match handle.open_blob(digest) {
                Ok(whole) => served(whole),
                Err(error) => (Vec::new(), Some(error)),
            };
            assert!(right.starts_with(&bytes), "{what}: wrong bytes were served");
            let error = told(&error.unwrap_or_else(|| panic!("{what} was not found")));
            assert!(error.contains(&digest.to_string()), "{what}: {error}");
        }
        assert!(!store.has(digest).unwrap(), "{what}: it is still in service");
        assert!(at.join("quarantine").join(digest.hex()).exists(), "{what}: its bytes were deleted");
        match store.mend_blob(digest).unwrap() {
            Mended::Mended(_) => mended += 1,
            Mended::Sound => panic!("{what} was taken for sound"),
            Mended::Lost(_) => {
                lost += 1;
                assert_eq!(store.put_blob(right).unwrap(), *digest);
            }
        }
        assert!(store.read_blob(digest, u64::MAX).unwrap() == *right, "{what}, number {number}");
        assert_eq!(store.mend_blob(digest).unwrap(), Mended::Sound);
    }
    assert!(mended > 0 && lost > 0, "{mended} mended, {lost} put again");
    // no materialised tree has a damaged inode any more, and each is made again
    for tree in &original.trees {
        let path = store.materialize(tree).unwrap();
        assert_eq!(digest_dir(&path, &IngestRules::of_a_materialized_tree()).unwrap(), *tree);
    }
    for (digest, right) in &original.blobs {
        assert!(store.read_blob(digest, u64::MAX).unwrap() == *right);
    }
    println!("{BLOBS} flips in blobs: all found; {mended} mended from a second inode, {lost} put again");
}

#[test]
fn a_flipped_bit_in_a_materialised_tree_is_found_and_the_tree_made_again() {
    let mut random = Random::new();
    let original = original();
    let mut second: Vec<_> = files(&original.path().join("modes"));
    for _ in 0..TREES {
        let copy = original.copy();
        let at = copy.path().join("store");
        let path = at.join(random.take(&mut second).strip_prefix(original.path()).unwrap());
        let what = flip(&at, &path, &mut random);
        let store = Store::open(&at, OpenMode::ReadWrite).unwrap();
        let all = original.trees.iter().map(|tree| store.mend_tree(tree).unwrap());
        assert_eq!(all.filter(|mended| matches!(mended, Mended::Mended(_))).count(), 1, "{what}");
        for tree in &original.trees {
            let path = store.materialize(tree).unwrap();
            assert_eq!(digest_dir(&path, &IngestRules::of_a_materialized_tree()).unwrap(), *tree, "{what}");
        }
    }
}

#[test]
fn a_row_that_lies_about_its_blob_is_made_again_from_the_bytes() {
    let original = original();
    let copy = original.copy();
    let at = copy.path().join("store");
    let store = Store::open(&at, OpenMode::ReadWrite).unwrap();
    let (digest, right) = original.blobs.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    // as a chunk list would be that was flipped in memory before it was written: the engine's checksum is right
    let other = original.blobs.keys().find(|other| *other != digest).unwrap();
    let (blob, wrong) = (at.join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex()), noise(1, right.len()));
    let (mode, bytes) = (fs::metadata(&blob).unwrap().permissions(), fs::read(&blob).unwrap());
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, &wrong).unwrap();
    store.read_blob(digest, u64::MAX).unwrap_err();
    // it was taken out; its right bytes turn up where it was put
    fs::write(at.join("quarantine").join(digest.hex()), &bytes).unwrap();
    fs::set_permissions(at.join("quarantine").join(digest.hex()), mode).unwrap();
    assert!(matches!(store.mend_blob(digest).unwrap(), Mended::Mended(_)));
    assert!(store.read_blob(digest, u64::MAX).unwrap() == *right);
    assert_eq!(store.mend_blob(other).unwrap(), Mended::Sound);
    assert_eq!(store.mend_blob(&BlobDigest::of(b"never put")).unwrap(), Mended::Lost("its file is gone".into()));
}

/// The files of the database whose every byte counts.
fn database(store: &Path) -> Vec<PathBuf> {
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with(".sst") || name.ends_with(".log") || name.starts_with("MANIFEST") || name == "CURRENT"
    };
    files(&store.join("db")).into_iter().filter(is_ours).filter(|path| fs::metadata(path).unwrap().len() > 0).collect()
}

/// Names, sizes and bytes of everything in a directory.
pub(crate) fn everything(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = files(root).into_iter().filter(|path| !path.ends_with("db/LOG"));
    all.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

/// The files that are in one of two and not the same in the other.
pub(crate) fn differing(before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<PathBuf> {
    let all: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    all.into_iter().filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}

#[test]
fn a_flipped_bit_in_the_database_is_found_and_no_row_is_ever_another() {
    let mut random = Random::new();
    let original = original();
    let mut found = BTreeMap::<String, usize>::new();
    for _ in 0..DATABASE {
        let copy = original.copy();
        let at = copy.path().join("store");
        let mut all = database(&at);
        // the log and the list of tables as often as all tables together
        let kinds: [fn(&PathBuf) -> bool; 2] = [
            |path| path.extension().is_some_and(|kind| kind == "sst"),
            |path| path.extension().is_none_or(|kind| kind == "log"),
        ];
        let kind = kinds[random.below(2)];
        all.retain(kind);
        let path = random.take(&mut all);
        let what = flip(&at, &path, &mut random);
        let before = everything(&at);
        let reading = Store::open(&at, OpenMode::ReadOnly).and_then(|store| rows(&store));
        let how = match (reading, Store::open(&at, OpenMode::ReadWrite)) {
            (Ok(read), Ok(store)) if read == original.rows => {
                let tables = store.read_tables(&|| false).unwrap();
                let is_found = tables.iter().any(|table| table.fault.is_some());
                drop(store);
                match (is_found, path.exists()) {
                    (true, _) => "found by reading what is beside the rows",
                    // It was opened to be written to: its rows, which are right, may be in a new table by now.
                    (false, false) => "gone with its file when the engine joined tables",
                    (false, true) => "harmless",
                }
                .to_owned()
            }
            (Ok(read), _) => {
                let wrong = read.iter().find(|(key, value)| original.rows.get(*key) != Some(*value));
                panic!("{what}: {} of {} rows, {wrong:?}", read.len(), original.rows.len());
            }
            (Err(_), Err(error)) => {
                assert!(told(&error).contains(&at.display().to_string()), "{what}: {}", told(&error));
                let changed = differing(&before, &everything(&at));
                assert!(changed.is_empty(), "{what}: a failed open changed {changed:?}: {}", told(&error));
                "refused by open".to_owned()
            }
            (Err(error), Ok(store)) => {
                assert!(told(&error).contains(&at.display().to_string()), "{what}: {}", told(&error));
                // only what is in the damaged block is not read, and nothing is read wrong
                for ((table, key), value) in &original.rows {
                    if *table == "records"
                        && let Some(name) = key.strip_prefix(b"note\0")
                        && let Ok(read) = store.record("note", std::str::from_utf8(name).unwrap())
                    {
                        assert_eq!(read.as_ref(), Some(value), "{what}");
                    }
                }
                "found by reading".to_owned()
            }
        };
        if how == "harmless" {
            println!("harmless: {what}");
        }
        *found.entry(how).or_default() += 1;
    }
    println!("{DATABASE} flips in the database: {found:?}");
    assert_eq!(found.get("harmless"), None, "a flip was not found");
}

/// Where each record of a log of the engine begins, of those in its first block.
fn records_of(log: &[u8]) -> Vec<usize> {
    let (mut at, mut found) = (0, Vec::new());
    while let Some([_, _, _, _, low, high, kind]) = log.get(at..at + 7).filter(|_| at < 32 << 10) {
        if *kind == 0 {
            break;
        }
        found.push(at);
        at += 7 + usize::from(u16::from_le_bytes([*low, *high]));
    }
    found
}

#[test]
fn a_list_of_tables_that_seems_to_end_at_any_of_its_records_is_found_and_no_row_is_lost_in_silence() {
    let original = original();
    let list = fs::read_to_string(original.path().join("db/CURRENT")).unwrap();
    let list = Path::new("db").join(list.trim_end());
    let bytes = fs::read(original.path().join(&list)).unwrap();
    let records = records_of(&bytes);
    assert!(records.len() > 10, "{records:?}");
    // from the bit on with which a length goes beyond the file
    let copy = original.copy();
    let place = copy.path().join("store");
    for at in &records {
        for bit in [11, 13, 15] {
            let mut flipped = bytes.clone();
            flipped[at + 4 + bit / 8] ^= 1 << (bit % 8);
            fs::remove_file(place.join(&list)).unwrap();
            fs::write(place.join(&list), flipped).unwrap();
            for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
                let error = Store::open(&place, mode).map(drop).unwrap_err();
                let said = told(&error);
                assert!(said.contains(&place.display().to_string()), "record at {at}: {said}");
            }
        }
    }
    // the beginning of a record alone, as a power cut leaves it behind the others, is none
    let last = *records.last().unwrap();
    for torn in [vec![0; 9], bytes[last..last + 20].to_vec(), [&bytes[last..last + 7], &[0; 40]].concat()] {
        let copy = original.copy();
        let place = copy.path().join("store");
        fs::remove_file(place.join(&list)).unwrap();
        fs::write(place.join(&list), [&bytes[..], &torn].concat()).unwrap();
        if let Err(error) = Store::open(&place, OpenMode::ReadOnly) {
            assert!(!told(&error).contains("damaged length"), "{}", told(&error));
        }
    }
}

/// Gives the list of tables the number before its own.
fn older_list(place: &Path) {
    let name = fs::read_to_string(place.join("db/CURRENT")).unwrap();
    let number: u64 = name.trim_end().trim_start_matches("MANIFEST-").parse().unwrap();
    let older = format!("MANIFEST-{:06}", number - 1);
    fs::rename(place.join("db").join(name.trim_end()), place.join("db").join(&older)).unwrap();
    fs::remove_file(place.join("db/CURRENT")).unwrap();
    fs::write(place.join("db/CURRENT"), format!("{older}\n")).unwrap();
}

#[test]
fn a_list_of_tables_that_was_cut_where_a_record_ends_or_is_an_older_one_is_found_and_nothing_is_changed() {
    let original = original();
    let name = fs::read_to_string(original.path().join("db/CURRENT")).unwrap();
    let list = Path::new("db").join(name.trim_end());
    let bytes = fs::read(original.path().join(&list)).unwrap();
    let refused = |what: &str, change: &dyn Fn(&Path)| {
        let copy = original.copy();
        let place = copy.path().join("store");
        change(&place);
        let before = everything(&place);
        for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
            let said = told(&Store::open(&place, mode).map(drop).expect_err(what));
            assert!(said.contains(&place.display().to_string()), "{what}: {said}");
            assert!(differing(&before, &everything(&place)).is_empty(), "{what}");
        }
    };
    for at in records_of(&bytes) {
        refused(&format!("cut at {at}"), &|place| {
            fs::remove_file(place.join(&list)).unwrap();
            fs::write(place.join(&list), &bytes[..at]).unwrap();
        });
    }
    refused("an older list", &older_list);
}

#[test]
fn a_store_from_before_its_list_of_tables_was_noted_is_told_opens_and_is_protected_from_then_on() {
    let original = original();
    let copy = original.copy();
    let place = copy.path().join("store");
    let bytes = fs::read(place.join("HEAD")).unwrap();
    fs::remove_file(place.join("HEAD")).unwrap();
    fs::write(place.join("HEAD"), &bytes[..192]).unwrap();
    let reader = Store::open(&place, OpenMode::ReadOnly).unwrap();
    assert_eq!((reader.damaged_slots().unwrap(), rows(&reader).unwrap() == original.rows), (2, true));
    drop(Store::open(&place, OpenMode::ReadWrite).unwrap());
    assert_eq!((reader.damaged_slots().unwrap(), fs::read(place.join("HEAD")).unwrap().len()), (0, 256));
    older_list(&place);
    let said = told(&Store::open(&place, OpenMode::ReadOnly).map(drop).unwrap_err());
    assert!(said.contains("is older than the list that was acknowledged"), "{said}");
}

#[test]
fn a_flipped_bit_in_the_file_that_says_what_was_acknowledged_is_found_and_written_again() {
    let mut random = Random::new();
    let original = original();
    let bytes = fs::read(original.path().join("HEAD")).unwrap();
    assert_eq!(bytes.len(), 256);
    for (at, byte) in bytes.iter().enumerate() {
        let copy = original.copy();
        let place = copy.path().join("store");
        let mut flipped = bytes.clone();
        flipped[at] = byte ^ (1 << random.below(8));
        fs::remove_file(place.join("HEAD")).unwrap();
        fs::write(place.join("HEAD"), flipped).unwrap();
        let reader = Store::open(&place, OpenMode::ReadOnly).unwrap();
        assert_eq!(reader.damaged_slots().unwrap(), 1, "byte {at}");
        assert_eq!(rows(&reader).unwrap(), original.rows);
        drop(Store::open(&place, OpenMode::ReadWrite).unwrap());
        assert_eq!(reader.damaged_slots().unwrap(), 0, "byte {at}");
        assert_eq!(rows(&Store::open(&place, OpenMode::ReadOnly).unwrap()).unwrap(), original.rows);
    }
}

#[test]
fn a_slot_of_that_file_that_was_erased_and_a_file_that_was_cut_are_found_and_written_again() {
    let original = original();
    let bytes = fs::read(original.path().join("HEAD")).unwrap();
    let slots = [0..64, 64..128, 128..160, 160..192, 192..224, 224..256];
    let both = std::iter::once((2, 192..256));
    let erased = slots.into_iter().map(|slot| (1, slot)).chain(both).map(|(damaged, slots)| {
        let mut erased = bytes.clone();
        erased[slots].fill(0);
        (damaged, erased)
    });
    let cut = [(3, 160), (3, 161), (3, 191), (2, 192), (1, 224), (1, 225), (1, 255)];
    let cut = cut.map(|(slots, length)| (slots, bytes[..length].to_vec()));
    for (slots, damaged) in erased.chain(cut) {
        let copy = original.copy();
        let place = copy.path().join("store");
        fs::remove_file(place.join("HEAD")).unwrap();
        fs::write(place.join("HEAD"), &damaged).unwrap();
        let reader = Store::open(&place, OpenMode::ReadOnly).unwrap();
        assert_eq!(reader.damaged_slots().unwrap(), slots);
        drop(Store::open(&place, OpenMode::ReadWrite).unwrap());
        assert_eq!((reader.damaged_slots().unwrap(), fs::read(place.join("HEAD")).unwrap().len()), (0, 256));
        assert_eq!(rows(&Store::open(&place, OpenMode::ReadOnly).unwrap()).unwrap(), original.rows);
    }
    // nothing else says how far the database must go
    for length in [0, 64, 128, 159] {
        let copy = original.copy();
        let place = copy.path().join("store");
        fs::remove_file(place.join("HEAD")).unwrap();
        fs::write(place.join("HEAD"), &bytes[..length]).unwrap();
        for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
            assert!(matches!(Store::open(&place, mode), Err(Error::HeadLost { .. })), "{length} bytes");
        }
    }
}

#[test]
fn a_store_that_has_hardly_begun_has_no_damage_in_that_file() {
    let dir = in_memory();
    let at = dir.path().join("store");
    for round in 0..6_u8 {
        let store = Store::open(&at, OpenMode::ReadWrite).unwrap();
        let look = || Store::open(&at, OpenMode::ReadOnly).unwrap().damaged_slots().unwrap();
        assert_eq!((look(), store.damaged_slots().unwrap()), (0, 0), "round {round}");
        for put in 0..round {
            store.put_blob(&[round, put]).unwrap();
            assert_eq!(look(), 0, "round {round}, put {put}");
        }
        if round % 2 == 1 {
            store.append_events(&[vec![round]]).unwrap();
            assert_eq!(look(), 0, "round {round}");
        }
    }
}

#[test]
fn a_damaged_block_of_any_table_is_found_by_reading_the_tables_and_the_table_is_named() {
    let mut random = Random::new();
    let original = original();
    let mut named = BTreeMap::<&str, usize>::new();
    for _ in 0..DATABASE {
        let copy = original.copy();
        let at = copy.path().join("store");
        let tables = database(&at).into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "sst"));
        let path = random.take(&mut tables.collect());
        let what = flip(&at, &path, &mut random);
        // what is damaged in its frame is refused before
        let Ok(store) = Store::open(&at, OpenMode::ReadOnly) else { continue };
        let read = store.read_tables(&|| false).unwrap();
        assert_eq!(read.len(), 5);
        let faults: Vec<_> = read.iter().filter_map(|table| Some((table.name, table.fault.as_ref()?))).collect();
        let [(table, fault)] = faults[..] else { panic!("{what}: {faults:?}") };
        let said = told(fault);
        let is_named = ["orrupt", "mismatch", "does not check"].iter().any(|part| said.contains(part));
        assert!(is_named, "{what}: {said}");
        *named.entry(table).or_default() += 1;
    }
    println!("damaged blocks by table: {named:?}");
    assert!(named.values().sum::<usize>() > DATABASE / 4, "{named:?}");
}
