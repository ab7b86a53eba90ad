//! What the store holds, in numbers: `anneal store stats` tells them as text and JSON, `/metrics` for Prometheus.

use crate::{
    error::Result,
    retention::{Growth, SizeOfDay, day_of, growth},
    scrub::{Summary, last},
    service::now_ms,
};
use anneal_attest::Keyring;
use anneal_content::{ActionDigest, BlobDigest, Directory, PackageName, TreeDigest};
use anneal_ledger::{Event, Record};
use anneal_store::{Differing, KindSize, Stats, Store};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is counted without asking what is needed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Holdings {
    #[serde(flatten)]
    pub(crate) stats: Stats,
    /// The bytes of damaged blobs that are kept for whoever wants to know what happened.
    pub(crate) quarantined: KindSize,
    /// Files of the trees of images: bytes as the trees list them, and as they are stored.
    pub(crate) tree_bytes: (u64, u64),
    /// How many times larger the store would be if it kept those files once for every tree.
    pub(crate) dedup_ratio: Option<f64>,
    /// Builds that were found in the action cache, of all that were asked for.
    pub(crate) found_builds: (u64, u64),
    /// Results that no build key vouches for; they are never used.
    pub(crate) unsigned_results: u64,
    /// Builds that did not always give the same.
    pub(crate) differing: Vec<DifferingBuild>,
    /// Publications that are served, and that retention has withdrawn.
    pub(crate) publications: (u64, u64),
    pub(crate) growth: Option<Growth>,
    /// What the daemon's last scrub found.
    pub(crate) scrub: Option<Summary>,
}

/// A build that is not deterministic, with the packages that it was for.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DifferingBuild {
    pub(crate) packages: BTreeSet<PackageName>,
    #[serde(flatten)]
    pub(crate) differing: Differing,
}

/// What the journal says, in numbers.
#[derive(Default)]
struct Told {
    /// The trees of images, each as often as an image has it.
    trees: Vec<TreeDigest>,
    found: u64,
    asked: u64,
    packages: BTreeMap<ActionDigest, BTreeSet<PackageName>>,
    published: u64,
    withdrawn: u64,
}

impl Holdings {
    /// Counts; reads the whole of the metadata, the journal, and the directories of the trees of images.
    pub(crate) fn of(store: &Store, trusted: &Keyring) -> Result<Self> {
        let told = told(store)?;
        let stats = store.stats()?;
        let (blobs, blob_bytes, free_bytes) = (stats.blobs, stats.blob_bytes, stats.free_bytes);
        let growth = growth(store, SizeOfDay { day: day_of(now_ms()), blobs, blob_bytes, free_bytes })?;
        let results = store.survey_results(&|signed| trusted.believes(signed))?;
        let differing = results.differing.into_iter().map(|differing| {
            let packages = told.packages.get(&differing.action).cloned().unwrap_or_default();
            DifferingBuild { packages, differing }
        });
        let tree_bytes = tree_bytes(store, &told.trees);
        Ok(Self {
            quarantined: store.quarantined()?,
            #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
            dedup_ratio: (tree_bytes.1 > 0).then(|| tree_bytes.0 as f64 / tree_bytes.1 as f64),
            tree_bytes,
            found_builds: (told.found, told.asked),
            unsigned_results: results.unsigned.len() as u64,
            differing: differing.collect(),
            publications: (told.published.saturating_sub(told.withdrawn), told.withdrawn),
            growth,
            scrub: last(store),
            stats,
        })
    }
}

fn told(store: &Store) -> Result<Told> {
    let mut told = Told::default();
    for line in store.events_from(0)? {
        let Ok(record) = serde_json::from_slice::<Record>(&line?.1) else { continue };
        match record.event {
            Event::PackageBuilt { cached, package, action, .. } => {
                told.asked += 1;
                told.found += u64::from(cached);
                told.packages.entry(action).or_default().insert(package);
            }
            Event::ImageAssembled { packages, .. } => told.trees.extend(packages.iter().map(|package| package.tree)),
            Event::Published { .. } => told.published += 1,
            Event::PublicationsWithdrawn { withdrawals } => told.withdrawn += withdrawals.len() as u64,
            _ => {}
        }
    }
    Ok(told)
}

/// Bytes of all files as the trees list them, and of the different ones among them. Trees that are gone count nothing.
fn tree_bytes(store: &Store, trees: &[TreeDigest]) -> (u64, u64) {
    let (mut listed, mut stored) = (0, 0);
    let mut seen = BTreeSet::new();
    let mut todo = trees.to_vec();
    while let Some(tree) = todo.pop() {
        let digest = BlobDigest::from_bytes(*tree.as_bytes());
        let Ok(bytes) = store.read_blob(&digest, u64::MAX) else { continue };
        let Ok(directory) = Directory::decode(&tree, &bytes) else { continue };
        for file in &directory.files {
            listed += file.size;
            if seen.insert(file.digest) {
                stored += file.size;
            }
        }
        todo.extend(directory.directories.iter().map(|inner| inner.digest));
    }
    (listed, stored)
}
