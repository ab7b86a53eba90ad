//! The rules of the house, as tests: which crate may need which, and what no file may contain.
//!
//! A rule is a function from text to complaints, so that it is tested on a bad example of its own before it judges the
//! repository. Words that a rule looks for are put together from parts, or the rule would find itself.

#![allow(clippy::print_stderr, reason = "a warning of the house is for whoever runs it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

mod catalogue;
mod code;
mod edges;
mod repository;
mod rust_text;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The top of the repository.
fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What is not ours to judge: what git ignores or keeps for itself.
const NOT_OURS: &[&str] = &[".git", "target"];

/// Every text file of the repository with its path from the top, in order.
fn texts() -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(&top(), &mut found);
    found.sort();
    assert!(found.len() > 100, "only {} files were found: the walk is broken", found.len());
    found
}

fn collect(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_str().unwrap();
        // A file that someone makes and removes meanwhile (an editor's) is not of the repository.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && !NOT_OURS.contains(&name) {
            collect(&path, found);
        } else if kind.is_file()
            && !name.ends_with(".swp")
            && let Ok(text) = fs::read_to_string(&path)
        {
            found.push((path.strip_prefix(top()).unwrap().to_str().unwrap().to_owned(), text));
        }
    }
}

/// Fails with every complaint, one a line.
#[track_caller]
fn none(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}:\n  {}\n", complaints.join("\n  "));
}
