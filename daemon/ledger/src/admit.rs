//! Whether an event may happen now: the promises that every new fact must keep.

use crate::{CandidateId, CandidateStatus, Event, Image, Kept, Record, Refusal, State};
use anneal_content::BlobDigest;
use std::collections::BTreeSet;

impl State {
    /// Adds a fact that keeps every promise. On a refusal the state is unchanged.
    ///
    /// # Errors
    /// The promise that it would break.
    pub fn admit(&mut self, record: &Record) -> Result<(), Refusal> {
        self.permits(&record.event)?;
        self.apply(record)
    }

    fn permits(&self, event: &Event) -> Result<(), Refusal> {
        match event {
            Event::EvidenceSigned { manifest, .. } => {
                if self.image(manifest)?.verdict.is_none() {
                    return Err(Refusal::NotReady { manifest: *manifest, missing: "it was not checked" });
                }
                Ok(())
            }
            Event::PackageKept { .. } | Event::KeptProved { .. } | Event::CutOffWithdrawn { .. } => {
                self.may_keep_or_prove(event)
            }
            Event::SwapSettled { derivation, .. } => self.may_settle(derivation),
            Event::CandidateOpened { manifest, .. } => self.ready(manifest),
            Event::ApproverEnrolled { key_id, .. } => {
                match self.approvers.get(key_id).and_then(|approver| approver.revoked.clone()) {
                    Some(reason) => Err(Refusal::Revoked { key_id: key_id.clone(), reason }),
                    None => Ok(()),
                }
            }
            Event::Decided { candidate, manifest, key_id, .. } => self.may_decide(*candidate, manifest, key_id),
            Event::Published { candidate, .. } => self.may_publish(*candidate),
            Event::ImagesCollected { manifests } => {
                manifests.iter().try_for_each(|manifest| self.may_collect(manifest))
            }
            Event::PublicationsWithdrawn { withdrawals } => self.may_withdraw(withdrawals),
            _ => Ok(()),
        }
    }

    /// What is published is kept until it is withdrawn, and what awaits a human until they decide.
    fn may_collect(&self, manifest: &BlobDigest) -> Result<(), Refusal> {
        self.image(manifest)?;
        let needed = self.needed_images(&BTreeSet::new(), u64::MAX).remove(manifest);
        needed.map_or(Ok(()), |by| Err(Refusal::Needed { manifest: *manifest, by }))
    }

    fn may_publish(&self, id: CandidateId) -> Result<(), Refusal> {
        let approved = self.candidates.get(&id).ok_or(Refusal::NoCandidate(id))?;
        if approved.status != CandidateStatus::Approved {
            return Err(Refusal::NotApproved(id));
        }
        self.ready(&approved.manifest)?;
        let later = self.publications.iter().find(|p| p.image == approved.image && p.candidate > id);
        later.map_or(Ok(()), |later| {
            let (image, by) = (approved.image.to_string(), later.candidate);
            Err(Refusal::Superseded { candidate: id, image, by })
        })
    }

    /// Whether a decision by this key about this manifest would be accepted now.
    pub fn may_decide(&self, id: CandidateId, named: &BlobDigest, key_id: &str) -> Result<(), Refusal> {
        let candidate = self.candidates.get(&id).ok_or(Refusal::NoCandidate(id))?;
        match candidate.status {
            CandidateStatus::Open => {}
            CandidateStatus::Superseded { by } => {
                return Err(Refusal::Superseded { candidate: id, image: candidate.image.to_string(), by });
            }
            other => return Err(Refusal::NotOpen { candidate: id, status: other.word() }),
        }
        if candidate.manifest != *named {
            return Err(Refusal::WrongDigest { candidate: id, expected: candidate.manifest, named: *named });
        }
        match self.approvers.get(key_id) {
            Some(approver) if approver.revoked.is_none() => {}
            _ => return Err(Refusal::UnknownApprover { key_id: key_id.to_owned() }),
        }
        self.ready(named)
    }

    /// Promise 1: a passing verdict and signed evidence.
    fn ready(&self, manifest: &BlobDigest) -> Result<(), Refusal> {
        let missing = |missing| Refusal::NotReady { manifest: *manifest, missing };
        let image = self.image(manifest)?;
        if image.collected_ms.is_some() {
            return Err(Refusal::Collected { manifest: *manifest });
        }
        match image.verdict {
            None => Err(missing("it was not checked")),
            Some((false, ..)) => Err(missing("its checks did not pass")),
            Some((true, ..)) if image.evidence.is_empty() => Err(missing("it has no signed evidence")),
            Some((true, ..)) if self.tried_since(image) => {
                Err(missing("a package of it turned out not to be reproducible since it was checked"))
            }
            Some((true, ..)) if self.kept_in(image).any(Kept::is_refuted) => {
                Err(missing("a build of it was kept and its proof came out otherwise: a newer candidate is on its way"))
            }
            Some((true, ..)) => self.fresh(image),
        }
    }

    /// Whether a trial of one of its packages found something that its verdict did not know of.
    fn tried_since(&self, image: &Image) -> bool {
        let known = image.judged_against.as_ref().map(|inputs| inputs.irreproducible.clone()).unwrap_or_default();
        known != self.irreproducible_of(&image.manifest)
    }

    /// Whether every advisory that touches the image was known when it was checked.
    pub fn is_current(&self, image: &Image) -> bool {
        self.unknown_to(image).is_empty()
    }

    fn fresh(&self, image: &Image) -> Result<(), Refusal> {
        let since = self.unknown_to(image);
        if since.is_empty() {
            return Ok(());
        }
        Err(Refusal::Stale { manifest: image.manifest, advisories: since.join(", ") })
    }

    /// Advisories that touched the image since its verdict.
    fn unknown_to(&self, image: &Image) -> Vec<String> {
        // A verdict that says nothing of advisories knew of none.
        let known = image.judged_against.as_ref().map(|inputs| inputs.advisories.clone()).unwrap_or_default();
        let now = self.advisories_of(&image.name).into_iter();
        now.filter(|(id, record)| known.get(id) != Some(record)).map(|(id, _)| id).collect()
    }

    fn image(&self, manifest: &BlobDigest) -> Result<&Image, Refusal> {
        self.images.get(manifest).ok_or_else(|| Refusal::Unknown { what: "image", name: manifest.to_string() })
    }
}
