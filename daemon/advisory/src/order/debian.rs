//! The order of Debian's versions, `[epoch:]upstream[-revision]`, as dpkg has it.
//!
//! Each part is read as text and numbers in turns. In text, letters sort before all else, and `~` sorts before
//! everything, even before the end. A number that is not there counts as 0, so `1.dfsg` and `1.dfsg00` are equal: the
//! crate `debversion` tells these apart, which is why it is not used.

use super::by_value;
use std::cmp::Ordering;

/// A version taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    epoch: u32,
    upstream: String,
    revision: String,
}

impl Version {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected [epoch:]upstream[-revision], as dpkg has them";
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) if epoch.bytes().all(|b| b.is_ascii_digit()) => {
                (epoch.parse().map_err(|_| EXPECTED)?, rest)
            }
            Some(_) => return Err(EXPECTED),
            None => (0, text),
        };
        let (upstream, revision) = match rest.rsplit_once('-') {
            Some((_, "")) => return Err(EXPECTED),
            Some(parts) => parts,
            None => (rest, ""),
        };
        let allowed = |text: &str, more: &[u8]| text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b));
        let begins = upstream.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !begins || !allowed(upstream, b".+~:-") || !allowed(revision, b".+~") {
            return Err(EXPECTED);
        }
        Ok(Self { epoch, upstream: upstream.to_owned(), revision: revision.to_owned() })
    }
}

/// Text and numbers in turns.
fn by_part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (a_text, b_text) = (split(&mut a, |c| !c.is_ascii_digit()), split(&mut b, |c| !c.is_ascii_digit()));
        let (a_number, b_number) = (split(&mut a, |c| c.is_ascii_digit()), split(&mut b, |c| c.is_ascii_digit()));
        let number = by_value(a_number.trim_start_matches('0'), b_number.trim_start_matches('0'));
        let order = by_text(a_text, b_text).then(number);
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes off the front what the rule holds for.
fn split<'a>(text: &mut &'a str, rule: fn(char) -> bool) -> &'a str {
    let end = text.find(|c| !rule(c)).unwrap_or(text.len());
    let (front, rest) = text.split_at(end);
    *text = rest;
    front
}

fn by_text(a: &str, b: &str) -> Ordering {
    let weight = |byte: Option<u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(letter),
        Some(other) => i32::from(other) + 256,
    };
    let longest = a.len().max(b.len());
    let at = |text: &str, i: usize| weight(text.as_bytes().get(i).copied());
    (0..longest).map(|i| at(a, i).cmp(&at(b, i))).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| by_part(&self.upstream, &other.upstream))
            .then_with(|| by_part(&self.revision, &other.revision))
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
