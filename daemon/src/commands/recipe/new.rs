//! `anneal recipe new`: a first recipe for a source, with every guess marked as one.

use super::source::{Measuring, file_name, today};
use crate::{
    catalog_files::{parse, recipe_files, replace_file},
    error::{Error, Result},
    output::{Output, printable},
    settings::Settings,
};
use anneal_content::{PackageName, Version};
use anneal_recipe::{Draft, Place, draft};
use serde_json::json;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// What the package is called, and where its source is.
#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// The package's name
    name: PackageName,
    /// Its source: a place as recipes have it (https://..., crate:name/version, ...), a file of the catalogue, or a
    /// directory of code in the catalogue or its repository
    #[arg(long, value_name = "PLACE|FILE|DIR")]
    source: String,
    /// Its version, where it can't be read off the source
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
    /// Write the recipe there, instead of packages/NAME.toml of the catalogue
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn new(args: &NewArgs, settings: &Settings, output: &Output) -> Result<()> {
    let dir = settings.own_catalog_dir()?;
    let files = recipe_files(dir)?;
    let catalog = parse(&files, settings)?.map_err(|mistakes| Error::Recipes(mistakes.render(output.color)))?;
    let path = args.output.clone().unwrap_or_else(|| dir.join(format!("packages/{}.toml", args.name)));
    if catalog.packages().contains_key(&args.name) || path.exists() {
        let (name, path) = (&args.name, path.display());
        return Err(Error::Input(format!(
            "there is a recipe of {name} already, or a file {path}; `anneal recipe bump {name} VERSION` adds a release"
        )));
    }
    let place = place(&args.source, dir)?;
    let measuring = Measuring::new(settings, output)?;
    let taken = measuring.take(&place)?;
    let nothing = anneal_recipe::SourceFiles::default();
    let files_in = taken.files.as_ref().unwrap_or(&nothing);
    if let Err(error) = &taken.files {
        output.note(&printable(&error.to_string()));
    }
    let known = catalog.packages().keys().cloned().collect();
    let (text, notes) = draft(&Draft {
        name: &args.name,
        place: &place,
        file: &file_name(&place, measuring.is_directory(&place))?,
        sha256: taken.sha256,
        bytes: taken.bytes,
        files: files_in,
        known: &known,
        today: today()?,
        version: args.version.as_ref(),
    });
    // What is written checks; only what it says is still to be judged.
    let mut all = files;
    all.push((format!("packages/{}.toml", args.name), text.clone()));
    parse(&all, settings)?
        .map_err(|mistakes| Error::Internal(format!("a draft with mistakes:\n{}", mistakes.render(false))))?;
    replace_file(&path, text.as_bytes())?;
    let value = json!({ "file": path, "sha256": taken.sha256, "bytes": taken.bytes, "look-at": notes });
    let said = || {
        let mut said = format!("{}: a draft; look at these, which are guessed or not known:\n", path.display());
        for note in &notes {
            let _ = writeln!(said, "  {note}");
        }
        printable(&said)
    };
    output.result(said, &value)
}

/// A place as it is written, or the place of a file or a directory.
fn place(source: &str, catalog: &Path) -> Result<Place> {
    let file = Path::new(source);
    if !file.is_file() && !file.is_dir() {
        return source.parse().map_err(|error: anneal_recipe::Error| super::with_help(&error));
    }
    let absolute = |path: &Path| path.canonicalize().map_err(crate::error::io("find", path));
    let (found, root) = (absolute(file)?, absolute(catalog)?);
    if let Ok(beneath) = found.strip_prefix(&root)
        && let Some(beneath) = beneath.to_str()
    {
        return Ok(format!("path:{}", if beneath.is_empty() { "." } else { beneath }).parse()?);
    }
    // A directory may be elsewhere in the catalogue's repository; whether it is, is said by whoever packs it.
    let around = root.ancestors().find(|dir| dir.join(".git").symlink_metadata().is_ok());
    let above = root.ancestors().position(|above| found.starts_with(above)).filter(|_| file.is_dir());
    let beneath = above.and_then(|ups| found.strip_prefix(root.ancestors().nth(ups)?).ok()?.to_str());
    match (around.is_some_and(|repository| found.starts_with(repository)), above, beneath) {
        (true, Some(ups), Some(beneath)) => {
            let parts = vec![".."; ups].into_iter().chain((!beneath.is_empty()).then_some(beneath));
            Ok(format!("path:{}", parts.collect::<Vec<_>>().join("/")).parse()?)
        }
        _ => {
            let root = root.display();
            Err(Error::Input(format!(
                "{source} lies outside of the catalogue {root}, so no build would find it; put it there, or name where it \
                 can be fetched"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_catalogue_is_a_place_and_another_file_is_not() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(dir.path().join("vendor")).unwrap();
        for path in [dir.path().join("vendor/a.tar"), other.path().join("b.tar")] {
            std::fs::write(path, "x").unwrap();
        }
        let of = |path: &Path| place(path.to_str().unwrap(), dir.path());
        assert_eq!(of(&dir.path().join("vendor/a.tar")).unwrap().to_string(), "path:vendor/a.tar");
        assert!(of(&other.path().join("b.tar")).unwrap_err().to_string().contains("outside of the catalogue"));
        assert_eq!(of(dir.path()).unwrap().to_string(), "path:.");
        let code = dir.path().join("code");
        std::fs::create_dir_all(code.join("recipes")).unwrap();
        let beside = |path: &Path| place(path.to_str().unwrap(), &code.join("recipes"));
        assert!(beside(&code).is_err(), "there is no repository around");
        std::fs::create_dir(code.join(".git")).unwrap();
        assert_eq!(beside(&code).unwrap().to_string(), "path:..");
        assert_eq!(beside(&code.join(".git")).unwrap().to_string(), "path:../.git");
        assert!(beside(dir.path()).is_err(), "it is around the repository");
        assert_eq!(place("crate:a/1.0.0", dir.path()).unwrap().to_string(), "crate:a/1.0.0");
        assert!(place("a-1.0.tar.gz", dir.path()).unwrap_err().to_string().contains("is not a place"));
    }
}
