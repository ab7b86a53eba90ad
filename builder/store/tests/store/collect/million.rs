//! A million blobs: how long a collection takes, and how much memory. Run by hand:
//! `cargo test --release -p anneal-store million -- --ignored --nocapture`; `ANNEAL_BLOBS=N` takes another number.

use super::{LATER_MS, MEANING, root};
use crate::fresh;
use anneal_content::{Directory, EntryName, FileNode, TreeDigest};
use anneal_store::{Node, Root, Store, Sweep};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Files in one directory of the trees.
const FILES: u64 = 20;

/// The memory of this process, and the most it ever had, in MiB.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// Directories of small files; gives their trees.
fn fill(store: &Store, blobs: u64) -> Vec<TreeDigest> {
    let mut trees = Vec::new();
    for start in (0..blobs / (FILES + 1)).step_by(1000) {
        let mut bytes: Vec<Vec<u8>> = Vec::new();
        for number in start..(start + 1000).min(blobs / (FILES + 1)) {
            let mut directory = Directory::default();
            for file in 0..FILES {
                let content = format!("file {file} of {number}").into_bytes();
                let digest = anneal_content::BlobDigest::of(&content);
                let name = EntryName::new(format!("file-{file:03}")).unwrap();
                directory.files.push(FileNode { name, digest, size: content.len() as u64, mode: 0o644 });
                bytes.push(content);
            }
            let (encoded, tree) = directory.encode();
            bytes.push(encoded);
            trees.push(tree);
        }
        store.put_blobs(&bytes.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    }
    trees
}

#[test]
#[ignore = "a measurement"]
fn a_collection_over_a_million_blobs() {
    let blobs = std::env::var("ANNEAL_BLOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let (_dir, store) = fresh();
    let begun = Instant::now();
    let trees = fill(&store, blobs);
    println!("{blobs} blobs in {:.1} s; memory {:?} MiB", begun.elapsed().as_secs_f64(), memory());
    let roots = |each: usize| -> Vec<Root> {
        trees.iter().enumerate().filter(|(n, _)| n % each != 0).map(|(_, tree)| root(Node::Tree(*tree))).collect()
    };
    for round in ["first", "again"] {
        let begun = Instant::now();
        let survey = store.collection().unwrap().survey(roots(usize::MAX), MEANING, 0, LATER_MS).unwrap();
        let took = begun.elapsed().as_secs_f64();
        println!("mark, {round}: {took:.2} s, {} garbage; memory {:?} MiB", survey.garbage().len(), memory());
    }
    // a tenth goes, while somebody puts and looks
    let collection = store.collection().unwrap();
    let survey = collection.survey(roots(10), MEANING, 0, LATER_MS).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (mut longest, mut puts) = (Duration::ZERO, 0);
    let (swept, took) = std::thread::scope(|scope| {
        let sweeping = scope.spawn(|| {
            let begun = Instant::now();
            let how = Sweep { meaning: MEANING, remember: &BTreeSet::new(), stop: &|| false };
            let swept = collection.sweep(survey, &how).unwrap();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            (swept, begun.elapsed())
        });
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let begun = Instant::now();
            for tree in trees.iter().skip(puts % trees.len()).take(50) {
                store.has(&anneal_content::BlobDigest::from_bytes(*tree.as_bytes())).unwrap();
            }
            longest = longest.max(begun.elapsed());
            puts += 50;
        }
        sweeping.join().unwrap()
    });
    println!(
        "sweep: {} blobs in {:.2} s; a batch took {} ms at most; 50 of {puts} looks beside it took {} ms at most; memory {:?} MiB",
        swept.blobs,
        took.as_secs_f64(),
        swept.longest_wait_ms,
        longest.as_millis(),
        memory()
    );
}
