//! `anneal recipe`: write recipes, check them, show them, draw them, lock what builds start from, read a build's log.

mod bump;
mod format;
mod graph;
mod last_log;
mod lock;
mod lock_path;
mod lock_sources;
mod new;
mod shell;
mod show;
mod source;
mod why;

use crate::{
    catalog_files::{parse, read_catalog, recipe_files},
    cli::ToFile,
    error::{Error, Result},
    output::{Output, write_file},
    settings::Settings,
};
use anneal_content::PackageName;
use anneal_recipe::Mistakes;
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What can be done with recipes.
#[derive(Debug, Subcommand)]
pub(crate) enum RecipeCommand {
    /// Check every recipe of a catalogue, and say all that is wrong
    Check {
        /// The catalogue, or one of its recipes; by default the catalogue of the settings
        path: Option<PathBuf>,
    },
    /// Write a first recipe for a source, every guess marked as one
    New(new::NewArgs),
    /// Add a release to a recipe: fetch its source, take its digest, and build it from now on
    Bump(bump::BumpArgs),
    /// Write recipes in the one way that all are written, comments kept
    #[command(name = "fmt")]
    Format(format::FormatArgs),
    /// What a recipe says: of a package, of an image, or of both where both have the name
    Show {
        /// Its name
        name: String,
    },
    /// Packages and images as a graph: in Graphviz's language, or as a picture
    Graph {
        /// In what form
        #[arg(long, value_enum, default_value_t)]
        format: GraphFormat,
        #[command(flatten)]
        to: ToFile,
    },
    /// Why one recipe depends on another: every way from it
    Why {
        /// The package or image that depends
        from: String,
        /// The package that it depends on
        on: PackageName,
    },
    /// Lock what builds start from, at what this machine's apt has now; the sources that a program's own lock file names; or
    /// the directories of a team's own code, as they are now
    Lock {
        /// What to lock
        what: Lockable,
        #[command(flatten)]
        to: ToFile,
        #[command(flatten)]
        sources: lock_sources::SourcesArgs,
    },
    /// A shell in the sandbox that builds a package, where its steps begin or where one fails
    Shell(shell::ShellArgs),
    /// The log of a package's last build, whether it failed or not; of its tests where they did not pass
    Log {
        /// The package
        name: PackageName,
    },
}

/// What has a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lockable {
    /// The packages of the distribution that every build sees.
    BuildRoot,
    /// What Cargo.lock, go.sum, uv.lock or hashed requirements of a package name, into its recipe.
    Sources,
    /// The digests of the directories that a package is built from, as they are now, into its recipe.
    Path,
}

/// How a graph is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Graphviz's language.
    #[default]
    Dot,
    /// A picture.
    Svg,
}

/// Performs the command.
pub(crate) fn run(command: &RecipeCommand, settings: &Settings, output: &Output) -> Result<()> {
    match command {
        RecipeCommand::Check { path } => {
            let dir = catalogue_of(path.as_deref(), settings)?;
            check(&Settings { catalog: Some(dir), ..settings.clone() }, output)
        }
        RecipeCommand::New(args) => new::new(args, settings, output),
        RecipeCommand::Bump(args) => bump::bump(args, settings, output),
        RecipeCommand::Format(args) => format::format(args, settings, output),
        RecipeCommand::Show { name } => show::show(&read_catalog(settings, output.color)?, name, output),
        RecipeCommand::Graph { format, to } => {
            let graph = graph::Graph::of(&read_catalog(settings, output.color)?);
            let text = || match format {
                GraphFormat::Dot => graph.dot(),
                GraphFormat::Svg => graph.svg(),
            };
            match &to.output {
                Some(file) => write_file(file, text().as_bytes()),
                None => output.result(text, &graph),
            }
        }
        RecipeCommand::Why { from, on } => why::why(&read_catalog(settings, output.color)?, from, on, output),
        RecipeCommand::Lock { what: Lockable::BuildRoot, to, .. } => {
            lock::lock_build_root(to.output.as_deref(), settings, output)
        }
        RecipeCommand::Lock { what: Lockable::Sources, sources, .. } => {
            lock_sources::lock_sources(sources, settings, output)
        }
        RecipeCommand::Lock { what: Lockable::Path, sources, .. } => {
            let (name, release) = sources.of()?;
            lock_path::lock_path(name, release, settings, output)
        }
        RecipeCommand::Shell(args) => shell::shell(args, settings, output),
        RecipeCommand::Log { name } => last_log::log(name, settings, output),
    }
}

/// An error about a name, with the nearest name there is.
pub(super) fn with_help(error: &anneal_recipe::Error) -> Error {
    let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
    Error::Input(format!("{error}{help}"))
}

/// The catalogue that a path means: itself, or the one that a recipe lies in.
fn catalogue_of(path: Option<&Path>, settings: &Settings) -> Result<PathBuf> {
    match path {
        None => Ok(settings.catalog_dir()?.to_owned()),
        Some(file) if file.is_file() => {
            let absolute = file.canonicalize().map_err(crate::error::io("find", file))?;
            let folder = absolute.parent().filter(|dir| dir.ends_with("packages") || dir.ends_with("images"));
            folder.and_then(Path::parent).map(Path::to_owned).ok_or_else(|| {
                let file = file.display();
                Error::Input(format!("{file} is not in packages/ or images/ of a catalogue, so its kind is unknown"))
            })
        }
        Some(dir) => Ok(dir.to_owned()),
    }
}

fn check(settings: &Settings, output: &Output) -> Result<()> {
    let catalog = match parse(&recipe_files(settings.catalog_dir()?)?, settings)? {
        Ok(catalog) => catalog,
        Err(mistakes) => {
            if output.json {
                output.result(String::new, &mistakes_json(&mistakes))?;
            }
            return Err(Error::Recipes(mistakes.render(output.color)));
        }
    };
    let digest = catalog.digest()?;
    let releases: usize = catalog.packages().values().map(|recipe| recipe.releases.listed().count()).sum();
    let (packages, images) = (catalog.packages().len(), catalog.images().len());
    let text = || format!("{packages} packages with {releases} releases and {images} images: no mistakes\n{digest}\n");
    let value = json!({
        "mistakes": [], "packages": packages, "releases": releases, "images": images, "catalog": digest,
    });
    output.result(text, &value)
}

fn mistakes_json(mistakes: &Mistakes) -> serde_json::Value {
    let each = mistakes.iter().map(|mistake| {
        let ((line, column), error) = (mistake.position(), mistake.error());
        json!({
            "file": mistake.file(), "line": line, "column": column,
            "code": error.code(), "message": error.to_string(), "help": error.help(),
        })
    });
    json!({ "mistakes": each.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_recipe::Catalog;

    #[test]
    fn a_mistake_is_told_to_machines_with_its_line_and_a_code() {
        let files = [("packages/a.toml".to_owned(), "name = \"a\"\nnmae = 1\n".to_owned())];
        let mistakes = Catalog::parse(&files).unwrap_err();
        let value = mistakes_json(&mistakes);
        let unknown =
            value["mistakes"].as_array().unwrap().iter().find(|m| m["code"] == "recipe::unknown-key").unwrap();
        assert_eq!((unknown["file"].as_str(), unknown["line"].as_u64()), (Some("packages/a.toml"), Some(2)));
    }
}
