//! The daemon scrubs by itself, slowly, and remembers how far it came: a daemon that is started again and again gets
//! through the store as well as one that runs on.
//!
//! Two small records of the kind `scrub`: `position`, where a scrub that is under way goes on, and `last`, what the last
//! one found.

use super::{Consequences, How, Kind, Report, Tally, Throttle, follow, mend, scrub};
use crate::{
    error::Result,
    retention::ground,
    service::{Service, journal, now_ms},
    tasks::ask_for_lost,
};
use anneal_store::Store;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The kind of the records, and their keys.
const SCRUB: &str = "scrub";
const POSITION: &str = "position";
const LAST: &str = "last";

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// How often it is looked whether a scrub is due.
const PERIOD: Duration = Duration::from_secs(5);
/// How often the position is recorded, at most.
const RECORD_PERIOD: Duration = Duration::from_secs(30);
/// After a scrub that could not be done, the next one waits.
const PAUSE_MS: u64 = 60 * 60 * 1000;
/// How many threads read: the daemon has other things to do.
const THREADS: usize = 2;
/// How many findings are told one by one in the log.
const TOLD_MAX: usize = 100;

/// Where a scrub goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Position {
    begun_ms: u64,
    next: u16,
    report: Report,
}

/// What a scrub found, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) begun_ms: u64,
    pub(crate) ended_ms: u64,
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
    pub(crate) corrupt: u64,
    pub(crate) missing: u64,
    pub(crate) unsigned: u64,
}

/// What the daemon's last scrub found; `None` where there was none yet.
pub(crate) fn last(store: &Store) -> Option<Summary> {
    read(store, LAST)
}

fn read<T: for<'de> Deserialize<'de>>(store: &Store, key: &str) -> Option<T> {
    let bytes = store.record(SCRUB, key).ok().flatten()?;
    serde_json::from_slice(&bytes).ok()
}

fn write(store: &Store, key: &str, value: &impl Serialize) -> Result<()> {
    Ok(store.put_record(SCRUB, key, &serde_json::to_vec(value).unwrap_or_default())?)
}

/// Whether a scrub is due: one is under way, or the last one, or the first event, is so many days ago.
fn is_due(now_ms: u64, is_under_way: bool, since_ms: u64, every_days: u64) -> bool {
    every_days > 0 && (is_under_way || now_ms.saturating_sub(since_ms) >= every_days.saturating_mul(DAY_MS))
}

/// Runs until the daemon drains.
pub(crate) fn keep_scrubbed(service: &Arc<Service>) {
    let mut held_ms = 0;
    while !service.is_draining() {
        let now = now_ms();
        let position: Option<Position> = read(&service.store, POSITION);
        let since_ms = last(&service.store).map_or_else(|| first_event_ms(&service.store), |last| last.ended_ms);
        if now >= held_ms
            && is_due(now, position.is_some(), since_ms, service.settings.scrub_days)
            && let Err(error) = run(service, position.unwrap_or_default())
        {
            service.board.trouble(format!("scrubbing: {}", error.chain()));
            held_ms = now_ms() + PAUSE_MS;
        }
        if let Err(error) = service.store.note_extent() {
            service.board.trouble(format!("noting how far the database goes: {error}"));
        }
        for _ in 0..PERIOD.as_millis() / 100 {
            if service.is_draining() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn first_event_ms(store: &Store) -> u64 {
    journal(store, 0, 1).ok().and_then(|events| events.first().map(|(_, record)| record.at_ms)).unwrap_or_else(now_ms)
}

fn run(service: &Service, position: Position) -> Result<()> {
    let store = &service.store;
    let begun_ms = if position.begun_ms == 0 { now_ms() } else { position.begun_ms };
    let trusted = crate::keys::result_keys(&service.settings.state.join("keys"))?.trusted;
    let throttle = Throttle::new(service.settings.scrub_mib_a_second << 20);
    // where it came to, and when that was recorded
    let reached = Mutex::new((Position { begun_ms, ..position.clone() }, Instant::now()));
    let passed = |next: u16, report: &Report| {
        let mut reached = reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.0 = Position { begun_ms, next, report: report.clone() };
        if reached.1.elapsed() >= RECORD_PERIOD {
            reached.1 = Instant::now();
            note_position(store, &reached.0);
        }
    };
    let how = How {
        trusted: &trusted,
        threads: THREADS,
        throttle: &throttle,
        stop: &|| service.is_draining(),
        tally: &Tally::default(),
        passed: &passed,
    };
    let mut report = scrub(store, &how, position.next, position.report)?;
    if report.stopped || service.is_draining() {
        note_position(store, &reached.lock().unwrap_or_else(PoisonError::into_inner).0);
        return Ok(());
    }
    mend(store, &mut report)?;
    let consequences = follow(store, Ok(ground(service)), &mut report)?;
    ask_for_lost(service)?;
    tell(service, &report, consequences);
    let summary = Summary {
        begun_ms,
        ended_ms: now_ms(),
        blobs: report.blobs,
        bytes: report.bytes,
        corrupt: report.count(Kind::Corrupt),
        missing: report.count(Kind::Missing),
        unsigned: report.count(Kind::Unsigned),
    };
    write(store, LAST, &summary)?;
    Ok(store.remove_record(SCRUB, POSITION)?)
}

fn note_position(store: &Store, position: &Position) {
    if let Err(error) = write(store, POSITION, position) {
        tracing::debug!("how far the scrub came was not recorded: {}", error.chain());
    }
}

fn tell(service: &Service, report: &Report, consequences: Consequences) {
    let (blobs, bytes, found) = (report.blobs, report.bytes, report.damage.len());
    tracing::info!(blobs, bytes, found, "scrubbed");
    for (what, how) in report.mended.iter().take(TOLD_MAX) {
        tracing::warn!(what, how, "found by scrubbing, and put right");
    }
    let consequences = consequences.unwrap_or_else(|why| {
        tracing::error!("who needs what is damaged cannot be told: {why}");
        BTreeMap::new()
    });
    for (what, damage) in report.damage.iter().take(TOLD_MAX) {
        let follows = consequences.get(what).cloned().unwrap_or_default();
        let (needed_for, in_doubt) = (follows.needed_for.join(", for "), follows.in_doubt.join(", "));
        let (kind, why, remedy) = (damage.kind.word(), &damage.why, follows.remedy);
        tracing::error!(what, kind, why, needed_for, in_doubt, remedy, "found by scrubbing");
    }
    if found > 0 {
        let text =
            format!("scrubbing found {found} things that are not as they should be: `anneal store scrub` names them");
        service.board.trouble(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrub_is_due_after_so_many_days_or_where_one_was_interrupted() {
        assert!(!is_due(6 * DAY_MS, false, 0, 7));
        assert!(is_due(7 * DAY_MS, false, 0, 7));
        assert!(is_due(1, true, 0, 7), "it goes on at once");
        assert!(!is_due(u64::MAX, true, 0, 0), "0 days: never by itself");
    }

    #[test]
    fn where_a_scrub_goes_on_is_kept_with_what_it_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), anneal_store::OpenMode::ReadWrite).unwrap();
        assert_eq!(read::<Position>(&store, POSITION), None);
        let mut report = Report { blobs: 7, ..Report::default() };
        report.found("a".into(), Kind::Corrupt, "b".into());
        let position = Position { begun_ms: 5, next: 200, report };
        write(&store, POSITION, &position).unwrap();
        assert_eq!(read::<Position>(&store, POSITION), Some(position));
    }
}
