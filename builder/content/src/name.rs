//! Names and versions, each with the rule it follows; a value exists only if the rule holds.

use crate::{Error, error::shown};
use std::{fmt, str::FromStr};

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks the rule.
            pub fn new(text: impl Into<String>) -> Result<Self, Error> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) }
                else { Err(Error::Name { kind: $kind, rule: $rule, found: shown(&text) }) }
            }
            /// The name as text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(&self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{:?}", self.0) }
        }
        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> { Self::new(text) }
        }
        impl AsRef<str> for $name { fn as_ref(&self) -> &str { &self.0 } }
        impl std::borrow::Borrow<str> for $name { fn borrow(&self) -> &str { &self.0 } }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_str(&self.0) }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(d)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

fn slug(text: &str, extra: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    (1..=64).contains(&text.len())
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || extra.contains(c))
}

name_type!(
    /// The name of a package recipe, such as `zlib`.
    PackageName, "package name",
    "1 to 64 of a-z, 0-9, `.`, `_`, `-`, beginning and ending with a letter or digit",
    |t| slug(t, "._-"));
name_type!(
    /// The name of an image recipe and of its repository, such as `nginx` or `team/nginx` (OCI's rule).
    ImageName, "image name",
    "parts joined by `/`, each 1 to 64 of a-z, 0-9, single `.`, `_`, `-` between letters or digits",
    |t| t.len() <= 200 && t.split('/').all(|part| slug(part, "._-") && oci_separators(part)));
name_type!(
    /// An output of a package: `out` is what runs, `dev` what dependents compile against.
    OutputName, "output name",
    "1 to 64 of a-z, 0-9 and `-`",
    |t| slug(t, "-"));
name_type!(
    /// An OCI tag.
    Tag, "tag",
    "1 to 128 of A-Z, a-z, 0-9, `.`, `_`, `-`, not beginning with `.` or `-`",
    |t| (1..=128).contains(&t.len()) && !t.starts_with(['.', '-'])
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
name_type!(
    /// An upstream version, as upstream writes it. Order is the business of `anneal-advisory`.
    Version, "version",
    "1 to 128 printable ASCII characters without spaces, slashes or quotes",
    |t| (1..=128).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_graphic() && !b"/\\\"'`<>".contains(&b)));
name_type!(
    /// The stable id of a verification check, such as `ELF-01`.
    CheckId, "check id",
    "2 to 4 capital letters, `-`, two digits",
    |t| t.split_once('-').is_some_and(|(a, n)| (2..=4).contains(&a.len())
        && a.bytes().all(|b| b.is_ascii_uppercase()) && n.len() == 2 && n.bytes().all(|b| b.is_ascii_digit())));
name_type!(
    /// A commit of a git repository, in full.
    CommitId, "commit",
    "40 or 64 of 0-9 and a-f",
    |t| matches!(t.len(), 40 | 64) && t.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
name_type!(
    /// One component of a path in a tree: UTF-8, no `/`, no NUL, not `.` or `..`, at most 255 bytes.
    EntryName, "entry name",
    "1 to 255 bytes of UTF-8 without `/`, control characters, `.` or `..`",
    |t| (1..=255).contains(&t.len()) && t != "." && t != ".." && !t.chars().any(|c| c == '/' || c.is_control()));

/// OCI allows one separator between alphanumerics, or `__`, or any number of `-`.
fn oci_separators(part: &str) -> bool {
    let mut run = String::new();
    for c in part.chars() {
        if "._-".contains(c) {
            run.push(c);
            continue;
        }
        if !(run.is_empty() || run == "." || run == "_" || run == "__" || run.bytes().all(|b| b == b'-')) {
            return false;
        }
        run.clear();
    }
    true
}

impl OutputName {
    /// What runs.
    pub fn out() -> Self {
        Self("out".to_owned())
    }
    /// What dependents compile against.
    pub fn dev() -> Self {
        Self("dev".to_owned())
    }
    /// What only those take in who link statically: `static`, which is no name for a function.
    pub fn archives() -> Self {
        Self("static".to_owned())
    }
    /// What people read.
    pub fn doc() -> Self {
        Self("doc".to_owned())
    }
}
