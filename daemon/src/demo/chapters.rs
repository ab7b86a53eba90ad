//! The chapters of the story.

use super::{
    facts::{CheckFacts, Facts, ImageFacts, PlanFacts, Seconds, built, payload_ms},
    host::{Daemon, IMAGES},
    pull::{run_pulled, skopeo_pull},
    screen::{Screen, seconds},
};
use crate::{
    commands::candidate::{sign_decision, summary},
    error::{Error, Result, io},
    output::human_bytes,
    progress::{Line, News},
    settings::Settings,
};
use anneal_api::{ApproverRequest, Overview};
use anneal_attest::{Decision, PredicateType, PublicKey, Role, SecretKey, verify_bundle};
use anneal_content::{BlobDigest, ImageName};
use anneal_ledger::{CandidateId, CandidateStatus, CaseStatus, Image, Publication, Record, State};
use anneal_plan::BuildPlan;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The advisory that lands, in our own words.
const RECORD: &str = include_str!("../../../tests/advisories/CVE-2022-37434.json");
const ADVISORY: &str = "CVE-2022-37434";
/// The image that is followed to the end.
const FOLLOWED: &str = "nginx";
const PORT: u16 = 8080;
/// How long one chapter may take.
const PATIENCE: Duration = Duration::from_secs(60 * 60);
const APPROVER: &str = "Demo Approver";
/// The same trouble this often ends the story.
const TROUBLES_MAX: u32 = 3;

struct Story<'a> {
    settings: &'a Settings,
    screen: &'a Screen,
    daemon: Daemon,
    seen: u64,
    /// How often the daemon reported the same trouble.
    troubles: BTreeMap<String, u32>,
    followed: ImageName,
}

/// Tells all of it.
pub(super) fn tell(settings: &Settings, screen: &Screen) -> Result<Facts> {
    screen.title("Anneal: from an advisory to a patched, proved, approved image");
    screen.line(&format!("  state     {}", settings.state.display()));
    let daemon = Daemon::start(settings)?;
    screen.line(&format!("  daemon    registry on {}, log in {}", daemon.listen, daemon.log.display()));
    let mut story =
        Story { settings, screen, daemon, seen: 0, troubles: BTreeMap::new(), followed: ImageName::new(FOLLOWED)? };
    let mut facts = Facts { advisory: ADVISORY.into(), ..Facts::default() };
    let key = story.approver()?;
    story.build_catalogue(&mut facts)?;
    story.first_release(&key, &mut facts)?;
    story.advisory_lands(&mut facts)?;
    let candidate = story.patched(&mut facts)?;
    story.decide(&key, candidate, &mut facts)?;
    story.pull_and_run(&mut facts)?;
    story.daemon.stop()?;
    farewell(settings, screen);
    Ok(facts)
}

fn farewell(settings: &Settings, screen: &Screen) {
    let state = settings.state.display();
    let catalog = settings.catalog.as_ref().map(|dir| dir.display().to_string()).unwrap_or_default();
    screen.title("Try next");
    let images = IMAGES.join(",");
    screen.line(&format!("    export ANNEAL_STATE={state} ANNEAL_CATALOG={catalog} ANNEAL_IMAGES={images}"));
    screen.line("    anneal daemon &                                 # the same state, as you would run it");
    screen.line("    anneal case certificate CVE-2022-37434          # what was rebuilt, and why the rest was not");
    screen.line("    anneal candidate list --all ; anneal candidate show c1");
    screen.line("    anneal image check nginx                        # every finding of the verification suite");
    screen.line("    anneal recipe show zlib ; anneal recipe graph   # the catalogue");
}

impl Story<'_> {
    fn state(&self) -> Result<State> {
        self.daemon.client.get("/v1/state")
    }

    fn events(&self) -> Result<Vec<(u64, Record)>> {
        self.daemon.client.get("/v1/events?from=0")
    }

    fn plan(&self, digest: &BlobDigest) -> Result<BuildPlan> {
        let bytes = self.daemon.client.bytes(&format!("/v1/blob/{digest}"))?;
        serde_json::from_slice(&bytes).map_err(|e| Error::Internal(format!("the plan cannot be read: {e}")))
    }

    /// Waits for something, showing what goes on meanwhile.
    fn wait_for<T>(&mut self, what: &str, mut there: impl FnMut(&State) -> Result<Option<T>>) -> Result<T> {
        let patience = Instant::now() + PATIENCE;
        self.screen.working(true);
        let found = loop {
            let state = self.state()?;
            if let Some(found) = there(&state)? {
                break found;
            }
            if Instant::now() > patience {
                return Err(Error::Internal(format!("waited an hour for {what}")));
            }
            self.catch_up(1000)?;
        };
        self.catch_up(0)?;
        self.screen.working(false);
        Ok(found)
    }

    /// Shows what happened since; waits at most `wait_ms` for something to happen.
    fn catch_up(&mut self, wait_ms: u64) -> Result<()> {
        let path = format!("/v1/progress?after={}&wait={wait_ms}", self.seen);
        let lines: Vec<Line> = self.daemon.client.get(&path)?;
        for line in lines {
            self.screen.news(&line);
            self.seen = line.seq;
            if let News::Trouble(text) = line.news {
                let times = self.troubles.entry(text.clone()).or_default();
                *times += 1;
                if *times == TROUBLES_MAX {
                    return Err(Error::No(format!("the daemon cannot go on: {text}")));
                }
            }
        }
        Ok(())
    }

    /// The human of this story: a key of their own, the public half enrolled.
    fn approver(&mut self) -> Result<SecretKey> {
        // In life this key is on the approver's own machine; the demo's human lives beside the daemon.
        let path = self.settings.state.join("approver.pem");
        let key = if path.exists() {
            crate::keys::read_key(&path, Role::Approver)?
        } else {
            crate::keys::new_key(&path, Role::Approver)?
        };
        if !self.state()?.approvers.contains_key(&key.public().id().hex()) {
            let request = ApproverRequest { name: APPROVER.into(), public_key: key.public().to_pem()? };
            let _: String = self.daemon.client.post("/v1/approvers", &request)?;
        }
        self.screen.line(&format!("  approver  {APPROVER}, key {}", key.public().id().short()));
        Ok(key)
    }

    fn build_catalogue(&mut self, facts: &mut Facts) -> Result<()> {
        self.screen.title("1. Build the catalogue from source, in sandboxes without a network");
        let start = Instant::now();
        let already = self.events()?.len();
        let overview: Overview = self.daemon.client.get("/v1/overview")?;
        let images = overview.images;
        self.wait_for("the catalogue", |state| {
            stop_at_failure(state)?;
            let ready = images.keys().all(|name| state.newest_candidate(name).is_some());
            Ok(ready.then_some(()))
        })?;
        facts.seconds.catalogue_build = start.elapsed().as_secs_f64();
        facts.packages_built = built(self.events()?.get(already..).unwrap_or_default());
        let state = self.state()?;
        for name in images.keys() {
            let Some(image) = state.newest_candidate(name).and_then(|c| state.images.get(&c.manifest)) else {
                continue;
            };
            facts.images.push(image_facts(image));
            let bytes: u64 = image.layers.iter().map(|layer| layer.size).sum();
            self.screen.line(&format!(
                "  image     {name}: {} in {} layers, {}",
                human_bytes(bytes),
                image.layers.len(),
                image.manifest
            ));
        }
        let (count, took) = (facts.packages_built.len(), seconds(millis(start)));
        self.screen.line(&format!("  {count} packages built, the phase took {took}"));
        Ok(())
    }

    /// What is built is not served: a human says so first.
    fn first_release(&mut self, key: &SecretKey, facts: &mut Facts) -> Result<()> {
        self.until_it_rests()?;
        let state = self.state()?;
        let open: Vec<CandidateId> = state
            .candidates
            .values()
            .filter(|c| c.status == CandidateStatus::Open && c.fixes.is_empty())
            .map(|c| c.id)
            .collect();
        self.screen.title("2. Release it: nothing is served before a human approves");
        for id in &open {
            self.approve(key, *id, "first release")?;
        }
        let followed = self.followed.clone();
        let publication = self.wait_for("the publications", |state| {
            let done = open.iter().all(|id| state.publications.iter().any(|p| p.candidate == *id));
            Ok(if done { state.published(&followed).cloned() } else { None })
        })?;
        let layout = self.settings.state.join("client/layout");
        if !layout.exists() {
            let parent = self.settings.state.join("client");
            std::fs::create_dir_all(&parent).map_err(io("create", &parent))?;
            let reference = self.reference(&publication.index);
            facts.bytes_pulled_before = skopeo_pull(&reference, &layout, "before")?;
            let bytes = human_bytes(facts.bytes_pulled_before);
            self.screen.line(&format!("  pulled    {FOLLOWED} with skopeo: {bytes}"));
        }
        Ok(())
    }

    /// Waits until nothing is due, so that a decision is about what stays.
    fn until_it_rests(&mut self) -> Result<()> {
        let client = self.daemon.client.clone();
        self.wait_for("the daemon to rest", |_| {
            let overview: Overview = client.get("/v1/overview")?;
            Ok(overview.tasks.is_empty().then_some(()))
        })
    }

    fn reference(&self, digest: &BlobDigest) -> String {
        format!("{}/{}@{digest}", self.daemon.listen, self.followed)
    }

    fn advisory_lands(&mut self, facts: &mut Facts) -> Result<()> {
        self.screen.title(&format!("3. {ADVISORY} lands: an OSV record is dropped into the feed directory"));
        let record = self.settings.feed.join(format!("{ADVISORY}.json"));
        let partial = record.with_extension("partial");
        std::fs::write(&partial, RECORD).map_err(io("write", &partial))?;
        std::fs::rename(&partial, &record).map_err(io("write", &record))?;
        let case = self.wait_for("the case", |state| {
            let case = state.cases.get(ADVISORY);
            Ok(case.filter(|case| case.plan.is_some() || matches!(case.status, CaseStatus::Blocked { .. })).cloned())
        })?;
        if let CaseStatus::Blocked { why, .. } = &case.status {
            return Err(Error::No(format!("{ADVISORY} is blocked: {why}")));
        }
        for hit in &case.hits {
            self.screen.line(&format!("  hit       {} {}: {}", hit.package, hit.version, hit.explanation));
        }
        for (package, from, to) in &case.bumps {
            self.screen.line(&format!("  remedy    {package} {from} -> {to}, a release that the recipe lists"));
        }
        self.screen.line("  plan, made before anything runs:");
        if let Some(digest) = &case.plan {
            let plan = self.plan(digest)?;
            self.screen.block(&plan.to_string());
            facts.plan = PlanFacts::of(&plan);
        }
        facts.rebuilt_images = case.images;
        Ok(())
    }

    fn patched(&mut self, facts: &mut Facts) -> Result<CandidateId> {
        self.screen.title("4. Rebuild only that, check it, prove it");
        let wanted = facts.rebuilt_images.clone();
        let candidates = self.wait_for("the patched images", |state| {
            stop_at_failure(state)?;
            let fixing = |name: &ImageName| {
                state
                    .candidates
                    .values()
                    .rev()
                    .find(|c| c.image == *name && c.fixes.iter().any(|f| f == ADVISORY))
                    .cloned()
            };
            Ok(wanted.iter().map(fixing).collect::<Option<Vec<_>>>())
        })?;
        let (state, events) = (self.state()?, self.events()?);
        let Some(case) = state.cases.get(ADVISORY) else { return Err(Error::Internal("the case is gone".into())) };
        let opened = candidates.iter().map(|c| c.opened_ms).max().unwrap_or(case.imported_ms);
        let payload = payload_ms(&events, case.imported_ms, opened);
        let total = opened.saturating_sub(case.imported_ms);
        facts.seconds = Seconds {
            advisory_to_candidate: total as f64 / 1000.0,
            payload_in_it: payload as f64 / 1000.0,
            ..facts.seconds
        };
        let after: Vec<_> =
            events.into_iter().filter(|(_, r)| r.at_ms >= case.imported_ms && r.at_ms <= opened).collect();
        facts.rebuilt_packages = built(&after);
        facts.untouched_images =
            facts.images.iter().map(|i| i.name.clone()).filter(|name| !facts.rebuilt_images.contains(name)).collect();
        let candidate = candidates.iter().find(|c| c.image == self.followed).or(candidates.first());
        let candidate = candidate.ok_or_else(|| Error::Internal("no image was touched".into()))?;
        let image = state.images.get(&candidate.manifest).ok_or_else(|| Error::Internal("the image is gone".into()))?;
        if let Some((_, (passed, warned, failed), _)) = image.verdict {
            facts.checks = CheckFacts { passed, warned, failed };
        }
        facts.evidence = image.evidence.iter().map(|e| e.predicate_type.clone()).collect();
        let outside = seconds(total.saturating_sub(payload));
        self.screen.line(&format!(
            "  from advisory to candidate {}; compilers and tests took {} of it, Anneal {outside}",
            seconds(total),
            seconds(payload)
        ));
        let view = crate::view::View::Daemon(self.daemon.client.clone());
        let (text, diff) = summary(&view, candidate.id)?;
        self.screen.block(&text);
        (facts.layers_new, facts.layers_reused) = (diff.layers_new, diff.layers_reused);
        Ok(candidate.id)
    }

    fn approve(&mut self, key: &SecretKey, id: CandidateId, comment: &str) -> Result<()> {
        let state = self.state()?;
        let candidate = state.candidates.get(&id).ok_or(anneal_ledger::Refusal::NoCandidate(id))?;
        let statement = sign_decision(&state, candidate, Decision::Approve, comment, key)?;
        let _: () = self.daemon.client.post_bytes(&format!("/v1/candidates/{id}/decision"), statement)?;
        self.screen.line(&format!("  approved  {id} {} {}", candidate.image, candidate.manifest));
        Ok(())
    }

    fn decide(&mut self, key: &SecretKey, id: CandidateId, facts: &mut Facts) -> Result<()> {
        self.screen.title("5. A human decides, with their own key");
        self.until_it_rests()?;
        let before = self.state()?;
        let others = before.candidates.values().filter(|c| c.status == CandidateStatus::Open).map(|c| c.id);
        for open in others.collect::<Vec<_>>() {
            self.approve(key, open, &format!("fixes {ADVISORY}"))?;
        }
        let publication = self
            .wait_for("the publication", |state| Ok(state.publications.iter().find(|p| p.candidate == id).cloned()))?;
        let state = self.state()?;
        let decision = state.candidates.get(&id).and_then(|c| c.decision.clone());
        let approver = decision.and_then(|(_, key_id, ..)| state.approvers.get(&key_id).map(|a| a.name.clone()));
        facts.approved_by = approver.unwrap_or_default();
        self.verify(&state, &publication, facts)
    }

    /// Proves signatures and evidence with keys taken from the state directory, not from what is proved.
    fn verify(&mut self, state: &State, publication: &Publication, facts: &mut Facts) -> Result<()> {
        let public = |role: Role| -> Result<PublicKey> {
            Ok(crate::keys::read_key(&self.settings.state.join("keys").join(format!("{role}.pem")), role)?
                .public()
                .clone())
        };
        let image = state.images.get(&publication.manifest);
        let evidence: Vec<_> = image.iter().flat_map(|i| &i.evidence).chain(&publication.evidence).cloned().collect();
        facts.evidence.clear();
        for item in evidence {
            let predicate: PredicateType = item.predicate_type.parse()?;
            let bytes = self.daemon.client.bytes(&format!("/v1/blob/{}", item.bundle))?;
            let key = public(predicate.role())?;
            let subject = [publication.manifest, publication.index]
                .into_iter()
                .find(|digest| verify_bundle(&bytes, &key, predicate, digest).is_ok())
                .ok_or_else(|| Error::No(format!("the {} statement does not verify", item.predicate_type)))?;
            self.screen.line(&format!("  verified  {} by the {} key about {subject}", item.predicate_type, item.role));
            facts.evidence.push(item.predicate_type);
        }
        Ok(())
    }

    fn pull_and_run(&mut self, facts: &mut Facts) -> Result<()> {
        self.screen.title("6. Pull it by digest with skopeo, and run it");
        let state = self.state()?;
        let publication = state.published(&self.followed).cloned();
        let publication = publication.ok_or_else(|| Error::Internal(format!("{FOLLOWED} is not published")))?;
        let client = self.settings.state.join("client");
        let layout = client.join("layout");
        facts.bytes_pulled_after_patch = skopeo_pull(&self.reference(&publication.index), &layout, "after")?;
        let scratch = client.join("store");
        let answered = run_pulled(&layout, "after", &scratch, PORT, "/")?;
        let pulled = answered.image.manifest_digest;
        if pulled != publication.manifest {
            return Err(Error::No(format!("skopeo pulled {pulled}, but {} was approved", publication.manifest)));
        }
        facts.pulled_digest = Some(pulled);
        facts.http_status = answered.status;
        if let Some(image) = state.images.get(&publication.manifest)
            && let Some(known) = facts.images.iter_mut().find(|i| i.name == image.name)
        {
            *known = image_facts(image);
        }
        let (pull, first) = (human_bytes(facts.bytes_pulled_after_patch), human_bytes(facts.bytes_pulled_before));
        self.screen.line(&format!("  pulled    {pulled}: {pull} (the first pull was {first})"));
        let title = answered.body.lines().find(|line| line.contains("<title>")).unwrap_or_default().trim().to_owned();
        let stopped = if answered.stopped_cleanly { "and stopped cleanly" } else { "but did not stop cleanly" };
        self.screen.line(&format!(
            "  ran       nginx in the sandbox: HTTP {} after {} ms, {title} {stopped}",
            answered.status, answered.after_ms
        ));
        if answered.status == 200 { Ok(()) } else { Err(Error::No(format!("nginx answered {}", answered.status))) }
    }
}

fn millis(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn image_facts(image: &Image) -> ImageFacts {
    ImageFacts {
        name: image.name.clone(),
        digest: image.manifest,
        bytes: image.layers.iter().map(|layer| layer.size).sum(),
        layers: image.layers.len(),
    }
}

/// A build or a verdict that failed ends the story.
fn stop_at_failure(state: &State) -> Result<()> {
    if let Some(failure) = state.failures.values().next() {
        return Err(Error::No(format!("{} could not be built\n{}", failure.package, failure.summary)));
    }
    // A verdict from before an advisory is about to be given again.
    let refused = state.images.values().find(|image| image.failed() && state.is_current(image));
    match refused {
        Some(image) => Err(Error::No(format!(
            "image {} ({}) did not pass its checks; see: anneal image check {}",
            image.name, image.manifest, image.manifest
        ))),
        None => Ok(()),
    }
}
