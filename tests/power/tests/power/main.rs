//! Power, disks and processes fail at every moment; what was acknowledged is there. One binary, because each links the
//! database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod bad_sector;
#[cfg(target_arch = "x86_64")]
mod nth_effect;
mod power_cut;

use anneal_power::{Acknowledged, Logical, Scenario, reference};
use std::{path::PathBuf, process::Command};

/// Whether everything is tried, and not a sample.
fn is_full() -> bool {
    std::env::var_os("ANNEAL_FULL").is_some()
}

/// What chooses the sample: given, or another one each time.
fn seed() -> u64 {
    let given = std::env::var("ANNEAL_SEED").ok().map(|text| text.parse().expect("ANNEAL_SEED is a number"));
    given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) ^ now.as_secs()
    })
}

/// Directories to take in, and what a store holds after each step of the scenario.
fn prepare(dir: &std::path::Path) -> (PathBuf, Vec<Logical>) {
    let sources = dir.join("sources");
    Scenario::prepare(&sources).unwrap();
    let held = reference(&dir.join("reference"), &sources);
    std::fs::remove_dir_all(dir.join("reference")).unwrap();
    (sources, held)
}

/// The process that plays the scenario.
fn scenario(store: &std::path::Path, sources: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anneal-power-scenario"));
    command.arg(store).arg(sources);
    command
}

/// What the process was told by the store, from the lines that it wrote.
fn acknowledged<'a>(lines: impl Iterator<Item = &'a str>) -> Acknowledged {
    let mut known = Acknowledged::default();
    for line in lines {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["acknowledged", steps] => known.steps = steps.parse().unwrap(),
            ["refused", ..] => known.after = Some([false; 2]),
            ["after", blob, event] => known.after = Some([blob, event].map(|text| text.parse().unwrap())),
            _ => {}
        }
    }
    known
}
