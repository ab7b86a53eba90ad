//! What a program's lock file names, or what a directory is packed to now, written into a release of a recipe: everything
//! else of the text stays as it is.

use crate::{Error, LockedSource, Mistakes, Source, read::mistake_in};
use anneal_content::Version;
use std::collections::BTreeSet;
use toml::de::{DeTable, DeValue};

/// The text of a package recipe in which a release has this `locked`, whether it had one before or not.
pub fn with_locked(
    path: &str,
    text: &str,
    version: &Version,
    locked: &BTreeSet<LockedSource>,
) -> Result<String, Mistakes> {
    crate::read::syntax(path, text)?;
    let (table, _) = DeTable::parse_recoverable(text);
    let refused = |reason: &str| mistake_in(path, text, Error::Unformattable { reason: reason.to_owned() });
    let release = table_where(table.get_ref(), "release", ("version", version.as_str()));
    let release = release.ok_or_else(|| refused("it has no [[release]] of this version"))?;
    let list = list_text(locked);
    let mut changed = text.to_owned();
    match (release.get("locked"), release.get("date")) {
        (Some(value), _) => changed.replace_range(value.span(), &list),
        (None, Some(date)) => {
            let end = date.span().end;
            let line = text.get(end..).and_then(|rest| rest.find('\n')).map_or(text.len(), |newline| end + newline);
            changed.insert_str(line, &format!("\nlocked = {list}"));
        }
        (None, None) => return Err(refused("the release has no `date` behind which the list could stand")),
    }
    let count = |text: &str| text.parse::<toml::Table>().ok().map(|table| table.len());
    match count(&changed) {
        after @ Some(_) if after == count(text) => Ok(changed),
        _ => Err(refused("write the release as a [[release]] of its own, and the list can be added")),
    }
}

/// The text of a package recipe in which these sources of a release, known by their files, have these digests and sizes.
pub fn with_digests(path: &str, text: &str, version: &Version, sources: &[Source]) -> Result<String, Mistakes> {
    crate::read::syntax(path, text)?;
    let (table, _) = DeTable::parse_recoverable(text);
    let refused = |reason: &str| mistake_in(path, text, Error::Unformattable { reason: reason.to_owned() });
    let release = table_where(table.get_ref(), "release", ("version", version.as_str()));
    let release = release.ok_or_else(|| refused("it has no [[release]] of this version"))?;
    let mut edits = Vec::new();
    for source in sources {
        let found = table_where(release, "source", ("file", source.file.as_str()));
        let (sha256, bytes) = found
            .and_then(|found| Some((found.get("sha256")?.span(), found.get("bytes")?.span())))
            .ok_or_else(|| refused("the release has no [[release.source]] of this file"))?;
        edits.push((sha256, format!("\"{}\"", source.sha256.hex())));
        edits.push((bytes, source.bytes.to_string()));
    }
    edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut changed = text.to_owned();
    for (span, new) in edits {
        changed.replace_range(span, &new);
    }
    Ok(changed)
}

/// The table of an array of tables in which a key has a value.
fn table_where<'t>(table: &'t DeTable<'t>, array: &str, (key, value): (&str, &str)) -> Option<&'t DeTable<'t>> {
    let is = |found: &DeTable<'_>| found.get(key).and_then(|found| found.get_ref().as_str()) == Some(value);
    let array = table.get(array).and_then(|found| found.get_ref().as_array())?;
    array.iter().map(|one| one.get_ref()).filter_map(DeValue::as_table).find(|found| is(found))
}

/// As the formatter writes it: one line where all of it fits, sorted as texts.
fn list_text(locked: &BTreeSet<LockedSource>) -> String {
    let lines: BTreeSet<_> = locked.iter().map(|line| toml::Value::from(line.to_string()).to_string()).collect();
    match lines.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => "[]".to_owned(),
        [one] if one.len() < ONE_LINE_MAX => format!("[{one}]"),
        several => format!("[\n  {},\n]", several.join(",\n  ")),
    }
}

/// The longest text that stands in one line with its key.
const ONE_LINE_MAX: usize = 100 - "locked = []".len();

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_content::BlobDigest;

    const RECIPE: &str = "name = \"a\" # here\n\n[[release]]\nversion = \"1\"\ndate = \"2020-01-01\" # a day\n\n\
        [[release]]\nversion = \"2\"\ndate = 2021-01-01\n[[release.source]]\nfile = \"a\"\n";

    fn locked(names: &[&str]) -> BTreeSet<LockedSource> {
        let one = |name: &&str| format!("crate:{name}/1.0.0 {} 7", BlobDigest::of(b"x").hex()).parse().unwrap();
        names.iter().map(one).collect()
    }

    #[test]
    fn a_list_is_written_behind_the_day_and_later_in_place_of_the_one_before() {
        let (two, digest) = (Version::new("2").unwrap(), BlobDigest::of(b"x").hex());
        let once = with_locked("packages/a.toml", RECIPE, &two, &locked(&["b", "a"])).unwrap();
        let list = format!("\nlocked = [\n  \"crate:a/1.0.0 {digest} 7\",\n  \"crate:b/1.0.0 {digest} 7\",\n]");
        assert_eq!(once, RECIPE.replace("2021-01-01", &format!("2021-01-01{list}")));
        let again = with_locked("packages/a.toml", &once, &two, &locked(&["c"])).unwrap();
        let list = format!("\nlocked = [\"crate:c/1.0.0 {digest} 7\"]");
        assert_eq!(again, RECIPE.replace("2021-01-01", &format!("2021-01-01{list}")));
        for text in [&once, &again] {
            let formatted = crate::format(crate::Kind::Package, "packages/a.toml", text).unwrap();
            assert!(formatted.contains(&list_text(&locked(&["b", "a"]))) || formatted.contains(&list), "{formatted}");
        }
        let first = with_locked("packages/a.toml", RECIPE, &Version::new("1").unwrap(), &locked(&[])).unwrap();
        assert!(first.contains("# a day\nlocked = []\n\n[[release]]"), "{first}");
    }

    #[test]
    fn a_digest_is_written_in_place_of_the_one_before_and_of_its_source_alone() {
        let source = |file: &str| Source {
            sha256: BlobDigest::of(b"new"),
            bytes: 77,
            file: file.parse().unwrap(),
            unpack: None,
            places: vec!["path:..".parse().unwrap()],
        };
        let one = |version: &str| {
            let old = "0".repeat(64);
            format!(
                "[[release]]\nversion = \"{version}\"\n[[release.source]]\nfile = \"a\"\nsha256 = \"{old}\" # of a\n\
                 bytes = 1_0 # small\n[[release.source]]\nsha256 = \"{old}\"\nbytes = 2\nfile = \"b\"\n"
            )
        };
        let (text, new) = (format!("{}{}", one("1"), one("2")), BlobDigest::of(b"new").hex());
        let two = Version::new("2").unwrap();
        let changed = with_digests("packages/a.toml", &text, &two, &[source("a")]).unwrap();
        let of_two = one("2").replacen(&"0".repeat(64), &new, 1).replace("1_0", "77");
        assert_eq!(changed, format!("{}{of_two}", one("1")));
        assert!(with_digests("packages/a.toml", &text, &two, &[source("c")]).is_err());
        assert!(with_digests("packages/a.toml", &text, &Version::new("3").unwrap(), &[source("a")]).is_err());
    }

    #[test]
    fn a_release_that_is_not_there_is_refused() {
        assert!(with_locked("packages/a.toml", RECIPE, &Version::new("3").unwrap(), &locked(&[])).is_err());
        let inline = "release = [{ version = \"3\", date = \"2020-01-01\" }]\n";
        assert!(with_locked("packages/a.toml", inline, &Version::new("3").unwrap(), &locked(&["a"])).is_err());
    }
}
