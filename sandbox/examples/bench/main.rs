//! How long a sandbox takes from start to end of a program that does nothing, beside bubblewrap with the same root.
//!
//! `tests/bench` builds and calls it: `tests/bench [--quick] [--runs N] [--json FILE] [sandbox]`. What is compared runs
//! in turns within one process, so that whatever else the machine does falls on all alike; processor time is counted
//! beside the clock for the same reason. As root, everything is measured once more as an ordinary user.

mod contender;
mod report;
mod roots;
mod series;

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use report::Measured;

/// Runs of each contender; a 99th percentile needs some hundreds.
const RUNS: usize = 500;
const QUICK_RUNS: usize = 20;
/// The user and group `nobody`.
const ORDINARY: u32 = 65534;
/// Asks for JSON on standard output, by this program of itself as another user.
const INNER: &str = "--inner";

struct Args {
    runs: usize,
    json: Option<PathBuf>,
    /// The one contender that is only to be run, for a profiler to watch.
    only: Option<String>,
    /// Where the roots are, when this is the second process.
    inner: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = match arguments(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(reason) => return said(2, &format!("bench: {reason}")),
    };
    match measure(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => said(1, &format!("bench: {error}")),
    }
}

fn said(code: u8, line: &str) -> ExitCode {
    // There is nobody left to tell of a closed standard error.
    let _ = writeln!(io::stderr(), "{line}");
    ExitCode::from(code)
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args { runs: RUNS, json: None, only: None, inner: None };
    while let Some(name) = given.next() {
        let mut value = || given.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--quick" => args.runs = QUICK_RUNS,
            "--runs" => {
                args.runs =
                    value()?.parse().ok().filter(|runs| *runs > 0).ok_or("--runs: expected a number above 0")?;
            }
            "--json" => args.json = Some(value()?.into()),
            "--only" => args.only = Some(value()?),
            INNER => args.inner = Some(value()?.into()),
            other => return Err(format!("{other} is unknown; expected --quick, --runs N, --json FILE or --only NAME")),
        }
    }
    Ok(args)
}

fn measure(args: &Args) -> io::Result<()> {
    if let Some(dir) = &args.inner {
        let text = serde_json::to_string(&series::all(dir, args.runs)?)?;
        return writeln!(io::stdout(), "{text}");
    }
    let dir = tempfile::tempdir()?;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
    roots::make(dir.path())?;
    if let Some(name) = &args.only {
        return series::only(name, dir.path(), args.runs);
    }
    let mut measured = vec![series::all(dir.path(), args.runs)?];
    report::print(&measured[0])?;
    if nix::unistd::geteuid().is_root() {
        let ordinary = as_ordinary(dir.path(), args.runs)?;
        report::print(&ordinary)?;
        measured.push(ordinary);
    }
    match &args.json {
        Some(path) => std::fs::write(path, report::json(&measured)?),
        None => Ok(()),
    }
}

/// The same as a user without privilege, in a process of its own.
fn as_ordinary(dir: &Path, runs: usize) -> io::Result<Measured> {
    // Directories above a build's results may be closed to others.
    let program = dir.join("bench");
    std::fs::copy(std::env::current_exe()?, &program)?;
    let runs = runs.to_string();
    let output = Command::new(&program)
        .args([INNER.as_ref(), dir.as_os_str(), "--runs".as_ref(), runs.as_ref()])
        .uid(ORDINARY)
        .gid(ORDINARY)
        .current_dir("/")
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("measuring as user {ORDINARY} ended with {}", output.status)));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
