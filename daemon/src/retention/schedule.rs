//! The daemon collects by itself: on a schedule, and sooner where the disk is nearly full. It also notes each day how
//! large the store is, from which its growth is told.

use super::{DAY_MS, collect, keep_ms};
use crate::{
    error::Result,
    service::{Service, now_ms},
};
use anneal_store::{KindSize, RESERVE_BYTES, Store};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How often it is looked whether something is due.
const PERIOD: Duration = Duration::from_secs(5);
/// With less free than this, the disk is nearly full.
const NEAR_BYTES: u64 = 16 * RESERVE_BYTES;
/// On a disk that is nearly full, what nothing needs is kept for this long only.
const NEAR_KEEP_MS: u64 = 60 * 60 * 1000;
/// After a collection that did not help, the next one waits.
const PAUSE_MS: u64 = 10 * 60 * 1000;
const HOUR_MS: u64 = 60 * 60 * 1000;
/// The kind of the records of sizes by day, and how many days are kept.
const SIZES: &str = "size";
const DAYS_MAX: usize = 400;
/// Growth is told from so many days at most.
const TREND_DAYS: usize = 30;

/// What collections did since the daemon started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// What is kept, by kind.
    pub(crate) kinds: BTreeMap<String, KindSize>,
    pub(crate) collections: u64,
    pub(crate) failures: u64,
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
    pub(crate) longest_wait_ms: u64,
    pub(crate) last_mark_ms: u64,
    pub(crate) last_ms: u64,
}

/// How large the store was on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SizeOfDay {
    pub(crate) day: u64,
    pub(crate) blobs: u64,
    pub(crate) blob_bytes: u64,
    pub(crate) free_bytes: u64,
}

/// How the store grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Growth {
    /// From how many days this is told.
    pub(crate) days: u64,
    /// Bytes a day.
    pub(crate) bytes_a_day: i64,
    /// In how many days the disk is full but for the reserve, if it goes on like this; none: it is not growing.
    pub(crate) days_left: Option<u64>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Nothing,
    Scheduled,
    NearlyFull,
}

fn due(now_ms: u64, last_ms: u64, every_hours: u64, free_bytes: u64) -> Due {
    let since = now_ms.saturating_sub(last_ms);
    if free_bytes < NEAR_BYTES && since >= PAUSE_MS {
        return Due::NearlyFull;
    }
    if every_hours > 0 && since >= every_hours.saturating_mul(HOUR_MS) { Due::Scheduled } else { Due::Nothing }
}

/// Runs until the daemon drains.
pub(crate) fn keep_house(service: &Arc<Service>) {
    // A daemon that is started again and again collects as often as one that runs on.
    let started_ms = now_ms();
    let known = service.store.record("collection", "last").ok().flatten();
    let known = known.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<u64>().ok());
    let mut last_ms = known.unwrap_or(started_ms);
    // A disk that is nearly full is looked at soon after the start.
    let mut pressed_ms = 0;
    while !service.is_draining() {
        if let Err(error) = note_size(&service.store, now_ms()) {
            tracing::debug!("today's size was not noted: {}", error.chain());
        }
        let free_bytes = service.store.free_bytes().unwrap_or(u64::MAX);
        let pause = if free_bytes < NEAR_BYTES { pressed_ms } else { last_ms };
        let due = due(now_ms(), pause, service.settings.collect_hours, free_bytes);
        if due != Due::Nothing {
            (last_ms, pressed_ms) = (now_ms(), now_ms());
            run(service, due);
        }
        for _ in 0..PERIOD.as_millis() / 100 {
            if service.is_draining() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn run(service: &Service, due: Due) {
    let keep = keep_ms(&service.settings);
    let keep = if due == Due::NearlyFull { keep.min(NEAR_KEEP_MS) } else { keep };
    match collect_and_count(service, keep) {
        Ok(collected) => {
            let swept = collected.swept.unwrap_or_default();
            tracing::info!(blobs = swept.blobs, bytes = swept.bytes, why = ?due, "collected what nothing needs");
        }
        Err(error) => service.board.trouble(format!("collecting: {}", error.chain())),
    }
}

/// Collects, and counts it for `/metrics`.
pub(crate) fn collect_and_count(service: &Service, keep_ms: u64) -> Result<super::Collected> {
    let outcome = collect(service, keep_ms);
    let mut facts = service.collections();
    match &outcome {
        Ok(collected) => {
            let swept = collected.swept.clone().unwrap_or_default();
            facts.collections += 1;
            facts.blobs += swept.blobs;
            facts.bytes += swept.bytes;
            facts.longest_wait_ms = facts.longest_wait_ms.max(swept.longest_wait_ms);
            facts.kinds.clone_from(&collected.kinds);
            facts.last_mark_ms = collected.mark_ms;
            facts.last_ms = now_ms();
        }
        Err(_) => facts.failures += 1,
    }
    drop(facts);
    let now = now_ms().to_string();
    if outcome.is_ok() && service.store.put_record("collection", "last", now.as_bytes()).is_err() {
        tracing::debug!("the time of the collection was not noted");
    }
    outcome
}

fn note_size(store: &Store, now_ms: u64) -> Result<()> {
    let day = now_ms / DAY_MS;
    let key = format!("{day:010}");
    if store.record(SIZES, &key)?.is_some() {
        return Ok(());
    }
    let stats = store.stats()?;
    let size = SizeOfDay { day, blobs: stats.blobs, blob_bytes: stats.blob_bytes, free_bytes: stats.free_bytes };
    store.put_record(SIZES, &key, &serde_json::to_vec(&size).unwrap_or_default())?;
    let known = store.records(SIZES)?;
    for (old, _) in known.iter().take(known.len().saturating_sub(DAYS_MAX)) {
        store.remove_record(SIZES, old)?;
    }
    Ok(())
}

/// How the store grew in the last days, by what was noted, and how large it is now.
pub(crate) fn growth(store: &Store, now: SizeOfDay) -> Result<Option<Growth>> {
    let noted = store.records(SIZES)?;
    let noted: Vec<SizeOfDay> = noted.iter().filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok()).collect();
    Ok(trend(&noted, now))
}

fn trend(noted: &[SizeOfDay], now: SizeOfDay) -> Option<Growth> {
    let first = noted.iter().rev().take(TREND_DAYS).rev().find(|size| size.day < now.day)?;
    let days = now.day - first.day;
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let grown = signed(now.blob_bytes).saturating_sub(signed(first.blob_bytes));
    let bytes_a_day = grown / i64::try_from(days).unwrap_or(i64::MAX).max(1);
    let room = now.free_bytes.saturating_sub(RESERVE_BYTES);
    let days_left = u64::try_from(bytes_a_day).ok().and_then(|bytes| room.checked_div(bytes));
    Some(Growth { days, bytes_a_day, days_left })
}

/// The day of a time.
pub(crate) fn day_of(at_ms: u64) -> u64 {
    at_ms / DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_due_by_the_clock_or_when_the_disk_is_nearly_full() {
        let day = 24 * HOUR_MS;
        assert_eq!(due(day, 1, 24, u64::MAX), Due::Nothing);
        assert_eq!(due(day, 0, 24, u64::MAX), Due::Scheduled);
        assert_eq!(due(day, 0, 0, u64::MAX), Due::Nothing, "0 hours: never by the clock");
        assert_eq!(due(PAUSE_MS, 0, 0, NEAR_BYTES - 1), Due::NearlyFull);
        assert_eq!(due(PAUSE_MS - 1, 0, 0, 0), Due::Nothing, "it was just tried");
    }

    #[test]
    fn growth_is_told_from_the_days_that_were_noted() {
        let size = |day, blob_bytes, free_bytes| SizeOfDay { day, blobs: 0, blob_bytes, free_bytes };
        assert_eq!(trend(&[], size(5, 1, 1)), None);
        assert_eq!(trend(&[size(5, 1, 1)], size(5, 1, 1)), None, "a day is not a trend");
        let grown = trend(&[size(1, 1000, 0), size(3, 1500, 0)], size(5, 3000, RESERVE_BYTES + 5000)).unwrap();
        assert_eq!((grown.days, grown.bytes_a_day, grown.days_left), (4, 500, Some(10)));
        let shrunk = trend(&[size(1, 1000, 0)], size(2, 500, u64::MAX)).unwrap();
        assert_eq!((shrunk.bytes_a_day, shrunk.days_left), (-500, None));
    }
}
