//! Debian's own 6.1 kernel, with control groups of version 2 and nothing of version 1: what holds on the machine that runs
//! the tests has to hold there too.
//!
//! `tests/guest/run` boots it once, and runs the programs of `tests/guest/programs` in it. Each of them is judged here
//! by what came over the serial console.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]
#![allow(clippy::print_stderr, reason = "what was run in the guest is for whoever runs it")]

use anneal_tests::top;
use std::{process::Command, sync::LazyLock};

/// `tests/guest/run` says so where something is missing on this machine.
const MISSING: i32 = 77;

/// What one program in the guest said and how it ended.
#[derive(Debug, PartialEq)]
struct Run {
    name: String,
    said: Vec<String>,
    /// Its exit code and whole seconds; none where the guest ended first.
    end: Option<(i32, u64)>,
}

impl Run {
    /// The tests in it that ended so.
    fn tests(&self, how: &str) -> Vec<&str> {
        let ended = |line: &&str| line.strip_suffix(how).is_some_and(|line| line.ends_with(" ... "));
        let tests = self.said.iter().filter_map(|line| line.strip_prefix("test ")).filter(ended);
        tests.filter_map(|line| line.split(' ').next()).collect()
    }

    /// Whether this test was really run, and held.
    fn tried(&self, name: &str) -> bool {
        self.tests("ok").contains(&name)
    }

    fn says(&self, start: &str) -> Option<&str> {
        self.said.iter().find_map(|line| line.strip_prefix(start))
    }
}

/// Tells the programs in what came over the console apart.
fn runs(console: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for line in console.lines() {
        let report = line.strip_prefix("guest: ");
        if let Some(name) = report.and_then(|report| report.strip_suffix(" begins")) {
            runs.push(Run { name: name.to_owned(), said: Vec::new(), end: None });
            continue;
        }
        let Some(run) = runs.last_mut().filter(|run| run.end.is_none()) else { continue };
        let end = report.and_then(|report| report.strip_prefix(run.name.as_str())?.strip_prefix(" ended with "));
        match end.and_then(|end| end.strip_suffix(" s")?.split_once(" after ")) {
            Some((code, seconds)) => run.end = Some((code.parse().unwrap_or(-1), seconds.parse().unwrap_or(0))),
            None => run.said.push(line.to_owned()),
        }
    }
    runs
}

/// What the guest said; none where something is missing here.
fn guest() -> Option<&'static [Run]> {
    static GUEST: LazyLock<Option<Vec<Run>>> = LazyLock::new(|| {
        let output = Command::new(top().join("tests/guest/run")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.code() == Some(MISSING) {
            eprintln!("{}", said.trim());
            return None;
        }
        let runs = runs(&said);
        for run in &runs {
            let end =
                run.end.map_or("did not end".to_owned(), |(code, time)| format!("ended with {code} after {time} s"));
            let (held, failed) = (run.tests("ok"), run.tests("FAILED"));
            eprintln!("guest: {} {end}; {} tests held, {} failed", run.name, held.len(), failed.len());
        }
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!runs.is_empty(), "the guest said nothing of programs:\n{said}\n{error}");
        Some(runs)
    });
    GUEST.as_deref()
}

fn named<'a>(runs: &'a [Run], name: &str) -> &'a Run {
    runs.iter().find(|run| run.name == name).unwrap_or_else(|| panic!("{name} was not run in the guest"))
}

#[test]
fn its_kernel_is_the_lowest_that_is_supported_and_every_controller_is_in_version_2() {
    let Some(runs) = guest() else { return };
    let surroundings = named(runs, "10-surroundings");
    assert!(surroundings.says("kernel: 6.1.").is_some(), "{surroundings:?}");
    assert_eq!(surroundings.says("control groups: "), Some("1 of version 2, 0 of version 1"));
    let controllers = surroundings.says("controllers: ").unwrap_or_default();
    for wanted in ["cpu", "memory", "pids"] {
        assert!(controllers.split(' ').any(|name| name == wanted), "no {wanted} in {controllers}");
    }
}

#[test]
fn every_program_in_it_ends_well() {
    let Some(runs) = guest() else { return };
    for run in runs.iter().filter(|run| run.end.is_none_or(|(code, _)| code != 0)) {
        eprintln!("--- {} said:\n{}", run.name, run.said.join("\n"));
    }
    let bad: Vec<String> = runs
        .iter()
        .filter_map(|run| match run.end {
            Some((0, _)) => None,
            Some((code, _)) => Some(format!("{} ended with {code}: {}", run.name, run.tests("FAILED").join(", "))),
            None => Some(format!("{} hung, or the guest fell; its last words: {:?}", run.name, run.said.last())),
        })
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn limits_were_really_asked_of_control_groups_as_root_and_as_a_user_to_whom_one_is_delegated() {
    let Some(runs) = guest() else { return };
    for name in ["20-sandbox-as-root", "30-sandbox-as-a-user"] {
        let run = named(runs, name);
        for test in [
            "groups::the_limits_of_a_run_are_what_the_kernel_has_for_its_group",
            "groups::a_sweep_kills_what_is_alive_in_the_group_of_a_launcher_that_is_gone",
            "bombs::memory_of_many_processes_ends_at_the_limit_of_all_together",
            "bombs::processes_that_make_processes_stay_within_their_number_and_end",
        ] {
            assert!(run.tried(test), "{name} did not try {test}");
        }
        let skipped = run.said.iter().find(|line| line.contains("skipped: groups"));
        assert_eq!(skipped, None, "{name} had no control group");
    }
}

#[test]
fn a_user_without_a_group_is_told_that_limits_are_not_enforced() {
    let Some(runs) = guest() else { return };
    let run = named(runs, "40-sandbox-without-a-group");
    assert!(run.tried("bombs::memory_of_one_process_ends_at_its_limit"), "{run:?}");
    assert!(run.said.iter().any(|line| line.contains("skipped: groups")), "it had a control group: {run:?}");
}

#[test]
fn nothing_gets_out_there_and_what_could_harm_a_host_does_where_nothing_holds_it() {
    let Some(runs) = guest() else { return };
    let attack = named(runs, "60-attack");
    let summary = attack.said.iter().find(|line| line.contains("; controls: ")).map_or("", String::as_str);
    eprintln!("guest: {summary}");
    assert!(summary.contains(", 0 escaped, ") && summary.ends_with(" 0 dead, 0 for a guest"), "{:#?}", attack.said);
}

/// What the build of `sandbox/tests/elsewhere.rs` said.
fn build_of(said: &str) -> serde_json::Value {
    let line = said.lines().find_map(|line| line.strip_prefix("elsewhere: "));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no build was done:\n{said}"))).unwrap()
}

/// The same build on this machine; none where its program is not known.
fn build_here() -> Option<serde_json::Value> {
    let programs = std::fs::read_to_string(std::env::var_os("ANNEAL_TEST_PROGRAMS")?).ok()?;
    let program = programs.lines().find_map(|line| line.split_once("/sandbox\telsewhere\t"))?.1;
    let linux = Command::new(top().join("tests/guest/kernel")).output().ok()?.stdout;
    let busybox = format!("{}/busybox", String::from_utf8_lossy(&linux).trim());
    let output = Command::new(program).arg("--nocapture").env("ANNEAL_TEST_BUSYBOX", busybox).output().unwrap();
    Some(build_of(&String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_build_years_later_on_another_kernel_and_processor_gives_the_same_bytes() {
    let Some(runs) = guest() else { return };
    let there = build_of(&named(runs, "70-elsewhere").said.join("\n"));
    let Some(here) = build_here() else {
        eprintln!("skipped: the same build on this machine: no ANNEAL_TEST_PROGRAMS (tests/run-phases guest has it)");
        return;
    };
    eprintln!("guest: a build here {here}\nguest: and there {there}");
    assert_eq!(here["careful"], there["careful"]);
    // It was another machine at another time, and a build that takes the clock in is seen to do so.
    for other in ["careless", "kernel", "cpu_model"] {
        assert_ne!(here[other], there[other], "{other}");
    }
    const YEAR_MS: u64 = 365 * 24 * 60 * 60 * 1000;
    assert!(there["clock_ms"].as_u64().unwrap().abs_diff(here["clock_ms"].as_u64().unwrap()) > YEAR_MS);
}

#[test]
fn what_comes_over_the_console_is_told_apart() {
    let console = "SeaBIOS\nguest: 1-a begins\ntest x::y ... ok\nguest: of its own\nguest: 1-a ended with 3 after 12 s\nnoise\n\
                   guest: 2-b begins\ntest z ... FAILED\n";
    let [one, two] = runs(console).try_into().unwrap();
    assert_eq!(one.end, Some((3, 12)));
    assert_eq!(one.said, ["test x::y ... ok", "guest: of its own"]);
    assert!(one.tried("x::y") && !one.tried("x"));
    assert_eq!((two.end, two.tests("FAILED")), (None, vec!["z"]));
}
