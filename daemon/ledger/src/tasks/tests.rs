//! The life of an image, from a recipe to a publication, as the ledger drives it.

use super::*;
use crate::*;
use anneal_content::{PackageName, Tag, Version};

fn blob(n: u8) -> BlobDigest {
    BlobDigest::from_bytes([n; 32])
}
fn name(text: &str) -> ImageName {
    ImageName::new(text).unwrap()
}
fn key(n: u8) -> DerivationId {
    DerivationId::from_bytes([n; 32])
}

struct World {
    state: State,
    now: u64,
}

impl World {
    fn new() -> Self {
        let mut world = World { state: State::default(), now: 1000 };
        world.ok(Event::CatalogImported {
            revision: CatalogDigest::of(b"1"),
            blob: blob(1),
            cause: RevisionCause::Files,
        });
        world.ok(Event::ApproverEnrolled { key_id: "k".into(), name: "Ada".into(), public_key: "pem".into() });
        world
    }
    fn try_event(&mut self, event: Event) -> Result<(), Refusal> {
        self.now += 1;
        self.state.apply(&Record { at_ms: self.now, event })
    }
    fn ok(&mut self, event: Event) {
        self.try_event(event).unwrap();
    }
    fn tasks(&self, wanted: u8) -> Vec<Task> {
        let images = [(name("nginx"), (key(wanted), BTreeSet::from([key(100)])))];
        next_tasks(&self.state, &Wanted { images: images.into() }, self.now)
    }
    fn assemble(&mut self, wanted: u8, manifest: u8) {
        self.ok(Event::ImageAssembled {
            image: name("nginx"),
            key: key(wanted),
            revision: CatalogDigest::of(b"1"),
            manifest: blob(manifest),
            index: blob(manifest + 100),
            layers: vec![],
            packages: vec![],
        });
    }
    fn judge(&mut self, manifest: u8, passed: bool) {
        let counts = (1, 0, u32::from(!passed));
        self.ok(Event::ImageJudged { manifest: blob(manifest), passed, counts, results: blob(9), payloads: vec![] });
    }
    fn sign(&mut self, manifest: u8) {
        let evidence =
            EvidenceRef { predicate_type: "p".into(), role: "build".into(), bundle: blob(9), referrer: blob(9) };
        self.ok(Event::EvidenceSigned { manifest: blob(manifest), evidence: vec![evidence] });
    }
    fn open(&mut self, manifest: u8, fixes: &[&str]) -> CandidateId {
        let candidate = self.state.next_candidate();
        self.ok(Event::CandidateOpened {
            candidate,
            image: name("nginx"),
            manifest: blob(manifest),
            index: blob(manifest + 100),
            tags: vec![Tag::new("latest").unwrap()],
            fixes: fixes.iter().map(|f| (*f).to_owned()).collect(),
            diff: blob(9),
        });
        candidate
    }
    fn decide(&mut self, candidate: CandidateId, manifest: u8, decision: Decision) -> Result<(), Refusal> {
        let event =
            Event::Decided { candidate, manifest: blob(manifest), decision, key_id: "k".into(), statement: blob(8) };
        self.try_event(event)
    }
    fn publish(&mut self, candidate: CandidateId) -> Result<(), Refusal> {
        self.try_event(Event::Published { candidate, evidence: vec![], extra_tags: BTreeMap::new() })
    }
}

#[test]
fn an_image_goes_from_recipe_to_publication_step_by_step_and_then_rests() {
    let mut world = World::new();
    assert_eq!(world.tasks(1), [Task::Build([name("nginx")].into())]);
    world.assemble(1, 10);
    assert_eq!(world.tasks(1), [Task::Check(blob(10))]);
    world.judge(10, true);
    assert_eq!(world.tasks(1), [Task::Sign(blob(10))]);
    world.sign(10);
    assert_eq!(world.tasks(1), [Task::OpenCandidate(blob(10))]);
    let candidate = world.open(10, &[]);
    assert_eq!(world.tasks(1), [], "a human is awaited");
    world.decide(candidate, 10, Decision::Approve).unwrap();
    assert_eq!(world.tasks(1), [Task::Publish(candidate)]);
    world.publish(candidate).unwrap();
    assert_eq!(world.tasks(1), []);
}

#[test]
fn a_failed_verdict_stops_an_image_before_it_can_be_a_candidate() {
    let mut world = World::new();
    world.assemble(1, 10);
    world.judge(10, false);
    world.sign(10);
    assert_eq!(world.tasks(1), []);
    let refused = world.try_event(Event::CandidateOpened {
        candidate: CandidateId(1),
        image: name("nginx"),
        manifest: blob(10),
        index: blob(110),
        tags: vec![],
        fixes: vec![],
        diff: blob(9),
    });
    assert_eq!(refused, Err(Refusal::NotReady { manifest: blob(10), missing: "its checks did not pass" }));
}

#[test]
fn nothing_is_published_without_an_approval() {
    let mut world = World::new();
    world.assemble(1, 10);
    world.judge(10, true);
    world.sign(10);
    let candidate = world.open(10, &[]);
    assert_eq!(world.publish(candidate), Err(Refusal::NotApproved(candidate)));
    world.decide(candidate, 10, Decision::Reject).unwrap();
    assert_eq!(world.publish(candidate), Err(Refusal::NotApproved(candidate)));
}

#[test]
fn a_newer_candidate_supersedes_and_the_older_cannot_be_approved() {
    let mut world = World::new();
    for manifest in [10, 11] {
        world.assemble(manifest, manifest);
        world.judge(manifest, true);
        world.sign(manifest);
    }
    let older = world.open(10, &[]);
    let newer = world.open(11, &[]);
    let refused = world.decide(older, 10, Decision::Approve);
    assert_eq!(refused, Err(Refusal::Superseded { candidate: older, image: "nginx".into(), by: newer }));
    world.decide(newer, 11, Decision::Approve).unwrap();
}

#[test]
fn an_approval_binds_to_the_digest_and_to_an_enrolled_key() {
    let mut world = World::new();
    world.assemble(1, 10);
    world.judge(10, true);
    world.sign(10);
    let candidate = world.open(10, &[]);
    assert!(matches!(world.decide(candidate, 12, Decision::Approve), Err(Refusal::WrongDigest { .. })));
    world.ok(Event::ApproverRevoked { key_id: "k".into(), reason: "left".into() });
    assert!(matches!(world.decide(candidate, 10, Decision::Approve), Err(Refusal::UnknownApprover { .. })));
}

fn advisory_lands(world: &mut World, kind: HitKind) {
    world.ok(Event::AdvisoryImported { id: "CVE-1".into(), record: blob(5) });
    assert!(matches!(world.tasks(1)[0], Task::Match { .. }));
    let hit = Hit {
        package: PackageName::new("zlib").unwrap(),
        version: Version::new("1.2.11").unwrap(),
        kind,
        explanation: "in range".into(),
    };
    world.ok(Event::AdvisoryMatched {
        id: "CVE-1".into(),
        record: blob(5),
        revision: CatalogDigest::of(b"1"),
        hits: vec![hit],
        images: vec![name("nginx")],
    });
}

#[test]
fn an_advisory_opens_a_case_that_the_publication_of_its_fix_closes() {
    let mut world = World::new();
    world.assemble(1, 10);
    advisory_lands(&mut world, HitKind::Affected);
    assert_eq!(world.tasks(1)[0], Task::Remediate { advisories: vec!["CVE-1".into()] });
    let revision = CatalogDigest::of(b"2");
    world.ok(Event::RemediationChosen { advisory: "CVE-1".into(), bumps: vec![], revision, plan: blob(7) });
    world.assemble(2, 11);
    world.judge(11, true);
    world.sign(11);
    let candidate = world.open(11, &["CVE-1"]);
    assert_eq!(world.state.cases["CVE-1"].status, CaseStatus::Remediating { revision });
    world.decide(candidate, 11, Decision::Approve).unwrap();
    world.publish(candidate).unwrap();
    assert_eq!(world.state.cases["CVE-1"].status, CaseStatus::Closed);
}

#[test]
fn a_version_that_cannot_be_compared_blocks_the_case_for_a_human() {
    let mut world = World::new();
    advisory_lands(&mut world, HitKind::Unknown);
    assert!(matches!(world.state.cases["CVE-1"].status, CaseStatus::Blocked { .. }));
}

#[test]
fn a_failed_build_is_tried_again_only_after_its_time() {
    let mut world = World::new();
    world.ok(Event::BuildFailed {
        package: PackageName::new("zlib").unwrap(),
        derivation: key(100),
        summary: "exit 1".into(),
        log: None,
        retry_after_ms: world.now + 100,
    });
    assert_eq!(world.tasks(1), []);
    world.now += 200;
    assert_eq!(world.tasks(1), [Task::Build([name("nginx")].into())]);
}

#[test]
fn a_record_survives_the_journal_byte_for_byte() {
    let record = Record { at_ms: 5, event: Event::AdvisoryImported { id: "CVE-1".into(), record: blob(5) } };
    let bytes = serde_json::to_vec(&record).unwrap();
    assert_eq!(serde_json::from_slice::<Record>(&bytes).unwrap(), record);
}

#[test]
fn a_refused_image_is_checked_again_when_somebody_asks_and_a_passed_one_is_not() {
    let mut world = World::new();
    world.assemble(1, 10);
    world.judge(10, false);
    assert_eq!(world.tasks(1), []);
    world.ok(Event::CheckAsked { manifest: blob(10) });
    assert_eq!(world.tasks(1), [Task::Check(blob(10))]);
    world.judge(10, true);
    world.ok(Event::CheckAsked { manifest: blob(10) });
    assert_eq!(world.tasks(1), [Task::Sign(blob(10))]);
}
