//! Recipe files into a catalogue: each file by itself first, then all of them together.
//!
//! A mistake never hides another one: a file with a mistake is read to its end, and what other files say about its
//! package is still judged, because its name is known.

mod fields;
mod form;
mod image;
mod package;

use crate::{Catalog, Error, Mistakes, catalog::Recipes, check, mistake::position};
use anneal_content::{ImageName, PackageName};
use fields::{Document, Fields};
use std::{collections::BTreeMap, str::FromStr};
use toml::de::DeTable;

/// How many files a catalogue may have.
pub(crate) const FILES_MAX: usize = 20_000;
/// How large a recipe file may be.
pub(crate) const FILE_BYTES_MAX: usize = 256 * 1024;
/// After how many mistakes reading stops.
pub(crate) const MISTAKES_MAX: usize = 500;

/// What a file declares, by the nearest directory named `packages` or `images`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Package,
    Image,
}

fn kind_of(path: &str) -> Option<Kind> {
    let (directory, _) = path.rsplit_once(['/', '\\'])?;
    directory.rsplit(['/', '\\']).find_map(|name| match name {
        "packages" => Some(Kind::Package),
        "images" => Some(Kind::Image),
        _ => None,
    })
}

/// The file's name without its directory and ending.
fn stem(path: &str) -> Option<&str> {
    path.rsplit(['/', '\\']).next()?.strip_suffix(".toml")
}

/// Everything that was read so far.
#[derive(Default)]
struct Reading {
    recipes: Recipes,
    packages: BTreeMap<PackageName, usize>,
    images: BTreeMap<ImageName, usize>,
    documents: Vec<Document>,
}

pub(crate) fn read(files: &[(String, String)]) -> Result<Catalog, Mistakes> {
    let mut sorted: Vec<_> = files.iter().collect();
    sorted.sort();
    let mut reading = Reading::default();
    if sorted.len() > FILES_MAX {
        let what = "the catalogue".to_owned();
        let error = Error::TooLarge { what, found: sorted.len(), unit: "files", most: FILES_MAX };
        return Err(Mistakes::new(vec![Document::new("recipes", "").mistake(0..0, error)]));
    }
    let mut found = 0;
    for (path, text) in sorted {
        reading.read_file(path, text);
        found += reading.documents.last().map_or(0, Document::count);
        if found >= MISTAKES_MAX {
            break;
        }
    }
    if found < MISTAKES_MAX {
        reading.check();
    }
    let mistakes: Vec<_> = reading.documents.into_iter().flat_map(Document::into_mistakes).collect();
    if mistakes.is_empty() { Ok(Catalog::from_checked(reading.recipes)) } else { Err(Mistakes::new(mistakes)) }
}

impl Reading {
    fn read_file(&mut self, path: &str, text: &str) {
        if text.len() > FILE_BYTES_MAX {
            let document = Document::new(path, "");
            let error =
                Error::TooLarge { what: path.to_owned(), found: text.len(), unit: "bytes", most: FILE_BYTES_MAX };
            document.report(0..0, error);
            self.documents.push(document);
            return;
        }
        let document = Document::new(path, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            document.report(error.span().unwrap_or(0..0), Error::Syntax { reason: error.message().to_owned() });
        }
        let fields = Fields::root(&document, table.get_ref());
        let Some(kind) = kind_of(path) else {
            document.report(0..0, Error::UnknownKind { path: path.to_owned() });
            self.documents.push(document);
            return;
        };
        // What the parser mended is not judged any further; only the name is taken, so that others may refer to it.
        let sound = errors.is_empty();
        match kind {
            Kind::Package => {
                let recipe = if sound { package::read(&fields) } else { None };
                if let Some(name) = fields.quiet("name", PackageName::from_str)
                    && first_of("package", &name, &mut self.packages, &self.documents, &document)
                {
                    self.recipes.packages.extend(recipe.map(|recipe| (name, recipe.into())));
                }
            }
            Kind::Image => {
                let recipe = if sound { image::read(&fields) } else { None };
                if let Some(name) = fields.quiet("name", ImageName::from_str)
                    && first_of("image", &name, &mut self.images, &self.documents, &document)
                {
                    self.recipes.images.extend(recipe.map(|recipe| (name, recipe.into())));
                }
            }
        }
        self.documents.push(document);
    }

    fn check(&mut self) {
        // A file with a mistake may declare the package that it is called after, if its name can't be read.
        let called = |document: &Document| stem(document.path()).and_then(|stem| PackageName::new(stem).ok());
        let broken = self.documents.iter().filter(|document| document.count() > 0).filter_map(called);
        let known = self.packages.keys().cloned().chain(broken).collect();
        for problem in check::check(&self.recipes, &known) {
            let at = match &problem.whose {
                check::Whose::Package(name) => self.packages.get(name),
                check::Whose::Image(name) => self.images.get(name),
            };
            if let Some(document) = at.and_then(|at| self.documents.get(*at)) {
                document.report(document.span_of(&problem.field), problem.error);
            }
        }
    }
}

/// Takes down who declares a name; a second declaration is a mistake of its file.
fn first_of<N: Ord + Clone + ToString>(
    kind: &'static str,
    name: &N,
    names: &mut BTreeMap<N, usize>,
    documents: &[Document],
    document: &Document,
) -> bool {
    let Some(first) = names.get(name).and_then(|first| documents.get(*first)) else {
        names.insert(name.clone(), documents.len());
        return true;
    };
    let (line, _) = position(first.text(), first.span_of("name").start);
    let first = format!("{}:{line}", first.path());
    document.report(document.span_of("name"), Error::DeclaredTwice { kind, name: name.to_string(), first });
    false
}
