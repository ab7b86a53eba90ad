//! What the index promises: answers that follow the changes, across a reopening, and nothing left of what was replaced.

// tests stop at the first surprise, in functions that are no #[test] too
#![allow(clippy::unwrap_used, clippy::panic)]

mod model;

use anneal_advisory::Component;
use anneal_content::{BlobDigest, ImageName, PackageName};
use anneal_index::{Error, Index};
use std::path::Path;

pub(crate) fn package(name: &str) -> PackageName {
    name.parse().unwrap()
}

pub(crate) fn image(name: &str) -> ImageName {
    name.parse().unwrap()
}

pub(crate) fn digest(text: &str) -> BlobDigest {
    BlobDigest::of(text.as_bytes())
}

pub(crate) fn component(name: &str, version: &str) -> Component {
    Component {
        name: package(name),
        version: version.parse().unwrap(),
        purl: Some(format!("pkg:generic/{name}")),
        repository: None,
        names: vec![("Debian".to_owned(), name.to_owned())],
    }
}

fn open(dir: &Path) -> Index {
    Index::open(&dir.join("index")).unwrap()
}

/// Image and version of every image that has the package.
fn with(index: &Index, name: &str) -> Vec<String> {
    let mut found: Vec<String> = index
        .images_with(&package(name))
        .unwrap()
        .iter()
        .map(|(_, image, version)| format!("{image} {version}"))
        .collect();
    found.sort();
    found
}

#[test]
fn an_image_is_found_by_every_package_it_contains() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    let nginx = [component("nginx", "1.22.1"), component("zlib", "1.2.11")];
    index.put_image(&digest("n"), &image("nginx"), &nginx).unwrap();
    index.put_image(&digest("c"), &image("team/curl"), &[component("zlib", "1.2.13")]).unwrap();
    index.put_image(&digest("z"), &image("z"), &[component("zlib-ng", "2.0")]).unwrap();
    assert_eq!(with(&index, "zlib"), ["nginx 1.2.11", "team/curl 1.2.13"]);
    assert_eq!(with(&index, "nginx"), ["nginx 1.22.1"]);
    assert_eq!(with(&index, "zl"), [""; 0]);
    assert_eq!(index.components_of(&digest("n")).unwrap(), nginx);
    assert_eq!(index.components_of(&digest("unknown")).unwrap(), []);
}

#[test]
fn one_manifest_under_two_names_is_two_images() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    for name in ["a", "b"] {
        index.put_image(&digest("m"), &image(name), &[component("zlib", "1.2.11")]).unwrap();
    }
    assert_eq!(with(&index, "zlib"), ["a 1.2.11", "b 1.2.11"]);
    assert!(index.remove_image(&digest("m"), &image("a")).unwrap());
    assert_eq!(with(&index, "zlib"), ["b 1.2.11"]);
    assert_eq!(index.components_of(&digest("m")).unwrap().len(), 1);
}

#[test]
fn what_an_image_no_longer_contains_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    index.put_image(&digest("m"), &image("a"), &[component("zlib", "1.2.11"), component("musl", "1.2.5")]).unwrap();
    index.put_image(&digest("m"), &image("a"), &[component("zlib", "1.2.13")]).unwrap();
    assert_eq!(with(&index, "zlib"), ["a 1.2.13"]);
    assert_eq!(with(&index, "musl"), [""; 0]);
    assert!(index.remove_image(&digest("m"), &image("a")).unwrap());
    assert!(!index.remove_image(&digest("m"), &image("a")).unwrap());
    assert_eq!(with(&index, "zlib"), [""; 0]);
}

#[test]
fn an_advisory_is_found_by_its_id_its_aliases_and_its_packages() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    index.put_image(&digest("n"), &image("nginx"), &[component("zlib", "1.2.11")]).unwrap();
    let aliases = ["GHSA-1".to_owned(), "X-1".to_owned()];
    index.put_advisory("CVE-1", &aliases, &digest("one"), &[package("zlib"), package("musl")]).unwrap();
    index.put_advisory("CVE-2", &["X-1".to_owned()], &digest("two"), &[package("zlib")]).unwrap();
    assert_eq!(index.advisory("CVE-1").unwrap(), Some(digest("one")));
    assert_eq!(index.advisory("GHSA-1").unwrap(), Some(digest("one")));
    assert_eq!(index.advisory("X-1").unwrap(), Some(digest("one")), "the first by id");
    assert_eq!(index.advisory("CVE").unwrap(), None);
    assert_eq!(index.advisories_of(&package("zlib")).unwrap(), ["CVE-1", "CVE-2"]);
    assert_eq!(index.touched_by("CVE-1").unwrap(), [package("zlib"), package("musl")]);
    let reach = index.matches("CVE-1").unwrap();
    assert_eq!(reach, [(package("zlib"), digest("n"), image("nginx"), "1.2.11".parse().unwrap())]);
}

#[test]
fn an_advisory_that_changed_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    index.put_advisory("CVE-1", &["GHSA-1".to_owned()], &digest("one"), &[package("zlib")]).unwrap();
    index.put_advisory("CVE-1", &["GHSA-2".to_owned()], &digest("two"), &[package("musl")]).unwrap();
    assert_eq!(index.advisory("GHSA-1").unwrap(), None);
    assert_eq!(index.advisory("GHSA-2").unwrap(), Some(digest("two")));
    assert_eq!(index.advisories_of(&package("zlib")).unwrap(), [""; 0]);
    assert!(index.remove_advisory("CVE-1").unwrap());
    assert!(!index.remove_advisory("CVE-1").unwrap());
    assert_eq!(index.advisory("GHSA-2").unwrap(), None);
    assert_eq!(index.advisories_of(&package("musl")).unwrap(), [""; 0]);
}

#[test]
fn an_id_that_would_tear_a_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    for bad in ["", "a\0b", "a b", "ä", &"a".repeat(129)] {
        assert!(matches!(index.put_advisory(bad, &[], &digest("x"), &[]), Err(Error::Id { .. })), "{bad:?}");
        let aliases = [bad.to_owned()];
        assert!(matches!(index.put_advisory("A-1", &aliases, &digest("x"), &[]), Err(Error::Id { .. })), "{bad:?}");
    }
    assert_eq!(index.advisory("A-1").unwrap(), None);
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    let text = Index::open(&dir.path().join("index")).unwrap_err().to_string();
    assert!(text.contains("cannot open the index in"), "{text}");
}

#[test]
fn threads_that_change_one_image_leave_one_whole_answer() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(dir.path());
    std::thread::scope(|scope| {
        for package in ["a", "b", "c", "d"] {
            let index = &index;
            scope.spawn(move || {
                for _ in 0..5 {
                    index.put_image(&digest("m"), &image("i"), &[component(package, "1")]).unwrap();
                }
            });
        }
    });
    let left: Vec<_> = index.components_of(&digest("m")).unwrap();
    let found: usize = ["a", "b", "c", "d"].iter().map(|p| with(&index, p).len()).sum();
    assert_eq!((left.len(), found), (1, 1));
    assert_eq!(with(&index, left[0].name.as_str()), ["i 1"]);
}

#[test]
fn an_index_of_another_format_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let path = dir.path().join("index");
    let families = ["default", "images", "uses", "advisories", "aliases", "touches"];
    let raw = rocksdb::DB::open_cf(&rocksdb::Options::default(), &path, families).unwrap();
    raw.put("format", "anneal-index 0").unwrap();
    drop(raw);
    let text = Index::open(&path).unwrap_err().to_string();
    assert!(text.contains("has format `anneal-index 0`, this program knows `anneal-index 1`; remove it"), "{text}");
}

#[test]
fn a_damaged_row_is_told_and_not_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let path = dir.path().join("index");
    let families = ["default", "images", "uses", "advisories", "aliases", "touches"];
    let raw = rocksdb::DB::open_cf(&rocksdb::Options::default(), &path, families).unwrap();
    raw.put_cf(raw.cf_handle("advisories").unwrap(), "CVE-1", "{").unwrap();
    raw.put_cf(raw.cf_handle("uses").unwrap(), "zlib\0short", "1").unwrap();
    drop(raw);
    let index = Index::open(&path).unwrap();
    let text = index.advisory("CVE-1").unwrap_err().to_string();
    assert!(text.contains("damaged row in table `advisories`"), "{text}");
    let text = index.images_with(&package("zlib")).unwrap_err().to_string();
    assert!(text.contains("damaged row in table `uses`: a key is too short"), "{text}");
}
