//! Every complete recipe in `docs/recipes.md` is one: it parses, formats, and fits the schemas' idea of it.

// Tests read their fixtures from disk; clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use anneal_recipe::{Catalog, Kind, format};
use std::{collections::BTreeMap, fs, path::Path};

/// The page's blocks of TOML: what stands behind `toml`, and the text.
fn blocks() -> Vec<(String, String)> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recipes.md")).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks.into_iter().filter(|(info, _)| info.split(' ').next() == Some("toml")).collect()
}

fn table(text: &str) -> toml::Table {
    text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The page's own recipes by their paths, and the smallest package for each name that they need.
fn catalogue() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (_, text) in blocks().into_iter().filter(|(info, _)| info == "toml") {
        let recipe = table(&text);
        let name = recipe["name"].as_str().unwrap().to_owned();
        let folder = if recipe.contains_key("packages") { "images" } else { "packages" };
        files.insert(format!("{folder}/{name}.toml"), text);
    }
    for needed in ["musl", "busybox", "nginx", "rust", "glibc"] {
        let text = format!(
            "name = \"{needed}\"\nsummary = \"Needed\"\nlicense = \"MIT\"\nversion = \"1\"\n[[release]]\nversion = \"1\"\n\
             date = \"2024-01-01\"\n[build]\nsteps = [\"true\"]\n"
        );
        files.entry(format!("packages/{needed}.toml")).or_insert(text);
    }
    files
}

#[track_caller]
fn check(files: BTreeMap<String, String>) {
    let files: Vec<_> = files.into_iter().collect();
    let catalog = Catalog::parse(&files).unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)));
    let formatted: Vec<_> =
        files.iter().map(|(path, text)| (path.clone(), format(Kind::of(path).unwrap(), path, text).unwrap())).collect();
    assert_eq!(Catalog::parse(&formatted).unwrap().digest().unwrap(), catalog.digest().unwrap());
}

#[test]
fn every_complete_recipe_of_the_page_is_a_recipe() {
    let files = catalogue();
    for name in ["packages/hello.toml", "packages/zlib.toml", "images/nginx.toml"] {
        assert!(files.contains_key(name), "the page has no {name}");
    }
    check(files);
}

#[test]
fn a_plain_package_takes_fewer_than_twenty_lines() {
    let hello = &catalogue()["packages/hello.toml"];
    assert!(hello.lines().filter(|line| !line.trim().is_empty()).count() < 20, "{hello}");
}

#[test]
fn a_piece_of_a_recipe_fits_where_it_belongs() {
    let mut files = catalogue();
    let pieces: Vec<_> =
        blocks().into_iter().filter(|(info, text)| info == "toml fragment" && text.starts_with("[run]")).collect();
    assert_eq!(pieces.len(), 1);
    let image = files.get_mut("images/nginx.toml").unwrap();
    let at = image.find("[run]").unwrap();
    let end = image.get(at..).unwrap().find("\n\n").unwrap() + at + 1;
    image.replace_range(at..end, &pieces[0].1);
    check(files);
}

#[test]
fn every_other_block_is_toml_as_well() {
    blocks().iter().for_each(|(_, text)| drop(table(text)));
}
