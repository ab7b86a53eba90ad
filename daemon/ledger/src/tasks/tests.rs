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
        self.state.admit(&Record { at_ms: self.now, event })
    }
    fn ok(&mut self, event: Event) {
        self.try_event(event).unwrap();
    }
    fn tasks(&self, wanted: u8) -> Vec<Task> {
        let image = WantedImage { key: key(wanted), derivations: BTreeSet::from([key(100)]), policy: blob(77) };
        let images = [(name("nginx"), image)];
        next_tasks(&self.state, &Wanted { images: images.into(), swapped: Vec::new() }, self.now)
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
        let against = Some(self.state.check_inputs(&name("nginx"), &blob(manifest), blob(77)));
        let manifest = blob(manifest);
        self.ok(Event::ImageJudged { manifest, passed, counts, results: blob(9), against, payloads: vec![] });
    }
    fn sign(&mut self, manifest: u8) {
        let evidence =
            EvidenceRef { predicate_type: "p".into(), role: "build".into(), bundle: blob(9), referrer: blob(9) };
        self.ok(Event::EvidenceSigned { manifest: blob(manifest), evidence: vec![evidence], build_root: None });
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

fn ready_candidate(world: &mut World, manifest: u8, fixes: &[&str]) -> CandidateId {
    world.assemble(manifest, manifest);
    world.judge(manifest, true);
    world.sign(manifest);
    world.open(manifest, fixes)
}

#[test]
fn an_image_that_was_checked_before_an_advisory_touched_it_is_checked_again_and_not_approved_meanwhile() {
    let mut world = World::new();
    let candidate = ready_candidate(&mut world, 10, &[]);
    advisory_lands(&mut world, HitKind::Unknown);
    assert!(world.tasks(10).contains(&Task::Check(blob(10))));
    let refused = world.decide(candidate, 10, Decision::Approve);
    assert_eq!(refused, Err(Refusal::Stale { manifest: blob(10), advisories: "CVE-1".into() }));
    world.judge(10, false);
    assert!(!world.tasks(10).contains(&Task::Check(blob(10))));
}

#[test]
fn an_unrelated_advisory_checks_nothing_again() {
    let mut world = World::new();
    ready_candidate(&mut world, 10, &[]);
    world.ok(Event::AdvisoryImported { id: "CVE-2".into(), record: blob(6) });
    let revision = CatalogDigest::of(b"1");
    let (id, record) = ("CVE-2".to_owned(), blob(6));
    world.ok(Event::AdvisoryMatched { id, record, revision, hits: vec![], images: vec![] });
    assert_eq!(world.tasks(10), []);
}

#[test]
fn a_package_that_was_moved_twice_stays_at_the_last_release_whatever_becomes_of_the_cases() {
    let mut world = World::new();
    let zlib = PackageName::new("zlib").unwrap();
    let version = |text: &str| Version::new(text).unwrap();
    for (id, record, from, to) in [("Z", 21, "1.2.11", "1.2.12"), ("A", 22, "1.2.12", "1.2.13")] {
        let hit =
            Hit { package: zlib.clone(), version: version(from), kind: HitKind::Affected, explanation: String::new() };
        let (revision, images) = (CatalogDigest::of(b"1"), vec![name("nginx")]);
        let id = id.to_owned();
        world.ok(Event::AdvisoryImported { id: id.clone(), record: blob(record) });
        world.ok(Event::AdvisoryMatched { id: id.clone(), record: blob(record), revision, hits: vec![hit], images });
        let bumps = vec![(zlib.clone(), version(from), version(to))];
        world.ok(Event::RemediationChosen { advisory: id.clone(), bumps, revision, plan: blob(7) });
    }
    world.ok(Event::CaseBlocked {
        advisory: "A".into(),
        revision: CatalogDigest::of(b"1"),
        why: "judged again".into(),
    });
    assert_eq!(world.state.pins[&zlib], (version("1.2.11"), version("1.2.13")));
}

#[test]
fn going_back_to_an_earlier_revision_is_judged_again() {
    let mut world = World::new();
    advisory_lands(&mut world, HitKind::Unknown);
    let matching = |world: &World| world.tasks(1).iter().any(|task| matches!(task, Task::Match { .. }));
    assert!(!matching(&world));
    for revision in [b"2", b"1"] {
        let (revision, cause) = (CatalogDigest::of(revision), RevisionCause::Files);
        world.ok(Event::CatalogImported { revision, blob: blob(1), cause });
        assert!(matching(&world));
        let (id, images) = ("CVE-1".to_owned(), vec![]);
        world.ok(Event::AdvisoryMatched { id, record: blob(5), revision, hits: vec![], images });
    }
}

#[test]
fn a_late_publication_does_not_move_a_tag_back() {
    let mut world = World::new();
    let older = ready_candidate(&mut world, 10, &[]);
    world.decide(older, 10, Decision::Approve).unwrap();
    let newer = ready_candidate(&mut world, 11, &[]);
    world.decide(newer, 11, Decision::Approve).unwrap();
    world.publish(newer).unwrap();
    assert_eq!(world.publish(older), Err(Refusal::NotApproved(older)), "it was superseded");
    assert_eq!(world.state.published(&name("nginx")).unwrap().candidate, newer);
}

#[test]
fn a_revoked_key_cannot_be_enrolled_again() {
    let mut world = World::new();
    world.ok(Event::ApproverRevoked { key_id: "k".into(), reason: "lost".into() });
    let again = Event::ApproverEnrolled { key_id: "k".into(), name: "Mallory".into(), public_key: "pem".into() };
    assert_eq!(world.try_event(again), Err(Refusal::Revoked { key_id: "k".into(), reason: "lost".into() }));
}

#[test]
fn a_new_catalogue_forgets_failed_builds() {
    let mut world = World::new();
    world.ok(Event::BuildFailed {
        package: PackageName::new("zlib").unwrap(),
        derivation: key(100),
        summary: "gone everywhere".into(),
        log: None,
        retry_after_ms: u64::MAX,
    });
    assert_eq!(world.tasks(1), []);
    let (revision, cause) = (CatalogDigest::of(b"mended"), RevisionCause::Files);
    world.ok(Event::CatalogImported { revision, blob: blob(1), cause });
    assert_eq!(world.tasks(1), [Task::Build([name("nginx")].into())]);
}

#[test]
fn an_approval_of_what_is_judged_anew_before_it_is_published_must_be_given_again() {
    let mut world = World::new();
    let candidate = ready_candidate(&mut world, 10, &[]);
    world.decide(candidate, 10, Decision::Approve).unwrap();
    world.judge(10, true);
    assert_eq!(world.publish(candidate), Err(Refusal::NotApproved(candidate)));
    world.sign(10);
    world.decide(candidate, 10, Decision::Approve).unwrap();
    world.publish(candidate).unwrap();
}

#[test]
fn what_the_journal_holds_is_believed_even_where_a_later_rule_would_refuse_it() {
    let mut world = World::new();
    let candidate = ready_candidate(&mut world, 10, &[]);
    advisory_lands(&mut world, HitKind::Unknown);
    let (manifest, decision) = (blob(10), Decision::Approve);
    let decided = Event::Decided { candidate, manifest, decision, key_id: "k".into(), statement: blob(8) };
    let record = Record { at_ms: world.now, event: decided };
    assert!(matches!(world.state.admit(&record), Err(Refusal::Stale { .. })));
    world.state.apply(&record).unwrap();
    assert_eq!(world.state.candidates[&candidate].status, CandidateStatus::Approved);
    let dangling = Record { at_ms: world.now, event: Event::CheckAsked { manifest: blob(99) } };
    assert!(matches!(world.state.apply(&dangling), Err(Refusal::Unknown { .. })));
}

fn tried(package_inputs: u8, causes: &[&str]) -> Event {
    Event::PackageTried {
        package: PackageName::new("zlib").unwrap(),
        version: Version::new("1.0").unwrap(),
        derivation: key(package_inputs),
        action: anneal_content::ActionDigest::of(b"a"),
        varied: BTreeSet::from(["cpus".to_owned()]),
        causes: causes.iter().map(|cause| (*cause).to_owned()).collect(),
        payloads: vec![],
    }
}

#[test]
fn a_candidate_whose_package_turns_out_not_to_be_reproducible_is_checked_again_and_not_approved_meanwhile() {
    let mut world = World::new();
    world.ok(Event::ImageAssembled {
        image: name("nginx"),
        key: key(10),
        revision: CatalogDigest::of(b"1"),
        manifest: blob(10),
        index: blob(110),
        layers: vec![],
        packages: vec![PackageRecord {
            name: PackageName::new("zlib").unwrap(),
            version: Version::new("1.0").unwrap(),
            derivation: key(50),
            tree: anneal_content::TreeDigest::from_bytes([1; 32]),
            in_place_of: None,
        }],
    });
    let candidate = ready_candidate(&mut world, 10, &[]);
    world.ok(tried(50, &[]));
    world.ok(tried(51, &["time"]));
    assert_eq!(world.tasks(10), [], "the same bytes, and another derivation's difference, change nothing");
    world.ok(tried(50, &["cpus"]));
    assert_eq!(world.tasks(10), [Task::Check(blob(10))]);
    let refused = world.decide(candidate, 10, Decision::Approve);
    assert!(matches!(refused, Err(Refusal::NotReady { .. })), "{refused:?}");
    // One run that comes out the same takes nothing back.
    world.ok(tried(50, &[]));
    assert_eq!(world.tasks(10), [Task::Check(blob(10))]);
    // With a waiver in the recipe the checks may pass all the same: then a human may decide.
    world.judge(10, true);
    world.sign(10);
    world.decide(candidate, 10, Decision::Approve).unwrap();
}
