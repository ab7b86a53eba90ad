//! SIGKILL in the middle of a collection: the store opens, everything that is named is whole, and the rest goes later.

use super::{collect, files, root, tree_of};
use crate::{
    kill::{given_dir, spawn},
    noise, writer,
};
use anneal_content::{BlobDigest, BlobHasher};
use anneal_store::{Node, Root, Store};
use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

const ROUNDS: u64 = 12;
const BLOBS: u64 = 1500;

fn kept(store: &Store) -> Vec<Root> {
    let tree = tree_of(store, &[("a", &noise(1, 4000)), ("lib/b", &noise(2, 4000))]);
    store.materialize(&tree).unwrap();
    vec![root(Node::Tree(tree))]
}

#[test]
#[ignore = "the child of the test below"]
fn child_collects() {
    let Some(dir) = given_dir() else { return };
    let store = writer(&dir);
    let roots = kept(&store);
    writeln!(std::io::stdout(), "collecting").unwrap();
    let swept = collect(&store, &roots);
    writeln!(std::io::stdout(), "collected {}", swept.blobs).unwrap();
}

/// Every blob, read and hashed; nothing may be damaged or without its file.
fn scrub(store: &Store) -> u64 {
    let stats = store.stats().unwrap();
    let mut whole = 0;
    for path in files(store) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let Ok(digest) = format!("sha256:{name}").parse::<BlobDigest>() else { continue };
        if !path.starts_with(store.dir().join("blobs")) || !store.has(&digest).unwrap() {
            continue;
        }
        let mut hasher = BlobHasher::new();
        hasher.update(&store.read_blob(&digest, u64::MAX).unwrap());
        assert_eq!(hasher.finish().0, digest);
        whole += 1;
    }
    assert_eq!((whole, stats.damaged_blobs), (stats.blobs, 0), "a row without its file");
    whole
}

#[test]
fn a_collection_killed_at_any_moment_leaves_a_store_that_opens_and_reads_clean() {
    let dir = tempfile::tempdir().unwrap();
    let (mut unfinished, mut leftovers) = (0, 0);
    for round in 0..ROUNDS {
        let store = writer(dir.path());
        let garbage: Vec<Vec<u8>> = (0..BLOBS).map(|n| noise(round * BLOBS + n + 1000, 300)).collect();
        store.put_blobs(&garbage.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        drop(store);
        let mut child = spawn("collect::killed::child_collects", dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("collecting")));
        std::thread::sleep(Duration::from_millis(3 + 11 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        unfinished += u64::from(!lines.any(|line| line.contains("collected")));
        let store = writer(dir.path());
        let before = scrub(&store);
        let roots = kept(&store);
        let swept = collect(&store, &roots);
        leftovers += swept.leftovers;
        assert_eq!(scrub(&store), 4, "{before} before, then {swept:?}");
        assert_eq!(files(&store).iter().filter(|path| path.starts_with(store.dir().join("blobs"))).count(), 4);
    }
    println!("{unfinished} of {ROUNDS} collections were cut short; {leftovers} files without a row were swept later");
    assert!(unfinished > 0, "no kill met a collection");
}
