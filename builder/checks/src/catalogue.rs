//! The suite as data: every check with its id, what it asserts, what a failure means and the function that looks.
//!
//! What a check is given says what it can look at. What has to be there before it can look at all (a readable layer, a
//! run, an SBOM) is seen to here, once, so that no check can pass because its input was missing.

use crate::observe::FileFacts;
use crate::spdx::Document;
use crate::subject::{Package, Previous, RunFacts};
use crate::suite;
use crate::verdict::{Object, Severity};
use crate::view::{Binary, File, OpenImage, View};

/// One check.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its id in the catalogue of checks.
    pub id: &'static str,
    /// What it asserts.
    pub title: &'static str,
    /// What a failure means.
    pub severity: Severity,
    /// What it looks at.
    pub(crate) look: Look,
}

/// What a check looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Look {
    /// Each ELF file.
    Binaries(fn(&View<'_>, Binary<'_>, &mut Report)),
    /// Each regular file whose bytes were read.
    Files(fn(&View<'_>, &File<'_>, &FileFacts, &mut Report)),
    /// The merged file system.
    Root(fn(&View<'_>, &mut Report)),
    /// Each checked package.
    Packages(fn(&View<'_>, &Package, &mut Report)),
    /// An image's documents and layers.
    Image(fn(&View<'_>, &OpenImage<'_>, &mut Report)),
    /// An image's SBOM.
    Sbom(fn(&View<'_>, &Document, &mut Report)),
    /// What happened when an image was run.
    Run(fn(&View<'_>, &RunFacts, &mut Report)),
    /// The advisories, which may be none.
    Advisories(fn(&View<'_>, &mut Report)),
    /// The change since the last approved release.
    Change(fn(&View<'_>, &Previous, &mut Report)),
    /// The change since the last approved image.
    ImageChange(fn(&View<'_>, &OpenImage<'_>, &Previous, &mut Report)),
}

/// One object that a check refuses.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) object: Object,
    pub(crate) expected: String,
    pub(crate) found: String,
    pub(crate) advice: String,
}

/// What a check says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) examined: usize,
    pub(crate) failures: Vec<Failure>,
    pub(crate) nothing: Option<String>,
    pub(crate) note: Option<String>,
}

impl Report {
    /// One more object was examined.
    pub(crate) fn saw(&mut self) {
        self.examined += 1;
    }
    /// An object is not as it should be.
    pub(crate) fn fail(
        &mut self,
        object: Object,
        expected: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.failures.push(Failure { object, expected: expected.into(), found: found.into(), advice: advice.into() });
    }
    /// There is nothing to examine.
    pub(crate) fn nothing(&mut self, why: impl Into<String>) {
        self.nothing = Some(why.into());
    }
}

/// A check of the given severity.
pub(crate) const fn check(id: &'static str, severity: Severity, title: &'static str, look: Look) -> Check {
    Check { id, title, severity, look }
}

const GROUPS: &[&[Check]] = &[
    suite::recipe::CHECKS,
    suite::reproduction::CHECKS,
    suite::hardening::CHECKS,
    suite::linking::CHECKS,
    suite::interface::CHECKS,
    suite::modes::CHECKS,
    suite::tree::CHECKS,
    suite::leftovers::CHECKS,
    suite::documents::CHECKS,
    suite::settings::CHECKS,
    suite::secrets::CHECKS,
    suite::advisories::CHECKS,
    suite::inventory::CHECKS,
    suite::behaviour::CHECKS,
    suite::regression::CHECKS,
];

/// Every check, in the catalogue's order of groups.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    GROUPS.iter().copied().flatten()
}
