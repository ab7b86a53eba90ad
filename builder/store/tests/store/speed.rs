//! How long a tree takes, beside a plain copy that is synced. Run by hand, on an idle machine:
//! `cargo test --release -p anneal-store speed -- --ignored --nocapture`.

use crate::{fresh, noise};
use anneal_store::{IngestRules, OpenMode, Store};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

fn timed<T>(what: &str, act: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = act();
    println!("{what:32} {:8.3} s", start.elapsed().as_secs_f64());
    (value, start.elapsed())
}

fn compare(source: &Path) {
    let (dir, store) = fresh();
    let copy = dir.path().join("copy");
    let run = |program: &str, args: &[&Path]| assert!(Command::new(program).args(args).status().unwrap().success());
    run("sync", &[]);
    let (_, plain) = timed("cp -a, sync -f", || {
        run("cp", &[Path::new("-a"), source, &copy]);
        run("sync", &[Path::new("-f"), &copy]);
    });
    let (tree, first) = timed("ingest", || store.ingest(source, &IngestRules::default()).unwrap());
    timed("ingest again", || store.ingest(source, &IngestRules::default()).unwrap());
    timed("materialize", || store.materialize(&tree).unwrap());
    timed("materialize again", || store.materialize(&tree).unwrap());
    let at = store.dir().to_owned();
    drop(store);
    timed("open", || Store::open(&at, OpenMode::ReadWrite).unwrap());
    timed("open read-only", || Store::open(&at, OpenMode::ReadOnly).unwrap());
    println!("ingest takes {:.1} times as long as the copy\n", first.as_secs_f64() / plain.as_secs_f64());
}

#[test]
#[ignore = "a measurement"]
fn speed_of_small_files() {
    let source = tempfile::tempdir().unwrap();
    for dir in 0..500_u64 {
        let path = source.path().join(format!("dir-{dir}"));
        fs::create_dir(&path).unwrap();
        for file in 0..100_u64 {
            let seed = dir * 100 + file;
            fs::write(path.join(file.to_string()), noise(seed, 200 + (seed * 37 % 4000) as usize)).unwrap();
        }
    }
    println!("50,000 files in 500 directories");
    compare(source.path());
}

#[test]
#[ignore = "a measurement"]
fn speed_of_large_files() {
    let source = tempfile::tempdir().unwrap();
    for file in 0..40 {
        fs::write(source.path().join(file.to_string()), noise(file, 5_000_000)).unwrap();
    }
    println!("200 MB in 40 files");
    compare(source.path());
}

#[test]
#[ignore = "a measurement"]
fn speed_of_single_blobs() {
    let (_dir, store) = fresh();
    let blobs: Vec<_> = (0..100).map(|seed| noise(seed, 4000)).collect();
    timed("100 blobs one by one", || blobs.iter().for_each(|bytes| drop(store.put_blob(bytes).unwrap().hex())));
    let blobs: Vec<_> = (100..200).map(|seed| noise(seed, 4000)).collect();
    timed("100 blobs together", || store.put_blobs(&blobs.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap());
    timed("100 events one by one", || {
        (0..100).for_each(|n| assert_eq!(store.append_events(&[vec![n]]).unwrap(), u64::from(n)))
    });
    let big = store.put_blob(&noise(1000, 400_000_000)).unwrap();
    timed("read 400 MB, checked", || store.read_blob(&big, u64::MAX).unwrap().len());
}
