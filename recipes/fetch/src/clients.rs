//! The machine's own clients: each knows how this machine reaches one kind of registry.
//!
//! A client is run without a shell, in a directory of its own, with the environment of this process
//! (so its proxies, certificates and logins apply), for a limited time and a limited number of bytes.
//! What it leaves is a file; whether that is the right one is decided by its digest and nothing else.

mod apt;
mod apt_lock;
mod branch;
mod cargo;
mod git;
mod go;
mod npm;
mod pip;
mod run;

pub use apt_lock::lock_build_root;
pub use branch::{BranchPlace, Mirror, SNAPSHOT_BYTES_MAX, SNAPSHOT_FILES_MAX};

use crate::{
    FetchConfig,
    fetcher::{Expected, Unavailable},
};
use anneal_recipe::Place;
use std::{path::PathBuf, sync::OnceLock};

/// A file that a client left, and the directory that goes with it.
#[derive(Debug)]
pub(crate) struct Downloaded {
    pub(crate) path: PathBuf,
    pub(crate) via: String,
    /// Removed with this value; none for a file that stays where the client keeps it.
    pub(crate) _keep: Option<tempfile::TempDir>,
}

/// What the clients told about the machine, asked once.
#[derive(Debug, Default)]
pub(crate) struct Known {
    archives: OnceLock<Vec<apt::Archive>>,
}

/// Asks the client of a coordinate for its file.
pub(crate) fn download(
    config: &FetchConfig,
    known: &Known,
    place: &Place,
    expected: Expected,
) -> Result<Downloaded, Unavailable> {
    let (sha256, bytes) = (expected.sha256.map(|digest| digest.hex()), expected.bytes);
    let sha256 = sha256.as_deref();
    match place {
        Place::Debian { pool } => apt::download(config, &known.archives, (pool, false), sha256, bytes),
        Place::DebianSecurity { pool } => apt::download(config, &known.archives, (pool, true), sha256, bytes),
        Place::Crate { name, version } => cargo::download(config, name, version, (sha256.is_some(), bytes)),
        Place::Pypi { name, version, file } => pip::download(config, (name, version, file), sha256, bytes),
        Place::Npm { name, version } => npm::download(config, name, version, bytes),
        Place::Go { module, version, go_mod } => go::download(config, (module, version, *go_mod), bytes),
        Place::Git { url, commit } => git::download(config, url, commit, bytes),
        other => Err(Unavailable::new(format!("no client resolves `{}`", other.scheme()))),
    }
}
