//! The order of plain release numbers: numbers with dots, and at most a letter after the last.
//!
//! `1.2.9 < 1.2.11`, `1.2 = 1.2.0`, `1.1.1 < 1.1.1k < 1.1.1z < 1.1.1za`. Anything else (`1.0-rc1`, `1.0b2`) has no
//! place: whether it comes before or after `1.0` is its project's business.

use super::by_value;
use std::cmp::Ordering;

/// A plain release number.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// Digits without leading zeros; the last is never `0`, so that `1.2` and `1.2.0` are one version.
    numbers: Vec<String>,
    letter: String,
}

impl Version {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected numbers with dots and at most a letter at the end, such as 1.2.13 or 1.1.1k";
        let end = text.trim_end_matches(|c: char| c.is_ascii_lowercase()).len();
        let (digits, letter) = text.split_at(end);
        // After z comes za: nobody numbers further, and `rc` or `beta` must not pass for letters.
        let letter_ok = letter.len() <= 1 || (letter.len() == 2 && letter.starts_with('z'));
        let parts: Vec<&str> = digits.split('.').collect();
        let numbers_ok = parts.iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
        if !letter_ok || !numbers_ok {
            return Err(EXPECTED);
        }
        let mut numbers: Vec<String> = parts.iter().map(|p| p.trim_start_matches('0').to_owned()).collect();
        while numbers.last().is_some_and(String::is_empty) {
            numbers.pop();
        }
        Ok(Self { numbers, letter: letter.to_owned() })
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = self.numbers.iter().zip(&other.numbers).map(|(a, b)| by_value(a, b));
        let first = numbers.fold(Ordering::Equal, Ordering::then);
        first.then(self.numbers.len().cmp(&other.numbers.len())).then_with(|| by_value(&self.letter, &other.letter))
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
