//! `crate:` through cargo.
//!
//! `cargo info NAME@VERSION` downloads that crate and no other into cargo's own cache, whatever
//! source replacement, registry protocol or login cargo is set up with. The cache is looked at first.
//! Cargo runs in its own home, because it reads configuration from every directory above the one it
//! runs in, and a shared temporary directory is not to be trusted with that.

use super::{
    Downloaded,
    run::{Run, directory},
};
use crate::{CoordinateKind, FetchConfig, fetcher::Unavailable};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub(super) fn download(
    config: &FetchConfig,
    name: &str,
    version: &str,
    (exact, limit): (bool, u64),
) -> Result<Downloaded, Unavailable> {
    let own = directory(&config.spool)?;
    let (home, keep) = match &config.cargo_home {
        Some(home) => (home.clone(), None),
        None => (own.path().join("home"), Some(own)),
    };
    fs::create_dir_all(&home).map_err(|e| Unavailable::new(format!("no home for cargo in {}: {e}", home.display())))?;
    let via = "cargo".to_owned();
    if let Some(path) = cached(&home, name, version, (exact, limit)) {
        return Ok(Downloaded { path, via, _keep: keep });
    }
    let output = directory(&config.spool)?;
    let run = Run {
        program: &config.clients.cargo,
        instead: &CoordinateKind::Crate.instead(),
        dir: output.path(),
        cwd: Some(&home),
        limit,
        patience: config.patience,
    };
    let spec = format!("{name}@{version}");
    run.answer(["info", "--quiet", "--color", "never", &spec], &[("CARGO_HOME", &home.to_string_lossy())])
        .map_err(|e| Unavailable { via: Some(via.clone()), ..e })?;
    match cached(&home, name, version, (exact, limit)) {
        Some(path) => Ok(Downloaded { path, via, _keep: keep }),
        None => Err(Unavailable {
            via: Some(via),
            reason: format!(
                "cargo knows the crate but left no file of {limit} bytes: {}",
                CoordinateKind::Crate.instead()
            ),
        }),
    }
}

/// The crate's file in any of cargo's caches, if one has the right size, where that is known.
fn cached(home: &Path, name: &str, version: &str, (exact, bytes): (bool, u64)) -> Option<PathBuf> {
    let file = format!("{name}-{version}.crate");
    let caches = fs::read_dir(home.join("registry/cache")).ok()?;
    let mut found: Vec<PathBuf> = caches.flatten().map(|cache| cache.path().join(&file)).collect();
    found.sort();
    found.into_iter().find(|path| fs::metadata(path).is_ok_and(|m| m.is_file() && (m.len() == bytes || !exact)))
}
