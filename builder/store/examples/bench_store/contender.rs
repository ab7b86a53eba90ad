//! The ways to keep a directory that are compared.

use crate::{Result, TAKE_IN};
use anneal_measure::tool::{succeed, version};
use anneal_store::{OpenMode, Store};
use std::{path::Path, process::Command};

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
        version(tool)
    }

    /// An empty store, before the clock starts.
    pub(crate) fn make(self, store: &Path) -> Result<()> {
        match self {
            Self::Anneal => drop(Store::open(store, OpenMode::ReadWrite)?),
            Self::Ostree => drop(succeed(ostree("init", store).arg("--mode=bare"))?),
            Self::Nix => drop(succeed(nix(store).arg("--init"))?),
            Self::Copy => std::fs::create_dir_all(store)?,
        }
        Ok(())
    }

    /// Takes the directory in.
    pub(crate) fn take_in(self, store: &Path, source: &Path) -> Result<()> {
        let said = match self {
            Self::Anneal => succeed(Command::new(std::env::current_exe()?).arg(TAKE_IN).arg(store).arg(source)),
            Self::Ostree => succeed(ostree("commit", store).arg("--branch=bench").arg(source)),
            Self::Nix => succeed(nix(store).arg("--add").arg(source)),
            Self::Copy => {
                succeed(Command::new("cp").arg("-a").arg(source).arg(store.join("copy")))?;
                succeed(Command::new("sync").arg("-f").arg(store))
            }
        };
        said.map(drop)
    }
}

fn ostree(word: &str, store: &Path) -> Command {
    let mut command = Command::new("ostree");
    command.arg(word).arg(format!("--repo={}", store.display()));
    command
}

fn nix(store: &Path) -> Command {
    let mut command = Command::new("nix-store");
    command.env("NIX_STORE_DIR", store.join("store")).env("NIX_STATE_DIR", store.join("state"));
    command.env("NIX_LOG_DIR", store.join("log")).env("NIX_CONF_DIR", store.join("conf"));
    command.env("NIX_REMOTE", "local");
    command
}
