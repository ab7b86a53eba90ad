//! Everything at once, in any order: put, import, publish, pin, build, rot, and the steps of collections between them.

use super::{LATER_MS, MEANING, built, collect, files, read_document, root, tree_of};
use crate::{noise, results};
use anneal_content::{ActionDigest, BlobDigest, EntryKind, TreeDigest, list};
use anneal_store::{Collection, Lease, Mended, Node, Root, Store, Survey, Sweep};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
};

/// One thing that happens. Numbers choose among a few contents, so that what is garbage comes again.
#[derive(Debug, Clone)]
enum Step {
    Put(u8),
    Import(u8),
    Publish(u8),
    Withdraw(u8),
    PublishDocument(u8),
    Pin(u8),
    Unpin(u8),
    BuildBegins,
    BuildPuts(u8),
    BuildFinds(u8),
    BuildEnds,
    Rot(u8),
    CollectionBegins,
    CollectionLooks,
    CollectionDeletes,
    CollectionGivesUp,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 0..6_u8;
    let step = prop_oneof![
        1 => number.clone().prop_map(Step::Put),
        3 => number.clone().prop_map(Step::Import),
        2 => number.clone().prop_map(Step::Publish),
        1 => number.clone().prop_map(Step::Withdraw),
        1 => number.clone().prop_map(Step::PublishDocument),
        1 => number.clone().prop_map(Step::Pin),
        1 => number.clone().prop_map(Step::Unpin),
        2 => Just(Step::BuildBegins),
        3 => number.clone().prop_map(Step::BuildPuts),
        3 => number.clone().prop_map(Step::BuildFinds),
        1 => number.prop_map(Step::Rot),
        2 => Just(Step::BuildEnds),
        3 => Just(Step::CollectionBegins),
        3 => Just(Step::CollectionLooks),
        4 => Just(Step::CollectionDeletes),
        1 => Just(Step::CollectionGivesUp),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

/// The store with what must be in it.
struct World {
    dir: tempfile::TempDir,
    store: Store,
    /// What the ledger names.
    named: BTreeMap<String, Root>,
    pinned: BTreeSet<BlobDigest>,
    /// A build under way: its lease, and what it has and will name in the end.
    build: Option<(Lease, Vec<(String, Node)>)>,
    collection: Option<Collection>,
    survey: Option<Survey>,
}

fn action(number: u8) -> ActionDigest {
    ActionDigest::of(format!("action {number}").as_bytes())
}

fn own_file(number: u8) -> Vec<u8> {
    noise(number.into(), 500)
}

fn tree(store: &Store, number: u8) -> TreeDigest {
    // neighbours share files and a directory
    let (one, other) = (own_file(number), noise(u64::from(number) / 2, 300));
    tree_of(store, &[("own", &one), ("lib/shared", &other), ("lib/deep/same", b"in all of them")])
}

/// A store in memory where there is such a place: what is asked here is not what a disk keeps.
fn swift() -> (tempfile::TempDir, Store) {
    let memory = std::path::Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let dir = dir.unwrap();
    let store = crate::writer(dir.path());
    (dir, store)
}

impl World {
    fn new() -> Self {
        let (dir, store) = swift();
        let (named, pinned) = (BTreeMap::new(), BTreeSet::new());
        Self { dir, store, named, pinned, build: None, collection: None, survey: None }
    }

    fn import(&self, number: u8) -> ActionDigest {
        let tree = tree(&self.store, number);
        built(&self.store, &format!("action {number}"), tree)
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Put(number) => drop(self.store.put_blob(&noise(u64::from(*number) + 100, 200)).unwrap().hex()),
            Step::Import(number) => drop(self.import(*number).hex()),
            Step::Publish(number) => {
                let _lease = self.store.lease();
                if let Some(result) = results(&self.store, &action(*number)).first() {
                    let out = *result.outputs.values().next().unwrap();
                    self.named.insert(format!("tree {number}"), root(Node::Tree(out)));
                }
            }
            Step::Withdraw(number) => {
                self.named.remove(&format!("tree {number}"));
                self.named.remove(&format!("document {number}"));
            }
            Step::PublishDocument(number) => {
                let _lease = self.store.lease();
                let layer = self.store.put_blob(&noise(u64::from(*number) + 100, 200)).unwrap();
                let document = self.store.put_blob(format!("document\n{layer}").as_bytes()).unwrap();
                self.named.insert(format!("document {number}"), root(Node::Document(document)));
            }
            Step::Pin(number) => {
                if let Ok(pin) = self.store.pin(Node::Tree(tree(&self.store, *number)), "a test", 0) {
                    self.pinned.insert(pin.digest);
                }
            }
            Step::Unpin(number) => {
                let digest = BlobDigest::from_bytes(*tree(&self.store, *number).as_bytes());
                assert_eq!(self.store.unpin(&digest).unwrap(), self.pinned.remove(&digest));
            }
            Step::BuildBegins => {
                if self.build.is_none() {
                    self.build = Some((self.store.lease(), Vec::new()));
                }
            }
            Step::BuildPuts(number) => {
                let out = tree(&self.store, *number);
                if let Some((_, has)) = &mut self.build {
                    has.push((format!("tree {number}"), Node::Tree(out)));
                }
            }
            Step::BuildFinds(number) => {
                if let Some((_, has)) = &mut self.build
                    && let Some(result) = results(&self.store, &action(*number)).first()
                {
                    has.push((format!("tree {number}"), Node::Tree(*result.outputs.values().next().unwrap())));
                }
            }
            Step::BuildEnds => {
                if let Some((lease, has)) = self.build.take() {
                    self.named.extend(has.into_iter().map(|(name, node)| (name, root(node))));
                    drop(lease);
                }
            }
            Step::Rot(number) => {
                let (digest, dir) = (BlobDigest::of(&own_file(*number)), self.dir.path().join("store/blobs/sha256"));
                let (folder, name) = (dir.join(&digest.hex()[..2]), digest.hex());
                // nobody uses it meanwhile: this only looks
                if self.store.recorded_size(&digest).unwrap().is_some() {
                    std::fs::write(folder.join(name), "rot").unwrap();
                    assert!(matches!(self.store.mend_blob(&digest).unwrap(), Mended::Lost(_)));
                }
            }
            Step::CollectionBegins => {
                if self.collection.is_none() {
                    self.collection = Some(self.store.collection().unwrap());
                }
            }
            Step::CollectionLooks => {
                if let Some(collection) = &self.collection {
                    let roots = self.named.values().cloned().collect();
                    self.survey = Some(collection.survey(roots, MEANING, 0, LATER_MS).unwrap());
                }
            }
            Step::CollectionDeletes => {
                if let (Some(survey), Some(collection)) = (self.survey.take(), self.collection.take()) {
                    let how = Sweep { meaning: MEANING, remember: &BTreeSet::new(), stop: &|| false };
                    collection.sweep(survey, &how).unwrap();
                    self.check();
                }
            }
            Step::CollectionGivesUp => {
                self.survey = None;
                self.collection = None;
            }
            Step::Reopen => {
                // work under way ends with the process, and what it had is garbage
                (self.build, self.survey, self.collection) = (None, None, None);
                let dir = self.dir.path().join("store");
                let (_other, placeholder) = swift();
                drop(std::mem::replace(&mut self.store, placeholder));
                self.store = Store::open(&dir, anneal_store::OpenMode::ReadWrite).unwrap();
            }
        }
    }

    /// Everything that must be there, by looking and not by marking.
    fn needed(&self) -> BTreeSet<BlobDigest> {
        let mut needed = BTreeSet::new();
        let tree = |needed: &mut BTreeSet<BlobDigest>, tree: &TreeDigest| {
            let mut todo = vec![*tree];
            while let Some(tree) = todo.pop() {
                let digest = BlobDigest::from_bytes(*tree.as_bytes());
                needed.insert(digest);
                let bytes = self.store.read_blob(&digest, u64::MAX).unwrap();
                let directory = anneal_content::Directory::decode(&tree, &bytes).unwrap();
                todo.extend(directory.directories.iter().map(|inner| inner.digest));
            }
            for entry in list(tree, &self.store).unwrap() {
                if let EntryKind::File { digest, .. } = entry.kind {
                    needed.insert(digest);
                }
            }
        };
        let building = self.build.iter().flat_map(|(_, has)| has.iter().map(|(_, node)| *node));
        let pinned = self.pinned.iter().map(|digest| Node::Tree(TreeDigest::from_bytes(*digest.as_bytes())));
        for node in self.named.values().map(|root| root.node).chain(building).chain(pinned) {
            match node {
                Node::Tree(digest) => tree(&mut needed, &digest),
                Node::Document(digest) => {
                    needed.insert(digest);
                    let bytes = self.store.read_blob(&digest, u64::MAX).unwrap();
                    for named in read_document(&bytes).unwrap() {
                        if let Node::Blob(blob) = named {
                            needed.insert(blob);
                        }
                    }
                }
                other => panic!("{other}"),
            }
        }
        needed
    }

    /// What is out of service for its damage.
    fn lost(&self) -> BTreeSet<BlobDigest> {
        self.store.out_of_service().unwrap().into_iter().map(|(digest, _)| digest).collect()
    }

    fn check(&self) {
        let lost = self.lost();
        for digest in self.needed().difference(&lost) {
            self.store.read_blob(digest, u64::MAX).unwrap_or_else(|e| panic!("{e}"));
        }
        if self.build.is_some() {
            // to ask for results would be to use them
            return;
        }
        // a result reads as whole where nothing that is lost says otherwise
        for result in (0..6).flat_map(|number| self.store.results(&action(number), &crate::believes).unwrap()) {
            for entry in result.outputs.values().flat_map(|tree| list(tree, &self.store).unwrap()) {
                if let EntryKind::File { digest, .. } = entry.kind {
                    assert!(lost.contains(&digest) || self.store.has(&digest).unwrap(), "{digest}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_reachable_is_ever_collected_and_all_garbage_is_in_the_end(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.check();
        (world.build, world.survey, world.collection) = (None, None, None);
        let roots: Vec<Root> = world.named.values().cloned().collect();
        collect(&world.store, &roots);
        let lost = world.lost();
        prop_assert!(lost.is_subset(&world.needed()));
        let needed: Vec<_> = world.needed().difference(&lost).copied().collect();
        prop_assert_eq!(world.store.stats().unwrap().blobs, needed.len() as u64);
        prop_assert_eq!(files(&world.store).len(), needed.len());
        prop_assert!(crate::temporaries(&world.store).is_empty());
        let again = collect(&world.store, &roots);
        prop_assert_eq!(again.blobs + again.leftovers + again.directories + again.actions, 0);
    }
}

/// Builders put the same few trees again and again, name them, and forget them, while a collector never rests.
#[test]
fn builds_and_collections_in_many_threads_never_lose_what_was_named() {
    let (_dir, store) = swift();
    let named: std::sync::Mutex<BTreeMap<u64, Root>> = std::sync::Mutex::default();
    let stop = AtomicBool::new(false);
    let (mut collections, mut gone, mut longest_ms) = (0, 0, 0);
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (store, named, stop) = (&store, &named, &stop);
            scope.spawn(move || {
                for round in 0..60_u64 {
                    let lease = store.lease();
                    let number = u8::try_from((round * 7 + thread) % 6).unwrap();
                    let found = results(store, &action(number)).first().map(|r| *r.outputs.values().next().unwrap());
                    let out = found.unwrap_or_else(|| {
                        let out = tree(store, number);
                        built(store, &format!("action {number}"), out);
                        out
                    });
                    store.materialize(&out).unwrap();
                    named.lock().unwrap().insert(thread, root(Node::Tree(out)));
                    drop(lease);
                    std::thread::yield_now();
                    let path = store.materialize(&out).unwrap();
                    assert!(std::fs::read(path.join("own")).unwrap() == noise(number.into(), 500));
                    for entry in list(&out, store).unwrap() {
                        if let EntryKind::File { digest, .. } = entry.kind {
                            store.read_blob(&digest, u64::MAX).unwrap();
                        }
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
        while !stop.load(Ordering::Relaxed) {
            let collection = store.collection().unwrap();
            let roots = named.lock().unwrap().values().cloned().collect();
            let survey = collection.survey(roots, MEANING, 0, LATER_MS).unwrap();
            let how = Sweep { meaning: MEANING, remember: &BTreeSet::new(), stop: &|| false };
            let swept = collection.sweep(survey, &how).unwrap();
            collections += 1;
            gone += swept.blobs;
            longest_ms = swept.longest_wait_ms.max(longest_ms);
        }
    });
    println!("{collections} collections took {gone} blobs; the longest wait was {longest_ms} ms");
    let roots: Vec<Root> = named.lock().unwrap().values().cloned().collect();
    collect(&store, &roots);
    assert_eq!(store.stats().unwrap().damaged_blobs, 0);
    assert!(collections > 1);
}
