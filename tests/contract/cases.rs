//! The contract, on every implementation.

use crate::{CHUNK, Subject, everywhere, held, keep, noise, told};
use anneal_content::BlobDigest;
use anneal_store::{Error, IngestRules, Meaning, Mended, Node, OpenMode, Root, Store, Sweep};
use std::{collections::BTreeSet, fs, io::Read as _, os::unix::fs::PermissionsExt as _, thread};

/// Files that name nothing.
const MEANING: Meaning<'static> = Meaning { document: &|_| None, records: &[] };
/// A time after everything that these tests do.
const LATER_MS: u64 = 4_000_000_000_000;

#[test]
fn a_blob_comes_back_whole_and_in_ranges_also_after_a_restart_and_for_a_reader() {
    everywhere(|subject| {
        let blobs: Vec<_> = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1].map(|len| noise(len as u64, len)).into();
        let digests = {
            let store = subject.open();
            store.put_blobs(&blobs.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap()
        };
        let writer = subject.open();
        for store in [&writer, &Store::open(&subject.path(), OpenMode::ReadOnly).unwrap()] {
            for (bytes, digest) in blobs.iter().zip(&digests) {
                assert_eq!(*digest, BlobDigest::of(bytes));
                assert!(store.read_blob(digest, u64::MAX).unwrap() == *bytes);
            }
            let (digest, bytes) = (&digests[4], &blobs[4]);
            for (offset, len) in [(0, 1), (CHUNK - 1, 2), (CHUNK - 5, 5), (CHUNK, 1), (7, CHUNK - 6), (CHUNK + 1, 0)] {
                let mut found = Vec::new();
                store.open_range(digest, offset as u64, len as u64).unwrap().read_to_end(&mut found).unwrap();
                assert!(found == bytes[offset..offset + len], "{offset}+{len}");
            }
        }
        assert!(fs::read_dir(subject.path().join("tmp")).unwrap().next().is_none(), "nothing stays in tmp");
    });
}

#[test]
fn a_blob_of_many_megabytes_comes_back_and_so_do_ranges_over_the_borders_of_its_parts() {
    everywhere(|subject| {
        let store = subject.open();
        let bytes = noise(40, 40 << 20);
        let (digest, size) = store.put_reader(&mut bytes.as_slice(), u64::MAX).unwrap();
        assert_eq!(size, 40 << 20);
        assert!(store.read_blob(&digest, u64::MAX).unwrap() == bytes);
        for offset in [(16 << 20) - 3, (32 << 20) - 1, (40 << 20) - 8] {
            let mut found = Vec::new();
            store.open_range(&digest, offset as u64, 8).unwrap().read_to_end(&mut found).unwrap();
            assert!(found == bytes[offset..offset + 8], "{offset}");
        }
        // once more, past the database that would say that it is there
        keep(&store, &[(digest, &bytes)]).unwrap();
        assert!(store.read_blob(&digest, u64::MAX).unwrap() == bytes);
    });
}

#[test]
fn what_is_kept_twice_is_there_once_and_what_was_wrong_there_is_replaced() {
    everywhere(|subject| {
        let store = subject.open();
        let (small, large) = (noise(1, 1000), noise(2, 17 << 20));
        for bytes in [&small, &large] {
            let digest = BlobDigest::of(bytes);
            keep(&store, &[(digest, bytes)]).unwrap();
            keep(&store, &[(digest, bytes)]).unwrap();
            assert!(held(&store, &digest).unwrap() == *bytes);
            for wrong in [b"left by a crash".to_vec(), noise(3, bytes.len())] {
                subject.overwrite(&digest, &wrong);
                keep(&store, &[(digest, bytes)]).unwrap();
                assert!(held(&store, &digest).unwrap() == *bytes);
            }
        }
    });
}

#[test]
fn many_threads_may_keep_the_same_blob_at_once() {
    everywhere(|subject| {
        let store = subject.open();
        let bytes = noise(9, 100_000);
        let digest = BlobDigest::of(&bytes);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| keep(&store, &[(digest, &bytes)]).unwrap());
            }
        });
        assert!(held(&store, &digest).unwrap() == bytes);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(store.put_blob(&bytes).unwrap(), digest));
            }
        });
        assert!(store.read_blob(&digest, u64::MAX).unwrap() == bytes);
    });
}

#[test]
fn what_is_not_there_is_an_answer_and_no_error() {
    everywhere(|subject| {
        let store = subject.open();
        let digest = BlobDigest::of(b"never came");
        let backend = store.backend();
        assert!(backend.open(&digest, 0..100).unwrap().is_none());
        assert!(backend.open(&digest, 0..0).unwrap().is_none());
        assert_eq!(backend.came_ms(&[digest]).unwrap(), [None]);
        let aside = subject.path().join("quarantine/nothing");
        backend.set_aside(&digest, &aside).unwrap();
        assert!(!aside.exists());
        backend.take_away(&[digest], &subject.path().join("tmp/bin")).unwrap();
        assert_eq!(backend.list(0).unwrap(), []);
        assert!(matches!(store.read_blob(&digest, 100), Err(Error::Missing { .. })));
    });
}

#[test]
fn a_list_is_whole_however_many_there_are_and_what_is_taken_away_is_not_in_it() {
    // more than a page of a server has
    let mut blobs: Vec<(BlobDigest, Vec<u8>)> = (0u32..)
        .map(|number| number.to_be_bytes().to_vec())
        .map(|bytes| (BlobDigest::of(&bytes), bytes))
        .filter(|(digest, _)| digest.as_bytes()[0] == 7)
        .take(1010)
        .collect();
    blobs.sort();
    let other = (BlobDigest::of(b"other"), b"other".to_vec());
    everywhere(|subject| {
        let store = subject.open();
        let all: Vec<(BlobDigest, &[u8])> =
            blobs.iter().chain([&other]).map(|(digest, bytes)| (*digest, bytes.as_slice())).collect();
        keep(&store, &all).unwrap();
        let digests: Vec<BlobDigest> = blobs.iter().map(|(digest, _)| *digest).collect();
        assert_eq!(store.backend().list(7).unwrap(), digests);
        assert_eq!(store.backend().list(other.0.as_bytes()[0]).unwrap(), [other.0]);
        let came = store.backend().came_ms(&digests).unwrap();
        assert!(came.iter().all(|came_ms| came_ms.is_some_and(|came_ms| came_ms > 1_500_000_000_000)));
        assert_eq!(store.backend().came_ms(&digests[..1]).unwrap(), came[..1]);
        store.backend().take_away(&digests[..40], &subject.path().join("tmp/bin")).unwrap();
        assert_eq!(store.backend().list(7).unwrap(), digests[40..]);
        assert!(held(&store, &digests[0]).is_none());
    });
}

#[test]
fn damage_is_found_on_read_and_set_aside_and_the_blob_can_come_again() {
    everywhere(|subject| {
        let store = subject.open();
        let bytes = noise(5, CHUNK + 10);
        let digest = store.put_blob(&bytes).unwrap();
        let mut flipped = bytes.clone();
        flipped[CHUNK + 3] ^= 1;
        for (wrong, says) in [(flipped.as_slice(), "chunk 1"), (&bytes[..CHUNK], "expected"), (b"", "expected")] {
            subject.overwrite(&digest, wrong);
            let error = store.read_blob(&digest, u64::MAX).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }) && told(&error).contains(says), "{error}");
            assert!(!store.has(&digest).unwrap());
            assert!(held(&store, &digest).is_none(), "it is out of its place");
            let aside = fs::read(subject.path().join("quarantine").join(digest.hex())).unwrap();
            assert!(aside == wrong, "and somebody can look at it");
            assert_eq!(store.put_blob(&bytes).unwrap(), digest);
            assert!(store.read_blob(&digest, u64::MAX).unwrap() == bytes);
            assert_eq!(store.mend_blob(&digest).unwrap(), Mended::Sound);
        }
        store.backend().take_away(&[digest], &subject.path().join("tmp/bin")).unwrap();
        let error = store.read_blob(&digest, u64::MAX).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(!store.has(&digest).unwrap());
    });
}

fn collect(store: &Store, root: Node, keep_ms: u64) -> anneal_store::Swept {
    let collection = store.collection().unwrap();
    let roots = vec![Root { node: root, kind: "published", why: "publication c1".to_owned() }];
    let survey = collection.survey(roots, MEANING, keep_ms, LATER_MS).unwrap();
    collection.sweep(survey, &Sweep { meaning: MEANING, remember: &BTreeSet::new(), stop: &|| false }).unwrap()
}

#[test]
fn a_collection_takes_what_nothing_needs_and_what_no_record_names_but_nothing_young() {
    everywhere(|subject| {
        let store = subject.open();
        let [kept, garbage] = [b"kept".as_slice(), b"garbage"].map(|bytes| store.put_blob(bytes).unwrap());
        let leftover = BlobDigest::of(b"left by a crash");
        let swept = collect(&store, Node::Blob(kept), LATER_MS - 1_500_000_000_000);
        assert_eq!((swept.blobs, swept.leftovers), (0, 0), "all of it is young");
        keep(&store, &[(leftover, b"left by a crash")]).unwrap();
        let swept = collect(&store, Node::Blob(kept), 0);
        assert_eq!((swept.blobs, swept.bytes, swept.leftovers), (1, 7, 1));
        assert_eq!([kept, garbage, leftover].map(|digest| held(&store, &digest).is_some()), [true, false, false]);
        assert_eq!(store.read_blob(&kept, 10).unwrap(), b"kept");
    });
}

#[test]
fn a_tree_stands_ready_as_a_directory_whatever_keeps_its_files() {
    everywhere(|subject| {
        let store = subject.open();
        let from = tempfile::tempdir().unwrap();
        for (name, mode) in [("plain", 0o644), ("program", 0o755), ("secret", 0o600)] {
            fs::write(from.path().join(name), name).unwrap();
            fs::set_permissions(from.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let tree = store.ingest(from.path(), &IngestRules::default()).unwrap();
        let dir = store.materialize(&tree).unwrap();
        for (name, mode) in [("plain", 0o644), ("program", 0o755), ("secret", 0o600)] {
            assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), name);
            assert_eq!(fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o7777, mode, "{name}");
        }
        damaged_input(subject, &store);
    });
}

/// A tree is not made of a file that was damaged.
fn damaged_input(subject: &Subject, store: &Store) {
    let from = tempfile::tempdir().unwrap();
    fs::write(from.path().join("input"), "right").unwrap();
    let tree = store.ingest(from.path(), &IngestRules::default()).unwrap();
    subject.overwrite(&BlobDigest::of(b"right"), b"wrong");
    let error = store.materialize(&tree).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}
