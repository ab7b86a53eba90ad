//! Moments and choices that look random and follow from a seed, which is printed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Numbers that look random and follow from a seed (xorshift64*).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From `ANNEAL_TEST_SEED`, else from the clock; the seed is printed.
    pub fn new() -> Self {
        let now = || u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let seed = std::env::var("ANNEAL_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(now);
        eprintln!("ANNEAL_TEST_SEED={seed}");
        Self::of(seed)
    }

    /// From this seed.
    pub fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number below an end.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end.max(1)
    }

    /// A time below a span, to the millisecond.
    pub fn moment(&mut self, span: Duration) -> Duration {
        Duration::from_millis(self.below(u64::try_from(span.as_millis()).unwrap()))
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(usize::try_from(self.below(all.len() as u64)).unwrap())
    }

    /// Another source of numbers that follows from this one.
    pub fn branch(&mut self) -> Self {
        Self::of(self.below(u64::MAX))
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
