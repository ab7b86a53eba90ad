//! The whole catalogue from nothing: each package built, proved and tested, twice in different places, and the same again
//! as it will be when every package is at its newest release. `make catalogue` runs this; it takes long.
//!
//! What comes out of the recipes as they are is held against `golden/catalogue/`. Each build has its proof beside it, in other
//! surroundings; the second round is on a host of another name, in another state directory, later.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]
#![allow(clippy::print_stderr, reason = "what was measured is for whoever runs it")]

#[path = "catalogue/advisories.rs"]
mod advisories;

use anneal_content::ImageName;
use anneal_recipe::{Catalog, Needs};
use anneal_tests::{
    Daemon, Place, Said, build_root_line, copy_tree, golden, image_text, images, is_root, package_lines, scratch,
    skipped, top,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    time::Instant,
};

/// Starts what follows on a host of another name.
const ELSEWHERE: &[&str] = &["unshare", "--uts", "sh", "-c", "hostname somewhere-else && exec \"$@\"", "sh"];

/// What a round gave.
struct Round {
    packages: BTreeSet<String>,
    images: BTreeMap<String, String>,
    minutes: f64,
}

/// The recipes in `dir`, with an image for each package that no image has, so that it is built and checked as well.
fn with_every_package(dir: &Path) -> Catalog {
    copy_tree(&top().join("recipes/packages"), &dir.join("packages"));
    copy_tree(&top().join("recipes/images"), &dir.join("images"));
    let catalog = read(dir);
    let named = catalog.images().values().flat_map(|image| &image.packages);
    let shipped: BTreeSet<_> = catalog.closure(named, Needs::Runtime).unwrap().into_iter().collect();
    for name in catalog.packages().keys().filter(|name| !shipped.contains(*name)) {
        write_image_of_one(dir, name.as_str());
    }
    read(dir)
}

/// An image of one package.
fn write_image_of_one(dir: &Path, name: &str) {
    let text = format!("name = \"{IMAGE_OF_ONE}{name}\"\nsummary = \"{name} alone\"\npackages = [\"{name}\"]\n");
    fs::write(dir.join(format!("images/one-{name}.toml")), text).unwrap();
}

/// How the image of a package that is in no other is called.
const IMAGE_OF_ONE: &str = "package/";

fn read(dir: &Path) -> Catalog {
    let mut files = Vec::new();
    for kind in ["packages", "images"] {
        for entry in fs::read_dir(dir.join(kind)).unwrap() {
            let path = entry.unwrap().path();
            files.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    Catalog::parse(&files).unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)))
}

/// Selects the newest release of every package.
fn take_the_newest(dir: &Path, catalog: &Catalog) {
    for (name, recipe) in catalog.packages() {
        let path = dir.join(format!("packages/{name}.toml"));
        let text = fs::read_to_string(&path).unwrap();
        let newest = recipe.releases.listed().last().unwrap();
        let (from, to) = (recipe.version(), &newest.version);
        fs::write(&path, text.replacen(&format!("\nversion = \"{from}\""), &format!("\nversion = \"{to}\""), 1))
            .unwrap();
    }
}

/// Builds all of a catalogue in a new state directory. What isn't reproducible, or fails its test, is no candidate.
fn round(catalog: &Path, state: &Path, by: &[&str]) -> Round {
    let place = Place::new(state, catalog);
    fs::create_dir_all(state).unwrap();
    let begun = Instant::now();
    let daemon = Daemon::start(&place, by);
    place.anneal(&["build", "--quiet"]).fine();
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    daemon.stop();
    Round { minutes, ..built(&place) }
}

/// What the newest image of each name holds.
fn built(place: &Place) -> Round {
    let mut images = BTreeMap::new();
    for digest in self::images(place) {
        let text = image_text(place, &digest);
        images.insert(text.trim().lines().next().unwrap().to_owned(), (digest, text));
    }
    let digests: Vec<_> = images.values().map(|(digest, _)| digest.clone()).collect();
    let texts = images.into_iter().map(|(name, (_, text))| (name, text)).collect();
    Round { packages: package_lines(place, &digests), images: texts, minutes: 0.0 }
}

fn lines(all: &BTreeSet<String>) -> String {
    all.iter().fold(build_root_line(), |text, line| format!("{text}{line}\n"))
}

/// The images that ship, and not those of one package that are made here.
fn shipped(round: &Round) -> String {
    let images = round.images.iter().filter(|(name, _)| !name.starts_with(IMAGE_OF_ONE));
    images.fold(build_root_line(), |text, (_, image)| text + image)
}

#[test]
fn the_whole_catalogue_comes_out_the_same_twice_and_as_it_always_did() {
    let dir = scratch();
    let recipes = dir.path().join("recipes");
    let catalog = with_every_package(&recipes);
    if let Some(state) = std::env::var_os("ANNEAL_CATALOGUE_STATE") {
        // Built by hand, from the recipes as they are and an image for each package that no image has.
        let there = built(&Place::new(Path::new(&state), &recipes));
        golden("catalogue/packages.txt", &lines(&there.packages));
        golden("catalogue/images.txt", &shipped(&there));
        skipped("ANNEAL_CATALOGUE_STATE is set: nothing was built, what is there was held against golden/catalogue");
        return;
    }
    let first = round(&recipes, &dir.path().join("one"), &[]);
    let all = catalog.packages().len();
    eprintln!("built {all} packages from nothing, each twice, in {:.1} minutes", first.minutes);
    let there = Said::by(Command::new(ELSEWHERE[0]).args(&ELSEWHERE[1..]).arg("hostname"));
    let by = if is_root() && there.out.trim() == "somewhere-else" { ELSEWHERE } else { &[] };
    if by.is_empty() {
        skipped("no permission to change the hostname: the second round is on a host of the same name");
    }
    let second = round(&recipes, &dir.path().join("another/place/for/the/second/state"), by);
    let same = first.packages.intersection(&second.packages).count();
    let same_images = first.images.iter().filter(|(name, text)| second.images.get(*name) == Some(*text)).count();
    eprintln!("and once more elsewhere in {:.1} minutes", second.minutes);
    eprintln!("reproducible: {same} of {all} packages, {same_images} of {} images", first.images.len());
    assert_eq!(first.packages, second.packages);
    assert_eq!(first.images, second.images);
    assert_eq!(same, all, "each package has one line");
    golden("catalogue/packages.txt", &lines(&first.packages));
    golden("catalogue/images.txt", &shipped(&first));
}

#[test]
fn every_newest_release_builds_reproducibly_and_passes_its_test() {
    let dir = scratch();
    let recipes = dir.path().join("recipes");
    let catalog = with_every_package(&recipes);
    take_the_newest(&recipes, &catalog);
    for (name, recipe) in read(&recipes).packages() {
        assert!(recipe.releases.later().is_empty(), "{name} {} is not the newest", recipe.version());
    }
    let newest = round(&recipes, &dir.path().join("state"), &[]);
    eprintln!("built the newest release of each package, twice, in {:.1} minutes", newest.minutes);
    assert_eq!(newest.packages.len(), catalog.packages().len());
}

#[test]
fn every_image_of_the_catalogue_says_how_it_is_shown_to_run_and_every_package_how_it_is_tested() {
    let dir = scratch();
    let catalog = with_every_package(&dir.path().join("recipes"));
    let silent = |name: &&ImageName| !name.as_str().starts_with(IMAGE_OF_ONE) && catalog.images()[*name].run.is_none();
    let silent: Vec<_> = catalog.images().keys().filter(silent).map(ImageName::as_str).collect();
    assert_eq!(silent, ["static-base"], "nothing in static-base runs; all others show that they do");
    for (name, recipe) in catalog.packages() {
        assert!(!recipe.test.steps.is_empty(), "{name}");
        assert!(recipe.upstream.purl.is_some() && recipe.upstream.repository.is_some(), "{name}");
    }
    let both = catalog.packages().values().filter(|recipe| !recipe.releases.later().is_empty()).count();
    assert!(both >= 10, "{both} packages have a release that a fix may move to");
}
