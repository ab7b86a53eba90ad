//! What checks say, and what a policy makes of it.
//!
//! A check gives one finding for each object that it refuses, or one that says that everything passed, or one that
//! says why it had nothing to examine. A policy names the severities that block and the waivers: each waiver lets one
//! check go for one package or one image, with a reason, and says so in the verdict.

use crate::{Error, catalogue};
use anneal_content::{CheckId, ImageName, PackageName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a failed finding means for a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The release is refused.
    Block,
    /// People are told.
    Warn,
    /// A number for the record.
    Inform,
}

/// What a check saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything that was examined is as it should be.
    Passed,
    /// The object is not as it should be, or could not be read.
    Failed,
    /// There was nothing to examine; `found` says why.
    NotApplicable,
}

/// What a finding is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Object {
    /// The image, where one is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageName>,
    /// The package that the object belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageName>,
    /// The path beneath `/`, or the part of a document, such as `config.User`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// What one check says about one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check.
    pub check: CheckId,
    /// What the check asserts.
    pub title: String,
    /// What a failure means.
    pub severity: Severity,
    /// What was seen.
    pub outcome: Outcome,
    /// What it is about.
    pub object: Object,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
    /// What to do about a failure; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

/// What a waiver covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Findings about this package's files, in whatever image they are.
    Package(PackageName),
    /// Findings about this image that are about no single package.
    Image(ImageName),
}

/// Lets the failures of one check go, for one package or image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Waiver {
    /// The check.
    pub check: CheckId,
    /// Where it is let go.
    pub scope: Scope,
    /// Why.
    pub reason: String,
}

/// Which failures stop a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Policy {
    blocking: BTreeSet<Severity>,
    waivers: Vec<Waiver>,
}
