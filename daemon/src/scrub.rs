//! Reading the whole store against its digests: every blob, the journal's chain, the signatures of results, the trees of
//! every image, and the directories that builds are given.
//!
//! ```text
//! database   every row of every table, and the file beside it that says how far it goes (scrub/tables.rs)
//! blobs      in 256 parts, several threads at a part, at a limited speed (scrub/blobs.rs); where one ended is recorded
//! the rest   the journal, results, what the ledger names, trees, directories (scrub/reachable.rs)
//! once more  what was found, by what is known then: a collection may have taken it while it was being read
//! ```
//! Three kinds of findings: *corrupt* is there and is not what it should be, *missing* is named and not there, *unsigned*
//! is a result of a build that no build key vouches for, which is never used. `anneal store scrub` reads beside a daemon
//! and changes nothing; the daemon scrubs by itself (scrub/schedule.rs), and there damage is taken out of service.

mod blobs;
mod consequence;
mod reachable;
mod schedule;
mod tables;

pub(crate) use blobs::{Tally, Throttle};
pub(crate) use consequence::{Consequence, Consequences, follow, mend, mend_from};
pub(crate) use schedule::{Summary, keep_scrubbed, last};

use crate::error::{Error, Result};
use anneal_attest::Keyring;
use anneal_content::BlobDigest;
use anneal_store::{DAMAGE, FILE_GONE, Remade, Store};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How often everything but the blobs is looked at once more when events come meanwhile.
const ATTEMPTS: usize = 5;

/// What is wrong with something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// It is there, and is not what it should be.
    Corrupt,
    /// It is named, and is not there.
    Missing,
    /// Nobody vouches for it.
    Unsigned,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Corrupt, Self::Missing, Self::Unsigned];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::Missing => "missing",
            Self::Unsigned => "unsigned",
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Damage {
    pub(crate) kind: Kind,
    pub(crate) why: String,
}

/// What was read and what was wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    pub(crate) events: u64,
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
    /// Files that no record names: what an interrupted write left; the next put replaces them.
    pub(crate) leftovers: u64,
    /// Rows of the database's tables.
    pub(crate) rows: u64,
    /// Results of builds that a build key signed.
    pub(crate) results: u64,
    /// Trees of images whose every file is there.
    pub(crate) trees: u64,
    /// Directories that builds are given, hashed again.
    pub(crate) directories: u64,
    /// What is wrong, by what it is wrong with.
    pub(crate) damage: BTreeMap<String, Damage>,
    /// What was wrong and was put right, with how.
    pub(crate) mended: BTreeMap<String, String>,
    /// Whether it was stopped before its end.
    pub(crate) stopped: bool,
}

impl Report {
    /// Notes that something of the database cannot be read: once for each table, however much of it is asked for.
    pub(crate) fn found_unreadable(&mut self, table: &'static str, why: String) {
        self.found(tables::named(table), Kind::Corrupt, why);
    }

    /// Notes that the table of blobs was made again from their files, and what was lost.
    pub(crate) fn remade(&mut self, remade: &Remade) {
        let how = format!("it was made again from the files of {} blobs", remade.rows);
        self.mended.insert(tables::named(tables::BLOBS), how);
        for (digest, why) in &remade.lost {
            let kind = if why == FILE_GONE { Kind::Missing } else { Kind::Corrupt };
            self.found(digest.to_string(), kind, why.clone());
        }
    }

    /// Notes what is wrong with something; what was found about it first stays.
    pub(crate) fn found(&mut self, what: String, kind: Kind, why: String) {
        self.damage.entry(what).or_insert(Damage { kind, why });
    }

    /// How much of a kind was found.
    pub(crate) fn count(&self, kind: Kind) -> u64 {
        self.damage.values().filter(|damage| damage.kind == kind).count() as u64
    }
}

/// How a store is scrubbed.
pub(crate) struct How<'a> {
    /// The build keys whose results are believed.
    pub(crate) trusted: &'a Keyring,
    /// How many threads read blobs.
    pub(crate) threads: usize,
    pub(crate) throttle: &'a Throttle,
    /// Asked before each blob: whether to stop there.
    pub(crate) stop: &'a (dyn Fn() -> bool + Sync),
    /// What was read so far, for whoever watches.
    pub(crate) tally: &'a Tally,
    /// Hears after each part of the blobs which part is next, and what was found up to there.
    pub(crate) passed: &'a (dyn Fn(u16, &Report) + Sync),
}

/// Reads everything, from a part of the blobs on with what was found before it.
pub(crate) fn scrub(store: &Store, how: &How<'_>, from: u16, before: Report) -> Result<Report> {
    let mut report = Report { stopped: false, ..before };
    if !tables::read_all(store, how, &mut report)? {
        report.stopped = true;
        return Ok(report);
    }
    for first in from..=255 {
        let first = u8::try_from(first).unwrap_or(u8::MAX);
        if !blobs::read_part(store, first, how, &mut report)? {
            report.stopped = true;
            return Ok(report);
        }
        (how.passed)(u16::from(first) + 1, &report);
    }
    let of_blobs = report.clone();
    rest(store, how, &mut report)?;
    let mut now = if report.damage.is_empty() { store.clone() } else { store.reopen()? };
    for _ in 0..ATTEMPTS {
        if report.damage.is_empty() || (how.stop)() {
            break;
        }
        let events = now.event_count().ok();
        report = once_more(&now, how, &of_blobs, &report)?;
        now = store.reopen()?;
        if now.event_count().ok() == events {
            break;
        }
    }
    Ok(report)
}

/// Everything but the blobs.
fn rest(store: &Store, how: &How<'_>, report: &mut Report) -> Result<()> {
    reachable::read_results(store, how.trusted, report);
    reachable::read_named(store, report)?;
    reachable::read_directories(store, how, report)
}

/// Looks again at what was found: at the blobs one by one, at all that is named, and at the directories.
fn once_more(store: &Store, how: &How<'_>, of_blobs: &Report, found: &Report) -> Result<Report> {
    let mut report = Report { damage: BTreeMap::new(), directories: found.directories, ..of_blobs.clone() };
    for (what, damage) in &of_blobs.damage {
        let Ok(digest) = what.parse::<BlobDigest>() else {
            report.found(what.clone(), damage.kind, damage.why.clone());
            continue;
        };
        match blobs::read_blob(store, &digest, how)? {
            Ok(Some(_)) => {}
            // collected meanwhile, unless somebody took it out of service for its damage
            Ok(None) if store.record(DAMAGE, &digest.hex())?.is_none() => {}
            Ok(None) => report.found(what.clone(), damage.kind, damage.why.clone()),
            Err(wrong) => wrong.note(&digest, &mut report),
        }
    }
    reachable::read_results(store, how.trusted, &mut report);
    reachable::read_named(store, &mut report)?;
    let names = found.damage.keys().filter_map(|what| what.strip_prefix(reachable::DIRECTORY));
    for name in names {
        reachable::read_directory(store, name, &mut report);
    }
    Ok(report)
}

/// An error in words, as a finding tells it.
fn told(error: impl Into<Error>) -> String {
    error.into().chain()
}

#[cfg(test)]
mod tests;
