//! How long a sandbox takes from start to end of a program that does nothing, beside bubblewrap with the same root.
//!
//! `cargo run --release -p anneal-sandbox --example start_up ROOT PROGRAM [RUNS]`, where PROGRAM is a path in the
//! directory ROOT. Prints the median and the 99th percentile in milliseconds of each, run in turns.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anneal_sandbox::{CancelToken, Kind, Limits, Spec, run};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [root, program, rest @ ..] = args.as_slice() else { return ExitCode::from(2) };
    let runs = rest.first().and_then(|text| text.parse().ok()).unwrap_or(100);
    let spec = Spec {
        root: vec![PathBuf::from(root)],
        argv: vec![program.clone()],
        limits: Limits { cpus: 1, ..Limits::default() },
        ..Spec::of(Kind::Build)
    };
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        match run(&spec, &mut std::io::sink(), &CancelToken::new()) {
            Ok(outcome) if outcome.succeeded() => ours.push(start.elapsed()),
            other => {
                let _ = writeln!(std::io::stderr(), "{other:?}");
                return ExitCode::FAILURE;
            }
        }
        let start = Instant::now();
        let status = Command::new("bwrap")
            .args(["--unshare-all", "--ro-bind", root, "/", "--dev", "/dev", "--proc", "/proc", "--", program])
            .status();
        if status.is_ok_and(|status| status.success()) {
            theirs.push(start.elapsed());
        }
    }
    for (name, mut times) in [("anneal", ours), ("bubblewrap", theirs)] {
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).unwrap_or(&Duration::ZERO).as_secs_f64() * 1000.0;
        let _ = writeln!(std::io::stdout(), "{name}: p50 {:.2} ms, p99 {:.2} ms, {} runs", at(50), at(99), times.len());
    }
    ExitCode::SUCCESS
}
