//! What is done to the store, step by step, always the same.
//!
//! Every way into the store is in it, both ways of syncing, a collection, and openings again: each moves what is in the
//! write-ahead log to tables, so that the fifth makes the engine put tables together.

use crate::{Logical, noise, told};
use anneal_content::{ActionDigest, ActionResult, BlobDigest, OutputName, SignedResult, TreeDigest};
use anneal_store::{FailureRecord, IngestRules, Meaning, Node, OpenMode, Result, Root, Store, Sweep, digest_dir};
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Seeds from here on give blobs that no root names.
const GARBAGE: u64 = 1000;
/// The limit of blobs that are read whole.
const READ_MAX: u64 = 64 << 20;

/// One thing that is done; each is there wholly or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Opens the store, closing it first where it is open.
    Open,
    /// Puts bytes: seed and length.
    Put(u64, usize),
    /// The same, piece by piece.
    Write(u64, usize),
    /// Puts several together: the first seed and how many.
    PutMany(u64, u64),
    /// Takes in a directory.
    Ingest(u64),
    /// Makes a directory of a tree that was taken in.
    Materialize(u64),
    /// Appends so many events.
    Append(usize),
    /// Writes a small record: key and seed.
    Note(&'static str, u64),
    /// Removes one.
    Forget(&'static str),
    /// Records a result of an action: the action's seed, and the result's.
    Succeed(u64, u64),
    /// Records that an action failed.
    Fail(u64),
    /// Pins a blob that is garbage otherwise.
    Pin(u64),
    /// Collects what no root names.
    Collect,
}

/// The scenario.
pub const STEPS: &[Step] = &[
    Step::Open,
    Step::Put(1, 700),
    Step::Append(2),
    Step::Write(2, 2_600_000),
    Step::PutMany(10, 5),
    Step::Note("cursor", 1),
    Step::Open,
    Step::PutMany(GARBAGE, 24),
    Step::Ingest(1),
    Step::Succeed(1, 1),
    Step::Materialize(1),
    Step::Append(1),
    Step::Fail(2),
    Step::Open,
    Step::Note("cursor", 2),
    Step::Put(GARBAGE + 100, 1_500_000),
    Step::Succeed(3, GARBAGE),
    Step::Ingest(2),
    Step::Pin(GARBAGE + 3),
    Step::Append(3),
    Step::Open,
    Step::Collect,
    Step::Put(GARBAGE + 1, 4000),
    Step::Materialize(2),
    Step::Succeed(2, 2),
    Step::Forget("cursor"),
    Step::Append(1),
    Step::Open,
    Step::Write(3, 100),
    Step::Append(1),
    Step::Open,
    Step::Note("last", 3),
    Step::Collect,
];

/// The scenario on its way.
#[derive(Debug)]
pub struct Scenario {
    dir: PathBuf,
    sources: PathBuf,
    store: Option<Store>,
}

impl Scenario {
    /// A scenario over the store in `dir`; `sources` holds the directories that are taken in ([`Scenario::prepare`]).
    pub fn new(dir: &Path, sources: &Path) -> Self {
        Self { dir: dir.to_owned(), sources: sources.to_owned(), store: None }
    }

    /// Writes the directories that the scenario takes in.
    pub fn prepare(sources: &Path) -> io::Result<()> {
        for seed in [1, 2] {
            let root = sources.join(seed.to_string());
            fs::create_dir_all(root.join("lib/inner"))?;
            fs::write(root.join("program"), noise(100 + seed, 9000))?;
            fs::write(root.join("lib/one.so"), noise(103, 1_100_000))?; // the same in both
            std::os::unix::fs::symlink("one.so", root.join("lib/link"))?;
            for number in 0..seed * 7 {
                let file = root.join("lib/inner").join(number.to_string());
                fs::write(file, noise(200 + 100 * seed + number, 300))?;
            }
        }
        Ok(())
    }

    fn tree(&self, seed: u64) -> Result<TreeDigest> {
        digest_dir(&self.sources.join(seed.to_string()), &IngestRules::default())
    }

    /// Does a step; it is acknowledged when this returns.
    pub fn play(&mut self, step: Step) -> Result<()> {
        if step == Step::Open {
            self.store = None;
            self.store = Some(Store::open(&self.dir, OpenMode::ReadWrite)?);
            return Ok(());
        }
        let store = self.store.clone().expect("the scenario opens the store first");
        match step {
            Step::Open => {}
            Step::Put(seed, len) => drop(store.put_blob(&noise(seed, len))?),
            Step::Write(seed, len) => {
                let mut writer = store.writer()?;
                let bytes = noise(seed, len);
                for part in bytes.chunks(400_000) {
                    writer.write_all(part).map_err(|source| anneal_store::Error::Io {
                        operation: "write",
                        path: self.dir.clone(),
                        source,
                    })?;
                }
                writer.commit_as(&BlobDigest::of(&bytes))?;
            }
            Step::PutMany(first, count) => {
                let blobs: Vec<Vec<u8>> = (first..first + count).map(|seed| noise(seed, 4000)).collect();
                store.put_blobs(&blobs.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
            }
            Step::Ingest(seed) => {
                let tree = store.ingest(&self.sources.join(seed.to_string()), &IngestRules::default())?;
                assert_eq!(tree, self.tree(seed)?);
            }
            Step::Materialize(seed) => drop(store.materialize(&self.tree(seed)?)?),
            Step::Append(count) => append(&store, count)?,
            Step::Note(key, seed) => store.put_record("note", key, &noise(seed, 3000))?,
            Step::Forget(key) => store.remove_record("note", key)?,
            Step::Succeed(action, seed) => {
                let signed = signed(&action_digest(action), &self.result(seed)?);
                store.record_result(&signed, &is_ours)?;
            }
            Step::Fail(action) => store.record_failure(&action_digest(action), &failure())?,
            Step::Pin(seed) => drop(store.pin(Node::Blob(BlobDigest::of(&noise(seed, 4000))), "a test", 5)?),
            Step::Collect => self.collect(&store)?,
        }
        Ok(())
    }

    fn result(&self, seed: u64) -> Result<ActionResult> {
        let output = OutputName::out();
        let trees = if seed < GARBAGE { vec![(output, self.tree(1)?)] } else { Vec::new() };
        Ok(ActionResult {
            outputs: trees.into_iter().collect(),
            log: BlobDigest::of(&noise(1, 700)),
            worker: format!("worker {seed}"),
            started_ms: seed,
            payload_ms: 1,
            limits_not_enforced: Vec::new(),
            variation: Vec::new(),
            built_with: [].into(),
        })
    }

    fn collect(&self, store: &Store) -> Result<()> {
        let mut nodes = vec![Node::Action(action_digest(1)), Node::Action(action_digest(2))];
        nodes.extend([Node::Tree(self.tree(1)?), Node::Tree(self.tree(2)?)]);
        nodes.push(Node::Blob(BlobDigest::of(&noise(1, 700))));
        nodes.push(Node::Blob(BlobDigest::of(&noise(2, 2_600_000))));
        nodes.push(Node::Blob(BlobDigest::of(&noise(3, 100))));
        nodes.extend((10..15).map(|seed| Node::Blob(BlobDigest::of(&noise(seed, 4000)))));
        // what is not there (yet) is none of a collection's business here
        nodes.retain(|node| match node {
            Node::Blob(digest) => store.has(digest).unwrap_or(true),
            Node::Tree(tree) => store.has(&BlobDigest::from_bytes(*tree.as_bytes())).unwrap_or(true),
            _ => true,
        });
        let roots = nodes.into_iter().map(|node| Root { node, kind: "test", why: "a test".to_owned() });
        collect(store, roots.collect())
    }

    /// What the store holds, where it is open.
    pub fn logical(&self) -> std::result::Result<Logical, String> {
        self.store.as_ref().map_or_else(|| Ok(Logical::default()), Logical::of)
    }

    /// Whether the handle still takes a blob and an event, after a step was refused.
    pub fn goes_on(&self) -> [Result<()>; 2] {
        match &self.store {
            Some(store) => {
                [store.put_blob(AFTER_BLOB).map(drop), store.append_events(&[AFTER_EVENT.to_vec()]).map(drop)]
            }
            None => [(); 2].map(|()| Err(anneal_store::Error::Absent { dir: self.dir.clone() })),
        }
    }
}

/// The key of the results that are believed.
const OURS: &str = "ours";
/// What is put after a step was refused.
pub(crate) const AFTER_BLOB: &[u8] = b"put after a step was refused";
/// What is appended then.
pub(crate) const AFTER_EVENT: &[u8] = b"appended after a step was refused";

fn append(store: &Store, count: usize) -> Result<()> {
    let next = store.event_count()?;
    let events: Vec<Vec<u8>> = (next..).take(count).map(|seq| noise(seq, 900)).collect();
    store.append_events(&events).map(drop)
}

fn action_digest(seed: u64) -> ActionDigest {
    ActionDigest::from_bytes([u8::try_from(seed).expect("a small seed"); 32])
}

/// A result as if it was signed: the store keeps a signature, and asks its caller what to believe.
fn signed(action: &ActionDigest, result: &ActionResult) -> SignedResult {
    let payload = SignedResult::payload_of(action, result).unwrap_or_default();
    SignedResult { payload, key_id: OURS.to_owned(), signature: String::new() }
}

pub(crate) fn is_ours(signed: &SignedResult) -> bool {
    signed.key_id == OURS
}

fn failure() -> FailureRecord {
    let log = BlobDigest::of(&noise(1, 700));
    FailureRecord { log, summary: "it failed".to_owned(), at_ms: 1, expires_ms: 1000 }
}

/// All actions that the scenario has results or failures of.
pub(crate) fn actions() -> impl Iterator<Item = ActionDigest> {
    (1..=3).map(action_digest)
}

/// Deletes everything that these roots don't keep.
pub(crate) fn collect(store: &Store, roots: Vec<Root>) -> Result<()> {
    let meaning = Meaning { document: &|_| None, records: &[] };
    let collection = store.collection()?;
    let survey = collection.survey(roots, meaning, 0, u64::MAX)?;
    let remember = BTreeSet::from([BlobDigest::of(&noise(GARBAGE + 100, 1_500_000))]);
    collection.sweep(survey, &Sweep { meaning, remember: &remember, stop: &|| false }).map(drop)
}

/// A blob whole.
pub(crate) fn read(store: &Store, digest: &BlobDigest) -> Result<Vec<u8>> {
    store.read_blob(digest, READ_MAX)
}

/// Plays the scenario without faults; gives what the store holds before the first step and after each.
pub fn reference(dir: &Path, sources: &Path) -> Vec<Logical> {
    let mut scenario = Scenario::new(dir, sources);
    let mut held = vec![Logical::default()];
    for step in STEPS {
        scenario.play(*step).unwrap_or_else(|e| panic!("{step:?} without any fault: {}", told(&e)));
        held.push(scenario.logical().unwrap());
    }
    held
}
