//! The same bytes on another machine: another hostname, one CPU, another state directory, another time.

use crate::story;
use anneal_tests::{
    Daemon, Notes, Place, Said, copy_tree, image_text, images, is_root, package_lines, scratch, skipped, tool, top,
};
use std::{fs, process::Command};

/// Starts what follows on a host of another name with one CPU.
const ELSEWHERE: &[&str] =
    &["unshare", "--uts", "sh", "-c", "hostname somewhere-else && exec taskset -c 0 \"$@\"", "sh"];

/// By default a part of the catalogue, to keep the phase short; `ANNEAL_FULL=1` builds all of it.
#[test]
fn another_hostname_core_count_time_and_directory_give_the_same_digests() {
    if !is_root() {
        return skipped("no permission to change the hostname");
    }
    if tool("unshare").is_none() || tool("taskset").is_none() {
        return;
    }
    let there = Said::by(Command::new(ELSEWHERE[0]).args(&ELSEWHERE[1..]).args(["sh", "-c", "hostname; nproc"]));
    if there.code != 0 {
        return skipped("no permission to change the hostname");
    }
    assert_eq!(there.out, "somewhere-else\n1\n");
    // Measuring goes first; and the goldens must be those of this build, where they are rewritten.
    let known = &story().place;
    let dir = scratch();
    let full = std::env::var_os("ANNEAL_FULL").is_some_and(|v| v == "1");
    let state = dir.path().join("another/place/for/state");
    let place = if full {
        Place::of_repository(&state)
    } else {
        let catalog = dir.path().join("recipes");
        copy_tree(&top().join("recipes"), &catalog);
        for (name, text) in [("busybox", None), ("nginx", Some(ZLIB_IMAGE))] {
            let file = catalog.join(format!("images/{name}.toml"));
            fs::remove_file(&file).unwrap();
            if let Some(text) = text {
                fs::write(file.with_file_name("zlib.toml"), text).unwrap();
            }
        }
        Notes::link_root(&state);
        Place::new(&state, &catalog).of_images("static-base zlib")
    };
    let daemon = Daemon::start(&place, ELSEWHERE);
    place.anneal(&["build", "--quiet"]).fine();
    daemon.stop();
    let built = images(&place);
    let expected = package_lines(known, &images(known));
    let found = package_lines(&place, &built);
    assert!(found.iter().any(|line| line.starts_with("zlib 1.2.11 ")), "{found:?}");
    let others: Vec<_> = found.difference(&expected).collect();
    assert!(others.is_empty(), "{others:?} in place of {expected:?}");
    let mut same = 0;
    for digest in &built {
        let text = image_text(&place, digest);
        if text.starts_with("\nzlib\n") {
            continue;
        }
        same += 1;
        assert!(images(known).contains(digest), "{text}");
    }
    assert_eq!(same, if full { 3 } else { 1 });
}

/// An image with what is compiled in the least time: zlib and the C library.
const ZLIB_IMAGE: &str = r#"name = "zlib"
summary = "zlib alone"
packages = ["zlib"]
user = "65532:65532"
tags = ["latest"]
"#;
