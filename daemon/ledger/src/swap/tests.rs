//! What the ledger promises of former builds that ship with another library.

use super::*;
use crate::*;
use anneal_content::{ImageName, TreeDigest, Version};

fn key(n: u8) -> DerivationId {
    DerivationId::from_bytes([n; 32])
}

fn blob(n: u8) -> BlobDigest {
    BlobDigest::from_bytes([n; 32])
}

fn package() -> PackageName {
    PackageName::new("nginx").unwrap()
}

fn version() -> Version {
    Version::new("1").unwrap()
}

fn swapped(derivation: u8) -> Event {
    let ground = Ground::Swapped {
        former: key(1),
        revision: CatalogDigest::of(b"1"),
        catalog: blob(1),
        withdrawn: BTreeSet::new(),
        tests: blob(2),
        advisories: ["A-1".to_owned()].into(),
    };
    let (action, linked) = (ActionDigest::of(b"a"), [].into());
    Event::PackageKept { package: package(), version: version(), derivation: key(derivation), action, linked, ground }
}

fn settled(derivation: u8, settling: Settling) -> Event {
    Event::SwapSettled { package: package(), derivation: key(derivation), settling, payloads: vec![] }
}

fn differs() -> Settling {
    Settling::Differs { action: ActionDigest::of(b"b"), why: "output out".into() }
}

struct World(State);

impl World {
    fn new() -> Self {
        let mut world = Self(State::default());
        let (revision, cause) = (CatalogDigest::of(b"1"), RevisionCause::Files);
        world.ok(Event::CatalogImported { revision, blob: blob(1), cause });
        world
    }
    fn tell(&mut self, event: Event) -> Result<(), Refusal> {
        self.0.admit(&Record { at_ms: 5, event })
    }
    fn ok(&mut self, event: Event) {
        self.tell(event).unwrap();
    }
    /// An image of the former build, with what its checks said.
    fn image(&mut self, manifest: u8, derivation: u8, passed: bool) {
        let tree = TreeDigest::from_bytes([7; 32]);
        let in_place_of = Some(key(derivation));
        self.ok(Event::ImageAssembled {
            image: ImageName::new("web").unwrap(),
            key: key(manifest),
            revision: CatalogDigest::of(b"1"),
            manifest: blob(manifest),
            index: blob(manifest),
            layers: vec![],
            packages: vec![PackageRecord {
                name: package(),
                version: version(),
                derivation: key(1),
                tree,
                in_place_of,
            }],
        });
        let (manifest, counts, results) = (blob(manifest), (1, 0, 0), blob(3));
        let against = Some(self.0.check_inputs(&ImageName::new("web").unwrap(), &manifest, blob(2)));
        self.ok(Event::ImageJudged { manifest, passed, counts, results, against, payloads: vec![] });
        let one = EvidenceRef { predicate_type: "p".into(), role: "build".into(), bundle: blob(4), referrer: blob(4) };
        self.ok(Event::EvidenceSigned { manifest, evidence: vec![one], build_root: None });
    }
    fn open(&mut self, manifest: u8) -> Result<(), Refusal> {
        let (candidate, image, manifest) = (self.0.next_candidate(), ImageName::new("web").unwrap(), blob(manifest));
        let (index, diff) = (manifest, blob(5));
        self.tell(Event::CandidateOpened { candidate, image, manifest, index, tags: vec![], fixes: vec![], diff })
    }
    fn tasks(&self, wanted: u8, swapped: &[u8]) -> Vec<Task> {
        let image = WantedImage { key: key(wanted), derivations: [key(1)].into(), policy: blob(2) };
        let images = [(ImageName::new("web").unwrap(), image)].into();
        next_tasks(&self.0, &Wanted { images, swapped: swapped.iter().map(|n| key(*n)).collect() }, 9)
    }
}

#[test]
fn what_ships_as_it_was_is_built_one_after_the_other_after_everything_else() {
    let mut world = World::new();
    world.ok(swapped(10));
    world.ok(swapped(11));
    world.image(20, 10, true);
    let settle = |n| Task::Settle { package: package(), derivation: key(n) };
    assert_eq!(world.tasks(20, &[11, 10]), [Task::OpenCandidate(blob(20)), settle(11)]);
    world.ok(settled(11, differs()));
    world.open(20).unwrap();
    assert_eq!(world.tasks(20, &[10]), [settle(10)]);
    world.ok(settled(10, Settling::Fails { why: "exited with code 1".into() }));
    assert_eq!(world.tasks(20, &[10]), [], "a human must look, and nothing is tried again and again");
}

#[test]
fn a_swap_that_came_out_otherwise_speaks_against_no_image() {
    let mut world = World::new();
    world.ok(swapped(10));
    world.image(20, 10, true);
    world.ok(settled(10, differs()));
    world.open(20).unwrap();
    assert!(!world.0.kept[&key(10)].is_swapped_in(), "what was built takes its place");
    let image = &world.0.images[&blob(20)];
    assert_eq!((world.0.swapped_in(image).count(), world.0.kept_in(image).count()), (1, 0));
    // One with what was built has nothing of it.
    let asked = PackageRecord { derivation: key(10), in_place_of: None, ..image.packages[0].clone() };
    let settled = Image { packages: vec![asked], ..image.clone() };
    assert_eq!((world.0.swapped_in(&settled).count(), world.0.kept_in(&settled).count()), (0, 0));
}

#[test]
fn what_an_image_does_not_pass_with_is_dropped() {
    let mut world = World::new();
    world.ok(swapped(10));
    world.image(20, 10, false);
    assert_eq!(world.tasks(20, &[10])[0], Task::DropSwaps(blob(20)));
    world.ok(settled(10, Settling::Dropped { why: "checks".into() }));
    assert_eq!(world.tasks(20, &[]), []);
}

#[test]
fn a_swap_is_settled_once_and_only_where_there_was_one() {
    let mut world = World::new();
    assert!(matches!(world.tell(settled(10, differs())), Err(Refusal::Settled { .. })));
    world.ok(swapped(10));
    world.ok(settled(10, Settling::Fails { why: String::new() }));
    assert!(world.0.kept[&key(10)].is_swapped_in(), "it ships as it was");
    world.ok(settled(10, Settling::Dropped { why: String::new() }));
    assert!(matches!(world.tell(settled(10, differs())), Err(Refusal::Settled { .. })));
}

#[test]
fn an_event_of_a_build_that_is_kept_by_interface_reads_and_is_written_as_before() {
    let Event::PackageKept { package, version, derivation, action, linked, .. } = swapped(10) else { panic!() };
    let ground = Ground::InterfaceEqual;
    let event = Event::PackageKept { package, version, derivation, action, linked, ground };
    let text = serde_json::to_string(&event).unwrap();
    assert!(!text.contains("ground"), "{text}");
    assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    let swapped = serde_json::to_string(&swapped(10)).unwrap();
    assert!(swapped.contains(r#""ground":{"kind":"swapped""#), "{swapped}");
    assert_eq!(serde_json::from_str::<Event>(&swapped).unwrap(), self::swapped(10));
}
