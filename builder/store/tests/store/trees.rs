//! Trees: a directory goes in, the same directory comes out, and what a tree can't express is refused by name.

use crate::{fresh, noise, temporaries, told, writer};
use anneal_content::{BlobDigest, OutputName, TreePath, list, listing_text};
use anneal_store::{Error, IngestRules, MTIME_SECS, Store, digest_dir};
use std::{
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

fn rules() -> IngestRules {
    IngestRules::default()
}

/// For a directory that the store has made.
fn made() -> IngestRules {
    IngestRules::of_a_materialized_tree()
}

fn put(root: &Path, path: &str, bytes: &[u8], mode: u32) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A small package with everything that a tree may hold.
fn package(root: &Path) {
    put(root, "usr/bin/tool", &noise(1, 3_000_000), 0o755);
    put(root, "usr/bin/odd", b"#!/bin/sh\n", 0o555);
    put(root, "usr/lib/libz.so.1.2", &noise(2, 100_000), 0o755);
    put(root, "usr/include/z.h", b"#define Z 1\n", 0o644);
    put(root, "usr/share/same-as-z.h", b"#define Z 1\n", 0o644);
    put(root, "usr/share/same-as-tool", &noise(1, 3_000_000), 0o644);
    put(root, "usr/share/empty", b"", 0o644);
    put(root, "etc/secret", b"s", 0o600);
    put(root, "usr/share/na\u{ef}ve name", b"n", 0o644);
    symlink("libz.so.1.2", root.join("usr/lib/libz.so")).unwrap();
    symlink("/nowhere/at all", root.join("dangling")).unwrap();
    fs::create_dir_all(root.join("var/empty")).unwrap();
    for dir in ["usr", "usr/bin", "usr/lib", "usr/include", "usr/share", "etc", "var", "var/empty"] {
        chmod(&root.join(dir), 0o755);
    }
    fs::create_dir(root.join("tmp")).unwrap();
    chmod(&root.join("tmp"), 0o1777);
    chmod(&root.join("etc"), 0o750);
}

fn mtimes(root: &Path) -> Vec<(PathBuf, i64)> {
    let (mut found, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(path) = todo.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.push((path, metadata.mtime()));
    }
    found
}

#[test]
fn a_directory_comes_back_with_its_bytes_modes_and_links_and_one_time() {
    let (dir, store) = fresh();
    let source = dir.path().join("package");
    package(&source);
    let tree = store.ingest(&source, &rules()).unwrap();
    assert_eq!(digest_dir(&source, &rules()).unwrap(), tree);
    let out = store.materialize(&tree).unwrap();
    assert_eq!(out, store.dir().join("trees").join(tree.hex()));
    assert_eq!(digest_dir(&out, &made()).unwrap(), tree);
    for (path, mode) in [("usr/bin/tool", 0o755), ("usr/bin/odd", 0o555), ("etc/secret", 0o600), ("tmp", 0o1777)] {
        assert_eq!(fs::metadata(out.join(path)).unwrap().mode() & 0o7777, mode, "{path}");
    }
    assert!(fs::read(out.join("usr/bin/tool")).unwrap() == noise(1, 3_000_000));
    assert_eq!(fs::read_link(out.join("dangling")).unwrap(), Path::new("/nowhere/at all"));
    assert!(mtimes(&out).iter().all(|(_, mtime)| *mtime == MTIME_SECS as i64), "{:?}", mtimes(&out));
    assert!(temporaries(&store).is_empty());
    // the same again, also after a restart, is the same directory
    drop(store);
    let store = writer(dir.path());
    assert_eq!(store.materialize(&tree).unwrap(), out);
    assert_eq!(store.ingest(&out, &made()).unwrap(), tree);
    assert_eq!(store.stats().unwrap().materialized_trees, 1);
}

#[test]
fn a_listing_of_a_tree_is_the_same_on_every_machine() {
    let (dir, store) = fresh();
    let source = dir.path().join("package");
    package(&source);
    let tree = store.ingest(&source, &rules()).unwrap();
    let text = format!("{tree}\n{}", listing_text(&list(&tree, &store).unwrap()));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/store/package.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(golden.parent().unwrap()).unwrap();
        fs::write(&golden, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(golden).unwrap());
}

#[test]
fn contents_are_on_disk_once_per_mode_however_many_trees_have_them() {
    let (dir, store) = fresh();
    let source = dir.path().join("package");
    package(&source);
    let one = store.materialize(&store.ingest(&source, &rules()).unwrap()).unwrap();
    put(&source, "more", b"more", 0o644);
    let two = store.materialize(&store.ingest(&source, &rules()).unwrap()).unwrap();
    let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
    for path in ["usr/bin/tool", "usr/bin/odd", "etc/secret", "usr/share/empty"] {
        assert_eq!(inode(one.join(path)), inode(two.join(path)), "{path}");
    }
    assert_eq!(inode(one.join("usr/include/z.h")), inode(one.join("usr/share/same-as-z.h")));
    assert_ne!(inode(one.join("usr/bin/tool")), inode(one.join("usr/share/same-as-tool")));
    // nothing of the source is in the store: what the build still holds open can't change a tree
    assert_ne!(inode(source.join("usr/bin/tool")), inode(one.join("usr/bin/tool")));
}

#[test]
fn a_directory_is_split_into_outputs_with_the_directories_that_each_needs() {
    let (dir, store) = fresh();
    let source = dir.path().join("package");
    package(&source);
    let classify = |path: &TreePath, is_symlink: bool| {
        let is_dev = path.as_str().starts_with("usr/include/") || (is_symlink && path.as_str().ends_with(".so"));
        OutputName::new(if is_dev { "dev" } else { "out" }).unwrap()
    };
    let trees = store.ingest_split(&source, &rules(), &classify).unwrap();
    let paths = |name: &str| -> Vec<String> {
        let entries = list(&trees[name], &store).unwrap();
        entries.into_iter().map(|entry| entry.path.to_string()).collect()
    };
    assert_eq!(trees.len(), 2);
    assert_eq!(paths("dev"), ["usr", "usr/include", "usr/include/z.h", "usr/lib", "usr/lib/libz.so"]);
    let out = paths("out");
    assert!(out.contains(&"var/empty".to_owned()) && out.contains(&"tmp".to_owned()), "{out:?}");
    assert!(!out.contains(&"usr/include".to_owned()) && !out.contains(&"usr/lib/libz.so".to_owned()), "{out:?}");
    let tmp = store.materialize(&trees["out"]).unwrap().join("tmp");
    assert_eq!(fs::metadata(tmp).unwrap().mode() & 0o7777, 0o1777);
}

#[test]
fn the_empty_directory_is_a_tree_and_has_no_outputs() {
    let (dir, store) = fresh();
    let source = dir.path().join("empty");
    fs::create_dir(&source).unwrap();
    let tree = store.ingest(&source, &rules()).unwrap();
    assert_eq!(fs::read_dir(store.materialize(&tree).unwrap()).unwrap().count(), 0);
    let none = store.ingest_split(&source, &rules(), &|_, _| OutputName::new("out").unwrap()).unwrap();
    assert!(none.is_empty());
}

/// Ingesting this must fail, name the path, say why, and store nothing.
#[track_caller]
fn check_refused(make: impl Fn(&Path), named: &str, why: &str) {
    let (dir, store) = fresh();
    let source = dir.path().join("package");
    put(&source, "usr/fine", b"fine", 0o644);
    make(&source);
    for error in [store.ingest(&source, &rules()).unwrap_err(), digest_dir(&source, &rules()).unwrap_err()] {
        let text = told(&error);
        assert!(text.contains(named) && text.contains(why), "{text}");
    }
    assert_eq!(store.stats().unwrap().blobs, 0);
    assert!(temporaries(&store).is_empty());
}

#[test]
fn a_socket_a_fifo_and_a_device_are_refused() {
    check_refused(|root| drop(UnixListener::bind(root.join("usr/sock")).unwrap()), "`usr/sock`", "socket");
    let fifo = |root: &Path| nix::unistd::mkfifo(&root.join("usr/pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    check_refused(fifo, "`usr/pipe`", "fifo");
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: a device can only be made by root");
        return;
    }
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let node = |root: &Path| mknod(&root.join("usr/null"), SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 3));
    if node(tempfile::tempdir().unwrap().path()).err() == Some(nix::errno::Errno::EPERM) {
        println!("skipped: this system lets nobody make a device");
        return;
    }
    check_refused(|root| node(root).unwrap(), "`usr/null`", "device");
}

#[test]
fn setuid_and_setgid_are_refused_on_files_and_directories() {
    check_refused(|root| put(root, "usr/bin/su", b"x", 0o4755), "`usr/bin/su`", "4755");
    check_refused(|root| put(root, "usr/bin/wall", b"x", 0o2755), "`usr/bin/wall`", "2755");
    check_refused(|root| chmod(&root.join("usr"), 0o2775), "`usr`", "2775");
}

#[test]
fn names_that_are_not_printable_utf8_are_refused() {
    let odd = |name: &'static [u8]| {
        move |root: &Path| fs::write(root.join("usr").join(std::ffi::OsStr::from_bytes(name)), "").unwrap()
    };
    check_refused(odd(b"caf\xe9"), r"`usr/caf\xe9`", "UTF-8");
    check_refused(odd(b"new\nline"), r"`usr/new\nline`", "control characters");
    check_refused(odd(b"esc\x1b[2J"), r"`usr/esc\x1b[2J`", "control characters");
    let target = |root: &Path| symlink(std::ffi::OsStr::from_bytes(b"\xff"), root.join("usr/link")).unwrap();
    check_refused(target, "`usr/link`", "UTF-8");
}

#[test]
fn extended_attributes_are_refused() {
    let attribute =
        |root: &Path| rustix::fs::setxattr(root.join("usr/fine"), "user.note", b"hi", rustix::fs::XattrFlags::empty());
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "usr/fine", b"", 0o644);
    if attribute(dir.path()).is_err() {
        println!("skipped: this file system has no extended attributes");
        return;
    }
    check_refused(|root| attribute(root).unwrap(), "`usr/fine`", "user.note");
}

#[test]
fn a_symbolic_link_is_taken_as_a_link_and_never_followed() {
    let (dir, store) = fresh();
    let source = dir.path().join("package");
    fs::create_dir(&source).unwrap();
    put(dir.path(), "outside/secret", b"secret", 0o644);
    symlink("../outside", source.join("escape")).unwrap();
    let entries = list(&store.ingest(&source, &rules()).unwrap(), &store).unwrap();
    assert_eq!(listing_text(&entries), format!("l0777 {:9} {:12} escape -> ../outside\n", "", ""));
}

#[test]
fn limits_hold_exactly() {
    let (dir, store) = fresh();
    let source = dir.path().join("package");
    put(&source, "a/one", &[1; 100], 0o644);
    put(&source, "a/two", &[2; 50], 0o644);
    let limits =
        |entries_max, file_bytes_max, bytes_max| IngestRules { entries_max, file_bytes_max, bytes_max, ..rules() };
    store.ingest(&source, &limits(3, 100, 150)).unwrap();
    digest_dir(&source, &limits(3, 100, 150)).unwrap();
    for tight in [limits(2, 100, 150), limits(3, 99, 150), limits(3, 100, 149)] {
        assert!(store.ingest(&source, &tight).is_err(), "{tight:?}");
        assert!(digest_dir(&source, &tight).is_err(), "{tight:?}");
    }
    let deep = |levels: usize| source.join(vec!["d"; levels].join("/"));
    fs::create_dir_all(deep(64)).unwrap();
    list(&store.ingest(&source, &rules()).unwrap(), &store).unwrap();
    fs::create_dir_all(deep(65)).unwrap();
    assert!(told(&store.ingest(&source, &rules()).unwrap_err()).contains("deeper than 64"));
}

#[test]
fn a_damaged_blob_is_found_before_it_is_linked_into_a_tree() {
    let (dir, store) = fresh();
    let source = dir.path().join("package");
    package(&source);
    let tree = store.ingest(&source, &rules()).unwrap();
    let digest = anneal_content::BlobDigest::of(b"#define Z 1\n").hex();
    fs::write(store.dir().join("blobs/sha256").join(&digest[..2]).join(&digest), b"#define Z 2\n").unwrap();
    let error = store.materialize(&tree).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(!store.dir().join("trees").join(tree.hex()).exists());
    assert!(temporaries(&store).is_empty());
    // taking the directory in again mends it
    assert_eq!(store.ingest(&source, &rules()).unwrap(), tree);
    assert_eq!(digest_dir(&store.materialize(&tree).unwrap(), &made()).unwrap(), tree);
}

#[test]
fn many_callers_of_one_tree_get_one_directory() {
    let (dir, store) = fresh();
    let source = dir.path().join("package");
    package(&source);
    let tree = store.ingest(&source, &rules()).unwrap();
    let paths: Vec<_> = std::thread::scope(|scope| {
        let ask = |_| scope.spawn(|| store.materialize(&tree).unwrap());
        (0..8).map(ask).collect::<Vec<_>>().into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    assert!(paths.iter().all(|path| *path == paths[0]));
    assert_eq!(digest_dir(&paths[0], &made()).unwrap(), tree);
}

#[test]
fn more_links_than_the_file_system_allows_are_spread_over_inodes() {
    // ext4 allows 65,000 links to an inode; where there is no such limit this only makes a large tree
    let (dir, store) = fresh();
    let source = dir.path().join("package");
    for number in 0..65_100 {
        let path = source.join((number / 1000).to_string());
        if number % 1000 == 0 {
            fs::create_dir_all(&path).unwrap();
        }
        fs::File::create(path.join(number.to_string())).unwrap();
    }
    let tree = store.ingest(&source, &rules()).unwrap();
    assert_eq!(digest_dir(&store.materialize(&tree).unwrap(), &made()).unwrap(), tree);
}

/// As other threads put one blob at the same moment: each has written its own file, and renames it to the same place.
fn put_again_and_again(place: &Path, stop: &AtomicBool) {
    let bytes = fs::read(place).unwrap();
    let again = place.parent().unwrap().join("again");
    while !stop.load(Ordering::Relaxed) {
        fs::write(&again, &bytes).unwrap();
        fs::set_permissions(&again, fs::metadata(place).unwrap().permissions()).unwrap();
        fs::rename(&again, place).unwrap();
    }
}

#[test]
fn a_tree_is_made_while_its_blobs_are_put_by_others_at_the_same_moment() {
    let (dir, store) = fresh();
    let trees: Vec<_> = (0..300)
        .map(|number| {
            let source = dir.path().join(number.to_string());
            put(&source, "own", number.to_string().as_bytes(), 0o644);
            put(&source, "shared", b"in all of them", 0o644);
            put(&source, "shared, of another mode", b"in all of them", 0o444);
            store.ingest(&source, &rules()).unwrap()
        })
        .collect();
    let digest = BlobDigest::of(b"in all of them");
    let stop = AtomicBool::new(false);
    store.materialize(&trees[0]).unwrap();
    std::thread::scope(|scope| {
        let places = [store.dir().join("blobs/sha256").join(&digest.hex()[..2]), store.dir().join("modes/0444")];
        for place in places.map(|folder| folder.join(digest.hex())) {
            let stop = &stop;
            scope.spawn(move || put_again_and_again(&place, stop));
        }
        let made: Vec<_> = trees.iter().map(|tree| store.materialize(tree)).collect();
        stop.store(true, Ordering::Relaxed);
        for made in made {
            made.unwrap();
        }
    });
    for tree in &trees {
        assert_eq!(digest_dir(&store.materialize(tree).unwrap(), &made()).unwrap(), *tree);
    }
}

#[test]
fn a_missing_tree_is_an_error_that_names_it() {
    let (_dir, store) = fresh();
    let tree = anneal_content::TreeDigest::from_bytes([1; 32]);
    let error = store.materialize(&tree).unwrap_err();
    assert!(told(&error).contains(&tree.to_string()), "{error}");
    // asked again, it does not wait for the first one
    assert!(store.materialize(&tree).is_err());
}

#[test]
fn trees_of_an_earlier_boot_are_made_again() {
    let (dir, store) = fresh();
    let source = dir.path().join("package");
    package(&source);
    let tree = store.ingest(&source, &rules()).unwrap();
    let out = store.materialize(&tree).unwrap();
    let boot = store.dir().join("BOOT");
    drop(store);
    fs::write(boot, "another boot\n").unwrap();
    // as a power cut may leave it
    fs::remove_file(out.join("usr/include/z.h")).unwrap();
    let store: Store = writer(dir.path());
    assert!(!out.exists());
    assert_eq!(digest_dir(&store.materialize(&tree).unwrap(), &made()).unwrap(), tree);
}

/// A small random directory: names from few letters, so that files, links and directories collide in depth.
fn random_entries() -> impl proptest::strategy::Strategy<Value = Vec<(Vec<u8>, u8, u32, Vec<u8>)>> {
    use proptest::prelude::*;
    let modes = prop_oneof![Just(0o644_u32), Just(0o755), Just(0o444), Just(0o600), Just(0o711)];
    let name = proptest::collection::vec(0..3_u8, 1..4);
    proptest::collection::vec((name, 0..3_u8, modes, proptest::collection::vec(any::<u8>(), 0..40)), 0..25)
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 24, ..Default::default() })]
    #[test]
    fn any_directory_survives_the_way_in_and_out(entries in random_entries()) {
        static STORE: std::sync::OnceLock<(tempfile::TempDir, Store)> = std::sync::OnceLock::new();
        let store = &STORE.get_or_init(fresh).1;
        let source = tempfile::tempdir().unwrap();
        for (name, kind, mode, bytes) in entries {
            let parts: Vec<_> = name.iter().map(|n| ["a", "b", "c\u{e9} \\"][usize::from(*n)]).collect();
            let path = source.path().join(parts.join("/"));
            // what collides with an earlier entry, or would go through a link, is left out
            let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
            if path.ancestors().take(parts.len()).any(is_link) {
                continue;
            }
            let _ = fs::create_dir_all(path.parent().unwrap());
            match kind {
                0 => drop(fs::create_dir(&path).map(|()| chmod(&path, mode | 0o700))),
                1 => drop(symlink(String::from_utf8_lossy(&bytes).replace(char::is_control, "."), &path)),
                _ if path.exists() => {}
                _ => drop(fs::write(&path, &bytes).map(|()| chmod(&path, mode))),
            }
        }
        let tree = store.ingest(source.path(), &rules()).unwrap();
        let out = store.materialize(&tree).unwrap();
        let compared = std::process::Command::new("diff").args(["-r", "--no-dereference"]).arg(source.path()).arg(&out).output();
        if let Ok(compared) = compared {
            proptest::prop_assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
        }
        proptest::prop_assert_eq!(digest_dir(&out, &made()).unwrap(), tree);
    }
}
