//! Building the images that the active catalogue asks for.

use super::{keep, kept_builds, swap};
use crate::{
    error::Result,
    service::{Active, Service, now_ms},
};
use anneal_builder::{Executed, Phase, Ran, Realised};
use anneal_content::{CatalogDigest, DerivationId, ImageName};
use anneal_ledger::{Event, LayerRecord, PackageRecord, Payload, PayloadKind, State};
use anneal_plan::plan;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

pub(crate) fn payloads(ran: &[Ran]) -> Vec<Payload> {
    let kind = |phase| match phase {
        Phase::Build => PayloadKind::Build,
        Phase::Test => PayloadKind::Test,
        Phase::Proof | Phase::Trial | Phase::Kept => PayloadKind::Proof,
    };
    ran.iter().map(|r| Payload { kind: kind(r.phase), start_ms: r.start_ms, end_ms: r.end_ms }).collect()
}

/// Derivations that failed and may not be tried yet, with the reason.
pub(crate) fn held_derivations(state: &State, now_ms: u64) -> BTreeMap<DerivationId, String> {
    let held = state.failures.iter().filter(|(_, failure)| failure.retry_after_ms > now_ms);
    held.map(|(id, failure)| (*id, format!("its build failed: {}", first_line(&failure.summary)))).collect()
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Images that are assembled, and whose builds are wanted once more: a result that was there is not believed any more.
#[derive(Debug, Default)]
pub(crate) struct Again(Mutex<BTreeSet<ImageName>>);

impl Again {
    pub(super) fn ask(&self, image: &ImageName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(image.clone());
    }

    /// Whether anything was asked for since the last time.
    pub(crate) fn is_asked(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// What was asked for since the last time.
    pub(crate) fn take(&self) -> BTreeSet<ImageName> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Asks for the builds of which the store has lost something to damage.
pub(crate) fn ask_for_lost(service: &Service) -> Result<()> {
    if !service.store.lacks_something()? {
        return Ok(());
    }
    let active = service.active();
    let whole = service.builder.realised(&active.derived)?;
    for (name, need) in &active.derived.images {
        for id in need.derivations.iter().filter(|id| !whole.contains_key(*id)) {
            // what was never built is not lost
            if service.builder.action_of(id)?.is_some() {
                service.again.ask(name);
            }
        }
    }
    service.wake();
    Ok(())
}

/// Plans, builds and assembles these images of the active catalogue.
pub(crate) fn build(service: &Service, images: &BTreeSet<ImageName>) -> Result<()> {
    // What is built, found or put here is named at the latest when the image is assembled.
    let _lease = service.store.lease();
    let active = service.active();
    let realised = service.builder.realised(&active.derived)?;
    let held = service.with_state(|state| held_derivations(state, now_ms()));
    let kept = kept_builds(&service.builder.kept(&active.derived, realised.keys(), &realised)?);
    let steps = plan(None, &active.derived, images, &realised.keys().copied().collect(), &held).with_kept(&kept);
    // Whether they are built at all is known when what they are built with is there.
    let undecided = swap::undecided(service, &active, &realised)?;
    let steps = steps.without(&undecided.iter().map(|one| one.package.clone()).collect(), &active.derived);
    let on = |progress| service.board.progress(progress);
    let done = |executed: Executed| {
        let event = Event::PackageBuilt {
            package: executed.package,
            version: executed.version,
            derivation: executed.derivation,
            action: executed.action,
            cached: executed.cached,
            payloads: payloads(&executed.ran),
        };
        if let Err(error) = service.record(event) {
            service.board.trouble(format!("a build could not be journalled: {}", error.chain()));
        }
    };
    let failures = service.builder.execute(&active.catalog, &active.derived, &steps, &on, &done)?;
    let stopped = service.cancel.is_cancelled();
    let mut of_the_machine = None;
    for failure in failures {
        if stopped {
            continue;
        }
        if failure.error.is_of_the_machine() {
            // no word against the package: it is tried again soon, and what was built meanwhile is assembled
            of_the_machine = Some(failure.error);
            continue;
        }
        let error: crate::error::Error = failure.error.into();
        service.record(Event::BuildFailed {
            package: failure.package,
            derivation: failure.derivation,
            summary: error.chain(),
            log: failure.log,
            retry_after_ms: now_ms() + 1000 * service.settings.retry_seconds,
        })?;
    }
    if !stopped && of_the_machine.is_none() && swap::decide(service, &active, &undecided)? {
        return build(service, images);
    }
    assemble_ready(service, images)?;
    of_the_machine.map_or(Ok(()), |error| Err(error.into()))
}

/// Assembles every image of the goal whose packages are all there.
fn assemble_ready(service: &Service, images: &BTreeSet<ImageName>) -> Result<()> {
    let active = service.active();
    let built = service.builder.realised(&active.derived)?;
    let revision = active.catalog.digest()?;
    let mut failed = None;
    for name in images {
        let Some(need) = active.derived.images.get(name) else { continue };
        if need.derivations.iter().all(|id| built.contains_key(id)) {
            // First what was kept for it: an image of which that is not written down would never be proved.
            keep::record_kept(service, &active.derived, need, &built)?;
            // One image that can't be assembled holds up no other.
            if let Err(error) = assemble_one(service, &active, name, revision, &built) {
                service.board.trouble(format!("image {name} cannot be assembled: {}", error.chain()));
                failed = Some(error);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

fn assemble_one(
    service: &Service,
    active: &Active,
    name: &ImageName,
    revision: CatalogDigest,
    built: &BTreeMap<DerivationId, Realised>,
) -> Result<()> {
    let image = service.builder.assemble(&active.catalog, &active.derived, name, built)?;
    let layers = image.layers.iter().map(|layer| LayerRecord {
        digest: layer.packed.digest,
        size: layer.packed.size,
        packages: layer.packages.clone(),
    });
    let packages = image.packages.iter().map(|(name, (version, derivation, tree))| PackageRecord {
        name: name.clone(),
        version: version.clone(),
        derivation: *derivation,
        tree: *tree,
        in_place_of: active.derived.swapped.get(name).copied(),
    });
    let event = Event::ImageAssembled {
        image: name.clone(),
        key: image.key,
        revision,
        manifest: image.manifest,
        index: image.index,
        layers: layers.collect(),
        packages: packages.collect(),
    };
    service.record(event)?;
    if let Some(recorded) = service.with_state(|state| state.images.get(&image.manifest).cloned()) {
        super::index_image(service, &recorded)?;
    }
    Ok(())
}
