//! The digest depends on what is in a tree, and on nothing else.

use crate::{Kept, chmod, digest, output, put};
use anneal_capture::{IngestRules, digest_dir};
use std::{
    fs,
    io::{Seek as _, Write as _},
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

#[test]
fn holes_are_zeros() {
    let ((_a, written), (_b, sparse)) = (output(), output());
    put(&written, "usr/data", &[vec![0; 3 << 20], b"end".to_vec()].concat());
    let mut file = fs::File::create(sparse.join("usr/data")).unwrap();
    file.seek(std::io::SeekFrom::Start(3 << 20)).unwrap();
    file.write_all(b"end").unwrap();
    assert_eq!(digest(&written).unwrap(), digest(&sparse).unwrap());
}

#[test]
fn two_names_of_one_file_are_two_files() {
    let ((_a, linked), (_b, copied)) = (output(), output());
    fs::hard_link(linked.join("usr/fine"), linked.join("usr/again")).unwrap();
    put(&copied, "usr/again", b"fine");
    assert_eq!(digest(&linked).unwrap(), digest(&copied).unwrap());
}

#[test]
fn times_and_the_order_of_making_change_nothing() {
    let names: Vec<String> = (0..200).map(|n| format!("usr/{:x}", n * 7919 % 1000)).collect();
    let ((_a, forward), (_b, backward)) = (output(), output());
    names.iter().for_each(|name| put(&forward, name, name.as_bytes()));
    names.iter().rev().for_each(|name| put(&backward, name, name.as_bytes()));
    let file = fs::File::open(backward.join("usr/fine")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(77)).unwrap();
    assert_eq!(digest(&forward).unwrap(), digest(&backward).unwrap());
}

#[test]
fn a_name_a_byte_a_mode_and_a_target_each_change_it() {
    let changes: [&dyn Fn(&Path); 6] = [
        &|out| fs::rename(out.join("usr/fine"), out.join("usr/Fine")).unwrap(),
        &|out| put(out, "usr/fine", b"finf"),
        &|out| chmod(&out.join("usr/fine"), 0o600),
        &|out| chmod(&out.join("usr"), 0o700),
        &|out| symlink("fine", out.join("usr/link")).unwrap(),
        &|out| symlink("fin", out.join("usr/link")).unwrap(),
    ];
    let (_dir, plain) = output();
    let mut seen = vec![digest(&plain).unwrap()];
    for change in changes {
        let (_dir, out) = output();
        change(&out);
        let tree = digest(&out).unwrap();
        assert!(!seen.contains(&tree));
        seen.push(tree);
    }
}

#[test]
fn names_that_differ_in_case_or_in_spelling_are_different_names() {
    let (_dir, out) = output();
    for name in ["README", "readme", "caf\u{e9}", "cafe\u{301}", "-rf", "a.", "a b"] {
        put(&out, name, name.as_bytes());
    }
    let (kept, tree) = Kept::take(&out);
    assert_eq!(tree.unwrap(), digest(&out).unwrap());
    assert!(kept.has("README") && kept.has("readme") && kept.has("cafe\u{301}"));
}

#[test]
fn an_output_of_many_directories_takes_time_in_proportion() {
    let (_dir, out) = output();
    let time = |count: u32| {
        (0..count).for_each(|n| drop(fs::create_dir(out.join(format!("d{n}")))));
        let begun = Instant::now();
        digest(&out).unwrap();
        begun.elapsed()
    };
    time(2_000);
    let (few, many) = (time(3_000), time(30_000));
    // Ten times as many; a search of the list for each would make it a hundred times.
    assert!(many < few * 40 + Duration::from_secs(1), "3,000: {few:?}, 30,000: {many:?}");
}

#[test]
fn the_number_of_entries_is_limited_exactly() {
    let (_dir, out) = output();
    let rules = |entries_max| IngestRules { entries_max, ..IngestRules::default() };
    digest_dir(&out, &rules(2)).unwrap();
    assert!(digest_dir(&out, &rules(1)).unwrap_err().to_string().contains("more than 1 entries"));
}

#[test]
fn what_a_group_may_write_is_kept_or_not_as_the_rules_say() {
    let tree = |umask: u32, group_writes: bool| {
        let (_dir, out) = output();
        put(&out, "usr/bin/program", b"#!/bin/sh\n");
        for (path, mode) in [("usr", 0o777), ("usr/bin", 0o777), ("usr/bin/program", 0o777)] {
            chmod(&out.join(path), mode & !umask);
        }
        digest_dir(&out, &IngestRules { group_writes, ..IngestRules::default() }).unwrap()
    };
    assert_ne!(tree(0o022, true), tree(0o002, true));
    assert_eq!(tree(0o022, false), tree(0o002, false), "the umask of a build shows in this bit");
    assert_eq!(tree(0o022, false), tree(0o022, true));
    assert_ne!(tree(0o022, false), tree(0o000, false), "what everybody may write is seen");
    assert_eq!(tree(0o000, false), tree(0o000, true), "and stays as it is");
}
