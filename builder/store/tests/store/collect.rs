//! Collecting: nothing that is needed goes, everything else does in the end, and nobody waits for it.

mod damage;
mod interleaved;
mod killed;

use crate::{fresh, noise, record, results, told};
use anneal_content::{ActionDigest, ActionResult, BlobDigest, OutputName, TreeDigest};
use anneal_store::{Error, IngestRules, Meaning, Node, Root, Store, Survey, Sweep, Swept};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Documents of these tests: a line, then a digest a line, of blobs and (after `+`) of documents.
fn read_document(bytes: &[u8]) -> Option<Vec<Node>> {
    let text = std::str::from_utf8(bytes).ok()?.strip_prefix("document\n")?;
    let node = |line: &str| match line.strip_prefix('+') {
        Some(document) => document.parse().ok().map(Node::Document),
        None => line.parse().ok().map(Node::Blob),
    };
    text.lines().map(node).collect()
}

fn read_record(bytes: &[u8]) -> Option<Node> {
    std::str::from_utf8(bytes).ok()?.parse().ok().map(Node::Action)
}

const MEANING: Meaning<'static> = Meaning { document: &read_document, records: &[("realised", read_record)] };
/// A time after everything that these tests do.
const LATER_MS: u64 = 4_000_000_000_000;

fn root(node: Node) -> Root {
    Root { node, kind: "published", why: "publication c1".to_owned() }
}

fn survey(store: &Store, roots: &[Root]) -> Survey {
    store.collection().unwrap().survey(roots.to_vec(), MEANING, 0, LATER_MS).unwrap()
}

fn collect(store: &Store, roots: &[Root]) -> Swept {
    let collection = store.collection().unwrap();
    let survey = collection.survey(roots.to_vec(), MEANING, 0, LATER_MS).unwrap();
    collection.sweep(survey, &Sweep { meaning: MEANING, remember: &BTreeSet::new(), stop: &|| false }).unwrap()
}

/// A tree of these files.
fn tree_of(store: &Store, files: &[(&str, &[u8])]) -> TreeDigest {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    store.ingest(dir.path(), &IngestRules::default()).unwrap()
}

fn built(store: &Store, name: &str, tree: TreeDigest) -> ActionDigest {
    let action = ActionDigest::of(name.as_bytes());
    let result = ActionResult {
        outputs: BTreeMap::from([(OutputName::out(), tree)]),
        log: store.put_blob(format!("the log of {name}").as_bytes()).unwrap(),
        worker: "test".to_owned(),
        started_ms: 0,
        payload_ms: 0,
        limits_not_enforced: Vec::new(),
        variation: Vec::new(),
        built_with: BTreeMap::new(),
    };
    record(store, &action, &result).unwrap();
    action
}

/// Every file of the store that holds a blob's bytes, whether a row names it or not.
fn files(store: &Store) -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    for part in ["blobs", "modes", "trees"] {
        walk(&store.dir().join(part), &mut found);
    }
    found
}

#[test]
fn what_a_root_names_stays_and_the_rest_goes_with_its_files_and_directories() {
    let (_dir, store) = fresh();
    let kept = tree_of(&store, &[("lib/a", b"shared"), ("b", b"kept")]);
    let gone = tree_of(&store, &[("lib/a", b"shared"), ("c", b"gone")]);
    let layer = store.put_blob(&noise(1, 3000)).unwrap();
    let manifest = store.put_blob(format!("document\n{layer}").as_bytes()).unwrap();
    let index = store.put_blob(format!("document\n+{manifest}").as_bytes()).unwrap();
    for tree in [kept, gone] {
        store.materialize(&tree).unwrap();
    }
    let swept = collect(&store, &[root(Node::Tree(kept)), root(Node::Document(index))]);
    // the other tree's root directory and its own file; `lib` and what is in it are shared
    assert_eq!((swept.blobs, swept.leftovers, swept.directories), (2, 0, 0), "{swept:?}");
    assert_eq!(fs::read(store.materialize(&kept).unwrap().join("lib/a")).unwrap(), b"shared");
    assert!(!store.dir().join("trees").join(gone.hex()).exists());
    for digest in [layer, manifest, index] {
        store.read_blob(&digest, u64::MAX).unwrap();
    }
    assert!(!store.has(&BlobDigest::of(b"gone")).unwrap());
    let swept = collect(&store, &[]);
    assert_eq!((swept.blobs, store.stats().unwrap().blobs), (7, 0));
    assert!(files(&store).is_empty(), "{:?}", files(&store));
}

#[test]
fn results_go_whole_and_records_that_stand_for_them_go_with_them() {
    let (_dir, store) = fresh();
    let actions = ["zlib", "pcre2"].map(|name| {
        let action = built(&store, name, tree_of(&store, &[("lib", name.as_bytes())]));
        store.put_record("realised", name, action.to_string().as_bytes()).unwrap();
        action
    });
    let swept = collect(&store, &[root(Node::Action(actions[0]))]);
    assert_eq!((swept.actions, swept.records, swept.blobs), (1, 1, 3), "{swept:?}");
    assert_eq!(actions.map(|action| results(&store, &action).len()), [1, 0]);
    assert!(
        store.record("realised", "zlib").unwrap().is_some() && store.record("realised", "pcre2").unwrap().is_none()
    );
}

#[test]
fn what_is_young_stays_until_it_is_older() {
    let (_dir, store) = fresh();
    let digest = store.put_blob(b"young").unwrap();
    let now_ms = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let hour = 3_600_000;
    let look = |now_ms| store.collection().unwrap().survey(Vec::new(), MEANING, hour, now_ms).unwrap();
    let survey = look(now_ms);
    assert!(survey.garbage().is_empty());
    let why = survey.why(&Node::Blob(digest)).unwrap();
    assert!(why[0].contains("within the time that everything is kept"), "{why:?}");
    drop(survey);
    assert_eq!(look(now_ms + 2 * hour).garbage(), [(digest, 5)]);
}

#[test]
fn a_pin_keeps_a_tree_until_it_is_removed_and_says_why() {
    let (_dir, store) = fresh();
    let tree = tree_of(&store, &[("a", b"pinned")]);
    store.pin(Node::Tree(tree), "for the auditor", 7).unwrap();
    assert_eq!(collect(&store, &[]).blobs, 0);
    let why = survey(&store, &[]).why(&Node::Blob(BlobDigest::of(b"pinned"))).unwrap();
    assert_eq!(why, [format!("tree {tree}"), "pinned: for the auditor".to_owned()]);
    let digest = BlobDigest::from_bytes(*tree.as_bytes());
    assert!(store.unpin(&digest).unwrap() && !store.unpin(&digest).unwrap());
    assert_eq!(collect(&store, &[]).blobs, 2);
    let gone = store.pin(Node::Tree(tree), "too late", 8).unwrap_err();
    assert!(matches!(gone, Error::Missing { .. }), "{gone}");
}

#[test]
fn what_is_remembered_says_when_it_was_collected_until_it_comes_again() {
    let (_dir, store) = fresh();
    let digest = store.put_blob(b"named for ever").unwrap();
    let collection = store.collection().unwrap();
    let survey = collection.survey(Vec::new(), MEANING, 0, LATER_MS).unwrap();
    let remember = BTreeSet::from([digest]);
    collection.sweep(survey, &Sweep { meaning: MEANING, remember: &remember, stop: &|| false }).unwrap();
    let text = told(&store.read_blob(&digest, 100).unwrap_err());
    assert!(text.contains("was collected on 2096-10-02 by retention"), "{text}");
    assert_eq!(store.collected(&digest).unwrap(), Some(LATER_MS));
    store.put_blob(b"named for ever").unwrap();
    assert_eq!(store.collected(&digest).unwrap(), None);
    store.read_blob(&digest, 100).unwrap();
}

#[test]
fn nothing_is_deleted_while_something_that_is_kept_cannot_be_followed() {
    let (_dir, store) = fresh();
    let tree = tree_of(&store, &[("a", b"hidden")]);
    store.put_blob(b"garbage").unwrap();
    let hex = tree.hex();
    fs::write(store.dir().join("blobs/sha256").join(&hex[..2]).join(&hex), "nonsense").unwrap();
    let collection = store.collection().unwrap();
    let survey = collection.survey(vec![root(Node::Tree(tree))], MEANING, 0, LATER_MS).unwrap();
    assert_eq!(survey.gaps().len(), 1);
    let how = Sweep { meaning: MEANING, remember: &BTreeSet::new(), stop: &|| false };
    let text = told(&collection.sweep(survey, &how).unwrap_err());
    for part in ["nothing was collected", &tree.to_string(), "publication c1"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(store.has(&BlobDigest::of(b"garbage")).unwrap());
}

#[test]
fn a_reader_that_began_before_the_collection_gets_all_of_its_bytes() {
    let (_dir, store) = fresh();
    let bytes = noise(5, 5 << 20);
    let digest = store.put_blob(&bytes).unwrap();
    let mut reader = store.open_blob(&digest).unwrap();
    let mut read = reader.next_chunk().unwrap().unwrap().to_vec();
    assert_eq!(collect(&store, &[]).blobs, 1);
    while let Some(chunk) = reader.next_chunk().unwrap() {
        read.extend_from_slice(chunk);
    }
    assert!(read == bytes);
    assert!(matches!(store.open_blob(&digest).unwrap_err(), Error::Missing { .. }));
    assert_eq!(store.stats().unwrap().damaged_blobs, 0);
}

#[test]
fn files_that_no_row_names_go_and_a_stopped_sweep_is_finished_by_the_next() {
    let (_dir, store) = fresh();
    for seed in 0..200 {
        store.put_blob(&noise(seed, 100)).unwrap();
    }
    let leftover = store.dir().join("blobs/sha256/00").join("0".repeat(64));
    fs::write(&leftover, "left by a crash").unwrap();
    let collection = store.collection().unwrap();
    let survey = collection.survey(Vec::new(), MEANING, 0, LATER_MS).unwrap();
    let asked = std::sync::atomic::AtomicU32::new(0);
    let stop = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 2;
    let how = Sweep { meaning: MEANING, remember: &BTreeSet::new(), stop: &stop };
    let swept = collection.sweep(survey, &how).unwrap();
    assert_eq!((swept.blobs, swept.stopped), (128, true));
    let swept = collect(&store, &[]);
    assert_eq!((swept.blobs, swept.leftovers, swept.stopped), (72, 1, false));
    assert!(files(&store).is_empty() && crate::temporaries(&store).is_empty());
}
