//! The order of versions, as each ecosystem defines it.
//!
//! A version becomes a key once and keys are totally ordered, so sorting and searching can rely on them. A version
//! that its ecosystem's rules do not admit has no key: it is [`Unknown`], never "equal" or "older".

mod alpine;
mod debian;
mod generic;

use crate::ecosystem;
use crate::error::shown;
use std::{cmp::Ordering, fmt, str::FromStr};

/// Two versions that cannot be put in order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{version}` has no place in the order of {ecosystem}: {reason}")]
pub struct Unknown {
    /// The ecosystem, or the order that stands for it.
    pub ecosystem: String,
    /// The version that does not fit.
    pub version: String,
    /// Why it does not.
    pub reason: String,
}

/// Compares two versions as the ecosystem orders them, which may be given with its release (`Debian:12`).
///
/// `generic` is an ecosystem of ours: dotted numbers with an optional letter, as most C projects number releases.
pub fn compare(ecosystem: &str, a: &str, b: &str) -> Result<Ordering, Unknown> {
    let order = ecosystem::known(ecosystem).order.ok_or_else(|| Unknown {
        ecosystem: shown(ecosystem),
        version: shown(a),
        reason: "the order of this ecosystem is not known to Anneal".to_owned(),
    })?;
    Ok(order.key(a)?.cmp(&order.key(b)?))
}

/// An order of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// dpkg's, with epoch and revision.
    Debian,
    /// apk's.
    Alpine,
    /// Semantic Versioning 2.0; a `v` before and missing last numbers are allowed, build metadata does not count.
    Semver,
    /// PEP 440.
    Pep440,
    /// Ours.
    Generic,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debian => "Debian",
            Self::Alpine => "Alpine",
            Self::Semver => "SemVer",
            Self::Pep440 => "PEP 440",
            Self::Generic => "generic",
        })
    }
}

impl Order {
    /// The place of a version in this order.
    pub(crate) fn key(self, version: &str) -> Result<Key, Unknown> {
        let key = match self {
            Self::Debian => debian::Version::parse(version).map(Key::Debian),
            Self::Alpine => alpine::Version::parse(version).map(Key::Alpine),
            Self::Semver => semantic(version).map(Key::Semver),
            Self::Pep440 => pep440_rs::Version::from_str(version).map(Key::Pep440).map_err(|_| "expected PEP 440"),
            Self::Generic => generic::Version::parse(version).map(Key::Generic),
        };
        key.map_err(|reason| Unknown {
            ecosystem: format!("{self} versions"),
            version: shown(version),
            reason: reason.to_owned(),
        })
    }
}

/// A version's place in one order. Keys of different orders never meet; they are ordered only to be total.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    Debian(debian::Version),
    Alpine(alpine::Version),
    Semver(semver::Version),
    Pep440(pep440_rs::Version),
    Generic(generic::Version),
}

impl Key {
    fn rank(&self) -> u8 {
        match self {
            Self::Debian(_) => 0,
            Self::Alpine(_) => 1,
            Self::Semver(_) => 2,
            Self::Pep440(_) => 3,
            Self::Generic(_) => 4,
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Debian(a), Self::Debian(b)) => a.cmp(b),
            (Self::Alpine(a), Self::Alpine(b)) => a.cmp(b),
            (Self::Semver(a), Self::Semver(b)) => a.cmp_precedence(b),
            (Self::Pep440(a), Self::Pep440(b)) => a.cmp(b),
            (Self::Generic(a), Self::Generic(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

/// Digits without leading zeros, or letters after a number: the longer is the greater.
fn by_value(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Semantic Versioning, with what Go and hand-written records add: a leading `v`, `1.2` for `1.2.0`.
fn semantic(text: &str) -> Result<semver::Version, &'static str> {
    const EXPECTED: &str = "expected three numbers with dots, as Semantic Versioning has them";
    let text = text.strip_prefix('v').unwrap_or(text);
    if let Ok(version) = semver::Version::parse(text) {
        return Ok(version);
    }
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(end);
    let missing = 2_usize.checked_sub(core.matches('.').count()).ok_or(EXPECTED)?;
    semver::Version::parse(&format!("{core}{}{rest}", ".0".repeat(missing))).map_err(|_| EXPECTED)
}
