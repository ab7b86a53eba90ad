//! Whether what must not matter shows in a package: it is built again in other surroundings and compared.
//!
//! ```text
//! everything varied at once ── the same? ──▶ reproducible, as far as this host can vary it
//!     differs: once more with nothing varied     ── differs as well? ──▶ time or randomness
//!              once for each aspect, nothing else ── which differ?   ──▶ their aspects are the cause, file by file
//! ```
//! Each run is recorded as a signed result of the *unvaried* action, with what was varied: it is evidence, and never a
//! cache hit. A run that does not even succeed is a difference too.

mod cause;
mod clock;
mod compare;
mod diffoscope;

pub use cause::Cause;
pub use compare::{Change, ChangedBytes, Place, PlaceChange};
pub use diffoscope::Described;

use crate::{
    Builder, Error, Phase, Progress, Ran, Result,
    keep::Resolved,
    realise::{Task, interval},
    staging::{Surroundings, proves},
};
use anneal_content::{ActionDigest, ActionResult, BlobDigest, DerivationId, PackageName, Version};
use anneal_plan::{Action, Derivation, Inputs};
use anneal_recipe::PackageRecipe;
use anneal_sandbox::{Aspect, Variation};
use cause::{Seen, attribute};
use compare::Files;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What came of building a package in other surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialReport {
    /// The package.
    pub package: PackageName,
    /// Its version.
    pub version: Version,
    /// Its derivation.
    pub derivation: DerivationId,
    /// The action that was tried.
    pub action: ActionDigest,
    /// What was varied at once.
    pub varied: Variation,
    /// What could not be varied here, each with the reason.
    pub not_varied: Vec<String>,
    /// Whether every run gave the same.
    pub reproducible: bool,
    /// Why they did not, most certain first.
    pub causes: Vec<Found>,
    /// What ran.
    pub ran: Vec<Ran>,
}

/// A cause with what it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The cause.
    pub cause: Cause,
    /// How that is known.
    pub because: String,
    /// What differs, the first few of it.
    pub files: Vec<PlaceChange>,
    /// How many more differ.
    pub more: usize,
}

/// How many files of one cause are told.
const FILES_TOLD: usize = 20;
/// How many files of a package another program is asked about; it takes its time.
const FILES_DESCRIBED: usize = 5;
/// How many trials of one action are kept: enough to prove a difference, and never all the room that results have.
const TRIALS_KEPT: usize = 96;
/// A file system in memory that every Linux has; outputs written there list their names in another order.
const MEMORY: &str = "/dev/shm";
/// With less room than this it is left alone.
const MEMORY_FREE_MIN: u64 = 1 << 30;
/// How long after a build its first trial begins at the earliest.
const ANOTHER_TIME: Duration = Duration::from_secs(2);
/// What this program varies by none of its means.
const NEVER_VARIED: &[&str] = &[
    "kernel and model of the processor: they take another machine",
    "build path: it is /build in every sandbox",
    "real clock: only as far as the runs are apart",
];

/// What one run of a trial gave.
enum Gave {
    Outputs(Box<ActionResult>),
    Failed(String),
}

struct Trials<'a> {
    builder: &'a Builder,
    task: Task<'a>,
    key: ActionDigest,
    on: &'a (dyn Fn(Progress) + Sync),
    ran: Vec<Ran>,
    memory: Option<PathBuf>,
}

impl Builder {
    /// Builds a package that is built already once more with all of `varied` changed, and where that differs, again and
    /// again until the cause is known.
    pub fn try_varied(
        &self,
        recipe: &PackageRecipe,
        (id, derivation): (&DerivationId, &Derivation),
        inputs: &Inputs,
        varied: &Variation,
        on: &(dyn Fn(Progress) + Sync),
    ) -> Result<TrialReport> {
        let Resolved { mut action, mounted } = self.resolve(derivation, inputs)?;
        let missing = || Error::Missing { what: format!("the build of {}", recipe.name) };
        let mut plain = self.plain_result(&action.digest()?)?.ok_or_else(missing)?;
        self.root.ensure(self, on)?;
        for source in &recipe.selected().sources {
            self.archive(recipe.name.as_str(), source, on)?;
        }
        let mut ran = Vec::new();
        if plain.built_with != mounted {
            // A kept build: what it is compared with must have been built with the same.
            action = Action::by_content(derivation, &mounted);
            plain = self.plain_build(recipe, &action, &mounted, (&self.cancel.child(), on), &mut ran)?;
        }
        let key = action.digest()?;
        let memory = memory_beside(&self.config.work_dir);
        let task = self.task(recipe, &action, &mounted)?;
        let mut trials = Trials { builder: self, task, key, on, ran, memory };
        let causes = trials.search(&plain, varied)?;
        let mut not_varied: Vec<String> = NEVER_VARIED.iter().map(|&what| what.to_owned()).collect();
        if trials.memory.is_none() && in_memory(varied) {
            not_varied.push(format!("file system of the output: {MEMORY} is not another one with room"));
        }
        Ok(TrialReport {
            package: recipe.name.clone(),
            version: recipe.version().clone(),
            derivation: *id,
            action: key,
            varied: varied.clone(),
            not_varied,
            reproducible: causes.is_empty(),
            causes,
            ran: trials.ran,
        })
    }

    /// Takes away what trials of a daemon that was killed left in memory.
    pub fn clear_trials(work_dir: &Path) -> Result<()> {
        let dir = memory_of(work_dir);
        if is_own(&dir) { Ok(anneal_sandbox::remove_tree(&dir)?) } else { Ok(()) }
    }

    /// An action's results that were built with the same as one of them: those of the build and of the repetitions that go
    /// with it, and those of trials.
    pub(crate) fn results_and_trials(
        &self,
        key: &ActionDigest,
        plain: &ActionResult,
    ) -> Result<(Vec<ActionResult>, Vec<ActionResult>)> {
        let mut results = self.results(key)?;
        results.retain(|result| result.built_with == plain.built_with);
        results.sort_by_key(|result| !result.variation.is_empty());
        Ok(results.into_iter().partition(|result| result.variation.is_empty() || proves(result)))
    }
}

impl Trials<'_> {
    /// All at once; and where that differs, with nothing varied and then each by itself.
    fn search(&mut self, plain: &ActionResult, varied: &Variation) -> Result<Vec<Found>> {
        wait_for_another_time(plain);
        let all = match self.once(varied)? {
            Gave::Outputs(result) if result.outputs == plain.outputs => return Ok(Vec::new()),
            gave => gave,
        };
        let before = self.files(plain)?;
        let mut seen = Seen { all: self.changes(&before, plain, &all)?, ..Seen::default() };
        let again = self.once(&Variation::default())?;
        seen.again = self.changes(&before, plain, &again)?;
        if let (Gave::Outputs(again), false) = (&again, seen.again.is_empty()) {
            seen.timed = self.timed(plain, again, &seen.again)?;
        }
        // What differs by itself tells nothing about the surroundings.
        if seen.all.keys().any(|path| !seen.again.contains_key(path)) {
            for aspect in varied.aspects() {
                let gave = self.once(&Variation::only(aspect))?;
                let changes = self.changes(&before, plain, &gave)?;
                seen.single.insert(aspect, changes);
            }
        }
        self.told(attribute(seen))
    }

    /// Runs once and records what it gave.
    fn once(&mut self, variation: &Variation) -> Result<Gave> {
        let surroundings = Surroundings { phase: Phase::Trial, variation: variation.clone() };
        let on_disk = &self.builder.config.work_dir;
        let work_dir = self.memory.as_ref().filter(|_| in_memory(variation)).unwrap_or(on_disk);
        match self.builder.run_one(&self.task, &surroundings, work_dir, &self.builder.cancel.child(), self.on) {
            Ok(run) => {
                self.ran.push(interval(&run.outcome, Phase::Trial));
                self.record(&run.result)?;
                Ok(Gave::Outputs(Box::new(run.result)))
            }
            Err(Error::BuildFailed { ended, tail, .. }) => Ok(Gave::Failed(format!("{ended}\n{tail}"))),
            Err(error) => Err(error),
        }
    }

    /// The same once more is no news.
    fn record(&self, result: &ActionResult) -> Result<()> {
        let (_, trials) = self.builder.results_and_trials(&self.key, result)?;
        let known = |known: &ActionResult| known.variation == result.variation && known.outputs == result.outputs;
        if trials.len() >= TRIALS_KEPT || trials.iter().any(known) {
            return Ok(());
        }
        self.builder.record_result(&self.key, result)
    }

    fn files(&self, result: &ActionResult) -> Result<Files> {
        compare::files(&result.outputs, &self.builder.store)
    }

    /// What a run gave otherwise than the build did, by path.
    fn changes(&self, before: &Files, plain: &ActionResult, gave: &Gave) -> Result<cause::Changes> {
        match gave {
            Gave::Outputs(result) if result.outputs == plain.outputs => Ok(BTreeMap::new()),
            Gave::Outputs(result) => Ok(compare::changes(before, &self.files(result)?)),
            Gave::Failed(why) => Ok(compare::failed(why)),
        }
    }

    /// Which of these files hold the time of their run.
    fn timed(&self, one: &ActionResult, other: &ActionResult, changes: &cause::Changes) -> Result<cause::Paths> {
        let mut timed = cause::Paths::new();
        for (path, change) in changes {
            let told = compare::told(path, change, &self.builder.store)?;
            if told.ranges.iter().any(|range| clock::tells_time(range, one, other)) {
                timed.insert(path.clone());
            }
        }
        Ok(timed)
    }

    fn told(&self, causes: Vec<(Cause, String, cause::Changes)>) -> Result<Vec<Found>> {
        let (mut found, mut described) = (Vec::new(), 0);
        for (cause, because, changes) in causes {
            let more = changes.len().saturating_sub(FILES_TOLD);
            let first = changes.iter().take(FILES_TOLD);
            let files: Result<Vec<_>> =
                first.map(|(path, change)| compare::told(path, change, &self.builder.store)).collect();
            let mut files = files?;
            for file in &mut files {
                if described < FILES_DESCRIBED {
                    file.described = self.builder.described(file)?;
                    described += usize::from(file.described.is_some());
                }
            }
            found.push(Found { cause, because, files, more });
        }
        Ok(found)
    }
}

/// Most clocks that show in files count seconds, and file systems count them later: a small build may be over within one.
fn wait_for_another_time(plain: &ActionResult) {
    let other = UNIX_EPOCH + Duration::from_millis(plain.started_ms + plain.payload_ms) + ANOTHER_TIME;
    std::thread::sleep(other.duration_since(SystemTime::now()).unwrap_or_default().min(ANOTHER_TIME));
}

/// Whether a variation is one of file systems.
fn in_memory(variation: &Variation) -> bool {
    variation.changes(Aspect::FileSystem) || variation.changes(Aspect::InputOrder)
}

/// A directory in memory for the outputs of trials, where there is one and it is not what the disk is anyway.
fn memory_beside(work_dir: &Path) -> Option<PathBuf> {
    let is_memory = |path: &Path| statfs(path).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC);
    let free = statfs(MEMORY).map(|found| found.blocks_available() * u64::try_from(found.block_size()).unwrap_or(1));
    if !is_memory(Path::new(MEMORY)) || is_memory(work_dir) || free.is_ok_and(|free| free < MEMORY_FREE_MIN) {
        return None;
    }
    let dir = memory_of(work_dir);
    let mut private = std::fs::DirBuilder::new();
    match private.mode(0o700).create(&dir) {
        Ok(()) => Some(dir),
        // What is there already must be this user's, and closed to others.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => is_own(&dir).then_some(dir),
        Err(_) => None,
    }
}

/// The name is the work directory's, so that a daemon finds what an earlier one left.
fn memory_of(work_dir: &Path) -> PathBuf {
    let name = BlobDigest::of(work_dir.as_os_str().as_bytes()).hex();
    Path::new(MEMORY).join(format!("anneal-trials-{}", name.get(..16).unwrap_or(&name)))
}

fn is_own(dir: &Path) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    std::fs::symlink_metadata(dir).is_ok_and(|found| found.is_dir() && found.uid() == own && found.mode() & 0o077 == 0)
}
