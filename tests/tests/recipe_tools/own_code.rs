//! A team's own code beside its recipes: a directory as a source, from the first recipe to the image and back from evidence.

use anneal_tests::{Notes, Place, is_root, scratch, skipped};
use std::{fs, path::Path};

/// A repository with code at its top and a catalogue in `recipes/`, with the catalogue of the note in it.
fn repository(dir: &Path) -> Place {
    let notes = Notes::ready(&dir.join("seed"));
    let top = dir.join("work");
    fs::create_dir_all(top.join(".git")).unwrap();
    fs::write(top.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    fs::write(
        top.join("Makefile"),
        "all:\ninstall:\n\tinstall -Dm644 -t $(DESTDIR)$(PREFIX)/share/greeting hello.txt\n",
    )
    .unwrap();
    fs::write(top.join("hello.txt"), "hello\n").unwrap();
    fs::write(top.join("LICENSE"), super::MIT).unwrap();
    fs::rename(&notes.place.catalog, top.join("recipes")).unwrap();
    Place::new(&notes.place.state, &top.join("recipes"))
}

fn digest_in(recipe: &Path) -> String {
    let text = fs::read_to_string(recipe).unwrap();
    let line = text.lines().filter_map(|line| line.strip_prefix("sha256 = \"")).next_back().unwrap();
    line.trim_end_matches('"').to_owned()
}

#[test]
fn a_directory_is_a_source_whose_digest_the_tools_write() {
    let dir = scratch();
    let place = repository(dir.path());
    let (top, recipe) = (dir.path().join("work"), place.catalog.join("packages/app.toml"));
    let said = place.anneal(&["recipe", "new", "app", "--source", top.to_str().unwrap(), "--version", "1.0"]).fine();
    assert!(said.out.contains("build: guessed from `Makefile`") && said.out.contains("`LICENSE`"), "{}", said.out);
    let text = fs::read_to_string(&recipe).unwrap();
    assert!(text.contains("places = [\"path:..\"]") && text.contains("file = \"source.tar\""), "{text}");
    place.anneal(&["recipe", "check"]).fine();
    // The recipe that was just written is not in what it names.
    let same = place.anneal(&["recipe", "lock", "path", "app"]).fine();
    assert!(same.out.contains("lists that already"), "{}", same.out);
    let first = digest_in(&recipe);
    fs::write(top.join("hello.txt"), "hello, you\n").unwrap();
    let said = place.anneal(&["recipe", "lock", "path", "app", "--json"]).fine().json();
    let second = digest_in(&recipe);
    assert!(first != second && said["written"] == true, "{said}");
    assert_eq!(fs::read_to_string(&recipe).unwrap().replace(&second, &first), text, "nothing else has moved");
    // Another release of the same directory.
    fs::write(top.join("hello.txt"), "hello, all\n").unwrap();
    place.anneal(&["recipe", "bump", "app", "1.1", "--date", "2024-05-06"]).fine();
    let text = fs::read_to_string(&recipe).unwrap();
    assert!(text.contains(&second) && digest_in(&recipe) != second && text.contains("version = \"1.1\""), "{text}");
    // What can't be packed is told, and the recipe stays.
    std::os::unix::fs::symlink("/etc/passwd", top.join("way")).unwrap();
    place.anneal(&["recipe", "lock", "path", "app"]).refused(2, &["path:..", "the link `way` is absolute"]);
    assert_eq!(fs::read_to_string(&recipe).unwrap(), text);
    place.anneal(&["recipe", "lock", "path", "note"]).refused(2, &["note 1.0 has no source that is a directory"]);
    place.anneal(&["recipe", "lock", "path"]).refused(2, &["<NAME>"]);
    let outside = dir.path().to_str().unwrap();
    place.anneal(&["recipe", "new", "out", "--source", outside]).refused(2, &["outside of the catalogue"]);
    place.anneal(&["recipe", "new", "out", "--source", "path:../.."]).refused(2, &["git repository"]);
}

#[test]
fn an_image_of_a_directory_is_told_of_changes_and_made_again_from_evidence_when_the_code_has_moved_on() {
    if !is_root() {
        return skipped("needs root for the sandbox that is kept");
    }
    let dir = scratch();
    let place = repository(dir.path());
    let (top, recipe) = (dir.path().join("work"), place.catalog.join("packages/app.toml"));
    place.anneal(&["recipe", "new", "app", "--source", top.to_str().unwrap(), "--version", "1.0"]).fine();
    let test = "\n[test]\nsteps = ['grep hello \"$SYSROOT/usr/share/greeting/hello.txt\"']\n";
    fs::write(&recipe, fs::read_to_string(&recipe).unwrap() + test).unwrap();
    fs::write(place.catalog.join("images/app.toml"), "name = \"app\"\nsummary = \"Ours\"\npackages = [\"app\"]\n")
        .unwrap();
    let daemon = place.daemon();
    let build = || place.anneal(&["build", "app", "--json"]);
    let manifest = |said: anneal_tests::Said| said.fine().json()["app"]["manifest"].as_str().unwrap().to_owned();
    let first = manifest(build());
    let digest = digest_in(&recipe);
    place.until_it_rests(std::time::Duration::from_secs(60));
    let materials =
        place.predicate(&first, "https://slsa.dev/provenance/v1")["buildDefinition"]["resolvedDependencies"].clone();
    let source = materials.as_array().unwrap().iter().find(|material| material["uri"] == "path:..").unwrap();
    assert_eq!(source["digest"]["sha256"], digest.as_str());
    fs::write(top.join("hello.txt"), "hello again\n").unwrap();
    let said =
        build().refused(1, &["`path:..`, the source of app, has changed", &digest, "anneal recipe lock path app"]);
    place.anneal(&["build", "note"]).fine();
    place.anneal(&["recipe", "lock", "path", "app"]).fine();
    assert!(said.err.contains(&digest_in(&recipe)), "both digests are told: {}", said.err);
    let second = manifest(build());
    assert_ne!(first, second);
    daemon.stop();
    // What was built is in the archive: the directory may change, or go.
    fs::rename(top.join("hello.txt"), top.join("bye.txt")).unwrap();
    for (image, there) in [(&first, "one"), (&second, "two")] {
        let there = dir.path().join(there);
        Notes::link_root(&there);
        let args = ["image", "reproduce", image, "--scratch", there.to_str().unwrap(), "--json"];
        let said = place.anneal(&args).fine().json();
        assert_eq!(said["reproduced"], true, "{said}");
    }
}
