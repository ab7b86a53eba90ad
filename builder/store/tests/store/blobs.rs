//! Blobs: what goes in comes out, in whole and in ranges, and damage never does.

use crate::{fresh, noise, temporaries, told, writer};
use anneal_content::{BlobDigest, BlobSource, ReadError};
use anneal_store::{CHUNK_BYTES, Error, OpenMode, Store};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

const CHUNK: usize = CHUNK_BYTES as usize;

fn path_of(store: &Store, digest: &BlobDigest) -> PathBuf {
    let hex = digest.hex();
    store.dir().join("blobs/sha256").join(&hex[..2]).join(&hex)
}

fn flip(store: &Store, digest: &BlobDigest, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path_of(store, digest)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn a_blob_comes_back_whatever_its_size_and_survives_a_restart() {
    let (dir, store) = fresh();
    let blobs: Vec<_> =
        [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK].iter().map(|len| noise(*len as u64, *len)).collect();
    let digests: Vec<_> = blobs.iter().map(|bytes| store.put_blob(bytes).unwrap()).collect();
    drop(store);
    let store = writer(dir.path());
    for (bytes, digest) in blobs.iter().zip(&digests) {
        assert_eq!(*digest, BlobDigest::of(bytes));
        assert!(store.has(digest).unwrap());
        assert_eq!(store.size(digest).unwrap(), Some(bytes.len() as u64));
        assert_eq!(store.read_blob(digest, u64::MAX).unwrap(), *bytes);
        let mut by_small_reads = Vec::new();
        let mut reader = store.open_blob(digest).unwrap();
        let mut part = [0; 60_001];
        loop {
            match reader.read(&mut part).unwrap() {
                0 => break,
                count => by_small_reads.extend_from_slice(&part[..count]),
            }
        }
        assert!(by_small_reads == *bytes);
    }
    assert!(temporaries(&store).is_empty());
}

#[test]
fn a_range_is_what_the_whole_blob_has_there() {
    let (_dir, store) = fresh();
    let bytes = noise(7, 2 * CHUNK + 100);
    let digest = store.put_blob(&bytes).unwrap();
    let whole = bytes.len();
    let ranges =
        [(0, 1), (CHUNK - 1, 2), (CHUNK, CHUNK), (5, whole - 5), (whole - 1, 1), (whole, 0), (2 * CHUNK - 3, 50)];
    for (offset, len) in ranges {
        let mut found = Vec::new();
        let mut reader = store.open_range(&digest, offset as u64, len as u64).unwrap();
        assert_eq!((reader.remaining(), reader.blob_size()), (len as u64, whole as u64));
        reader.read_to_end(&mut found).unwrap();
        assert!(found == bytes[offset..offset + len], "{offset}+{len}");
    }
    for (offset, len) in [(whole as u64, 1), (0, whole as u64 + 1), (u64::MAX, 2)] {
        assert!(matches!(store.open_range(&digest, offset, len), Err(Error::Range { .. })), "{offset}+{len}");
    }
}

#[test]
fn a_reader_moves_to_another_thread_and_outlives_the_handle() {
    let (_dir, store) = fresh();
    let bytes = noise(1, 100_000);
    let mut reader = store.open_blob(&store.put_blob(&bytes).unwrap()).unwrap();
    drop(store);
    let read = std::thread::spawn(move || {
        let mut found = Vec::new();
        reader.read_to_end(&mut found).map(|_| found)
    });
    assert!(read.join().unwrap().unwrap() == bytes);
}

#[test]
fn damage_is_found_before_its_chunk_leaves_and_the_blob_can_be_put_again() {
    let (_dir, store) = fresh();
    let bytes = noise(3, 3 * CHUNK);
    let digest = store.put_blob(&bytes).unwrap();
    flip(&store, &digest, CHUNK_BYTES + 17);
    let mut found = Vec::new();
    let error = store.open_blob(&digest).unwrap().read_to_end(&mut found).unwrap_err();
    assert!(error.to_string().contains(&digest.to_string()), "{error}");
    assert!(found == bytes[..CHUNK], "only the good chunk left, {} bytes did", found.len());
    // it is out of service, reported, and kept aside for whoever looks into it
    assert!(!store.has(&digest).unwrap());
    assert!(matches!(store.open_blob(&digest), Err(Error::Missing { .. })));
    assert_eq!(store.records(anneal_store::DAMAGE).unwrap()[0].0, digest.hex());
    assert_eq!(store.stats().unwrap().damaged_blobs, 1);
    assert!(store.dir().join("quarantine").join(digest.hex()).exists());
    assert_eq!(store.put_blob(&bytes).unwrap(), digest);
    assert!(store.read_blob(&digest, u64::MAX).unwrap() == bytes);
    assert_eq!(store.stats().unwrap().damaged_blobs, 0);
}

#[test]
fn a_reader_that_began_before_a_blob_was_mended_does_not_condemn_the_mended_one() {
    let (_dir, store) = fresh();
    let bytes = noise(3, 3 * CHUNK);
    let digest = store.put_blob(&bytes).unwrap();
    flip(&store, &digest, CHUNK_BYTES);
    let mut early = store.open_blob(&digest).unwrap();
    assert!(store.read_blob(&digest, u64::MAX).is_err());
    store.put_blob(&bytes).unwrap();
    assert!(early.read_to_end(&mut Vec::new()).is_err());
    assert!(store.read_blob(&digest, u64::MAX).unwrap() == bytes);
}

#[test]
fn what_stands_in_a_blobs_place_and_is_no_file_is_damage_that_is_named_set_aside_and_mended() {
    type Put = fn(&Path);
    let others: [(&str, Put); 4] = [
        ("a FIFO", |path| mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap()),
        ("a directory", |path| fs::create_dir_all(path.join("with/more")).unwrap()),
        ("a symbolic link", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
        ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
    ];
    let (_dir, store) = fresh();
    let bytes = noise(5, 5000);
    let digest = store.put_blob(&bytes).unwrap();
    let place = path_of(&store, &digest);
    let aside = store.dir().join("quarantine").join(digest.hex());
    let look: [fn(&Store, &BlobDigest) -> String; 2] = [
        |store, digest| told(&store.read_blob(digest, u64::MAX).unwrap_err()),
        |store, digest| format!("{:?}", store.mend_blob(digest).unwrap()),
    ];
    // each over what the one before left in quarantine
    for (name, put) in others.into_iter().chain(others.into_iter().rev()) {
        for look in look {
            fs::remove_file(&place).unwrap();
            put(&place);
            let reader = Store::open(store.dir(), OpenMode::ReadOnly).unwrap();
            assert!(told(&reader.read_blob(&digest, u64::MAX).unwrap_err()).contains(name), "{name}");
            let told = look(&store, &digest);
            assert!(told.contains(name), "{name}: {told}");
            assert!(!store.has(&digest).unwrap() && store.lacks_something().unwrap());
            assert!(fs::symlink_metadata(&place).is_err() && fs::symlink_metadata(&aside).is_ok(), "{name}");
            // somebody puts it there once more, and the blob replaces it
            put(&place);
            assert_eq!(store.put_blob(&bytes).unwrap(), digest);
            assert!(store.read_blob(&digest, u64::MAX).unwrap() == bytes);
        }
    }
    assert_eq!(store.clear_quarantine(u64::MAX).unwrap().blobs, 1);
    assert!(fs::symlink_metadata(&aside).is_err());
}

#[test]
fn a_range_beside_the_damage_is_served_and_one_over_it_is_not() {
    let (_dir, store) = fresh();
    let bytes = noise(4, 3 * CHUNK);
    let digest = store.put_blob(&bytes).unwrap();
    flip(&store, &digest, CHUNK_BYTES);
    let mut found = Vec::new();
    store.open_range(&digest, 0, CHUNK_BYTES).unwrap().read_to_end(&mut found).unwrap();
    assert!(found == bytes[..CHUNK]);
    // the flipped byte itself is not asked for, but its chunk is
    assert!(store.open_range(&digest, CHUNK_BYTES + 5, 1).unwrap().read(&mut [0]).is_err());
}

#[test]
fn a_blob_that_was_cut_or_lost_on_disk_is_not_served() {
    let (_dir, store) = fresh();
    let (cut, lost) = (store.put_blob(&noise(5, 5000)).unwrap(), store.put_blob(&noise(6, 5000)).unwrap());
    OpenOptions::new().write(true).open(path_of(&store, &cut)).unwrap().set_len(4999).unwrap();
    std::fs::remove_file(path_of(&store, &lost)).unwrap();
    let error = store.open_blob(&cut).unwrap_err();
    assert!(told(&error).contains("expected 5000 bytes, found 4999"), "{error}");
    let error = BlobSource::read(&store, &lost).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
    assert!(matches!(BlobSource::read(&store, &lost).unwrap_err(), ReadError::Missing(_)));
}

#[test]
fn a_stream_that_is_too_long_leaves_nothing() {
    let (_dir, store) = fresh();
    for limit in [0, 10, CHUNK - 1, CHUNK, 2 * CHUNK] {
        let bytes = noise(limit as u64, limit + 1);
        let (digest, size) = store.put_reader(&mut &bytes[..limit], limit as u64).unwrap();
        assert_eq!((digest, size), (BlobDigest::of(&bytes[..limit]), limit as u64));
        let error = store.put_reader(&mut bytes.as_slice(), limit as u64).unwrap_err();
        assert!(matches!(error, Error::TooLong { .. }), "{error}");
        assert!(!store.has(&BlobDigest::of(&bytes)).unwrap());
    }
    assert!(temporaries(&store).is_empty());
}

#[test]
fn a_writer_keeps_nothing_without_a_commit_or_with_other_bytes_than_announced() {
    let (_dir, store) = fresh();
    let bytes = noise(9, 2 * CHUNK + 1);
    let digest = BlobDigest::of(&bytes);
    let mut abandoned = store.writer().unwrap();
    abandoned.write_all(&bytes).unwrap();
    drop(abandoned);
    let mut wrong = store.writer().unwrap();
    wrong.write_all(&bytes[1..]).unwrap();
    let error = wrong.commit_as(&digest).unwrap_err();
    assert!(told(&error).contains(&digest.to_string()), "{error}");
    assert!(!store.has(&digest).unwrap());
    assert!(temporaries(&store).is_empty());
    let mut right = store.writer().unwrap();
    bytes.chunks(1000).for_each(|part| right.write_all(part).unwrap());
    assert_eq!(right.commit_as(&digest).unwrap(), bytes.len() as u64);
    assert!(store.read_blob(&digest, u64::MAX).unwrap() == bytes);
    assert!(matches!(store.read_blob(&digest, 5), Err(Error::TooLong { .. })));
}

#[test]
fn the_same_blob_from_many_threads_is_one_blob() {
    let (_dir, store) = fresh();
    let bytes = noise(10, 50_000);
    std::thread::scope(|scope| {
        (0..8).for_each(|_| {
            scope.spawn(|| store.put_blobs(&[&bytes, b"x", &bytes]).unwrap());
        });
    });
    assert!(store.read_blob(&BlobDigest::of(&bytes), u64::MAX).unwrap() == bytes);
    let stats = store.stats().unwrap();
    assert_eq!((stats.blobs, stats.blob_bytes), (2, 50_001));
    assert!(temporaries(&store).is_empty());
}
