//! What holds of every recipe of the catalogue that comes with the project, beyond what the format asks for.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use anneal_recipe::{Catalog, LockFile, LockedSource, Place, WheelTarget, read_lock_file};
use std::{fs, path::Path};

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn catalog() -> Catalog {
    let mut files = Vec::new();
    for folder in ["packages", "images"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            files.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    Catalog::parse(&files).unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)))
}

#[test]
fn what_a_distribution_built_says_that_it_is_a_seed_and_nothing_else_does() {
    for (name, recipe) in catalog().packages() {
        let sources = recipe.releases.listed().flat_map(|release| &release.sources);
        let mut places = sources.flat_map(|source| &source.places);
        let binary = places.any(|place| matches!(place, Place::Debian { pool } if pool.ends_with(".deb")));
        assert_eq!(recipe.summary.ends_with("(a seed)"), binary, "{name}: {}", recipe.summary);
    }
}

#[test]
fn every_package_has_a_test_an_identity_and_its_terms() {
    for (name, recipe) in catalog().packages() {
        assert!(!recipe.test.steps.is_empty(), "{name} has no test");
        assert!(recipe.upstream.purl.is_some() && recipe.upstream.repository.is_some(), "{name} has no upstream");
        assert!(!recipe.upstream.names.is_empty(), "no ecosystem knows {name}");
        let installs = recipe.build.steps.iter().any(|step| step.contains(&format!("share/licenses/{name}")));
        assert!(
            installs || recipe.build.steps.iter().any(|step| step.contains("share/licenses")),
            "{name} has no terms"
        );
    }
}

#[test]
fn a_program_lists_just_what_its_own_lock_file_names() {
    let catalog = catalog();
    let mut seen = 0;
    for entry in fs::read_dir(root().join("locks")).unwrap() {
        let folder = entry.unwrap().path();
        let name: anneal_content::PackageName = folder.file_name().unwrap().to_str().unwrap().parse().unwrap();
        // By the Python that it runs on.
        let glibc =
            catalog.package(&name).unwrap().runtime_requires.iter().any(|needed| needed.as_str() == "python-glibc");
        let target = WheelTarget { python: if glibc { 11 } else { 13 }, musl: !glibc };
        for release in catalog.package(&name).unwrap().releases.listed() {
            let path = folder.join(format!("requirements-{}.txt", release.version));
            let text = fs::read_to_string(&path).unwrap();
            let wanted = read_lock_file(LockFile::Requirements, "requirements.txt", &text, target).unwrap();
            let listed: Vec<_> = release.sources.iter().filter(|s| LockedSource::from_source(s).is_some()).collect();
            assert_eq!(listed.len(), wanted.len(), "{}", path.display());
            for file in &wanted {
                let fits = |source: &&anneal_recipe::Source| {
                    file.places.contains(&source.places[0]) && file.pinned.allows(&source.sha256)
                };
                assert_eq!(listed.iter().copied().filter(fits).count(), 1, "{:?}", file.places);
            }
            seen += 1;
        }
    }
    assert!(seen >= 2, "{seen} lock files");
}
