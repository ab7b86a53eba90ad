//! One affected entry: its list of versions and its ranges, any of which may hold the component's version.

use super::identity::Match;
use super::range::{self, Finding, Reach};
use super::scale::{Place, Scale};
use super::tag;
use crate::error::shown;
use crate::{Affected, Component, Event, Range, RangeKind};

/// How many reasons of one entry an explanation gives.
const REASONS_SHOWN: usize = 3;

/// How much an entry's answer weighs; the smallest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It speaks of the component's own versions.
    Own,
    /// It speaks of commits, or of versions that are not the component's.
    Hearsay,
}

/// The answer of one entry.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) standing: Standing,
    pub(super) reach: Reach,
    pub(super) reason: String,
}

/// Evaluates an entry that is about the component.
pub(super) fn evaluate(entry: &Affected, matched: &Match, component: &Component) -> Verdict {
    let (standing, finding) = match (&entry.package, matched) {
        (Some(package), Match::Purl(_) | Match::Name(..)) => {
            by_versions(entry, &Scale::new(&package.ecosystem, matched, component), component)
        }
        _ => by_commits(entry, component),
    };
    let subject = entry.package.as_ref().map_or_else(
        || "the repository's entry".to_owned(),
        |package| format!("{}:{}", shown(&package.ecosystem), shown(&package.name)),
    );
    let reason = format!("{subject} (matched {matched}): {}", finding.reason);
    Verdict { standing, reach: finding.reach, reason }
}

/// The list of versions, then the ranges that are not of commits; commits only where there is nothing else.
fn by_versions(entry: &Affected, scale: &Scale<'_>, component: &Component) -> (Standing, Finding) {
    let mut findings = Vec::new();
    if !entry.versions.is_empty() {
        findings.push(listed(&entry.versions, scale));
    }
    let mut only_commits = entry.versions.is_empty();
    for range in &entry.ranges {
        match range.kind {
            RangeKind::Semver => findings.push(range::evaluate(range, &scale.semver())),
            RangeKind::Ecosystem => findings.push(range::evaluate(range, scale)),
            RangeKind::Git => continue,
        }
        only_commits = false;
    }
    let has_commits = entry.ranges.iter().any(|range| range.kind == RangeKind::Git);
    // A list beside commit ranges holds tags, which need not be written as versions are.
    if has_commits && entry.ranges.iter().all(|range| range.kind == RangeKind::Git) {
        return by_commits(entry, component);
    }
    if only_commits {
        let reason = "the entry names no versions".to_owned();
        return (Standing::Own, Finding { reach: Reach::Unknown, reason });
    }
    (if scale.is_own() { Standing::Own } else { Standing::Hearsay }, any_of(findings))
}

/// Is the version in the list?
fn listed(versions: &[String], scale: &Scale<'_>) -> Finding {
    let mut undecided = None;
    for version in versions {
        match scale.is_listed(version) {
            Place::At => {
                let reason = format!("its list of versions holds {}", shown(version));
                return Finding { reach: Reach::Yes, reason };
            }
            Place::Undecided(why) => undecided = undecided.or(Some(why)),
            Place::Before | Place::After => {}
        }
    }
    match undecided {
        // On the component's own scale a list is compared as text first: an odd entry elsewhere in it is no doubt.
        Some(why) if !scale.is_own() => Finding { reach: Reach::Unknown, reason: why },
        _ => Finding { reach: Reach::No, reason: format!("{} is not in its list of versions", scale.version) },
    }
}

/// Commit ranges: what is affected from the beginning, then the list of tags, which is what the ranges come to.
fn by_commits(entry: &Affected, component: &Component) -> (Standing, Finding) {
    let scale = Scale::commits(component);
    let of_commits: Vec<&Range> = entry.ranges.iter().filter(|range| range.kind == RangeKind::Git).collect();
    let by_range = any_of(of_commits.iter().map(|range| range::evaluate(range, &scale)).collect());
    let tags = tag::Tags::read(&entry.versions, component);
    if let Some(tag) = tags.of_version() {
        let reason = format!("its list of tags holds {}", shown(tag));
        return (Standing::Own, Finding { reach: Reach::Yes, reason });
    }
    if by_range.reach != Reach::Unknown {
        return (Standing::Own, by_range);
    }
    if !tags.is_readable() {
        let reason = format!("{}, and no list of versions says which releases have them", by_range.reason);
        return (Standing::Hearsay, Finding { reach: Reach::Unknown, reason });
    }
    let is_open = of_commits.iter().any(|range| range.events.iter().all(|e| matches!(e, Event::Introduced(_))));
    if is_open && tags.are_older() {
        let reason = format!("{}, no commit ends it, and the list ends before {}", by_range.reason, component.version);
        return (Standing::Own, Finding { reach: Reach::Unknown, reason });
    }
    let reason = format!("no tag of {} is in its list of {} affected tags", component.version, entry.versions.len());
    (Standing::Own, Finding { reach: Reach::No, reason })
}

/// Any one that holds is enough; one that is unknown leaves the whole unknown.
fn any_of(findings: Vec<Finding>) -> Finding {
    let reach = [Reach::Yes, Reach::Unknown].into_iter().find(|r| findings.iter().any(|f| f.reach == *r));
    let reach = reach.unwrap_or(Reach::No);
    let reasons: Vec<String> = findings.into_iter().filter(|f| f.reach == reach).map(|f| f.reason).collect();
    let mut reason = reasons.iter().take(REASONS_SHOWN).cloned().collect::<Vec<_>>().join(" and ");
    if reach == Reach::Yes {
        reason = reasons.into_iter().next().unwrap_or_default();
    } else if reasons.len() > REASONS_SHOWN {
        reason.push_str(&format!(" and {} more", reasons.len() - REASONS_SHOWN));
    }
    Finding { reach, reason }
}
