//! What a catalogue answers: its digest, its graph, its revisions and its outputs.

// Tests read their fixtures from disk; clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use anneal_content::{ImageName, PackageName, TreePath, Version};
use anneal_recipe::{Catalog, Error, Expectation, Needs, Place, split_outputs};
use proptest::prelude::*;
use std::collections::BTreeMap;

mod catalogue;
use catalogue::{changed, files};

fn catalog() -> Catalog {
    match Catalog::parse(&files()) {
        Ok(catalog) => catalog,
        Err(mistakes) => panic!("{}", mistakes.render(false)),
    }
}

#[test]
fn the_catalogue_of_this_repository_has_no_mistake() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for folder in ["packages", "images"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if name.ends_with(".toml") {
                files.push((format!("recipes/{name}"), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(files.len() > 3, "the catalogue is not where it is looked for");
    if let Err(mistakes) = Catalog::parse(&files) {
        panic!("{}", mistakes.render(false));
    }
}

fn package(name: &str) -> PackageName {
    PackageName::new(name).unwrap()
}

fn names(packages: Result<Vec<PackageName>, Error>) -> String {
    packages.unwrap().iter().map(PackageName::as_str).collect::<Vec<_>>().join(" ")
}

fn versions(package_name: &str, version: &str) -> BTreeMap<PackageName, Version> {
    BTreeMap::from([(package(package_name), Version::new(version).unwrap())])
}

proptest! {
    #[test]
    fn the_digest_does_not_depend_on_the_order_of_the_files(order in Just(files()).prop_shuffle()) {
        prop_assert_eq!(Catalog::parse(&order).unwrap().digest().unwrap(), catalog().digest().unwrap());
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}", cut in 0_usize..2_000) {
        let mut files = files();
        let zlib = &mut files.iter_mut().find(|(path, _)| path.ends_with("zlib.toml")).unwrap().1;
        let cut = (0..=cut.min(zlib.len())).rev().find(|at| zlib.is_char_boundary(*at)).unwrap();
        zlib.insert_str(cut, &text);
        if let Err(mistakes) = Catalog::parse(&files) {
            prop_assert!(!mistakes.render(false).is_empty());
        }
    }

    #[test]
    fn a_glob_of_stars_takes_no_time(stars in 1_usize..200, name in "[ab]{0,250}") {
        let glob: anneal_recipe::Glob = format!("{}c", "*a".repeat(stars)).parse().unwrap_or_else(|_| "c".parse().unwrap());
        prop_assert!(!glob.matches(&name));
    }
}

#[test]
fn any_change_of_a_recipe_changes_the_digest_and_a_comment_does_not() {
    let before = catalog().digest().unwrap();
    let zlib = "recipes/packages/zlib.toml";
    let other = Catalog::parse(&changed(&[(zlib, "-O2", "-O3")])).unwrap();
    assert_ne!(other.digest().unwrap(), before);
    let commented = Catalog::parse(&changed(&[(zlib, "[build]", "# how\n[build]")])).unwrap();
    assert_eq!(commented.digest().unwrap(), before);
    let reordered = changed(&[("recipes/packages/nginx.toml", "[\"musl\", \"zlib\"]", "[\"zlib\", \"musl\"]")]);
    assert_eq!(Catalog::parse(&reordered).unwrap().digest().unwrap(), before);
}

#[test]
fn a_catalogue_is_loaded_back_from_its_json_as_it_was() {
    let catalog = catalog();
    let json = catalog.to_json().unwrap();
    let back = Catalog::from_json(&json).unwrap();
    assert_eq!((&back, back.digest().unwrap()), (&catalog, catalog.digest().unwrap()));
    assert_eq!(anneal_content::BlobDigest::of(&json).hex(), catalog.digest().unwrap().hex());
}

#[test]
fn stored_json_is_validated_when_it_is_loaded() {
    let json = String::from_utf8(catalog().to_json().unwrap()).unwrap();
    for (old, new, why) in [
        ("\"requires\":[\"zlib\"]", "\"requires\":[\"zilb\"]", "there is no package `zilb`"),
        ("\"nginx\":{\"allow\"", "\"ngin\":{\"allow\"", "is stored under the name"),
        ("\"selected\":\"1.2.11\"", "\"selected\":\"1.2.12\"", "no release `1.2.12` is listed"),
        ("\"license\":\"Zlib\"", "\"license\":\"zlib\"", "is not an SPDX licence expression"),
        ("\"mode\":\"0644\"", "\"mode\":\"4755\"", "sets setuid"),
        ("\"unpack\":\"nginx\"", "\"unpack\":\"../x\"", "unsafe path"),
        ("\"summary\":\"Web server\"", "\"summary\":\"Web server\",\"more\":1", "unknown field `more`"),
    ] {
        assert!(json.contains(old), "{old} is not in {json}");
        let error = Catalog::from_json(json.replace(old, new).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why), "{old} to {new} gave: {error}");
    }
}

#[test]
fn a_revision_has_the_same_recipes_at_another_listed_release() {
    let old = catalog();
    let new = old.with_versions(&versions("zlib", "1.2.13")).unwrap();
    assert_eq!(new.package(&package("zlib")).unwrap().version().as_str(), "1.2.13");
    assert_eq!(new.package(&package("nginx")).unwrap(), old.package(&package("nginx")).unwrap());
    assert_ne!(new.digest().unwrap(), old.digest().unwrap());
    assert_eq!(new.with_versions(&versions("zlib", "1.2.11")).unwrap(), old);
}

#[test]
fn a_revision_to_a_version_that_is_not_listed_is_refused() {
    let error = catalog().with_versions(&versions("zlib", "1.3.1")).unwrap_err();
    assert_eq!(error.to_string(), "package `zlib` lists no release `1.3.1`");
    assert!(error.help().unwrap().contains("1.2.11, 1.2.13"));
    let error = catalog().with_versions(&versions("zilb", "1.3.1")).unwrap_err();
    assert_eq!(error.help().unwrap(), "did you mean `zlib`?");
}

#[test]
fn a_part_of_a_catalogue_has_the_named_images_and_every_package() {
    let all = catalog();
    let image = |name: &str| ImageName::new(name).unwrap();
    let part = all.with_images(&[image("nginx")].into()).unwrap();
    assert_eq!(part.images().keys().collect::<Vec<_>>(), [&image("nginx")]);
    assert!(all.images().len() > 1, "there is something to leave out");
    assert_eq!(part.packages(), all.packages());
    let error = all.with_images(&[image("nginx"), image("ngnix")].into()).unwrap_err();
    assert_eq!(error.help().unwrap(), "did you mean `nginx`?");
}

#[test]
fn the_releases_after_the_selected_one_are_what_a_fix_may_move_to() {
    let catalog = catalog();
    let releases = &catalog.package(&package("zlib")).unwrap().releases;
    let later: Vec<_> = releases.later().iter().map(|release| release.version.as_str()).collect();
    assert_eq!((releases.selected().version.as_str(), later), ("1.2.11", vec!["1.2.13"]));
    assert_eq!(releases.listed().count(), 2);
    assert_eq!(releases.selected().date.epoch_secs(), 1_484_438_400);
}

#[test]
fn closures_come_with_dependencies_first() {
    let catalog = catalog();
    let nginx = package("nginx");
    assert_eq!(names(Ok(catalog.topological())), "musl busybox zlib nginx");
    assert_eq!(names(catalog.closure([&nginx], Needs::Runtime)), "musl zlib nginx");
    assert_eq!(names(catalog.closure([&package("busybox"), &nginx], Needs::Build)), "musl busybox zlib nginx");
    assert_eq!(names(catalog.dependents([&package("zlib")], Needs::Build)), "zlib nginx");
    assert_eq!(names(catalog.dependents([&package("musl")], Needs::Runtime)), "musl busybox zlib nginx");
    assert!(catalog.closure([&package("nothing")], Needs::Build).is_err());
}

#[test]
fn a_sysroot_holds_what_is_required_and_what_that_needs_to_run() {
    let catalog = catalog();
    assert_eq!(names(catalog.build_sysroot(&package("nginx"))), "musl zlib");
    assert_eq!(names(catalog.build_sysroot(&package("musl"))), "");
    assert_eq!(names(catalog.test_sysroot(&package("zlib"))), "musl busybox zlib");
}

#[test]
fn an_output_that_is_required_makes_its_package_an_input_once() {
    let nginx = "recipes/packages/nginx.toml";
    let statically = (nginx, "requires = [\"zlib\"]", "requires = [\"zlib:static\", \"zlib\"]");
    let catalog = Catalog::parse(&changed(&[statically])).unwrap();
    assert_eq!(names(catalog.build_sysroot(&package("nginx"))), "musl zlib");
    assert_eq!(names(catalog.dependents([&package("zlib")], Needs::Build)), "zlib nginx");
    let required: Vec<_> = catalog.package(&package("nginx")).unwrap().build.requires.iter().collect();
    assert_eq!(required.iter().map(ToString::to_string).collect::<Vec<_>>(), ["zlib", "zlib:static"]);
    assert_eq!(Catalog::from_json(&catalog.to_json().unwrap()).unwrap(), catalog, "it survives being stored");
    assert_ne!(catalog.digest().unwrap(), self::catalog().digest().unwrap());
}

#[test]
fn what_only_a_test_needs_makes_no_cycle() {
    let musl =
        ("recipes/packages/musl.toml", "[build]", "[test]\nrequires = [\"busybox\"]\nsteps = [\"true\"]\n[build]");
    let catalog = Catalog::parse(&changed(&[musl])).unwrap();
    assert_eq!(names(catalog.test_sysroot(&package("musl"))), "musl busybox");
}

#[test]
fn an_image_is_tagged_with_the_version_of_its_package_and_follows_it() {
    let name = ImageName::new("nginx").unwrap();
    let tags = |catalog: &Catalog| catalog.tags(&name).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(tags(&catalog()), ["1.24", "1.24.0", "latest"]);
    let odd = [("recipes/packages/nginx.toml", "version = \"1.24.0\"", "version = \"1.24+x:1\"")];
    let odd = changed(&[odd[0], odd[0]]);
    assert_eq!(tags(&Catalog::parse(&odd).unwrap()), ["1.24", "1.24_x_1", "latest"]);
}

#[test]
fn what_a_recipe_leaves_out_has_its_default() {
    let catalog = catalog();
    let musl = catalog.package(&package("musl")).unwrap();
    assert_eq!((musl.build.cpus, musl.build.timeout_minutes, musl.build.memory_mib), (2, 30, 2048));
    assert_eq!(musl.workdir().as_str(), "src", "where the first unpacked source went");
    assert_eq!(catalog.package(&package("zlib")).unwrap().workdir().as_str(), "src/src/zlib");
    let image = catalog.image(&ImageName::new("tools/busybox").unwrap()).unwrap();
    assert_eq!((image.user.to_string().as_str(), image.layer_budget), ("65532:65532", 10));
    assert_eq!(image.tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["latest"]);
    assert_eq!(image.run_argv(), ["/bin/sh", "-c", "echo hello"]);
    let expected = Expectation::Exits { status: 0, stdout_contains: Some("hello".into()) };
    assert_eq!(image.run.as_ref().unwrap().expect, expected);
}

#[test]
fn a_day_may_be_written_with_or_without_quotes() {
    let quoted = changed(&[("recipes/packages/musl.toml", "2024-03-01", "\"2024-03-01\"")]);
    assert_eq!(Catalog::parse(&quoted).unwrap(), catalog());
}

#[test]
fn places_are_kept_in_the_order_in_which_they_are_tried() {
    let catalog = catalog();
    let release = &catalog.package(&package("zlib")).unwrap().releases.later()[0];
    let schemes: Vec<_> = release.sources[0].places.iter().map(Place::scheme).collect();
    assert_eq!(schemes, ["debian", "https"]);
}

#[test]
fn files_go_to_the_output_that_needs_them() {
    let catalog = catalog();
    let output = |recipe: &str, path: &str, link| {
        let recipe = catalog.package(&package(recipe)).unwrap();
        split_outputs(recipe, &TreePath::new(path).unwrap(), link).to_string()
    };
    for (path, link, expected) in [
        ("usr/include/sys/zlib.h", false, "dev"),
        ("usr/lib/libz.so", true, "dev"),
        ("usr/lib/libc.so", false, "out"),
        ("usr/lib/libz.so.1", true, "out"),
        ("usr/lib/plugins/x.so", true, "out"),
        ("usr/lib/libz.a", false, "static"),
        ("usr/lib/deep/libz.a", false, "static"),
        ("usr/lib/deep/libz.la", false, "dev"),
        ("usr/lib/crt1.o", false, "dev"),
        ("usr/lib/pkgconfig/zlib.pc", false, "dev"),
        ("usr/share/pkgconfig/zlib.pc", false, "dev"),
        ("usr/bin/pcre2-config", false, "dev"),
        ("usr/bin/config", false, "out"),
        ("usr/share/man/man3/zlib.3", false, "doc"),
        ("usr/share/doc/zlib/README", false, "doc"),
        ("usr/share/info/dir", false, "doc"),
        ("usr/share/zoneinfo/UTC", false, "out"),
        ("usr/share/manual", false, "out"),
        ("etc/nginx/nginx.conf", false, "out"),
    ] {
        assert_eq!(output("musl", path, link), expected, "{path}");
    }
    assert_eq!(output("zlib", "usr/lib/libz.a", false), "static", "the recipe's own rule comes first");
    assert_eq!(output("zlib", "usr/include/zlib.h", false), "dev", "the default rule still holds");
}

#[test]
fn a_rule_of_its_own_replaces_the_default_rule_of_that_output() {
    let rule = "[[output]]\nname = \"doc\"\npaths = []\n\n[build]";
    let catalog = Catalog::parse(&changed(&[("recipes/packages/musl.toml", "[build]", rule)])).unwrap();
    let musl = catalog.package(&package("musl")).unwrap();
    assert_eq!(split_outputs(musl, &TreePath::new("usr/share/man/man1/x.1").unwrap(), false).as_str(), "out");
}
