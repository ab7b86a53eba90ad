//! A release more, written into a recipe's text: everything else of the text stays as it is, byte for byte.
//!
//! [`moved`] says where the new release's file probably is: where the last one is, with the version in its place.
//! [`with_release`] writes. Neither looks whether the file is there.

use crate::{Error, Kind, LockedSource, Mistakes, Place, Release, format, read::mistake_in};
use anneal_content::Version;
use std::{fmt::Write as _, ops::Range};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A place, a file's name or whatever else with one version instead of another; `None` where the version isn't in it.
///
/// A version is also found with `_` or `-` instead of its dots, and a directory that is named for its first two numbers
/// moves along. Part of a longer number is not the version.
pub fn moved(text: &str, from: &Version, to: &Version) -> Option<String> {
    let spelled = |separator: &str| [from, to].map(|version| version.as_str().replace('.', separator));
    for separator in [".", "_", "-"] {
        let [old, new] = spelled(separator);
        let found = replaced(text, &old, &new);
        if found.as_deref().is_some_and(|found| found != text) || (old == new && found.is_some()) {
            return found.map(|found| series_moved(&found, from, to));
        }
    }
    None
}

/// A place with one version instead of another, if the version is in it and a place comes of it.
pub fn moved_place(place: &Place, from: &Version, to: &Version) -> Option<Place> {
    moved(&place.to_string(), from, to)?.parse().ok()
}

/// Every occurrence that is not part of a longer number.
fn replaced(text: &str, old: &str, new: &str) -> Option<String> {
    let (mut out, mut rest, mut found) = (String::new(), text, false);
    while let Some(at) = rest.find(old) {
        let (before, after) = (rest.get(..at)?, rest.get(at + old.len()..)?);
        let all_before = format!("{out}{before}");
        out.push_str(before);
        if ends_in_number(&all_before) || begins_with_number(after) {
            out.push_str(old);
        } else {
            out.push_str(new);
            found = true;
        }
        rest = after;
    }
    out.push_str(rest);
    found.then_some(out)
}

fn ends_in_number(text: &str) -> bool {
    let mut back = text.chars().rev();
    match back.next() {
        Some('.') => back.next().is_some_and(|c| c.is_ascii_digit()),
        last => last.is_some_and(|c| c.is_ascii_digit()),
    }
}

fn begins_with_number(text: &str) -> bool {
    let mut ahead = text.chars();
    match ahead.next() {
        Some('.') => ahead.next().is_some_and(|c| c.is_ascii_digit()),
        first => first.is_some_and(|c| c.is_ascii_digit()),
    }
}

/// Directories such as `/1.26/` or `/v1.26/` of version 1.26.3.
fn series_moved(text: &str, from: &Version, to: &Version) -> String {
    let series = |version: &Version| {
        let mut numbers = version.as_str().split('.');
        let pair = (numbers.next()?.to_owned(), numbers.next()?.to_owned());
        numbers.next().map(|_| format!("{}.{}", pair.0, pair.1))
    };
    let (Some(old), Some(new)) = (series(from), series(to)) else { return text.to_owned() };
    let part = |part: &str| match part.strip_prefix('v') {
        Some(rest) if rest == old => format!("v{new}"),
        None if part == old => new.clone(),
        _ => part.to_owned(),
    };
    text.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The text of a package recipe with one more release, behind the others or before one of them, and that one selected
/// where `select` says so.
pub fn with_release(
    path: &str,
    text: &str,
    release: &Release,
    before: Option<&Version>,
    select: bool,
) -> Result<String, Mistakes> {
    crate::read::syntax(path, text)?;
    let (table, _) = DeTable::parse_recoverable(text);
    let refused = |reason: &str| mistake_in(path, text, Error::Unformattable { reason: reason.to_owned() });
    let releases = table.get_ref().get("release").and_then(|value| value.get_ref().as_array());
    let releases = releases.ok_or_else(|| refused("it has no [[release]]"))?;
    let block = format(Kind::Package, path, &release_text(release))?;
    let at = match before {
        None => releases.iter().last().map(|last| (line_after(text, end_of(last)), format!("\n{block}"))),
        Some(version) => releases
            .iter()
            .find(|release| version_of(release) == Some(version.as_str()))
            .map(|release| (with_comments_above(text, release.span().start), format!("{block}\n"))),
    };
    let (at, block) = at.ok_or_else(|| refused("it has no [[release]] beside which the new one could stand"))?;
    let mut edits: Vec<(Range<usize>, String)> = vec![(at..at, block)];
    if select {
        let selected = table.get_ref().get("version").ok_or_else(|| refused("it has no `version`"))?;
        edits.push((selected.span(), format!("\"{}\"", release.version)));
    }
    edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut changed = text.to_owned();
    if at == text.len() && !text.ends_with('\n') {
        changed.push('\n');
        edits.iter_mut().filter(|(span, _)| span.start == at).for_each(|(span, _)| *span = at + 1..at + 1);
    }
    for (span, new) in edits {
        changed.replace_range(span, &new);
    }
    match changed.parse::<toml::Table>() {
        Ok(after) if after.get("release").and_then(|r| r.as_array()).map(Vec::len) == Some(releases.len() + 1) => {
            Ok(changed)
        }
        _ => Err(refused("write every release as a [[release]] of its own, and another can be added")),
    }
}

/// The text of a package recipe with another of its releases selected.
pub fn with_selected(path: &str, text: &str, version: &Version) -> Result<String, Mistakes> {
    crate::read::syntax(path, text)?;
    let (table, _) = DeTable::parse_recoverable(text);
    let refused = |reason: &str| mistake_in(path, text, Error::Unformattable { reason: reason.to_owned() });
    let listed = table.get_ref().get("release").and_then(|value| value.get_ref().as_array());
    if !listed.is_some_and(|all| all.iter().any(|release| version_of(release) == Some(version.as_str()))) {
        return Err(refused(&format!("it lists no release {version} that could be selected")));
    }
    let selected = table.get_ref().get("version").ok_or_else(|| refused("it has no `version`"))?;
    let mut changed = text.to_owned();
    changed.replace_range(selected.span(), &format!("\"{version}\""));
    Ok(changed)
}

/// A release as it stands in a recipe.
fn release_text(release: &Release) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut text = format!("[[release]]\nversion = \"{}\"\ndate = \"{}\"\n", release.version, release.date);
    let locked: Vec<_> = release.sources.iter().filter_map(LockedSource::from_source).collect();
    if !locked.is_empty() {
        let lines: Vec<_> = locked.iter().map(|line| quoted(&line.to_string())).collect();
        let _ = writeln!(text, "locked = [{}]", lines.join(", "));
    }
    for source in release.sources.iter().filter(|source| LockedSource::from_source(source).is_none()) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "[[release.source]]\nsha256 = \"{}\"\nbytes = {}", source.sha256.hex(), source.bytes);
        let _ = writeln!(text, "file = {}", quoted(source.file.as_str()));
        if let Some(unpack) = &source.unpack {
            let _ = writeln!(text, "unpack = {}", quoted(unpack.as_str()));
        }
        let places: Vec<_> = source.places.iter().map(|place| quoted(&place.to_string())).collect();
        let _ = writeln!(text, "places = [{}]", places.join(", "));
    }
    text
}

fn version_of<'t>(release: &'t Spanned<DeValue<'_>>) -> Option<&'t str> {
    release.get_ref().as_table()?.get("version")?.get_ref().as_str()
}

/// Where the last value in a table ends.
fn end_of(value: &Spanned<DeValue<'_>>) -> usize {
    let inner = match value.get_ref() {
        DeValue::Table(table) => table.iter().map(|(_, value)| end_of(value)).max(),
        DeValue::Array(array) => array.iter().map(end_of).max(),
        _ => None,
    };
    value.span().end.max(inner.unwrap_or(0))
}

/// The start of the line that follows a place.
fn line_after(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |line| at + line + 1)
}

/// The start of the line of a place, or of the comments directly above it.
fn with_comments_above(text: &str, at: usize) -> usize {
    let start_of_line = |at: usize| text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |line| line + 1);
    let mut start = start_of_line(at);
    while start > 0 {
        let above = start_of_line(start - 1);
        if !text.get(above..start).is_some_and(|line| line.trim_start().starts_with('#')) {
            break;
        }
        start = above;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::new(text).unwrap()
    }

    #[track_caller]
    fn check_moved(text: &str, from: &str, to: &str, expected: Option<&str>) {
        assert_eq!(moved(text, &version(from), &version(to)).as_deref(), expected);
    }

    #[test]
    fn a_place_moves_with_the_version_that_is_in_it() {
        check_moved("https://a.example/z-1.2.11.tar.gz", "1.2.11", "1.2.13", Some("https://a.example/z-1.2.13.tar.gz"));
        check_moved("crate:libz-sys/1.1.8", "1.1.8", "1.1.9", Some("crate:libz-sys/1.1.9"));
        check_moved("https://a.example/pcre2_10_42.zip", "10.42", "10.43", Some("https://a.example/pcre2_10_43.zip"));
        check_moved(
            "https://a.example/1.26/p-1.26.3.tar.xz",
            "1.26.3",
            "1.28.0",
            Some("https://a.example/1.28/p-1.28.0.tar.xz"),
        );
        check_moved(
            "https://a.example/tzdata2024a.tar.gz",
            "2024a",
            "2025b",
            Some("https://a.example/tzdata2025b.tar.gz"),
        );
    }

    #[test]
    fn a_longer_number_is_another_version() {
        check_moved("crate:libz-sys/1.1.8", "1.2.11", "1.2.13", None);
        check_moved("https://a.example/z-11.2.tar.gz", "1.2", "1.3", None);
        check_moved("https://a.example/z-1.2.1.tar.gz", "1.2", "1.3", None);
        check_moved("https://a.example/1.2.1/z-1.2.tar.gz", "1.2", "1.3", Some("https://a.example/1.2.1/z-1.3.tar.gz"));
    }

    const RECIPE: &str = "# head\nname = \"a\"\nversion = '1.0' # built\n\n# the first\n[[release]]\nversion = \"1.0\"\n\
        date = \"2020-01-01\"\n[[release.source]]\nfile = \"a-1.0.tgz\" # as upstream has it\n\n[build] # how\nsteps = ['x']\n";

    fn release(to: &str) -> Release {
        let source = crate::Source {
            sha256: anneal_content::BlobDigest::of(b""),
            bytes: 7,
            file: format!("a-{to}.tgz").parse().unwrap(),
            unpack: Some(".".parse().unwrap()),
            places: vec![format!("https://a.example/a-{to}.tgz").parse().unwrap()],
        };
        Release { version: version(to), date: "2021-02-03".parse().unwrap(), sources: vec![source] }
    }

    #[test]
    fn a_release_is_added_behind_the_last_and_nothing_else_moves() {
        let changed = with_release("packages/a.toml", RECIPE, &release("1.1"), None, true).unwrap();
        let block = format!(
            "\n[[release]]\nversion = \"1.1\"\ndate = \"2021-02-03\"\n[[release.source]]\nsha256 = \"{}\"\nbytes = 7\n\
             file = \"a-1.1.tgz\"\nunpack = \".\"\nplaces = [\"https://a.example/a-1.1.tgz\"]\n",
            anneal_content::BlobDigest::of(b"").hex()
        );
        assert_eq!(changed.replace(&block, ""), RECIPE.replace("'1.0' #", "\"1.1\" #"));
        assert!(changed.contains("as upstream has it\n\n[[release]]\nversion = \"1.1\""), "{changed}");
    }

    #[test]
    fn another_listed_release_is_selected_and_nothing_else_moves() {
        let two = RECIPE.replace("[build]", "[[release]]\nversion = \"1.1\"\n\n[build]");
        let changed = with_selected("packages/a.toml", &two, &version("1.1")).unwrap();
        assert_eq!(changed, two.replace("version = '1.0' # built", "version = \"1.1\" # built"));
        assert!(with_selected("packages/a.toml", &two, &version("1.2")).is_err());
    }

    #[test]
    fn an_older_release_stands_before_the_one_that_it_is_older_than_and_need_not_be_selected() {
        let changed = with_release("packages/a.toml", RECIPE, &release("0.9"), Some(&version("1.0")), false).unwrap();
        let (first, second) = (changed.find("\"0.9\"").unwrap(), changed.find("# the first\n[[release]]").unwrap());
        assert!(first < second && changed.contains("version = '1.0' # built"), "{changed}");
    }

    #[test]
    fn a_recipe_without_a_last_line_end_or_with_releases_in_one_value_is_not_broken() {
        let short = "version = \"1.0\"\n[[release]]\nversion = \"1.0\"";
        let changed = with_release("packages/a.toml", short, &release("1.1"), None, true).unwrap();
        assert!(changed.contains("[[release]]\nversion = \"1.0\"\n\n[[release]]\nversion = \"1.1\""), "{changed}");
        let inline = "version = \"1.0\"\nrelease = [{ version = \"1.0\" }]\n";
        assert!(with_release("packages/a.toml", inline, &release("1.1"), None, true).is_err());
    }
}
