//! From an advisory to the recipe revision that answers it.

use crate::{
    error::Result,
    service::{Active, Service},
};
use anneal_advisory::{Advisory, Component, Judgement, Remediation};
use anneal_content::{BlobDigest, CatalogDigest, ImageName, PackageName, Version, canonical_json};
use anneal_ledger::{CaseStatus, Event, Hit, HitKind, RevisionCause};
use anneal_plan::{derive, plan};
use anneal_recipe::{Catalog, PackageRecipe};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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
    hits: &[Hit],
) -> Result<(Bumps, Vec<String>)> {
    let (mut bumps, mut blocked) = (BTreeMap::new(), Vec::new());
    for hit in hits.iter().filter(|hit| hit.kind == HitKind::Affected) {
        let recipe = catalog.package(&hit.package)?;
        let listed: Vec<Version> = recipe.releases.listed().map(|release| release.version.clone()).collect();
        let component = component_of(recipe, recipe.version());
        match anneal_advisory::remediate(advisories, &component, &listed) {
            Remediation::Bump { to } => drop(bumps.insert(hit.package.clone(), (recipe.version().clone(), to))),
            Remediation::Blocked { why } => blocked.push(format!("{}: {why}", hit.package)),
        }
    }
    Ok((bumps, blocked))
}

/// The catalogue with other releases, derived.
pub(crate) fn bumped(
    service: &Service,
    catalog: &Catalog,
    bumps: &Bumps,
) -> Result<Active> {
    let versions = bumps.iter().map(|(package, (_, to))| (package.clone(), to.clone())).collect();
    let catalog = catalog.with_versions(&versions)?;
    let derived = derive(&catalog, &service.builder.toolchain())?;
    Ok(Active { catalog: Arc::new(catalog), derived: Arc::new(derived) })
}

/// Answers all open cases with one revision, so that a storm of advisories is one rebuild.
pub(super) fn remediate(service: &Service, ids: &[String]) -> Result<()> {
    let state = service.state();
    let active = service.active();
    let revision = active.catalog.digest()?;
    // Every known advisory counts: a release that leaves one range and enters another is no remedy.
    let mut known = Vec::new();
    for record in state.advisories.values() {
        known.push(anneal_advisory::parse(&service.small_blob(record)?)?);
    }
    let mut bumps = BTreeMap::new();
    let mut events = Vec::new();
    let mut answered = Vec::new();
    for id in ids {
        let Some(case) = state.cases.get(id).filter(|case| case.status == CaseStatus::Open) else { continue };
        let (moves, blocked) = remediation_of(&active.catalog, &known, &case.hits)?;
        if blocked.is_empty() {
            answered.push((id.clone(), moves.clone()));
            bumps.extend(moves);
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
    let steps =
        plan(Some(&active.derived), &next.derived, &goal, &realised.keys().copied().collect(), &BTreeMap::new());
    let steps = service.store.put_blob(&canonical_json(&steps)?)?;
    let to = next.catalog.digest()?;
    let cause =
        RevisionCause::Remediation { advisory: answered.iter().map(|a| a.0.as_str()).collect::<Vec<_>>().join(" ") };
    for (advisory, moves) in answered {
        let bumps = moves.into_iter().map(|(package, (from, to))| (package, from, to)).collect();
        events.push(Event::RemediationChosen { advisory, bumps, revision: to, plan: steps });
    }
    service.switch_catalog(next, events, cause)
}
