//! Reading blobs: several threads, one limit of speed for all of them.
//!
//! A blob's chunks are checked by the store's reader as it gives them out; here the whole is hashed again and held
//! against the name, so that a record that lies is found as well.

use super::{How, Kind, Report, tables, told};
use crate::error::Result;
use anneal_content::{BlobDigest, BlobHasher};
use anneal_store::{FILE_GONE, Store};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// What was read so far; any thread may look.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) blobs: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) corrupt: AtomicU64,
    pub(crate) missing: AtomicU64,
}

/// A limit of speed that threads share: whoever read ahead of it sleeps.
#[derive(Debug)]
pub(crate) struct Throttle {
    bytes_a_second: u64,
    begun: Instant,
    spent: AtomicU64,
}

/// The longest sleep at a time, so that a stop is heard.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// How much of the time directories are read in, under a limit of speed: one part of so many.
const SHARE: u32 = 4;

impl Throttle {
    /// A limit from now on; 0: none.
    pub(crate) fn new(bytes_a_second: u64) -> Self {
        Self { bytes_a_second, begun: Instant::now(), spent: AtomicU64::new(0) }
    }

    /// Counts bytes that were read, and sleeps until they were due.
    fn spend(&self, bytes: u64, stop: &dyn Fn() -> bool) {
        if self.bytes_a_second == 0 {
            return;
        }
        let spent = self.spent.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let due = due(spent, self.bytes_a_second);
        while let Some(early) = due.checked_sub(self.begun.elapsed()).filter(|early| !early.is_zero()) {
            if stop() {
                return;
            }
            std::thread::sleep(early.min(SLEEP_MAX));
        }
    }

    /// Rests after work whose bytes nobody counted.
    pub(super) fn rest(&self, worked: Duration, stop: &dyn Fn() -> bool) {
        let until = Instant::now() + worked * (SHARE - 1);
        while self.bytes_a_second > 0 && !stop() && Instant::now() < until {
            std::thread::sleep(until.saturating_duration_since(Instant::now()).min(SLEEP_MAX));
        }
    }
}

/// After how long so many bytes are due.
fn due(spent: u64, bytes_a_second: u64) -> Duration {
    let millis = u128::from(spent) * 1000 / u128::from(bytes_a_second.max(1));
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// Reads a 256th of the blobs; says whether it came to its end. One that was stopped adds nothing to the report, and
/// neither does one in which the bucket with the blobs could not be asked.
pub(super) fn read_part(store: &Store, first: u8, how: &How<'_>, report: &mut Report) -> Result<bool> {
    let part = match store.part(first) {
        Ok(part) => part,
        Err(error @ anneal_store::Error::Bucket(_)) => return Err(error.into()),
        Err(error) if tables::is_of_database(&error) => {
            report.found_unreadable(tables::BLOBS, told(error));
            return Ok(true);
        }
        Err(error) => {
            report.found(format!("the records of blobs that begin with {first:02x}"), Kind::Corrupt, told(error));
            return Ok(true);
        }
    };
    let (next, of_part, unread) = (AtomicUsize::new(0), Mutex::new(Report::default()), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..how.threads.clamp(1, part.recorded.len().max(1)) {
            scope.spawn(|| {
                while let Some((digest, _)) = part.recorded.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if (how.stop)() || unread.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                        return;
                    }
                    match read_blob(store, digest, how) {
                        Ok(read) => {
                            note(digest, read, how.tally, &mut of_part.lock().unwrap_or_else(PoisonError::into_inner));
                        }
                        Err(error) => *unread.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
                    }
                }
            });
        }
    });
    if let Some(error) = unread.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    if (how.stop)() {
        return Ok(false);
    }
    let of_part = of_part.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.blobs += of_part.blobs;
    report.bytes += of_part.bytes;
    report.leftovers += part.leftovers;
    report.damage.extend(of_part.damage);
    Ok(true)
}

fn note(digest: &BlobDigest, read: Read, tally: &Tally, report: &mut Report) {
    match read {
        Ok(Some(size)) => {
            report.blobs += 1;
            report.bytes += size;
        }
        // collected since the part was listed
        Ok(None) => {}
        Err(wrong) => {
            let counter = if matches!(wrong, Wrong::Blob(Kind::Missing, _)) { &tally.missing } else { &tally.corrupt };
            counter.fetch_add(1, Ordering::Relaxed);
            wrong.note(digest, report);
        }
    }
    tally.blobs.fetch_add(1, Ordering::Relaxed);
}

/// What is wrong with a blob that was read.
#[derive(Debug)]
pub(super) enum Wrong {
    /// With itself.
    Blob(Kind, String),
    /// With the table that its row is in.
    Row(String),
}

impl Wrong {
    /// Notes it in a report.
    pub(super) fn note(self, digest: &BlobDigest, report: &mut Report) {
        match self {
            Self::Blob(kind, why) => report.found(digest.to_string(), kind, why),
            Self::Row(why) => report.found_unreadable(tables::BLOBS, why),
        }
    }
}

/// A blob's size; `None` where the store has no record of it (any more); or what is wrong with it.
type Read = std::result::Result<Option<u64>, Wrong>;

/// Reads one blob and hashes it. An error says that nobody knows what is there.
pub(super) fn read_blob(store: &Store, digest: &BlobDigest, how: &How<'_>) -> Result<Read> {
    let wrong = |error: anneal_store::Error| {
        let kind = match &error {
            anneal_store::Error::Damaged { reason, .. } if reason == FILE_GONE => Kind::Missing,
            _ => Kind::Corrupt,
        };
        match error {
            error @ anneal_store::Error::Bucket(_) => Err(error.into()),
            error if tables::is_of_database(&error) => Ok(Err(Wrong::Row(told(error)))),
            error => Ok(Err(Wrong::Blob(kind, told(error)))),
        }
    };
    let gone = |error: &anneal_store::Error| {
        matches!(error, anneal_store::Error::Missing { .. } | anneal_store::Error::Collected { .. })
    };
    let mut reader = match store.open_blob(digest) {
        Ok(reader) => reader,
        Err(error) if gone(&error) => return Ok(Ok(None)),
        Err(error) => return wrong(error),
    };
    let mut hasher = BlobHasher::new();
    loop {
        match reader.next_chunk() {
            Ok(Some(chunk)) => {
                hasher.update(chunk);
                let bytes = chunk.len() as u64;
                how.tally.bytes.fetch_add(bytes, Ordering::Relaxed);
                how.throttle.spend(bytes, how.stop);
            }
            Ok(None) => break,
            Err(error) if gone(&error) => return Ok(Ok(None)),
            Err(error) => return wrong(error),
        }
    }
    match hasher.finish() {
        (found, size) if found == *digest => Ok(Ok(Some(size))),
        (found, _) => Ok(Err(Wrong::Blob(Kind::Corrupt, format!("its bytes are {found}")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_due_when_the_limit_has_given_them() {
        assert_eq!(due(0, 10), Duration::ZERO);
        assert_eq!(due(25, 10), Duration::from_millis(2500));
        assert_eq!(due(u64::MAX, 1), Duration::from_millis(u64::MAX));
    }

    #[test]
    fn threads_together_are_no_faster_than_the_limit_and_a_stop_is_heard() {
        let throttle = Throttle::new(1 << 20);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..8).for_each(|_| throttle.spend(8 << 10, &|| false)));
            }
        });
        assert!(throttle.begun.elapsed() >= Duration::from_millis(245), "{:?}", throttle.begun.elapsed());
        let begun = Instant::now();
        throttle.spend(1 << 30, &|| true);
        Throttle::new(0).spend(u64::MAX, &|| false);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
