//! `/metrics`: what stands in the ledger and in the store, in Prometheus' text format.

use crate::{error::Result, service::Service};
use anneal_ledger::{CandidateStatus, CaseStatus};
use std::fmt::Write as _;

/// The whole page.
pub(crate) fn text(service: &Service) -> Result<String> {
    let holdings = service.holdings()?;
    let stats = &holdings.stats;
    let mut page = String::new();
    let mut gauge = |name: &str, help: &str, value: u64| {
        let _ = writeln!(page, "# HELP anneal_{name} {help}\n# TYPE anneal_{name} gauge\nanneal_{name} {value}");
    };
    service.with_state(|state| {
        let cases = |wanted: fn(&CaseStatus) -> bool| state.cases.values().filter(|c| wanted(&c.status)).count() as u64;
        gauge("advisories", "Advisories known.", state.advisories.len() as u64);
        gauge("cases_open", "Cases without a remediation yet.", cases(|s| matches!(s, CaseStatus::Open)));
        gauge(
            "cases_remediating",
            "Cases whose images are on their way.",
            cases(|s| matches!(s, CaseStatus::Remediating { .. })),
        );
        gauge(
            "cases_blocked",
            "Cases that wait for a fix or a human.",
            cases(|s| matches!(s, CaseStatus::Blocked { .. })),
        );
        gauge("builds_failed", "Derivations whose last build failed.", state.failures.len() as u64);
        let open = state.candidates.values().filter(|c| c.status == CandidateStatus::Open).count() as u64;
        gauge("candidates_open", "Candidates that await a human.", open);
        gauge("publications", "Publications ever made.", state.publications.len() as u64);
        if service.settings.follow.is_some() {
            let refused = u64::from(state.refused_commit.is_some());
            gauge("catalog_commit_refused", "Whether the newest commit of the followed branch is not taken.", refused);
        }
    });
    if service.settings.follow.is_some() {
        let failed = service.looks_failed.load(std::sync::atomic::Ordering::Relaxed);
        gauge("catalog_looks_failed", "Looks at the followed branch in a row that failed.", failed.into());
    }
    gauge("store_blobs", "Blobs in the store.", stats.blobs);
    gauge("store_blob_bytes", "Bytes of blobs in the store.", stats.blob_bytes);
    gauge("store_blobs_damaged", "Blobs found damaged.", stats.damaged_blobs);
    gauge("store_free_bytes", "Bytes that the file system has left for the store.", service.store.free_bytes()?);
    gauge("store_quarantined_bytes", "Bytes of damaged blobs that are kept aside.", holdings.quarantined.bytes);
    gauge("store_tree_bytes_listed", "Bytes of files as the trees of images list them.", holdings.tree_bytes.0);
    gauge("store_tree_bytes_stored", "Bytes of those files as they are stored, each once.", holdings.tree_bytes.1);
    gauge("builds_asked", "Builds that were asked for.", holdings.found_builds.1);
    gauge("builds_found", "Builds that were found in the action cache.", holdings.found_builds.0);
    gauge("builds_differing", "Builds that did not always give the same.", holdings.differing.len() as u64);
    gauge("results_unsigned", "Results that no build key vouches for.", holdings.unsigned_results);
    gauge("publications_withdrawn", "Publications that retention has withdrawn.", holdings.publications.1);
    if let Some(days) = holdings.growth.and_then(|growth| growth.days_left) {
        gauge("store_full_in_days", "In how many days the disk is full, if the store goes on growing.", days);
    }
    if let Some(scrub) = &holdings.scrub {
        gauge("scrub_last_ms", "When the last scrub ended, milliseconds since 1970.", scrub.ended_ms);
        gauge("scrub_took_ms", "How long it took.", scrub.ended_ms.saturating_sub(scrub.begun_ms));
        gauge("scrub_bytes", "How much it read.", scrub.bytes);
        gauge("scrub_corrupt", "What it found corrupt.", scrub.corrupt);
        gauge("scrub_missing", "What it found missing.", scrub.missing);
        gauge("scrub_unsigned", "Results of builds that it found unsigned.", scrub.unsigned);
    }
    let facts = service.collections().clone();
    gauge("collections", "Collections since the start.", facts.collections);
    gauge("collections_failed", "Collections since the start that failed.", facts.failures);
    gauge("collected_blobs", "Blobs collected since the start.", facts.blobs);
    gauge("collected_bytes", "Bytes collected since the start.", facts.bytes);
    gauge("collection_wait_ms", "The longest that somebody could have waited for a batch.", facts.longest_wait_ms);
    gauge("collection_mark_ms", "How long the last collection took to find what is needed.", facts.last_mark_ms);
    gauge("collection_last_ms", "When the last collection ended, milliseconds since 1970.", facts.last_ms);
    if let Some(growth) = holdings.growth {
        let name = "anneal_store_growth_bytes_a_day";
        let help = "How many bytes the store grows by in a day.";
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {}", growth.bytes_a_day);
    }
    if !facts.kinds.is_empty() {
        let name = "anneal_store_kind_bytes";
        let help = "Bytes by what they are kept for, as the last collection, or look at one, found them.";
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (kind, size) in &facts.kinds {
            let _ = writeln!(page, "{name}{{kind=\"{kind}\"}} {}", size.bytes);
        }
    }
    Ok(page)
}
