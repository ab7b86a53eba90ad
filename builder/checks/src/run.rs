//! Runs every check over a subject.

use crate::catalogue::{Check, Failure, Look, Report, checks};
use crate::error::Error;
use crate::observe::Seen;
use crate::subject::{Run, Subject};
use crate::verdict::{Finding, Outcome};
use crate::view::{self, View};
use anneal_content::{BlobSource, CheckId};

/// How many failures of one check are told one by one.
pub const FAILURES_TOLD_MAX: usize = 200;

/// Runs every check, reading everything anew.
pub fn run(subject: &Subject, blobs: &dyn BlobSource) -> Result<Vec<Finding>, Error> {
    run_with(subject, blobs, &mut Seen::new())
}

/// Runs every check; bytes whose facts are already in `seen` are not read, and new facts are added to it.
pub fn run_with(subject: &Subject, blobs: &dyn BlobSource, seen: &mut Seen) -> Result<Vec<Finding>, Error> {
    let root = view::observe(subject, blobs, seen);
    let view = View::new(subject, seen, &root);
    let mut findings = Vec::new();
    for check in checks() {
        let id = CheckId::new(check.id).map_err(|_| Error::Table { id: check.id })?;
        let mut report = Report::default();
        look(check, &view, &mut report);
        tell(check, &id, &view, report, &mut findings);
    }
    Ok(findings)
}

/// Gives the check what it looks at, and fails it where that is missing.
fn look(check: &Check, view: &View<'_>, report: &mut Report) {
    match check.look {
        Look::Binaries(each) => {
            fail_unread_layers(view, report);
            for file in &view.files {
                match file.binary() {
                    None => {}
                    Some(Ok(binary)) => each(view, binary, report),
                    Some(Err(why)) => fail_unread_file(view, file.path, why, report),
                }
            }
        }
        Look::Files(each) => {
            fail_unread_layers(view, report);
            for file in &view.files {
                match file.facts {
                    Ok(facts) => each(view, file, facts, report),
                    Err(why) => fail_unread_file(view, file.path, why, report),
                }
            }
        }
        Look::Root(all) => {
            fail_unread_layers(view, report);
            all(view, report);
        }
        Look::Packages(each) => view.packages().for_each(|package| each(view, package, report)),
        Look::Image(all) => with_image(view, report, |image, report| all(view, image, report)),
        Look::Sbom(all) => with_sbom(view, report, |sbom, report| all(view, sbom, report)),
        Look::Run(all) => with_run(view, report, |facts, report| all(view, facts, report)),
        Look::Advisories(all) => all(view, report),
        Look::Change(all) => match &view.subject.previous {
            None => report.nothing("there is no earlier release"),
            Some(previous) => {
                fail_unread_layers(view, report);
                all(view, previous, report);
            }
        },
        Look::ImageChange(all) => match &view.subject.previous {
            None => report.nothing("there is no earlier release"),
            Some(previous) => with_image(view, report, |image, report| all(view, image, previous, report)),
        },
    }
}

fn with_image(view: &View<'_>, report: &mut Report, all: impl Fn(&view::OpenImage<'_>, &mut Report)) {
    match &view.open {
        None => report.nothing("a package is checked, not an image"),
        Some(Ok(image)) => all(image, report),
        Some(Err(why)) => report.fail(
            view.part("manifest and config"),
            "documents that can be read",
            why.clone(),
            "assemble the image again; if it comes back, its documents are not OCI's",
        ),
    }
}

fn with_sbom(view: &View<'_>, report: &mut Report, all: impl Fn(&crate::spdx::Document, &mut Report)) {
    if view.subject.image.is_none() {
        report.nothing("a package is checked, not an image");
        return;
    }
    fail_unread_layers(view, report);
    let (found, advice) = match &view.sbom {
        Some(Ok(sbom)) => return all(sbom, report),
        Some(Err(why)) => (why.clone(), "write the SBOM again from the image's contents"),
        None => ("no SBOM".to_owned(), "write the SBOM before the image is checked"),
    };
    report.fail(view.part("SBOM"), "an SPDX document that can be read", found, advice);
}

fn with_run(view: &View<'_>, report: &mut Report, all: impl Fn(&crate::subject::RunFacts, &mut Report)) {
    let Some(image) = &view.subject.image else {
        report.nothing("a package is checked, not an image");
        return;
    };
    let argv_is_empty = matches!(&view.open, Some(Ok(open)) if open.config.config.argv().is_empty());
    let found = match &image.run {
        Run::Ran(facts) => return all(facts, report),
        Run::NothingToRun if argv_is_empty => {
            report.nothing("the image has no entry point and no command");
            return;
        }
        Run::NothingToRun => "not run, although it has an entry point or a command".to_owned(),
        Run::NotRun { why } => format!("not run: {why}"),
    };
    report.fail(view.part("run"), "the image was run in the sandbox", found, "run it, or declare in the recipe how");
}

fn fail_unread_layers(view: &View<'_>, report: &mut Report) {
    for (part, why) in view.unread_layers() {
        report.fail(
            view.part(&part),
            "a layer that can be read to its end",
            why,
            "assemble the image again; `anneal store scrub` tells whether the stored layer is damaged",
        );
    }
}

fn fail_unread_file(view: &View<'_>, path: &str, why: &str, report: &mut Report) {
    report.fail(
        view.path(path),
        "a file that can be read",
        format!("unreadable: {why}"),
        "find out how the build made this file; what cannot be read cannot be released",
    );
}

/// Turns a report into findings: each failure, or one that says what was examined, or that there was nothing.
fn tell(check: &Check, id: &CheckId, view: &View<'_>, report: Report, findings: &mut Vec<Finding>) {
    let finding = |outcome, failure: Failure| Finding {
        check: id.clone(),
        title: check.title.to_owned(),
        severity: check.severity,
        outcome,
        object: failure.object,
        expected: failure.expected,
        found: failure.found,
        advice: failure.advice,
    };
    let plain = |found: String| Failure {
        object: view.whole(),
        expected: check.title.to_owned(),
        found,
        advice: String::new(),
    };
    let mut failures = report.failures;
    if failures.is_empty() {
        let (outcome, found) = match (report.nothing, report.examined) {
            (Some(why), 0) => (Outcome::NotApplicable, why),
            (_, 0) => (Outcome::NotApplicable, "nothing of this kind is in the subject".to_owned()),
            (_, 1) => (Outcome::Passed, report.note.unwrap_or_else(|| "1 examined".to_owned())),
            (_, n) => (Outcome::Passed, report.note.unwrap_or_else(|| format!("{n} examined"))),
        };
        findings.push(finding(outcome, plain(found)));
        return;
    }
    failures.sort_by(|a, b| a.object.cmp(&b.object).then_with(|| a.found.cmp(&b.found)));
    let more = failures.len().saturating_sub(FAILURES_TOLD_MAX);
    failures.truncate(FAILURES_TOLD_MAX);
    findings.extend(failures.into_iter().map(|failure| finding(Outcome::Failed, failure)));
    if more > 0 {
        let mut rest = plain(format!("{more} more failures that are not listed"));
        rest.advice = format!("mend the {FAILURES_TOLD_MAX} above first and check again");
        findings.push(finding(Outcome::Failed, rest));
    }
}
