//! `anneal recipe fmt`: recipes as they should be written.

use crate::{
    catalog_files::{recipe_files, recipe_text, replace_file},
    error::{Error, Result},
    output::{Output, printable},
    settings::Settings,
};
use anneal_recipe::{Catalog, Kind};
use serde_json::json;
use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

/// Which recipes, and whether they are written.
#[derive(Debug, clap::Args)]
pub(crate) struct FormatArgs {
    /// Recipes; by default all of the catalogue
    files: Vec<PathBuf>,
    /// Write nothing, and answer no if a recipe is written otherwise
    #[arg(long)]
    check: bool,
}

pub(super) fn format(args: &FormatArgs, settings: &Settings, output: &Output) -> Result<()> {
    let files = if args.files.is_empty() {
        recipe_files(settings.own_catalog_dir()?)?
    } else {
        let read = |path: &PathBuf| Ok((path.display().to_string(), recipe_text(path)?));
        args.files.iter().map(read).collect::<Result<Vec<_>>>()?
    };
    let mut changed = BTreeMap::new();
    for (path, text) in &files {
        let formatted = formatted(path, text, output.color)?;
        if formatted != *text {
            changed.insert(path.clone(), formatted);
        }
    }
    unchanged_digest(&files, &changed)?;
    if !args.check {
        for (path, text) in &changed {
            replace_file(path.as_ref(), text.as_bytes())?;
        }
    }
    let names: Vec<_> = changed.keys().collect();
    let value = json!({ "checked": files.len(), "changed": names, "written": !args.check });
    let text = || {
        let mut text = String::new();
        for name in &names {
            let _ = writeln!(text, "{}", printable(name));
        }
        text
    };
    output.result(text, &value)?;
    match (args.check, names.len()) {
        (true, found) if found > 0 => {
            let recipes = if found == 1 { "recipe is" } else { "recipes are" };
            Err(Error::No(format!("{found} {recipes} written otherwise; `anneal recipe fmt` rewrites them")))
        }
        (_, found) => {
            output.note(&format!("{} recipes, {found} of them rewritten", files.len()));
            Ok(())
        }
    }
}

/// A recipe's text as it should be. A file whose path says nothing is of the kind that its keys say.
pub(super) fn formatted(path: &str, text: &str, color: bool) -> Result<String> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let kind = Kind::of(&absolute.display().to_string()).ok_or_else(|| {
        Error::Input(format!("{path} is not in packages/ or images/ of a catalogue, so its kind is unknown"))
    })?;
    anneal_recipe::format(kind, path, text).map_err(|mistakes| Error::Recipes(mistakes.render(color)))
}

/// Formatting must never give a catalogue another digest: nothing would be written if it did.
fn unchanged_digest(files: &[(String, String)], changed: &BTreeMap<String, String>) -> Result<()> {
    let after: Vec<_> =
        files.iter().map(|(path, text)| (path.clone(), changed.get(path).unwrap_or(text).clone())).collect();
    // Recipes with mistakes, or only some of a catalogue's, have no digest.
    let (Ok(before), Ok(after)) = (Catalog::parse(files), Catalog::parse(&after)) else { return Ok(()) };
    if before.digest()? == after.digest()? {
        return Ok(());
    }
    Err(Error::Internal("formatting would change the catalogue's digest; nothing was written".into()))
}
