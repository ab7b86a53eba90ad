//! Rules for everything else: what no file may name, what recipes must say, how long a page may be.

use crate::{none, texts, top};
use std::{fs, path::Path};
use toml::{Table, Value};

/// Registries' hosts. A coordinate is resolved through the mirror that a machine is set up with, never through these.
const HOSTS: &[&str] = &[
    concat!("deb.debi", "an.org"),
    concat!("ftp.debi", "an.org"),
    concat!("security.debi", "an.org"),
    concat!("snapshot.debi", "an"),
    concat!("archive.ubu", "ntu.com"),
    concat!("static.cra", "tes.io"),
    concat!("index.cra", "tes.io"),
    concat!("//cra", "tes.io"),
    concat!("files.python", "hosted"),
    concat!("py", "pi.org"),
    concat!("registry.npm", "js"),
    concat!("proxy.go", "lang"),
    concat!("repo.ma", "ven"),
    concat!("repo1.ma", "ven"),
];
/// Places of some machine that nobody else has.
const PATHS: &[&str] =
    &[concat!("/wo", "rk/main"), concat!("/wo", "rk/shared"), concat!("/ro", "ot/"), concat!("/tmp/bash", "_jobs")];
/// Pages that are read whole.
const PAGES: &[(&str, usize)] = &[("docs/architecture.md", 300), ("deny.toml", 40)];
/// Folders at the top. Another is a decision.
const ROOMS: &[&str] = &["builder", "daemon", "docs", "golden", "recipes", "sandbox", "tests", "vendor"];

fn naming(words: &[&str], path: &str, text: &str) -> Vec<String> {
    // The lock names the index of crates as its source, and cargo writes it.
    if path == "Cargo.lock" {
        return vec![];
    }
    // The link of a process to its root is nobody's home: a path begins where no other goes on.
    let begins = |line: &str, at: usize| !line[..at].ends_with(char::is_alphanumeric);
    let named = |line: &str| words.iter().any(|word| line.match_indices(word).any(|(at, _)| begins(line, at)));
    let bad = text.lines().enumerate().filter(|(_, line)| named(&line.to_lowercase()));
    bad.map(|(at, line)| format!("{path}:{}: {}", at + 1, line.trim().chars().take(120).collect::<String>())).collect()
}

#[test]
fn no_registry_is_named() {
    for host in HOSTS {
        assert_eq!(naming(HOSTS, "a.toml", &format!("places = [\"https://{host}/x\"]")).len(), 1, "{host}");
    }
    assert!(naming(HOSTS, "a.toml", "places = [\"crate:libz-sys/1.1.8\"]").is_empty());
    let all: Vec<String> = texts().iter().flat_map(|(path, text)| naming(HOSTS, path, text)).collect();
    none("use a coordinate (debian:, crate:, pypi:, npm:) in place of a registry's host", &all);
}

#[test]
fn no_path_of_one_machine_is_named() {
    for path in PATHS {
        assert_eq!(naming(PATHS, "a.sh", &format!("cd {path}x")).len(), 1, "{path}");
    }
    let link = concat!("root:x:0:0:root:/root:/bin/sh /proc/1", "/ro", "ot/etc");
    assert!(naming(PATHS, "a.rs", link).is_empty());
    let all: Vec<String> = texts().iter().flat_map(|(path, text)| naming(PATHS, path, text)).collect();
    none("these paths are of one machine", &all);
}

/// What is wrong with the sources of one package recipe.
fn sources(path: &str, text: &str) -> Vec<String> {
    let recipe: Table = text.parse().unwrap_or_else(|e| panic!("{path}: {e}"));
    let tables = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut complaints = Vec::new();
    for release in tables(&Value::Table(recipe), "release") {
        let version = release.get("version").and_then(Value::as_str).unwrap_or("?").to_owned();
        for (at, source) in tables(&release, "source").iter().enumerate() {
            let digest = source.get("sha256").and_then(Value::as_str).unwrap_or_default();
            let digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
            if digest.len() != 64 || !digest.chars().all(digit) {
                complaints.push(format!("{path}: source {at} of {version} has no sha256"));
            }
            let places = tables(source, "places");
            if places.is_empty() || !places.iter().all(|place| place.as_str().is_some_and(|p| p.contains(':'))) {
                complaints.push(format!("{path}: source {at} of {version} has no places"));
            }
        }
    }
    complaints
}

#[test]
fn every_source_of_the_catalogue_has_a_digest_and_places() {
    let example = "[[release]]\nversion = \"1\"\n[[release.source]]\nsha256 = \"00\"\nplaces = []\n";
    assert_eq!(sources("a.toml", example).len(), 2);
    let all = texts();
    let recipes: Vec<_> = all.iter().filter(|(path, _)| path.starts_with("recipes/packages/")).collect();
    assert!(recipes.len() >= 7, "only {} package recipes were found", recipes.len());
    let complaints: Vec<String> = recipes.iter().flat_map(|(path, text)| sources(path, text)).collect();
    none("what is built is fetched by digest", &complaints);
}

fn too_long(path: &str, lines: usize, max: usize) -> Vec<String> {
    if lines > max { vec![format!("{path}: {lines} lines, at most {max}")] } else { vec![] }
}

#[test]
fn pages_that_are_read_whole_stay_short() {
    assert_eq!(too_long("a.md", 301, 300).len(), 1);
    let lines = |path: &str| fs::read_to_string(top().join(path)).unwrap().lines().count();
    let complaints: Vec<String> = PAGES.iter().flat_map(|(path, max)| too_long(path, lines(path), *max)).collect();
    none("these pages are read whole", &complaints);
}

#[test]
fn the_top_of_the_repository_has_the_rooms_of_the_design() {
    let entries = fs::read_dir(top()).unwrap().map(Result::unwrap);
    let folders = entries.filter(|e| e.file_type().unwrap().is_dir()).map(|e| e.file_name().into_string().unwrap());
    let mut folders: Vec<String> = folders.filter(|name| !name.starts_with('.') && name != "target").collect();
    folders.sort();
    assert_eq!(folders, ROOMS);
}

#[test]
fn each_decision_has_a_number_of_its_own() {
    let entries = fs::read_dir(top().join("docs/decisions")).unwrap().map(Result::unwrap);
    let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
    names.sort();
    let number = |name: &str| name.get(..5).filter(|n| n.ends_with('-')).and_then(|n| n[..4].parse::<u32>().ok());
    for pair in names.windows(2) {
        assert_ne!(number(&pair[0]), number(&pair[1]), "{pair:?}");
    }
    for name in &names {
        assert!(number(name).is_some(), "{name}: name it NNNN-why-this.md");
        let text = fs::read_to_string(top().join("docs/decisions").join(name)).unwrap();
        assert!(text.starts_with("# ") && text.contains("**Decision.**"), "{name}: no title or no decision");
    }
}

#[test]
fn what_a_newcomer_looks_for_is_there() {
    let wanted = [
        "README.md",
        "LICENSE",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "Makefile",
        "deny.toml",
        "rust-toolchain.toml",
        ".ci/run",
        "docs/architecture.md",
    ];
    let missing: Vec<String> =
        wanted.iter().filter(|path| !top().join(Path::new(path)).is_file()).map(|p| (*p).to_owned()).collect();
    none("these files are missing", &missing);
}
