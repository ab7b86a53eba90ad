//! The process on the host that holds what a probe must not reach.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// How long it may take to end.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(2);

/// A companion that stands.
#[derive(Debug)]
pub(crate) struct Companion {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    /// What it has to say to the probe, as `NAME=VALUE`.
    pub(crate) facts: Vec<String>,
}

impl Companion {
    /// Starts it as a user of the host.
    pub(crate) fn start(program: &Path, words: &[String], user: Option<u32>) -> Result<Self> {
        let failed = |source| Error::Stage { action: "start the companion", source };
        let mut command = Command::new(program);
        command.arg("companion").args(words).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let mut child = command.spawn().map_err(failed)?;
        let stdout = child.stdout.take().ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        let mut output = BufReader::new(stdout);
        let mut line = String::new();
        output.read_line(&mut line).map_err(failed)?;
        let facts = line.split_whitespace().skip(1).map(str::to_owned).collect();
        Ok(Self { child, output, facts })
    }

    /// Ends it. Says what was done to it, one thing a line.
    pub(crate) fn end(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        let end = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(PAUSE);
        }
        // Whoever stopped it must not stop the suite.
        let _ = self.child.kill();
        let mut said = String::new();
        let read = self.output.read_to_string(&mut said);
        let status = self.child.wait();
        let mut done: Vec<String> = said
            .lines()
            .filter_map(|line| line.strip_prefix("touched "))
            .map(|what| format!("reached {what}"))
            .collect();
        if read.is_err() || !said.lines().any(|line| line == "over") {
            done.push(format!("ended the process of the host ({status:?})"));
        }
        done
    }
}
