//! A sector that can no longer be read: a real EIO, from a disk through the kernel's file system to the store.

use anneal_content::{BlobDigest, list};
use anneal_power::{Disk, FileSystem, Mounted, is_alone, missing, noise, ram_dir, run_alone, told};
use anneal_store::{IngestRules, Mended, OpenMode, Store};
use std::{fs, path::Path};

/// How many records a database gets.
const RECORDS: u64 = 2_500;

/// A test of this file runs in a mount namespace of its own; says whether that was done, or can't be.
fn elsewhere(test: &str) -> bool {
    if let Some(why) = missing(FileSystem::Ext4) {
        println!("skipped: {why}");
        return true;
    }
    if is_alone() {
        return false;
    }
    assert!(run_alone(test));
    true
}

/// A store on a disk of its own that was unmounted since, so that nothing of it is in memory.
fn settled(dir: &Path, fill: impl FnOnce(&Store)) -> Disk {
    let disk = Disk::new(&dir.join("fuse"), FileSystem::Ext4.disk_bytes()).unwrap();
    FileSystem::Ext4.format(disk.path()).unwrap();
    let mounted = mount(dir, &disk);
    let store = Store::open(&dir.join("mounted/store"), OpenMode::ReadWrite).unwrap();
    fill(&store);
    drop(store);
    mounted.unmount().unwrap();
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    disk
}

fn mount(dir: &Path, disk: &Disk) -> Mounted {
    Mounted::new(FileSystem::Ext4, disk.path(), &dir.join("mounted")).unwrap()
}

#[test]
fn a_blob_in_a_bad_sector_is_never_served_is_named_and_comes_again_elsewhere() {
    if elsewhere("bad_sector::a_blob_in_a_bad_sector_is_never_served_is_named_and_comes_again_elsewhere") {
        return;
    }
    let dir = ram_dir("sector");
    let (bad, good) = (noise(1, 3 << 20), noise(2, 40_000));
    let [bad_digest, good_digest] = [&bad, &good].map(|bytes| BlobDigest::of(bytes));
    let mut tree = None;
    let disk = settled(dir.path(), |store| {
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("bad"), &bad).unwrap();
        fs::write(source.join("good"), &good).unwrap();
        tree = Some(store.ingest(&source, &IngestRules::default()).unwrap());
    });
    let tree = tree.unwrap();
    // one sector in its second mebibyte
    assert_eq!(disk.spoil(&bad[1_500 << 10..(1_500 << 10) + 512]), 1);
    let _mounted = mount(dir.path(), &disk);
    let place = dir.path().join("mounted/store");
    let store = Store::open(&place, OpenMode::ReadWrite).unwrap();
    let names = |error: &anneal_store::Error| {
        let said = told(error);
        assert!(said.contains(&bad_digest.hex()) && said.contains("os error 5"), "{said}");
    };
    names(&store.read_blob(&bad_digest, u64::MAX).unwrap_err());
    // what is before it is right, and is served
    let mut reader = store.open_blob(&bad_digest).unwrap();
    assert!(reader.next_chunk().unwrap().is_some_and(|chunk| *chunk == bad[..1 << 20]));
    names(&reader.next_chunk().map(drop).unwrap_err());
    names(&store.materialize(&tree).unwrap_err());
    assert!(fs::read_dir(place.join("tmp")).unwrap().next().is_none(), "of a tree that cannot be made nothing stays");
    assert!(store.read_blob(&good_digest, u64::MAX).unwrap() == good);
    // to look again is not to lose it: a disk may have been away for a moment
    disk.heal();
    assert!(store.read_blob(&bad_digest, u64::MAX).unwrap() == bad);
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    assert_eq!(disk.spoil(&bad[..512]), 1);
    assert!(matches!(store.mend_blob(&bad_digest).unwrap(), Mended::Lost(why) if why.contains("os error 5")));
    assert!(!store.has(&bad_digest).unwrap());
    assert_eq!(store.put_blob(&bad).unwrap(), bad_digest);
    assert!(store.read_blob(&bad_digest, u64::MAX).unwrap() == bad);
    assert_eq!(list(&tree, &store).unwrap().len(), 2);
    store.materialize(&tree).unwrap();
}

#[test]
fn a_table_in_a_bad_sector_is_named_and_no_row_is_another() {
    if elsewhere("bad_sector::a_table_in_a_bad_sector_is_named_and_no_row_is_another") {
        return;
    }
    let dir = ram_dir("table");
    let value = |number: u64| noise(number, 6_000);
    let name = |number: u64| format!("{number:04}");
    // more than one of the engine's buffers of 8 MiB
    let disk = settled(dir.path(), |store| {
        for number in 0..RECORDS {
            store.put_record("note", &name(number), &value(number)).unwrap();
        }
    });
    let mounted = mount(dir.path(), &disk);
    let place = dir.path().join("mounted/store");
    let tables = fs::read_dir(place.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let tables = tables.filter(|path| path.extension().is_some_and(|kind| kind == "sst"));
    let table = tables.max_by_key(|path| fs::metadata(path).unwrap().len()).expect("a table was written");
    let sector = fs::read(&table).unwrap()[1 << 20..(1 << 20) + 512].to_vec();
    mounted.unmount().unwrap();
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    assert_eq!(disk.spoil(&sector), 1);
    let _mounted = mount(dir.path(), &disk);
    let store = Store::open(&place, OpenMode::ReadOnly).unwrap();
    let (mut read, mut refused) = (0, 0);
    for number in 0..RECORDS {
        match store.record("note", &name(number)) {
            Ok(found) => {
                assert_eq!(found, Some(value(number)));
                read += 1;
            }
            Err(error) => {
                let said = told(&error);
                assert!(said.contains(&place.display().to_string()) && said.contains("Input/output error"), "{said}");
                refused += 1;
            }
        }
    }
    println!("{read} records read, {refused} refused");
    assert!(refused > 0 && read > RECORDS / 2);
    let faults = store.read_tables(&|| false).unwrap().into_iter().filter_map(|table| Some((table.name, table.fault?)));
    assert_eq!(faults.map(|(name, _)| name).collect::<Vec<_>>(), ["records"]);
}
