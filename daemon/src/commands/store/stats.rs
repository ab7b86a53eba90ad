//! `anneal store stats`: what is in the store by kind, how much sharing saves, how often a build was found, and how the
//! store grows.

use super::collect::look;
use crate::{
    error::Result,
    output::{Output, human_bytes},
    retention::{Growth, SizeOfDay, day_of, growth},
    service::now_ms,
    settings::Settings,
};
use anneal_content::{Directory, TreeDigest};
use anneal_ledger::{Event, Record};
use anneal_store::{KindSize, Stats, Store};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// Everything that is told.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    stats: Stats,
    /// By what it is kept for; none where that could not be found out.
    kinds: Option<BTreeMap<String, KindSize>>,
    /// Files of the trees of images: bytes as the trees list them, and as they are stored.
    tree_bytes: (u64, u64),
    /// Builds that were found in the action cache, of all that were asked for.
    found_builds: (u64, u64),
    growth: Option<Growth>,
}

/// Counts and tells.
pub(super) fn stats(store: &Store, settings: &Settings, output: &Output) -> Result<()> {
    let kinds = match look(settings) {
        Ok(collected) => Some(collected.kinds),
        Err(error) => {
            output.note(&format!("sizes by kind are not known: {}", error.chain()));
            None
        }
    };
    let (trees, found_builds) = journal(store)?;
    let stats = store.stats()?;
    let (blobs, blob_bytes, free_bytes) = (stats.blobs, stats.blob_bytes, stats.free_bytes);
    let growth = growth(store, SizeOfDay { day: day_of(now_ms()), blobs, blob_bytes, free_bytes })?;
    let told = Told { stats, kinds, tree_bytes: tree_bytes(store, &trees), found_builds, growth };
    output.result(|| text(store, &told), &told)
}

/// The trees of images, each as often as an image has it, and how many builds were found.
fn journal(store: &Store) -> Result<(Vec<TreeDigest>, (u64, u64))> {
    let (mut trees, mut found, mut asked) = (Vec::new(), 0, 0);
    for line in store.events_from(0)? {
        let Ok(record) = serde_json::from_slice::<Record>(&line?.1) else { continue };
        match record.event {
            Event::PackageBuilt { cached, .. } => {
                asked += 1;
                found += u64::from(cached);
            }
            Event::ImageAssembled { packages, .. } => trees.extend(packages.iter().map(|package| package.tree)),
            _ => {}
        }
    }
    Ok((trees, (found, asked)))
}

/// Bytes of all files as the trees list them, and of the different ones among them. Trees that are gone count nothing.
fn tree_bytes(store: &Store, trees: &[TreeDigest]) -> (u64, u64) {
    let (mut listed, mut stored) = (0, 0);
    let mut seen = BTreeSet::new();
    let mut todo = trees.to_vec();
    while let Some(tree) = todo.pop() {
        let digest = anneal_content::BlobDigest::from_bytes(*tree.as_bytes());
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

fn text(store: &Store, told: &Told) -> String {
    let Told { stats, kinds, tree_bytes, found_builds, growth } = told;
    let mut text = format!("store {}\n", store.dir().display());
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:20} {value}");
    };
    line("blobs", format!("{} ({})", stats.blobs, human_bytes(stats.blob_bytes)));
    for (kind, size) in kinds.iter().flatten() {
        line(&format!("  {kind}"), format!("{} ({})", size.blobs, human_bytes(size.bytes)));
    }
    line("damaged blobs", stats.damaged_blobs.to_string());
    line("actions", format!("{} with {} results", stats.actions, stats.results));
    if let Some(percent) = (found_builds.0 * 100).checked_div(found_builds.1) {
        line("builds found", format!("{} of {} ({percent} %)", found_builds.0, found_builds.1));
    }
    if let Some(tenths) = (tree_bytes.0 * 10).checked_div(tree_bytes.1) {
        let shared = format!("{} in images, {} stored", human_bytes(tree_bytes.0), human_bytes(tree_bytes.1));
        line("files", format!("{shared} ({}.{} to 1)", tenths / 10, tenths % 10));
    }
    line("failures", stats.failures.to_string());
    line("events", stats.events.to_string());
    line("records", stats.records.to_string());
    line("trees ready", stats.materialized_trees.to_string());
    line("free on the disk", human_bytes(stats.free_bytes));
    if let Some(Growth { days, bytes_a_day, days_left }) = growth {
        let sign = if *bytes_a_day < 0 { "-" } else { "" };
        let full = days_left.map_or_else(|| "not growing".to_owned(), |left| format!("full in {left} days"));
        line("growth", format!("{sign}{} a day over {days} days: {full}", human_bytes(bytes_a_day.unsigned_abs())));
    }
    text
}
