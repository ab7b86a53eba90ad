//! `go.sum`: modules, and the `go.mod` files of all that were considered.
//!
//! It keeps versions that are no longer used, too. All of them are taken: which ones a build reads is known only to Go.

use super::{Lines, LockedFile, Pinned};
use crate::Error;

const AGAIN: &str = "`go mod tidy` writes it again";

pub(super) fn read(lines: &Lines<'_>) -> Result<Vec<LockedFile>, Error> {
    let mut files = Vec::new();
    let mut at = 0;
    for line in lines.text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [module, version, sum] if is_sum(sum) => {
                let place = lines.place(start, &format!("go:{module}@{version}"))?;
                files.push(LockedFile { places: vec![place], pinned: Pinned::GoSum((*sum).to_owned()) });
            }
            [_, _, sum] => {
                let reason = format!("`{sum}` is not a hash that is known here: expected `h1:` and 44 characters");
                return Err(lines.wrong(start, reason, AGAIN));
            }
            _ => return Err(lines.wrong(start, "a line has a module, a version and a hash", AGAIN)),
        }
    }
    Ok(files)
}

/// `h1:` and a SHA-256 in base64.
fn is_sum(text: &str) -> bool {
    text.strip_prefix("h1:").and_then(|rest| rest.strip_suffix('=')).is_some_and(|rest| {
        rest.len() == 43 && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
    })
}
