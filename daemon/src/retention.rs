//! What of the store is needed, and collecting what is not.
//!
//! The ledger says which images and documents are needed (`anneal_ledger`), the builder what the active catalogue needs,
//! and the catalogue that a needed image came from names its sources. The store follows those roots and deletes the rest
//! (`anneal_store::Collection`). Before anything is deleted, the journal says which images are gone.

mod aside;
mod schedule;
mod withdraw;

pub(crate) use schedule::{Facts, Growth, SizeOfDay, collect_and_count, day_of, growth, keep_house};

use crate::{
    builder::new_builder,
    documents,
    error::{Error, Result},
    service::{Service, fold, now_ms},
    settings::Settings,
};
use anneal_builder::{Builder, RECORDS, source_roots};
use anneal_content::{BlobDigest, CatalogDigest, TreeDigest};
use anneal_fetch::BuildRootLock;
use anneal_ledger::{Event, Form, Image, Needed, Record, Reference, Refusal, State, Withdrawal};
use anneal_oci::{ImageIndex, ImageManifest};
use anneal_plan::{Derived, derive};
use anneal_recipe::Catalog;
use anneal_sandbox::CancelToken;
use anneal_store::{Collection, Gap, KindSize, Meaning, Node, OpenMode, Root, Store, Survey, Sweep, Swept};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// How many things an answer lists one by one.
const LISTED_MAX: usize = 1000;
/// How often the images are chosen anew when one of them was needed after all.
const ATTEMPTS: usize = 5;

/// What a collection did, or would do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Collected {
    /// Whether nothing was done.
    pub(crate) dry_run: bool,
    /// What is kept, by kind; `garbage` is what goes.
    pub(crate) kinds: BTreeMap<String, KindSize>,
    /// Publications that are served no longer; their bytes go when the grace time is over.
    #[serde(default)]
    pub(crate) withdrawn: Vec<Withdrawal>,
    /// Images that go.
    pub(crate) images: Vec<BlobDigest>,
    /// Build roots that no lock asks for any more.
    #[serde(default)]
    pub(crate) roots: Vec<String>,
    /// What was found damaged so long ago that nobody will look at it.
    #[serde(default)]
    pub(crate) quarantined: KindSize,
    /// How many actions' results go.
    pub(crate) actions: u64,
    /// Blobs that go, the largest first, not all of them where there are many.
    pub(crate) blobs: Vec<(BlobDigest, u64)>,
    /// What is kept and hides what it names: nothing is deleted meanwhile.
    pub(crate) gaps: Vec<GapText>,
    /// What is kept and is not there, with its reason.
    pub(crate) absent: Vec<(BlobDigest, String)>,
    /// How long it took to find that out.
    pub(crate) mark_ms: u64,
    /// What was done.
    pub(crate) swept: Option<Swept>,
}

/// A gap as an answer tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GapText {
    pub(crate) what: String,
    pub(crate) wrong: String,
    pub(crate) why: String,
}

/// Why something is kept, or that it is not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Why {
    pub(crate) digest: BlobDigest,
    /// In the store now.
    pub(crate) here: bool,
    pub(crate) bytes: Option<u64>,
    /// What names it, up to the root; none: nothing needs it.
    pub(crate) kept: Option<Vec<String>>,
    /// When it was collected, milliseconds since 1970.
    pub(crate) collected_ms: Option<u64>,
}

/// Everything that decides what is needed.
pub(crate) struct Ground<'a> {
    pub(crate) store: &'a Store,
    pub(crate) builder: &'a Builder,
    pub(crate) state: State,
    pub(crate) active: Option<(Arc<Catalog>, Arc<Derived>)>,
}

/// What is needed, read off a ground.
struct Needs {
    roots: Vec<Root>,
    /// What the journal names and may go.
    remember: BTreeSet<BlobDigest>,
}

/// A survey with what else follows from the ground.
struct Look {
    survey: Survey,
    remember: BTreeSet<BlobDigest>,
    /// Images that may go.
    loose: Vec<BlobDigest>,
}

fn document(bytes: &[u8]) -> Option<Vec<Node>> {
    if let Ok(index) = ImageIndex::parse(bytes) {
        return Some(index.manifests.iter().map(|listed| Node::Document(listed.digest)).collect());
    }
    let manifest = ImageManifest::parse(bytes).ok()?;
    let parts = manifest.layers.iter().chain([&manifest.config]);
    Some(parts.map(|part| Node::Blob(part.digest)).collect())
}

const MEANING: Meaning<'static> = Meaning { document: &document, records: RECORDS };

fn root_of(reference: Reference) -> Root {
    let Reference { digest, form, kind, why } = reference;
    let node = match form {
        Form::Bytes => Node::Blob(digest),
        Form::Document => Node::Document(digest),
        Form::Tree => Node::Tree(TreeDigest::from_bytes(*digest.as_bytes())),
    };
    Root { node, kind, why }
}

impl Ground<'_> {
    /// The images that are needed; those that a human pinned among them.
    fn needed(&self, since_ms: u64) -> Result<Needed> {
        let wanted = self.active.iter().flat_map(|(_, derived)| derived.images.values());
        let wanted: BTreeSet<BlobDigest> =
            wanted.filter_map(|image| self.state.assembled.get(&image.key).copied()).collect();
        let mut needed = self.state.needed_images(&wanted, since_ms);
        for pin in self.store.pins()? {
            let is_pinned = |image: &&Image| image.manifest == pin.digest || image.index == pin.digest;
            for image in self.state.images.values().filter(|image| image.collected_ms.is_none()).filter(is_pinned) {
                needed.entry(image.manifest).or_insert_with(|| format!("a pin: {}", pin.reason));
            }
        }
        Ok(needed)
    }

    fn needs(&self, needed: &Needed) -> Result<Needs> {
        let (mut roots, mut remember) = (Vec::new(), BTreeSet::new());
        for line in self.store.events_from(0)? {
            let (seq, bytes) = line?;
            let record: Record = serde_json::from_slice(&bytes)
                .map_err(|e| Error::Internal(format!("event {seq} of the journal cannot be read: {e}")))?;
            roots.extend(record.event.kept().into_iter().map(root_of));
            remember.extend(record.event.remembered());
        }
        roots.extend(self.state.kept(needed).into_iter().map(root_of));
        for (derivation, why) in self.state.kept_derivations(needed) {
            let action = self.builder.action_of(&derivation)?;
            roots.extend(action.map(|action| Root { node: Node::Action(action), kind: "builds", why }));
        }
        roots.extend(self.sources(needed)?);
        if let Some((catalog, derived)) = &self.active {
            roots.extend(self.builder.needs(catalog, derived)?);
        }
        Ok(Needs { roots, remember })
    }

    /// The archived sources of the catalogues that needed images came from.
    fn sources(&self, needed: &Needed) -> Result<Vec<Root>> {
        let mut revisions: BTreeMap<CatalogDigest, &str> = BTreeMap::new();
        for (manifest, why) in needed {
            if let Some(image) = self.state.images.get(manifest) {
                revisions.entry(image.revision).or_insert(why);
                // A former build that ships in it can be built again from its own.
                for (_, kept) in self.state.swapped_in(image) {
                    if let anneal_ledger::Ground::Swapped { revision, .. } = &kept.ground {
                        revisions.entry(*revision).or_insert(why);
                    }
                }
            }
        }
        let mut roots = self.build_roots(needed)?;
        for (revision, blob, _) in &self.state.revisions {
            let Some(why) = revisions.remove(revision) else { continue };
            let what = format!("the catalogue of {why}");
            let bytes = documents::read(self.store, blob, &what, documents::CATALOGUE_AGAIN)?;
            let (catalog, of) = (Catalog::from_json(&bytes)?, format!("in {what}"));
            for root in catalog.packages().values().flat_map(|recipe| source_roots(recipe, false, &of)) {
                // what no build of that catalogue ever fetched is not missing
                if matches!(root.node, Node::Blob(blob) if self.store.has(&blob)?) {
                    roots.push(root);
                }
            }
        }
        Ok(roots)
    }

    /// The packages of the build roots that needed images were built in, so that each can be built again.
    fn build_roots(&self, needed: &Needed) -> Result<Vec<Root>> {
        let mut locks: BTreeMap<BlobDigest, &str> = BTreeMap::new();
        for (manifest, why) in needed {
            if let Some(lock) = self.state.images.get(manifest).and_then(|image| image.build_root) {
                locks.entry(lock).or_insert(why);
            }
        }
        let mut roots = Vec::new();
        for (lock, why) in locks {
            let what = format!("the lock of the build root of {why}");
            let bytes = documents::read(self.store, &lock, &what, documents::LOCK_AGAIN)?;
            for package in BuildRootLock::of_identity(&bytes)?.packages {
                if self.store.has(&package.sha256)? {
                    let why = format!("{} {} of the build root of {why}", package.name, package.version);
                    roots.push(Root { node: Node::Blob(package.sha256), kind: "build root", why });
                }
            }
        }
        Ok(roots)
    }

    /// Follows what is needed. `retired`: the journal says of every image that may go that it is gone, so whatever else
    /// stopped to be needed a moment ago is kept until the next time.
    fn look(&self, collection: &Collection, keep_ms: u64, retired: bool) -> Result<Look> {
        let now_ms = now_ms();
        let mut needed = self.needed(now_ms.saturating_sub(keep_ms))?;
        let loose = self.state.loose_images(&needed);
        if retired {
            needed.extend(loose.iter().map(|image| (*image, "it was needed a moment ago".to_owned())));
        }
        let Needs { roots, remember } = self.needs(&needed)?;
        Ok(Look { survey: collection.survey(roots, MEANING, keep_ms, now_ms)?, remember, loose })
    }

    /// Everything in the store with why it is kept, however young it is.
    pub(crate) fn survey(&self, collection: &Collection) -> Result<Survey> {
        Ok(self.look(collection, 0, false)?.survey)
    }

    /// What a collection would do now.
    pub(crate) fn dry_run(mut self, settings: &Settings) -> Result<Collected> {
        let collection = self.store.collection()?;
        let withdrawn = withdraw::due(&self.state, self.store, settings)?;
        if let Some(record) = withdraw::record_of(&withdrawn) {
            self.state.admit(&record)?;
        }
        let keep_ms = keep_ms(settings);
        let Look { survey, loose, .. } = self.look(&collection, keep_ms, false)?;
        let mut answer = collected(&survey, withdrawn, loose, None);
        aside::clear(self.store, self.builder, settings, keep_ms, &mut answer)?;
        Ok(answer)
    }

    /// Why something is kept.
    pub(crate) fn why(&self, digest: &BlobDigest, keep_ms: u64) -> Result<Why> {
        let collection = self.store.collection()?;
        let Look { survey, .. } = self.look(&collection, keep_ms, false)?;
        Ok(Why {
            digest: *digest,
            here: self.store.has(digest)?,
            bytes: self.store.size(digest)?,
            kept: survey.why(&Node::Blob(*digest)),
            collected_ms: self.store.collected(digest)?,
        })
    }
}

fn collected(survey: &Survey, withdrawn: Vec<Withdrawal>, images: Vec<BlobDigest>, swept: Option<Swept>) -> Collected {
    let mut blobs = survey.garbage().to_vec();
    blobs.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    blobs.truncate(LISTED_MAX);
    let gap = |gap: &Gap| GapText { what: gap.what.clone(), wrong: gap.wrong.clone(), why: gap.why.join(", for ") };
    Collected {
        dry_run: swept.is_none(),
        kinds: survey.kinds().into_iter().map(|(kind, size)| (kind.to_owned(), size)).collect(),
        withdrawn,
        images,
        roots: Vec::new(),
        quarantined: KindSize::default(),
        actions: survey.garbage_actions().len() as u64,
        blobs,
        gaps: survey.gaps().iter().map(gap).collect(),
        absent: survey.absent().iter().map(|(digest, why)| (*digest, why.join(", for "))).collect(),
        mark_ms: u64::try_from(survey.took.as_millis()).unwrap_or(u64::MAX),
        swept,
    }
}

/// How long what nothing needs is kept.
pub(crate) fn keep_ms(settings: &Settings) -> u64 {
    settings.keep_days.saturating_mul(DAY_MS)
}

/// The ground of a running daemon, as it is now.
pub(crate) fn ground(service: &Service) -> Ground<'_> {
    // the state first: what it asks for, the catalogue of a moment later asks for too, or it is in use
    let state = service.state();
    let active = service.active();
    Ground { store: &service.store, builder: &service.builder, state, active: Some((active.catalog, active.derived)) }
}

/// Collects beside everything else that a daemon does.
pub(crate) fn collect(service: &Service, keep_ms: u64) -> Result<Collected> {
    let collection = service.store.collection()?;
    let withdrawn = withdraw::withdraw(service)?;
    let images = retire(service, now_ms().saturating_sub(keep_ms))?;
    let ground = ground(service);
    let Look { survey, remember, .. } = ground.look(&collection, keep_ms, true)?;
    let mut answer = collected(&survey, withdrawn, images, None);
    let stop = || service.is_draining();
    let swept = collection.sweep(survey, &Sweep { meaning: MEANING, remember: &remember, stop: &stop })?;
    (answer.dry_run, answer.swept) = (false, Some(swept));
    aside::clear(&service.store, &service.builder, &service.settings, keep_ms, &mut answer)?;
    Ok(answer)
}

/// Says in the journal which images are gone, before any of their bytes is.
fn retire(service: &Service, since_ms: u64) -> Result<Vec<BlobDigest>> {
    for _ in 0..ATTEMPTS {
        let ground = ground(service);
        let manifests = ground.state.loose_images(&ground.needed(since_ms)?);
        if manifests.is_empty() {
            return Ok(manifests);
        }
        match service.record(Event::ImagesCollected { manifests: manifests.clone() }) {
            Ok(()) => return Ok(manifests),
            // a candidate was opened a moment ago
            Err(Error::Refused(Refusal::Needed { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Vec::new())
}

/// A state directory that no daemon holds.
pub(crate) struct Directory {
    store: Store,
    builder: Builder,
}

impl Directory {
    /// Opens it; for writing it must be free.
    pub(crate) fn open(settings: &Settings, mode: OpenMode) -> Result<Self> {
        let dir = settings.state.join("store");
        if !dir.is_dir() {
            let state = settings.state.display();
            return Err(Error::Unreachable(format!("{state} is no state directory; name the daemon's with --state")));
        }
        let store = Store::open_trusting(&dir, mode, settings.chunk_hash())?;
        let builder = new_builder(settings, store.clone(), CancelToken::new())?;
        Ok(Self { store, builder })
    }

    /// The store.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Its ground: the catalogue is the one that was active last.
    pub(crate) fn ground(&self) -> Result<Ground<'_>> {
        let state = fold(&self.store)?;
        let active = match &state.revision {
            None => None,
            Some((_, blob)) => {
                let what = "the catalogue that was active last";
                let bytes = documents::read(&self.store, blob, what, documents::CATALOGUE_AGAIN)?;
                let catalog = Catalog::from_json(&bytes)?;
                let derived = derive(&catalog, &self.builder.toolchain(state.withdrawn_packages()))?;
                Some((Arc::new(catalog), Arc::new(derived)))
            }
        };
        Ok(Ground { store: &self.store, builder: &self.builder, state, active })
    }

    fn record(&self, state: &mut State, record: &Record) -> Result<()> {
        state.admit(record)?;
        let line = serde_json::to_vec(record).map_err(|e| Error::Internal(e.to_string()))?;
        Ok(self.store.append_events(&[line]).map(drop)?)
    }

    /// Collects.
    pub(crate) fn collect(&self, settings: &Settings) -> Result<Collected> {
        let keep_ms = keep_ms(settings);
        let collection = self.store.collection()?;
        let mut ground = self.ground()?;
        let withdrawn = withdraw::due(&ground.state, &self.store, settings)?;
        if let Some(record) = withdraw::record_of(&withdrawn) {
            self.record(&mut ground.state, &record)?;
        }
        let images = ground.state.loose_images(&ground.needed(now_ms().saturating_sub(keep_ms))?);
        if !images.is_empty() {
            let record = Record { at_ms: now_ms(), event: Event::ImagesCollected { manifests: images.clone() } };
            self.record(&mut ground.state, &record)?;
        }
        let Look { survey, remember, .. } = ground.look(&collection, keep_ms, true)?;
        let mut answer = collected(&survey, withdrawn, images, None);
        let how = Sweep { meaning: MEANING, remember: &remember, stop: &|| false };
        (answer.dry_run, answer.swept) = (false, Some(collection.sweep(survey, &how)?));
        aside::clear(&self.store, &self.builder, settings, keep_ms, &mut answer)?;
        Ok(answer)
    }
}

/// Pins a digest with as much as hangs on it: a manifest or index with its layers, a tree with its files, else the bytes.
pub(crate) fn pin(store: &Store, digest: &BlobDigest, reason: &str) -> Result<anneal_store::Pin> {
    let _lease = store.lease();
    let size = store.size(digest)?.unwrap_or_default();
    let tree = TreeDigest::from_bytes(*digest.as_bytes());
    let is_document = size <= anneal_oci::DOCUMENT_BYTES_MAX && document(&store.read_blob(digest, u64::MAX)?).is_some();
    let node = if is_document {
        Node::Document(*digest)
    } else if size > 0 && anneal_content::list(&tree, store).is_ok() {
        Node::Tree(tree)
    } else {
        Node::Blob(*digest)
    };
    Ok(store.pin(node, reason, now_ms())?)
}
