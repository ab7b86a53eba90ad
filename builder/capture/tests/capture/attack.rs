//! Somebody who still writes: it must not happen, and it must not matter.

use crate::{Kept, digest, output, put};
use anneal_content::{BlobSource as _, EntryKind, list};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

const CANARY: &str = "a secret of the host";

/// Runs `disturb` beside `read`, each again and again, for some seconds.
fn beside(seconds: u64, disturb: impl Fn() + Send + Sync, mut read: impl FnMut()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                disturb();
            }
        });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(seconds) {
            read();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn exchange(a: &Path, b: &Path) {
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
}

#[test]
fn a_directory_that_becomes_a_link_and_back_never_leads_out() {
    let (dir, out) = output();
    put(dir.path(), "host/inner/secret", CANARY.as_bytes());
    put(&out, "usr/share/inner/secret", b"own");
    let (directory, link) = (out.join("usr/share"), out.join("usr/link"));
    // From where the link is, and absolute.
    for target in [Path::new("../../host"), &dir.path().join("host")] {
        // The exchanges before may have ended either way.
        if directory.is_symlink() {
            exchange(&directory, &link);
        }
        let _ = fs::remove_file(&link);
        symlink(target, &link).unwrap();
        let (mut read, mut refused) = (0, 0);
        let look = || {
            let (kept, tree) = Kept::take(&out);
            assert!(!kept.has(CANARY), "the host's file was read");
            match tree {
                Ok(_) => read += 1,
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().contains('`') || error.to_string().contains("out/"), "{error}");
                }
            }
        };
        beside(5, || exchange(&directory, &link), look);
        println!("{read} times read, {refused} times refused");
        assert!(refused > 0 && read > 0, "{read} read, {refused} refused: nothing was raced");
    }
}

#[test]
fn a_file_that_becomes_a_link_and_back_never_leads_out() {
    let (dir, out) = output();
    put(dir.path(), "host/secret", CANARY.as_bytes());
    let (file, link) = (out.join("usr/fine"), out.join("usr/link"));
    symlink(dir.path().join("host/secret"), &link).unwrap();
    let (mut read, mut refused) = (0, 0);
    let look = || {
        let (kept, tree) = Kept::take(&out);
        assert!(!kept.has(CANARY), "the host's file was read");
        if tree.is_ok() { read += 1 } else { refused += 1 }
    };
    beside(2, || exchange(&file, &link), look);
    assert!(refused > 0 && read > 0, "{read} read, {refused} refused: nothing was raced");
}

#[test]
fn a_file_that_grows_or_changes_while_it_is_read_is_refused() {
    let (_dir, out) = output();
    put(&out, "usr/data", &vec![1; 4 << 20]);
    let file = fs::OpenOptions::new().append(true).open(out.join("usr/data")).unwrap();
    let mut refused = 0;
    let look = || {
        match digest(&out) {
            Ok(_) => {}
            Err(text) => {
                refused += 1;
                assert!(text.contains("`usr/data`") && text.contains("still running"), "{text}");
            }
        }
        file.set_len(4 << 20).unwrap();
    };
    beside(2, || drop((&file).write_all(b"more")), look);
    assert!(refused > 0);
}

#[test]
fn what_was_read_is_whole_even_when_the_directory_was_disturbed() {
    let (_dir, out) = output();
    (0..50).for_each(|n| put(&out, &format!("d/{n}"), &[n; 100]));
    let (a, b) = (out.join("d/7"), out.join("d/8"));
    let look = || {
        let (kept, tree) = Kept::take(&out);
        let Ok(tree) = tree else { return };
        let blobs = kept.blobs.into_inner().unwrap();
        for entry in list(&tree, &blobs).unwrap() {
            if let EntryKind::File { digest, size } = entry.kind {
                assert_eq!(blobs.read(&digest).unwrap().len() as u64, size);
            }
        }
    };
    beside(2, || exchange(&a, &b), look);
}
