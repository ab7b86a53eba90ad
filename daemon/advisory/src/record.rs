//! An OSV record as far as Anneal uses it: the fields of the OSV schema 1.x, with the shapes that it allows.
//!
//! What the schema leaves open (`database_specific`, `ecosystem_specific`, credits) is not kept; the record's own
//! bytes stay in the store under their digest.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// One advisory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advisory {
    /// The record's id, such as `CVE-2022-37434`.
    pub id: String,
    /// Other ids of the same vulnerability.
    pub aliases: Vec<String>,
    /// One line about it; may be empty.
    pub summary: String,
    /// The full text; may be empty.
    pub details: String,
    /// When it was first published.
    pub published: Option<OffsetDateTime>,
    /// When it last changed. Some databases write the year 1 here: it orders nothing by itself.
    pub modified: OffsetDateTime,
    /// When it was withdrawn; a withdrawn record affects nothing.
    pub withdrawn: Option<OffsetDateTime>,
    /// How bad it is, in the notations that the record gives.
    pub severity: Vec<Severity>,
    /// What it affects. Records without any exist.
    pub affected: Vec<Affected>,
    /// Where to read more.
    pub references: Vec<Reference>,
}

/// A severity in one notation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Severity {
    /// The notation, such as `CVSS_V3`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The value in that notation.
    pub score: String,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// What it leads to, such as `ADVISORY` or `FIX`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The address.
    pub url: String,
}

/// One affected package, or one affected repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// The package; absent where only repositories are named.
    pub package: Option<Package>,
    /// Severity of this entry, if it differs from the record's.
    pub severity: Vec<Severity>,
    /// Ranges of versions; a version in any of them is affected.
    pub ranges: Vec<Range>,
    /// Versions named one by one; a version in this list is affected whatever the ranges say.
    pub versions: Vec<String>,
}

/// The package of an affected entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// The ecosystem, with its suffix: `Debian:12`.
    pub ecosystem: String,
    /// The name in that ecosystem.
    pub name: String,
    /// The package URL, without a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purl: Option<String>,
}

/// A range of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// How its versions are ordered.
    pub kind: RangeKind,
    /// The repository, for `GIT` ranges.
    pub repo: Option<String>,
    /// Where it begins and ends, in the record's order.
    pub events: Vec<Event>,
}

/// How the versions of a range are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeKind {
    /// By Semantic Versioning 2.0.
    Semver,
    /// By the ecosystem's own order.
    Ecosystem,
    /// By the commit graph of a repository.
    Git,
}

/// One end of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This version and later ones are affected; `0` is before every version.
    Introduced(String),
    /// This version and later ones are not.
    Fixed(String),
    /// Later versions are not affected, this one still is.
    LastAffected(String),
    /// The record says nothing about this version and later ones; `*` is after every version.
    Limit(String),
}

impl Event {
    /// The version or commit of the event.
    pub fn version(&self) -> &str {
        match self {
            Self::Introduced(v) | Self::Fixed(v) | Self::LastAffected(v) | Self::Limit(v) => v,
        }
    }

    /// The event's name in the schema.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Introduced(_) => "introduced",
            Self::Fixed(_) => "fixed",
            Self::LastAffected(_) => "last_affected",
            Self::Limit(_) => "limit",
        }
    }
}

impl RangeKind {
    /// The kind's name in the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Semver => "SEMVER",
            Self::Ecosystem => "ECOSYSTEM",
            Self::Git => "GIT",
        }
    }
}
