//! Folding one event into the state.
//!
//! What the journal holds has happened: a rule that came later cannot undo it. So only an event that names something no
//! earlier event introduced is refused here, which means a damaged journal; promises are asked for in `admit`.

use crate::{
    Approver, Branch, Candidate, CandidateId, CandidateStatus, Case, CaseStatus, Decision, Event, Failure, Hit,
    HitKind, Image, Publication, Record, Refusal, RefusedCommit, RevisionCause, State,
};
use anneal_content::{BlobDigest, CatalogDigest, ImageName};

impl State {
    /// Adds a fact. On a refusal the state is unchanged.
    ///
    /// # Errors
    /// [`Refusal::Unknown`] and [`Refusal::NoCandidate`], for a fact about something that was never introduced.
    pub fn apply(&mut self, record: &Record) -> Result<(), Refusal> {
        let at_ms = record.at_ms;
        match &record.event {
            Event::CatalogImported { revision, blob, cause } => self.catalog_imported(*revision, *blob, cause),
            Event::BranchFollowed { at, files, .. } => {
                self.branch = Some(Branch { at: at.clone(), files: *files });
                self.refused_commit = None;
                Ok(())
            }
            Event::CommitRefused { at, why, .. } => {
                self.refused_commit = Some(RefusedCommit { at: at.clone(), why: why.clone(), at_ms });
                Ok(())
            }
            Event::AdvisoryImported { id, record } => {
                self.advisories.insert(id.clone(), *record);
                self.advisory_times.entry(id.clone()).or_insert(at_ms);
                Ok(())
            }
            Event::AdvisoryMatched { id, record, revision, hits, images } => {
                self.advisory_matched(id, *record, *revision, hits, images, at_ms)
            }
            Event::RemediationChosen { advisory, bumps, revision, plan } => {
                let case = self.case_mut(advisory)?;
                case.bumps = bumps.clone();
                case.plan = Some(*plan);
                case.status = CaseStatus::Remediating { revision: *revision };
                for (package, from, to) in bumps {
                    // A second move goes on from the first: what the files name stays what it was.
                    let first = self.pins.get(package).filter(|(_, reached)| reached == from);
                    let base = first.map_or_else(|| from.clone(), |(base, _)| base.clone());
                    self.pins.insert(package.clone(), (base, to.clone()));
                }
                Ok(())
            }
            Event::CaseBlocked { advisory, revision, why } => {
                self.case_mut(advisory)?.status = CaseStatus::Blocked { revision: *revision, why: why.clone() };
                Ok(())
            }
            Event::PackageBuilt { derivation, .. } => {
                self.failures.remove(derivation);
                Ok(())
            }
            Event::PackageKept { .. } | Event::KeptProved { .. } | Event::CutOffWithdrawn { .. } => {
                self.kept_or_proved(&record.event, at_ms)
            }
            Event::SwapRefused { .. } | Event::SwapSettled { .. } => self.swap_judged_or_settled(&record.event, at_ms),
            Event::BuildFailed { package, derivation, summary, log, retry_after_ms } => {
                let failure = Failure {
                    package: package.clone(),
                    summary: summary.clone(),
                    log: *log,
                    at_ms,
                    retry_after_ms: *retry_after_ms,
                };
                self.failures.insert(*derivation, failure);
                Ok(())
            }
            Event::ImageAssembled { image, key, revision, manifest, index, layers, packages } => {
                let fresh = Image {
                    name: image.clone(),
                    manifest: *manifest,
                    index: *index,
                    revision: *revision,
                    layers: layers.clone(),
                    packages: packages.clone(),
                    at_ms,
                    verdict: None,
                    judged_against: None,
                    evidence: Vec::new(),
                    build_root: None,
                    collected_ms: None,
                };
                // One that was collected begins anew: who reads its verdict must find its bytes.
                if self.images.get(manifest).is_some_and(|known| known.collected_ms.is_some()) {
                    self.images.remove(manifest);
                }
                self.replace_refuted(manifest, packages);
                let image = self.images.entry(*manifest).or_insert(fresh);
                // The same bytes for another reason (a waiver, say): what refused them may not refuse them now.
                if self.assembled.insert(*key, *manifest).is_none() && image.failed() {
                    image.verdict = None;
                }
                Ok(())
            }
            Event::PackageTried { derivation, causes, .. } => {
                if !causes.is_empty() {
                    self.irreproducible.entry(*derivation).or_default().extend(causes.iter().cloned());
                }
                Ok(())
            }
            Event::CheckAsked { manifest } => {
                let image = self.image_mut(manifest)?;
                if image.failed() {
                    image.verdict = None;
                }
                Ok(())
            }
            Event::ImageJudged { manifest, passed, counts, results, against, .. } => {
                let image = self.image_mut(manifest)?;
                image.verdict = Some((*passed, *counts, *results));
                image.judged_against.clone_from(against);
                // What was signed was about the verdict before, and so was an approval that is not published yet.
                image.evidence.clear();
                for candidate in self.candidates.values_mut().filter(|c| c.manifest == *manifest) {
                    if candidate.status == CandidateStatus::Approved {
                        candidate.status = CandidateStatus::Open;
                        candidate.decision = None;
                    }
                }
                Ok(())
            }
            Event::EvidenceSigned { manifest, evidence, build_root } => {
                let image = self.image_mut(manifest)?;
                image.evidence.clone_from(evidence);
                image.build_root = *build_root;
                Ok(())
            }
            Event::CandidateOpened { candidate, image, manifest, index, tags, fixes, diff } => {
                let fresh = Candidate {
                    id: *candidate,
                    image: image.clone(),
                    manifest: *manifest,
                    index: *index,
                    tags: tags.clone(),
                    fixes: fixes.clone(),
                    diff: *diff,
                    opened_ms: at_ms,
                    decision: None,
                    status: CandidateStatus::Open,
                };
                self.candidate_opened(fresh);
                Ok(())
            }
            Event::ApproverEnrolled { key_id, name, public_key } => {
                let fresh = Approver { name: name.clone(), public_key: public_key.clone(), revoked: None };
                self.approvers.insert(key_id.clone(), fresh);
                Ok(())
            }
            Event::ApproverRevoked { key_id, reason } => {
                let approver = self
                    .approvers
                    .get_mut(key_id)
                    .ok_or_else(|| Refusal::UnknownApprover { key_id: key_id.clone() })?;
                approver.revoked = Some(reason.clone());
                Ok(())
            }
            Event::Decided { candidate, decision, key_id, statement, .. } => {
                self.decided(*candidate, *decision, key_id, *statement, at_ms)
            }
            Event::ImagesCollected { manifests } => {
                for manifest in manifests {
                    self.image_mut(manifest)?;
                }
                for manifest in manifests {
                    self.image_mut(manifest)?.collected_ms = Some(at_ms);
                    // Whoever asks for it has it built again.
                    self.assembled.retain(|_, known| known != manifest);
                }
                Ok(())
            }
            Event::PublicationsWithdrawn { withdrawals } => self.withdraw(withdrawals, at_ms),
            Event::Restored { .. } => Ok(()),
            Event::Published { candidate, evidence, extra_tags } => {
                let approved = self.candidates.get(candidate).ok_or(Refusal::NoCandidate(*candidate))?.clone();
                for older in self.candidates.values_mut().filter(|c| c.image == approved.image && c.id < *candidate) {
                    if matches!(older.status, CandidateStatus::Open | CandidateStatus::Approved) {
                        older.status = CandidateStatus::Superseded { by: *candidate };
                    }
                }
                self.publications.push(Publication {
                    candidate: *candidate,
                    image: approved.image,
                    manifest: approved.manifest,
                    index: approved.index,
                    tags: approved.tags,
                    evidence: evidence.clone(),
                    extra_tags: extra_tags.clone(),
                    at_ms,
                    withdrawn_ms: None,
                });
                self.set_status(*candidate, CandidateStatus::Published);
                self.close_cases();
                Ok(())
            }
        }
    }

    fn catalog_imported(
        &mut self,
        revision: CatalogDigest,
        blob: BlobDigest,
        cause: &RevisionCause,
    ) -> Result<(), Refusal> {
        self.revision = Some((revision, blob));
        if *cause == RevisionCause::Files {
            // No branch is followed any more.
            (self.branch, self.refused_commit) = (None, None);
        }
        // Whatever failed may have been mended: a place, a limit and the like are no part of a derivation.
        self.failures.clear();
        self.revisions.push((revision, blob, cause.clone()));
        Ok(())
    }

    fn advisory_matched(
        &mut self,
        id: &str,
        record: BlobDigest,
        revision: CatalogDigest,
        hits: &[Hit],
        images: &[ImageName],
        at_ms: u64,
    ) -> Result<(), Refusal> {
        if !self.advisories.contains_key(id) {
            return Err(Refusal::Unknown { what: "advisory", name: id.to_owned() });
        }
        self.matched.insert(id.to_owned(), (record, revision));
        let imported_ms = self.advisory_times.get(id).copied().unwrap_or(at_ms);
        match (self.cases.get_mut(id), hits.is_empty()) {
            (None, true) => {}
            // The recipes themselves left the range: what is wanted now is the remedy.
            (Some(case), true) => {
                if matches!(case.status, CaseStatus::Open | CaseStatus::Blocked { .. }) {
                    case.status = CaseStatus::Remediating { revision };
                }
            }
            (existing, false) => {
                let opened_ms = existing.as_ref().map_or(at_ms, |case| case.opened_ms);
                let bumps = existing.as_ref().map(|case| case.bumps.clone()).unwrap_or_default();
                let only_unknown = hits.iter().all(|hit| hit.kind == HitKind::Unknown);
                let status = if only_unknown {
                    CaseStatus::Blocked { revision, why: "a human must judge: the versions cannot be compared".into() }
                } else {
                    CaseStatus::Open
                };
                let case = Case {
                    advisory: id.to_owned(),
                    opened_ms,
                    imported_ms,
                    hits: hits.to_vec(),
                    images: images.to_vec(),
                    bumps,
                    plan: None,
                    status,
                };
                self.cases.insert(id.to_owned(), case);
            }
        }
        Ok(())
    }

    fn candidate_opened(&mut self, fresh: Candidate) {
        for older in self.candidates.values_mut() {
            if older.image == fresh.image && older.status == CandidateStatus::Open {
                older.status = CandidateStatus::Superseded { by: fresh.id };
            }
        }
        self.candidates.insert(fresh.id, fresh);
    }

    fn decided(
        &mut self,
        id: CandidateId,
        decision: Decision,
        key_id: &str,
        statement: BlobDigest,
        at_ms: u64,
    ) -> Result<(), Refusal> {
        let candidate = self.candidates.get_mut(&id).ok_or(Refusal::NoCandidate(id))?;
        candidate.decision = Some((decision, key_id.to_owned(), statement, at_ms));
        candidate.status = match decision {
            Decision::Approve => CandidateStatus::Approved,
            Decision::Reject => CandidateStatus::Rejected,
        };
        self.close_cases();
        Ok(())
    }

    fn set_status(&mut self, id: CandidateId, status: CandidateStatus) {
        if let Some(candidate) = self.candidates.get_mut(&id) {
            candidate.status = status;
        }
    }

    /// A case is closed when, for each image it touched, the newest candidate that fixes it was published or rejected.
    fn close_cases(&mut self) {
        let candidates = &self.candidates;
        let settled = |image: &ImageName, advisory: &String| {
            let newest = candidates.values().rev().find(|c| c.image == *image && c.fixes.contains(advisory));
            newest.is_some_and(|c| matches!(c.status, CandidateStatus::Published | CandidateStatus::Rejected))
        };
        for case in self.cases.values_mut() {
            let remediating = matches!(case.status, CaseStatus::Remediating { .. });
            if remediating && case.images.iter().all(|image| settled(image, &case.advisory)) {
                case.status = CaseStatus::Closed;
            }
        }
    }

    fn case_mut(&mut self, advisory: &str) -> Result<&mut Case, Refusal> {
        self.cases.get_mut(advisory).ok_or_else(|| Refusal::Unknown { what: "case", name: advisory.to_owned() })
    }

    fn image_mut(&mut self, manifest: &BlobDigest) -> Result<&mut Image, Refusal> {
        self.images.get_mut(manifest).ok_or_else(|| Refusal::Unknown { what: "image", name: manifest.to_string() })
    }
}
