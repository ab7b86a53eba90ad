//! Former builds that ship with a library that an advisory moved: found, judged, and built in the end.
//!
//! ```text
//! build: everything but what may be swapped ─▶ judged ─▶ PackageKept (swapped) | SwapRefused ─▶ derived anew ─▶ the rest
//! when nothing else is built: what it stands in for ─▶ SwapSettled ─▶ derived anew: a candidate, where it is another image
//! ```
//! Each step is read off the state and the store, so after a kill it is simply next again.

use super::build::payloads;
use crate::{
    error::{Error, Result},
    service::{Active, Service},
};
use anneal_builder::{AssembledImage, Builder, Former, Realised, SwapReport, SwappedBuild};
use anneal_content::{BlobDigest, CatalogDigest, DerivationId, ImageName, PackageName, Version};
use anneal_ledger::{CaseStatus, Event, Ground, Image, Kept, Linked, PackageRecord, Settling, State};
use anneal_plan::{Derived, Swap, Swaps, derive};
use anneal_recipe::Catalog;
use anneal_sandbox::CancelToken;
use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

/// The largest catalogue that is read.
const CATALOG_BYTES_MAX: u64 = 256 << 20;

/// A package that may keep its former build.
pub(super) struct Undecided {
    pub(super) package: PackageName,
    version: Version,
    /// The derivation that the catalogue asks for.
    asked: DerivationId,
    former: std::result::Result<Former, String>,
    advisories: BTreeSet<String>,
}

/// The former builds that are used now, as far as they are there: what is lost is built instead.
pub(crate) fn swaps_in_force(state: &State, builder: &Builder, asked: &Derived) -> Result<Swaps> {
    // Packages that were swapped together come from one catalogue.
    let (mut swaps, mut catalogs) = (Swaps::new(), BTreeMap::new());
    for (id, kept) in state.kept.iter().filter(|(id, kept)| kept.is_swapped_in() && asked.derivations.contains_key(*id))
    {
        let Ground::Swapped { former, catalog, withdrawn, .. } = &kept.ground else { continue };
        if builder.has_build(former)? {
            let derived = match catalogs.entry((catalog, withdrawn)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(former_catalog(builder, catalog, withdrawn)?.1),
            };
            swaps.extend(Swap::of(*former, derived).map(|swap| (*id, swap)));
        }
    }
    Ok(swaps)
}

/// A catalogue of before, derived as it was then.
fn former_catalog(
    builder: &Builder,
    blob: &BlobDigest,
    withdrawn: &BTreeSet<PackageName>,
) -> Result<(Catalog, Derived)> {
    let catalog = Catalog::from_json(&builder.store().read_blob(blob, CATALOG_BYTES_MAX)?)?;
    let derived = derive(&catalog, &builder.toolchain(withdrawn.clone()))?;
    Ok((catalog, derived))
}

/// The packages that advisories under way moved to where the catalogue has them, each with those advisories.
fn moved(state: &State, catalog: &Catalog) -> BTreeMap<PackageName, BTreeSet<String>> {
    let mut moved: BTreeMap<PackageName, BTreeSet<String>> = BTreeMap::new();
    let under_way = state.cases.values().filter(|case| matches!(case.status, CaseStatus::Remediating { .. }));
    for (case, (package, _, to)) in under_way.flat_map(|case| case.bumps.iter().map(move |bump| (case, bump))) {
        if catalog.packages().get(package).is_some_and(|recipe| recipe.version() == to) {
            moved.entry(package.clone()).or_default().insert(case.advisory.clone());
        }
    }
    moved
}

/// The packages that are to be built for a library that an advisory moved, where every image that holds one allows a swap,
/// and nothing was decided yet.
pub(super) fn undecided(
    service: &Service,
    active: &Active,
    realised: &BTreeMap<DerivationId, Realised>,
) -> Result<Vec<Undecided>> {
    let state = service.state();
    let moved = moved(&state, &active.catalog);
    let mut undecided = Vec::new();
    for package in &active.derived.order {
        let (Some(asked), Some(id)) = (active.asked.ids.get(package), active.derived.ids.get(package)) else {
            continue;
        };
        let Some(derivation) = active.derived.derivations.get(id) else { continue };
        let is_decided = state.swap_refused.contains_key(asked) || state.kept.contains_key(asked);
        if is_decided || realised.contains_key(id) || !allowed(active, package)? {
            continue;
        }
        let libraries = derivation.requires.keys().filter_map(|input| moved.get(input));
        let advisories: BTreeSet<String> = libraries.flatten().cloned().collect();
        let Some((image, shipped)) = shipped(&state, active, package).filter(|_| !advisories.is_empty()) else {
            continue;
        };
        undecided.push(Undecided {
            package: package.clone(),
            version: derivation.version.clone(),
            asked: *asked,
            former: former_of(service, &state, image, shipped)?,
            advisories,
        });
    }
    Ok(undecided)
}

/// The images that hold a package.
fn holders<'a>(active: &'a Active, package: &'a PackageName) -> impl Iterator<Item = &'a ImageName> {
    active.derived.images.iter().filter(|(_, need)| need.packages.contains(package)).map(|(name, _)| name)
}

/// Whether a package is in images, and all of them allow a swap and are tested.
fn allowed(active: &Active, package: &PackageName) -> Result<bool> {
    let mut is_held = false;
    for image in holders(active, package) {
        is_held = true;
        let recipe = active.catalog.image(image)?;
        if !recipe.policy.compatible_swap || recipe.run.is_none() {
            return Ok(false);
        }
    }
    Ok(is_held)
}

/// What ships of a package: that of the published images, else of the newest; all of them must have the same.
fn shipped<'s>(state: &'s State, active: &Active, package: &PackageName) -> Option<(&'s Image, &'s PackageRecord)> {
    let mut found: Option<(&Image, &PackageRecord)> = None;
    for name in holders(active, package) {
        let published = state.published(name).and_then(|publication| state.images.get(&publication.manifest));
        let newest = || state.images.values().filter(|image| image.name == *name).max_by_key(|image| image.at_ms);
        let image = published.or_else(newest)?;
        let record = image.packages.iter().find(|record| record.name == *package)?;
        if found.is_some_and(|(_, other)| other.derivation != record.derivation) {
            return None;
        }
        found = Some((image, record));
    }
    found
}

/// From what the shipped build was made, or why that is not known.
fn former_of(
    service: &Service,
    state: &State,
    image: &Image,
    record: &PackageRecord,
) -> Result<std::result::Result<Former, String>> {
    let stands_in = record.in_place_of.and_then(|id| state.kept.get(&id));
    let source: Option<(CatalogDigest, BlobDigest, BTreeSet<PackageName>)> = match stands_in.map(|kept| &kept.ground) {
        Some(Ground::Swapped { revision, catalog, withdrawn, .. }) => Some((*revision, *catalog, withdrawn.clone())),
        _ => {
            let known = state.revisions.iter().find(|(revision, ..)| *revision == image.revision);
            known.map(|(revision, blob, _)| (*revision, *blob, state.withdrawn_packages()))
        }
    };
    let Some((revision, blob, withdrawn)) = source else {
        return Ok(Err("the catalogue that its former build comes from is not known".to_owned()));
    };
    let (_, derived) = former_catalog(&service.builder, &blob, &withdrawn)?;
    let derivation = record.derivation;
    if !derived.derivations.contains_key(&derivation) {
        return Ok(Err("its former build is not what its catalogue makes".to_owned()));
    }
    Ok(Ok(Former { derivation, derived, catalog: (revision, blob), withdrawn }))
}

/// Judges those whose inputs are built; says whether there were any.
pub(super) fn decide(service: &Service, active: &Active, undecided: &[Undecided]) -> Result<bool> {
    if undecided.is_empty() {
        return Ok(false);
    }
    let realised = service.builder.realised(&active.derived)?;
    let mut events = Vec::new();
    for one in undecided {
        let id = active.derived.ids.get(&one.package);
        let derivation = id.and_then(|id| active.derived.derivations.get(id));
        let is_ready = |d: &std::sync::Arc<anneal_plan::Derivation>| {
            d.requires.values().all(|input| realised.contains_key(&input.derivation))
        };
        if derivation.is_some_and(is_ready) {
            events.push(decision(service, active, one)?);
        }
    }
    let decided = !events.is_empty();
    if decided {
        service.record_and_derive(events)?;
    }
    Ok(decided)
}

fn decision(service: &Service, active: &Active, one: &Undecided) -> Result<Event> {
    let (package, version, derivation) = (one.package.clone(), one.version.clone(), one.asked);
    let refused = |why: String, payloads| Event::SwapRefused {
        package: package.clone(),
        version: version.clone(),
        derivation,
        why,
        payloads,
    };
    let former = match &one.former {
        Ok(former) => former,
        Err(why) => return Ok(refused(why.clone(), Vec::new())),
    };
    let on = |progress| service.board.progress(progress);
    let judged = service.builder.judge_swap(&active.catalog, &active.derived, &package, former, &on)?;
    let SwapReport { action, linked, tests } = match judged.verdict {
        Ok(report) => report,
        Err(why) => return Ok(refused(why, payloads(&judged.ran))),
    };
    let linked = linked.into_iter().map(|(name, library)| {
        let abi_report = Some(library.abi_report);
        let anneal_builder::SwappedLibrary { interface, built_with, now, .. } = library;
        (name, Linked { interface, built_with, now, abi_report })
    });
    let ground = Ground::Swapped {
        former: former.derivation,
        revision: former.catalog.0,
        catalog: former.catalog.1,
        withdrawn: former.withdrawn.clone(),
        tests,
        advisories: one.advisories.clone(),
    };
    Ok(Event::PackageKept { package, version, derivation, action, linked: linked.collect(), ground })
}

/// Builds what a former build was swapped in for. Where that is another build, it takes its place; where nothing can be
/// built, a human is told.
pub(crate) fn settle(service: &Service, derivation: &DerivationId, cancel: &CancelToken) -> Result<()> {
    let _lease = service.store.lease();
    let active = service.active();
    let Some(kept) = service.with_state(|state| state.kept.get(derivation).cloned()) else { return Ok(()) };
    let Kept { package, ground: Ground::Swapped { former, .. }, .. } = kept else { return Ok(()) };
    if active.asked.ids.get(&package) != Some(derivation) {
        return Ok(());
    }
    let on = |progress| service.board.progress(progress);
    let settled = match service.builder.settle(&active.catalog, &active.asked, &package, &former, cancel, &on) {
        // Something that is needed is built first; it begins again afterwards.
        Err(anneal_builder::Error::Cancelled { .. }) if cancel.is_cancelled() => return Ok(()),
        settled => settled.map_err(Error::from)?,
    };
    let settling = match (settled.action, settled.differs) {
        (Some(action), None) => Settling::Identical { action },
        (Some(action), Some(why)) => Settling::Differs { action, why },
        (None, why) => Settling::Fails { why: why.unwrap_or_default() },
    };
    if let Settling::Fails { why } = &settling {
        let why = why.lines().next().unwrap_or_default();
        service
            .board
            .trouble(format!("{package} ships as it was built, and cannot be built as it is asked for: {why}"));
    }
    let (derivation, payloads) = (*derivation, payloads(&settled.ran));
    service.record_and_derive(vec![Event::SwapSettled { package, derivation, settling, payloads }])
}

/// An image did not pass with former builds: what they stand in for is built.
pub(super) fn drop_swaps(service: &Service, manifest: &BlobDigest) -> Result<()> {
    let events = service.with_state(|state| {
        let image = state.images.get(manifest);
        let swapped =
            image.into_iter().flat_map(|image| state.swapped_in(image)).filter(|(_, kept)| kept.is_swapped_in());
        let dropped = swapped.map(|(derivation, kept)| Event::SwapSettled {
            package: kept.package.clone(),
            derivation,
            settling: Settling::Dropped { why: format!("the checks of image {manifest} did not pass with it") },
            payloads: Vec::new(),
        });
        dropped.collect::<Vec<_>>()
    });
    service.record_and_derive(events)
}

/// The swapped packages of an image, as provenance tells of them.
pub(super) fn swapped_builds(service: &Service, active: &Active, image: &AssembledImage) -> Result<Vec<SwappedBuild>> {
    let mut builds = Vec::new();
    for (package, in_place_of) in &active.derived.swapped {
        if !image.packages.contains_key(package) {
            continue;
        }
        let kept = service.with_state(|state| state.kept.get(in_place_of).cloned());
        let Some(Kept { version, linked, ground: Ground::Swapped { former, catalog, withdrawn, tests, .. }, .. }) =
            kept
        else {
            continue;
        };
        let linked =
            linked.into_iter().map(|(name, library)| (name, (library.built_with, library.now, library.abi_report)));
        builds.push(SwappedBuild {
            package: package.clone(),
            version,
            in_place_of: *in_place_of,
            former,
            catalog: former_catalog(&service.builder, &catalog, &withdrawn)?.0,
            catalog_blob: catalog,
            withdrawn,
            linked: linked.collect(),
            tests,
        });
    }
    Ok(builds)
}
