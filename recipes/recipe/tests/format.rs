//! Formatting changes no catalogue's digest, and formatting twice is formatting once: over every recipe there is.

// Tests read their fixtures from disk; clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use anneal_recipe::{Catalog, Kind, format};
use std::{fs, path::Path};

mod catalogue;

fn real() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = ["packages", "images"].map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let paths = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap())).collect()
}

fn formatted(files: &[(String, String)]) -> Vec<(String, String)> {
    let one = |(path, text): &(String, String)| {
        (path.clone(), format(Kind::of(path).unwrap(), path, text).unwrap_or_else(|m| panic!("{}", m.render(false))))
    };
    files.iter().map(one).collect()
}

#[test]
fn no_catalogue_gets_another_digest_and_a_formatted_recipe_stays_as_it_is() {
    // A few lines that none of them has: comments where they are hard to keep, and everything out of order.
    let (changed, real) = (catalogue::changed(&[]), real());
    let shuffled: Vec<_> = real.iter().map(|(path, text)| (path.clone(), shuffled(text))).collect();
    for files in [changed, real, shuffled] {
        let digest = Catalog::parse(&files).unwrap().digest().unwrap();
        let once = formatted(&files);
        assert_eq!(Catalog::parse(&once).unwrap().digest().unwrap(), digest);
        assert_eq!(formatted(&once), once);
        for ((path, before), (_, after)) in files.iter().zip(&once) {
            let comments = |text: &str| text.lines().filter(|line| line.trim_start().starts_with('#')).count();
            assert_eq!(comments(after), comments(before), "{path}");
        }
    }
}

#[test]
fn every_recipe_of_the_catalogue_is_written_as_the_formatter_writes_it() {
    let real = real();
    let other: Vec<_> = formatted(&real).into_iter().zip(&real).filter(|(after, before)| after != *before).collect();
    let names: Vec<_> = other.iter().map(|((path, _), _)| path).collect();
    assert!(names.is_empty(), "`anneal recipe fmt` would rewrite {names:?}");
}

/// The same recipe with the tables that follow its first part the other way round. The order of releases and outputs means
/// something, so those stay together.
fn shuffled(text: &str) -> String {
    let mut parts: Vec<String> = vec![String::new()];
    for line in text.lines() {
        let opens = line.starts_with('[') && !line.starts_with("[[") && !line.contains('.') && !line.contains(' ');
        let list = |name: &str| line.starts_with(&format!("[[{name}]]")) && !parts.iter().any(|p| p.contains(line));
        if opens || list("release") || list("output") || list("directory") || list("file") || list("account") {
            parts.push("# of what follows\n".to_owned());
        }
        let last = parts.last_mut().unwrap();
        last.push_str(line);
        last.push('\n');
    }
    let first = parts.remove(0);
    parts.reverse();
    first + &parts.concat()
}
