//! The store under faults that no program can see coming: a system call that fails, a process that ends, power that goes.
//!
//! One scenario (`scenario.rs`) is played by a process of its own, which tells each step once it is acknowledged. Played
//! without faults it gives what the store must hold after each step. Then it is played again and again:
//!
//! ```text
//! nth effect   watch.rs   the nth write, sync, rename, ... of the process is stopped, refused or cut short
//! power cut    disk.rs    a disk writes down what it is told (blocks.rs); of that, any cut may be what is left
//! bad sector   disk.rs    what it holds at a place cannot be read any more
//!              neighbour.rs what else goes on there; machine.rs file systems, and how nothing of them stays behind
//! ```
//!
//! Whatever was done to it, the store that is left opens, reads clean, and holds what it held after the last acknowledged
//! step, or after the one that was under way: nothing in between (`judge.rs`, over `logical.rs`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "only tests use this")]

mod blocks;
mod disk;
mod judge;
mod logical;
mod machine;
mod neighbour;
mod scenario;
#[cfg(target_arch = "x86_64")]
mod watch;

pub use blocks::{Blocks, Cut, Image, Left};
pub use disk::Disk;
pub use judge::{Acknowledged, head_is_whole, judge};
pub use logical::Logical;
pub use machine::{FileSystem, Mounted, boot_again, is_alone, missing, ram_dir, run_alone};
pub use neighbour::be_a_neighbour;
pub use scenario::{STEPS, Scenario, Step, reference};
#[cfg(target_arch = "x86_64")]
pub use watch::{Effect, Fault, Happening, Verb, Watched, stay_on_one_processor, watch};

/// Bytes that do not compress and differ by seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The error and its causes, as a person reads them.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A small source of numbers: the same seed gives the same ones.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall as this seed says.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// Any number (splitmix64).
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % limit as u64).unwrap()
    }
}
