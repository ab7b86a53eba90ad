//! The shape of the file system: links that lead somewhere, paths that stay inside, and files that are somebody's.

use crate::catalogue::{Check, Look, Report, check};
use crate::observe::MemberKind;
use crate::root::{Node, NodeKind, plain_path};
use crate::verdict::Severity::Block;
use crate::view::{OpenImage, View};
use anneal_content::{Entry, EntryKind};
use std::collections::BTreeSet;

pub(crate) const CHECKS: &[Check] = &[
    check("FS-05", Block, "every link leads somewhere inside the image", Look::Root(links)),
    check("FS-06", Block, "layer members have plain paths, each once", Look::Image(members)),
    check("FS-10", Block, "nothing in /usr/local, and no program in both /bin and /usr/bin", Look::Root(places)),
    check("FS-12", Block, "every file belongs to exactly one package or to the image recipe", Look::Root(owners)),
    check("FS-13", Block, "no file is hidden beneath a later layer", Look::Image(hidden)),
];

fn links(view: &View<'_>, report: &mut Report) {
    for (path, node) in view.nodes() {
        let NodeKind::Symlink { target } = &node.kind else { continue };
        report.saw();
        if let Err(lost) = view.root.resolve(path) {
            report.fail(
                view.path(path),
                "a link to something in the image",
                format!("{target:?}: {lost}"),
                "add the package that has the target, or leave the link out",
            );
        }
    }
}

fn members(view: &View<'_>, image: &OpenImage<'_>, report: &mut Report) {
    const ADVICE: &str = "two readers may unpack it differently: write the layer with the layer writer";
    for (number, layer) in image.layers.iter().enumerate() {
        let Ok(facts) = &layer.facts else {
            report.fail(view.part(&format!("layer {number}")), "a layer that can be read", "unreadable", "see REP-06");
            continue;
        };
        let mut before = BTreeSet::new();
        let mut links = BTreeSet::new();
        for member in &facts.members {
            report.saw();
            let object = || view.part(&format!("layer {number}: {}", member.path));
            let Some(path) = plain_path(&member.path) else {
                report.fail(object(), "a relative path without `..`, `.` or empty names", member.path.clone(), ADVICE);
                continue;
            };
            if !before.insert(path) {
                report.fail(object(), "each path once", "twice", ADVICE);
                continue;
            }
            if let Some(link) = path.match_indices('/').map(|(at, _)| &path[..at]).find(|dir| links.contains(dir)) {
                report.fail(object(), "directories that are no links", format!("beneath the link {link}"), ADVICE);
            }
            match &member.kind {
                MemberKind::Symlink { .. } => {
                    links.insert(path);
                }
                MemberKind::HardLink { target } if plain_path(target).is_none_or(|t| !before.contains(t)) => {
                    report.fail(object(), "a hard link to an earlier member", target.clone(), ADVICE);
                }
                _ => {}
            }
        }
    }
}

fn places(view: &View<'_>, report: &mut Report) {
    for (path, node) in view.nodes() {
        if node.kind == NodeKind::Directory {
            continue;
        }
        report.saw();
        if path.starts_with("usr/local/") {
            report.fail(
                view.path(path),
                "nothing in /usr/local, which is the user's",
                "installed there",
                "configure the package with --prefix=/usr",
            );
        }
        for (dir, merged) in [("bin/", "usr/bin/"), ("sbin/", "usr/sbin/"), ("lib/", "usr/lib/")] {
            let Some(name) = path.strip_prefix(dir) else { continue };
            let twin = format!("{merged}{name}");
            let (here, there) = (view.root.resolve(path), view.root.resolve(&twin));
            if there.is_ok() && here != there {
                report.fail(
                    view.path(path),
                    format!("the same file as /{twin}, or only one of them"),
                    "two different ones",
                    "install into /usr only, and link the other name to it",
                );
            }
        }
    }
}

fn owners(view: &View<'_>, report: &mut Report) {
    let own: BTreeSet<&str> =
        view.subject.image.iter().flat_map(|image| &image.own_paths).map(|path| path.as_str()).collect();
    for (path, node) in view.nodes() {
        if node.kind == NodeKind::Directory {
            continue;
        }
        report.saw();
        let owned = view.owners(path);
        let packages: Vec<&str> = owned.iter().map(|(package, _)| package.name.as_str()).collect();
        let by_image = own.contains(path);
        match (packages.as_slice(), by_image) {
            ([_], false) => {
                owned.iter().for_each(|(_, entry)| same_as_packaged(view, path, node, entry, report));
            }
            ([], true) => {}
            ([], false) => report.fail(
                view.path(path),
                "one owner",
                "none",
                "find out which step put it there: everything in an image comes from a package or its recipe",
            ),
            (several, _) => {
                let mut names = several.join(" and ");
                if by_image {
                    names.push_str(" and the image recipe");
                }
                report.fail(view.path(path), "one owner", names, "leave it out of all but one of them");
            }
        }
    }
    if view.subject.image.is_some() {
        not_shipped(view, report);
    }
}

fn same_as_packaged(view: &View<'_>, path: &str, node: &Node, entry: &Entry, report: &mut Report) {
    let same = match (&entry.kind, &node.kind) {
        (EntryKind::File { digest, .. }, NodeKind::File { digest: found, .. }) => {
            digest == found && entry.mode == node.mode
        }
        (EntryKind::Symlink { target }, NodeKind::Symlink { target: found }) => target == found,
        _ => false,
    };
    if !same {
        report.fail(
            view.path(path),
            format!("as the package has it: {}", told_entry(entry)),
            told_node(node),
            "assemble the image again from the packages' outputs",
        );
    }
}

fn not_shipped(view: &View<'_>, report: &mut Report) {
    for package in &view.subject.packages {
        for entry in &package.entries {
            if !matches!(entry.kind, EntryKind::Directory) && !view.root.nodes.contains_key(entry.path.as_str()) {
                report.fail(
                    view.path(entry.path.as_str()),
                    "every file of the package in the image",
                    "missing",
                    "assemble the image again from the packages' outputs",
                );
            }
        }
    }
}

fn told_entry(entry: &Entry) -> String {
    match &entry.kind {
        EntryKind::File { digest, .. } => format!("{} mode {:04o}", digest.short(), entry.mode),
        EntryKind::Directory => "a directory".into(),
        EntryKind::Symlink { target } => format!("a link to {target:?}"),
    }
}

fn told_node(node: &Node) -> String {
    match &node.kind {
        NodeKind::File { digest, .. } => format!("{} mode {:04o}", digest.short(), node.mode),
        NodeKind::Directory => "a directory".into(),
        NodeKind::Symlink { target } => format!("a link to {target:?}"),
        NodeKind::Special { what } => what.clone(),
    }
}

fn hidden(view: &View<'_>, image: &OpenImage<'_>, report: &mut Report) {
    image.layers.iter().for_each(|_| report.saw());
    for hidden in &view.root.hidden {
        report.fail(
            view.path(&hidden.path),
            "every file of every layer is in the merged file system",
            format!(
                "layer {} has it, layer {} hides it; whoever pulls the image can still read it",
                hidden.layer, hidden.by
            ),
            "leave it out of the earlier layer",
        );
    }
}
