//! Build roots of small made-up packages.

use super::*;
use crate::fixture::{Packed, check_golden, deb, dir, file, hard_link, symlink};
use anneal_content::BlobDigest;
use std::{collections::BTreeMap, fmt::Write as _, os::unix::fs::MetadataExt};

type Blobs = BTreeMap<BlobDigest, Vec<u8>>;

fn locked(packages: &[(&str, Vec<Packed>)]) -> (BuildRootLock, Blobs) {
    let mut blobs = Blobs::new();
    let mut lock = BuildRootLock { architecture: "amd64".into(), suite: "s".into(), wanted: vec![], packages: vec![] };
    for (name, entries) in packages {
        let bytes = deb(entries);
        lock.packages.push(LockedPackage {
            name: (*name).to_owned(),
            version: "1".into(),
            pool: format!("pool/main/{name}.deb"),
            sha256: BlobDigest::of(&bytes),
            bytes: bytes.len() as u64,
        });
        blobs.insert(BlobDigest::of(&bytes), bytes);
    }
    (lock, blobs)
}

fn some() -> (BuildRootLock, Blobs) {
    locked(&[
        ("base", vec![dir("./"), dir("./bin/"), file("./etc/os-release", 0o644, b"x"), dir("./tmp/")]),
        ("dash", vec![dir("./"), file("./bin/dash", 0o755, b"dash"), symlink("./bin/sh", "dash")]),
        ("gawk", vec![file("./usr/bin/gawk", 0o755, b"gawk"), hard_link("./usr/bin/gawk-5", "./usr/bin/gawk")]),
        ("gcc", vec![dir("./usr/"), dir("./usr/bin/"), file("./usr/bin/gcc", 0o755, b"gcc"), dir("./usr/share/doc/")]),
    ])
}

fn assemble(lock: &BuildRootLock, blobs: &Blobs, dest: &Path, threads: usize) -> Result<Unpacked, Error> {
    let open = |package: &LockedPackage| -> io::Result<Box<dyn Read + Send>> {
        let bytes = blobs.get(&package.sha256).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(bytes.clone())))
    };
    assemble_build_root(lock, &open, dest, threads)
}

/// Every entry with its kind, mode, time and content.
fn listing(root: &Path, beneath: &str, out: &mut String) {
    let mut names: Vec<String> =
        fs::read_dir(root.join(beneath)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in names {
        let path = if beneath.is_empty() { name } else { format!("{beneath}/{name}") };
        let at = root.join(&path);
        let found = fs::symlink_metadata(&at).unwrap();
        let mode = if found.is_symlink() { 0o777 } else { found.mode() & 0o7777 };
        write!(out, "{mode:04o} {} {path}", found.mtime()).unwrap();
        if found.is_dir() {
            out.push_str("/\n");
            listing(root, &path, out);
        } else if found.is_symlink() {
            writeln!(out, " -> {}", fs::read_link(&at).unwrap().display()).unwrap();
        } else {
            writeln!(out, " {:?}", fs::read_to_string(&at).unwrap()).unwrap();
        }
    }
}

#[test]
fn a_build_root_has_what_the_scripts_of_its_packages_would_have_made() {
    let (lock, blobs) = some();
    let dest = tempfile::tempdir().unwrap();
    assemble(&lock, &blobs, dest.path(), 2).unwrap();
    let mut found = String::new();
    listing(dest.path(), "", &mut found);
    check_golden("build-root.txt", &found);
}

#[test]
fn the_same_lock_gives_the_same_root_whatever_the_threads_and_the_order() {
    let (lock, blobs) = some();
    let mut listings = Vec::new();
    for threads in [1, 2, 16] {
        let place = tempfile::tempdir().unwrap();
        let dest = place.path().join("new");
        let mut lock = lock.clone();
        lock.packages.rotate_left(threads % 3);
        let total = assemble(&lock, &blobs, &dest, threads).unwrap();
        let mut found = String::new();
        listing(&dest, "", &mut found);
        listings.push((total, found));
    }
    assert!(listings.windows(2).all(|pair| pair[0] == pair[1]), "{listings:#?}");
}

#[test]
fn a_package_with_other_bytes_than_the_lock_names_is_refused() {
    let (lock, mut blobs) = some();
    let wrong = deb(&[file("./usr/bin/gcc", 0o755, b"evil")]);
    blobs.insert(lock.packages[3].sha256, wrong.clone());
    let dest = tempfile::tempdir().unwrap();
    let error = assemble(&lock, &blobs, dest.path(), 1).unwrap_err();
    assert!(
        matches!(&error, Error::PackageDigest { package, found, .. } if package == "gcc" && *found == BlobDigest::of(&wrong))
    );
    let not_a_package = b"<html>gone</html>".to_vec();
    blobs.insert(lock.packages[3].sha256, not_a_package);
    let dest = tempfile::tempdir().unwrap();
    assert!(matches!(assemble(&lock, &blobs, dest.path(), 1), Err(Error::PackageDigest { .. })));
}

#[test]
fn bytes_after_the_package_count_for_its_digest() {
    let (lock, mut blobs) = some();
    blobs.get_mut(&lock.packages[0].sha256).unwrap().extend(b"more");
    let dest = tempfile::tempdir().unwrap();
    assert!(matches!(assemble(&lock, &blobs, dest.path(), 1), Err(Error::PackageDigest { .. })));
}

#[test]
fn two_packages_with_the_same_file_are_refused_in_any_order() {
    let packages = [("a", vec![file("./bin/x", 0o755, b"1")]), ("b", vec![file("./usr/bin/x", 0o755, b"1")])];
    let (mut lock, blobs) = locked(&packages);
    for _ in 0..2 {
        lock.packages.reverse();
        let dest = tempfile::tempdir().unwrap();
        let error = assemble(&lock, &blobs, dest.path(), 2).unwrap_err().to_string();
        assert!(error.contains("there already"), "{error}");
    }
}

#[test]
fn a_missing_package_is_named() {
    let (lock, mut blobs) = some();
    blobs.remove(&lock.packages[2].sha256);
    let dest = tempfile::tempdir().unwrap();
    let error = assemble(&lock, &blobs, dest.path(), 2).unwrap_err();
    assert_eq!(error.to_string(), "cannot read package `gawk` of the build root");
}

#[test]
fn a_directory_that_holds_something_is_left_alone() {
    let (lock, blobs) = some();
    let dest = tempfile::tempdir().unwrap();
    fs::write(dest.path().join("mine"), "x").unwrap();
    let error = assemble(&lock, &blobs, dest.path(), 1).unwrap_err().to_string();
    assert!(error.contains("found mine"), "{error}");
    assert_eq!(fs::read_dir(dest.path()).unwrap().count(), 1);
}

#[test]
fn the_lock_of_the_repository_parses_and_holds_what_builds_are_promised() {
    let text = include_str!("../../../../vendor/build-root.lock");
    let lock = BuildRootLock::parse(text).unwrap();
    assert_eq!(lock.wanted, BUILD_ROOT_PACKAGES);
    for name in BUILD_ROOT_PACKAGES {
        assert!(lock.packages.iter().any(|p| p.name == name), "{name} is not in the lock");
    }
    assert!(!lock.packages.iter().any(|p| p.name.starts_with("musl")), "musl is ours");
    assert_eq!(lock.to_toml(), text, "the file is not as it would be written");
}
