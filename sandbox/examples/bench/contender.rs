//! The ways to start a program that are compared.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anneal_sandbox::{CancelToken, Error, Kind, Limits, Outcome, Pool, Spec, run};

use crate::roots::PROGRAM;

/// One way to start the program and see it end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Our sandbox with its full profile.
    Anneal,
    /// The same, from a pool that was given time to prepare.
    Pooled,
    /// `bwrap --unshare-all`.
    Bubblewrap,
    /// The same namespaces and nothing else.
    Unshare,
    /// Nothing but a new process.
    Spawn,
}

impl Contender {
    pub(crate) const ALL: [Self; 5] = [Self::Anneal, Self::Pooled, Self::Bubblewrap, Self::Unshare, Self::Spawn];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Anneal => "anneal",
            Self::Pooled => "anneal pool",
            Self::Bubblewrap => "bwrap",
            Self::Unshare => "unshare",
            Self::Spawn => "spawn",
        }
    }

    /// Whether its tool is on this machine.
    pub(crate) fn is_here(self) -> bool {
        let tool = match self {
            Self::Bubblewrap => "bwrap",
            Self::Unshare => "unshare",
            Self::Anneal | Self::Pooled | Self::Spawn => return true,
        };
        Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    }

    /// Starts the program in a root and waits for its end.
    pub(crate) fn go(self, root: &Path, pool: &Pool) -> io::Result<()> {
        let program = root.join(PROGRAM.trim_start_matches('/'));
        let mut command = match self {
            Self::Anneal => return succeeded(run(&spec(root.to_path_buf()), &mut io::sink(), &CancelToken::new())),
            Self::Pooled => {
                return succeeded(pool.run(&spec(root.to_path_buf()), &mut io::sink(), &CancelToken::new()));
            }
            Self::Bubblewrap => {
                let mut command = Command::new("bwrap");
                command.args(["--unshare-all", "--die-with-parent", "--ro-bind"]).arg(root);
                command.args(["/", "--dev", "/dev", "--proc", "/proc", "--", PROGRAM]);
                command
            }
            Self::Unshare => {
                let mut command = Command::new("unshare");
                command
                    .args(["--user", "--mount", "--pid", "--fork", "--net", "--ipc", "--uts", "--cgroup"])
                    .arg(program);
                command
            }
            Self::Spawn => Command::new(program),
        };
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("{} ended with {status}", self.name()))) }
    }
}

fn spec(root: PathBuf) -> Spec {
    Spec {
        root: vec![root],
        argv: vec![PROGRAM.to_owned()],
        // Two processors, as a build gets: a limit to one would also bind the making of the sandbox to it.
        limits: Limits { cpus: 2, ..Limits::default() },
        ..Spec::of(Kind::Build)
    }
}

fn succeeded(result: Result<Outcome, Error>) -> io::Result<()> {
    match result {
        Ok(outcome) if outcome.succeeded() => Ok(()),
        Ok(outcome) => Err(io::Error::other(format!("anneal: {}", outcome.ended))),
        Err(error) => Err(io::Error::other(format!("anneal: {error}"))),
    }
}
