//! Whether a second build gives the same bytes, and whether a layer's framing is free of what changes by itself.

use crate::catalogue::{Check, Look, Report, check};
use crate::observe::{LayerFacts, Member};
use crate::subject::Package;
use crate::verdict::{Object, Severity::Block};
use crate::view::{OpenImage, View};
use anneal_content::{OutputName, TreeDigest};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const CHECKS: &[Check] = &[
    check("REP-01", Block, "a second build gives the same outputs", Look::Packages(repeated)),
    check("REP-02", Block, "other surroundings give the same outputs", Look::Packages(tried)),
    check(
        "REP-06",
        Block,
        "layers are normal: sorted, one time from the source epoch, owners by number",
        Look::Image(normal_archive),
    ),
    check("REP-07", Block, "compression headers hold no time and no name", Look::Image(plain_compression)),
];

fn repeated(view: &View<'_>, package: &Package, report: &mut Report) {
    report.saw();
    let object = view.package(&package.name);
    let Some((first, again)) = package.builds.split_first() else {
        report.fail(object, "the outputs of two builds", "no build", "name the build's outputs in the subject");
        return;
    };
    if again.is_empty() {
        report.fail(
            object.clone(),
            "the outputs of two builds",
            "one build",
            "build it a second time; the daemon does when one of the two results is missing",
        );
    }
    for (number, other) in again.iter().enumerate() {
        if other != first {
            report.fail(
                object.clone(),
                format!("build {} gives the same trees as build 1", number + 2),
                differences(first, other),
                "compare the two trees; times, paths, locale, core count and directory order are the usual causes",
            );
        }
    }
}

/// A package that nobody tried is not looked at here: that it was repeated at all is the check above.
fn tried(view: &View<'_>, package: &Package, report: &mut Report) {
    let Some(first) = package.builds.first() else { return };
    for trial in &package.trials {
        report.saw();
        if trial.outputs != *first {
            report.fail(
                view.package(&package.name),
                format!("the same trees with these varied: {}", trial.varied.join(", ")),
                differences(first, &trial.outputs),
                format!("`anneal build --vary {}` names the cause, the files and the bytes", package.name),
            );
        }
    }
}

fn differences(first: &BTreeMap<OutputName, TreeDigest>, other: &BTreeMap<OutputName, TreeDigest>) -> String {
    let names: BTreeSet<_> = first.keys().chain(other.keys()).collect();
    let told = |tree: Option<&TreeDigest>| tree.map_or("nothing".to_owned(), ToString::to_string);
    let lines: Vec<String> = names
        .into_iter()
        .filter(|name| first.get(*name) != other.get(*name))
        .map(|name| format!("{name}: {} and then {}", told(first.get(name)), told(other.get(name))))
        .collect();
    lines.join("; ")
}

const ADVICE: &str = "write the layer with the layer writer; an archive made by another tool is not reproducible";

fn normal_archive(view: &View<'_>, image: &OpenImage<'_>, report: &mut Report) {
    for (number, layer) in image.layers.iter().enumerate() {
        let part = view.part(&format!("layer {number}"));
        let facts = match &layer.facts {
            Ok(facts) => facts,
            Err(why) => {
                report.fail(part, "a layer that can be read", why.clone(), ADVICE);
                continue;
            }
        };
        report.saw();
        for fault in &facts.archive_faults {
            report.fail(
                part.clone(),
                "headers with nothing but path, kind, mode and numeric owner",
                fault.clone(),
                ADVICE,
            );
        }
        if let Some((before, after)) = out_of_order(facts) {
            report.fail(part.clone(), "members sorted by path", format!("{after:?} after {before:?}"), ADVICE);
        }
        one_time(part, facts, image.image.epoch_secs, report);
    }
}

/// A layer has the epoch of what is in it, so that it keeps its digest in a later image: one time, and none that is
/// later than the image's. A clock's time would be later.
fn one_time(part: Object, facts: &LayerFacts, epoch: u64, report: &mut Report) {
    let Some(time) = facts.members.first().map(|member| member.mtime) else { return };
    let wrong: Vec<&Member> = facts.members.iter().filter(|m| m.mtime != time || m.mtime > epoch).collect();
    if let Some(first) = wrong.first() {
        report.fail(
            part,
            format!("one time for all members, not later than {epoch}"),
            format!("{} members with another time, first {} with {}", wrong.len(), first.path, first.mtime),
            ADVICE,
        );
    }
}

/// The first pair that is sorted neither by bytes nor by path components, whichever order holds longest.
fn out_of_order(facts: &LayerFacts) -> Option<(&str, &str)> {
    let pairs = || facts.members.windows(2).filter_map(|w| Some((w.first()?.path.as_str(), w.get(1)?.path.as_str())));
    let by_bytes = pairs().find(|(a, b)| a >= b);
    let by_parts = pairs().find(|(a, b)| a.split('/').ge(b.split('/')));
    by_bytes.and(by_parts)
}

fn plain_compression(view: &View<'_>, image: &OpenImage<'_>, report: &mut Report) {
    for (number, layer) in image.layers.iter().enumerate() {
        let part = view.part(&format!("layer {number}"));
        let faults = match &layer.facts {
            Ok(facts) => facts.compression_faults.clone(),
            Err(why) => vec![why.clone()],
        };
        report.saw();
        for fault in faults {
            report.fail(
                part.clone(),
                "compression headers with neither time, name, comment nor extra fields",
                fault,
                "write the layer with the layer writer",
            );
        }
    }
}
