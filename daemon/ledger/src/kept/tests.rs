//! What the ledger promises of builds that are kept.

use super::*;
use crate::*;
use anneal_content::{CatalogDigest, ImageName};

fn key(n: u8) -> DerivationId {
    DerivationId::from_bytes([n; 32])
}

fn blob(n: u8) -> BlobDigest {
    BlobDigest::from_bytes([n; 32])
}

fn package() -> PackageName {
    PackageName::new("nginx").unwrap()
}

fn kept(derivation: u8, now: u8) -> Event {
    let tree = |n: u8| [(OutputName::out(), TreeDigest::from_bytes([n; 32]))].into();
    let linked = Linked { interface: InterfaceDigest::of(b"i"), built_with: tree(1), now: tree(now), abi_report: None };
    Event::PackageKept {
        package: package(),
        version: Version::new("1").unwrap(),
        derivation: key(derivation),
        action: ActionDigest::of(b"a"),
        linked: [(PackageName::new("zlib").unwrap(), linked)].into(),
        ground: Ground::InterfaceEqual,
    }
}

fn proved(derivation: u8) -> Event {
    let action = ActionDigest::of(b"by content");
    Event::KeptProved { package: package(), derivation: key(derivation), action, payloads: vec![] }
}

fn withdrawn(derivation: u8) -> Event {
    let (package, action, why) = (package(), ActionDigest::of(b"by content"), "output out".to_owned());
    Event::CutOffWithdrawn { package, derivation: key(derivation), action, why, payloads: vec![] }
}

fn assembled(wanted: u8, manifest: u8, derivation: u8) -> Event {
    let tree = TreeDigest::from_bytes([7; 32]);
    let version = Version::new("1").unwrap();
    Event::ImageAssembled {
        image: ImageName::new("web").unwrap(),
        key: key(wanted),
        revision: CatalogDigest::of(b"1"),
        manifest: blob(manifest),
        index: blob(manifest),
        layers: vec![],
        packages: vec![PackageRecord {
            name: package(),
            version,
            derivation: key(derivation),
            tree,
            in_place_of: None,
        }],
    }
}

struct World(State);

impl World {
    fn new() -> Self {
        let mut world = Self(State::default());
        let (revision, cause) = (CatalogDigest::of(b"1"), RevisionCause::Files);
        world.ok(Event::CatalogImported { revision, blob: blob(1), cause });
        world.ok(Event::ApproverEnrolled { key_id: "k".into(), name: "Ada".into(), public_key: "pem".into() });
        world
    }
    fn tell(&mut self, event: Event) -> Result<(), Refusal> {
        self.0.admit(&Record { at_ms: 5, event })
    }
    fn ok(&mut self, event: Event) {
        self.tell(event).unwrap();
    }
    fn due(&self, wanted: &[u8]) -> Vec<Task> {
        let derivations = wanted.iter().map(|n| key(*n)).collect();
        let image = WantedImage { key: key(99), derivations, policy: blob(2) };
        let images = [(ImageName::new("web").unwrap(), image)].into();
        let wanted = Wanted { images, swapped: Vec::new() };
        next_tasks(&self.0, &wanted, 9).into_iter().filter(|task| matches!(task, Task::ProveKept { .. })).collect()
    }
    /// An image of the kept build, ready to be a candidate.
    fn ready(&mut self, manifest: u8, derivation: u8) {
        self.ok(assembled(manifest, manifest, derivation));
        let (manifest, counts, results) = (blob(manifest), (1, 0, 0), blob(3));
        let against = Some(self.0.check_inputs(&ImageName::new("web").unwrap(), &manifest, blob(2)));
        self.ok(Event::ImageJudged { manifest, passed: true, counts, results, against, payloads: vec![] });
        let one = EvidenceRef { predicate_type: "p".into(), role: "build".into(), bundle: blob(4), referrer: blob(4) };
        self.ok(Event::EvidenceSigned { manifest, evidence: vec![one], build_root: None });
    }
    fn open(&mut self, manifest: u8) -> Result<CandidateId, Refusal> {
        let candidate = self.0.next_candidate();
        self.tell(Event::CandidateOpened {
            candidate,
            image: ImageName::new("web").unwrap(),
            manifest: blob(manifest),
            index: blob(manifest),
            tags: vec![],
            fixes: vec![],
            diff: blob(5),
        })?;
        Ok(candidate)
    }
    fn approve(&mut self, candidate: CandidateId, manifest: u8) -> Result<(), Refusal> {
        let (manifest, decision) = (blob(manifest), Decision::Approve);
        self.tell(Event::Decided { candidate, manifest, decision, key_id: "k".into(), statement: blob(6) })
    }
}

#[test]
fn a_kept_build_is_to_be_proved_as_long_as_something_wants_it_and_nothing_is_known() {
    let mut world = World::new();
    world.ok(kept(10, 2));
    let due = [Task::ProveKept { package: package(), derivation: key(10) }];
    assert_eq!(world.due(&[10, 11]), due);
    assert_eq!(world.due(&[11]), [], "nobody builds it any more");
    // the same fact again, as after a crash, is no news; other libraries are
    world.ok(kept(10, 2));
    world.ok(proved(10));
    world.ok(kept(10, 2));
    assert_eq!(world.due(&[10]), []);
    world.ok(kept(10, 3));
    assert_eq!(world.due(&[10]), due);
}

#[test]
fn what_a_proof_showed_is_said_once_and_only_of_a_build_that_was_kept() {
    let mut world = World::new();
    assert!(matches!(world.tell(proved(10)), Err(Refusal::Unknown { .. })));
    assert!(matches!(world.tell(withdrawn(10)), Err(Refusal::Unknown { .. })));
    world.ok(kept(10, 2));
    world.ok(proved(10));
    assert!(matches!(world.tell(withdrawn(10)), Err(Refusal::Proved { .. })));
    assert!(world.0.withdrawn_packages().is_empty());
}

#[test]
fn a_package_whose_cut_off_is_withdrawn_is_never_kept_again() {
    let mut world = World::new();
    world.ok(kept(10, 2));
    world.ok(withdrawn(10));
    assert_eq!(world.0.withdrawn_packages(), [package()].into());
    assert!(matches!(world.tell(kept(11, 4)), Err(Refusal::CutOffWithdrawn { .. })));
}

#[test]
fn an_image_whose_kept_build_is_refuted_is_neither_proposed_nor_approved() {
    let mut world = World::new();
    world.ok(kept(10, 2));
    world.ready(20, 10);
    let candidate = world.open(20).unwrap();
    world.ok(withdrawn(10));
    assert!(matches!(world.approve(candidate, 20), Err(Refusal::NotReady { .. })));
    assert!(matches!(world.open(20), Err(Refusal::NotReady { .. })));
    // another image takes its place
    world.ready(21, 12);
    let next = world.open(21).unwrap();
    world.approve(next, 21).unwrap();
}

#[test]
fn an_image_that_comes_out_the_same_without_the_refuted_build_may_be_approved_with_new_evidence() {
    let mut world = World::new();
    world.ok(kept(10, 2));
    world.ready(20, 10);
    let candidate = world.open(20).unwrap();
    world.ok(withdrawn(10));
    world.ok(assembled(30, 20, 12));
    assert!(world.approve(candidate, 20).is_err(), "its provenance tells of the refuted build");
    let one = EvidenceRef { predicate_type: "p".into(), role: "build".into(), bundle: blob(8), referrer: blob(8) };
    world.ok(Event::EvidenceSigned { manifest: blob(20), evidence: vec![one], build_root: None });
    world.approve(candidate, 20).unwrap();
}

#[test]
fn a_kept_build_may_be_approved_before_it_is_proved() {
    let mut world = World::new();
    world.ok(kept(10, 2));
    world.ready(20, 10);
    let candidate = world.open(20).unwrap();
    world.approve(candidate, 20).unwrap();
}

#[test]
fn a_journal_from_before_there_were_kept_builds_reads_as_one_without_any() {
    let mut value = serde_json::to_value(State::default()).unwrap();
    let fields = value.as_object_mut().unwrap();
    assert!(fields.remove("kept").is_some() && fields.remove("cut_off_withdrawn").is_some());
    assert_eq!(serde_json::from_value::<State>(value).unwrap(), State::default());
}
