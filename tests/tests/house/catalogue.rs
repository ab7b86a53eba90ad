//! What `golden/catalogue/` has to say of every recipe. That it is true is shown by `make catalogue`, which takes long.

use crate::{none, top};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};
use toml::Table;

fn recipes(folder: &str) -> Vec<Table> {
    let files = fs::read_dir(top().join("recipes").join(folder)).unwrap();
    files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap().parse().unwrap()).collect()
}

fn golden(name: &str) -> String {
    fs::read_to_string(top().join("golden").join(name)).unwrap()
}

/// The digest of each package, by name and version.
fn digests(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (package, digest) in text.lines().skip(1).filter_map(|line| line.rsplit_once(' ')) {
        found.entry(package.to_owned()).or_default().insert(digest.to_owned());
    }
    found
}

/// The first lines of the blocks of an image listing.
fn blocks(text: &str) -> BTreeSet<String> {
    text.split("\n\n").skip(1).filter_map(|block| block.lines().next()).map(str::to_owned).collect()
}

#[test]
fn every_package_and_image_has_its_digest_in_golden() {
    let known = digests(&golden("catalogue/packages.txt"));
    let written = |recipe: &Table| {
        let text = |key: &str| recipe[key].as_str().unwrap().to_owned();
        format!("{} {}", text("name"), text("version"))
    };
    let packages: BTreeSet<String> = recipes("packages").iter().map(written).collect();
    let listed: BTreeSet<String> = known.keys().cloned().collect();
    let differ: Vec<String> = packages.symmetric_difference(&listed).cloned().collect();
    none("UPDATE_GOLDEN=1 make catalogue: golden/catalogue/packages.txt and the recipes differ in these", &differ);
    let images: BTreeSet<String> = recipes("images").iter().map(|r| r["name"].as_str().unwrap().to_owned()).collect();
    let blocks = blocks(&golden("catalogue/images.txt"));
    let differ: Vec<String> = images.symmetric_difference(&blocks).cloned().collect();
    none("UPDATE_GOLDEN=1 make catalogue: golden/catalogue/images.txt and the recipes differ in these", &differ);
}

#[test]
fn the_story_and_the_whole_catalogue_tell_the_same_digests() {
    let (story, all) = (digests(&golden("packages.txt")), digests(&golden("catalogue/packages.txt")));
    let differ =
        story.iter().filter(|(package, digests)| all.get(*package).is_some_and(|known| !known.is_subset(digests)));
    none(
        "golden/packages.txt has other digests than golden/catalogue/",
        &differ.map(|(p, _)| p.clone()).collect::<Vec<_>>(),
    );
    assert!(story.keys().filter(|package| all.contains_key(*package)).count() >= 7, "the story has seven packages");
    let (story, all) = (golden("images.txt"), golden("catalogue/images.txt"));
    for name in ["busybox", "nginx", "static-base"] {
        let block = all.split("\n\n").find(|block| block.starts_with(&format!("{name}\n"))).unwrap();
        assert!(story.contains(block.trim_end()), "golden/images.txt has no such image:\n{block}");
    }
}
