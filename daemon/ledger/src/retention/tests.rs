//! Which images are needed, and what becomes of one that is not.

use crate::*;
use anneal_content::{BlobDigest, CatalogDigest, DerivationId, ImageName, TreeDigest};
use std::collections::{BTreeMap, BTreeSet};

const NOBODY: BTreeSet<BlobDigest> = BTreeSet::new();

fn blob(n: u8) -> BlobDigest {
    BlobDigest::from_bytes([n; 32])
}

struct World(State, u64);

impl World {
    /// An image with a candidate; each has its number in all of its digests.
    fn with_candidates(count: u8) -> Self {
        let mut world = Self(State::default(), 0);
        world.happens(Event::ApproverEnrolled { key_id: "k".into(), name: "Ada".into(), public_key: "pem".into() });
        for n in 1..=count {
            world.assemble(n);
            let image = ImageName::new("nginx").unwrap();
            let against = Some(world.0.check_inputs(&image, &blob(n), blob(77)));
            let (manifest, results) = (blob(n), blob(n + 50));
            world.happens(Event::ImageJudged {
                manifest,
                passed: true,
                counts: (1, 0, 0),
                results,
                against,
                payloads: vec![],
            });
            let evidence = vec![EvidenceRef {
                predicate_type: "test".into(),
                role: "build".into(),
                bundle: blob(n + 60),
                referrer: blob(n + 70),
            }];
            world.happens(Event::EvidenceSigned { manifest, evidence, build_root: None });
            world.happens(Event::CandidateOpened {
                candidate: CandidateId(n.into()),
                image,
                manifest,
                index: blob(n + 100),
                tags: vec![],
                fixes: vec![],
                diff: blob(n + 80),
            });
        }
        world
    }

    fn assemble(&mut self, n: u8) {
        self.happens(Event::ImageAssembled {
            image: ImageName::new("nginx").unwrap(),
            key: DerivationId::from_bytes([n; 32]),
            revision: CatalogDigest::of(b"1"),
            manifest: blob(n),
            index: blob(n + 100),
            layers: vec![],
            packages: vec![PackageRecord {
                name: anneal_content::PackageName::new("zlib").unwrap(),
                version: anneal_content::Version::new("1.3").unwrap(),
                derivation: DerivationId::from_bytes([n + 20; 32]),
                tree: TreeDigest::from_bytes([n + 30; 32]),
                in_place_of: None,
            }],
        });
    }

    fn admits(&mut self, event: Event) -> Result<(), Refusal> {
        self.1 += 10;
        self.0.admit(&Record { at_ms: self.1, event })
    }

    fn happens(&mut self, event: Event) {
        self.admits(event).unwrap();
    }

    fn decide(&mut self, n: u8, decision: Decision) {
        let (candidate, manifest) = (CandidateId(n.into()), blob(n));
        let statement = blob(n + 90);
        self.happens(Event::Decided { candidate, manifest, decision, key_id: "k".into(), statement });
    }

    fn publish(&mut self, n: u8) {
        self.decide(n, Decision::Approve);
        self.happens(Event::Published {
            candidate: CandidateId(n.into()),
            evidence: vec![],
            extra_tags: BTreeMap::new(),
        });
    }

    /// Which images are needed long after everything.
    fn needed(&self) -> Vec<BlobDigest> {
        self.0.needed_images(&NOBODY, self.1 + 1000).into_keys().collect()
    }
}

#[test]
fn what_was_ever_published_or_awaits_a_human_is_needed_and_what_was_set_aside_is_not() {
    let mut world = World::with_candidates(1);
    assert_eq!(world.needed(), [blob(1)], "open");
    world.publish(1);
    let mut world = World(World::with_candidates(4).0, 1000);
    // 1 to 3 were superseded, 4 is open
    assert_eq!(world.needed(), [blob(4)]);
    world.publish(4);
    assert_eq!(world.needed(), [blob(4)], "published");
    assert_eq!(world.0.loose_images(&world.0.needed_images(&NOBODY, 5000)), [blob(1), blob(2), blob(3)]);
    let mut world = World::with_candidates(1);
    world.decide(1, Decision::Reject);
    assert!(world.needed().is_empty(), "rejected");
}

#[test]
fn what_was_set_aside_stays_for_the_grace_time_from_then_on() {
    let world = World::with_candidates(2);
    let superseded_ms = world.0.candidates[&CandidateId(2)].opened_ms;
    let at = |since_ms| world.0.needed_images(&NOBODY, since_ms).contains_key(&blob(1));
    assert!(at(superseded_ms - 1) && !at(superseded_ms));
}

#[test]
fn what_the_active_catalogue_asks_for_is_needed() {
    let mut world = World::with_candidates(1);
    world.decide(1, Decision::Reject);
    let needed = world.0.needed_images(&BTreeSet::from([blob(1)]), 5000);
    assert!(needed[&blob(1)].contains("active catalogue"), "{needed:?}");
    let kept = world.0.kept(&needed);
    let forms: Vec<_> = kept.iter().map(|r| (r.digest, r.form)).collect();
    assert_eq!(forms, [(blob(1), Form::Document), (blob(101), Form::Document), (blob(31), Form::Tree)]);
    assert_eq!(world.0.kept_derivations(&needed).len(), 1);
}

#[test]
fn the_ledger_never_names_a_collected_image_as_one_that_is_there() {
    let mut world = World::with_candidates(2);
    world.happens(Event::ImagesCollected { manifests: vec![blob(1)] });
    let key = DerivationId::from_bytes([1; 32]);
    assert!(!world.0.assembled.contains_key(&key), "the catalogue that asks for it has it built again");
    assert!(world.0.images[&blob(1)].collected_ms.is_some());
    let (candidate, manifest, image) = (CandidateId(3), blob(1), ImageName::new("nginx").unwrap());
    let (index, diff) = (blob(101), blob(5));
    let opened = Event::CandidateOpened { candidate, image, manifest, index, tags: vec![], fixes: vec![], diff };
    let refused = world.admits(opened.clone()).unwrap_err();
    assert!(matches!(refused, Refusal::Collected { .. }), "{refused}");
    // the same bytes once more: a new image, which is checked and signed anew
    world.assemble(1);
    assert_eq!(world.0.assembled[&key], blob(1));
    let image = &world.0.images[&blob(1)];
    assert!(image.collected_ms.is_none() && image.verdict.is_none() && image.evidence.is_empty());
    assert!(matches!(world.admits(opened).unwrap_err(), Refusal::NotReady { .. }));
}

#[test]
fn an_image_that_somebody_needs_is_not_said_to_be_collected() {
    let mut world = World::with_candidates(1);
    for _ in 0..2 {
        let refused = world.admits(Event::ImagesCollected { manifests: vec![blob(1)] }).unwrap_err();
        assert!(matches!(refused, Refusal::Needed { .. }), "{refused}");
        if world.0.publications.is_empty() {
            world.publish(1);
        }
    }
}

#[test]
fn what_an_auditor_asks_for_is_named_by_its_event_for_ever() {
    let results = Event::ImageJudged {
        manifest: blob(1),
        passed: false,
        counts: (0, 0, 1),
        results: blob(2),
        against: None,
        payloads: vec![],
    };
    assert_eq!(results.kept()[0].digest, blob(2));
    let log = Some(blob(3));
    let failed = Event::BuildFailed {
        package: anneal_content::PackageName::new("zlib").unwrap(),
        derivation: DerivationId::from_bytes([0; 32]),
        summary: String::new(),
        log,
        retry_after_ms: 0,
    };
    assert!(failed.kept().is_empty());
    assert_eq!(failed.remembered(), [blob(3)]);
}
