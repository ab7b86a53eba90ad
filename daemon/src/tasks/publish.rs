//! After an approval: the release key signs, and the tags move.

use super::image::{attach, subject};
use crate::{
    error::{Error, Result},
    service::Service,
};
use anneal_attest::{
    Predicate, SIMPLE_SIGNING_ANNOTATION, SIMPLE_SIGNING_MEDIA_TYPE, Statement, sign_simple, signature_tag,
    verify_approval,
};
use anneal_content::{BlobDigest, Tag};
use anneal_ledger::{Candidate, CandidateId, CandidateStatus, Decision, Event, State};
use anneal_oci::{
    ConfigInput, ConfigLayer, Descriptor, ManifestInput, MediaType, Platform, image_config, image_manifest,
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn publish(service: &Service, id: CandidateId) -> Result<()> {
    let state = service.state();
    let candidate = state.candidates.get(&id).ok_or(anneal_ledger::Refusal::NoCandidate(id))?;
    if candidate.status != CandidateStatus::Approved {
        return Ok(());
    }
    verify_decision(service, &state, candidate)?;
    let mut evidence = Vec::new();
    let mut extra_tags = BTreeMap::new();
    for (digest, media_type) in [(candidate.index, MediaType::INDEX), (candidate.manifest, MediaType::MANIFEST)] {
        let subject = subject(service, &digest, media_type)?;
        let statement = Statement::about(candidate.image.to_string(), digest, Predicate::CosignSign);
        evidence.push(attach(service, &subject, &statement, &service.keys.release)?);
        let (tag, manifest) = legacy_signature(service, candidate, &digest)?;
        extra_tags.insert(tag, manifest);
    }
    service.record(Event::Published { candidate: id, evidence, extra_tags })?;
    service.serve_publications()
}

/// The approval is proved again where it takes effect, and not believed because the journal has it.
fn verify_decision(service: &Service, state: &State, candidate: &Candidate) -> Result<()> {
    let Some((Decision::Approve, key_id, statement, _)) = &candidate.decision else {
        return Err(anneal_ledger::Refusal::NotApproved(candidate.id).into());
    };
    let approver = state.approvers.get(key_id).filter(|approver| approver.revoked.is_none());
    let approver = approver.ok_or_else(|| anneal_ledger::Refusal::UnknownApprover { key_id: key_id.clone() })?;
    let key = anneal_attest::PublicKey::from_pem(&approver.public_key)?;
    let binding = super::binding(state, candidate)?;
    let approval = verify_approval(&service.small_blob(statement)?, &key, &binding)?;
    if approval.decision != anneal_attest::Decision::Approve {
        return Err(Error::No(format!("the statement about {} is a rejection", candidate.id)));
    }
    Ok(())
}

/// The form of signature that older cosign and podman's policy read: a manifest under the tag `sha256-….sig`.
fn legacy_signature(service: &Service, candidate: &Candidate, digest: &BlobDigest) -> Result<(Tag, BlobDigest)> {
    let reference = format!("{}/{}", service.settings.public_name, candidate.image);
    let signature = sign_simple(&reference, digest, &service.keys.release)?;
    let mut layer = Descriptor::of(SIMPLE_SIGNING_MEDIA_TYPE, &signature.payload);
    layer.annotations.insert(SIMPLE_SIGNING_ANNOTATION.to_owned(), signature.signature.clone());
    let config = image_config(&ConfigInput {
        platform: Platform::linux_amd64(),
        created_secs: 0,
        user: String::new(),
        entrypoint: Vec::new(),
        cmd: Vec::new(),
        env: BTreeMap::new(),
        workdir: None,
        ports: BTreeSet::new(),
        stop_signal: None,
        labels: BTreeMap::new(),
        layers: vec![ConfigLayer { diff_id: layer.digest, created_by: "anneal: signature".into() }],
    })?;
    let manifest = image_manifest(&ManifestInput {
        config: config.descriptor(),
        layers: vec![layer],
        annotations: BTreeMap::new(),
    })?;
    service.store.put_blobs(&[&signature.payload, &config.bytes, &manifest.bytes])?;
    Ok((signature_tag(digest)?, manifest.digest()))
}
