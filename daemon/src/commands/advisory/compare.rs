//! Two versions in the order of an ecosystem; needs nothing but the versions.

use crate::{
    error::{Error, Result, io},
    output::{Output, printable},
};
use serde_json::json;
use std::{cmp::Ordering, io::BufRead as _};

/// The longest line that is read from standard input.
const LINE_BYTES_MAX: usize = 64 << 10;

fn sign(ordering: Ordering) -> &'static str {
    match ordering {
        Ordering::Less => "<",
        Ordering::Equal => "=",
        Ordering::Greater => ">",
    }
}

pub(super) fn one(ecosystem: &str, a: &str, b: &str, output: &Output) -> Result<()> {
    let answer = anneal_advisory::compare(ecosystem, a, b);
    let sign = answer.as_ref().map_or("?", |ordering| sign(*ordering));
    output.result(|| format!("{sign}\n"), &json!({ "a": a, "b": b, "order": sign }))?;
    answer.map(drop).map_err(|unknown| Error::No(unknown.to_string()))
}

/// Pairs from standard input, one a line, parted by white space; each is answered by one sign.
pub(super) fn many(ecosystem: &str, output: &Output) -> Result<()> {
    let (mut text, mut values) = (String::new(), Vec::new());
    for line in stdin_lines()? {
        let (a, b) = pair(&line)?;
        let sign = anneal_advisory::compare(ecosystem, a, b).map_or("?", sign);
        text.push_str(sign);
        text.push('\n');
        values.push(json!({ "a": a, "b": b, "order": sign }));
    }
    output.result(|| text.clone(), &values)
}

fn pair(line: &str) -> Result<(&str, &str)> {
    let mut words = line.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(a), Some(b), None) => Ok((a, b)),
        _ => Err(Error::Input(format!("`{}` is not two versions with a space between", printable(line)))),
    }
}

/// The lines of standard input that are not empty.
pub(super) fn stdin_lines() -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(io("read", "standard input"))?;
        if line.len() > LINE_BYTES_MAX {
            return Err(Error::Input(format!("a line of standard input has more than {LINE_BYTES_MAX} bytes")));
        }
        if !line.trim().is_empty() {
            lines.push(line.trim().to_owned());
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_two_words() {
        assert_eq!(pair("1.0   1.1").unwrap(), ("1.0", "1.1"));
        assert!(pair("1.0").is_err() && pair("1 2 3").is_err());
    }

    #[test]
    fn every_order_has_a_sign() {
        let order = |a, b| anneal_advisory::compare("Debian", a, b).map(sign).unwrap();
        assert_eq!([order("1.0~rc1", "1.0"), order("1.0", "1.0"), order("1:0", "9")], ["<", "=", ">"]);
    }
}
