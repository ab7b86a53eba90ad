//! `anneal log`: a build's log by its digest, the journal of events, and whether the journal is what it was.

mod history;

use crate::{
    error::Result,
    output::{Output, printable},
    settings::Settings,
    view::{View, view},
};
use anneal_attest::Keyring;
use anneal_content::{BlobDigest, CommitId, PackageName, Version};
use anneal_ledger::{Decision, Event, Record, RevisionCause, Settling};
use anneal_store::Store;
use serde::Serialize;
use serde_json::json;
use std::fmt::{Display, Write as _};

/// The largest log that is read whole; a sandbox lets no build write a longer one.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// Which log.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    pub(crate) command: Option<history::LogCommand>,
    /// A build's log, as a failure names it; without it, the journal of events
    pub(crate) digest: Option<BlobDigest>,
    /// Of the journal, only the last events
    #[arg(long, value_name = "N", conflicts_with = "digest")]
    pub(crate) last: Option<usize>,
}

/// Performs the command.
pub(crate) fn run(args: &LogArgs, settings: &Settings, output: &Output) -> Result<()> {
    if let Some(command) = &args.command {
        return history::run(command, settings, output);
    }
    match &args.digest {
        Some(digest) => {
            let text = log_text(&view(settings)?.blob(digest)?);
            output.result(|| text.clone(), &json!({ "digest": digest, "text": &text }))
        }
        None => journal(args.last, settings, output),
    }
}

fn journal(last: Option<usize>, settings: &Settings, output: &Output) -> Result<()> {
    let mut records = events(&view(settings)?)?;
    if let Some(last) = last {
        records.drain(..records.len().saturating_sub(last));
    }
    let text = || {
        let mut text = String::new();
        for (seq, record) in &records {
            let _ = writeln!(text, "{seq:>6} {} {}", when(record.at_ms), printable(&event_text(&record.event)));
        }
        text
    };
    let values: Vec<_> = records.iter().map(|(seq, record)| Numbered { seq: *seq, record }).collect();
    output.result(text, &values)
}

/// An event with its place in the journal.
#[derive(Debug, Serialize)]
struct Numbered<'a> {
    seq: u64,
    #[serde(flatten)]
    record: &'a Record,
}

/// The whole journal; a daemon gives it in pieces.
pub(super) fn events(view: &View) -> Result<Vec<(u64, Record)>> {
    let client = match view {
        View::Directory(store) => return crate::service::journal(store, 0, usize::MAX),
        View::Daemon(client) => client,
    };
    let mut events: Vec<(u64, Record)> = Vec::new();
    loop {
        let from = events.last().map_or(0, |(seq, _)| seq + 1);
        let more: Vec<(u64, Record)> = client.get(&format!("/v1/events?from={from}"))?;
        if more.is_empty() {
            return Ok(events);
        }
        events.extend(more);
    }
}

/// A log as it may be shown: lines and tabs as they are, everything else that moves a terminal made visible.
pub(super) fn log_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut text = text.split('\t').map(printable).collect::<Vec<_>>().join("\t");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// A log of a state directory.
pub(super) fn whole(store: &Store, digest: &BlobDigest) -> Result<Vec<u8>> {
    Ok(store.read_blob(digest, LOG_BYTES_MAX)?)
}

/// A time for people, to the second, in UTC.
pub(crate) fn when(ms: u64) -> String {
    anneal_oci::rfc3339(ms / 1000).unwrap_or_else(|_| format!("{ms} ms since 1970"))
}

/// A package's build.
#[derive(Debug, Serialize)]
pub(super) struct Build {
    package: PackageName,
    version: Option<Version>,
    at_ms: u64,
    pub(super) failed: bool,
    /// What the error said, where it failed.
    pub(super) summary: String,
    pub(super) log: Option<BlobDigest>,
}

impl Build {
    pub(super) fn headline(&self) -> String {
        let version = self.version.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
        let how = if self.failed { "failed" } else { "was built" };
        let log = self.log.map_or_else(|| "there is no log".into(), |digest| format!("log {digest}"));
        format!("{}{version} {how} at {}; {log}", self.package, when(self.at_ms))
    }
}

/// A package's last build, failed or not.
pub(super) fn last_build(store: &Store, trusted: &Keyring, name: &PackageName) -> Result<Option<Build>> {
    for (_, record) in crate::service::journal(store, 0, usize::MAX)?.into_iter().rev() {
        let at_ms = record.at_ms;
        match record.event {
            Event::BuildFailed { package, summary, log, .. } if package == *name => {
                return Ok(Some(Build { package, version: None, at_ms, failed: true, summary, log }));
            }
            Event::PackageBuilt { package, version, action, .. } if package == *name => {
                let results = store.results(&action, &|signed| trusted.believes(signed))?;
                let log = results.into_iter().find(|r| r.variation.is_empty()).map(|r| r.log);
                let summary = "the result of this build is no longer in the store".to_owned();
                return Ok(Some(Build { package, version: Some(version), at_ms, failed: false, summary, log }));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn joined<T: Display>(all: &[T]) -> String {
    if all.is_empty() {
        return "nothing".to_owned();
    }
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What became of a build that shipped as it was.
fn settled(package: &PackageName, settling: &Settling) -> String {
    let first = |why: &str| why.lines().next().unwrap_or_default().to_owned();
    match settling {
        Settling::Identical { .. } => format!("{package} was built: bit for bit what ships"),
        Settling::Differs { why, .. } => {
            format!("{package} was built, and takes the place of what ships: {}", first(why))
        }
        Settling::Fails { why } => format!("{package} could NOT be built, and ships as it was: {}", first(why)),
        Settling::Dropped { why } => {
            format!("{package} does not ship as it was any more, and is built: {}", first(why))
        }
    }
}

/// What a branch left behind.
fn rewritten(left: &Option<CommitId>) -> String {
    let told = |left| format!("; the branch was REWRITTEN: {left} is no part of it any more");
    left.as_ref().map(told).unwrap_or_default()
}

/// An event in one line.
pub(super) fn event_text(event: &Event) -> String {
    match event {
        Event::CatalogImported { revision, cause, .. } => match cause {
            RevisionCause::Files => format!("catalogue {revision} is the active one, from files"),
            RevisionCause::Branch { at } => format!("catalogue {revision} is the active one, from {at}"),
            RevisionCause::Remediation { advisory, over } => {
                let over = over.as_ref().map(|at| format!(", over {at}")).unwrap_or_default();
                format!("catalogue {revision} is the active one, because of {advisory}{over}")
            }
        },
        Event::BranchFollowed { at, files, left } => format!("{at} is in force: catalogue {files}{}", rewritten(left)),
        Event::CommitRefused { at, why, left } => format!("{at} was NOT taken{}: {why}", rewritten(left)),
        Event::AdvisoryImported { id, .. } => format!("advisory {id} was taken in"),
        Event::AdvisoryMatched { id, hits, images, .. } => {
            let hits: Vec<_> = hits.iter().map(|hit| format!("{} {}", hit.package, hit.version)).collect();
            format!("advisory {id} touches {}; images: {}", joined(&hits), joined(images))
        }
        Event::RemediationChosen { advisory, bumps, .. } => {
            let bumps: Vec<_> = bumps.iter().map(|(package, from, to)| format!("{package} {from} -> {to}")).collect();
            format!("for {advisory} was chosen: {}", joined(&bumps))
        }
        Event::CaseBlocked { advisory, why, .. } => format!("case {advisory} is blocked: {why}"),
        Event::PackageBuilt { package, version, cached, .. } => {
            format!("{package} {version} {}", if *cached { "was built before (cut off)" } else { "was built" })
        }
        Event::PackageKept { package, version, linked, ground, .. } => {
            let libraries: Vec<_> = linked.keys().collect();
            if !ground.is_interface() {
                let libraries = joined(&libraries);
                return format!(
                    "{package} {version} ships as it was built, with {libraries} as it is now; it is to be built"
                );
            }
            format!("{package} {version} is kept, interface equal of {}; its proof is to follow", joined(&libraries))
        }
        Event::KeptProved { package, .. } => {
            format!("{package} was built with its libraries as they are now: bit for bit what was kept")
        }
        Event::CutOffWithdrawn { package, why, .. } => {
            let why = why.lines().next().unwrap_or_default();
            format!("{package} is NOT what was kept, so it is built again whenever what it links changes: {why}")
        }
        Event::SwapRefused { package, version, why, .. } => {
            let why = why.lines().next().unwrap_or_default();
            format!("{package} {version} is built, and does not ship as it was: {why}")
        }
        Event::SwapSettled { package, settling, .. } => settled(package, settling),
        Event::PackageTried { package, version, causes, .. } if causes.is_empty() => {
            format!("{package} {version} came out the same in other surroundings")
        }
        Event::PackageTried { package, version, causes, .. } => {
            let causes = causes.iter().cloned().collect::<Vec<_>>().join(", ");
            format!("{package} {version} is NOT reproducible: {causes}")
        }
        Event::BuildFailed { package, summary, .. } => {
            format!("{package} failed: {}", summary.lines().next().unwrap_or_default())
        }
        Event::ImageAssembled { image, manifest, .. } => format!("image {image} was assembled: {manifest}"),
        Event::CheckAsked { manifest } => format!("{manifest} is to be checked again"),
        Event::ImageJudged { manifest, passed, counts: (good, warned, failed), .. } => {
            let verdict = if *passed { "passed" } else { "did not pass" };
            format!("{manifest} {verdict}: {good} checks passed, {warned} warned, {failed} failed")
        }
        Event::EvidenceSigned { manifest, evidence, .. } => {
            format!("{} statements about {manifest} were signed", evidence.len())
        }
        Event::CandidateOpened { candidate, image, fixes, .. } => {
            format!("candidate {candidate} of {image} awaits a decision; it fixes {}", joined(fixes))
        }
        Event::ApproverEnrolled { key_id, name, .. } => format!("{name} may decide, with key {key_id}"),
        Event::ApproverRevoked { key_id, reason } => format!("key {key_id} decides nothing any more: {reason}"),
        Event::Decided { candidate, decision, key_id, .. } => {
            let word = match decision {
                Decision::Approve => "approved",
                Decision::Reject => "rejected",
            };
            format!("candidate {candidate} was {word} with key {key_id}")
        }
        Event::ImagesCollected { manifests } => {
            format!("{} images that nothing needed were collected: {}", manifests.len(), joined(manifests))
        }
        Event::PublicationsWithdrawn { withdrawals } => {
            let each = withdrawals.iter().map(|one| format!("{} ({})", one.candidate, one.why));
            format!("publications are served no longer: {}", each.collect::<Vec<_>>().join(", "))
        }
        Event::Restored { backup, events, by, .. } => {
            format!("restored by {by} from backup {backup}: what came after its {events} events is lost")
        }
        Event::Published { candidate, .. } => format!("candidate {candidate} was published"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_its_tabs_and_loses_its_escapes() {
        assert_eq!(log_text(b"a\tb\x1b[2J\nend"), "a\tb\u{fffd}[2J\nend\n");
    }

    #[test]
    fn a_failure_is_one_line_of_the_journal() {
        let event = Event::BuildFailed {
            package: PackageName::new("zlib").unwrap(),
            derivation: anneal_content::DerivationId::of(b"x"),
            summary: "zlib does not build: exited with code 1\nlast line".to_owned(),
            log: None,
            retry_after_ms: 0,
        };
        assert_eq!(event_text(&event), "zlib failed: zlib does not build: exited with code 1");
    }
}
