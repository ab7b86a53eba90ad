//! `/metrics`: what stands in the ledger and in the store, in Prometheus' text format.

use crate::{error::Result, service::Service};
use anneal_ledger::{CandidateStatus, CaseStatus};
use std::fmt::Write as _;

/// The whole page.
pub(crate) fn text(service: &Service) -> Result<String> {
    let stats = service.store_stats()?;
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
    });
    gauge("store_blobs", "Blobs in the store.", stats.blobs);
    gauge("store_blob_bytes", "Bytes of blobs in the store.", stats.blob_bytes);
    gauge("store_blobs_damaged", "Blobs found damaged.", stats.damaged_blobs);
    gauge("store_free_bytes", "Bytes that the file system has left for the store.", service.store.free_bytes()?);
    let facts = *service.collections();
    gauge("collections", "Collections since the start.", facts.collections);
    gauge("collections_failed", "Collections since the start that failed.", facts.failures);
    gauge("collected_blobs", "Blobs collected since the start.", facts.blobs);
    gauge("collected_bytes", "Bytes collected since the start.", facts.bytes);
    gauge("collection_wait_ms", "The longest that somebody could have waited for a batch.", facts.longest_wait_ms);
    gauge("collection_mark_ms", "How long the last collection took to find what is needed.", facts.last_mark_ms);
    gauge("collection_last_ms", "When the last collection ended, milliseconds since 1970.", facts.last_ms);
    Ok(page)
}
