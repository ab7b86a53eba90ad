//! An image that passed becomes a candidate: what changed, what it fixes, what an approval binds to.

use crate::{
    error::{Error, Result},
    service::Service,
};
use anneal_attest::{Binding, PredicateType};
use anneal_builder::{Side, image_diff};
use anneal_content::{BlobDigest, BlobSource, ImageName, Tag, canonical_json, list};
use anneal_ledger::{Candidate, CaseStatus, Event, Image, State};

/// The advisories that an image fixes: those of cases under way whose hits it no longer has.
pub(crate) fn fixes(state: &State, image: &Image) -> Vec<String> {
    // At the release that the case chose; without a choice of ours (the recipe files moved on), at another one.
    let gone = |case: &anneal_ledger::Case, hit: &anneal_ledger::Hit| {
        let chosen = case.bumps.iter().find(|(package, ..)| *package == hit.package).map(|(_, _, to)| to);
        let left = |version: &anneal_content::Version| chosen.map_or(*version != hit.version, |to| version == to);
        image.packages.iter().filter(|p| p.name == hit.package).all(|p| left(&p.version))
    };
    let fixed = state.cases.values().filter(|case| {
        matches!(case.status, CaseStatus::Remediating { .. })
            && case.images.contains(&image.name)
            && case.hits.iter().all(|hit| gone(case, hit))
            && case.hits.iter().any(|hit| image.packages.iter().any(|p| p.name == hit.package))
    });
    fixed.map(|case| case.advisory.clone()).collect()
}

/// One side of a comparison of images.
fn image_side(image: &Image, blobs: &dyn BlobSource) -> Result<Side> {
    let mut side = Side { manifest: Some(image.manifest), ..Side::default() };
    for package in &image.packages {
        side.packages.insert(package.name.clone(), package.version.clone());
        side.entries.extend(list(&package.tree, blobs)?);
    }
    side.layers = image.layers.iter().map(|layer| (layer.digest, layer.size)).collect();
    Ok(side)
}

pub(super) fn open(service: &Service, manifest: &BlobDigest) -> Result<()> {
    let state = service.state();
    let unknown = || Error::Internal(format!("image {manifest} is unknown"));
    let image = state.images.get(manifest).ok_or_else(unknown)?;
    let before = state.published(&image.name).and_then(|p| state.images.get(&p.manifest));
    let before = before.map(|image| image_side(image, &service.store)).transpose()?.unwrap_or_default();
    let diff = image_diff(&before, &image_side(image, &service.store)?);
    let diff = service.store.put_blob(&canonical_json(&diff)?)?;
    service.record(Event::CandidateOpened {
        candidate: state.next_candidate(),
        image: image.name.clone(),
        manifest: *manifest,
        index: image.index,
        tags: tags(service, &image.name)?,
        fixes: fixes(&state, image),
        diff,
    })
}

fn tags(service: &Service, name: &ImageName) -> Result<Vec<Tag>> {
    Ok(service.active().catalog.tags(name)?.into_iter().collect())
}

/// What an approval of a candidate names: everything that the approver is shown, by digest.
pub(crate) fn binding(state: &State, candidate: &Candidate) -> Result<Binding> {
    let unknown = || Error::Internal(format!("image {} is unknown", candidate.manifest));
    let image = state.images.get(&candidate.manifest).ok_or_else(unknown)?;
    let bundles = |kind: PredicateType| {
        image.evidence.iter().filter(|e| e.predicate_type == kind.uri()).map(|e| e.bundle).collect()
    };
    Ok(Binding {
        name: candidate.image.clone(),
        image: candidate.manifest,
        index: Some(candidate.index),
        check_results: bundles(PredicateType::TestResult),
        sboms: bundles(PredicateType::Spdx),
        provenances: bundles(PredicateType::Provenance),
        diff: candidate.diff,
    })
}
