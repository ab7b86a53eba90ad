//! What advisories say about the packages, judged elsewhere and passed in.

use crate::catalogue::{Check, Look, Report, check};
use crate::subject::{JudgedAdvisory, Judgement, Previous, VersionChange};
use crate::verdict::Severity::Block;
use crate::view::View;

pub(crate) const CHECKS: &[Check] = &[
    check("VUL-01", Block, "no known advisory is unaddressed", Look::Advisories(unaddressed)),
    check("VUL-02", Block, "the advisory that asked for this build no longer matches", Look::Advisories(triggering)),
    check("VUL-08", Block, "no package is older than in the last release", Look::Change(downgrades)),
];

fn told(advisory: &JudgedAdvisory) -> String {
    let verdict = match advisory.judgement {
        Judgement::Affected => "affected",
        Judgement::NotAffected => "not affected",
        Judgement::Unknown => "it cannot be told",
    };
    format!("{}: {verdict}: {}", advisory.id, advisory.explanation)
}

fn unaddressed(view: &View<'_>, report: &mut Report) {
    for advisory in view.subject.advisories.iter().filter(|a| !a.triggering) {
        report.saw();
        let reason = advisory.accepted.as_ref().is_some_and(|why| !why.trim().is_empty());
        if advisory.judgement != Judgement::NotAffected && !reason {
            report.fail(
                view.package(&advisory.package),
                "not affected, or accepted by a human with a reason",
                told(advisory),
                "take a release that fixes it, or record why it does not matter here",
            );
        }
    }
}

fn triggering(view: &View<'_>, report: &mut Report) {
    for advisory in view.subject.advisories.iter().filter(|a| a.triggering) {
        report.saw();
        if advisory.judgement != Judgement::NotAffected {
            report.fail(
                view.package(&advisory.package),
                "not affected any more",
                told(advisory),
                "the remediation did not take the package out of the affected range: choose another release",
            );
        }
    }
    if !view.subject.advisories.iter().any(|a| a.triggering) {
        report.nothing("no advisory asked for this build");
    }
}

fn downgrades(view: &View<'_>, previous: &Previous, report: &mut Report) {
    for old in &previous.packages {
        let now = view.subject.packages.iter().find(|p| p.name == old.name);
        let found = match (&old.now, now) {
            (VersionChange::Newer, Some(_)) => {
                report.saw();
                continue;
            }
            (VersionChange::Same, Some(now)) if now.version == old.version => {
                report.saw();
                continue;
            }
            (VersionChange::Gone, None) => continue,
            (VersionChange::Older, Some(now)) => format!("{} is older than {}", now.version, old.version),
            (VersionChange::Unknown { why }, Some(now)) => {
                format!("{} and {} cannot be ordered: {why}", now.version, old.version)
            }
            (VersionChange::Same, Some(now)) => format!("{} said to be the same as {}", now.version, old.version),
            (VersionChange::Gone, Some(_)) => "said to be gone, and still there".to_owned(),
            (_, None) => "not in the subject, and not said to be gone".to_owned(),
        };
        report.saw();
        report.fail(
            view.package(&old.name),
            format!("{} or later", old.version),
            found,
            "an older release brings old flaws back: choose a later one, or ask a human",
        );
    }
}
