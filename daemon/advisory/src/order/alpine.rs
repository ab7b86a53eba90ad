//! The order of Alpine's versions: `number{.number}[letter]{_suffix[number]}[~commit][-r number]`.
//!
//! A version is read as a row of parts and rows are compared part by part. Where one row has a part that the other
//! has not, what the row goes on with decides: a pre-release suffix (`_rc1`) sorts before the end of the row,
//! everything else after it, and an earlier kind of part (a further number) after a later kind (a suffix).

use super::by_value;
use std::cmp::Ordering;

/// A row of parts.
#[derive(Clone, Debug)]
pub(crate) struct Version(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    /// The first number: by value.
    First(String),
    /// A further number: by value, unless one of the two begins with 0; then as the digits after a decimal point.
    Further(String),
    Letter(u8),
    /// A suffix by its place in the list; negative for pre-releases.
    Suffix(i8),
    SuffixNumber(String),
    Commit(String),
    Revision(String),
}

const BEFORE: [&str; 4] = ["alpha", "beta", "pre", "rc"];
const AFTER: [&str; 5] = ["cvs", "svn", "git", "hg", "p"];

impl Version {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected numbers with dots, a letter, _suffixes and -r with a number, as apk has them";
        read(text).map(Self).ok_or(EXPECTED)
    }
}

fn read(text: &str) -> Option<Vec<Part>> {
    let (first, mut rest) = number(text)?;
    let mut parts = vec![Part::First(first)];
    while let Some(after) = rest.strip_prefix('.') {
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        if end == 0 {
            return None;
        }
        parts.push(Part::Further(after[..end].to_owned()));
        rest = &after[end..];
    }
    if let Some(letter) = rest.bytes().next().filter(u8::is_ascii_lowercase) {
        parts.push(Part::Letter(letter));
        rest = &rest[1..];
    }
    while let Some(after) = rest.strip_prefix('_') {
        let end = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
        parts.push(Part::Suffix(suffix(&after[..end])?));
        rest = &after[end..];
        if let Some((value, after)) = number(rest) {
            parts.push(Part::SuffixNumber(value));
            rest = after;
        }
    }
    if let Some(after) = rest.strip_prefix('~') {
        let end = after.find(|c: char| !c.is_ascii_hexdigit() || c.is_ascii_uppercase()).unwrap_or(after.len());
        if end == 0 {
            return None;
        }
        parts.push(Part::Commit(after[..end].to_owned()));
        rest = &after[end..];
    }
    if let Some(after) = rest.strip_prefix("-r") {
        let (value, after) = number(after)?;
        parts.push(Part::Revision(value));
        rest = after;
    }
    rest.is_empty().then_some(parts)
}

/// Leading digits without leading zeros, and what follows them.
fn number(text: &str) -> Option<(String, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].trim_start_matches('0').to_owned(), &text[end..]))
}

fn suffix(name: &str) -> Option<i8> {
    let place = |list: &[&str]| list.iter().position(|s| *s == name).and_then(|i| i8::try_from(i).ok());
    place(&BEFORE).map(|i| i - 4).or_else(|| place(&AFTER))
}

impl Part {
    /// The kinds in the order in which a row has them; a missing part is the last kind.
    fn kind(part: Option<&Self>) -> u8 {
        match part {
            Some(Self::First(_)) => 0,
            Some(Self::Further(_)) => 1,
            Some(Self::Letter(_)) => 2,
            Some(Self::Suffix(_)) => 3,
            Some(Self::SuffixNumber(_)) => 4,
            Some(Self::Commit(_)) => 5,
            Some(Self::Revision(_)) => 6,
            None => 7,
        }
    }

    fn is_before(part: Option<&Self>) -> bool {
        matches!(part, Some(Self::Suffix(place)) if *place < 0)
    }
}

/// Two parts at the same place, of which either may be missing.
fn by_part(a: Option<&Part>, b: Option<&Part>) -> Ordering {
    use Part::{Commit, First, Further, Letter, Revision, Suffix, SuffixNumber};
    match (a, b) {
        (Some(Further(a)), Some(Further(b))) if a.starts_with('0') || b.starts_with('0') => a.cmp(b),
        (Some(First(a)), Some(First(b)))
        | (Some(Further(a)), Some(Further(b)))
        | (Some(SuffixNumber(a)), Some(SuffixNumber(b)))
        | (Some(Revision(a)), Some(Revision(b))) => by_value(a, b),
        (Some(Letter(a)), Some(Letter(b))) => a.cmp(b),
        (Some(Suffix(a)), Some(Suffix(b))) => a.cmp(b),
        (Some(Commit(a)), Some(Commit(b))) => a.cmp(b),
        (a, b) => Part::is_before(b).cmp(&Part::is_before(a)).then_with(|| Part::kind(b).cmp(&Part::kind(a))),
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let longest = self.0.len().max(other.0.len());
        (0..longest)
            .map(|i| by_part(self.0.get(i), other.0.get(i)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}
