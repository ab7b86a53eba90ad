//! `anneal sandbox`: what a sandbox holds on this host, and a command in one.

mod spec_file;

use crate::{
    error::{Error, Result, io},
    output::{Output, printable},
};
use anneal_attack::{Row, Suite, table_text};
use anneal_sandbox::{CancelToken, Kind, Limits, Mount, MountSource, Outcome, Outlet, Report, Spec, self_check};
use clap::Subcommand;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{IsTerminal as _, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

const SCRATCH_BYTES: u64 = 1 << 30;
const SCRATCH_INODES: u64 = 100_000;
/// Where programs are looked for, unless `--env PATH=` says otherwise.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// What can be done with the sandbox by itself.
#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Run a command on a read-only root, without network
    Run(RunArgs),
    /// Try every known way out of a sandbox on this host and say what holds
    Probe(ProbeArgs),
    /// Make output directories yours again that a killed run left to another user
    GiveBack(GiveBackArgs),
}

/// Which directories.
#[derive(Debug, clap::Args)]
pub(crate) struct GiveBackArgs {
    /// An output of a run that was killed
    #[arg(value_name = "DIR", required = true)]
    pub(crate) directories: Vec<PathBuf>,
}

/// How much is tried.
#[derive(Debug, clap::Args)]
pub(crate) struct ProbeArgs {
    /// Also run each probe with its walls taken away, where that is harmless: it must then get out
    #[arg(long)]
    pub(crate) control: bool,
    /// Only these probes, as P01
    #[arg(value_name = "PROBE")]
    pub(crate) only: Vec<String>,
}

/// What holds on this host.
#[derive(Debug, serde::Serialize)]
struct Probed {
    #[serde(flatten)]
    report: Report,
    probes: Vec<Row>,
}

/// A command and its surroundings.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Everything about the run as JSON (docs/sandbox-spec.schema.json); `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["root", "cwd", "env", "timeout", "argv"])]
    pub(crate) spec: Option<PathBuf>,
    /// The directory that is shown as /, read-only
    #[arg(long, value_name = "DIR", required_unless_present = "spec")]
    pub(crate) root: Option<PathBuf>,
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
    #[arg(last = true, required_unless_present = "spec")]
    pub(crate) argv: Vec<String>,
}

/// Performs the command.
pub(crate) fn run(command: &SandboxCommand, output: &Output) -> Result<()> {
    match command {
        SandboxCommand::Run(args) => run_one(args, output),
        SandboxCommand::Probe(args) => probe(args, output),
        SandboxCommand::GiveBack(args) => give_back(args, output),
    }
}

fn give_back(args: &GiveBackArgs, output: &Output) -> Result<()> {
    let mut left = Vec::new();
    for directory in &args.directories {
        left.extend(anneal_sandbox::give_back(directory)?);
    }
    let text = || {
        let kept = left.iter().map(|path| format!("{} stays as it is: it has set-id bits\n", printable(path)));
        let done = if left.is_empty() { "everything is yours again" } else { "the rest is yours again" };
        format!("{}{done}", kept.collect::<String>())
    };
    output.result(text, &serde_json::json!({ "left": left }))?;
    Ok(())
}

fn probe(args: &ProbeArgs, output: &Output) -> Result<()> {
    let report = self_check();
    let probes = if report.usable { attack(args, output)? } else { Vec::new() };
    let bad = probes.iter().filter(|row| !row.holds() || row.is_dead()).count();
    let usable = report.usable;
    let probed = Probed { report, probes };
    output
        .result(|| format!("{}\n{}", report_text(&probed.report), printable(&table_text(&probed.probes))), &probed)?;
    match bad {
        _ if !usable => Err(Error::No("no sandbox can be made on this host".into())),
        0 => Ok(()),
        bad => Err(Error::No(format!(
            "{bad} probes did not hold on this host; see docs/sandbox.md for what each is about"
        ))),
    }
}

/// Runs the attack suite.
fn attack(args: &ProbeArgs, output: &Output) -> Result<Vec<Row>> {
    let failed = |error| match error {
        anneal_attack::Error::Sandbox(error) => Error::Sandbox(error),
        other => Error::Internal(other.to_string()),
    };
    let suite = Suite::new(args.control, false).map_err(failed)?;
    let suite = if args.only.is_empty() { suite } else { suite.only(&args.only) };
    let rows = suite
        .run(&mut |row| {
            if output.terminal {
                output.note(&format!("{} {}", row.id, row.title))
            }
        })
        .map_err(failed)?;
    if rows.is_empty() {
        return Err(Error::Input(format!("no probe is named {}; expected numbers as P01", args.only.join(" or "))));
    }
    Ok(rows)
}

fn run_one(args: &RunArgs, output: &Output) -> Result<()> {
    let spec = match (&args.spec, &args.root) {
        (Some(file), _) => spec_file::read(file)?,
        (None, Some(root)) => spec(checked_root(root)?, args),
        (None, None) => return Err(Error::Input("give --root DIR and a command, or --spec FILE".into())),
    };
    let cancel = cancelled_when_told_to_end()?;
    // What a launcher left that was killed; one without the right to see them leaves them alone.
    if let Err(error) = anneal_sandbox::sweep_groups() {
        output.note(&format!("control groups of earlier runs stay: {error}"));
    }
    let outcome = run_spec(&spec, &cancel, output)?;
    for gap in &outcome.limits_not_enforced {
        output.note(&format!("not enforced: {gap}"));
    }
    give_back_outputs(&spec, output)?;
    if output.json {
        output.result(String::new, &outcome)?;
    }
    verdict(&outcome, &spec)
}

/// Without root a run gives its outputs back by itself; root's daemon reads and removes them, and people want to have them.
fn give_back_outputs(spec: &Spec, output: &Output) -> Result<()> {
    let outputs = spec.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Output(path) => Some(path),
        _ => None,
    });
    for path in outputs.filter(|_| nix::unistd::geteuid().is_root()) {
        for left in anneal_sandbox::give_back(path)? {
            output.note(&format!("{} has set-id bits, so it stays the payload's", printable(&left)));
        }
    }
    Ok(())
}

fn run_spec(spec: &Spec, cancel: &CancelToken, output: &Output) -> Result<Outcome> {
    // What the command writes is the result; with --json that is the outcome, and what it writes goes beside.
    let failed = |source| io("write the log to", Path::new("/dev/stdout"))(source);
    let mut outlet =
        if output.json { Outlet::of(&std::io::stderr()) } else { Outlet::of(&std::io::stdout()) }.map_err(failed)?;
    let is_terminal = if output.json { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
    let outcome = match is_terminal {
        true => anneal_sandbox::run(spec, &mut Visible { terminal: &mut outlet, last: 0 }, cancel)?,
        false => anneal_sandbox::run(spec, &mut outlet, cancel)?,
    };
    if outcome.limits_not_enforced.iter().any(|gap| gap.starts_with("log: ")) {
        // Nobody reads there any more, so what is left to say would wait for ever.
        let nowhere = std::fs::File::options().write(true).open("/dev/null").map_err(failed)?;
        let turned = if output.json { nix::unistd::dup2_stderr(nowhere) } else { nix::unistd::dup2_stdout(nowhere) };
        turned.map_err(|errno| failed(errno.into()))?;
    }
    Ok(outcome)
}

/// Lets a terminal see control characters and not obey them: what a payload writes is from outside.
struct Visible<'a> {
    terminal: &'a mut dyn Write,
    last: u8,
}

impl Write for Visible<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut before = self.last;
        let shown: Vec<u8> = bytes
            .iter()
            .map(|byte| {
                // the second byte of one of the control characters beyond ASCII
                let is_second = std::mem::replace(&mut before, *byte) == 0xc2 && (0x80..0xa0).contains(byte);
                let is_obeyed = is_second || (byte.is_ascii_control() && !b"\n\t".contains(byte));
                if is_obeyed { b'?' } else { *byte }
            })
            .collect();
        let taken = self.terminal.write(&shown)?;
        self.last = taken.checked_sub(1).and_then(|at| bytes.get(at).copied()).unwrap_or(self.last);
        Ok(taken)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.terminal.flush()
    }
}

/// What a signal to end this program cancels, so that nothing of the run stays behind.
pub(super) fn cancelled_when_told_to_end() -> Result<CancelToken> {
    let failed = |source| io("wait for signals in", Path::new("."))(source);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let mut heard = {
        let _inside = runtime.enter();
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        kinds.map(signal).into_iter().collect::<std::io::Result<Vec<_>>>().map_err(failed)?
    };
    let cancel = CancelToken::new();
    let told = cancel.clone();
    std::thread::spawn(move || {
        runtime.block_on(std::future::poll_fn(|context| {
            let any = heard.iter_mut().any(|one| one.poll_recv(context).is_ready());
            if any { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        }));
        told.cancel();
    });
    Ok(cancel)
}

fn checked_root(root: &Path) -> Result<PathBuf> {
    let root = root.canonicalize().map_err(io("find the root", root))?;
    if root.is_dir() && root != Path::new("/") {
        return Ok(root);
    }
    let root = root.display();
    Err(Error::Input(format!("{root} cannot be the root: expected a directory beneath this system's own /")))
}

fn verdict(outcome: &Outcome, spec: &Spec) -> Result<()> {
    let program = spec.argv.first().map(String::as_str).unwrap_or_default();
    let is_fine = match (&spec.probe, &outcome.probe) {
        (None, _) => outcome.succeeded(),
        // it was asked, it answered, and it ended when it was told to
        (Some(_), Some(answer)) => answer.stopped_cleanly,
        (Some(_), None) => {
            let why = format!("{} did not answer the probe: it {}", printable(program), outcome.ended);
            return Err(Error::No(why));
        }
    };
    if is_fine {
        return Ok(());
    }
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
            spec: None,
            root: Some("/r".into()),
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
