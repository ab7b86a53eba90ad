//! `anneal config`: every setting with where it came from, and whether they hold together.

use crate::{
    branch::in_force,
    catalog_files::read_catalog,
    error::{Error, Result, io},
    output::{Output, printable},
    settings::Settings,
};
use anneal_fetch::{BuildRootLock, CoordinateKind};
use clap::Subcommand;
use serde_json::json;
use std::fmt::Write as _;

/// What can be asked about settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Every setting, and where it came from
    Show,
    /// Whether what the settings name is there and can be used
    Check,
}

/// Performs the command.
pub(crate) fn run(command: &ConfigCommand, settings: &Settings, output: &Output) -> Result<()> {
    match command {
        ConfigCommand::Show => {
            let value: serde_json::Map<_, _> = settings
                .shown
                .iter()
                .map(|(name, value, origin)| (name.clone(), json!({ "value": value, "from": origin.to_string() })))
                .collect();
            output.result(|| show_text(settings), &json!({ "settings": value, "mirrors": settings.mirrors }))
        }
        ConfigCommand::Check => check(settings, output),
    }
}

fn show_text(settings: &Settings) -> String {
    let mut text = String::new();
    let width = settings.shown.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or_default();
    for (name, value, origin) in &settings.shown {
        let _ = writeln!(text, "{name:14} {value:width$}  from {origin}");
    }
    for (kind, mirrors) in &settings.mirrors {
        let _ = writeln!(text, "{:14} {}", format!("mirrors.{kind}"), mirrors.join(" "));
    }
    printable(&text)
}

fn check(settings: &Settings, output: &Output) -> Result<()> {
    let found: Vec<(&str, Result<String>)> = vec![
        ("catalog", catalogue(settings, output)),
        ("lock", lock(settings)),
        ("mirrors", mirrors(settings)),
        ("state", state(settings)),
    ];
    let each = found.iter().map(|(name, result)| match result {
        Ok(text) => json!({ "setting": name, "ok": true, "detail": text }),
        Err(error) => json!({ "setting": name, "ok": false, "detail": error.chain() }),
    });
    let each: Vec<_> = each.collect();
    let text = || {
        let mut text = String::new();
        for (name, result) in &found {
            let _ = match result {
                Ok(detail) => writeln!(text, "ok    {name:8} {detail}"),
                Err(error) => writeln!(text, "wrong {name:8} {}", error.chain().trim_end()),
            };
        }
        printable(&text)
    };
    output.result(text, &each)?;
    let wrong: Vec<_> = found.iter().filter(|(_, result)| result.is_err()).map(|(name, _)| *name).collect();
    if wrong.is_empty() { Ok(()) } else { Err(Error::Input(format!("these settings are wrong: {}", wrong.join(", ")))) }
}

fn catalogue(settings: &Settings, output: &Output) -> Result<String> {
    let dir = settings.catalog_dir()?;
    let catalog = read_catalog(settings, output.color)?;
    let (packages, images) = (catalog.packages().len(), catalog.images().len());
    let named = in_force(settings).map_or_else(|| dir.display().to_string(), |at| at.to_string());
    Ok(format!("{named}: {packages} packages, {images} images"))
}

/// The lock of the build root, read.
pub(super) fn read_lock(settings: &Settings) -> Result<BuildRootLock> {
    let path = settings.lock_file().ok_or_else(|| {
        Error::Input("no lock of the build root; make one with `anneal recipe lock build-root`".into())
    })?;
    let text = std::fs::read_to_string(&path).map_err(io("read", &path))?;
    Ok(BuildRootLock::parse(&text)?)
}

fn lock(settings: &Settings) -> Result<String> {
    let lock = read_lock(settings)?;
    Ok(format!("{} packages of {}, {}", lock.packages.len(), lock.suite, lock.digest()?))
}

fn mirrors(settings: &Settings) -> Result<String> {
    let kinds = CoordinateKind::ALL.map(CoordinateKind::as_str);
    match settings.mirrors.keys().find(|kind| !kinds.contains(&kind.as_str())) {
        Some(unknown) => Err(Error::Input(format!("mirrors.{unknown}: expected one of {}", kinds.join(", ")))),
        None if settings.mirrors.is_empty() => Ok("none; this machine's own clients are asked".into()),
        None => Ok(format!("for {}", settings.mirrors.keys().cloned().collect::<Vec<_>>().join(", "))),
    }
}

fn state(settings: &Settings) -> Result<String> {
    let dir = &settings.state;
    match std::fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => Ok(dir.display().to_string()),
        Ok(_) => Err(Error::Input(format!("{} is not a directory", dir.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Ok(format!("{} is not there yet; the daemon makes it", dir.display()))
        }
        Err(e) => Err(io("look at", dir)(e)),
    }
}
