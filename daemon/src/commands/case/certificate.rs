//! What a case rebuilt, and that nothing else was: read off the ledger's images before and after.
//!
//! A package's derivation names everything that goes into its build. Where it is the same before and after, the package
//! was not built again: the image has the same bytes of it. Where it is another one and the build was kept, because what it
//! links shows it the same, the ledger says so, and what the proof of it showed.

use crate::{
    commands::{advisory::status, log::when},
    error::{Error, Result},
};
use anneal_content::{
    ActionDigest, BlobDigest, CatalogDigest, DerivationId, ImageName, PackageName, TreeDigest, Version,
};
use anneal_ledger::{
    Candidate, CandidateId, Case, CaseStatus, Decision, Ground, Hit, Image, Kept, KeptProof, Linked, PackageRecord,
    State,
};
use anneal_plan::{BuildPlan, Step};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// What became of a case.
#[derive(Debug, Serialize)]
pub(super) struct Certificate {
    advisory: String,
    /// The record's digest.
    record: Option<BlobDigest>,
    status: &'static str,
    imported_ms: u64,
    revision: Option<CatalogDigest>,
    hits: Vec<Hit>,
    bumps: Vec<(PackageName, Version, Version)>,
    images: Vec<Fixed>,
    /// What the plan had for packages that none of the images holds: they are used in builds and tests alone.
    elsewhere: BTreeMap<PackageName, Fate>,
    /// Images with a hit that no candidate answers yet.
    waiting: Vec<ImageName>,
    /// Images without a hit, of which the plan builds something again.
    follow: Vec<ImageName>,
    /// Images that the case left alone.
    untouched: Vec<ImageName>,
}

/// One image before and after.
#[derive(Debug, Serialize)]
struct Fixed {
    image: ImageName,
    before: Option<BlobDigest>,
    after: BlobDigest,
    candidate: CandidateId,
    /// The candidate's status, in a word.
    status: &'static str,
    /// Who decided, by key id and name.
    decided_by: Option<(String, String)>,
    published_ms: Option<u64>,
    packages: BTreeMap<PackageName, Fate>,
}

/// What became of a package of the image.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "fate")]
enum Fate {
    /// Its inputs are the same, so it was not built again.
    Kept { version: Version, inputs: DerivationId },
    /// It links libraries that came out otherwise and show it the same, so its former build was used.
    InterfaceEqual {
        version: Version,
        inputs_before: Option<DerivationId>,
        inputs: DerivationId,
        libraries: BTreeMap<PackageName, Linked>,
        /// What a build with the libraries as they are now showed.
        proved: KeptProof,
        /// The candidate with what was built in its place, where the proof failed.
        followed_by: Option<CandidateId>,
    },
    /// It links a library that an advisory moved, to one that is a drop-in for it, so its former build ships.
    Swapped {
        version: Version,
        inputs_before: Option<DerivationId>,
        /// What the catalogue asks for.
        inputs: DerivationId,
        /// What ships.
        ships: Option<DerivationId>,
        /// Each with the trees of both, and the report of the comparison of their types.
        libraries: BTreeMap<PackageName, Linked>,
        /// The log of its tests with them.
        tests: Option<BlobDigest>,
        /// What building it showed.
        settled: KeptProof,
        /// The candidate with what was built, where that is another.
        followed_by: Option<CandidateId>,
    },
    /// Its inputs changed, and no image that answers the case holds it; it was built for one that is made with it.
    Built { version: Version, inputs: DerivationId, action: ActionDigest },
    /// The same, and it does not build.
    NotBuilt { version: Version, inputs: DerivationId, why: String },
    /// The same, and it is still to be built.
    Planned { version: Version, inputs: DerivationId },
    /// Its inputs changed.
    Rebuilt {
        from: Version,
        to: Version,
        inputs_before: DerivationId,
        inputs: DerivationId,
        same_content: bool,
        /// Why its former build does not ship, where policy allows that.
        not_swapped: Option<String>,
    },
    /// It was not in the image before, as far as the ledger knows.
    New { version: Version, inputs: DerivationId, tree: TreeDigest },
    /// It is not in the image any more.
    Removed { version: Version },
}

/// What was built, by what named it before.
pub(super) type Built = BTreeMap<DerivationId, ActionDigest>;

impl Certificate {
    /// Reads a case's certificate off the state; an error where there is nothing to certify yet.
    pub(super) fn of(state: &State, case: &Case, plan: Option<&BuildPlan>, built: &Built) -> Result<Self> {
        let mut images = Vec::new();
        for name in &case.images {
            images.extend(answering(state, case, name).and_then(|candidate| fixed(state, case, candidate)));
        }
        if images.is_empty() {
            let (id, status) = (&case.advisory, status(case));
            return Err(Error::No(format!("case {id} is {status}, and no image answers it yet: nothing to certify")));
        }
        let done: BTreeSet<_> = images.iter().map(|fixed| fixed.image.clone()).collect();
        let mut without: BTreeSet<_> = state.images.values().map(|image| image.name.clone()).collect();
        without.retain(|name| !case.images.contains(name));
        let changes =
            |name: &ImageName| plan.is_some_and(|plan| plan.images.iter().any(|i| i.image == *name && !i.untouched));
        let (follow, untouched) = without.into_iter().partition(changes);
        let revision = match &case.status {
            CaseStatus::Remediating { revision } | CaseStatus::Blocked { revision, .. } => Some(*revision),
            CaseStatus::Open | CaseStatus::Closed => None,
        };
        Ok(Self {
            advisory: case.advisory.clone(),
            record: state.advisories.get(&case.advisory).copied(),
            status: status(case),
            imported_ms: case.imported_ms,
            revision: revision.or_else(|| images.iter().find_map(|f| Some(state.images.get(&f.after)?.revision))),
            hits: case.hits.clone(),
            bumps: case.bumps.clone(),
            waiting: case.images.iter().filter(|name| !done.contains(*name)).cloned().collect(),
            follow,
            untouched,
            elsewhere: plan.map(|plan| elsewhere(state, plan, &images, built)).unwrap_or_default(),
            images,
        })
    }
}

/// The candidate that answers the case for an image: the first that was published, else the newest.
fn answering<'a>(state: &'a State, case: &Case, name: &ImageName) -> Option<&'a Candidate> {
    let fixes = |c: &&Candidate| c.image == *name && c.fixes.contains(&case.advisory);
    let published = state.candidates.values().filter(fixes).find(|c| c.status.word() == "published");
    published.or_else(|| state.candidates.values().rev().find(fixes))
}

fn fixed(state: &State, case: &Case, candidate: &Candidate) -> Option<Fixed> {
    let after = state.images.get(&candidate.manifest)?;
    let before = before(state, case, candidate, after);
    let decided_by = candidate.decision.as_ref().filter(|d| d.0 == Decision::Approve).map(|(_, key_id, ..)| {
        let name = state.approvers.get(key_id).map(|approver| approver.name.clone()).unwrap_or_default();
        (key_id.clone(), name)
    });
    let publication = state.publications.iter().find(|p| p.candidate == candidate.id);
    Some(Fixed {
        image: after.name.clone(),
        before: before.map(|image| image.manifest),
        after: after.manifest,
        candidate: candidate.id,
        status: candidate.status.word(),
        decided_by,
        published_ms: publication.map(|p| p.at_ms),
        packages: fates(state, candidate, before.map_or(&[], |image| &image.packages), &after.packages),
    })
}

/// The image that the candidate is to replace: what was published before it, else the newest that had a hit.
fn before<'a>(state: &'a State, case: &Case, candidate: &Candidate, after: &Image) -> Option<&'a Image> {
    let same = |name: &ImageName, manifest: &BlobDigest| *name == after.name && *manifest != after.manifest;
    let earlier = |p: &&anneal_ledger::Publication| same(&p.image, &p.manifest) && p.candidate < candidate.id;
    if let Some(publication) = state.publications.iter().rev().find(earlier) {
        return state.images.get(&publication.manifest);
    }
    let has_hit = |image: &Image| {
        case.hits.iter().any(|hit| image.packages.iter().any(|p| p.name == hit.package && p.version == hit.version))
    };
    let older = state.images.values().filter(|image| same(&image.name, &image.manifest) && has_hit(image));
    older.filter(|image| image.at_ms <= after.at_ms).max_by_key(|image| image.at_ms)
}

/// What became of the packages that a plan builds and no image that answers the case holds.
fn elsewhere(state: &State, plan: &BuildPlan, images: &[Fixed], built: &Built) -> BTreeMap<PackageName, Fate> {
    let is_held = |name: &PackageName| images.iter().any(|fixed| fixed.packages.contains_key(name));
    let steps = plan.steps.iter().filter(|step| !matches!(step, Step::Reuse { .. }) && !is_held(step.package()));
    let fate = |step: &Step| {
        let (version, inputs) = (step.version().clone(), step.derivation());
        match state.kept.get(&inputs) {
            Some(kept) if !kept.ground.is_interface() => swapped(kept, None, inputs, None),
            Some(kept) => interface_equal(kept, None, inputs, None),
            None => match (built.get(&inputs), state.failures.get(&inputs)) {
                (_, Some(failure)) => Fate::NotBuilt { version, inputs, why: failure.summary.clone() },
                (Some(action), None) => Fate::Built { version, inputs, action: *action },
                (None, None) => Fate::Planned { version, inputs },
            },
        }
    };
    steps.map(|step| (step.package().clone(), fate(step))).collect()
}

fn interface_equal(
    kept: &Kept,
    inputs_before: Option<DerivationId>,
    inputs: DerivationId,
    followed_by: Option<CandidateId>,
) -> Fate {
    let (version, libraries, proved) = (kept.version.clone(), kept.linked.clone(), kept.proof.clone());
    Fate::InterfaceEqual { version, inputs_before, inputs, libraries, proved, followed_by }
}

fn swapped(
    kept: &Kept,
    inputs_before: Option<DerivationId>,
    inputs: DerivationId,
    followed_by: Option<CandidateId>,
) -> Fate {
    let (ships, tests) = match &kept.ground {
        Ground::Swapped { former, tests, .. } => (Some(*former), Some(*tests)),
        Ground::InterfaceEqual => (None, None),
    };
    let (version, libraries, settled) = (kept.version.clone(), kept.linked.clone(), kept.proof.clone());
    Fate::Swapped { version, inputs_before, inputs, ships, libraries, tests, settled, followed_by }
}

/// Why a build is not a former one, where it might have been.
fn not_swapped(state: &State, inputs: &DerivationId) -> Option<String> {
    let dropped = state.kept.get(inputs).and_then(|kept| match &kept.proof {
        KeptProof::Dropped { why, .. } => Some(why.clone()),
        KeptProof::Settled { .. } => Some("its former build shipped until it was built".to_owned()),
        _ => None,
    });
    dropped.or_else(|| state.swap_refused.get(inputs).cloned())
}

/// The first later candidate of the image that has another build of a package.
fn follower(state: &State, candidate: &Candidate, package: &PackageRecord) -> Option<CandidateId> {
    let is_other = |image: &Image| {
        image.packages.iter().any(|now| now.name == package.name && now.derivation != package.derivation)
    };
    let mut later = state.candidates.values().filter(|c| c.image == candidate.image && c.id > candidate.id);
    later.find(|c| state.images.get(&c.manifest).is_some_and(is_other)).map(|c| c.id)
}

fn fates(
    state: &State,
    candidate: &Candidate,
    before: &[PackageRecord],
    after: &[PackageRecord],
) -> BTreeMap<PackageName, Fate> {
    let old: BTreeMap<_, _> = before.iter().map(|package| (&package.name, package)).collect();
    let mut fates = BTreeMap::new();
    for now in after {
        let (version, inputs) = (now.version.clone(), now.derivation);
        let by_interface = state.kept.get(&inputs).filter(|kept| kept.ground.is_interface());
        let stands_in = now.in_place_of.and_then(|id| Some((id, state.kept.get(&id)?)));
        if let Some((asked, kept)) = stands_in {
            let before = old.get(&now.name).map(|was| was.derivation);
            let fate = swapped(kept, before, asked, follower(state, candidate, now));
            fates.insert(now.name.clone(), fate);
            continue;
        }
        let fate = match (old.get(&now.name), by_interface) {
            (None, _) => Fate::New { version, inputs, tree: now.tree },
            (Some(was), _) if was.derivation == inputs => Fate::Kept { version, inputs },
            (Some(was), Some(kept)) => {
                let followed_by = if kept.is_refuted() { follower(state, candidate, now) } else { None };
                interface_equal(kept, Some(was.derivation), inputs, followed_by)
            }
            (Some(was), None) => Fate::Rebuilt {
                from: was.version.clone(),
                to: version,
                inputs_before: was.derivation,
                inputs,
                same_content: was.tree == now.tree,
                not_swapped: not_swapped(state, &inputs),
            },
        };
        fates.insert(now.name.clone(), fate);
    }
    for (name, was) in old {
        fates.entry(name.clone()).or_insert_with(|| Fate::Removed { version: was.version.clone() });
    }
    fates
}

impl Certificate {
    /// The certificate for people.
    pub(super) fn text(&self) -> String {
        let mut text = format!("certificate of {}: the case is {}\n", self.advisory, self.status);
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:10} {value}");
        };
        if let Some(record) = &self.record {
            line("record", &record.to_string());
        }
        line("taken in", &when(self.imported_ms));
        if let Some(revision) = &self.revision {
            line("catalogue", &revision.to_string());
        }
        for hit in &self.hits {
            line("found in", &format!("{} {}: {}", hit.package, hit.version, hit.explanation));
        }
        for (package, from, to) in &self.bumps {
            line("chosen", &format!("{package} {from} -> {to}"));
        }
        for fixed in &self.images {
            text.push_str(&fixed.text(self.imported_ms));
        }
        if !self.elsewhere.is_empty() {
            text.push_str("in none of these images, used in builds and tests\n");
        }
        for (name, fate) in &self.elsewhere {
            let _ = writeln!(text, "  {}", fate.text(name));
        }
        for (names, what) in [
            (&self.waiting, "waits for its image"),
            (&self.follow, "has no such package, but is made with one: it is built again"),
            (&self.untouched, "has no such package: not touched"),
        ] {
            for name in names {
                let _ = writeln!(text, "image {name} {what}");
            }
        }
        text
    }
}

impl Fixed {
    fn text(&self, imported_ms: u64) -> String {
        let mut text = format!("image {}\n", self.image);
        let before = self.before.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
        let _ = writeln!(text, "  before     {before}\n  after      {}", self.after);
        let _ = writeln!(text, "  candidate  {}, {}", self.candidate, self.status);
        if let Some((key_id, name)) = &self.decided_by {
            let _ = writeln!(text, "  approved   by {name}, key {key_id}");
        }
        if let Some(at_ms) = self.published_ms {
            let seconds = at_ms.saturating_sub(imported_ms) / 1000;
            let _ = writeln!(text, "  published  {}, {seconds} s after the advisory was taken in", when(at_ms));
        }
        for (name, fate) in &self.packages {
            let _ = writeln!(text, "  {}", fate.text(name));
        }
        text
    }
}

impl Fate {
    fn text(&self, name: &PackageName) -> String {
        match self {
            Self::Kept { version, inputs } => format!("kept       {name} {version}: input digest unchanged, {inputs}"),
            Self::Rebuilt { from, to, inputs_before, inputs, same_content, not_swapped } => {
                let moved = if from == to { to.to_string() } else { format!("{from} -> {to}") };
                let content = if *same_content { "; it came out identical" } else { "" };
                let why = not_swapped.as_ref().and_then(|why| why.lines().next());
                let why = why.map(|why| format!("; not swapped: {why}")).unwrap_or_default();
                format!("rebuilt    {name} {moved}: input digest {inputs_before} -> {inputs}{content}{why}")
            }
            Self::Swapped { version, libraries, settled, followed_by, tests, .. } => {
                swapped_text(name, version, libraries, settled, *followed_by, tests.as_ref())
            }
            Self::InterfaceEqual { version, libraries, proved, followed_by, .. } => {
                let of: Vec<_> =
                    libraries.iter().map(|(library, linked)| format!("{library} {}", linked.interface)).collect();
                let proof = match proved {
                    KeptProof::Due => "its proof build is to follow".to_owned(),
                    KeptProof::Identical { action, .. } => format!("proof build identical, {action}"),
                    KeptProof::Settled { why, .. }
                    | KeptProof::Unsettled { why, .. }
                    | KeptProof::Dropped { why, .. }
                    | KeptProof::Failed { why, .. } => {
                        let why = why.lines().next().unwrap_or_default();
                        let next = followed_by.map_or_else(|| "is to follow".to_owned(), |id| format!("is in {id}"));
                        format!(
                            "its proof build was NOT identical ({why}); the cut-off is withdrawn, what was built instead {next}"
                        )
                    }
                };
                format!("kept       {name} {version}: interface equal of {}; {proof}", of.join(", "))
            }
            Self::Built { version, inputs, action } => {
                format!("built      {name} {version}: it is in no image; input digest {inputs}, action {action}")
            }
            Self::NotBuilt { version, inputs, why } => {
                let why = why.lines().next().unwrap_or_default();
                format!("NOT built  {name} {version}: {why}; input digest {inputs}")
            }
            Self::Planned { version, inputs } => {
                format!("to build   {name} {version}: it is in no image; input digest {inputs}")
            }
            Self::New { version, inputs, .. } => format!("new        {name} {version}: input digest {inputs}"),
            Self::Removed { version } => format!("removed    {name} {version}"),
        }
    }
}

/// A swapped package, with what spoke for it and what building it showed.
fn swapped_text(
    name: &PackageName,
    version: &Version,
    libraries: &BTreeMap<PackageName, Linked>,
    settled: &KeptProof,
    followed_by: Option<CandidateId>,
    tests: Option<&BlobDigest>,
) -> String {
    let of: Vec<_> = libraries
        .iter()
        .map(|(library, linked)| match &linked.abi_report {
            Some(report) => format!("{library}, types compared in {report}"),
            None => library.to_string(),
        })
        .collect();
    let tests = tests.map(|log| format!(", its tests passed in {log}")).unwrap_or_default();
    let first = |why: &str| why.lines().next().unwrap_or_default().to_owned();
    let next = || followed_by.map_or_else(|| "is to follow".to_owned(), |id| format!("is in {id}"));
    let settled = match settled {
        KeptProof::Due => "it is to be built".to_owned(),
        KeptProof::Identical { action, .. } => format!("built since, identical, {action}"),
        KeptProof::Settled { action, why, .. } => {
            format!("built since, another ({}), {action}: it {}", first(why), next())
        }
        KeptProof::Unsettled { why, .. } => format!("it does NOT build ({}): a human must look", first(why)),
        KeptProof::Dropped { why, .. } | KeptProof::Failed { why, .. } => {
            format!("not any more ({}): what is built {}", first(why), next())
        }
    };
    format!("kept       {name} {version}: swapped, it runs with {}{tests}; {settled}", of.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_ledger::{CandidateStatus, Event, Record};

    fn package(name: &str, version: &str, inputs: &[u8], tree: &[u8]) -> PackageRecord {
        PackageRecord {
            name: PackageName::new(name).unwrap(),
            version: Version::new(version).unwrap(),
            derivation: DerivationId::of(inputs),
            tree: TreeDigest::from_bytes(*BlobDigest::of(tree).as_bytes()),
            in_place_of: None,
        }
    }

    fn candidate(id: u64) -> Candidate {
        let manifest = BlobDigest::from_bytes([u8::try_from(id).unwrap(); 32]);
        Candidate {
            id: CandidateId(id),
            image: ImageName::new("web").unwrap(),
            manifest,
            index: manifest,
            tags: vec![],
            fixes: vec![],
            diff: manifest,
            opened_ms: id,
            decision: None,
            status: CandidateStatus::Open,
        }
    }

    fn state_with(events: Vec<Event>) -> State {
        let mut state = State::default();
        for event in events {
            state.apply(&Record { at_ms: 1, event }).unwrap();
        }
        state
    }

    fn kept(derivation: &[u8]) -> Event {
        let interface = anneal_content::InterfaceDigest::of(b"i");
        let linked = Linked { interface, built_with: BTreeMap::new(), now: BTreeMap::new(), abi_report: None };
        Event::PackageKept {
            package: PackageName::new("nginx").unwrap(),
            version: Version::new("1.24").unwrap(),
            derivation: DerivationId::of(derivation),
            action: ActionDigest::of(b"a"),
            linked: [(PackageName::new("zlib").unwrap(), linked)].into(),
            ground: Ground::InterfaceEqual,
        }
    }

    fn nginx_fate(state: &State) -> String {
        let (before, after) = ([package("nginx", "1.24", b"n1", b"t")], [package("nginx", "1.24", b"n2", b"t")]);
        fates(state, &candidate(1), &before, &after)["nginx"].text(&PackageName::new("nginx").unwrap())
    }

    #[test]
    fn a_kept_build_stands_with_the_interface_and_its_proof() {
        let (package, derivation) = (PackageName::new("nginx").unwrap(), DerivationId::of(b"n2"));
        let action = ActionDigest::of(b"by content");
        assert!(nginx_fate(&State::default()).starts_with("rebuilt"));
        let due = nginx_fate(&state_with(vec![kept(b"n2")]));
        assert!(due.starts_with("kept       nginx 1.24: interface equal of zlib sha256:"), "{due}");
        assert!(due.ends_with("its proof build is to follow"), "{due}");
        let proved = Event::KeptProved { package: package.clone(), derivation, action, payloads: vec![] };
        let proved = nginx_fate(&state_with(vec![kept(b"n2"), proved]));
        assert!(proved.ends_with(&format!("proof build identical, {action}")), "{proved}");
    }

    #[test]
    fn a_kept_build_whose_proof_failed_names_the_candidate_that_follows() {
        let (package, derivation) = (PackageName::new("nginx").unwrap(), DerivationId::of(b"n2"));
        let (action, why) = (ActionDigest::of(b"by content"), "output out is another".to_owned());
        let withdrawn = Event::CutOffWithdrawn { package, derivation, action, why, payloads: vec![] };
        let mut state = state_with(vec![kept(b"n2"), withdrawn]);
        let text = nginx_fate(&state);
        assert!(text.contains("NOT identical (output out is another)") && text.ends_with("is to follow"), "{text}");
        let next = candidate(4);
        let assembled = Event::ImageAssembled {
            image: next.image.clone(),
            key: DerivationId::of(b"web"),
            revision: CatalogDigest::of(b"1"),
            manifest: next.manifest,
            index: next.index,
            layers: vec![],
            packages: vec![self::package("nginx", "1.24", b"n3", b"other")],
        };
        state.apply(&Record { at_ms: 2, event: assembled }).unwrap();
        state.candidates.insert(next.id, next);
        assert!(nginx_fate(&state).ends_with("is in c4"), "{}", nginx_fate(&state));
    }

    /// nginx in the place of what was asked for, with what is known of it.
    fn swapped_fate(events: Vec<Event>) -> String {
        let Event::PackageKept { package, version, derivation, action, linked, .. } = kept(b"n2") else { panic!() };
        let ground = Ground::Swapped {
            former: DerivationId::of(b"n1"),
            revision: CatalogDigest::of(b"1"),
            catalog: BlobDigest::of(b"1"),
            withdrawn: BTreeSet::new(),
            tests: BlobDigest::of(b"log"),
            advisories: BTreeSet::new(),
        };
        let swapped = Event::PackageKept { package, version, derivation, action, linked, ground };
        let state = state_with([vec![swapped], events].concat());
        let before = [self::package("nginx", "1.24", b"n1", b"t")];
        let after = [PackageRecord { in_place_of: Some(derivation), ..self::package("nginx", "1.24", b"n1", b"t") }];
        fates(&state, &candidate(1), &before, &after)["nginx"].text(&PackageName::new("nginx").unwrap())
    }

    #[test]
    fn a_swapped_build_stands_with_what_spoke_for_it_and_what_building_it_showed() {
        let settled = |settling| {
            let (package, derivation) = (PackageName::new("nginx").unwrap(), DerivationId::of(b"n2"));
            swapped_fate(vec![Event::SwapSettled { package, derivation, settling, payloads: vec![] }])
        };
        let (action, why) = (ActionDigest::of(b"b"), "output out".to_owned());
        let due = swapped_fate(vec![]);
        assert!(
            due.starts_with("kept       nginx 1.24: swapped, it runs with zlib, its tests passed in sha256:"),
            "{due}"
        );
        assert!(due.ends_with("; it is to be built"), "{due}");
        let identical = settled(anneal_ledger::Settling::Identical { action });
        assert!(identical.ends_with(&format!("; built since, identical, {action}")), "{identical}");
        let differs = settled(anneal_ledger::Settling::Differs { action, why: why.clone() });
        assert!(
            differs.ends_with(&format!("built since, another (output out), {action}: it is to follow")),
            "{differs}"
        );
        let fails = settled(anneal_ledger::Settling::Fails { why });
        assert!(fails.ends_with("it does NOT build (output out): a human must look"), "{fails}");
    }

    #[test]
    fn a_package_is_kept_only_where_its_inputs_are_the_same() {
        let before = [
            package("musl", "1", b"musl", b"m"),
            package("zlib", "1.2.11", b"z1", b"zt1"),
            package("nginx", "1.24", b"n1", b"nt"),
            package("gone", "1", b"g", b"g"),
        ];
        let after = [
            package("musl", "1", b"musl", b"m"),
            package("zlib", "1.2.13", b"z2", b"zt2"),
            package("nginx", "1.24", b"n2", b"nt"),
            package("came", "1", b"c", b"c"),
        ];
        let fates = fates(&State::default(), &candidate(1), &before, &after);
        let text = |name: &str| fates[name].text(&PackageName::new(name).unwrap());
        assert!(text("musl").contains("input digest unchanged"), "{}", text("musl"));
        assert!(text("zlib").starts_with("rebuilt    zlib 1.2.11 -> 1.2.13: "), "{}", text("zlib"));
        assert!(text("nginx").ends_with("; it came out identical"), "{}", text("nginx"));
        assert_eq!(text("gone"), "removed    gone 1");
        assert!(text("came").starts_with("new        came 1"));
    }

    #[test]
    fn a_case_that_no_image_answers_has_no_certificate() {
        let case = Case {
            advisory: "X-1".into(),
            opened_ms: 0,
            imported_ms: 0,
            hits: Vec::new(),
            images: vec![ImageName::new("nginx").unwrap()],
            bumps: Vec::new(),
            plan: None,
            status: CaseStatus::Open,
        };
        let error = Certificate::of(&State::default(), &case, None, &Built::new()).unwrap_err();
        assert!(matches!(error, Error::No(_)), "{error}");
    }
}
