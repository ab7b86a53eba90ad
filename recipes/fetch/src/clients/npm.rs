//! `npm:` through npm.
//!
//! `npm pack` of a registry's package saves the registry's own file. Scripts are off, and an empty
//! project stands in the directory so that npm reads no project configuration from above it.

use super::{
    Downloaded,
    run::{Run, directory},
};
use crate::{CoordinateKind, FetchConfig, fetcher::Unavailable};
use std::fs;

pub(super) fn download(config: &FetchConfig, name: &str, version: &str, limit: u64) -> Result<Downloaded, Unavailable> {
    let via = || Some("npm".to_owned());
    let keep = directory(&config.spool)?;
    let project = keep.path().join("package.json");
    fs::write(&project, "{}").map_err(|e| Unavailable::new(format!("cannot write {}: {e}", project.display())))?;
    let run = Run {
        program: &config.clients.npm,
        instead: &CoordinateKind::Npm.instead(),
        dir: keep.path(),
        cwd: None,
        limit,
        patience: config.patience,
    };
    let spec = format!("{name}@{version}");
    run.answer(["pack", "--ignore-scripts", "--silent", "--no-update-notifier", "--", &spec], &[])
        .map_err(|e| Unavailable { via: via(), ..e })?;
    let left = fs::read_dir(keep.path()).into_iter().flatten().flatten().map(|entry| entry.path());
    match left.into_iter().find(|path| path.extension().is_some_and(|e| e == "tgz")) {
        Some(path) => Ok(Downloaded { path, via: "npm".to_owned(), _keep: Some(keep) }),
        None => Err(Unavailable { via: via(), reason: "npm left no package".to_owned() }),
    }
}
