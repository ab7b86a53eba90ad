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

/// A waiver at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waived {
    /// What is let go.
    pub finding: Finding,
    /// Why.
    pub reason: String,
}

/// What a policy makes of findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// No check blocks.
    pub released: bool,
    /// How many checks examined something and refused nothing, or nothing that is not waived.
    pub passed: usize,
    /// How many checks failed without blocking.
    pub warned: usize,
    /// How many checks block.
    pub failed: usize,
    /// How many checks had nothing to examine.
    pub not_applicable: usize,
    /// Findings that block.
    pub blocking: Vec<Finding>,
    /// Failed findings that do not block.
    pub warnings: Vec<Finding>,
    /// Failed findings that are let go.
    pub waived: Vec<Waived>,
    /// Waivers that let nothing go: remove them.
    pub unused_waivers: Vec<Waiver>,
}

/// How long a waiver's reason must be, in characters.
const REASON_CHARS_MIN: usize = 8;

impl Policy {
    /// A policy in which failures of severity `Block` block, with these waivers.
    pub fn new(waivers: Vec<Waiver>) -> Result<Self, Error> {
        Self::blocking(BTreeSet::from([Severity::Block]), waivers)
    }

    /// A policy in which failures of these severities block.
    pub fn blocking(blocking: BTreeSet<Severity>, waivers: Vec<Waiver>) -> Result<Self, Error> {
        let mut seen = BTreeSet::new();
        for waiver in &waivers {
            let (check, scope) = (waiver.check.clone(), waiver.scope.to_string());
            if !catalogue::checks().any(|known| known.id == check.as_str()) {
                let hint = nearest(check.as_str()).map(|id| format!("; did you mean {id}?")).unwrap_or_default();
                return Err(Error::UnknownCheck { check, scope, hint });
            }
            if waiver.reason.trim().chars().count() < REASON_CHARS_MIN {
                return Err(Error::NoReason { check, scope, least: REASON_CHARS_MIN });
            }
            if !seen.insert((&waiver.check, &waiver.scope)) {
                return Err(Error::Twice { check, scope });
            }
        }
        Ok(Self { blocking, waivers })
    }

    fn waiver(&self, finding: &Finding) -> Option<&Waiver> {
        self.waivers.iter().find(|waiver| {
            waiver.check == finding.check
                && match (&waiver.scope, &finding.object.package) {
                    (Scope::Package(name), Some(package)) => name == package,
                    (Scope::Image(name), None) => finding.object.image.as_ref() == Some(name),
                    _ => false,
                }
        })
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scope::Package(name) => write!(f, "package {name}"),
            Scope::Image(name) => write!(f, "image {name}"),
        }
    }
}

/// The id that differs in the fewest characters, if they are at most two.
fn nearest(id: &str) -> Option<&'static str> {
    let distance = |known: &str| {
        let same = known.chars().zip(id.chars()).filter(|(a, b)| a == b).count();
        known.len().max(id.len()) - same
    };
    catalogue::checks().map(|c| c.id).min_by_key(|known| distance(known)).filter(|known| distance(known) <= 2)
}

/// Judges findings by a policy.
pub fn judge(findings: &[Finding], policy: &Policy) -> Verdict {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Worst {
        NotApplicable,
        Passed,
        Warned,
        Failed,
    }
    let mut verdict = Verdict {
        released: true,
        passed: 0,
        warned: 0,
        failed: 0,
        not_applicable: 0,
        blocking: Vec::new(),
        warnings: Vec::new(),
        waived: Vec::new(),
        unused_waivers: Vec::new(),
    };
    let mut worst: BTreeMap<&CheckId, Worst> = BTreeMap::new();
    let mut used = BTreeSet::new();
    for finding in findings {
        let state = match finding.outcome {
            Outcome::NotApplicable => Worst::NotApplicable,
            Outcome::Passed => Worst::Passed,
            Outcome::Failed => match policy.waiver(finding) {
                Some(waiver) => {
                    used.insert((&waiver.check, &waiver.scope));
                    verdict.waived.push(Waived { finding: finding.clone(), reason: waiver.reason.clone() });
                    Worst::Passed
                }
                None if policy.blocking.contains(&finding.severity) => {
                    verdict.blocking.push(finding.clone());
                    Worst::Failed
                }
                None => {
                    verdict.warnings.push(finding.clone());
                    Worst::Warned
                }
            },
        };
        let so_far = worst.entry(&finding.check).or_insert(Worst::NotApplicable);
        if state > *so_far {
            *so_far = state;
        }
    }
    let count = |state: Worst| worst.values().filter(|w| **w == state).count();
    (verdict.passed, verdict.warned) = (count(Worst::Passed), count(Worst::Warned));
    (verdict.failed, verdict.not_applicable) = (count(Worst::Failed), count(Worst::NotApplicable));
    // No findings at all are no proof of anything.
    verdict.released = verdict.failed == 0 && verdict.passed > 0;
    verdict.unused_waivers = policy.waivers.iter().filter(|w| !used.contains(&(&w.check, &w.scope))).cloned().collect();
    verdict
}
