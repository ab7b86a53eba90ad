//! Whether a loader would find everything that a program needs: interpreter, libraries and symbols.
//!
//! The search is a loader's: the file's own search path, then the loader's default directories. musl's loader is its C
//! library too, and takes the classic library names upon itself.

use crate::catalogue::{Check, Look, Report, check};
use crate::observe::ElfFacts;
use crate::root::{Led, NodeKind, Root};
use crate::verdict::Severity::{Block, Warn};
use crate::view::{Binary, View};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const CHECKS: &[Check] = &[
    check("ABI-01", Block, "every needed library is in the image", Look::Binaries(needed)),
    check("ABI-02", Block, "every undefined symbol is defined by a library that is loaded", Look::Root(symbols)),
    check("ABI-06", Block, "the interpreter exists and is executable", Look::Binaries(interpreter)),
    check("ABI-07", Warn, "no library is there twice", Look::Root(duplicates)),
];

/// Where loaders look when nothing says otherwise.
const DEFAULT_DIRS: &[&str] = &[
    "lib",
    "usr/local/lib",
    "usr/lib",
    "lib64",
    "usr/lib64",
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu",
    "lib/aarch64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
];
/// Names that musl's loader takes upon itself: `lib`, one of these, a dot.
const MUSL_NAMES: &[&str] = &["c", "pthread", "rt", "m", "dl", "util", "xnet"];
/// How many missing symbols of one file are named.
const NAMES_TOLD: usize = 5;

fn musl_loader(root: &Root) -> Option<String> {
    let loaders = root.nodes.range("lib/ld-musl-".to_owned()..).take_while(|(p, _)| p.starts_with("lib/ld-musl-"));
    loaders.filter_map(|(path, _)| Some(root.file(path)?.0)).next()
}

fn default_dirs(view: &View<'_>) -> Vec<String> {
    for name in ["etc/ld-musl-x86_64.path", "etc/ld-musl-aarch64.path"] {
        if let Some(text) = view.kept(name) {
            let text = String::from_utf8_lossy(text);
            return text.split([':', '\n']).filter(|d| !d.is_empty()).map(str::to_owned).collect();
        }
    }
    DEFAULT_DIRS.iter().map(|d| (*d).to_owned()).collect()
}

/// Finds the file that a loader would load.
fn library(view: &View<'_>, dirs: &[String], path: &str, elf: &ElfFacts, name: &str) -> Option<String> {
    if name.contains('/') {
        return Some(view.root.file(name)?.0);
    }
    if let Some(loader) = musl_loader(view.root) {
        let stem = name.strip_prefix("lib").and_then(|rest| rest.split_once('.')).map(|(stem, _)| stem);
        if stem.is_some_and(|stem| MUSL_NAMES.contains(&stem)) {
            return Some(loader);
        }
    }
    let origin = path.rsplit_once('/').map_or("", |(dir, _)| dir);
    let own = elf.search.iter().map(|d| d.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", &format!("/{origin}")));
    own.chain(dirs.iter().cloned()).find_map(|dir| {
        let (path, _) = view.root.file(&format!("{dir}/{name}"))?;
        view.binary(&path).map(|_| path)
    })
}

fn needed(view: &View<'_>, binary: Binary<'_>, report: &mut Report) {
    let dirs = default_dirs(view);
    for name in &binary.elf.needed {
        report.saw();
        if library(view, &dirs, binary.path, binary.elf, name).is_none() {
            report.fail(
                view.path(binary.path),
                format!("{name} in the loader's search path"),
                "not there",
                "add the package that has it to `[runtime] requires`",
            );
        }
    }
}

fn interpreter(view: &View<'_>, binary: Binary<'_>, report: &mut Report) {
    let Some(path) = &binary.elf.interpreter else { return };
    report.saw();
    let found = match view.root.resolve(path) {
        Err(lost) => lost.to_string(),
        Ok(Led::Runtime) => "in a directory that the runtime fills".to_owned(),
        Ok(Led::To(real)) => match view.root.nodes.get(&real) {
            Some(node) if matches!(node.kind, NodeKind::File { .. }) && node.mode & 0o111 != 0 => return,
            Some(node) if matches!(node.kind, NodeKind::File { .. }) => format!("mode {:04o}", node.mode),
            _ => "not a file".to_owned(),
        },
    };
    report.fail(
        view.path(binary.path),
        format!("{path} is an executable file of the image"),
        found,
        "add the C library's package to `[runtime] requires`",
    );
}

/// What each library offers: versions by symbol name.
type Offers<'a> = BTreeMap<&'a str, BTreeSet<Option<&'a str>>>;

fn offers(elf: &ElfFacts) -> Offers<'_> {
    let mut offers = Offers::new();
    for symbol in &elf.exports {
        offers.entry(&symbol.name).or_default().insert(symbol.version.as_deref());
    }
    offers
}

fn symbols(view: &View<'_>, report: &mut Report) {
    let dirs = default_dirs(view);
    let all: Vec<Binary<'_>> = view.root.nodes.keys().filter_map(|path| view.binary(path)).collect();
    let offered: BTreeMap<&str, Offers<'_>> = all.iter().map(|b| (b.path, offers(b.elf))).collect();
    let programs: Vec<&str> = all.iter().filter(|b| b.elf.is_program()).map(|b| b.path).collect();
    for file in &view.files {
        let binary = match file.binary() {
            None => continue,
            Some(Ok(binary)) => binary,
            Some(Err(why)) => {
                report.fail(
                    view.path(file.path),
                    "an ELF file that can be read",
                    format!("unreadable: {why}"),
                    "build it again",
                );
                continue;
            }
        };
        if !binary.elf.is_dynamic || binary.elf.imports.is_empty() {
            continue;
        }
        report.saw();
        let (mut loaded, missing) = loaded_with(view, &dirs, binary);
        if !missing.is_empty() {
            let missing = missing.into_iter().collect::<Vec<_>>().join(", ");
            let found = format!("cannot be told: {missing} not found");
            report.fail(view.path(binary.path), "every undefined symbol is defined", found, "see ABI-01");
            continue;
        }
        if !binary.elf.is_program() {
            loaded.extend(programs.iter().map(|p| (*p).to_owned()));
        }
        let defines = |name: &str, version: Option<&str>| {
            loaded
                .iter()
                .filter_map(|path| offered.get(path.as_str())?.get(name))
                .any(|found| version.is_none() || found.contains(&version) || found.contains(&None))
        };
        let absent: Vec<String> = binary
            .elf
            .imports
            .iter()
            .filter(|s| !s.weak && !defines(&s.name, s.version.as_deref()))
            .map(|s| s.version.as_ref().map_or(s.name.clone(), |v| format!("{}@{v}", s.name)))
            .collect();
        if !absent.is_empty() {
            let named = absent.iter().take(NAMES_TOLD).cloned().collect::<Vec<_>>().join(", ");
            report.fail(
                view.path(binary.path),
                "every undefined symbol is defined by a loaded library",
                format!("{} undefined: {named}", absent.len()),
                "the library that had them changed: rebuild this package against it, or keep the older interface",
            );
        }
    }
}

/// The files that a loader loads for this one, and the names that it does not find.
fn loaded_with(view: &View<'_>, dirs: &[String], binary: Binary<'_>) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut loaded = BTreeSet::new();
    let mut missing = BTreeSet::new();
    let mut todo = vec![binary.path.to_owned()];
    if let Some((loader, _)) = binary.elf.interpreter.as_ref().and_then(|path| view.root.file(path)) {
        loaded.insert(loader);
    }
    while let Some(path) = todo.pop() {
        let Some(from) = view.binary(&path) else { continue };
        for name in &from.elf.needed {
            match library(view, dirs, &path, from.elf, name) {
                None => {
                    missing.insert(name.clone());
                }
                Some(found) => {
                    if loaded.insert(found.clone()) {
                        todo.push(found);
                    }
                }
            }
        }
    }
    (loaded, missing)
}

fn duplicates(view: &View<'_>, report: &mut Report) {
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for binary in view.files.iter().filter_map(|f| f.binary()).flatten() {
        if let Some(soname) = &binary.elf.soname
            && !binary.elf.is_program()
        {
            report.saw();
            places.entry(soname).or_default().push(binary.path);
        }
    }
    for (soname, paths) in places {
        if let [first, _, ..] = paths.as_slice() {
            report.fail(
                view.path(first),
                format!("{soname} at one place"),
                paths.join(", "),
                "a fix would have to reach every copy: link to one package that has it",
            );
        }
    }
}
