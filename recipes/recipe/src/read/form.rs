//! The forms of texts that have no type of their own.

use crate::{
    Error,
    error::{format_error, shown},
};
use anneal_content::BlobDigest;

/// The longest line for people.
const LINE_MAX: usize = 500;

/// What `stop-signal` may be.
const SIGNALS: [&str; 8] = ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGKILL"];

/// What the sandbox itself sets for every build.
const RESERVED: [&str; 3] = ["OUT", "JOBS", "SOURCE_DATE_EPOCH"];

/// One line for people.
pub(super) fn line(text: &str) -> Result<String, Error> {
    let form = "one line of at most 500 characters, with no space around it";
    let fits = !text.is_empty() && text.chars().count() <= LINE_MAX && text.trim() == text;
    if fits && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format_error("line", form, text))
    }
}

/// What a catalogue calls another one that it builds on.
pub(crate) fn upstream(text: &str) -> Result<String, Error> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
    let form = "the name that anneal.toml gives it, of a-z, 0-9, `.`, `_` and `-`";
    if fits { Ok(text.to_owned()) } else { Err(format_error("name of an upstream catalogue", form, text)) }
}

/// A page's address.
pub(super) fn url(text: &str) -> Result<String, Error> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains('@'));
    if fits && text.len() <= LINE_MAX && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(format_error("address", "an address such as \"https://zlib.net\"", text))
}

/// A package URL without a version.
pub(super) fn purl(text: &str) -> Result<String, Error> {
    let form = "type and name without a version, such as \"pkg:generic/zlib\"";
    let rest = text.strip_prefix("pkg:").and_then(|rest| rest.split_once('/'));
    let fits = rest.is_some_and(|(kind, name)| {
        let kind_fits = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        kind_fits && !name.is_empty() && !name.ends_with('/') && !name.contains(['@', '?', '#'])
    });
    if fits && text.len() <= LINE_MAX && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(format_error("package URL", form, text))
}

/// The beginning of a CPE name (NIST IR 7695, 6.2: a formatted string) that says what it is and of whom, and no version.
pub(super) fn cpe(text: &str) -> Result<String, Error> {
    let form = "part, vendor and product without a version, such as \"cpe:2.3:a:zlib:zlib\"";
    let parts: Vec<&str> = text.strip_prefix("cpe:2.3:").map(|rest| rest.split(':').collect()).unwrap_or_default();
    let word = |part: &&str| {
        let mut bytes = part.bytes();
        while let Some(byte) = bytes.next() {
            let plain = byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
            // Anything else that can be printed stands behind a backslash.
            let mut is_quoted = || byte == b'\\' && bytes.next().is_some_and(|b| b.is_ascii_punctuation() && b != b':');
            if !plain && !is_quoted() {
                return false;
            }
        }
        !part.is_empty()
    };
    match parts.as_slice() {
        ["a" | "o" | "h", vendor, product] if word(vendor) && word(product) && text.len() <= LINE_MAX => {
            Ok(text.to_owned())
        }
        _ => Err(format_error("CPE name", form, text)),
    }
}

/// 64 hex digits.
pub(super) fn sha256(text: &str) -> Result<BlobDigest, Error> {
    format!("sha256:{text}").parse().map_err(|_| {
        let hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let odd = if hex { "" } else { ", not all of them such digits" };
        Error::Digest { found: shown(text), len: text.chars().count(), odd }
    })
}

/// A shell step: a text with something in it.
pub(super) fn step(text: &str) -> Result<String, Error> {
    if text.trim().is_empty() || text.contains('\0') {
        return Err(format_error("step", "a shell command", text));
    }
    Ok(text.to_owned())
}

/// An argument or a value of the environment: anything without NUL.
pub(super) fn argument(text: &str) -> Result<String, Error> {
    if text.contains('\0') {
        return Err(format_error("argument", "a text without NUL", text));
    }
    Ok(text.to_owned())
}

/// The name of a variable.
pub(super) fn variable(text: &str) -> Result<String, Error> {
    let fits = !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fits { Ok(text.to_owned()) } else { Err(format_error("variable", "letters, digits and `_`", text)) }
}

/// The name of a variable of a build.
pub(super) fn build_variable(text: &str) -> Result<String, Error> {
    if RESERVED.contains(&text) {
        let form = "another name: every build is given OUT, JOBS and SOURCE_DATE_EPOCH";
        return Err(format_error("variable of a recipe", form, text));
    }
    variable(text)
}

/// The key of a label or an annotation.
pub(super) fn label(text: &str) -> Result<String, Error> {
    let fits = !text.is_empty() && text.len() <= LINE_MAX && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err(format_error("label", "printable ASCII without spaces", text)) }
}

/// A signal by its name.
pub(super) fn signal(text: &str) -> Result<String, Error> {
    if SIGNALS.contains(&text) {
        return Ok(text.to_owned());
    }
    let form = "one of SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGKILL";
    Err(format_error("signal", form, text))
}

/// A login name.
pub(super) fn login(text: &str) -> Result<String, Error> {
    let fits = (1..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b));
    let form = "1 to 32 of a-z, 0-9, `_` and `-`, beginning with a letter or `_`";
    if fits { Ok(text.to_owned()) } else { Err(format_error("user name", form, text)) }
}

/// The path of an HTTP request.
pub(super) fn request_path(text: &str) -> Result<String, Error> {
    let fits = text.starts_with('/') && text.len() <= LINE_MAX && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err(format_error("request path", "a path such as \"/index.html\"", text)) }
}
