//! What is tried with hostile input: one function from bytes for each reader of things from outside.
//!
//! A target panics where a promise is broken, and never because the input is bad. `make fuzz` lets libFuzzer look for
//! such input (`docs/decisions/0004-why-fuzzing-without-cargo-bolero.md`); `make test` replays `corpus/`, which holds small
//! inputs that we made and every input that once broke something.
//!
//! Nothing here needs the database, so that all of it can be compiled with counters in it within a minute or two.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target says by a panic what it found")]

mod documents;
mod frames;
mod output;
mod spec;

/// A promise about some input.
pub type Target = fn(&[u8]);

/// Every target, by the name of its folder in `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("spec", spec::spec),
    ("output-reader", output::output_reader),
    ("frames", frames::frames),
    ("tree", documents::tree),
    ("advisory", documents::advisory),
    ("recipe", documents::recipe),
    ("image", documents::image),
    ("names", documents::names),
    ("shared-object", documents::shared_object),
];

/// The target of a name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

/// An error's text is one that can be shown: something is in it, and it does nothing to a terminal.
fn check_message(error: &dyn std::error::Error) {
    let text = error.to_string();
    assert!(!text.is_empty(), "an error without a word");
    let odd = text.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
    assert!(odd.is_none(), "an error with the control character {odd:?}: {}", text.escape_debug());
}
