//! What the recipe says: licence and tests.

use crate::catalogue::{Check, Look, Report, check};
use crate::subject::{Package, Tests};
use crate::verdict::Severity::Block;
use crate::view::View;

pub(crate) const CHECKS: &[Check] = &[
    check("SRC-07", Block, "the recipe's licence is a valid SPDX expression", Look::Packages(licence)),
    check("SRC-08", Block, "the recipe has tests", Look::Packages(has_tests)),
    check("RUN-04", Block, "the recipe's tests pass", Look::Packages(tests_pass)),
];

fn licence(view: &View<'_>, package: &Package, report: &mut Report) {
    report.saw();
    if let Err(error) = spdx::Expression::parse(&package.licence) {
        report.fail(
            view.package(&package.name),
            "an SPDX licence expression",
            format!("{:?}: {}", package.licence, error.reason),
            "write the licence in the recipe with SPDX ids, such as `MIT` or `GPL-2.0-only WITH Linux-syscall-note`",
        );
    }
}

fn has_tests(view: &View<'_>, package: &Package, report: &mut Report) {
    report.saw();
    if package.tests == Tests::None {
        report.fail(
            view.package(&package.name),
            "at least one test step",
            "none",
            "add `[test] steps` to the recipe; a data package can test that its files parse",
        );
    }
}

fn tests_pass(view: &View<'_>, package: &Package, report: &mut Report) {
    let found = match &package.tests {
        Tests::None => return,
        Tests::Passed { .. } => return report.saw(),
        Tests::NotRun { why } => format!("not run: {why}"),
        Tests::Failed { summary } => summary.clone(),
    };
    report.fail(
        view.package(&package.name),
        "every test step ends with exit status 0",
        found,
        "`anneal recipe log` shows the test's output",
    );
}
