//! Which publications are withdrawn, and which never are.

use super::*;
use crate::{CandidateStatus, Event, EvidenceRef, Image, Record};
use anneal_content::CatalogDigest;
use proptest::prelude::*;

const NOBODY: BTreeSet<BlobDigest> = BTreeSet::new();

fn blob(n: u64) -> BlobDigest {
    BlobDigest::of(&n.to_be_bytes())
}

fn image(name: &str) -> ImageName {
    ImageName::new(name).unwrap()
}

fn rule(all: Keep) -> KeepPublished {
    KeepPublished { all, of: BTreeMap::new() }
}

/// A ledger in which things were published, with the time of day.
#[derive(Default)]
struct World {
    state: State,
    now_ms: u64,
}

impl World {
    /// A publication of an image under a tag, as if it had gone all the way.
    fn publish(&mut self, name: &str, manifest: u64, tag: &str) -> CandidateId {
        self.now_ms += DAY_MS;
        let id = CandidateId(self.state.publications.len() as u64 + 1);
        let evidence =
            vec![EvidenceRef { predicate_type: "t".into(), role: "build".into(), bundle: blob(7), referrer: blob(8) }];
        let assembled = Image {
            name: image(name),
            manifest: blob(manifest),
            index: blob(manifest + 1000),
            revision: CatalogDigest::of(b"1"),
            layers: vec![],
            packages: vec![],
            at_ms: self.now_ms,
            verdict: None,
            judged_against: None,
            evidence: evidence.clone(),
            build_root: None,
            collected_ms: None,
        };
        self.state.images.insert(blob(manifest), assembled);
        self.state.publications.push(Publication {
            candidate: id,
            image: image(name),
            manifest: blob(manifest),
            index: blob(manifest + 1000),
            tags: vec![Tag::new(tag).unwrap()],
            evidence,
            extra_tags: BTreeMap::new(),
            at_ms: self.now_ms,
            withdrawn_ms: None,
        });
        id
    }

    fn expired(&self, keep: &KeepPublished) -> Vec<u64> {
        let expired = self.state.expired(keep, &|_| false, self.now_ms);
        expired.into_iter().map(|withdrawal| withdrawal.candidate.0).collect()
    }

    fn withdraw(&mut self, withdrawals: Vec<Withdrawal>) -> Result<(), Refusal> {
        self.now_ms += 1;
        self.state.admit(&Record { at_ms: self.now_ms, event: Event::PublicationsWithdrawn { withdrawals } })
    }
}

/// Five releases of `web`, a day apart, and one of `db`, all under one tag.
fn five() -> World {
    let mut world = World::default();
    world.publish("db", 99, "latest");
    for manifest in 1..=5 {
        world.publish("web", manifest, "latest");
    }
    world
}

#[test]
fn without_a_rule_everything_that_was_ever_published_is_served_for_ever() {
    let mut world = five();
    world.now_ms += 10_000 * DAY_MS;
    assert_eq!(world.expired(&KeepPublished::default()), [] as [u64; 0]);
}

#[test]
fn a_number_of_releases_keeps_the_newest_and_a_time_counts_from_the_next_release() {
    let world = five();
    // candidates: 1 is db; 2 to 6 are the releases of web
    assert_eq!(world.expired(&rule(Keep::Releases(2))), [2, 3, 4]);
    assert_eq!(world.expired(&rule(Keep::Releases(5))), [] as [u64; 0]);
    // 2 was replaced 3 days ago, 3 two days ago
    assert_eq!(world.expired(&rule(Keep::Days(3))), [2]);
    assert_eq!(world.expired(&rule(Keep::Days(2))), [2, 3]);
}

#[test]
fn an_image_may_have_a_rule_of_its_own() {
    let world = five();
    let of = BTreeMap::from([(image("web"), Keep::Forever)]);
    assert_eq!(world.expired(&KeepPublished { all: Keep::Releases(1), of }), [] as [u64; 0]);
    let of = BTreeMap::from([(image("web"), Keep::Releases(4))]);
    assert_eq!(world.expired(&KeepPublished { all: Keep::Forever, of }), [2]);
}

#[test]
fn the_newest_what_a_tag_names_and_what_is_pinned_stay_whatever_is_configured() {
    let mut world = World::default();
    world.publish("web", 1, "1.0");
    world.publish("web", 2, "1.1");
    world.publish("web", 3, "1.1");
    world.publish("web", 4, "1.1");
    world.now_ms += 1000 * DAY_MS;
    let least = rule(Keep::Days(1));
    assert_eq!(world.expired(&least), [2, 3], "1.0 still names the first");
    let pinned = world.state.expired(&least, &|publication| publication.candidate.0 == 2, world.now_ms);
    assert_eq!(pinned.iter().map(|w| w.candidate.0).collect::<Vec<_>>(), [3]);
    // the ledger refuses them as well, whoever asks
    for candidate in [1, 4].map(CandidateId) {
        let refused = world.withdraw(vec![Withdrawal { candidate, why: String::new() }]).unwrap_err();
        assert!(matches!(refused, Refusal::Kept { .. }), "{refused}");
    }
    for (candidate, times) in [(CandidateId(2), 2), (CandidateId(77), 1)] {
        let outcomes: Vec<_> =
            (0..times).map(|_| world.withdraw(vec![Withdrawal { candidate, why: String::new() }])).collect();
        assert_eq!(outcomes.last(), Some(&Err(Refusal::NotServed(candidate))), "never published, or withdrawn before");
    }
}

#[test]
fn a_digest_that_was_published_again_counts_as_its_last_publication() {
    let mut world = World::default();
    for manifest in [1, 2, 1] {
        world.publish("web", manifest, "latest");
    }
    assert_eq!(world.expired(&rule(Keep::Releases(1))), [2], "the first is the newest again");
}

#[test]
fn what_is_withdrawn_is_neither_served_nor_needed_after_the_grace_time_and_its_evidence_stays() {
    let mut world = five();
    let expired = world.state.expired(&rule(Keep::Releases(4)), &|_| false, world.now_ms);
    let before = Event::ImagesCollected { manifests: vec![blob(1)] };
    let refused = world.state.admit(&Record { at_ms: world.now_ms, event: before.clone() }).unwrap_err();
    assert!(matches!(refused, Refusal::Needed { .. }), "first withdrawn, then collected: {refused}");
    world.withdraw(expired).unwrap();
    assert_eq!(world.state.served_publications().count(), 5);
    let needed = |since_ms| world.state.needed_images(&NOBODY, since_ms).contains_key(&blob(1));
    assert!(needed(world.now_ms - 1) && !needed(world.now_ms), "the grace time begins with the withdrawal");
    world.state.admit(&Record { at_ms: world.now_ms + 1, event: before }).unwrap();
    let published = Event::Published {
        candidate: CandidateId(2),
        evidence: world.state.publications[1].evidence.clone(),
        extra_tags: BTreeMap::new(),
    };
    assert_eq!(published.kept().len(), 2, "a statement and its referrer, as long as the event");
}

#[test]
fn a_rule_is_read_as_it_is_written() {
    for keep in [Keep::Forever, Keep::Days(90), Keep::Releases(5)] {
        assert_eq!(keep.to_string().parse(), Ok(keep));
    }
    for wrong in ["", "never", "0 days", "5", "5 weeks", "-1 releases", "5  days"] {
        assert!(wrong.parse::<Keep>().is_err(), "{wrong}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Publish(bool, u64, u8),
    Expire(Keep),
    Collect,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keep = prop_oneof![(1..4_u64).prop_map(Keep::Releases), (1..4_u64).prop_map(Keep::Days), Just(Keep::Forever),];
    let step = prop_oneof![
        4 => (any::<bool>(), 0..8_u64, 0..3_u8).prop_map(|(web, manifest, tag)| Step::Publish(web, manifest, tag)),
        2 => keep.prop_map(Step::Expire),
        2 => Just(Step::Collect),
        1 => (0..5_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn whatever_is_published_expires_and_is_collected_in_any_order_what_is_served_is_there(steps in steps()) {
        let mut world = World::default();
        for step in steps {
            match step {
                // the two images never share a digest
                Step::Publish(true, manifest, tag) => drop(world.publish("web", manifest, &format!("t{tag}"))),
                Step::Publish(false, manifest, tag) => drop(world.publish("db", manifest + 50, &format!("t{tag}"))),
                Step::Expire(keep) => {
                    let expired = world.state.expired(&rule(keep), &|_| false, world.now_ms);
                    prop_assert!(keep != Keep::Forever || expired.is_empty());
                    world.withdraw(expired).unwrap();
                    prop_assert!(world.state.expired(&rule(keep), &|_| false, world.now_ms).is_empty(), "all at once");
                }
                Step::Collect => {
                    let needed = world.state.needed_images(&NOBODY, world.now_ms);
                    let manifests = world.state.loose_images(&needed);
                    let event = Event::ImagesCollected { manifests };
                    world.state.admit(&Record { at_ms: world.now_ms, event }).unwrap();
                }
                Step::Wait(days) => world.now_ms += days * DAY_MS,
            }
            for name in ["web", "db"].map(image) {
                let all: Vec<&Publication> = world.state.publications.iter().filter(|p| p.image == name).collect();
                let Some(newest) = all.last() else { continue };
                prop_assert!(newest.withdrawn_ms.is_none(), "the newest release is served");
                // a tag names what was published under it last, withdrawn or not
                let tags: BTreeMap<&Tag, BlobDigest> = all.iter().flat_map(|p| p.tags.iter().map(|tag| (tag, p.manifest))).collect();
                let served: BTreeSet<BlobDigest> =
                    world.state.served_publications().filter(|p| p.image == name).map(|p| p.manifest).collect();
                prop_assert!(tags.values().all(|manifest| served.contains(manifest)), "a tag never loses what it names");
                for manifest in served {
                    prop_assert_eq!(world.state.images[&manifest].collected_ms, None, "what is served is there");
                }
            }
        }
        // in the end only the newest and what tags name are left
        world.now_ms += 100 * DAY_MS;
        let expired = world.state.expired(&rule(Keep::Releases(1)), &|_| false, world.now_ms);
        world.withdraw(expired).unwrap();
        world.now_ms += 1;
        let left = world.state.needed_images(&NOBODY, world.now_ms).len();
        let both = ["web", "db"].map(image);
        let most: usize = both.iter().map(|name| {
            let newest = world.state.published(name).map(|p| p.manifest);
            world.state.tagged(name).into_iter().chain(newest).collect::<BTreeSet<_>>().len()
        }).sum();
        prop_assert_eq!(left, most);
        prop_assert!(world.state.candidates.values().all(|c| c.status != CandidateStatus::Open));
    }
}
