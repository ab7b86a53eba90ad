//! Packages that attack the extraction: each is refused as a whole, and nothing outside changes.

use super::*;
use crate::fixture::{Packed, deb, deb_of, dir, file, hard_link, other, packed, symlink};
use std::fs;

/// Unpacks beside a file that must survive, and says why it was refused.
fn refused(entries: &[Packed]) -> String {
    let place = tempfile::tempdir().unwrap();
    let dest = place.path().join("dest");
    fs::create_dir(&dest).unwrap();
    fs::write(place.path().join("precious"), "untouched").unwrap();
    let error = unpack_deb("p", &mut deb(entries).as_slice(), &dest).unwrap_err().to_string();
    assert_eq!(fs::read_to_string(place.path().join("precious")).unwrap(), "untouched");
    let mut beside: Vec<_> = fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["dest", "precious"], "something was written outside");
    error
}

fn unpacked(entries: &[Packed]) -> tempfile::TempDir {
    let dest = tempfile::tempdir().unwrap();
    unpack_deb("p", &mut deb(entries).as_slice(), dest.path()).unwrap();
    dest
}

#[test]
fn a_path_that_leads_out_is_refused() {
    for name in ["../precious", "a/../../precious", "./../precious", "/precious", "a//b", "a/./b", "//", "./."] {
        let error = refused(&[file(name, 0o644, b"x")]);
        assert!(error.contains("path"), "{name}: {error}");
    }
}

#[test]
fn a_file_behind_a_link_is_refused() {
    let error = refused(&[symlink("./way", ".."), file("./way/precious", 0o644, b"x")]);
    assert!(error.contains("`./way/precious`"), "{error}");
    let error = refused(&[symlink("./way", "/tmp"), dir("./way/")]);
    assert!(error.contains("`./way/`"), "{error}");
}

#[test]
fn a_hard_link_to_what_the_package_did_not_bring_is_refused() {
    assert!(refused(&[hard_link("a", "../precious")]).contains("component"));
    assert!(refused(&[hard_link("a", "/etc/passwd")]).contains("absolute"));
    assert!(refused(&[hard_link("a", "later"), file("later", 0o644, b"")]).contains("before it"));
    assert!(refused(&[symlink("s", "../precious"), hard_link("a", "s")]).contains("not a file"));
    assert!(refused(&[hard_link("a", "a")]).contains("before it"));
}

#[test]
fn devices_pipes_and_unknown_kinds_are_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::new(b'V')] {
        let error = refused(&[other("dev/x", kind)]);
        assert!(error.contains("of kind"), "{kind:?}: {error}");
    }
}

#[test]
fn a_second_entry_of_the_same_name_is_refused() {
    for second in [file("a", 0o644, b"2"), symlink("a", "b")] {
        assert!(refused(&[file("a", 0o644, b"1"), second]).contains("there already"));
    }
    assert!(refused(&[file("a", 0o644, b"1"), dir("a")]).contains("not a directory"));
    assert!(refused(&[file("./bin/x", 0o755, b"1"), file("usr/bin/x", 0o755, b"2")]).contains("there already"));
}

#[test]
fn a_name_that_is_not_text_is_refused() {
    let mut entry = file("plain", 0o644, b"");
    entry.name = b"\xff\xfe".to_vec();
    assert!(refused(&[entry]).contains("UTF-8"));
}

#[test]
fn long_names_hold_at_the_limit_and_break_after_it() {
    let at = "n".repeat(MAX_NAME_BYTES);
    let dest = unpacked(&[file(&at, 0o644, b"x")]);
    assert!(dest.path().join(&at).is_file());
    assert!(refused(&[file(&format!("{at}n"), 0o644, b"x")]).contains("too long"));
    assert!(refused(&[file(&"d/".repeat(MAX_PATH_BYTES), 0o644, b"x")]).contains("longer"));
    assert!(refused(&[symlink("s", &"t".repeat(MAX_PATH_BYTES + 1))]).contains("longer"));
}

#[test]
fn a_declared_size_beyond_the_limit_is_refused_before_it_is_written() {
    let mut entry = file("bomb", 0o644, b"x");
    entry.declared = Some(MAX_UNPACKED_BYTES + 1);
    assert!(refused(&[entry]).contains("unpacks to more"));
}

#[test]
fn set_user_id_owner_and_time_are_dropped() {
    use std::os::unix::fs::MetadataExt;
    let dest = unpacked(&[file("su", 0o6755, b"x"), file("secret", 0o600, b"x"), dir("d")]);
    for (name, mode) in [("su", 0o755), ("secret", 0o644), ("d", 0o755)] {
        let found = fs::metadata(dest.path().join(name)).unwrap();
        assert_eq!((found.mode() & 0o7777, found.mtime()), (mode, crate::beneath::FIXED_TIME_SECONDS), "{name}");
        assert_eq!(found.uid(), nix::unistd::geteuid().as_raw());
    }
}

#[test]
fn merged_directories_are_taken_for_those_of_usr() {
    let dest = unpacked(&[dir("./"), dir("./bin/"), file("./bin/sh", 0o755, b"x"), hard_link("lib/y", "bin/sh")]);
    assert!(dest.path().join("usr/bin/sh").is_file() && dest.path().join("usr/lib/y").is_file());
    assert!(!dest.path().join("bin").exists());
    assert!(refused(&[symlink("bin", "/tmp")]).contains("shares"));
}

#[test]
fn documentation_is_left_out_and_its_neighbours_are_not() {
    let dest = unpacked(&[file("usr/share/doc/p/x", 0o644, b""), file("usr/share/docs", 0o644, b"")]);
    assert!(dest.path().join("usr/share/docs").exists() && !dest.path().join("usr/share/doc").exists());
}

#[test]
fn every_compression_of_packages_is_read() {
    for suffix in ["", ".gz", ".xz", ".zst"] {
        let dest = tempfile::tempdir().unwrap();
        let bytes = deb_of(&format!("data.tar{suffix}"), &packed(&[file("a", 0o644, b"x")]));
        let found = unpack_deb("p", &mut bytes.as_slice(), dest.path()).unwrap();
        assert_eq!(found, Unpacked { files: 1, bytes: 1 }, "{suffix}");
        assert_eq!(fs::read(dest.path().join("a")).unwrap(), b"x");
    }
}

#[test]
fn what_is_not_a_package_is_refused() {
    let tar = packed(&[file("a", 0o644, b"x")]);
    let dest = tempfile::tempdir().unwrap();
    let reason = |bytes: &[u8]| unpack_deb("p", &mut &*bytes, dest.path()).unwrap_err().to_string();
    assert!(reason(b"").contains("ar archive") || reason(b"").contains("no member"), "{}", reason(b""));
    assert!(reason(b"PK\x03\x04 this is a zip").contains("ar archive"));
    assert!(reason(&deb_of("data.tar.lz4", &tar)).contains("expected gz, xz or zst"));
    assert!(reason(&deb_of("other", &tar)).contains("no member `data.tar`"));
    for member in ["data.tar", "data.tar.gz", "data.tar.xz", "data.tar.zst"] {
        let whole = deb_of(member, &packed(&[file("a", 0o644, &[7; 4096])]));
        let cut = whole.len() - if member == "data.tar" { 3000 } else { 60 };
        assert!(unpack_deb("p", &mut &whole[..cut], tempfile::tempdir().unwrap().path()).is_err(), "{member}");
    }
}

proptest::proptest! {
    #[test]
    fn a_damaged_package_never_panics(at in 0usize..3000, bit in 0u8..8) {
        let mut bytes = deb(&[dir("d"), file("d/a", 0o755, &[1; 600]), symlink("s", "d/a"), hard_link("h", "d/a")]);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let dest = tempfile::tempdir().unwrap();
        let _ = unpack_deb("p", &mut bytes.as_slice(), dest.path());
    }
}
