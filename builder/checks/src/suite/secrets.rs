//! Keys and tokens in files, and files that are known to be bad.

use crate::catalogue::{Check, Look, Report, check};
use crate::observe::{FileFacts, SecretKind};
use crate::verdict::Severity::Block;
use crate::view::{File, View};

pub(crate) const CHECKS: &[Check] = &[
    check("SEC-01", Block, "no private keys", Look::Files(private_keys)),
    check("SEC-02", Block, "no access tokens", Look::Files(tokens)),
    check("SEC-04", Block, "no file is known to be bad", Look::Files(known_bad)),
];

fn private_keys(view: &View<'_>, file: &File<'_>, facts: &FileFacts, report: &mut Report) {
    found(view, file, facts, SecretKind::PrivateKey, report);
}

fn tokens(view: &View<'_>, file: &File<'_>, facts: &FileFacts, report: &mut Report) {
    found(view, file, facts, SecretKind::Token, report);
}

fn found(view: &View<'_>, file: &File<'_>, facts: &FileFacts, kind: SecretKind, report: &mut Report) {
    report.saw();
    for secret in facts.secrets.iter().filter(|s| s.kind == kind) {
        report.fail(
            view.path(file.path),
            "no secret: everyone who pulls the image can read it",
            format!("{} at byte {}", secret.form, secret.offset),
            "remove the file from the package; if the secret was real, revoke it",
        );
    }
}

fn known_bad(view: &View<'_>, file: &File<'_>, _: &FileFacts, report: &mut Report) {
    report.saw();
    if view.subject.known_bad.contains(&file.digest) {
        report.fail(
            view.path(file.path),
            "a digest that is not on the list of bad files",
            file.digest.to_string(),
            "find out how it got into the package before anything is released",
        );
    }
}
