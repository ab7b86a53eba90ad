//! The promises of the design, as questions to a state directory. Each is a named check with a message for each thing
//! that breaks it; a crash, a power cut or a full disk may leave none of them broken.
//!
//! They are asked of what is on the disk, with the signatures verified and the bytes hashed anew, and not of what a
//! daemon says about itself. Whether acknowledged things are there ([`crate::Acknowledged`]) and whether only
//! publications are served ([`crate::not_served_right`]) needs a client that remembers, or a daemon.

use crate::Facts;
use anneal_attest::{Binding, PredicateType, PublicKey, verify_approval, verify_bundle};
use anneal_content::BlobDigest;
use anneal_ledger::{Candidate, CandidateId, Decision, Event, EvidenceRef, Form, HitKind, Image, State};
use anneal_recipe::Catalog;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The id of an advisory of the tests that names a package of the catalogue at versions that nobody can order begins so.
pub const UNSURE: &str = "UNSURE-";

/// The journal folded, with what happened at the publications.
struct Story<'a> {
    facts: &'a Facts,
    /// Before each publication: the state, and which candidate is being published with which evidence.
    publications: Vec<(State, CandidateId, Vec<EvidenceRef>)>,
    state: State,
    refusals: Vec<String>,
}

type Check = fn(&Story<'_>) -> Vec<String>;

/// Every promise that can be asked of a state directory.
const PROMISES: &[(&str, Check)] = &[
    ("the journal can be read, and no event of it was forbidden", |story| story.refusals.clone()),
    ("1: a published digest has a passing verdict, an SBOM, provenance and signatures over it", is_proved),
    ("2: an approval names the digest that is published, and what the approver saw", is_approved),
    ("3: no tag moves without an approval", moves_by_approval),
    ("4: everything reachable is in the store, every byte of it right", is_reachable),
    ("4: a blob has a row if and only if its bytes are there", is_whole),
    ("5: the same plan gives the same image", is_same),
    ("6: nothing outside of the plan is built", is_planned),
    ("8: what cannot be judged is unknown, and never safe", is_unknown),
];

/// The promises that a state directory breaks, each with what breaks it.
pub fn broken_promises(facts: &Facts) -> Vec<String> {
    let story = Story::read(facts);
    let broken = PROMISES.iter().flat_map(|(promise, check)| {
        check(&story).into_iter().map(move |what| format!("promise {promise:?} is broken: {what}"))
    });
    broken.collect()
}

impl<'a> Story<'a> {
    fn read(facts: &'a Facts) -> Self {
        let mut story = Self { facts, publications: Vec::new(), state: State::default(), refusals: Vec::new() };
        for (seq, record) in facts.records.iter().enumerate() {
            if let Event::Published { candidate, evidence, .. } = &record.event {
                story.publications.push((story.state.clone(), *candidate, evidence.clone()));
            }
            if let Err(refusal) = story.state.admit(record) {
                story.refusals.push(format!("event {seq}: {refusal}"));
            }
        }
        story
    }

    /// For each publication: the candidate, its image, and the release key's evidence, as they were at that moment.
    fn published(&self) -> impl Iterator<Item = Result<(&State, &Candidate, &Image, &[EvidenceRef]), String>> {
        self.publications.iter().map(|(state, id, evidence)| {
            let candidate = state.candidates.get(id).ok_or_else(|| format!("candidate {id} is not known"))?;
            let image =
                state.images.get(&candidate.manifest).ok_or_else(|| format!("the image of {id} is not known"))?;
            Ok((state, candidate, image, evidence.as_slice()))
        })
    }

    /// Whether a bundle of a kind, signed by the daemon's key of that role, is about a digest.
    fn proof(&self, evidence: &[EvidenceRef], kind: PredicateType, subject: &BlobDigest) -> Result<(), String> {
        let key = self.facts.key(kind.role())?;
        let mut wrong = "there is none".to_owned();
        for one in evidence.iter().filter(|one| one.predicate_type == kind.uri()) {
            let bytes = self.facts.bytes(&one.bundle);
            match bytes.and_then(|bytes| verify_bundle(&bytes, &key, kind, subject).map_err(|e| e.to_string())) {
                Ok(_) => return Ok(()),
                Err(why) => wrong = why,
            }
        }
        Err(format!("no {} over {subject}: {wrong}", kind.uri()))
    }
}

fn is_proved(story: &Story<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for published in story.published() {
        let (_, candidate, image, evidence) = match published {
            Ok(all) => all,
            Err(wrong) => {
                broken.push(wrong);
                continue;
            }
        };
        let what = format!("{} of {}", candidate.id, candidate.image);
        if !image.verdict.is_some_and(|(passed, ..)| passed) {
            broken.push(format!("{what} has no passing verdict"));
        }
        let of_image = [PredicateType::Spdx, PredicateType::Provenance, PredicateType::TestResult];
        let proofs = of_image.map(|kind| story.proof(&image.evidence, kind, &candidate.manifest));
        let both = [candidate.manifest, candidate.index];
        let signatures = both.map(|digest| story.proof(evidence, PredicateType::CosignSign, &digest));
        let wrong = proofs.into_iter().chain(signatures).filter_map(Result::err);
        broken.extend(wrong.map(|wrong| format!("{what}: {wrong}")));
    }
    broken
}

/// What the approver of a candidate was shown, by digest.
fn binding(candidate: &Candidate, image: &Image) -> Binding {
    let bundles = |kind: PredicateType| {
        image.evidence.iter().filter(|one| one.predicate_type == kind.uri()).map(|one| one.bundle).collect()
    };
    Binding {
        name: candidate.image.clone(),
        image: candidate.manifest,
        index: Some(candidate.index),
        check_results: bundles(PredicateType::TestResult),
        sboms: bundles(PredicateType::Spdx),
        provenances: bundles(PredicateType::Provenance),
        diff: candidate.diff,
    }
}

fn is_approved(story: &Story<'_>) -> Vec<String> {
    let approved = |state: &State, candidate: &Candidate, image: &Image| {
        let Some((Decision::Approve, key_id, statement, _)) = &candidate.decision else {
            return Err("it was published without an approval".to_owned());
        };
        let approver = state.approvers.get(key_id).ok_or_else(|| format!("nobody is enrolled with key {key_id}"))?;
        let key = PublicKey::from_pem(&approver.public_key).map_err(|e| e.to_string())?;
        let bytes = story.facts.bytes(statement)?;
        let approval = verify_approval(&bytes, &key, &binding(candidate, image)).map_err(|e| e.to_string())?;
        let is_yes = approval.decision == anneal_attest::Decision::Approve;
        if is_yes { Ok(()) } else { Err("the statement is a rejection".to_owned()) }
    };
    let broken = story.published().filter_map(|published| match published {
        Ok((state, candidate, image, _)) => {
            approved(state, candidate, image).err().map(|wrong| format!("{}: {wrong}", candidate.id))
        }
        Err(wrong) => Some(wrong),
    });
    broken.collect()
}

fn moves_by_approval(story: &Story<'_>) -> Vec<String> {
    let mut approved = BTreeMap::new();
    let mut broken = Vec::new();
    for (seq, record) in story.facts.records.iter().enumerate() {
        match &record.event {
            Event::Decided { candidate, manifest, decision: Decision::Approve, .. } => {
                approved.insert(*candidate, *manifest);
            }
            Event::Published { candidate, .. } => {
                let moved = story.state.publications.iter().find(|p| p.candidate == *candidate).map(|p| p.manifest);
                if moved.is_none() || approved.get(candidate) != moved.as_ref() {
                    broken.push(format!("event {seq} publishes {candidate}, which no event before it approved"));
                }
            }
            _ => {}
        }
    }
    broken
}

fn is_reachable(story: &Story<'_>) -> Vec<String> {
    let needed = story.state.needed_images(&BTreeSet::new(), u64::MAX);
    let of_events = story.facts.records.iter().flat_map(|record| record.event.kept());
    let mut broken = Vec::new();
    for reference in of_events.chain(story.state.kept(&needed)) {
        let wrong = match reference.form {
            Form::Bytes => story.facts.bytes(&reference.digest).map(drop).err().into_iter().collect(),
            Form::Document => document(story.facts, &reference.digest),
            Form::Tree => tree(story.facts, &reference.digest),
        };
        broken.extend(wrong.into_iter().map(|wrong| format!("{wrong} (it is kept for {})", reference.why)));
    }
    broken
}

/// What is wrong with a manifest or an index, and with all that it names.
fn document(facts: &Facts, digest: &BlobDigest) -> Vec<String> {
    let value: Value = match facts.bytes(digest).and_then(|b| serde_json::from_slice(&b).map_err(|e| e.to_string())) {
        Ok(value) => value,
        Err(wrong) => return vec![wrong],
    };
    let listed = |field: &str| value[field].as_array().cloned().unwrap_or_default();
    let mut broken = Vec::new();
    for part in listed("layers").iter().chain([&value["config"]]).filter(|part| part.is_object()) {
        let named = part["digest"].as_str().and_then(|text| text.parse::<BlobDigest>().ok());
        let size = named.as_ref().and_then(|named| facts.blobs.get(named));
        if size.and_then(|size| size.as_ref().ok().copied()) != part["size"].as_u64() {
            broken.push(format!("{digest} names {part}, and the store has {size:?}"));
        }
    }
    for inner in listed("manifests") {
        match inner["digest"].as_str().and_then(|text| text.parse().ok()) {
            Some(inner) => broken.extend(document(facts, &inner)),
            None => broken.push(format!("{digest} names {inner}")),
        }
    }
    broken
}

fn tree(facts: &Facts, digest: &BlobDigest) -> Vec<String> {
    let tree = anneal_content::TreeDigest::from_bytes(*digest.as_bytes());
    let entries = match anneal_content::list(&tree, &facts.store) {
        Ok(entries) => entries,
        Err(error) => return vec![format!("tree {tree}: {error}")],
    };
    let files = entries.iter().filter_map(|entry| match &entry.kind {
        anneal_content::EntryKind::File { digest, size } => Some((&entry.path, digest, size)),
        _ => None,
    });
    let wrong = files.filter(|(_, digest, size)| facts.blobs.get(digest) != Some(&Ok(**size)));
    wrong.map(|(path, digest, _)| format!("{path} of tree {tree} should be {digest}")).collect()
}

fn is_whole(story: &Story<'_>) -> Vec<String> {
    let rows = story.facts.blobs.iter();
    let mut broken: Vec<_> =
        rows.filter_map(|(digest, found)| found.as_ref().err().map(|e| format!("{digest}: {e}"))).collect();
    for (digest, found) in &story.facts.blobs {
        let size = story.facts.store.size(digest).ok().flatten();
        if found.as_ref().ok() != size.as_ref() {
            broken.push(format!("{digest} has {found:?} bytes, and its row says {size:?}"));
        }
    }
    let damage = story.facts.rows.keys().filter(|(table, key)| *table == "records" && key.starts_with(b"damage\0"));
    broken.extend(damage.map(|(_, key)| format!("a blob was found damaged: {}", String::from_utf8_lossy(key))));
    broken
}

fn is_same(story: &Story<'_>) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let mut broken = Vec::new();
    for record in &story.facts.records {
        if let Event::ImageAssembled { key, manifest, index, image, .. } = &record.event {
            let first = seen.entry(*key).or_insert((*manifest, *index));
            if *first != (*manifest, *index) {
                broken.push(format!("{image} was {} once and is {manifest} now, from one recipe", first.0));
            }
        }
    }
    broken
}

/// What was built stood in the catalogue that was active then, at that version.
fn is_planned(story: &Story<'_>) -> Vec<String> {
    let mut catalogues: Vec<Catalog> = Vec::new();
    let mut broken = Vec::new();
    for record in &story.facts.records {
        match &record.event {
            Event::CatalogImported { blob, .. } => {
                let bytes = story.facts.bytes(blob);
                match bytes.and_then(|bytes| Catalog::from_json(&bytes).map_err(|e| e.to_string())) {
                    Ok(catalogue) => catalogues.push(catalogue),
                    Err(wrong) => broken.push(wrong),
                }
            }
            Event::PackageBuilt { package, version, .. } => {
                // a build that began under one revision may end under the next
                let recent = catalogues.iter().rev().take(8);
                let wanted = |catalogue: &Catalog| catalogue.package(package).is_ok_and(|r| r.version() == version);
                if !recent.into_iter().any(wanted) {
                    broken.push(format!("{package} {version} was built, and no catalogue asked for it"));
                }
            }
            _ => {}
        }
    }
    broken
}

fn is_unknown(story: &Story<'_>) -> Vec<String> {
    let matched = story.facts.records.iter().filter_map(|record| match &record.event {
        Event::AdvisoryMatched { id, hits, .. } if id.starts_with(UNSURE) => Some((id, hits)),
        _ => None,
    });
    let safe = matched.filter(|(_, hits)| !hits.iter().any(|hit| hit.kind == HitKind::Unknown));
    safe.map(|(id, hits)| format!("{id} was taken for {hits:?}")).collect()
}
