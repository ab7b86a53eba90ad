//! Rot under a backup: in the store that is backed up, and in the backup itself.

use super::{back_up, filled, pool, refused, restore, whole};
use crate::{fresh, noise};
use anneal_content::BlobDigest;
use anneal_store::{Backup, Error, Mended, Store};
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

/// A blob whose file cannot be read: a directory in its place has the size that is expected, and no bytes.
fn unreadable(store: &Store) -> BlobDigest {
    let directory = store.dir().join("tmp/directory");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("something"), "").unwrap();
    let size = fs::metadata(&directory).unwrap().len();
    let digest = store.put_blob(&noise(9, size.try_into().unwrap())).unwrap();
    let path = file(store.dir(), &digest);
    fs::remove_file(&path).unwrap();
    fs::rename(&directory, &path).unwrap();
    digest
}

#[test]
fn a_blob_whose_file_cannot_be_read_is_named_and_the_rest_is_backed_up() {
    let (dir, store) = fresh();
    let actions = filled(&store);
    let digest = unreadable(&store);
    let to = dir.path().join("backup");
    assert_eq!(back_up(&store, &to).damaged, [digest]);
    assert_eq!(whole(&restore(&to, &dir.path().join("restored")), &actions), 20);
}

#[test]
fn a_blob_whose_file_cannot_be_read_goes_out_of_service_and_comes_back_from_a_copy() {
    let (_dir, store) = fresh();
    let digest = unreadable(&store);
    let Mended::Lost(why) = store.mend_blob(&digest).unwrap() else { panic!("{digest} cannot have been mended") };
    assert!(why.contains("its file cannot be read"), "{why}");
    assert!(!store.has(&digest).unwrap() && store.lacks_something().unwrap());
    assert!(store.dir().join("quarantine").join(digest.hex()).is_dir());

    // an inode of another mode has its bytes; that what is in quarantine cannot be read hinders nothing
    let bytes = noise(3, 40_000);
    let digest = store.put_blob(&bytes).unwrap();
    let (path, copy) = (file(store.dir(), &digest), store.dir().join("modes/0555"));
    fs::create_dir_all(&copy).unwrap();
    fs::copy(&path, copy.join(digest.hex())).unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(store.mend_blob(&digest).unwrap(), Mended::Mended(_)));
    assert_eq!(store.read_blob(&digest, u64::MAX).unwrap(), bytes);
}

#[test]
fn a_lost_blob_stays_lost_where_the_backups_file_is_no_better_and_comes_back_where_it_is_right() {
    let (dir, store) = fresh();
    let bytes = noise(1, 3 << 20);
    let digest = store.put_blob(&bytes).unwrap();
    let to = dir.path().join("backup");
    back_up(&store, &to);
    lose(&store, &digest);
    fs::remove_file(store.dir().join("quarantine").join(digest.hex())).unwrap();
    let (backup, kept) = (Backup::open(&to).unwrap(), file(&to, &digest));
    let lost = |because: &str| {
        let Mended::Lost(why) = store.mend_from(&digest, &backup).unwrap() else { panic!("{because}: it was mended") };
        assert!(why.contains(because), "{why}");
        assert!(!store.has(&digest).unwrap());
    };
    flip(&kept);
    lost("the backup's copy is damaged: it hashes to");
    fs::remove_file(&kept).unwrap();
    lost("the backup lacks it");
    // one that nobody writes to would keep whoever opens it waiting
    nix::unistd::mkfifo(&kept, nix::sys::stat::Mode::S_IRWXU).unwrap();
    lost("the backup's copy cannot be read: a FIFO stands in its place");
    fs::remove_file(&kept).unwrap();
    std::os::unix::fs::symlink(file(store.dir(), &digest), &kept).unwrap();
    lost("the backup's copy cannot be read: a symbolic link");
    fs::remove_file(&kept).unwrap();
    fs::write(&kept, &bytes).unwrap();
    assert!(matches!(store.mend_from(&digest, &backup).unwrap(), Mended::Mended(_)));
    assert_eq!(store.read_blob(&digest, u64::MAX).unwrap(), bytes);
}

#[test]
fn a_part_or_manifest_that_rotted_in_the_backup_is_written_again_by_the_next_one() {
    let (dir, store) = fresh();
    let actions = filled(&store);
    let to = dir.path().join("backup");
    back_up(&store, &to);
    let ours = |path: &PathBuf| {
        let digest = format!("sha256:{}", path.file_name().unwrap().to_str().unwrap()).parse().unwrap();
        !store.has(&digest).unwrap()
    };
    let of_tables: Vec<_> = pool(&to).into_iter().filter(ours).collect();
    // a part of each of the five tables, and the manifest
    assert!(of_tables.len() >= 6, "{of_tables:?}");
    let right: Vec<_> = of_tables.iter().map(|path| flip(path)).collect();
    let backed = back_up(&store, &to);
    assert_eq!(backed.copied_files, of_tables.len() as u64);
    assert!(of_tables.iter().zip(right).all(|(path, bytes)| fs::read(path).unwrap() == bytes));
    let backup = Backup::open(&to).unwrap();
    for number in [1, 2] {
        assert_eq!(backup.check(&backup.generation(Some(number)).unwrap()).unwrap().wrong, []);
    }
    assert_eq!(whole(&restore(&to, &dir.path().join("restored")), &actions), 20);
}

#[test]
fn a_generation_whose_manifest_rotted_is_named_keeps_what_it_may_name_and_goes_in_its_turn() {
    let (dir, store) = fresh();
    let to = dir.path().join("backup");
    for round in 0..3_u8 {
        store.put_blob(&[round]).unwrap();
        store.append_events(&[vec![round]]).unwrap();
        back_up(&store, &to);
    }
    let backup = Backup::open(&to).unwrap();
    assert_eq!(backup.unreadable().unwrap(), []);
    flip(&file(&to, &backup.generation(Some(2)).unwrap().digest));
    let unreadable = backup.unreadable().unwrap();
    assert!(matches!(&unreadable[..], [(2, why)] if why.contains("is damaged: it hashes to")), "{unreadable:?}");
    for sound in [1, 3] {
        assert_eq!(backup.check(&backup.generation(Some(sound)).unwrap()).unwrap().wrong, []);
    }
    let keep = |count| Backup::forget(&to, NonZeroUsize::new(count).unwrap());
    assert!(matches!(keep(2), Err(Error::BackupDamaged { .. })), "nobody knows what it names");
    assert_eq!(keep(1).unwrap().generations, [1, 2]);
    assert_eq!(backup.unreadable().unwrap(), []);
    assert_eq!(backup.check(&backup.generation(None).unwrap()).unwrap().wrong, []);
}

#[test]
fn a_blob_that_rotted_in_the_backup_is_moved_away_by_a_check_and_copied_again_by_the_next_backup() {
    let (dir, store) = fresh();
    let actions = filled(&store);
    let (one, other) = (store.put_blob(&noise(1, 30_000)).unwrap(), store.put_blob(&noise(2, 30_000)).unwrap());
    let to = dir.path().join("backup");
    back_up(&store, &to);
    flip(&file(&to, &one));
    fs::remove_file(file(&to, &other)).unwrap();
    let backup = Backup::open(&to).unwrap();
    let generation = backup.generation(None).unwrap();
    let checked = backup.check(&generation).unwrap();
    assert_eq!(checked.wrong.len(), 2, "{checked:?}");
    // who writes a generation may be about to name it
    let draft = store.backup(&to, &|| false).unwrap();
    refused(backup.set_aside(&checked), &["is writing to the backup"]);
    drop(draft);
    let moved = backup.set_aside(&checked).unwrap();
    assert_eq!(moved, [(one, to.join("wrong").join(one.hex()))]);
    assert!(moved[0].1.exists() && !file(&to, &one).exists());
    assert_eq!(backup.set_aside(&checked).unwrap(), []);
    // the other one came with the draft
    assert_eq!(back_up(&store, &to).copied_files, 1);
    for number in [1, 2] {
        assert_eq!(backup.check(&backup.generation(Some(number)).unwrap()).unwrap().wrong, []);
    }
    assert_eq!(backup.set_aside(&checked).unwrap(), [], "what was right again was moved");
    assert_eq!(whole(&restore(&to, &dir.path().join("restored")), &actions), 20);
}
