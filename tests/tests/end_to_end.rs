//! The whole story on real sources: built from scratch once, and everything that may be said of it afterwards.
//!
//! `ANNEAL_TEST_STATE=DIR` takes the catalogue that was built in a state directory in place of building it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]
#![allow(clippy::print_stderr, reason = "what was measured is for whoever runs it")]

#[path = "end_to_end/collect.rs"]
mod collect;
#[path = "end_to_end/damage.rs"]
mod damage;
#[path = "end_to_end/demo.rs"]
mod demo;
#[path = "end_to_end/elsewhere.rs"]
mod elsewhere;
#[path = "end_to_end/ledger.rs"]
mod ledger;
#[path = "end_to_end/registry.rs"]
mod registry;
#[path = "end_to_end/retention.rs"]
mod retention;
#[path = "end_to_end/signatures.rs"]
mod signatures;
#[path = "end_to_end/stop.rs"]
mod stop;

use anneal_tests::{Place, Said, copy_tree, scratch, target};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Instant,
};
use tempfile::TempDir;

/// Two runs of the demo on one state directory.
struct Story {
    place: Place,
    /// Whether the catalogue was built by the first run, and not taken from elsewhere.
    from_scratch: bool,
    first: Value,
    second: Value,
}

/// The story, told once for all tests of this program; no other test works meanwhile, so that times mean something.
fn story() -> &'static Story {
    // Poisoned where it fails, so that it is not told anew for each test.
    static TOLD: LazyLock<Story> = LazyLock::new(tell);
    &TOLD
}

fn tell() -> Story {
    let dir = target().join("tmp/anneal-end-to-end");
    let _ = fs::remove_dir_all(&dir);
    let place = Place::of_repository(&dir.join("state"));
    fs::create_dir_all(&place.state).unwrap();
    let taken = std::env::var_os("ANNEAL_TEST_STATE").map(PathBuf::from);
    if let Some(taken) = &taken {
        copy_tree(taken, &place.state);
        // The demo goes on in no state but its own.
        fs::write(place.state.join("demo"), "").unwrap();
    }
    let first = demo(&place, &dir.join("first.json"));
    let second = demo(&place, &dir.join("second.json"));
    Story { place, from_scratch: taken.is_none(), first, second }
}

fn demo(place: &Place, facts: &Path) -> Value {
    let begun = Instant::now();
    let said = place.anneal(&["demo", "--json", "-o", facts.to_str().unwrap()]).fine();
    eprintln!("anneal demo took {} s", begun.elapsed().as_secs());
    let written: Value = serde_json::from_str(&fs::read_to_string(facts).unwrap()).unwrap();
    assert_eq!(said.json(), written, "--json writes what -o writes");
    assert!(said.err.contains("anneal daemon"), "the demo ends with what to try next:\n{}", said.err);
    written
}

/// A copy of the state that the story left, without the build root: nothing is built in it.
fn aftermath() -> (TempDir, Place) {
    let dir = scratch();
    let place = Place::of_repository(&dir.path().join("state"));
    fs::create_dir(&place.state).unwrap();
    for name in ["store", "index", "keys", "feed", "approver.pem"] {
        let mut copy = std::process::Command::new("cp");
        copy.args(["-a", "--reflink=auto"]).arg(story().place.state.join(name)).arg(&place.state);
        Said::by(&mut copy).fine();
    }
    (dir, place)
}

/// The published nginx: index and manifest.
fn published(place: &Place) -> (String, String) {
    let candidates = place.candidates();
    let newest = candidates.iter().rev().find(|c| c["image"] == "nginx" && c["status"] == "published").unwrap();
    let text = |name: &str| newest[name].as_str().unwrap().to_owned();
    (text("index"), text("manifest"))
}
