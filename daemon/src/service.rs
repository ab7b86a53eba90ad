//! The running daemon's facts: the store, the journal folded into a state, the active catalogue, the keys.
//!
//! Every change is an event: it is applied to the state, appended to the journal, and only then acknowledged. If the
//! journal refuses (a full disk), the state is put back to what it was, so nothing is believed that was not written.

use crate::{
    branch::{self, Look},
    builder::new_builder,
    catalog_files::kept_catalog,
    documents,
    error::{Error, Result, io},
    holdings::Holdings,
    keys::{Keys, result_keys},
    progress::Board,
    retention::Facts,
    settings::{Follow, Settings},
    tasks::{Again, swaps_in_force},
};
use anneal_builder::Builder;
use anneal_content::{BlobDigest, BlobSource as _, CatalogDigest, CommitId, ImageName, PackageName, Version};
use anneal_index::Index;
use anneal_ledger::{Branch, BranchCommit, Event, Record, RevisionCause, State, Wanted, WantedImage};
use anneal_plan::{Before, Derived, Toolchain, derive_after};
use anneal_recipe::Catalog;
use anneal_registry::Served;
use anneal_sandbox::CancelToken;
use anneal_store::{OpenMode, Store};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// The catalogue that is built: the files' recipes at the releases that cases chose.
#[derive(Debug, Clone)]
pub(crate) struct Active {
    pub(crate) catalog: Arc<Catalog>,
    /// With what it is derived.
    pub(crate) toolchain: Arc<Toolchain>,
    /// As the catalogue asks for it.
    pub(crate) asked: Arc<Derived>,
    /// As it ships now: with former builds that are swapped in.
    pub(crate) derived: Arc<Derived>,
    pub(crate) wanted: Arc<Wanted>,
}

/// Everything that the daemon's threads share.
pub(crate) struct Service {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) index: Index,
    pub(crate) keys: Keys,
    pub(crate) builder: Builder,
    pub(crate) cancel: CancelToken,
    pub(crate) served: watch::Sender<Arc<Served>>,
    pub(crate) board: Board,
    state: Mutex<State>,
    changed: Condvar,
    active: Mutex<Active>,
    /// Images whose builds are to be looked at again though they are assembled.
    pub(crate) again: Again,
    draining: AtomicBool,
    /// Held while the catalogue changes, so that a reload and a remedy don't overwrite each other.
    changing: Mutex<()>,
    /// Held while the branch that is followed is looked at.
    following: Mutex<()>,
    /// How many looks at it in a row failed.
    pub(crate) looks_failed: AtomicU32,
    holdings: Mutex<Option<(Instant, Duration, Holdings)>>,
    collections: Mutex<Facts>,
}

/// How old numbers about the store may be; and, where counting takes long, so many times that.
const HOLDINGS_AGE: Duration = Duration::from_secs(60);
const HOLDINGS_AGE_TIMES: u32 = 50;

/// The record of who looked last at images that were refused: the program and the host.
const EXAMINER: (&str, &str) = ("examiner", "last");

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The store of the state directory, for writing.
fn open_store(settings: &Settings) -> Result<Store> {
    let (dir, chunk_hash) = (settings.state.join("store"), settings.chunk_hash());
    Ok(match &settings.bucket {
        Some(bucket) => Store::open_in_bucket(&dir, chunk_hash, bucket)?,
        None => Store::open_trusting(&dir, OpenMode::ReadWrite, chunk_hash)?,
    })
}

impl Service {
    /// Opens a state directory, folds the journal, reads the catalogue.
    pub(crate) fn open(settings: Settings) -> Result<Arc<Self>> {
        let dir = &settings.state;
        std::fs::create_dir_all(dir).map_err(io("create", dir))?;
        let store = open_store(&settings)?;
        let state = fold(&store)?;
        // The lock on the store is held, so what an earlier daemon left behind is nobody's.
        let work_dir = dir.join("work");
        anneal_sandbox::sweep(&work_dir)?;
        if work_dir.exists() {
            std::fs::remove_dir_all(&work_dir).map_err(io("clear", &work_dir))?;
        }
        Builder::clear_trials(&work_dir)?;
        for made in [&work_dir, &dir.join("roots"), &settings.feed] {
            std::fs::create_dir_all(made).map_err(io("create", made))?;
        }
        let keys = Keys::open(&dir.join("keys"))?;
        let cancel = CancelToken::new();
        let base = branch::first_catalog(&settings)?;
        let left = branch::left_since(&settings, &state)?;
        let builder = new_builder(&settings, store.clone(), cancel.clone())?;
        let active = activate(&base, &state, &builder, None)?;
        let service = Arc::new(Self {
            index: Index::open(&dir.join("index"))?,
            served: watch::Sender::new(Arc::new(Served::default())),
            board: Board::default(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            active: Mutex::new(active),
            again: Again::default(),
            draining: AtomicBool::new(false),
            changing: Mutex::new(()),
            following: Mutex::new(()),
            looks_failed: AtomicU32::new(0),
            holdings: Mutex::new(None),
            collections: Mutex::default(),
            settings,
            store,
            keys,
            builder,
            cancel,
        });
        service.reindex()?;
        service.announce_catalog(base.digest()?, branch::in_force(&service.settings), left, false)?;
        service.ask_again()?;
        service.serve_publications()?;
        crate::tasks::ask_for_lost(&service)?;
        Ok(service)
    }

    /// A copy of the state.
    pub(crate) fn state(&self) -> State {
        self.lock().clone()
    }

    /// Looks at the state without copying it.
    pub(crate) fn with_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The active catalogue.
    pub(crate) fn active(&self) -> Active {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the active catalogue asks for.
    pub(crate) fn wanted(&self) -> Arc<Wanted> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).wanted.clone()
    }

    /// Records one event.
    pub(crate) fn record(&self, event: Event) -> Result<()> {
        self.record_all(vec![event])
    }

    /// Records events that belong together: all of them or none.
    pub(crate) fn record_all(&self, events: Vec<Event>) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let at_ms = now_ms();
        let mut state = self.lock();
        let before = state.clone();
        let (mut lines, mut news) = (Vec::new(), Vec::new());
        for event in events {
            let record = Record { at_ms, event };
            if let Err(refusal) = state.admit(&record) {
                *state = before;
                return Err(refusal.into());
            }
            lines.push(serde_json::to_vec(&record).map_err(|e| Error::Internal(e.to_string()))?);
            news.push(record);
        }
        if let Err(error) = self.store.append_events(&lines) {
            *state = before;
            return Err(error.into());
        }
        drop(state);
        for record in &news {
            self.board.event(record);
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Waits until something was recorded, or for at most `patience`.
    pub(crate) fn wait(&self, patience: Duration) {
        let state = self.lock();
        drop(self.changed.wait_timeout(state, patience));
    }

    /// Wakes whoever waits.
    pub(crate) fn wake(&self) {
        self.changed.notify_all();
    }

    /// Reads the recipe files again; where they are of a branch, looks where that is first.
    pub(crate) fn reload_catalog(&self) -> Result<bool> {
        match branch::look(self, true)? {
            Look::Same => {}
            Look::Taken { changed } => return Ok(changed),
            Look::Refused { at, why } => {
                return Err(Error::Recipes(format!("{at} is not taken, and what was in force stays:\n{why}")));
            }
        }
        let _changing = self.changing();
        let base = kept_catalog(&self.settings, false)?;
        let last = self.active();
        let active = self.with_state(|state| activate(&base, state, &self.builder, Some(&last)))?;
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = active;
        self.announce_catalog(base.digest()?, branch::in_force(&self.settings), None, false)
    }

    /// A commit of the branch that is followed is in force from now on; says whether the catalogue is another one. Where it
    /// can't be, nothing has changed.
    pub(crate) fn take_commit(
        &self,
        follow: &Follow,
        base: &Catalog,
        at: BranchCommit,
        left: Option<CommitId>,
    ) -> Result<bool> {
        let _changing = self.changing();
        let last = self.active();
        let active = self.with_state(|state| activate(base, state, &self.builder, Some(&last)))?;
        follow.put_in_force(&at.commit)?;
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = active;
        let mends = self.with_state(|state| state.refused_commit.is_some());
        self.announce_catalog(base.digest()?, Some(at), left, mends)
    }

    /// Held by whoever looks at the branch that is followed.
    pub(crate) fn following(&self) -> MutexGuard<'_, ()> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records something by which packages are other builds from now on, and derives the active catalogue anew: one of them
    /// reads more than the interface of what it links, say.
    pub(crate) fn record_and_derive(&self, events: Vec<Event>) -> Result<()> {
        let _changing = self.changing();
        self.record_all(events)?;
        let last = self.active();
        let active = self.with_state(|state| {
            let toolchain = self.builder.toolchain(state.withdrawn_packages());
            Active::of(Catalog::clone(&last.catalog), toolchain, (state, &self.builder), Some(&last))
        })?;
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = active;
        self.wake();
        Ok(())
    }

    /// Held by whoever changes the catalogue, from reading the old one on.
    pub(crate) fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes another catalogue the active one, with the events that say why.
    pub(crate) fn switch_catalog(&self, active: Active, mut events: Vec<Event>, cause: RevisionCause) -> Result<()> {
        let revision = active.catalog.digest()?;
        let _lease = self.store.lease();
        let blob = self.store.put_blob(&active.catalog.to_json()?)?;
        events.push(Event::CatalogImported { revision, blob, cause });
        self.record_all(events)?;
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = active;
        Ok(())
    }

    /// Journals the active catalogue if the journal has another one, and the commit that its files are of if that has other
    /// recipes, left another one behind or mends a refused one; says whether the catalogue is another one.
    fn announce_catalog(
        &self,
        files: CatalogDigest,
        at: Option<BranchCommit>,
        left: Option<CommitId>,
        mends: bool,
    ) -> Result<bool> {
        let catalog = self.active().catalog;
        let revision = catalog.digest()?;
        documents::put_back(&self.store, &self.state(), &catalog, self.builder.lock())?;
        let mut events = Vec::new();
        if let Some(at) = &at {
            let same = |known: &Branch| known.at.place == at.place && known.files == files;
            if mends || left.is_some() || !self.with_state(|state| state.branch.as_ref().is_some_and(same)) {
                events.push(Event::BranchFollowed { at: at.clone(), files, left });
            }
        }
        let changed = self.with_state(|state| state.revision.is_none_or(|(known, _)| known != revision));
        // Where a directory takes the place of a branch, that is said even if both have the same.
        let left_branch = at.is_none() && self.with_state(|state| state.branch.is_some());
        let _lease = self.store.lease();
        if changed || left_branch {
            let blob = self.store.put_blob(&catalog.to_json()?)?;
            let cause = at.map_or(RevisionCause::Files, |at| RevisionCause::Branch { at });
            events.push(Event::CatalogImported { revision, blob, cause });
        }
        self.record_all(events)?;
        Ok(changed)
    }

    /// A new start looks again at wanted images that were refused: the suite or the host may have changed. One that
    /// follows a crash does not, so that a daemon that dies again and again does not fill its journal.
    fn ask_again(&self) -> Result<()> {
        let examiner = crate::builder::worker_name();
        let (kind, key) = EXAMINER;
        if self.store.record(kind, key)?.is_some_and(|known| known == examiner.as_bytes()) {
            return Ok(());
        }
        let wanted = self.wanted();
        let refused = self.with_state(|state| {
            let manifests = wanted.images.values().filter_map(|image| state.assembled.get(&image.key));
            let images = manifests.filter_map(|manifest| state.images.get(manifest));
            images.filter(|image| image.failed()).map(|image| image.manifest).collect::<Vec<_>>()
        });
        self.record_all(refused.into_iter().map(|manifest| Event::CheckAsked { manifest }).collect())?;
        Ok(self.store.put_record(kind, key, examiner.as_bytes())?)
    }

    /// What was asked to end and is started again asks again.
    pub(crate) fn ended_as_asked(&self) {
        let (kind, key) = EXAMINER;
        if let Err(error) = self.store.remove_record(kind, key) {
            tracing::warn!(%error, "refused images are not checked again by the next start");
        }
    }

    /// Publishes a snapshot of what may be served.
    pub(crate) fn serve_publications(&self) -> Result<()> {
        // Under the state's lock, so that an older snapshot never takes the place of a newer one.
        self.with_state(|state| self.served.send_replace(Arc::new(crate::served::served(state, &self.store))));
        Ok(())
    }

    /// The index follows the journal: what it lacks after a crash is put back.
    fn reindex(&self) -> Result<()> {
        for image in self.with_state(|state| state.images.values().cloned().collect::<Vec<_>>()) {
            crate::tasks::index_image(self, &image)?;
        }
        let touched = |state: &State, id: &String| {
            state.cases.get(id).map(|c| c.hits.iter().map(|h| h.package.clone()).collect()).unwrap_or_default()
        };
        let advisories: Vec<(String, BlobDigest, Vec<PackageName>)> = self.with_state(|state| {
            state.advisories.iter().map(|(id, record)| (id.clone(), *record, touched(state, id))).collect()
        });
        for (id, record, touched) in advisories {
            let advisory = anneal_advisory::parse(&self.small_blob(&record)?)?;
            self.index.put_advisory(&id, &advisory.aliases, &record, &touched)?;
        }
        Ok(())
    }

    /// Numbers about the store, of a moment ago: counting reads every row.
    pub(crate) fn holdings(&self) -> Result<Holdings> {
        let mut kept = self.holdings.lock().unwrap_or_else(PoisonError::into_inner);
        let is_young =
            |taken: &Instant, took: &Duration| taken.elapsed() < HOLDINGS_AGE.max(*took * HOLDINGS_AGE_TIMES);
        if let Some((_, _, holdings)) = kept.as_ref().filter(|(taken, took, _)| is_young(taken, took)) {
            return Ok(holdings.clone());
        }
        let begun = Instant::now();
        let trusted = result_keys(&self.settings.state.join("keys"))?.trusted;
        let holdings = Holdings::of(&self.store, &trusted)?;
        *kept = Some((Instant::now(), begun.elapsed(), holdings.clone()));
        Ok(holdings)
    }

    /// What collections did since the start.
    pub(crate) fn collections(&self) -> MutexGuard<'_, Facts> {
        self.collections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A blob that is known to be small.
    pub(crate) fn small_blob(&self, digest: &BlobDigest) -> Result<Vec<u8>> {
        let missing = |source| anneal_content::Error::Read { digest: *digest, source };
        Ok(self.store.read(digest).map_err(missing)?)
    }

    /// No new work is begun from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether no new work is to be begun.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// The journal from an event on, each with its number.
pub(crate) fn journal(store: &Store, from: u64, most: usize) -> Result<Vec<(u64, Record)>> {
    let mut events = Vec::new();
    for line in store.events_from(from)?.take(most) {
        let (seq, bytes) = line?;
        let record = serde_json::from_slice(&bytes)
            .map_err(|e| Error::Internal(format!("event {seq} of the journal cannot be read: {e}")))?;
        events.push((seq, record));
    }
    Ok(events)
}

/// Folds the whole journal.
pub(crate) fn fold(store: &Store) -> Result<State> {
    let mut state = State::default();
    for line in store.events_from(0)? {
        let (seq, bytes) = line?;
        let record: Record = serde_json::from_slice(&bytes)
            .map_err(|e| Error::Internal(format!("event {seq} of the journal cannot be read: {e}")))?;
        state
            .apply(&record)
            .map_err(|refusal| Error::Internal(format!("event {seq} of the journal does not follow: {refusal}")))?;
    }
    Ok(state)
}

/// The catalogue of the files at the releases that cases chose, as long as the files still name the release that the
/// case moved away from: an edit by a human wins.
pub(crate) fn at_chosen_releases(base: &Catalog, state: &State) -> Result<Catalog> {
    let holds = |package: &PackageName, (from, to): &(Version, Version)| {
        let recipe = base.packages().get(package);
        recipe.is_some_and(|recipe| recipe.version() == from && recipe.releases.get(to).is_some())
    };
    let pins = state.pins.iter().filter(|(package, pin)| holds(package, pin));
    let pins: BTreeMap<PackageName, Version> = pins.map(|(package, (_, to))| (package.clone(), to.clone())).collect();
    Ok(if pins.is_empty() { base.clone() } else { base.with_versions(&pins)? })
}

/// What the checks are told beside an image: waivers and tests, by digest.
fn policy_digest(catalog: &Catalog, image: &ImageName) -> Result<BlobDigest> {
    let recipe = catalog.image(image)?;
    let mut packages = BTreeMap::new();
    for name in catalog.image_packages(image)? {
        let package = catalog.package(&name)?;
        packages.insert(name, (&package.allow, &package.test));
    }
    Ok(anneal_content::blob_digest_of(&(&recipe.allow, packages))?)
}

fn activate(base: &Catalog, state: &State, builder: &Builder, last: Option<&Active>) -> Result<Active> {
    let toolchain = builder.toolchain(state.withdrawn_packages());
    Active::of(at_chosen_releases(base, state)?, toolchain, (state, builder), last)
}

impl Active {
    /// A catalogue with what follows from it; what is as it was in the last one is taken over.
    pub(crate) fn of(
        catalog: Catalog,
        toolchain: Toolchain,
        (state, builder): (&State, &Builder),
        last: Option<&Self>,
    ) -> Result<Self> {
        let before = last.map(|it| Before { catalog: &it.catalog, toolchain: &it.toolchain, derived: &it.asked });
        let asked = Arc::new(derive_after(before, &catalog, &toolchain)?);
        let swaps = swaps_in_force(state, builder, &asked)?;
        let derived = if swaps.is_empty() {
            asked.clone()
        } else {
            Arc::new(anneal_plan::swap(&asked, &catalog, &toolchain, &swaps)?)
        };
        let in_order = asked.order.iter().filter_map(|name| derived.swapped.get(name).copied());
        let mut wanted = Wanted { swapped: in_order.collect(), ..Wanted::default() };
        for (name, need) in &derived.images {
            let (key, derivations) = (need.key, need.derivations.clone());
            let policy = policy_digest(&catalog, name)?;
            wanted.images.insert(name.clone(), WantedImage { key, derivations, policy });
        }
        let (catalog, toolchain) = (Arc::new(catalog), Arc::new(toolchain));
        Ok(Self { catalog, toolchain, asked, derived, wanted: Arc::new(wanted) })
    }
}
