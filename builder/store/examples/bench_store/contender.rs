//! The ways to keep a directory that are compared.

use crate::{Result, TAKE_IN};
use anneal_store::{OpenMode, Store};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// One way to take a directory in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Our store.
    Anneal,
    /// `ostree commit` into a repository of its fastest kind.
    Ostree,
    /// `nix-store --add`.
    Nix,
    /// `cp -a`, then `sync -f`.
    Copy,
}

impl Contender {
    pub(crate) const ALL: [Self; 4] = [Self::Anneal, Self::Ostree, Self::Nix, Self::Copy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Anneal => "anneal",
            Self::Ostree => "ostree commit",
            Self::Nix => "nix-store --add",
            Self::Copy => "cp -a; sync -f",
        }
    }

    /// What its tool says of its version; none where it is not on this machine.
    pub(crate) fn version(self) -> Option<String> {
        let tool = match self {
            Self::Anneal => return Some(env!("CARGO_PKG_VERSION").to_owned()),
            Self::Ostree => "ostree",
            Self::Nix => "nix-store",
            Self::Copy => "cp",
        };
        let said = Command::new(tool).arg("--version").stderr(Stdio::null()).output().ok()?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let words = said.split_whitespace().map(|word| word.trim_matches(['\'', '"']));
        words.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
    }

    /// An empty store, before the clock starts.
    pub(crate) fn make(self, store: &Path) -> Result<()> {
        match self {
            Self::Anneal => drop(Store::open(store, OpenMode::ReadWrite)?),
            Self::Ostree => {
                let mut command = Command::new("ostree");
                succeed(command.arg("init").arg("--mode=bare").arg(repository(store)))?;
            }
            Self::Nix => succeed(nix(store).arg("--init"))?,
            Self::Copy => std::fs::create_dir_all(store)?,
        }
        Ok(())
    }

    /// Takes the directory in.
    pub(crate) fn take_in(self, store: &Path, source: &Path) -> Result<()> {
        match self {
            Self::Anneal => {
                let mut command = Command::new(std::env::current_exe()?);
                succeed(command.arg(TAKE_IN).arg(store).arg(source))
            }
            Self::Ostree => {
                let mut command = Command::new("ostree");
                succeed(command.arg("commit").arg(repository(store)).arg("--branch=bench").arg(source))
            }
            Self::Nix => succeed(nix(store).arg("--add").arg(source)),
            Self::Copy => {
                succeed(Command::new("cp").arg("-a").arg(source).arg(store.join("copy")))?;
                succeed(Command::new("sync").arg("-f").arg(store))
            }
        }
    }
}

fn repository(store: &Path) -> String {
    format!("--repo={}", store.display())
}

fn nix(store: &Path) -> Command {
    let mut command = Command::new("nix-store");
    command.env("NIX_STORE_DIR", store.join("store")).env("NIX_STATE_DIR", store.join("state"));
    command.env("NIX_LOG_DIR", store.join("log")).env("NIX_CONF_DIR", store.join("conf"));
    command.env("NIX_REMOTE", "local");
    command
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}
