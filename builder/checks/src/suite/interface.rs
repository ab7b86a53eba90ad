//! Whether a library still offers what the last approved release offered.

use crate::catalogue::{Check, Look, Report, check};
use crate::observe::{ElfFacts, ElfKind};
use crate::subject::{Previous, VersionChange};
use crate::verdict::Severity::Block;
use crate::view::View;
use anneal_content::{EntryKind, PackageName};
use std::collections::BTreeSet;

pub(crate) const CHECKS: &[Check] = &[
    check("ABI-03", Block, "every soname of the last release is still there", Look::Change(sonames)),
    check("ABI-04", Block, "no exported symbol of the last release is gone", Look::Change(exports)),
];

/// How many missing symbols of one library are named.
const NAMES_TOLD: usize = 8;

/// A library of the last release: where it was, and what it said.
struct Old<'a> {
    package: &'a PackageName,
    path: &'a str,
    elf: &'a ElfFacts,
}

/// The libraries of the last release whose packages are still there.
fn old_libraries<'a>(view: &View<'a>, previous: &'a Previous, report: &mut Report) -> Vec<Old<'a>> {
    let mut found = Vec::new();
    for package in previous.packages.iter().filter(|p| p.now != VersionChange::Gone) {
        for entry in package.entries.iter().filter(|e| e.path.file_name().contains(".so")) {
            let EntryKind::File { digest, .. } = &entry.kind else { continue };
            let facts = view.seen.files.get(digest).map_or(Err("its bytes were not read"), |known| known.get());
            let elf = match facts.map(|f| f.elf.as_ref().map(|elf| elf.get())) {
                Ok(None) => continue,
                Ok(Some(Ok(elf))) => elf,
                Ok(Some(Err(why))) | Err(why) => {
                    report.fail(
                        view.path(entry.path.as_str()),
                        "the library as it was in the last release",
                        format!("unreadable: {why}"),
                        "`anneal store scrub` tells what the store has lost",
                    );
                    continue;
                }
            };
            if elf.kind == ElfKind::Dynamic && elf.soname.is_some() {
                found.push(Old { package: &package.name, path: entry.path.as_str(), elf });
            }
        }
    }
    found
}

/// The libraries with a soname that a package has now.
fn new_libraries<'a>(view: &View<'a>, package: &PackageName) -> Vec<(&'a str, &'a ElfFacts)> {
    view.files
        .iter()
        .filter(|file| view.owner(file.path) == Some(package))
        .filter_map(|file| file.binary()?.ok())
        .filter(|binary| binary.elf.soname.is_some())
        .map(|binary| (binary.path, binary.elf))
        .collect()
}

fn sonames(view: &View<'_>, previous: &Previous, report: &mut Report) {
    for old in old_libraries(view, previous, report) {
        report.saw();
        let now = new_libraries(view, old.package);
        if !now.iter().any(|(_, elf)| elf.soname == old.elf.soname) {
            let names: BTreeSet<&str> = now.iter().filter_map(|(_, elf)| elf.soname.as_deref()).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            report.fail(
                view.path(old.path),
                format!("{} as before", old.elf.soname.as_deref().unwrap_or_default()),
                if names.is_empty() { "no library".to_owned() } else { names },
                "a fix must keep the soname: take a release of the same series, or rebuild every dependent knowingly",
            );
        }
    }
}

fn exports(view: &View<'_>, previous: &Previous, report: &mut Report) {
    for old in old_libraries(view, previous, report) {
        let now = new_libraries(view, old.package);
        // A soname that is gone is ABI-03's to report.
        let Some((path, new)) = now.into_iter().find(|(_, elf)| elf.soname == old.elf.soname) else { continue };
        report.saw();
        let key = |s: &crate::observe::Symbol| (s.name.clone(), s.version.clone());
        let offered: BTreeSet<_> = new.exports.iter().map(key).collect();
        let gone: Vec<String> =
            old.elf.exports.iter().filter(|s| !offered.contains(&key(s))).map(|s| s.name.clone()).collect();
        if !gone.is_empty() {
            let named = gone.iter().take(NAMES_TOLD).cloned().collect::<Vec<_>>().join(", ");
            report.fail(
                view.path(path),
                "every symbol of the last release",
                format!("{} gone: {named}", gone.len()),
                "programs outside this image may use them: take a release that keeps them, or waive it with a reason",
            );
        }
    }
}
