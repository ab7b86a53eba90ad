//! The program that looks for input which breaks a promise.
//!
//! `make fuzz` builds it with libFuzzer and names a target in `ANNEAL_FUZZ_TARGET`; built like any test, it gives each
//! target random bytes for a moment.
#![allow(clippy::panic, reason = "a wrong name ends the run")]

use anneal_fuzz::{TARGETS, Target};

fn main() {
    let wanted = std::env::var("ANNEAL_FUZZ_TARGET").ok();
    let named: Vec<Target> = match &wanted {
        Some(name) => vec![anneal_fuzz::target(name).unwrap_or_else(|| panic!("there is no target `{name}`"))],
        None => TARGETS.iter().map(|(_, target)| *target).collect(),
    };
    for target in named {
        bolero::check!().for_each(move |input: &[u8]| target(input));
    }
}
