//! What a client was told, written down by the client: after a crash all of it must be there, with the right bytes.

use crate::{Answer, Facts, Place, sha256, socket::ask_http};
use anneal_content::BlobDigest;
use anneal_ledger::{CandidateId, CandidateStatus, Decision, State};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// What became of a wish to pin or to unpin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinned {
    /// The daemon said that it is pinned.
    Yes,
    /// The daemon said that it is not pinned any more.
    No,
    /// It was asked, and has not said anything yet.
    Asked,
}

/// What clients of one state directory were told, in the words of their questions.
#[derive(Debug, Clone, Default)]
pub struct Acknowledged {
    /// Advisories by id, with the SHA-256 of the record that was sent.
    pub advisories: BTreeMap<String, String>,
    /// Decisions by candidate.
    pub decisions: BTreeMap<CandidateId, (String, Decision)>,
    /// Manifests that were seen under a tag.
    pub published: BTreeSet<String>,
    /// What was pulled, by path: the SHA-256 of what came.
    pub pulled: BTreeMap<String, String>,
    /// Pins by digest.
    pub pins: BTreeMap<String, Pinned>,
    /// How many events of the journal were seen.
    pub events: usize,
    /// The SHA-256 of the JSON of the first `events` events.
    pub journal: String,
}

impl Acknowledged {
    /// What was acknowledged and is not there, or is there with other bytes.
    pub fn lost(&self, facts: &Facts) -> Vec<String> {
        let state = facts.folded();
        let mut lost = Vec::new();
        for (id, sent) in &self.advisories {
            let record = state.advisories.get(id).ok_or_else(|| "no event names it".to_owned());
            match record.and_then(|record| facts.bytes(record)) {
                Ok(bytes) if sha256(&bytes) == *sent => {}
                Ok(_) => lost.push(format!("advisory {id} has other bytes than those that were sent")),
                Err(wrong) => lost.push(format!("advisory {id}: {wrong}")),
            }
        }
        for (id, (manifest, decision)) in &self.decisions {
            let candidate = state.candidates.get(id);
            let known = candidate.and_then(|c| Some((c.manifest.to_string(), c.decision.as_ref()?)));
            match known {
                Some((found, (made, _, statement, _))) if found == *manifest && made == decision => {
                    lost.extend(facts.bytes(statement).err().map(|wrong| format!("the decision on {id}: {wrong}")));
                }
                other => lost.push(format!("decision {decision:?} on {id} of {manifest}: found {other:?}")),
            }
        }
        let published: BTreeSet<String> = state.publications.iter().map(|p| p.index.to_string()).collect();
        lost.extend(self.published.difference(&published).map(|index| format!("publication of {index}")));
        for (path, sent) in &self.pulled {
            let digest = format!("sha256:{sent}").parse::<BlobDigest>();
            let found = digest.map_err(|e| e.to_string()).and_then(|digest| facts.bytes(&digest));
            lost.extend(found.err().map(|wrong| format!("{path}, which was pulled: {wrong}")));
        }
        lost.extend(self.lost_pins(facts));
        if facts.records.len() < self.events {
            lost.push(format!("the journal has {} events, and {} were seen", facts.records.len(), self.events));
        } else if self.events > 0 && journal(facts, self.events) != self.journal {
            lost.push(format!("the first {} events of the journal are others than those that were seen", self.events));
        }
        lost
    }

    fn lost_pins(&self, facts: &Facts) -> Vec<String> {
        let pins = facts.store.pins().map_err(|e| e.to_string());
        let pins: BTreeSet<String> = match pins {
            Ok(pins) => pins.iter().map(|pin| pin.digest.to_string()).collect(),
            Err(wrong) => return vec![format!("the pins: {wrong}")],
        };
        let mut lost = Vec::new();
        for (digest, word) in &self.pins {
            let is_pinned = pins.contains(digest);
            let wrong = match word {
                Pinned::Yes => !is_pinned,
                Pinned::No => is_pinned,
                Pinned::Asked => false,
            };
            if wrong {
                lost.push(format!("the pin of {digest}: the daemon said {word:?}, and it is {is_pinned}"));
            }
            if is_pinned && let Ok(digest) = digest.parse() {
                lost.extend(facts.bytes(&digest).err().map(|wrong| format!("what is pinned: {wrong}")));
            }
        }
        lost
    }

    /// Notes how far the journal goes now, so that a later one must begin with it.
    pub fn see_journal(&mut self, facts: &Facts) {
        (self.events, self.journal) = (facts.records.len(), journal(facts, facts.records.len()));
    }

    /// What was pulled once and cannot be pulled now.
    pub fn not_pulled_again(&self, place: &Place) -> Vec<String> {
        let pulled = self.pulled.iter().map(|(path, sent)| (path, sent, ask_http(place, "GET", path)));
        let wrong = pulled.filter_map(|(path, sent, answer)| match answer {
            Ok(Answer { status: 200, body, .. }) if sha256(&body) == *sent => None,
            Ok(Answer { status, head, .. }) => Some(format!("{path} was pulled and is answered with {status}: {head}")),
            Err(e) => Some(format!("{path} was pulled and is not answered: {e}")),
        });
        wrong.collect()
    }
}

fn journal(facts: &Facts, events: usize) -> String {
    let seen: Vec<_> = facts.records.iter().take(events).collect();
    sha256(&serde_json::to_vec(&seen).unwrap())
}

/// Where a running daemon serves anything but the publications of a state directory: promise 3 over HTTP.
///
/// A daemon that publishes meanwhile serves a moment later what its journal says. So a tag that names another publication
/// under it is looked at again, beside a new reading of the state; what no reading explains is wrong.
pub fn not_served_right(place: &Place, state: &State) -> Vec<String> {
    let mut wrong = not_tagged_right(place, state);
    let end = Instant::now() + PATIENCE;
    // the state that was handed in is from before the question, so what it does not know yet is read once more
    let mut is_old = true;
    while !wrong.is_empty() && (is_old || wrong.iter().all(|(_, is_late)| *is_late)) && Instant::now() < end {
        is_old = false;
        std::thread::sleep(Duration::from_millis(50));
        wrong = match Facts::read(&place.state) {
            Ok(facts) => not_tagged_right(place, &facts.folded()),
            Err(unreadable) => vec![(unreadable, false)],
        };
    }
    let mut wrong: Vec<String> = wrong.into_iter().map(|(what, _)| what).collect();
    let mut unpublished = served_unpublished(place, state);
    if !unpublished.is_empty() {
        // published since the state was read, perhaps: an event is in the journal before anything is served
        match Facts::read(&place.state) {
            Ok(facts) => {
                let still = served_unpublished(place, &facts.folded());
                unpublished.retain(|what| still.contains(what));
            }
            Err(unreadable) => wrong.push(unreadable),
        }
    }
    wrong.extend(unpublished);
    wrong
}

/// What is served although the state knows of no publication of it; and what says that it is published without one.
fn served_unpublished(place: &Place, state: &State) -> Vec<String> {
    let mut wrong = Vec::new();
    let published: BTreeSet<_> = state.publications.iter().map(|p| p.manifest).collect();
    for image in state.images.values().filter(|image| !published.contains(&image.manifest)) {
        for digest in [image.manifest, image.index] {
            match ask_http(place, "GET", &format!("/v2/{}/manifests/{digest}", image.name)) {
                Ok(answer) if answer.status == 404 => {}
                Ok(answer) => wrong.push(format!("{digest} of {} was not published: {}", image.name, answer.status)),
                Err(error) => wrong.push(format!("{digest} of {}: {error}", image.name)),
            }
        }
        let waits = state.candidates.values().find(|c| c.manifest == image.manifest);
        if waits.is_some_and(|c| c.status == CandidateStatus::Published) {
            wrong.push(format!("{} is published, and no publication names it", image.manifest));
        }
    }
    wrong
}

/// Tags that are not answered with what was published last under them; each with whether it was published under it before.
fn not_tagged_right(place: &Place, state: &State) -> Vec<(String, bool)> {
    let mut tags: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for publication in &state.publications {
        for tag in &publication.tags {
            let of_tag = tags.entry((publication.image.to_string(), tag.to_string())).or_default();
            of_tag.push(publication.index.hex());
        }
    }
    let mut wrong = Vec::new();
    for ((image, tag), indexes) in &tags {
        match ask_http(place, "GET", &format!("/v2/{image}/manifests/{tag}")) {
            Ok(answer) => {
                let found = sha256(&answer.body);
                if answer.status != 200 || indexes.last() != Some(&found) {
                    let is_late = answer.status == 404 || answer.status == 200 && indexes.contains(&found);
                    let what =
                        format!("{image}:{tag} is not the last of {indexes:?}: {} {}", answer.status, answer.head);
                    wrong.push((what, is_late));
                }
            }
            Err(e) => wrong.push((format!("{image}:{tag}: {e}"), false)),
        }
    }
    wrong
}

/// How long a daemon may take to serve what its journal says.
const PATIENCE: Duration = Duration::from_secs(10);
