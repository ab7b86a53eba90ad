//! One package: from a derivation to its outputs.
//!
//! The build and its repetition run side by side, each in a sandbox of its own with as many CPUs as the recipe asks for,
//! so that a release never waits for a proof afterwards (`docs/decisions/0002`). Both results are recorded; a
//! difference is kept, reported by the checks and blocks the release.

use crate::{
    Builder, Error, Phase, Progress, Ran, Realised, Result,
    builder::repeated,
    error::io,
    failing_step::FailingStep,
    keep::Resolved,
    script,
    staging::{Allowance, Stage, Surroundings, proves},
};
use anneal_content::{ActionDigest, ActionResult, BlobDigest, DerivationId, PackageName};
use anneal_plan::{Action, Derivation, Inputs};
use anneal_recipe::PackageRecipe;
use anneal_sandbox::{CancelToken, Ended, Outcome};
use anneal_store::IngestRules;
use std::{
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What realising one package gave.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) realised: Realised,
    pub(crate) cached: bool,
    pub(crate) ran: Vec<Ran>,
}

/// How many lines of a failed build's log are shown.
const TAIL_LINES: usize = 40;
/// How long a line of them may be.
const TAIL_LINE_CHARS: usize = 400;

pub(crate) struct Run {
    pub(crate) result: ActionResult,
    pub(crate) outcome: Outcome,
}

/// What every run of one action is given.
pub(crate) struct Task<'a> {
    pub(crate) recipe: &'a PackageRecipe,
    pub(crate) action: &'a Action,
    pub(crate) mounted: &'a Inputs,
    pub(crate) sources: PathBuf,
    pub(crate) sysroot: Vec<PathBuf>,
}

impl Builder {
    /// Makes sure that a derivation is built, its inputs being given.
    pub(crate) fn realise(
        &self,
        recipe: &PackageRecipe,
        id: &DerivationId,
        derivation: &Derivation,
        inputs: &Inputs,
        (cancel, on): (&CancelToken, &(dyn Fn(Progress) + Sync)),
    ) -> Result<Made> {
        let resolved = self.resolve(derivation, inputs)?;
        let key = resolved.action.digest()?;
        let missing = missing_phases(&self.whole_results(&key)?, &resolved.mounted);
        let mut ran = Vec::new();
        if !missing.is_empty() {
            for source in &recipe.selected().sources {
                self.archive(recipe.name.as_str(), source, on)?;
            }
            ran = self.run_all(recipe, &resolved, &key, &missing, (cancel, on))?;
        }
        let plain = self.plain_result(&key)?;
        let plain = plain.ok_or_else(|| Error::Missing { what: format!("the result of {}", recipe.name) })?;
        let (results, trials) = self.results_and_trials(&key, &plain)?;
        let reproducible = results.iter().chain(&trials).all(|r| r.outputs == plain.outputs);
        self.remember(id, &key)?;
        let (package, version) = (recipe.name.clone(), recipe.version().clone());
        on(Progress::Built { package, version, cached: missing.is_empty(), reproducible, ran: ran.clone() });
        let realised = Realised { action: key, outputs: plain.outputs };
        Ok(Made { realised, cached: missing.is_empty(), ran })
    }

    fn run_all(
        &self,
        recipe: &PackageRecipe,
        resolved: &Resolved,
        key: &ActionDigest,
        phases: &[Phase],
        (cancel, on): (&CancelToken, &(dyn Fn(Progress) + Sync)),
    ) -> Result<Vec<Ran>> {
        let task = self.task(recipe, &resolved.action, &resolved.mounted)?;
        let cancel = cancel.child();
        let results: Vec<Result<Run>> = std::thread::scope(|scope| {
            let start = |phase: Phase| {
                let (task, cancel) = (&task, &cancel);
                scope.spawn(move || {
                    let run = self.run_one(task, &Surroundings::of(phase), &self.config.work_dir, cancel, on);
                    if run.is_err() {
                        cancel.cancel();
                    }
                    run
                })
            };
            let threads: Vec<_> = phases.iter().map(|v| start(*v)).collect();
            threads.into_iter().filter_map(|t| t.join().ok()).collect()
        });
        let mut ran = Vec::new();
        let mut first_error = None;
        for (run, phase) in results.into_iter().zip(phases) {
            match run {
                Ok(run) => {
                    self.record_result(key, &run.result)?;
                    ran.push(interval(&run.outcome, *phase));
                }
                // The other run's own failure says more than its cancellation.
                Err(error) if matches!(error, Error::Cancelled { .. }) => first_error = first_error.or(Some(error)),
                Err(error) => {
                    if !matches!(first_error, Some(Error::BuildFailed { .. })) {
                        first_error = Some(error);
                    }
                }
            }
        }
        first_error.map_or(Ok(ran), Err)
    }

    /// The inputs of an action as directories.
    pub(crate) fn task<'a>(
        &self,
        recipe: &'a PackageRecipe,
        action: &'a Action,
        mounted: &'a Inputs,
    ) -> Result<Task<'a>> {
        let (sources, sysroot) = (self.source_dir(&action.sources)?, self.sysroot_dirs(mounted)?);
        Ok(Task { recipe, action, mounted, sources, sysroot })
    }

    /// One run, with its outputs beneath `work_dir` until they are in the store.
    pub(crate) fn run_one(
        &self,
        task: &Task<'_>,
        surroundings: &Surroundings,
        work_dir: &Path,
        cancel: &CancelToken,
        on: &(dyn Fn(Progress) + Sync),
    ) -> Result<Run> {
        let Task { recipe, action, mounted, sources, sysroot } = task;
        let place = WorkPlace::new(work_dir)?;
        let phase = surroundings.phase;
        // A trial may have fewer processors than the recipe asks for.
        let patience = if phase == Phase::Trial { 2 } else { 1 };
        let stage = Stage {
            sources,
            sysroot,
            out: Some(&place.out),
            script: script::build_script(action),
            env: script::environment(action.epoch, action.cpus, &action.env),
            allowance: Allowance {
                wall: Duration::from_secs(60 * patience * u64::from(recipe.build.timeout_minutes)),
                memory_bytes: u64::from(recipe.build.memory_mib) << 20,
                cpus: action.cpus,
            },
            variation: &surroundings.variation,
        };
        let spec = self.work_spec(&stage)?;
        let (package, version) = (recipe.name.clone(), recipe.version().clone());
        on(Progress::Started { package, version, phase });
        let mut log = self.store.writer()?;
        let mut tail = Tail::default();
        let mut both = Both(&mut log, &mut tail);
        let outcome = anneal_sandbox::run(&spec, &mut both, cancel)?;
        list_refused(&outcome, &mut both).map_err(io("write", "the build's log"))?;
        let (log, _) = log.commit()?;
        match outcome.ended {
            Ended::Exited(0) => {}
            Ended::Cancelled => return Err(Error::Cancelled { package: recipe.name.clone() }),
            ended => return Err(build_failed(&recipe.name, tail.step.tell(&ended.to_string()), &tail, log)),
        }
        let classify = |path: &_, is_symlink| anneal_recipe::split_outputs(recipe, path, is_symlink);
        let outputs = self
            .store
            .ingest_split(&place.out, &output_rules(), &classify)
            .map_err(|e| build_failed(&recipe.name, format!("after its last step: {e}"), &tail, log))?;
        let result = ActionResult {
            outputs,
            log,
            worker: self.config.worker.clone(),
            started_ms: outcome.started_ms,
            payload_ms: (outcome.exit_ns.saturating_sub(outcome.exec_ns)) / 1_000_000,
            limits_not_enforced: outcome.limits_not_enforced.clone(),
            variation: surroundings.differences(),
            built_with: (*mounted).clone(),
        };
        Ok(Run { result, outcome })
    }
}

/// What must run before an action has a result that may be used: a build and its repetition, with the same inputs.
fn missing_phases(known: &[ActionResult], mounted: &Inputs) -> Vec<Phase> {
    if repeated(known).is_some() {
        return Vec::new();
    }
    let has = |is_it: &dyn Fn(&ActionResult) -> bool| known.iter().any(|r| is_it(r) && r.built_with == *mounted);
    let mut missing = Vec::new();
    if !has(&|result| result.variation.is_empty()) {
        missing.push(Phase::Build);
    }
    if !has(&proves) {
        missing.push(Phase::Proof);
    }
    missing
}

/// The most that one package may be.
const OUTPUT_BYTES_MAX: u64 = 8 << 30;
/// The largest file of a package.
const OUTPUT_FILE_BYTES_MAX: u64 = 2 << 30;

fn output_rules() -> IngestRules {
    IngestRules {
        bytes_max: OUTPUT_BYTES_MAX,
        file_bytes_max: OUTPUT_FILE_BYTES_MAX,
        group_writes: false,
        ..IngestRules::default()
    }
}

/// Ends a log with what the sandbox refused, so that a build that reached for the network is seen to have done so.
fn list_refused(outcome: &Outcome, log: &mut dyn std::io::Write) -> std::io::Result<()> {
    for attempt in &outcome.refused {
        writeln!(log, "anneal: refused {attempt}")?;
    }
    if outcome.refused_more {
        writeln!(log, "anneal: refused more than is listed")?;
    }
    Ok(())
}

/// When a sandbox's own process ran.
pub(crate) fn interval(outcome: &Outcome, phase: Phase) -> Ran {
    let ran_ms = outcome.exit_ns.saturating_sub(outcome.exec_ns) / 1_000_000;
    Ran { phase, start_ms: outcome.started_ms, end_ms: outcome.started_ms + ran_ms }
}

fn build_failed(package: &PackageName, ended: String, tail: &Tail, log: BlobDigest) -> Error {
    Error::BuildFailed { package: package.clone(), ended, tail: tail.text(), log }
}

/// A directory for one run, gone when it is over.
pub(crate) struct WorkPlace {
    dir: PathBuf,
    pub(crate) out: PathBuf,
}

static NEXT_PLACE: AtomicU64 = AtomicU64::new(0);

impl WorkPlace {
    pub(crate) fn new(work_dir: &Path) -> Result<Self> {
        let number = NEXT_PLACE.fetch_add(1, Ordering::Relaxed);
        let dir = work_dir.join(format!("{}-{number}", std::process::id()));
        std::fs::create_dir_all(work_dir).map_err(io("create", work_dir))?;
        // Nobody's before, and nobody else's to look into: what is there already is not this run's.
        let mut private = std::fs::DirBuilder::new();
        private.mode(0o700).create(&dir).map_err(io("create", &dir))?;
        let place = Self { out: dir.join("out"), dir };
        std::fs::create_dir(&place.out).map_err(io("create", &place.out))?;
        Ok(place)
    }

    /// A second directory that a payload may write to.
    pub(crate) fn input(&self) -> Result<PathBuf> {
        let dir = self.dir.join("input");
        match std::fs::create_dir(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(io("create", &dir)(error)),
            _ => Ok(dir),
        }
    }
}

impl Drop for WorkPlace {
    fn drop(&mut self) {
        if let Err(error) = anneal_sandbox::remove_tree(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "a work directory was left behind");
        }
    }
}

/// Keeps the last lines of a log for the error message.
#[derive(Default)]
pub(crate) struct Tail {
    pub(crate) step: FailingStep,
    bytes: std::collections::VecDeque<u8>,
}

impl Tail {
    pub(crate) fn text(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        let shown = |line: &&str| {
            let clean: String =
                line.chars().take(TAIL_LINE_CHARS).map(|c| if c.is_control() { '\u{b7}' } else { c }).collect();
            format!("  | {clean}\n")
        };
        lines.get(from..).unwrap_or_default().iter().map(shown).collect()
    }
}

impl std::io::Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.step.see(bytes);
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(TAIL_LINES * TAIL_LINE_CHARS);
        self.bytes.drain(..excess);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes to the log and to its tail.
pub(crate) struct Both<'a, A, B>(pub(crate) &'a mut A, pub(crate) &'a mut B);

impl<A: std::io::Write, B: std::io::Write> std::io::Write for Both<'_, A, B> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write_all(bytes)?;
        self.1.write_all(bytes)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_content::{OutputName, TreeDigest};

    fn library(content: u8) -> Inputs {
        let tree = TreeDigest::from_bytes([content; 32]);
        Inputs::from([(PackageName::new("zlib").unwrap(), [(OutputName::out(), tree)].into())])
    }

    /// A run for this phase with this library.
    fn ran(phase: Phase, with: u8) -> ActionResult {
        ActionResult {
            outputs: [].into(),
            log: BlobDigest::of(b"log"),
            worker: "a test".to_owned(),
            started_ms: 0,
            payload_ms: 0,
            limits_not_enforced: Vec::new(),
            variation: Surroundings::of(phase).differences(),
            built_with: library(with),
        }
    }

    #[test]
    fn a_build_counts_with_its_repetition_whatever_the_library_is_now() {
        let whole = [ran(Phase::Build, 1), ran(Phase::Proof, 1)];
        assert_eq!(missing_phases(&whole, &library(1)), []);
        assert_eq!(missing_phases(&whole, &library(2)), [], "that is what keeping is");
    }

    #[test]
    fn a_build_with_one_library_is_never_repeated_with_another() {
        let both = [Phase::Build, Phase::Proof];
        assert_eq!(missing_phases(&[], &library(1)), both);
        assert_eq!(missing_phases(&[ran(Phase::Build, 1)], &library(1)), [Phase::Proof]);
        assert_eq!(missing_phases(&[ran(Phase::Build, 1)], &library(2)), both);
        assert_eq!(missing_phases(&[ran(Phase::Build, 1), ran(Phase::Proof, 2)], &library(2)), [Phase::Build]);
        assert_eq!(missing_phases(&[ran(Phase::Trial, 1), ran(Phase::Proof, 1)], &library(1)), [Phase::Build]);
    }
}
