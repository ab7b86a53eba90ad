//! Checking an image, and signing what is said about it.

use super::{build::payloads, component_of};
use crate::{
    error::{Error, Result},
    service::{Active, Service, now_ms},
};
use anneal_advisory::Judgement;
use anneal_attest::{
    ANNOTATION_CONTENT, ANNOTATION_PREDICATE_TYPE, BUNDLE_MEDIA_TYPE, CONTENT_DSSE, SecretKey, Statement,
    sign_statement,
};
use anneal_builder::{AssembledImage, EvidenceInput, ExamineInput, PreviousRelease, Realised};
use anneal_checks::{Finding, JudgedAdvisory, PlannedChange, Verdict, VersionChange};
use anneal_content::{BlobDigest, DerivationId, Version, canonical_json};
use anneal_ledger::{Event, EvidenceRef, Image, State};
use anneal_oci::{Descriptor, EMPTY_CONFIG, MediaType, referrer_manifest};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

/// What a check run leaves: the findings, the verdict and the SBOM that was looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CheckReport {
    pub(crate) findings: Vec<Finding>,
    pub(crate) verdict: serde_json::Value,
    pub(crate) sbom: BlobDigest,
}

type Built = BTreeMap<DerivationId, Realised>;

fn assembled(service: &Service, manifest: &BlobDigest) -> Result<(Active, Built, AssembledImage, State)> {
    let state = service.state();
    let image = state.images.get(manifest).ok_or_else(|| Error::Internal(format!("image {manifest} is unknown")))?;
    let active = service.active();
    let built = service.builder.realised(&active.derived)?;
    let needed = active.derived.images.get(&image.name).into_iter().flat_map(|need| &need.derivations);
    if needed.into_iter().any(|id| !built.contains_key(id)) {
        service.again.ask(&image.name);
        return Err(Error::Internal(format!("builds of {} have no signed result; they run again", image.name)));
    }
    let fresh = service.builder.assemble(&active.catalog, &active.derived, &image.name, &built)?;
    if fresh.manifest != *manifest {
        return Err(Error::Internal(format!("image {manifest} is not what the active catalogue makes any more")));
    }
    Ok((active, built, fresh, state))
}

fn version_change(before: &Version, now: Option<&Version>) -> VersionChange {
    let Some(now) = now else { return VersionChange::Gone };
    if now == before {
        return VersionChange::Same;
    }
    match anneal_advisory::compare("generic", now.as_str(), before.as_str()) {
        Ok(Ordering::Greater) => VersionChange::Newer,
        Ok(Ordering::Equal) => VersionChange::Same,
        Ok(Ordering::Less) => VersionChange::Older,
        Err(unknown) => VersionChange::Unknown { why: unknown.to_string() },
    }
}

fn previous(state: &State, image: &AssembledImage) -> (Option<PreviousRelease>, Option<PlannedChange>) {
    let published = state.published(&image.name).and_then(|p| state.images.get(&p.manifest));
    let Some(before) = published.filter(|before| before.manifest != image.manifest) else { return (None, None) };
    let mut packages = BTreeMap::new();
    let mut planned = PlannedChange { image_recipe_changed: false, ..PlannedChange::default() };
    for old in &before.packages {
        let now = image.packages.get(&old.name);
        let change = version_change(&old.version, now.map(|(version, ..)| version));
        packages.insert(old.name.clone(), (old.version.clone(), old.tree, change));
        match now {
            None => drop(planned.removed.insert(old.name.clone())),
            Some((_, derivation, _)) if *derivation != old.derivation => drop(planned.rebuilt.insert(old.name.clone())),
            Some(_) => {}
        }
    }
    let new = image.packages.keys().filter(|name| !packages.contains_key(*name));
    planned.added.extend(new.cloned());
    planned.image_recipe_changed = recipe_changed(state, before, image);
    (Some(PreviousRelease { manifest: before.manifest, packages }), Some(planned))
}

/// Whether an image's own recipe changed: its key did, though no package's derivation did.
fn recipe_changed(state: &State, before: &Image, image: &AssembledImage) -> bool {
    let same_packages = before
        .packages
        .iter()
        .all(|old| image.packages.get(&old.name).is_some_and(|(_, derivation, _)| *derivation == old.derivation));
    let same_key = state.assembled.get(&image.key) == Some(&before.manifest);
    same_packages && before.packages.len() == image.packages.len() && !same_key
}

fn judged(service: &Service, active: &Active, state: &State, image: &AssembledImage) -> Result<Vec<JudgedAdvisory>> {
    let mut all = Vec::new();
    for (id, record) in &state.advisories {
        let advisory = anneal_advisory::parse(&service.small_blob(record)?)?;
        let triggering = state.cases.get(id).is_some_and(|case| !case.bumps.is_empty());
        for (name, (version, ..)) in &image.packages {
            let component = component_of(active.catalog.package(name)?, version);
            let (judgement, explanation) = match anneal_advisory::judge(&advisory, &component) {
                Judgement::Affected { explanation } => (anneal_checks::Judgement::Affected, explanation),
                Judgement::NotAffected { explanation } => (anneal_checks::Judgement::NotAffected, explanation),
                Judgement::Unknown { explanation } => (anneal_checks::Judgement::Unknown, explanation),
                Judgement::Unrelated => continue,
            };
            let (id, package) = (id.clone(), name.clone());
            all.push(JudgedAdvisory { id, package, triggering, judgement, explanation, accepted: None });
        }
    }
    Ok(all)
}

pub(super) fn check(service: &Service, manifest: &BlobDigest) -> Result<()> {
    let (active, built, image, state) = assembled(service, manifest)?;
    let (previous, planned) = previous(&state, &image);
    let input = ExamineInput { previous, planned, advisories: judged(service, &active, &state, &image)? };
    let examination = service.builder.examine(&active.catalog, &active.derived, &image, &built, &input)?;
    let verdict: &Verdict = &examination.verdict;
    let report = CheckReport {
        findings: examination.findings,
        verdict: serde_json::to_value(verdict).map_err(|e| Error::Internal(e.to_string()))?,
        sbom: examination.sbom,
    };
    let results = service.store.put_blob(&canonical_json(&report)?)?;
    let counts = [verdict.passed, verdict.warned, verdict.failed].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let policy = active.wanted.images.get(&image.name).map(|wanted| wanted.policy);
    let policy = policy.ok_or_else(|| Error::Internal(format!("image {} is not wanted any more", image.name)))?;
    service.record(Event::ImageJudged {
        manifest: *manifest,
        passed: verdict.released,
        counts: (counts[0], counts[1], counts[2]),
        results,
        // By the state that the check began with: what came since makes it stale.
        against: Some(state.check_inputs(&image.name, manifest, policy)),
        payloads: payloads(&examination.ran),
    })
}

/// Reads the report that a check run left.
pub(crate) fn report(bytes: &[u8]) -> Result<CheckReport> {
    serde_json::from_slice(bytes).map_err(|e| Error::Internal(format!("a check report cannot be read: {e}")))
}

pub(super) fn sign(service: &Service, manifest: &BlobDigest) -> Result<()> {
    let (active, _, image, state) = assembled(service, manifest)?;
    let recorded = state.images.get(manifest).ok_or_else(|| Error::Internal(format!("image {manifest} is unknown")))?;
    let Some((_, _, results)) = recorded.verdict else { return Ok(()) };
    let Some((revision, revision_blob)) = state.revision else { return Ok(()) };
    let report = report(&service.small_blob(&results)?)?;
    if !service.store.has(&report.sbom)? {
        // It went while nothing asked for this image. It follows from the image, so it comes again as it was.
        let again = service.builder.put_sbom(&active.catalog, &image)?;
        if again != report.sbom {
            let was = report.sbom;
            return Err(Error::Internal(format!("the SBOM {was} that was checked is gone, and is {again} by now")));
        }
    }
    let mut fixed = BTreeMap::new();
    for id in super::candidate::fixes(&state, recorded) {
        fixed.extend(state.advisories.get(&id).map(|record| (id.clone(), *record)));
    }
    let input = EvidenceInput {
        revision,
        revision_blob,
        commit: state.commit_of(&revision).map(|at| (at.place.clone(), at.commit.clone())),
        advisories: fixed,
        invocation: format!("urn:anneal:image:{}:{}", manifest.hex(), recorded.at_ms),
        finished_secs: i64::try_from(recorded.at_ms / 1000).unwrap_or(i64::MAX),
        findings: report.findings,
        results,
        sbom: report.sbom,
        builder_id: service.settings.builder_id.clone(),
        swapped: super::swap::swapped_builds(service, &active, &image)?,
    };
    let statements = service.builder.state(&active.catalog, &active.derived, &image, &input)?;
    let subject = subject(service, manifest, MediaType::MANIFEST)?;
    let evidence = vec![
        attach(service, &subject, &statements.sbom, &service.keys.build)?,
        attach(service, &subject, &statements.provenance, &service.keys.build)?,
        attach(service, &subject, &statements.test_result, &service.keys.test)?,
    ];
    service.record(Event::EvidenceSigned { manifest: *manifest, evidence, build_root: Some(statements.build_root) })
}

/// The descriptor of something that statements are about.
pub(super) fn subject(service: &Service, digest: &BlobDigest, media_type: &str) -> Result<Descriptor> {
    let size = service.store.size(digest)?.ok_or_else(|| Error::Internal(format!("{digest} is not in the store")))?;
    Ok(Descriptor::new(media_type, *digest, size))
}

/// Signs a statement and writes the manifest that attaches it.
pub(super) fn attach(
    service: &Service,
    subject: &Descriptor,
    statement: &Statement,
    key: &SecretKey,
) -> Result<EvidenceRef> {
    let bundle = sign_statement(statement, key)?;
    let layer = Descriptor::of(BUNDLE_MEDIA_TYPE, bundle.json());
    let predicate_type = bundle.predicate_type().uri().to_owned();
    let created = anneal_oci::rfc3339(now_ms() / 1000)?;
    let annotations = BTreeMap::from([
        (ANNOTATION_CONTENT.to_owned(), CONTENT_DSSE.to_owned()),
        (ANNOTATION_PREDICATE_TYPE.to_owned(), predicate_type.clone()),
        ("org.opencontainers.image.created".to_owned(), created),
    ]);
    let manifest = referrer_manifest(subject, BUNDLE_MEDIA_TYPE, std::slice::from_ref(&layer), &annotations)?;
    service.store.put_blobs(&[bundle.json(), &manifest.bytes, EMPTY_CONFIG])?;
    Ok(EvidenceRef {
        predicate_type,
        role: key.role().as_str().to_owned(),
        bundle: layer.digest,
        referrer: manifest.digest(),
    })
}

/// Puts an image into the index.
pub(crate) fn index_image(service: &Service, image: &Image) -> Result<()> {
    let catalog = service.active().catalog;
    let mut components = Vec::new();
    let mut seen = BTreeSet::new();
    for package in &image.packages {
        if let Some(recipe) = catalog.packages().get(&package.name)
            && seen.insert(&package.name)
        {
            components.push(component_of(recipe, &package.version));
        }
    }
    Ok(service.index.put_image(&image.manifest, &image.name, &components)?)
}
