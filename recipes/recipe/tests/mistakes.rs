//! Every mistake that a recipe can have, one at a time, and the text that a person sees.
//!
//! Each case changes one thing in the catalogue under `tests/catalogue`. The expected texts are in
//! `golden/recipe/errors`; `UPDATE_GOLDEN=1` writes them anew.

// Tests read their fixtures from disk; clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use anneal_recipe::{Catalog, Mistakes};
use std::{collections::BTreeSet, fs, path::Path};

mod cases;
mod catalogue;
use cases::{CASES, IMAGE, MUSL, NGINX, ZLIB};
use catalogue::{changed, files};

#[track_caller]
fn mistakes(files: &[(String, String)]) -> Mistakes {
    Catalog::parse(files).expect_err("these recipes have a mistake")
}

#[track_caller]
fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/recipe/errors").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} differs from its golden text; UPDATE_GOLDEN=1 rewrites it");
}

#[test]
fn each_mistake_is_shown_where_it_is_with_what_to_do() {
    for (name, path, old, new) in CASES {
        let found = mistakes(&changed(&[(path, old, new)]));
        check(name, &found.render(false));
    }
}

#[test]
fn a_file_that_is_neither_package_nor_image_is_a_mistake() {
    let mut files = files();
    files.push(("recipes/zlib.toml".to_owned(), "name = \"zlib\"\n".to_owned()));
    check("neither-package-nor-image", &mistakes(&files).render(false));
}

#[test]
fn all_mistakes_of_all_files_are_reported_at_once() {
    let files = changed(&[
        (ZLIB, "license = \"Zlib\"\n", ""),
        (ZLIB, "cpus = 2", "cpu = 2"),
        (ZLIB, "\"crate:libz-sys/1.1.8\"", "\"crate:libz-sys\""),
        (NGINX, "requires = [\"zlib\"]", "requires = [\"zilb\"]"),
        (IMAGE, "mode = \"0644\"", "mode = \"4755\""),
        (IMAGE, "packages = [\"nginx\"]", "packages = [\"ngnix\"]"),
        (MUSL, "steps = [", "steps = "),
    ]);
    check("many-at-once", &mistakes(&files).render(false));
}

#[test]
fn a_recipe_with_a_mistake_is_still_known_to_the_others() {
    let found = mistakes(&changed(&[(ZLIB, "license = \"Zlib\"\n", "")]));
    assert_eq!(found.count(), 1, "{}", found.render(false));
    let found = mistakes(&changed(&[(MUSL, "license = \"MIT\"", "license = MIT")]));
    assert!(found.iter().all(|mistake| mistake.file() == MUSL), "{}", found.render(false));
    let found = mistakes(&changed(&[(MUSL, "name = \"musl\"", "name = \"Musl\"")]));
    assert_eq!(found.count(), 1, "{}", found.render(false));
}

#[test]
fn a_cycle_names_its_members_and_not_those_that_need_them() {
    let busybox = "recipes/packages/busybox.toml";
    let found = mistakes(&changed(&[
        (busybox, "[build]\nrequires = [\"musl\"]", "[build]\nrequires = [\"zlib\"]"),
        (ZLIB, "[runtime]\nrequires = [\"musl\"]", "[runtime]\nrequires = [\"busybox\"]"),
        (MUSL, "[build]\n", "[build]\nrequires = [\"musl\"]\n"),
    ]));
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["packages need each other: busybox -> zlib -> busybox", "package `musl` needs itself"]);
    let found = mistakes(&changed(&[
        (busybox, "[runtime]\nrequires = [\"musl\"]", "[runtime]\nrequires = [\"nginx\"]"),
        (ZLIB, "[build]\nrequires = [\"musl\"]", "[build]\nrequires = [\"busybox\"]"),
    ]));
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["packages need each other: busybox -> nginx -> zlib -> busybox"]);
}

#[test]
fn every_mistake_says_what_to_do() {
    for (name, path, old, new) in CASES {
        let found = mistakes(&changed(&[(path, old, new)]));
        assert!(found.iter().all(|mistake| mistake.error().help().is_some()), "{name}");
    }
}

#[test]
fn each_case_is_one_mistake_unless_its_name_says_otherwise() {
    // A required key under a wrong name is also a missing one.
    let two = ["unknown-key", "missing-release"];
    for (name, path, old, new) in CASES.iter().filter(|(name, ..)| !two.contains(name)) {
        let found = mistakes(&changed(&[(path, old, new)]));
        assert_eq!(found.count(), 1, "{name}: {}", found.render(false));
    }
}

#[test]
fn a_mistake_says_its_file_line_column_and_code() {
    let found = mistakes(&changed(&[(ZLIB, "license = \"Zlib\"", "license = \"zlib\"")]));
    let mistake = found.iter().next().unwrap();
    assert_eq!((mistake.file(), mistake.position(), mistake.span()), (ZLIB, (4, 11), 95..101));
    assert_eq!(mistake.error().code(), "recipe::license");
    assert_eq!(found.to_string(), "1 mistake in 1 file");
}

#[test]
fn mistakes_are_the_same_whatever_the_order_of_the_files() {
    let mut files = changed(&[(NGINX, "name = \"nginx\"", "name = \"musl\""), (ZLIB, "cpus = 2", "cpu = 2")]);
    let text = mistakes(&files).render(false);
    files.reverse();
    assert_eq!(mistakes(&files).render(false), text);
}

#[test]
fn color_is_only_written_when_it_is_asked_for() {
    let found = mistakes(&changed(&[(ZLIB, "cpus = 2", "cpu = 2")]));
    assert!(!found.render(false).contains('\u{1b}'));
    assert!(found.render(true).contains('\u{1b}'));
}

#[test]
fn every_kind_of_mistake_has_a_case() {
    let seen: BTreeSet<&str> = CASES
        .iter()
        .flat_map(|(_, path, old, new)| {
            let found = mistakes(&changed(&[(path, old, new)]));
            found.iter().map(|mistake| mistake.error().code()).collect::<Vec<_>>()
        })
        .collect();
    let all = include_str!("../src/error.rs").split('"').filter(|text| text.starts_with("recipe::"));
    // These come about without a recipe file, or have a test of their own.
    let elsewhere = [
        "recipe::unknown-kind",
        "recipe::too-large",
        "recipe::misfiled",
        "recipe::unformattable",
        "recipe::json",
        "recipe::lock-file",
        "recipe::also-upstream",
        "recipe::replaces-nothing",
    ];
    let missing: Vec<_> = all.filter(|code| !seen.contains(code) && !elsewhere.contains(code)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn a_file_at_the_limit_is_read_and_one_byte_more_is_not() {
    const LIMIT: usize = 256 * 1024;
    let sized = |size: usize| {
        let mut files = files();
        let text = &mut files.iter_mut().find(|(path, _)| path == MUSL).unwrap().1;
        text.push_str(&"#".repeat(size - text.len()));
        files
    };
    assert!(Catalog::parse(&sized(LIMIT)).is_ok());
    check("file-too-large", &mistakes(&sized(LIMIT + 1)).render(false));
}

#[test]
fn a_catalogue_of_too_many_files_is_refused_before_any_is_read() {
    let file = |at: usize| (format!("packages/{at}.toml"), "not toml".to_owned());
    let files: Vec<_> = (0..20_001).map(file).collect();
    check("too-many-files", &mistakes(&files).render(false));
}

#[test]
fn reading_stops_after_very_many_mistakes() {
    let file = |at: usize| (format!("packages/{at:05}.toml"), "name = 5\n".to_owned());
    let files: Vec<_> = (0..2_000).map(file).collect();
    let found = mistakes(&files).count();
    assert!((500..520).contains(&found), "{found}");
}

#[test]
fn a_deeply_nested_file_is_a_mistake_and_not_a_crash() {
    let text = format!("name = {}", "[".repeat(100_000));
    let files = [("packages/deep.toml".to_owned(), text)];
    assert!(mistakes(&files).count() >= 1);
}
