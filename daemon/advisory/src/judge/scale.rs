//! Where a component's version stands relative to a version of the record, on the scale that the entry uses.
//!
//! A component carries upstream's version. Records of distributions speak of upstream's version plus a revision, and
//! fixes are carried back to old versions; records of language registries number their own packages. Comparing such
//! versions with ours answers a question that nobody asked, so only what both have in common is compared.

use super::identity::{Match, purl_type};
use crate::ecosystem::{Origin, known};
use crate::error::shown;
use crate::order::{Key, Order};
use crate::{Component, Event, Unknown};
use std::cmp::Ordering;

/// Where the component's version stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Before,
    At,
    After,
    /// It cannot be told, and why.
    Undecided(String),
}

/// The scale of one entry, with the component's version on it.
#[derive(Debug)]
pub(super) struct Scale<'a> {
    pub(super) version: &'a str,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The component's version is one of the entry's.
    Same { order: Order, key: Result<Key, Unknown> },
    /// The entry has upstream's version and a revision.
    UpstreamPart { order: Option<Order>, key: Result<Key, Unknown> },
    /// The entry's versions have nothing to do with upstream's.
    Foreign { ecosystem: String },
    /// The entry's versions are commits.
    Commits,
}

impl<'a> Scale<'a> {
    /// The scale of the versions of an ecosystem for a component matched in this way.
    pub(super) fn new(ecosystem: &str, matched: &Match, component: &'a Component) -> Self {
        let version = component.version.as_str();
        let row = known(ecosystem);
        let kind = component.purl.as_deref().and_then(purl_type);
        let is_native = kind.as_deref().is_some_and(|kind| row.purl_types.contains(&kind));
        let order = row.order.unwrap_or(Order::Generic);
        let same = || Kind::Same { order, key: order.key(version) };
        let kind = match row.origin {
            Origin::Upstream => same(),
            Origin::Registry if is_native || kind.is_none() || matches!(matched, Match::Purl(_)) => same(),
            Origin::Registry => Kind::Foreign { ecosystem: shown(ecosystem) },
            // Without a package URL, a revision tells that the component is the distribution's own package.
            Origin::Distribution if is_native || (kind.is_none() && version.contains('-')) => same(),
            Origin::Distribution => Kind::UpstreamPart { order: row.order, key: Order::Generic.key(version) },
        };
        Self { version, kind }
    }

    /// The same component on the scale of semantic versions.
    pub(super) fn semver(&self) -> Self {
        let kind = match &self.kind {
            Kind::Foreign { ecosystem } => Kind::Foreign { ecosystem: ecosystem.clone() },
            _ => Kind::Same { order: Order::Semver, key: Order::Semver.key(self.version) },
        };
        Self { version: self.version, kind }
    }

    /// A scale on which only the beginning of everything has a place.
    pub(super) fn commits(component: &'a Component) -> Self {
        Self { version: component.version.as_str(), kind: Kind::Commits }
    }

    /// Whether the entry's versions are the component's own.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.kind, Kind::Same { .. })
    }

    /// What the comparison goes by, for explanations.
    pub(super) fn name(&self) -> String {
        match &self.kind {
            Kind::Same { order, .. } => format!("{order} order"),
            Kind::UpstreamPart { .. } => "generic order of the upstream parts".to_owned(),
            Kind::Foreign { ecosystem } => format!("versions of {ecosystem}"),
            Kind::Commits => "commits".to_owned(),
        }
    }

    /// The key by which the record's own versions are sorted.
    pub(super) fn sort_key(&self, version: &str) -> Result<Key, Unknown> {
        let without =
            |reason: &str| Unknown { ecosystem: self.name(), version: shown(version), reason: reason.to_owned() };
        match &self.kind {
            Kind::Same { order, .. } | Kind::UpstreamPart { order: Some(order), .. } => order.key(version),
            Kind::UpstreamPart { order: None, .. } => Err(without("the order of this ecosystem is not known")),
            Kind::Foreign { .. } => Err(without("these versions are not upstream's")),
            Kind::Commits => Err(without("the order of commits is known to their repository only")),
        }
    }

    /// Where the component's version stands relative to an event.
    pub(super) fn place(&self, event: &Event) -> Place {
        match (&self.kind, event) {
            (_, Event::Introduced(v)) if v == "0" => Place::After,
            (_, Event::Limit(v)) if v == "*" => Place::Before,
            (Kind::Same { order, key }, event) => same(*order, key, event.version()),
            (Kind::UpstreamPart { key, .. }, event) => upstream(key, event),
            (Kind::Foreign { ecosystem }, event) => Place::Undecided(format!(
                "{} is a version of {ecosystem}, which numbers its own packages, and {} is upstream's",
                shown(event.version()),
                self.version
            )),
            (Kind::Commits, event) => {
                Place::Undecided(format!("{} is a commit, and {} a version", shown(event.version()), self.version))
            }
        }
    }

    /// Whether a listed version is the component's.
    pub(super) fn is_listed(&self, listed: &str) -> Place {
        match &self.kind {
            Kind::Same { .. } if listed == self.version => Place::At,
            Kind::Same { order, key } => match same(*order, key, listed) {
                Place::At => Place::At,
                _ => Place::After,
            },
            Kind::UpstreamPart { key, .. } => match by_upstream_part(key, listed) {
                Ok((Ordering::Equal, _)) => Place::Undecided(format!(
                    "the upstream part of the listed {} is equal, and its revision may hold a patch",
                    shown(listed)
                )),
                Ok(_) => Place::After,
                Err(unknown) => Place::Undecided(unknown.to_string()),
            },
            Kind::Foreign { ecosystem } => {
                Place::Undecided(format!("the listed versions are of {ecosystem}, not upstream's"))
            }
            Kind::Commits => Place::After,
        }
    }
}

fn same(order: Order, key: &Result<Key, Unknown>, other: &str) -> Place {
    match (key, order.key(other)) {
        (Ok(key), Ok(other)) => match key.cmp(&other) {
            Ordering::Less => Place::Before,
            Ordering::Equal => Place::At,
            Ordering::Greater => Place::After,
        },
        (Err(unknown), _) => Place::Undecided(unknown.to_string()),
        (_, Err(unknown)) => Place::Undecided(unknown.to_string()),
    }
}

/// Compares by the upstream part of a distribution's version, where that decides.
///
/// An equal upstream part decides nothing: the revision may hold a patch. A later upstream version is past a fix only
/// if the fixing revision was the first of its upstream version; a later revision carries the fix back to an old
/// version, and later upstream versions may still be without it.
fn upstream(key: &Result<Key, Unknown>, event: &Event) -> Place {
    let version = shown(event.version());
    let (order, is_first_revision) = match by_upstream_part(key, event.version()) {
        Ok(known) => known,
        Err(unknown) => return Place::Undecided(unknown.to_string()),
    };
    match (order, event) {
        (Ordering::Less, _) => Place::Before,
        (Ordering::Equal, _) => {
            Place::Undecided(format!("the upstream part of {version} is equal, and its revision may hold a patch"))
        }
        (Ordering::Greater, Event::LastAffected(_)) => Place::Undecided(format!(
            "whether what followed {version} was a patch or a new upstream version is not said"
        )),
        (Ordering::Greater, Event::Fixed(_)) if !is_first_revision => Place::Undecided(format!(
            "{version} is a later revision of an older upstream version, so the fix may be a patch carried back"
        )),
        (Ordering::Greater, _) => Place::After,
    }
}

/// How the component's version stands to the upstream part of a distribution's, and whether that is a first revision.
fn by_upstream_part(key: &Result<Key, Unknown>, theirs: &str) -> Result<(Ordering, bool), Unknown> {
    let parts = Parts::of(theirs);
    let theirs = Order::Generic.key(parts.upstream)?;
    Ok((key.as_ref().map_err(Clone::clone)?.cmp(&theirs), parts.is_first_revision))
}

/// A distribution's version taken apart.
struct Parts<'a> {
    upstream: &'a str,
    is_first_revision: bool,
}

impl<'a> Parts<'a> {
    /// `1:1.2.13.dfsg-1` has the upstream part `1.2.13` and is its first revision.
    fn of(version: &'a str) -> Self {
        let without_epoch = match version.split_once(':') {
            Some((epoch, rest)) if epoch.bytes().all(|b| b.is_ascii_digit()) => rest,
            _ => version,
        };
        let (upstream, revision) = without_epoch.rsplit_once('-').unwrap_or((without_epoch, ""));
        let repacked = ["+dfsg", ".dfsg", "~dfsg", "+ds", "~ds", "+repack"];
        let end = repacked.iter().filter_map(|mark| upstream.find(mark)).min().unwrap_or(upstream.len());
        Self {
            upstream: &upstream[..end],
            is_first_revision: matches!(revision, "" | "0" | "1" | "r0" | "0ubuntu1" | "1ubuntu1"),
        }
    }
}
