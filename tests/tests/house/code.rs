//! Rules for every Rust file.

use crate::{none, rust_text::code_only, texts};

/// A file of more lines is more than one subject.
const LINES_MAX: usize = 700;
/// A file of more lines is worth a look.
const LINES_WARN: usize = 400;
/// The only folders that may leave the safe language: what makes a sandbox and what attacks one talk to the kernel.
const UNSAFE_HOMES: &[&str] = &["sandbox/", "tests/attack/program/"];
const UNSAFE: &str = concat!("un", "safe");
/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "core", "misc", "manager", "stuff", "shared"];
/// Crates that decide and never act. Their `clippy.toml` forbids single functions; this forbids the roads to them.
pub(crate) const PURE: &[&str] = &[
    "builder/attest",
    "builder/checks",
    "builder/content",
    "builder/interface",
    "builder/oci",
    "builder/plan",
    "daemon/advisory",
    "daemon/ledger",
    "recipes/recipe",
    "sandbox/op",
];
const NOT_PURE: &[&str] =
    &["std::fs", "std::net", "std::process", "std::env", "SystemTime::now", "Instant::now", "HashMap", "HashSet"];

fn rust_files() -> Vec<(String, String)> {
    texts().into_iter().filter(|(path, _)| path.ends_with(".rs")).collect()
}

/// Applies a rule to every Rust file.
#[track_caller]
fn judge(rule: &str, complaints: fn(&str, &str) -> Vec<String>) {
    let all: Vec<String> = rust_files().iter().flat_map(|(path, text)| complaints(path, text)).collect();
    none(rule, &all);
}

fn opening(path: &str, text: &str) -> Vec<String> {
    if text.starts_with("//! ") { vec![] } else { vec![format!("{path}: does not open with `//!`")] }
}

#[test]
fn every_file_opens_by_saying_why_it_exists() {
    assert_eq!(opening("a.rs", "fn main() {}\n").len(), 1);
    judge("every .rs file opens with a line of `//!`", opening);
}

fn length(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines > LINES_MAX { vec![format!("{path}: {lines} lines, at most {LINES_MAX}")] } else { vec![] }
}

#[test]
fn no_file_is_longer_than_one_subject() {
    assert_eq!(length("a.rs", &"x\n".repeat(LINES_MAX)).len(), 0);
    assert_eq!(length("a.rs", &"x\n".repeat(LINES_MAX + 1)).len(), 1);
    for (path, text) in rust_files() {
        let lines = text.lines().count();
        if lines > LINES_WARN {
            eprintln!("warning: {path} has {lines} lines: is it still one subject?");
        }
    }
    judge("files are short", length);
}

fn empty_names(path: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    let modules = code.lines().filter_map(|line| {
        let at = line.find("mod ")?;
        line[at + 4..].split([';', '{', ' ']).next().map(str::to_owned)
    });
    let parts = path.trim_end_matches(".rs").split('/').map(str::to_owned);
    let bad = modules.chain(parts).filter(|name| EMPTY_NAMES.contains(&name.as_str()));
    bad.map(|name| format!("{path}: `{name}` is not the name of a subject")).collect()
}

#[test]
fn no_module_is_named_for_nothing() {
    assert_eq!(empty_names("daemon/src/util.rs", "").len(), 1);
    assert_eq!(empty_names("daemon/helpers/src/lib.rs", "").len(), 1);
    assert_eq!(empty_names("daemon/src/a.rs", "pub(crate) mod common {\n}").len(), 1);
    assert_eq!(empty_names("daemon/src/a.rs", "mod commons; // mod util\n").len(), 0);
    judge("a module is named for its subject", empty_names);
}

fn undone(path: &str, text: &str) -> Vec<String> {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let macros = [concat!("to", "do!"), concat!("unimple", "mented!"), concat!("db", "g!")];
    let whole = |line: &str, word: &str| line.split(|c: char| !c.is_alphanumeric()).any(|w| w == word);
    let code = code_only(text);
    let lines = text.lines().zip(code.lines()).enumerate();
    let bad = lines.filter(|(_, (line, code))| {
        words.iter().any(|word| whole(line, word)) || macros.iter().any(|name| code.contains(name))
    });
    bad.map(|(at, (line, _))| format!("{path}:{}: {}", at + 1, line.trim())).collect()
}

#[test]
fn nothing_is_left_undone_in_the_code() {
    let example = [concat!("// TO", "DO later"), concat!("to", "do!()"), concat!("\"to", "do!\""), "METHOD"];
    assert_eq!(undone("a.rs", &example.join("\n")).len(), 2);
    judge("open questions stand in docs/decisions, not in the code", undone);
}

/// Line numbers, from 0, where code leaves the safe language.
fn unsafe_lines(code: &str) -> Vec<usize> {
    let leaves = |line: &str| {
        line.match_indices(UNSAFE).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + UNSAFE.len()..]);
            let word = |c: char| c.is_alphanumeric() || c == '_';
            !before.ends_with(word) && !after.starts_with(word)
        })
    };
    code.lines().enumerate().filter(|(_, line)| leaves(line)).map(|(at, _)| at).collect()
}

fn unsafe_elsewhere(path: &str, text: &str) -> Vec<String> {
    if UNSAFE_HOMES.iter().any(|home| path.starts_with(home)) {
        return vec![];
    }
    let lines = unsafe_lines(&code_only(text));
    lines.into_iter().map(|at| format!("{path}:{}: only {} may do this", at + 1, UNSAFE_HOMES.join(" and "))).collect()
}

#[test]
fn only_the_sandbox_leaves_the_safe_language() {
    let example = format!("let x = {UNSAFE} {{ y() }};\n// {UNSAFE}\nlet {UNSAFE}_path = 1;\n");
    assert_eq!(unsafe_elsewhere("daemon/src/a.rs", &example).len(), 1);
    judge("unchecked code lives in the sandbox and in what attacks it", unsafe_elsewhere);
}

/// Whether a `SAFETY:` comment belongs to the statement that the line is in.
fn is_justified(lines: &[&str], code: &[&str], at: usize) -> bool {
    if lines[at].contains("SAFETY:") {
        return true;
    }
    for above in (0..at).rev() {
        if lines[above].contains("SAFETY:") {
            return true;
        }
        let code = code[above].trim();
        let statement_ended = code.ends_with([';', '{', '}']);
        if statement_ended || lines[above].trim().is_empty() {
            return false;
        }
    }
    false
}

fn unjustified(path: &str, text: &str) -> Vec<String> {
    let code = code_only(text);
    let (lines, code_lines): (Vec<&str>, Vec<&str>) = (text.lines().collect(), code.lines().collect());
    let opens = |at: &usize| {
        let after = code_lines[*at..].join(" ");
        let after = after.split_once(UNSAFE).map_or("", |(_, after)| after.trim_start());
        after.starts_with('{') || after.starts_with("impl")
    };
    let bad = unsafe_lines(&code).into_iter().filter(opens).filter(|at| !is_justified(&lines, &code_lines, *at));
    bad.map(|at| format!("{path}:{}: without a `SAFETY:` comment", at + 1)).collect()
}

#[test]
fn every_unchecked_block_says_why_it_is_sound() {
    let block = format!("{UNSAFE} {{ call() }}");
    assert_eq!(unjustified("a.rs", &format!("// SAFETY: why.\nlet x = {block};\n")).len(), 0);
    assert_eq!(unjustified("a.rs", &format!("// SAFETY: why.\nlet x = own(\n    {block},\n);\n")).len(), 0);
    assert_eq!(unjustified("a.rs", &format!("// SAFETY: why.\nlet x = 1;\nlet y = {block};\n")).len(), 1);
    assert_eq!(unjustified("a.rs", &format!("// calls\nlet y = {block};\n")).len(), 1);
    judge("each block of unchecked code has a `SAFETY:` comment", unjustified);
}

fn impure(path: &str, text: &str) -> Vec<String> {
    let pure = PURE.iter().any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with("/src/")));
    let test = path.ends_with("/tests.rs") || path.contains("/tests/");
    if !pure || test {
        return vec![];
    }
    let code = code_only(text);
    // Tests at the end of a file may do what they like.
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let found = |line: &str| NOT_PURE.iter().find(|name| line.contains(*name)).copied();
    let bad = code.lines().enumerate().filter_map(|(at, line)| Some((at, found(line)?)));
    bad.map(|(at, name)| format!("{path}:{}: `{name}` in a pure crate", at + 1)).collect()
}

#[test]
fn pure_crates_touch_nothing_outside() {
    assert_eq!(impure("builder/plan/src/a.rs", "use std::fs;\nfn f() {}\n").len(), 1);
    assert_eq!(impure("builder/plan/src/a.rs", "#[cfg(test)]\nmod t { use std::fs; }\n").len(), 0);
    assert_eq!(impure("builder/store/src/a.rs", "use std::fs;\n").len(), 0);
    judge("a pure crate takes bytes, times and settings as arguments", impure);
}

#[test]
fn pure_crates_share_one_list_of_forbidden_functions() {
    let texts = texts();
    let lists: Vec<(&String, &String)> =
        texts.iter().filter_map(|(path, text)| path.strip_suffix("/clippy.toml").map(|_| (path, text))).collect();
    let missing = PURE.iter().filter(|folder| !lists.iter().any(|(path, _)| path.starts_with(*folder)));
    none("each pure crate has a clippy.toml", &missing.map(|folder| format!("{folder}: none")).collect::<Vec<_>>());
    let (model, expected) = lists[0];
    let other = lists.iter().filter(|(_, text)| *text != expected);
    let complaints: Vec<String> = other.map(|(path, _)| format!("{path} differs from {model}")).collect();
    none("clippy reads the nearest file alone, so all are the same", &complaints);
}
