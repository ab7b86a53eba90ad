//! Rot under a backup: in the store that is backed up, and in the backup itself.

use super::{back_up, filled, restore, whole};
use crate::{fresh, noise};
use anneal_content::BlobDigest;
use anneal_store::{Backup, Store};
use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

/// The file of a blob, in a store or in a backup.
fn file(dir: &Path, digest: &BlobDigest) -> PathBuf {
    dir.join(format!("blobs/sha256/{}/{}", &digest.hex()[..2], digest.hex()))
}

/// Flips a bit; gives what was there.
fn flip(path: &Path) -> Vec<u8> {
    let right = fs::read(path).unwrap();
    let mut wrong = right.clone();
    wrong[right.len() / 2] ^= 4;
    fs::write(path, wrong).unwrap();
    right
}

/// Rots a blob in the store, and has the store find it and take it out of service.
fn lose(store: &Store, digest: &BlobDigest) {
    flip(&file(store.dir(), digest));
    store.read_blob(digest, u64::MAX).unwrap_err();
    assert!(!store.has(digest).unwrap());
}

fn keep_one(dir: &Path) {
    Backup::forget(dir, NonZeroUsize::MIN).unwrap();
}

#[test]
fn what_the_store_has_lost_is_lent_by_an_earlier_generation_and_its_last_copy_is_not_dropped() {
    let (dir, store) = fresh();
    let actions = filled(&store);
    let bytes = noise(1, 30_000);
    let digest = store.put_blob(&bytes).unwrap();
    let to = dir.path().join("backup");
    let whole_backup = back_up(&store, &to);
    lose(&store, &digest);
    for _ in 0..2 {
        let backed = back_up(&store, &to);
        assert_eq!((backed.damaged, backed.lent, backed.blobs), (vec![], vec![digest], whole_backup.blobs));
        keep_one(&to);
        assert_eq!(fs::read(file(&to, &digest)).unwrap(), bytes);
    }
    let restored = restore(&to, &dir.path().join("restored"));
    assert_eq!(restored.read_blob(&digest, u64::MAX).unwrap(), bytes);
    assert_eq!(whole(&restored, &actions), 20);
    // it came again: nothing is lent
    store.put_blob(&bytes).unwrap();
    assert_eq!(back_up(&store, &to).lent, []);
}

#[test]
fn what_the_store_has_lost_and_no_generation_has_is_named_until_it_comes_again() {
    let (dir, store) = fresh();
    filled(&store);
    let bytes = noise(1, 30_000);
    let digest = store.put_blob(&bytes).unwrap();
    lose(&store, &digest);
    let to = dir.path().join("backup");
    for _ in 0..2 {
        let backed = back_up(&store, &to);
        assert_eq!((backed.damaged, backed.lent), (vec![digest], vec![]));
    }
    // wrong bytes in its place are not lent; they stay, as right ones do that somebody puts there
    fs::write(file(&to, &digest), noise(2, 30_000)).unwrap();
    assert_eq!(back_up(&store, &to).damaged, [digest]);
    keep_one(&to);
    fs::write(file(&to, &digest), &bytes).unwrap();
    keep_one(&to);
    assert_eq!(back_up(&store, &to).lent, [digest]);
    store.put_blob(&bytes).unwrap();
    let backed = back_up(&store, &to);
    assert_eq!((backed.damaged, backed.lent), (vec![], vec![]));
}
