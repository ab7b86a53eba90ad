//! `anneal sandbox`: what a sandbox holds on this host, and a command in one.

use crate::{
    error::{Error, Result, io},
    output::{Output, printable},
};
use anneal_sandbox::{CancelToken, Kind, Limits, Mount, MountSource, Outcome, Report, Spec, self_check};
use clap::Subcommand;
use std::{collections::BTreeMap, fmt::Write as _, io::Write, path::PathBuf, time::Duration};

const SCRATCH_BYTES: u64 = 1 << 30;
const SCRATCH_INODES: u64 = 100_000;
/// Where programs are looked for, unless `--env PATH=` says otherwise.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// What can be done with the sandbox by itself.
#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Run a command on a read-only root, without network
    Run(RunArgs),
    /// Try a sandbox and say what holds on this host
    Probe,
}

/// A command and its surroundings.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The directory that is shown as /, read-only
    #[arg(long, value_name = "DIR")]
    pub(crate) root: PathBuf,
    /// The working directory, inside
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) cwd: PathBuf,
    /// A variable of the environment; there are no others but PATH and HOME
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// End the command after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) timeout: u64,
    /// The command
    #[arg(last = true, required = true)]
    pub(crate) argv: Vec<String>,
}

/// Performs the command.
pub(crate) fn run(command: &SandboxCommand, output: &Output) -> Result<()> {
    match command {
        SandboxCommand::Run(args) => run_one(args, output),
        SandboxCommand::Probe => {
            let report = self_check();
            output.result(|| report_text(&report), &report)?;
            if report.usable { Ok(()) } else { Err(Error::No("no sandbox can be made on this host".into())) }
        }
    }
}

fn run_one(args: &RunArgs, output: &Output) -> Result<()> {
    let root = args.root.canonicalize().map_err(io("find the root", &args.root))?;
    if !root.is_dir() || root == std::path::Path::new("/") {
        let root = root.display();
        return Err(Error::Input(format!(
            "{root} cannot be the root: expected a directory beneath this system's own /"
        )));
    }
    let spec = spec(root, args);
    // What the command writes is the result; with --json that is the outcome, and what it writes goes beside.
    let outcome = if output.json {
        anneal_sandbox::run(&spec, &mut std::io::stderr(), &CancelToken::new())?
    } else {
        let mut out = std::io::stdout();
        let outcome = anneal_sandbox::run(&spec, &mut out, &CancelToken::new())?;
        let _ = out.flush();
        outcome
    };
    for gap in &outcome.limits_not_enforced {
        output.note(&format!("not enforced: {gap}"));
    }
    if output.json {
        output.result(String::new, &outcome)?;
    }
    verdict(&outcome, args)
}

fn verdict(outcome: &Outcome, args: &RunArgs) -> Result<()> {
    if outcome.succeeded() {
        return Ok(());
    }
    let program = args.argv.first().map(String::as_str).unwrap_or_default();
    Err(Error::No(format!("{} {}", printable(program), outcome.ended)))
}

fn spec(root: PathBuf, args: &RunArgs) -> Spec {
    let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned()), ("HOME".to_owned(), "/tmp".to_owned())]);
    env.extend(args.env.iter().cloned());
    let wall = Duration::from_secs(args.timeout);
    let scratch = MountSource::Scratch { bytes: SCRATCH_BYTES, inodes: SCRATCH_INODES };
    Spec {
        root: vec![root],
        mounts: vec![Mount { at: "/tmp".into(), source: scratch }],
        argv: args.argv.clone(),
        env,
        cwd: args.cwd.clone(),
        limits: Limits { wall, silence: wall, ..Limits::default() },
        ..Spec::of(Kind::Run)
    }
}

/// `NAME=VALUE`.
fn variable(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn report_text(report: &Report) -> String {
    let usable = if report.usable { "can be made" } else { "cannot be made" };
    let mut text = format!("Linux {}: sandboxes {usable}\n", report.kernel);
    for finding in &report.findings {
        let mark = if finding.holds { "ok     " } else { "missing" };
        let _ = writeln!(text, "{mark} {} ({})", finding.name, finding.detail);
        if let Some(mend) = &finding.mend {
            let _ = writeln!(text, "        {mend}");
        }
    }
    printable(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_variable_takes_the_place_of_the_usual_one() {
        let args = RunArgs {
            root: "/r".into(),
            cwd: "/".into(),
            env: vec![variable("PATH=/own").unwrap(), variable("A=b=c").unwrap()],
            timeout: 5,
            argv: vec!["true".into()],
        };
        let spec = spec("/r".into(), &args);
        assert_eq!((spec.env["PATH"].as_str(), spec.env["A"].as_str()), ("/own", "b=c"));
        assert!(!spec.writable_root && spec.limits.wall == Duration::from_secs(5));
        assert!(variable("=x").is_err() && variable("x").is_err());
    }
}
