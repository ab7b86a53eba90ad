//! Recipe files into a catalogue: each file by itself first, then all of them together.
//!
//! A mistake never hides another one: a file with a mistake is read to its end, and what other files say about its
//! package is still judged, because its name is known.

mod fields;
mod form;
mod image;
mod package;

use crate::{
    Catalog, Error, Mistakes, UpstreamFiles, catalog::Recipes, check, mistake::position, near::nearest, shape::Shape,
};
use anneal_content::{ImageName, PackageName};
use fields::{Document, Fields};
use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};
use toml::de::DeTable;

/// How many files a catalogue may have.
pub(crate) const FILES_MAX: usize = 20_000;
/// How large a recipe file may be.
pub(crate) const FILE_BYTES_MAX: usize = 256 * 1024;
/// After how many mistakes reading stops.
pub(crate) const MISTAKES_MAX: usize = 500;

/// What a recipe file declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// How a package is made.
    Package,
    /// What an image holds.
    Image,
}

impl Kind {
    /// By the nearest directory of a path that is named `packages` or `images`.
    pub fn of(path: &str) -> Option<Self> {
        let (directory, _) = path.rsplit_once(['/', '\\'])?;
        directory.rsplit(['/', '\\']).find_map(|name| match name {
            "packages" => Some(Self::Package),
            "images" => Some(Self::Image),
            _ => None,
        })
    }
}

/// What the reader of a kind of recipe asks for: it is read off the reader itself.
pub(crate) fn shape(kind: Kind) -> Shape {
    let document = Document::to_record();
    let nothing = DeTable::default();
    let fields = Fields::root(&document, &nothing);
    match kind {
        Kind::Package => drop(package::read(&fields)),
        Kind::Image => drop(image::read(&fields)),
    }
    drop(fields);
    document.into_recorder().unwrap_or_default().into_shape()
}

/// A mistake of a whole file.
pub(crate) fn mistake_in(path: &str, text: &str, error: Error) -> Mistakes {
    Mistakes::new(vec![Document::new(path, text).mistake(0..0, error)])
}

/// The mistakes of a text that is not TOML; none where it is.
pub(crate) fn syntax(path: &str, text: &str) -> Result<(), Mistakes> {
    let document = Document::new(path, text);
    document.report_syntax(&DeTable::parse_recoverable(text).1);
    let mistakes = document.into_mistakes();
    if mistakes.is_empty() { Ok(()) } else { Err(Mistakes::new(mistakes)) }
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
    /// Which catalogue is read; none: the one that builds on the others.
    upstream: Option<String>,
    /// Recipes that replace another catalogue's: kind and name, whose, in which document.
    replaces: BTreeMap<(Kind, String), (String, usize)>,
    /// Those of them that do.
    replaced: BTreeSet<(Kind, String)>,
}

pub(crate) fn read(files: &[(String, String)], upstreams: &[UpstreamFiles]) -> Result<Catalog, Mistakes> {
    let mut sorted: Vec<_> = files.iter().map(|file| (None, file)).collect();
    for upstream in upstreams {
        sorted.extend(upstream.files.iter().map(|file| (Some(&upstream.name), file)));
    }
    sorted.sort();
    let mut reading = Reading::default();
    if sorted.len() > FILES_MAX {
        let what = "the catalogue".to_owned();
        let error = Error::TooLarge { what, found: sorted.len(), unit: "files", most: FILES_MAX };
        return Err(Mistakes::new(vec![Document::new("recipes", "").mistake(0..0, error)]));
    }
    let mut found = 0;
    for (upstream, (path, text)) in sorted {
        reading.upstream = upstream.cloned();
        reading.read_file(path, text);
        found += reading.documents.last().map_or(0, Document::count);
        if found >= MISTAKES_MAX {
            break;
        }
    }
    if found < MISTAKES_MAX {
        reading.check_replaced(upstreams);
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
        let document = match &self.upstream {
            None => Document::new(path, text),
            Some(upstream) => Document::of_upstream(upstream, path, text),
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        document.report_syntax(&errors);
        let fields = Fields::root(&document, table.get_ref());
        let Some(kind) = Kind::of(path) else {
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
                    && self.is_not_replaced(kind, name.as_str(), self.packages.get(&name).copied(), &fields)
                    && first_of("package", &name, &mut self.packages, &self.documents, &document)
                {
                    self.recipes.packages.extend(recipe.map(|recipe| (name, recipe.into())));
                }
            }
            Kind::Image => {
                let recipe = if sound { image::read(&fields) } else { None };
                if let Some(name) = fields.quiet("name", ImageName::from_str)
                    && self.is_not_replaced(kind, name.as_str(), self.images.get(&name).copied(), &fields)
                    && first_of("image", &name, &mut self.images, &self.documents, &document)
                {
                    self.recipes.images.extend(recipe.map(|recipe| (name, recipe.into())));
                }
            }
        }
        self.documents.push(document);
    }

    /// Whether a recipe counts: that of another catalogue doesn't where this one's replaces it, or is wrong beside it.
    fn is_not_replaced(&mut self, kind: Kind, name: &str, known: Option<usize>, fields: &Fields<'_>) -> bool {
        let key = (kind, name.to_owned());
        let Some(upstream) = self.upstream.clone() else {
            if let Some(whose) = fields.quiet("replaces", form::upstream) {
                self.replaces.insert(key, (whose, self.documents.len()));
            }
            return true;
        };
        if self.replaces.get(&key).is_some_and(|(whose, _)| *whose == upstream) {
            self.replaced.insert(key);
            return false;
        }
        // A second one of another catalogue is told where it stands, as any recipe that is declared twice.
        let own = known.and_then(|at| self.documents.get(at)).filter(|document| !document.is_upstream());
        if let Some(own) = own {
            let kind = if kind == Kind::Package { "package" } else { "image" };
            own.report(own.span_of("name"), Error::AlsoUpstream { kind, name: name.to_owned(), upstream });
        }
        own.is_none()
    }

    /// What is said to be replaced must be there.
    fn check_replaced(&mut self, upstreams: &[UpstreamFiles]) {
        for ((kind, name), (upstream, at)) in &self.replaces {
            let known = upstreams.iter().any(|known| known.name == *upstream);
            if self.replaced.contains(&(*kind, name.clone())) {
                continue;
            }
            let Some(document) = self.documents.get(*at) else { continue };
            let kind = if *kind == Kind::Package { "package" } else { "image" };
            let error = if known {
                Error::ReplacesNothing { kind, name: name.clone(), upstream: upstream.clone() }
            } else {
                let near = nearest(upstream, upstreams.iter().map(|known| known.name.as_str()));
                Error::Unknown { kind: "upstream catalogue", name: upstream.clone(), near }
            };
            document.report(document.span_of("replaces"), error);
        }
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
