//! Runs one client to its end, or ends it.
//!
//! Standard output and error go to files in the client's own directory, so that nothing blocks and
//! what is shown of them is bounded. The client leads a process group of its own; the group is killed
//! when time is up or when the directory grows past its limit.

use crate::{error::shown, fetcher::Unavailable};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    fs,
    io::{ErrorKind, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The longest pause between two looks at a client.
const LONGEST_PAUSE: Duration = Duration::from_millis(40);
/// How much of what a client wrote is read for its answer.
const MAX_ANSWER_BYTES: u64 = 32 << 20;
/// Room for what a client writes beside its download.
const LEEWAY_BYTES: u64 = 64 << 20;
/// How much of a client's last words is shown.
const MAX_REASON_CHARS: usize = 300;

const OUTPUT: &str = "anneal-client.out";
const ERRORS: &str = "anneal-client.err";

/// One run of a client.
pub(super) struct Run<'a> {
    pub(super) program: &'a Path,
    /// What to set when the program is missing.
    pub(super) instead: &'a str,
    /// Where its output goes, and all that it may fill.
    pub(super) dir: &'a Path,
    /// Where it runs, if not there.
    pub(super) cwd: Option<&'a Path>,
    pub(super) limit: u64,
    pub(super) patience: Duration,
}

/// A new directory that nobody else can enter.
pub(super) fn directory(spool: &Path) -> Result<TempDir, Unavailable> {
    tempfile::Builder::new()
        .prefix("anneal-fetch-")
        .tempdir_in(spool)
        .map_err(|e| Unavailable::new(format!("no directory for the download in {}: {e}", spool.display())))
}

/// What one run is given that most are not.
#[derive(Default)]
pub(super) struct Given<'g> {
    /// Its standard input.
    pub(super) input: Option<fs::File>,
    /// Variables that begin so are not handed down.
    pub(super) without: Option<&'g str>,
    /// Whether it is to be ended early.
    pub(super) stop: Option<&'g dyn Fn() -> bool>,
}

impl Run<'_> {
    /// Runs it and returns what it wrote to standard output.
    pub(super) fn answer<'s>(
        &self,
        arguments: impl IntoIterator<Item = &'s str>,
        environment: &[(&str, &str)],
    ) -> Result<String, Unavailable> {
        self.answer_given(arguments, environment, Given::default())
    }

    /// The same with what most runs are not given. All of the output stays in [`Run::output`] until the next run.
    pub(super) fn answer_given<'s>(
        &self,
        arguments: impl IntoIterator<Item = &'s str>,
        environment: &[(&str, &str)],
        given: Given<'_>,
    ) -> Result<String, Unavailable> {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy();
        let unable = |e: std::io::Error| match e.kind() {
            ErrorKind::NotFound => Unavailable::new(format!(
                "`{}` is not on this machine: install it, or {}",
                self.program.display(),
                self.instead
            )),
            _ => Unavailable::new(format!("`{name}` cannot be run: {e}")),
        };
        let out = fs::File::create(self.dir.join(OUTPUT)).map_err(unable)?;
        let errors = fs::File::create(self.dir.join(ERRORS)).map_err(unable)?;
        let mut command = Command::new(self.program);
        command.args(arguments);
        if let Some(prefix) = given.without {
            let is_left_out = |name: &std::ffi::OsString| name.to_string_lossy().starts_with(prefix);
            for (name, _) in std::env::vars_os().filter(|(name, _)| is_left_out(name)) {
                command.env_remove(name);
            }
        }
        command.envs(environment.iter().copied()).env("LC_ALL", "C.UTF-8");
        command.stdin(given.input.map_or_else(Stdio::null, Stdio::from));
        command.stdout(out).stderr(errors).process_group(0);
        let child = command.current_dir(self.cwd.unwrap_or(self.dir)).spawn().map_err(unable)?;
        let status = self.wait(child, &name, given.stop.unwrap_or(&|| false))?;
        let answer = read_start(&self.dir.join(OUTPUT));
        if status.success() { Ok(answer) } else { Err(Unavailable::new(self.failure(&name, status, &answer))) }
    }

    /// Where the output of the last run is.
    pub(super) fn output(&self) -> std::path::PathBuf {
        self.dir.join(OUTPUT)
    }

    fn wait(
        &self,
        mut child: std::process::Child,
        name: &str,
        stop: &dyn Fn() -> bool,
    ) -> Result<ExitStatus, Unavailable> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(2);
        loop {
            let ended =
                child.try_wait().map_err(|e| Unavailable::new(format!("`{name}` cannot be waited for: {e}")))?;
            if let Some(status) = ended {
                return Ok(status);
            }
            let over = if started.elapsed() > self.patience {
                Some(format!("`{name}` was stopped after {} s", self.patience.as_secs()))
            } else if filled(self.dir) > self.limit.saturating_add(LEEWAY_BYTES) {
                Some(format!("`{name}` was stopped: it downloaded more than the {} bytes listed", self.limit))
            } else if stop() {
                Some(format!("`{name}` was stopped, as was asked"))
            } else {
                None
            };
            if let Some(reason) = over {
                if let Ok(group) = i32::try_from(child.id()) {
                    // The group may be gone already; the wait below collects its leader either way.
                    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
                }
                let _ = child.wait();
                return Err(Unavailable::new(reason));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The client's last words that look like a reason.
    fn failure(&self, name: &str, status: ExitStatus, answer: &str) -> String {
        let errors = read_start(&self.dir.join(ERRORS));
        let said = if errors.trim().is_empty() { answer } else { &errors };
        let telling = |l: &&str| {
            let line = l.trim_start().to_ascii_lowercase();
            ["e:", "error", "npm error", "caused by"].iter().any(|start| line.starts_with(start))
        };
        let mut lines: Vec<&str> = said.lines().filter(telling).map(str::trim).collect();
        if lines.is_empty() {
            lines = said.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
            lines.drain(..lines.len().saturating_sub(2));
        }
        lines.truncate(3);
        let ended = match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        };
        format!("`{name}` {ended}: {}", shown(&lines.join("; "), MAX_REASON_CHARS))
    }
}

/// How deep beneath a client's directory files are counted; git's packs are three levels down.
const DEPTH_MAX: u32 = 4;

/// The bytes of all files in a directory and some levels down. A link is counted as one, and not followed.
fn filled(dir: &Path) -> u64 {
    fn beneath(dir: &Path, depth: u32) -> u64 {
        let size = |entry: fs::DirEntry| match entry.metadata() {
            Ok(found) if found.is_dir() && depth > 0 => beneath(&entry.path(), depth - 1),
            Ok(found) if !found.is_dir() => found.len(),
            _ => 0,
        };
        fs::read_dir(dir).into_iter().flatten().flatten().map(size).fold(0, u64::saturating_add)
    }
    beneath(dir, DEPTH_MAX)
}

fn read_start(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|f| f.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes));
    if let Err(error) = read {
        tracing::warn!(path = %path.display(), %error, "a client's output cannot be read");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
