//! A launcher that is killed takes its sandbox with it, and the next one sweeps up.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anneal_sandbox::{MountSource, self_check, sweep};

use crate::bench::{Bench, PAYLOAD, needs_sandbox, payload};

/// Names the output directory of the launcher that is to be killed.
pub(crate) const VICTIM: &str = "ANNEAL_TEST_VICTIM";
const PATIENCE: Duration = Duration::from_secs(20);

/// Not a test by itself: what the launcher that is to be killed does.
#[test]
fn victim() {
    let Some(out) = std::env::var_os(VICTIM) else { return };
    let mut bench = Bench::new();
    bench.mount("/out", MountSource::Output(out.into()));
    bench.run(&["beat", "/out/beat"]).unwrap();
}

pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn beat(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().filter(|text| !text.is_empty())
}

#[test]
fn a_killed_launcher_takes_its_sandbox_with_it_and_the_next_one_sweeps_up() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let out = bench.output("/out");
    let runs = out.parent().unwrap().join("runs");
    std::fs::create_dir_all(runs.join("left/over")).unwrap();
    let mut launcher = Command::new(std::env::current_exe().unwrap())
        .args(["crash::victim", "--exact"])
        .env(VICTIM, &out)
        .env(PAYLOAD, payload())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let path = out.join("beat");
    wait_for("the first beat", || beat(&path).is_some());
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    wait_for("the end of the beats", || {
        let before = beat(&path);
        std::thread::sleep(Duration::from_millis(60));
        before == beat(&path)
    });
    let swept = sweep(&runs).unwrap();
    assert_eq!(swept.entries, 1);
    assert_eq!(std::fs::read_dir(&runs).unwrap().count(), 0);
    assert_eq!(sweep(&runs).unwrap(), Default::default());
    if nix::unistd::geteuid().is_root() && bench.run(&["true"]).unwrap().0.limits_not_enforced.is_empty() {
        assert!(swept.groups > 0, "no control group of the killed launcher was found");
    }
}

#[test]
fn the_self_check_finds_the_walls_standing() {
    needs_sandbox!();
    let report = self_check();
    assert!(report.usable, "{report:#?}");
    let walls: Vec<_> = report.findings.iter().take(8).collect();
    assert!(walls.len() == 8 && walls.iter().all(|finding| finding.holds), "{report:#?}");
    for detail in ["above-root: itself", "mounts: sandbox only"] {
        assert!(walls.iter().any(|finding| finding.detail == detail), "{report:#?}");
    }
    assert!(report.findings.iter().filter(|finding| !finding.holds).all(|finding| finding.mend.is_some()));
}
