//! `anneal store stats`: what is in the store by kind, how much sharing saves, how often a build was found, which builds
//! are not deterministic, and how the store grows.

use super::collect::look;
use crate::{
    commands::log::when,
    error::Result,
    holdings::{DifferingBuild, Holdings},
    keys::result_keys,
    output::{Output, human_bytes, printable},
    retention::Growth,
    scrub::Summary,
    settings::Settings,
};
use anneal_content::OutputName;
use anneal_store::{KindSize, Store};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _};

/// Everything that is told.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    holdings: Holdings,
    /// By what it is kept for; none where that could not be found out.
    kinds: Option<BTreeMap<String, KindSize>>,
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
    let trusted = result_keys(&settings.state.join("keys"))?.trusted;
    let told = Told { holdings: Holdings::of(store, &trusted)?, kinds };
    output.result(|| printable(&text(store, &told)), &told)
}

fn text(store: &Store, told: &Told) -> String {
    let Told { kinds, holdings } = told;
    let Holdings { stats, quarantined, tree_bytes, found_builds, publications, growth, scrub, .. } = holdings;
    let mut text = format!("store {}\n", store.dir().display());
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:20} {value}");
    };
    line("blobs are in", store.backend().name());
    line("blobs", format!("{} ({})", stats.blobs, human_bytes(stats.blob_bytes)));
    for (kind, size) in kinds.iter().flatten() {
        line(&format!("  {kind}"), format!("{} ({})", size.blobs, human_bytes(size.bytes)));
    }
    line("damaged blobs", stats.damaged_blobs.to_string());
    line("in quarantine", format!("{} ({})", quarantined.blobs, human_bytes(quarantined.bytes)));
    line("actions", format!("{} with {} results", stats.actions, stats.results));
    if holdings.unsigned_results > 0 {
        line("unsigned results", format!("{}, which are never used", holdings.unsigned_results));
    }
    if let Some(percent) = (found_builds.0 * 100).checked_div(found_builds.1) {
        line("builds found", format!("{} of {} ({percent} %)", found_builds.0, found_builds.1));
    }
    for DifferingBuild { packages, differing } in &holdings.differing {
        let names: Vec<String> = packages.iter().map(ToString::to_string).collect();
        let of = if names.is_empty() { format!("action {}", differing.action) } else { names.join(", ") };
        let outputs = differing.outputs.iter().map(OutputName::to_string).collect::<Vec<_>>().join(", ");
        let counts = format!("{} different ones among {} results", differing.distinct, differing.results);
        line("not deterministic", format!("{of}: {counts}, in {outputs}"));
    }
    if let Some(tenths) = (tree_bytes.0 * 10).checked_div(tree_bytes.1) {
        let shared = format!("{} in images, {} stored", human_bytes(tree_bytes.0), human_bytes(tree_bytes.1));
        line("files", format!("{shared} ({}.{} to 1)", tenths / 10, tenths % 10));
    }
    line("publications", format!("{} served, {} withdrawn", publications.0, publications.1));
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
    line("last scrub", scrub.as_ref().map_or_else(|| "none by a daemon yet".to_owned(), scrub_text));
    text
}

fn scrub_text(scrub: &Summary) -> String {
    let Summary { ended_ms, bytes, corrupt, missing, unsigned, .. } = scrub;
    let found = format!("{corrupt} corrupt, {missing} missing, {unsigned} unsigned");
    format!("{}: {} read, {found}", when(*ended_ms), human_bytes(*bytes))
}
