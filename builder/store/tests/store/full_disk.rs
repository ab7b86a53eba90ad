//! A full disk: a clear error that names the path, nothing lost, and the store goes on when there is room again.

use crate::{noise, temporaries, told, writer};
use anneal_store::{Error, IngestRules, OpenMode, Store};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{fs, io::Write as _, path::Path};

const DISK_BYTES: usize = 176 << 20;

/// A small file system, gone at the end of the test.
pub(crate) struct Disk(tempfile::TempDir);

impl Disk {
    pub(crate) fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={DISK_BYTES}");
        let mounted = mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(options.as_str()));
        if let Err(error) = mounted {
            println!("skipped: can't mount a small file system here ({error})");
            return None;
        }
        Some(Self(dir))
    }
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
    /// Takes all space that is left, as another program would.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.path().join("filler")).unwrap();
        for step in [1 << 20, 1 << 12, 1] {
            let zeros = vec![0; step];
            while file.write_all(&zeros).is_ok() {}
        }
    }
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(self.path(), MntFlags::MNT_DETACH);
    }
}

#[track_caller]
fn check_full(error: &Error, store: &Store) {
    assert!(matches!(error, Error::Full { .. }), "{}", told(error));
    let text = told(error);
    assert!(text.contains("no space") && text.contains(&store.dir().display().to_string()), "{text}");
}

#[test]
fn a_store_that_fills_its_disk_stops_before_the_reserve_and_can_be_read_and_opened() {
    let Some(disk) = Disk::new() else { return };
    let store = writer(disk.path());
    let mut kept = Vec::new();
    let error = loop {
        let bytes = noise(kept.len() as u64, 3 << 20);
        match store.put_blob(&bytes) {
            Ok(digest) => kept.push((digest, bytes)),
            Err(error) => break error,
        }
        assert!(kept.len() * (3 << 20) < DISK_BYTES, "more was stored than there is room for");
    };
    check_full(&error, &store);
    assert!(kept.len() > 2);
    let long = noise(99, 60 << 20);
    check_full(&store.put_reader(&mut long.as_slice(), u64::MAX).unwrap_err(), &store);
    let mut part = store.writer().unwrap();
    let written = part.write_all(&long).unwrap_err();
    assert!(written.to_string().contains("no space"), "{written}");
    drop(part);
    assert!(temporaries(&store).is_empty());
    // metadata still has the reserve
    store.append_events(&[b"full".to_vec()]).unwrap();
    drop(store);
    let store = writer(disk.path());
    for (digest, bytes) in &kept {
        assert!(store.read_blob(digest, u64::MAX).unwrap() == *bytes);
    }
}

/// Roots of a test: nothing is needed but this.
fn collect_all_but(store: &Store, kept: &anneal_content::BlobDigest) -> anneal_store::Swept {
    let meaning = anneal_store::Meaning { document: &|_| None, records: &[] };
    let root = anneal_store::Root { node: anneal_store::Node::Blob(*kept), kind: "test", why: "a test".to_owned() };
    let collection = store.collection().unwrap();
    let survey = collection.survey(vec![root], meaning, 0, u64::MAX).unwrap();
    let how = anneal_store::Sweep { meaning, remember: &Default::default(), stop: &|| false };
    collection.sweep(survey, &how).unwrap()
}

#[test]
fn a_full_disk_can_be_collected_whoever_filled_it() {
    let Some(disk) = Disk::new() else { return };
    let store = writer(disk.path());
    let mut kept = Vec::new();
    for others in [false, true, true] {
        while let Ok(digest) = store.put_blob(&noise(kept.len() as u64, 3 << 20)) {
            kept.push(digest);
        }
        if others {
            disk.fill();
        }
        let (first, last) = (kept[0], kept.len() as u64);
        assert!(store.put_blob(&noise(last, 3 << 20)).is_err());
        let swept = collect_all_but(&store, &first);
        assert!(swept.blobs > 2, "{swept:?}");
        kept.truncate(1);
        assert!(store.read_blob(&first, u64::MAX).unwrap() == noise(0, 3 << 20));
        store.put_blob(&noise(1, 3 << 20)).unwrap();
        if others {
            disk.make_room();
            // the ballast comes back with the next collection
            collect_all_but(&store, &first);
        }
    }
    drop(store);
    let store = writer(disk.path());
    assert!(store.has(&kept[0]).unwrap());
}

#[test]
fn a_disk_that_others_filled_refuses_writes_serves_reads_and_recovers() {
    let Some(disk) = Disk::new() else { return };
    let store = writer(disk.path());
    let digest = store.put_blob(&noise(1, 100_000)).unwrap();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("file"), "new").unwrap();
    disk.fill();
    for error in [
        store.put_blob(b"new").unwrap_err(),
        store.ingest(source.path(), &IngestRules::default()).unwrap_err(),
        store.append_events(&[b"new".to_vec()]).unwrap_err(),
        store.put_record("kind", "key", b"new").unwrap_err(),
        store.writer().unwrap_err(),
    ] {
        check_full(&error, &store);
    }
    assert!(store.read_blob(&digest, u64::MAX).unwrap() == noise(1, 100_000));
    let reader = Store::open(store.dir(), OpenMode::ReadOnly).unwrap();
    assert!(reader.has(&digest).unwrap());
    disk.make_room();
    let tree = store.ingest(source.path(), &IngestRules::default()).unwrap();
    assert_eq!(fs::read(store.materialize(&tree).unwrap().join("file")).unwrap(), b"new");
    assert_eq!(store.append_events(&[b"new".to_vec()]).unwrap(), 0);
}

#[test]
fn a_store_opens_on_a_disk_that_others_filled_while_it_was_closed_and_can_be_collected() {
    let Some(disk) = Disk::new() else { return };
    let store = writer(disk.path());
    let kept = store.put_blob(&noise(0, 3 << 20)).unwrap();
    for seed in 1..5 {
        store.put_blob(&noise(seed, 3 << 20)).unwrap();
    }
    drop(store);
    disk.fill();
    let store = writer(disk.path());
    assert!(store.read_blob(&kept, u64::MAX).unwrap() == noise(0, 3 << 20));
    assert_eq!(collect_all_but(&store, &kept).blobs, 4);
}
