//! What changed since the last approved release, against what the plan said would change.

use crate::catalogue::{Check, Look, Report, check};
use crate::documents::{self, Config, Manifest};
use crate::observe::MemberKind;
use crate::root::NodeKind;
use crate::subject::{PlannedChange, Previous, PreviousImage, PreviousPackage};
use crate::verdict::Severity::{Block, Inform, Warn};
use crate::view::{OpenImage, View};
use anneal_content::{Entry, EntryKind, PackageName};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const CHECKS: &[Check] = &[
    check("REG-01", Warn, "the image is at most 5 % larger than the last release", Look::ImageChange(size)),
    check("REG-03", Warn, "packages came and went as planned", Look::Change(package_set)),
    check("REG-04", Block, "files changed only in packages that were rebuilt", Look::Change(changed_files)),
    check("REG-05", Inform, "a pull fetches only layers that had to change", Look::ImageChange(pulled)),
    check("REG-06", Warn, "no more ports, programs or setuid files than before", Look::ImageChange(surface)),
];

/// How much larger an image may be, in percent.
const GROWTH_PERCENT: u64 = 5;
/// How many files are named in one finding.
const FILES_TOLD: usize = 5;
const PROGRAM_DIRS: &[&str] = &["bin", "sbin", "usr/bin", "usr/sbin"];

/// The last image's documents, or a failure.
fn old_image<'a>(view: &View<'_>, previous: &'a Previous, report: &mut Report) -> Option<&'a PreviousImage> {
    if previous.image.is_none() {
        let advice = "name the last release's manifest and config in the subject";
        report.fail(view.part("previous"), "the last release's documents", "not given", advice);
    }
    previous.image.as_ref()
}

fn read<T: for<'de> serde::Deserialize<'de>>(
    view: &View<'_>,
    what: &str,
    bytes: &[u8],
    report: &mut Report,
) -> Option<T> {
    match documents::read(what, bytes) {
        Ok(read) => Some(read),
        Err(why) => {
            let advice = "`anneal store scrub` tells what the store has lost";
            report.fail(view.part(&format!("previous {what}")), "a document that can be read", why, advice);
            None
        }
    }
}

/// The plan, or a failure.
fn plan<'a>(view: &View<'a>, report: &mut Report) -> Option<&'a PlannedChange> {
    if view.subject.plan.is_none() {
        report.fail(view.whole(), "the plan that led here", "not given", "name what was planned in the subject");
    }
    view.subject.plan.as_ref()
}

fn total(manifest: &Manifest) -> u64 {
    manifest.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add)
}

fn size(view: &View<'_>, image: &OpenImage<'_>, previous: &Previous, report: &mut Report) {
    let Some(old) = old_image(view, previous, report) else { return };
    let Some(old) = read::<Manifest>(view, "manifest", &old.manifest, report) else { return };
    report.saw();
    let (before, now) = (total(&old), total(&image.manifest));
    let allowed =
        before.saturating_add(before / 100 * GROWTH_PERCENT).saturating_add(before % 100 * GROWTH_PERCENT / 100);
    report.note = Some(format!("{before} bytes before, {now} now"));
    if now > allowed {
        report.fail(
            view.part("manifest.layers"),
            format!("at most {allowed} bytes in all ({GROWTH_PERCENT} % more than {before})"),
            now.to_string(),
            "look at what was added: `anneal candidate diff`",
        );
    }
}

fn package_set(view: &View<'_>, previous: &Previous, report: &mut Report) {
    let Some(plan) = plan(view, report) else { return };
    let now: BTreeMap<&PackageName, _> = view.subject.packages.iter().map(|p| (&p.name, &p.version)).collect();
    let before: BTreeMap<&PackageName, _> = previous.packages.iter().map(|p| (&p.name, &p.version)).collect();
    const ADVICE: &str = "plan again: something changed that the plan did not name";
    for name in now.keys().chain(before.keys()).collect::<BTreeSet<_>>() {
        report.saw();
        let (was, is) = (before.contains_key(name), now.contains_key(name));
        let (found, planned) = match (was, is) {
            (false, true) => ("new", plan.added.contains(*name)),
            (true, false) => ("gone", plan.removed.contains(*name)),
            _ if before.get(name) != now.get(name) => ("another version", plan.rebuilt.contains(*name)),
            _ => continue,
        };
        if !planned {
            report.fail(view.package(name), "as the plan says", found, ADVICE);
        }
    }
    for name in plan.added.iter().filter(|name| !now.contains_key(name)) {
        report.fail(view.package(name), "added, as the plan says", "not there", ADVICE);
    }
    for name in plan.removed.iter().filter(|name| now.contains_key(name)) {
        report.fail(view.package(name), "removed, as the plan says", "still there", ADVICE);
    }
}

fn changed_files(view: &View<'_>, previous: &Previous, report: &mut Report) {
    let Some(plan) = plan(view, report) else { return };
    for old in previous.packages.iter().filter(|p| !plan.rebuilt.contains(&p.name) && !plan.removed.contains(&p.name)) {
        report.saw();
        let changed = changes(view, old);
        if !changed.is_empty() {
            let named = changed.iter().take(FILES_TOLD).cloned().collect::<Vec<_>>().join(", ");
            report.fail(
                view.package(&old.name),
                "no file changed: the plan does not rebuild this package",
                format!("{} changed: {named}", changed.len()),
                "do not release: find out what wrote these files",
            );
        }
    }
}

/// Paths of a package that are new, gone or different.
fn changes(view: &View<'_>, old: &PreviousPackage) -> Vec<String> {
    let before: BTreeMap<&str, &Entry> = old.entries.iter().map(|e| (e.path.as_str(), e)).collect();
    let mut changed = BTreeSet::new();
    for (path, entry) in &before {
        let same = view.root.nodes.get(*path).is_some_and(|node| match (&entry.kind, &node.kind) {
            (EntryKind::File { digest, .. }, NodeKind::File { digest: found, .. }) => {
                digest == found && entry.mode == node.mode
            }
            (EntryKind::Symlink { target }, NodeKind::Symlink { target: found }) => target == found,
            (EntryKind::Directory, NodeKind::Directory) => true,
            _ => false,
        });
        if !same {
            changed.insert((*path).to_owned());
        }
    }
    let now = view.subject.packages.iter().filter(|p| p.name == old.name).flat_map(|p| &p.entries);
    changed.extend(now.map(|e| e.path.as_str()).filter(|p| !before.contains_key(p)).map(str::to_owned));
    changed.into_iter().collect()
}

fn pulled(view: &View<'_>, image: &OpenImage<'_>, previous: &Previous, report: &mut Report) {
    let Some(plan) = plan(view, report) else { return };
    let Some(old) = old_image(view, previous, report) else { return };
    let Some(old) = read::<Manifest>(view, "manifest", &old.manifest, report) else { return };
    let held: BTreeSet<&str> = old.layers.iter().map(|l| l.digest.as_str()).collect();
    let mut bytes = (image.image.manifest.len() + image.image.config.len()) as u64;
    let mut fetched = 0;
    for (number, layer) in image.layers.iter().enumerate() {
        report.saw();
        if held.contains(layer.descriptor.digest.as_str()) {
            continue;
        }
        fetched += 1;
        bytes = bytes.saturating_add(layer.descriptor.size);
        let Ok(facts) = &layer.facts else { continue };
        let planned = |name: &PackageName| plan.rebuilt.contains(name) || plan.added.contains(name);
        // What belongs to no package is the image recipe's own layer, which names the packages' versions.
        let mut files = facts.members.iter().filter(|m| m.kind != MemberKind::Directory).peekable();
        let had_to = files.peek().is_none() || files.any(|m| view.owner(&m.path).is_none_or(planned));
        if !had_to {
            report.fail(
                view.part(&format!("layer {number}")),
                "the same digest as before: nothing in it was rebuilt",
                format!("{} new bytes to pull", layer.descriptor.size),
                "the layer writer changed, or packages moved between layers; see the layering in `anneal image show`",
            );
        }
    }
    report.note = Some(format!("{bytes} bytes to pull: {fetched} of {} layers", image.layers.len()));
}

fn surface(view: &View<'_>, image: &OpenImage<'_>, previous: &Previous, report: &mut Report) {
    let Some(old) = old_image(view, previous, report) else { return };
    let Some(old) = read::<Config>(view, "config", &old.config, report) else { return };
    let entries = || previous.packages.iter().flat_map(|p| &p.entries);
    let old_programs: BTreeSet<&str> = entries().map(|e| e.path.as_str()).filter(|p| in_program_dir(p)).collect();
    let old_setuid: BTreeSet<&str> = entries().filter(|e| e.mode & 0o6000 != 0).map(|e| e.path.as_str()).collect();
    const ADVICE: &str = "a fix should not open anything new: leave it out, or waive it with a reason";
    report.saw();
    for port in image.config.config.exposed_ports.keys().filter(|p| !old.config.exposed_ports.contains_key(*p)) {
        report.fail(view.part(&format!("config.ExposedPorts[{port}]")), "ports as before", "a new one", ADVICE);
    }
    for (path, node) in view.nodes().filter(|(_, node)| node.kind != NodeKind::Directory) {
        report.saw();
        if in_program_dir(path) && !old_programs.contains(path) {
            report.fail(view.path(path), "programs as before", "a new one", ADVICE);
        }
        let is_file = matches!(node.kind, NodeKind::File { .. });
        if is_file && node.mode & 0o6000 != 0 && !old_setuid.contains(path) {
            report.fail(view.path(path), "setuid files as before", "a new one", ADVICE);
        }
    }
}

fn in_program_dir(path: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(dir, _)| PROGRAM_DIRS.contains(&dir))
}
