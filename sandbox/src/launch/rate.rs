//! How fast a log is taken from a payload.
//!
//! Back-pressure: what comes faster than the rate stays in the pipe, and once the pipe is full the payload waits in
//! its write. Nothing is lost and no run is ended for its rate; a payload that never stops ends at the limit of size.

use std::time::{Duration, Instant};

/// What may be taken at once after a pause, as a part of a second.
const BURST: u64 = 10;
/// A slow rate still takes some bytes at a time.
const LEAST_BURST: u64 = 4096;
const NANOSECONDS: u128 = 1_000_000_000;

/// A bucket that fills at a rate.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: u64,
    level: u64,
    filled: Instant,
}

impl Rate {
    /// A full bucket.
    pub(super) fn new(per_second: u64, now: Instant) -> Self {
        Self { per_second, level: Self::burst(per_second), filled: now }
    }

    fn burst(per_second: u64) -> u64 {
        (per_second / BURST).max(LEAST_BURST)
    }

    /// How many bytes may be taken now.
    pub(super) fn available(&mut self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.filled).as_nanos();
        let gained = passed.saturating_mul(self.per_second.into()) / NANOSECONDS;
        if gained > 0 {
            let gained = u64::try_from(gained).unwrap_or(u64::MAX);
            self.level = self.level.saturating_add(gained).min(Self::burst(self.per_second));
            self.filled = now;
        }
        self.level
    }

    /// Takes them.
    pub(super) fn take(&mut self, bytes: u64) {
        self.level = self.level.saturating_sub(bytes);
    }

    /// How long until something can be taken again.
    pub(super) fn pause(&self) -> Duration {
        if self.level > 0 {
            return Duration::ZERO;
        }
        // A part of the bucket, so that a slow rate does not mean a wake-up for each byte.
        let nanoseconds =
            u128::from(Self::burst(self.per_second) / 4) * NANOSECONDS / u128::from(self.per_second.max(1));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_the_rate_and_one_burst() {
        let start = Instant::now();
        let mut rate = Rate::new(1_000_000, start);
        let mut taken = 0;
        for milliseconds in 0..=1000 {
            let bytes = rate.available(start + Duration::from_millis(milliseconds)).min(65_536);
            rate.take(bytes);
            taken += bytes;
        }
        assert_eq!(taken, 1_100_000);
    }

    #[test]
    fn an_empty_bucket_says_when_to_come_back() {
        let start = Instant::now();
        let mut rate = Rate::new(1, start);
        assert_eq!(rate.pause(), Duration::ZERO);
        let level = rate.available(start);
        rate.take(level);
        assert!(rate.pause() >= Duration::from_secs(1));
        assert_eq!(rate.available(start + Duration::from_secs(2)), 2);
    }
}
