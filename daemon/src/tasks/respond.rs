//! From an advisory to the recipe revision that answers it.

use super::kept_builds;
use crate::{
    branch::in_force,
    error::Result,
    service::{Active, Service},
};
use anneal_advisory::{Advisory, Component, Judgement, Remediation};
use anneal_content::{BlobDigest, CatalogDigest, ImageName, PackageName, Version, canonical_json};
use anneal_ledger::{CaseStatus, Event, Hit, HitKind, RevisionCause};
use anneal_plan::{Toolchain, plan};
use anneal_recipe::{Catalog, PackageRecipe};
use std::collections::{BTreeMap, BTreeSet};

/// A recipe's package as advisories know it, at a version.
pub(crate) fn component_of(recipe: &PackageRecipe, version: &Version) -> Component {
    let names = recipe.upstream.names.iter().map(|n| (n.ecosystem.clone(), n.name.clone()));
    Component {
        name: recipe.name.clone(),
        version: version.clone(),
        purl: recipe.upstream.purl.clone(),
        repository: recipe.upstream.repository.clone(),
        names: names.collect(),
    }
}

/// What an advisory touches in a catalogue: packages, and the images that contain them.
pub(crate) fn judge_catalog(advisory: &Advisory, catalog: &Catalog) -> Result<(Vec<Hit>, Vec<ImageName>)> {
    let mut hits = Vec::new();
    for (name, recipe) in catalog.packages() {
        let (kind, explanation) = match anneal_advisory::judge(advisory, &component_of(recipe, recipe.version())) {
            Judgement::Affected { explanation } => (HitKind::Affected, explanation),
            Judgement::Unknown { explanation } => (HitKind::Unknown, explanation),
            Judgement::NotAffected { .. } | Judgement::Unrelated => continue,
        };
        hits.push(Hit { package: name.clone(), version: recipe.version().clone(), kind, explanation });
    }
    let mut images = Vec::new();
    for name in catalog.images().keys() {
        let packages = catalog.image_packages(name)?;
        if hits.iter().any(|hit| packages.contains(&hit.package)) {
            images.push(name.clone());
        }
    }
    Ok((hits, images))
}

pub(super) fn match_advisory(service: &Service, id: &str, record: BlobDigest, revision: CatalogDigest) -> Result<()> {
    let advisory = anneal_advisory::parse(&service.small_blob(&record)?)?;
    let (hits, images) = judge_catalog(&advisory, &service.active().catalog)?;
    let touched: Vec<_> = hits.iter().map(|hit| hit.package.clone()).collect();
    service.index.put_advisory(id, &advisory.aliases, &record, &touched)?;
    service.record(Event::AdvisoryMatched { id: id.to_owned(), record, revision, hits, images })
}

/// The release that each package moves from, and to.
pub(crate) type Bumps = BTreeMap<PackageName, (Version, Version)>;

/// What would answer an advisory: the releases to move to, or why there are none.
pub(crate) fn remediation_of(
    catalog: &Catalog,
    advisories: &[Advisory],
    answering: &BTreeSet<String>,
    hits: &[Hit],
) -> Result<(Bumps, Vec<String>)> {
    let (mut bumps, mut blocked) = (BTreeMap::new(), Vec::new());
    for hit in hits.iter().filter(|hit| hit.kind == HitKind::Affected) {
        let recipe = catalog.package(&hit.package)?;
        let listed: Vec<Version> = recipe.releases.listed().map(|release| release.version.clone()).collect();
        let component = component_of(recipe, recipe.version());
        // A release is refused for what is being answered, and for what the package is free of now. What it has either
        // way is no reason to stay with more.
        let counts = |advisory: &&Advisory| {
            let now = anneal_advisory::judge(advisory, &component);
            answering.contains(&advisory.id) || matches!(now, Judgement::NotAffected { .. } | Judgement::Unrelated)
        };
        let against: Vec<Advisory> = advisories.iter().filter(counts).cloned().collect();
        match anneal_advisory::remediate(&against, &component, &listed) {
            Remediation::Bump { to } => drop(bumps.insert(hit.package.clone(), (recipe.version().clone(), to))),
            Remediation::Blocked { why } => blocked.push(format!("{}: {why}", hit.package)),
        }
    }
    Ok((bumps, blocked))
}

/// The catalogue with other releases, derived.
pub(crate) fn bumped(service: &Service, catalog: &Catalog, bumps: &Bumps) -> Result<Active> {
    let versions = bumps.iter().map(|(package, (_, to))| (package.clone(), to.clone())).collect();
    let active = service.active();
    let (catalog, toolchain) = (catalog.with_versions(&versions)?, Toolchain::clone(&active.toolchain));
    service.with_state(|state| Active::of(catalog, toolchain, (state, &service.builder), Some(&active)))
}

/// Answers all open cases with one revision, so that a storm of advisories is one rebuild.
pub(super) fn remediate(service: &Service, ids: &[String]) -> Result<()> {
    let _changing = service.changing();
    let state = service.state();
    let active = service.active();
    let revision = active.catalog.digest()?;
    // Every known advisory counts: a release that leaves one range and enters another is no remedy.
    let mut known = Vec::new();
    for record in state.advisories.values() {
        known.push(anneal_advisory::parse(&service.small_blob(record)?)?);
    }
    // Those that are answered together, so that one revision answers as many as it can; but one that nothing answers
    // must not hold up the others, so each is first asked alone.
    let mut bumps: Bumps = BTreeMap::new();
    let mut events = Vec::new();
    let mut answered = Vec::new();
    for id in ids {
        let Some(case) = state.cases.get(id).filter(|case| case.status == CaseStatus::Open) else { continue };
        let answering = BTreeSet::from([id.clone()]);
        let (moves, blocked) = remediation_of(&active.catalog, &known, &answering, &case.hits)?;
        if blocked.is_empty() {
            answered.push((id.clone(), moves.clone()));
            for (package, (from, to)) in moves {
                let further =
                    bumps.get(&package).is_none_or(|(_, reached)| later(&active.catalog, &package, &to, reached));
                if further {
                    bumps.insert(package, (from, to));
                }
            }
        } else {
            events.push(Event::CaseBlocked { advisory: id.clone(), revision, why: blocked.join("; ") });
        }
    }
    if answered.is_empty() {
        return service.record_all(events);
    }
    let next = bumped(service, &active.catalog, &bumps)?;
    let realised = service.builder.realised(&next.derived)?;
    let goal: BTreeSet<ImageName> = next.derived.images.keys().cloned().collect();
    let known = realised.keys().copied().collect();
    let kept = kept_builds(&service.builder.kept(&next.derived, next.derived.derivations.keys(), &realised)?);
    let steps = plan(Some(&active.derived), &next.derived, &goal, &known, &BTreeMap::new()).with_kept(&kept);
    let steps = service.store.put_blob(&canonical_json(&steps)?)?;
    let to = next.catalog.digest()?;
    let advisory = answered.iter().map(|a| a.0.as_str()).collect::<Vec<_>>().join(" ");
    let cause = RevisionCause::Remediation { advisory, over: in_force(&service.settings) };
    for (advisory, moves) in answered {
        // Where two cases move one package, both go to the later release.
        let reached = |package: &PackageName, to: Version| bumps.get(package).map_or(to, |(_, last)| last.clone());
        let moves = moves.into_iter().map(|(package, (from, to))| {
            let to = reached(&package, to);
            (package, from, to)
        });
        let bumps = moves.collect();
        events.push(Event::RemediationChosen { advisory, bumps, revision: to, plan: steps });
    }
    service.switch_catalog(next, events, cause)
}

/// Whether one listed release comes after another.
fn later(catalog: &Catalog, package: &PackageName, one: &Version, other: &Version) -> bool {
    let listed =
        catalog.packages().get(package).map(|recipe| recipe.releases.listed().map(|r| &r.version).collect::<Vec<_>>());
    let at = |version: &Version| listed.as_ref().and_then(|all| all.iter().position(|v| *v == version));
    at(one) > at(other)
}
