//! What happened when the image was run in the sandbox.

use crate::catalogue::{Check, Look, Report, check};
use crate::subject::RunFacts;
use crate::verdict::Severity::Block;
use crate::view::View;

pub(crate) const CHECKS: &[Check] = &[
    check("RUN-01", Block, "the image starts, answers and stops", Look::Run(runs)),
    check("RUN-02", Block, "the image runs read-only, unprivileged and as its own user", Look::Run(confined)),
];

const ADVICE: &str = "run it by hand with `anneal sandbox run` and read its output";

fn runs(view: &View<'_>, facts: &RunFacts, report: &mut Report) {
    report.saw();
    let object = || view.part(&format!("run: {}", facts.argv.join(" ")));
    if !facts.started {
        report.fail(object(), "the program starts", facts.ended.clone(), ADVICE);
        return;
    }
    if let Some(http) = &facts.http
        && http.status != Some(http.expected_status)
    {
        let found = http.status.map_or("no answer".to_owned(), |status| format!("status {status}"));
        let expected = format!("GET {} answers {}", http.request, http.expected_status);
        report.fail(object(), expected, format!("{found}; {}", facts.ended), ADVICE);
    }
    if facts.expected_exit.is_some() && facts.exit_status != facts.expected_exit {
        let expected = format!("exit status {}", facts.expected_exit.unwrap_or_default());
        report.fail(object(), expected, facts.ended.clone(), ADVICE);
    }
    if facts.stopped_cleanly == Some(false) {
        report.fail(object(), "it ends by itself after the stop signal", facts.ended.clone(), ADVICE);
    }
    if let Some((text, false)) = &facts.output_contains {
        report.fail(object(), format!("{text:?} on standard output"), "not there", ADVICE);
    }
    let asked = facts.http.is_some() || facts.expected_exit.is_some() || facts.output_contains.is_some();
    if !asked && facts.stopped_cleanly.is_none() {
        let found = "started, and nothing else was looked at";
        report.fail(object(), "something that shows it works", found, "give the image recipe a `[run]` section");
    }
}

fn confined(view: &View<'_>, facts: &RunFacts, report: &mut Report) {
    let own_user = match &view.open {
        Some(Ok(open)) => open.config.config.user.as_str(),
        _ => "",
    };
    let same_user = facts.user == own_user || facts.user.split(':').next() == Some(own_user);
    let rows = [
        (facts.read_only_root, "a read-only root file system", "writable"),
        (facts.no_capabilities, "no capabilities", "some were held"),
        (facts.no_new_privileges, "no_new_privs", "not set"),
        (same_user, "the image's own user", facts.user.as_str()),
    ];
    for (good, expected, found) in rows {
        report.saw();
        if !good {
            let object = view.part(&format!("run: {}", facts.argv.join(" ")));
            report.fail(object, expected, found, "run it under the sandbox's `run` profile, which has all of them");
        }
    }
}
