//! `anneal recipe lock sources`: what a program's own lock file names, each file by digest, into the program's recipe.

use super::{bump::recipe_file, source::Measuring};
use crate::{
    catalog_files::{parse, recipe_files, replace_file},
    error::{Error, Result, io},
    output::{Output, human_bytes, printable},
    settings::Settings,
};
use anneal_content::{PackageName, Version};
use anneal_recipe::{
    LockFile, LockedFile, LockedSource, MAX_LOCK_FILE_BYTES, PackageRecipe, Release, WheelTarget, read_lock_file,
    with_locked,
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Of which package, and where the lock file is.
#[derive(Debug, clap::Args)]
pub(crate) struct SourcesArgs {
    /// The package, for `sources` and `path`
    #[arg(required_if_eq_any([("what", "sources"), ("what", "path")]))]
    name: Option<PackageName>,
    /// The release, for `sources` and `path`; by default the one that is built
    #[arg(long)]
    release: Option<Version>,
    /// The lock file, for `sources`; by default the one at the top of the release's first source
    #[arg(long, value_name = "FILE")]
    lock_file: Option<PathBuf>,
    /// For which Python wheels are taken, for `sources`: the 13 of 3.13
    #[arg(long, value_name = "MINOR", default_value_t = 13)]
    python: u32,
    /// Take wheels for glibc, for `sources`; by default those for musl
    #[arg(long)]
    glibc: bool,
}

impl SourcesArgs {
    /// The package, and its release where one is named.
    pub(super) fn of(&self) -> Result<(&PackageName, Option<&Version>)> {
        let name = self.name.as_ref().ok_or_else(|| Error::Input("name the package whose sources they are".into()))?;
        Ok((name, self.release.as_ref()))
    }
}

/// A release of a package: the named one, or the one that is built.
pub(super) fn release_of<'r>(recipe: &'r PackageRecipe, named: Option<&Version>) -> Result<&'r Release> {
    let version = named.unwrap_or(recipe.version());
    recipe.releases.get(version).ok_or_else(|| {
        let listed: Vec<_> = recipe.releases.listed().map(|release| release.version.as_str()).collect();
        Error::Input(format!("{} lists no release {version}, but {}", recipe.name, listed.join(", ")))
    })
}

pub(super) fn lock_sources(args: &SourcesArgs, settings: &Settings, output: &Output) -> Result<()> {
    let (name, named) = args.of()?;
    let files = recipe_files(settings.own_catalog_dir()?)?;
    let catalog = parse(&files, settings)?.map_err(|mistakes| Error::Recipes(mistakes.render(output.color)))?;
    let recipe = catalog.package(name).map_err(|error| super::with_help(&error))?;
    let (path, text) = recipe_file(&files, name)?;
    let release = release_of(recipe, named)?;
    let version = &release.version;
    let measuring = Measuring::new(settings, output)?;
    let (lock_path, lock_text) = match &args.lock_file {
        Some(file) => (file.display().to_string(), read_text(file)?),
        None => lock_of(release, name, &measuring)?,
    };
    let kind = LockFile::of(&lock_path).ok_or_else(|| {
        let known = "Cargo.lock, go.sum, uv.lock and requirements*.txt are";
        Error::Input(format!("{lock_path} is no lock file that is known here: {known}"))
    })?;
    let target = WheelTarget { python: args.python, musl: !args.glibc };
    let wanted = read_lock_file(kind, &lock_path, &lock_text, target).map_err(|error| super::with_help(&error))?;
    let before: Vec<_> = release.sources.iter().filter_map(|s| Some((s, LockedSource::from_source(s)?))).collect();
    let mut locked = BTreeSet::new();
    for file in &wanted {
        let known = before.iter().find(|(source, _)| {
            source.places.iter().any(|place| file.places.contains(place)) && file.pinned.allows(&source.sha256)
        });
        match known {
            Some((_, same)) => locked.insert(same.clone()),
            None => locked.insert(measured(file, &measuring, output)?),
        };
    }
    let changed =
        with_locked(path, text, version, &locked).map_err(|mistakes| Error::Recipes(mistakes.render(output.color)))?;
    if changed != *text {
        replace_file(Path::new(path), changed.as_bytes())?;
    }
    let added = locked.iter().filter(|new| !before.iter().any(|(_, old)| old == *new)).count();
    let gone = before.iter().filter(|(_, old)| !locked.contains(old)).count();
    let value = json!({
        "file": path, "package": name, "version": version, "lock-file": lock_path, "sources": locked.len(),
        "added": added, "removed": gone, "written": changed != *text,
    });
    let said = || {
        let count = locked.len();
        printable(&format!("{path}: {count} sources of {lock_path} in release {version}, {added} new, {gone} gone\n"))
    };
    output.result(said, &value)
}

/// The lock file at the top of a release's first source.
fn lock_of(release: &Release, name: &PackageName, measuring: &Measuring<'_>) -> Result<(String, String)> {
    let first = release.sources.iter().find(|source| source.unpack.is_some());
    let first =
        first.ok_or_else(|| Error::Input(format!("{name} unpacks no source; name the file with --lock-file")))?;
    let top = |path: &str| !path.contains('/') && LockFile::of(path).is_some();
    let found = measuring.texts_in(first, MAX_LOCK_FILE_BYTES, &top)?;
    let names: Vec<_> = found.keys().cloned().collect();
    match found.into_iter().collect::<Vec<_>>().as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Error::Input(format!("{} has no lock file at its top; name one with --lock-file", first.file))),
        _ => Err(Error::Input(format!("{} has {}; name one with --lock-file", first.file, names.join(", ")))),
    }
}

/// The first place that has a file as the lock file wants it.
fn measured(file: &LockedFile, measuring: &Measuring<'_>, output: &Output) -> Result<LockedSource> {
    let mut reasons = Vec::new();
    for place in &file.places {
        match measuring.measure(place) {
            Ok(found) if file.pinned.allows(&found.sha256) => {
                output.note(&printable(&format!("{place}: {}", human_bytes(found.bytes))));
                return LockedSource::new(place.clone(), found.sha256, found.bytes).map_err(|e| super::with_help(&e));
            }
            Ok(found) => reasons.push(format!("{place} is {} and not what the lock file says", found.sha256)),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(Error::Input(reasons.join("\n")))
}

fn read_text(file: &Path) -> Result<String> {
    let mut text = String::new();
    let open = std::fs::File::open(file).map_err(io("read", file))?;
    open.take(MAX_LOCK_FILE_BYTES + 1).read_to_string(&mut text).map_err(io("read", file))?;
    Ok(text)
}
