//! Permissions: who may change a file, and as whom a program runs.

use crate::catalogue::{Check, Look, Report, check};
use crate::root::NodeKind;
use crate::verdict::Severity::{Block, Warn};
use crate::view::View;
use std::collections::BTreeMap;

pub(crate) const CHECKS: &[Check] = &[
    check("FS-01", Block, "no program runs as its owner or group (setuid, setgid)", Look::Root(setuid)),
    check("FS-02", Block, "nothing is writable for everyone", Look::Root(world_writable)),
    check("FS-03", Block, "no file carries capabilities", Look::Root(capabilities)),
    check("FS-04", Block, "no devices, sockets or pipes", Look::Root(special)),
    check("FS-15", Warn, "user and group ids are unique and no password is empty", Look::Root(accounts)),
];

fn setuid(view: &View<'_>, report: &mut Report) {
    for (path, node) in view.nodes() {
        // On a directory the bit only says whose group new files have.
        if !matches!(node.kind, NodeKind::File { .. }) {
            continue;
        }
        report.saw();
        if node.mode & 0o6000 != 0 {
            let found = format!("mode {:04o}", node.mode);
            report.fail(
                view.path(path),
                "neither setuid nor setgid",
                found,
                "remove the bit when the package is installed",
            );
        }
    }
}

fn world_writable(view: &View<'_>, report: &mut Report) {
    for (path, node) in view.nodes() {
        let sticky_dir = node.kind == NodeKind::Directory && node.mode & 0o1000 != 0;
        if matches!(node.kind, NodeKind::Symlink { .. }) {
            continue;
        }
        report.saw();
        if node.mode & 0o002 != 0 && !sticky_dir {
            report.fail(
                view.path(path),
                "not writable for others, or a directory with the sticky bit",
                format!("mode {:04o}", node.mode),
                "give it to the user that writes there and take the permission from others",
            );
        }
    }
}

fn capabilities(view: &View<'_>, report: &mut Report) {
    for (path, node) in view.nodes() {
        report.saw();
        if !node.xattrs.is_empty() {
            report.fail(
                view.path(path),
                "no extended attributes",
                node.xattrs.join(", "),
                "a container's capabilities are its operator's to give, not the image's",
            );
        }
    }
}

fn special(view: &View<'_>, report: &mut Report) {
    for (path, node) in view.nodes() {
        report.saw();
        if let NodeKind::Special { what } = &node.kind {
            report.fail(
                view.path(path),
                "a file, a directory or a symbolic link",
                what.clone(),
                "the runtime makes /dev: leave it out",
            );
        }
    }
}

fn accounts(view: &View<'_>, report: &mut Report) {
    for (path, fields, what) in [("etc/passwd", 7, "user"), ("etc/group", 4, "group"), ("etc/shadow", 9, "user")] {
        if !view.root.nodes.contains_key(path) {
            continue;
        }
        // Without an image nothing is kept; a package alone should not have these files, which FS-12 and review see.
        let Some(text) = view.kept(path) else {
            if view.subject.image.is_some() {
                report.saw();
                report.fail(view.path(path), "a file that can be read", "not read", "keep it below 1 MiB and no link");
            }
            continue;
        };
        report.saw();
        account_file(view, path, fields, what, &String::from_utf8_lossy(text), report);
    }
}

fn account_file(view: &View<'_>, path: &str, fields: usize, what: &str, text: &str, report: &mut Report) {
    const ADVICE: &str = "declare users in the image recipe's `[[user]]`, each with its own name and id";
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ids: BTreeMap<&str, &str> = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.is_empty()) {
        let parts: Vec<&str> = line.split(':').collect();
        let [name, password, rest @ ..] = parts.as_slice() else {
            report.fail(view.path(path), format!("{fields} fields"), format!("line {}: {line:?}", number + 1), ADVICE);
            continue;
        };
        if parts.len() != fields {
            let found = format!("line {}: {} fields", number + 1, parts.len());
            report.fail(view.path(path), format!("{fields} fields"), found, ADVICE);
            continue;
        }
        if names.insert(name, number).is_some() {
            report.fail(view.path(path), format!("each {what} once"), format!("{name:?} twice"), ADVICE);
        }
        // A group without a password is the rule; an empty field lets nobody in.
        if password.is_empty() && path != "etc/group" {
            report.fail(
                view.path(path),
                "no empty password",
                format!("{name:?} needs none to log in"),
                "write `x` or `!`",
            );
        }
        if path == "etc/shadow" {
            continue;
        }
        let id = rest.first().copied().unwrap_or_default();
        if id.parse::<u32>().is_err() {
            report.fail(view.path(path), "a numeric id", format!("{name:?} has {id:?}"), ADVICE);
        } else if let Some(other) = ids.insert(id, name) {
            report.fail(view.path(path), "each id once", format!("{other:?} and {name:?} both have {id}"), ADVICE);
        }
    }
}
