//! `anneal recipe lock path`: the directories that a package is built from, by the digests that they have now.

use super::{bump::recipe_file, lock_sources::release_of, source::Measuring};
use crate::{
    catalog_files::{parse, recipe_files, replace_file},
    error::{Error, Result},
    output::{Output, human_bytes, printable},
    settings::Settings,
};
use anneal_content::{PackageName, Version};
use anneal_recipe::{Source, with_digests};
use serde_json::json;
use std::{fmt::Write as _, path::Path};

pub(super) fn lock_path(
    name: &PackageName,
    named: Option<&Version>,
    settings: &Settings,
    output: &Output,
) -> Result<()> {
    let files = recipe_files(settings.own_catalog_dir()?)?;
    let catalog = parse(&files, settings)?.map_err(|mistakes| Error::Recipes(mistakes.render(output.color)))?;
    let recipe = catalog.package(name).map_err(|error| super::with_help(&error))?;
    let (path, text) = recipe_file(&files, name)?;
    let release = release_of(recipe, named)?;
    let version = &release.version;
    let measuring = Measuring::new(settings, output)?;
    let (mut packed, mut said) = (Vec::new(), String::new());
    for source in &release.sources {
        let Some(place) = source.places.iter().find(|place| measuring.is_directory(place)) else { continue };
        let found = measuring.measure(place)?;
        let same = if found.sha256 == source.sha256 { ", as before" } else { "" };
        let _ = writeln!(said, "{place}: {}, {}{same}", human_bytes(found.bytes), found.sha256);
        packed.push(Source { sha256: found.sha256, bytes: found.bytes, ..source.clone() });
    }
    if packed.is_empty() {
        return Err(Error::Input(format!("{name} {version} has no source that is a directory, such as `path:app`")));
    }
    let changed =
        with_digests(path, text, version, &packed).map_err(|mistakes| Error::Recipes(mistakes.render(output.color)))?;
    if changed != *text {
        replace_file(Path::new(path), changed.as_bytes())?;
    }
    let _ = match changed == *text {
        true => writeln!(said, "{path}: release {version} lists that already"),
        false => writeln!(said, "{path}: release {version} lists that now"),
    };
    let value = json!({
        "file": path, "package": name, "version": version, "sources": packed, "written": changed != *text,
    });
    output.result(|| printable(&said), &value)
}
