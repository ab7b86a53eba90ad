//! Backups in trouble: damaged, foreign, full, interrupted, two at once.

use super::{back_up, filled, pool, refused, restore, whole};
use crate::{fresh, full_disk::Disk, noise};
use anneal_store::{Backup, ChunkHash, Error, OpenMode, Store};
use std::fs;

#[test]
fn an_interrupted_backup_is_none_and_the_next_one_goes_on_from_it() {
    let (dir, store) = fresh();
    filled(&store);
    let to = dir.path().join("backup");
    let asked = std::cell::Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() > 30
    };
    refused(store.backup(&to, &stop), &["was stopped before its end"]);
    refused(Backup::open(&to).unwrap().generation(None), &["has no generation: none was ever finished"]);
    // all written, and not sealed
    drop(store.backup(&to, &|| false).unwrap());
    refused(Backup::open(&to).unwrap().generation(None), &["has no generation"]);
    let backed = back_up(&store, &to);
    assert_eq!((backed.generation, backed.copied_files), (1, 0));
    // the next one is stopped, and this one stays
    store.put_blob(b"more").unwrap();
    refused(store.backup(&to, &|| true), &["its earlier generations are whole"]);
    let backup = Backup::open(&to).unwrap();
    let generation = backup.generation(None).unwrap();
    assert_eq!((generation.number, backup.check(&generation).unwrap().wrong), (1, vec![]));
}

#[test]
fn whatever_file_of_a_backup_is_damaged_is_found_and_not_restored() {
    let (dir, store) = fresh();
    filled(&store);
    let to = dir.path().join("backup");
    back_up(&store, &to);
    let backup = Backup::open(&to).unwrap();
    let files = pool(&to);
    assert!(files.len() > 60, "{}", files.len());
    let mut restored = 0;
    for (number, path) in files.iter().enumerate() {
        let bytes = fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let mut wrong = bytes.clone();
        match (number % 3, wrong.last_mut()) {
            (0, Some(last)) => *last ^= 1,
            (1, Some(_)) => drop(wrong.pop()),
            _ => wrong.push(0),
        }
        fs::write(path, wrong).unwrap();
        match backup.generation(None) {
            Err(error) => assert!(matches!(error, Error::BackupDamaged { .. }), "{error}"),
            Ok(generation) => {
                let found = backup.check(&generation).unwrap().wrong;
                assert!(matches!(found.as_slice(), [(digest, _)] if digest.hex() == name), "{name}: {found:?}");
                if number % 30 == 0 {
                    restored += 1;
                    let at = dir.path().join(format!("restored-{number}"));
                    refused(backup.restore(&generation, &at, ChunkHash::Blake3), &[name, "use another copy"]);
                }
            }
        }
        fs::write(path, bytes).unwrap();
    }
    assert!(restored > 1);
    fs::remove_file(&files[7]).unwrap();
    assert_eq!(backup.check(&backup.generation(None).unwrap()).unwrap().wrong.len(), 1);
    // what is gone is copied again by the next backup
    assert_eq!(back_up(&store, &to).copied_files, 1);
    assert_eq!(backup.check(&backup.generation(None).unwrap()).unwrap().wrong, []);
}

#[test]
fn a_link_in_the_place_of_a_file_is_not_followed() {
    let (dir, store) = fresh();
    filled(&store);
    let to = dir.path().join("backup");
    back_up(&store, &to);
    let backup = Backup::open(&to).unwrap();
    let generation = backup.generation(None).unwrap();
    for path in pool(&to) {
        let elsewhere = dir.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let is_manifest = generation.digest.hex() == path.file_name().unwrap().to_str().unwrap();
        let found = |generation| backup.check(generation).unwrap().wrong.len();
        assert!(is_manifest || found(&generation) == 1, "{}", path.display());
        fs::rename(&elsewhere, &path).unwrap();
    }
}

#[test]
fn a_blob_that_the_store_cannot_read_is_named_and_the_rest_is_backed_up() {
    let (dir, store) = fresh();
    let actions = filled(&store);
    let digest = store.put_blob(&noise(1, 30_000)).unwrap();
    let path = store.dir().join(format!("blobs/sha256/{}/{}", &digest.hex()[..2], digest.hex()));
    let mut bytes = fs::read(&path).unwrap();
    bytes[17] ^= 4;
    fs::write(&path, bytes).unwrap();
    let to = dir.path().join("backup");
    assert_eq!(back_up(&store, &to).damaged, [digest]);
    let backup = Backup::open(&to).unwrap();
    assert_eq!(backup.check(&backup.generation(None).unwrap()).unwrap().wrong, []);
    let restored = restore(&to, &dir.path().join("restored"));
    assert!(!restored.has(&digest).unwrap());
    assert_eq!(whole(&restored, &actions), 20);
}

#[test]
fn what_is_no_backup_is_refused_and_left_alone() {
    let (dir, store) = fresh();
    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter"), "dear").unwrap();
    refused(store.backup(&foreign, &|| false), &["there is no BACKUP file in it"]);
    refused(Backup::open(&foreign), &["there is no BACKUP file in it"]);
    refused(store.backup(store.dir(), &|| false), &["there is no BACKUP file in it"]);
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
    let to = dir.path().join("backup");
    back_up(&store, &to);
    fs::write(to.join("BACKUP"), "anneal backup 9\n").unwrap();
    let said = ["has format `anneal backup 9`, expected `anneal backup 1`", "use the program that wrote it"];
    refused(store.backup(&to, &|| false), &said);
    refused(Backup::open(&to), &said);
    fs::write(to.join("BACKUP"), "anneal backup 1\n").unwrap();
    let reader = Store::open(store.dir(), OpenMode::ReadOnly).unwrap();
    refused(reader.backup(&to, &|| false), &["open for reading only"]);
    let generation = Backup::open(&to).unwrap().generation(None).unwrap();
    refused(Backup::open(&to).unwrap().restore(&generation, store.dir(), ChunkHash::Blake3), &["is not empty"]);
}

#[test]
fn one_backup_at_a_time_goes_into_a_directory_and_comes_out_of_a_store() {
    let (dir, store) = fresh();
    let (to, other) = (dir.path().join("backup"), dir.path().join("other"));
    let draft = store.backup(&to, &|| false).unwrap();
    refused(store.backup(&to, &|| false), &[&format!("process {} is writing", std::process::id())]);
    back_up(&store, &other);
    draft.seal(b"").unwrap();
    let inner = std::cell::Cell::new(None);
    store.put_blob(b"something to copy").unwrap();
    let during = || {
        inner.set(Some(store.backup(&other, &|| false).map(drop)));
        false
    };
    store.backup(&to, &during).unwrap().seal(b"").unwrap();
    refused(inner.take().unwrap(), &["a backup of this store is under way"]);
}

#[test]
fn a_backup_whose_disk_is_full_says_so_and_keeps_its_generations() {
    let Some(disk) = Disk::new() else { return };
    let (dir, store) = fresh();
    filled(&store);
    let to = disk.path().join("backup");
    back_up(&store, &to);
    disk.fill();
    store.put_blob(&noise(3, 3 << 20)).unwrap();
    let error =
        refused(store.backup(&to, &|| false), &["no space left for the backup", "earlier generations are whole"]);
    assert!(matches!(error, Error::BackupFull { .. }));
    let backup = Backup::open(&to).unwrap();
    let generation = backup.generation(None).unwrap();
    assert_eq!((generation.number, backup.check(&generation).unwrap().wrong), (1, vec![]));
    store.put_blob(b"the store itself goes on").unwrap();
    disk.make_room();
    assert_eq!(back_up(&store, &to).generation, 2);
    restore(&to, &dir.path().join("restored"));
}
