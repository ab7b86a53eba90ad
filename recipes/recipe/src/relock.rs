//! What a program's lock file names, written into a release of a recipe: everything else of the text stays as it is.

use crate::{Error, LockedSource, Mistakes, read::mistake_in};
use anneal_content::Version;
use std::collections::BTreeSet;
use toml::de::DeTable;

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
    let releases = table.get_ref().get("release").and_then(|value| value.get_ref().as_array());
    let mut tables = releases.into_iter().flat_map(|list| list.iter()).filter_map(|one| one.get_ref().as_table());
    let release = tables
        .find(|table| table.get("version").and_then(|value| value.get_ref().as_str()) == Some(version.as_str()))
        .ok_or_else(|| refused("it has no [[release]] of this version"))?;
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
    fn a_release_that_is_not_there_is_refused() {
        assert!(with_locked("packages/a.toml", RECIPE, &Version::new("3").unwrap(), &locked(&[])).is_err());
        let inline = "release = [{ version = \"3\", date = \"2020-01-01\" }]\n";
        assert!(with_locked("packages/a.toml", inline, &Version::new("3").unwrap(), &locked(&["a"])).is_err());
    }
}
