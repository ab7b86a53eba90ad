//! A plan, step by step: dependencies first, several at once, and what fails holds up only what needs it.

use crate::{Builder, Error, Progress, Ran, Realised, Result};
use anneal_content::{ActionDigest, BlobDigest, DerivationId, PackageName, Version};
use anneal_plan::{BuildPlan, Derived, Inputs, Step};
use anneal_recipe::Catalog;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Condvar, Mutex, PoisonError},
};

/// A step that was done.
#[derive(Debug, Clone)]
pub struct Executed {
    /// The package.
    pub package: PackageName,
    /// Its version.
    pub version: Version,
    /// Its derivation.
    pub derivation: DerivationId,
    /// What it resolved to.
    pub action: ActionDigest,
    /// Whether the action cache had it.
    pub cached: bool,
    /// What ran for it, its test included.
    pub ran: Vec<Ran>,
}

/// A step that failed.
#[derive(Debug)]
pub struct StepFailure {
    /// The package.
    pub package: PackageName,
    /// Its derivation.
    pub derivation: DerivationId,
    /// Why.
    pub error: Error,
    /// The whole log, where there is one.
    pub log: Option<BlobDigest>,
}

struct Board {
    todo: Vec<Step>,
    running: BTreeSet<PackageName>,
    built: BTreeMap<PackageName, Realised>,
    failed: BTreeSet<PackageName>,
}

impl Board {
    /// A step whose inputs are there, or `None` while others run.
    fn take(&mut self, derived: &Derived) -> Option<Step> {
        let ready = |step: &Step| {
            let task = derived.derivations.get(&step.derivation());
            task.is_some_and(|task| task.requires.keys().all(|input| self.built.contains_key(input)))
        };
        let at = self.todo.iter().position(ready)?;
        let step = self.todo.remove(at);
        self.running.insert(step.package().clone());
        Some(step)
    }

    /// Drops what waits for a failed package.
    fn drop_dependents(&mut self, derived: &Derived) {
        loop {
            let failed = self.failed.clone();
            let lost = |step: &Step| {
                let task = derived.derivations.get(&step.derivation());
                task.is_some_and(|task| task.requires.keys().any(|input| failed.contains(input)))
            };
            let gone: Vec<_> = self.todo.iter().filter(|s| lost(s)).map(|s| s.package().clone()).collect();
            if gone.is_empty() {
                return;
            }
            self.todo.retain(|step| !gone.contains(step.package()));
            self.failed.extend(gone);
        }
    }
}

impl Builder {
    /// Carries out a plan. `done` hears of each step as it ends; the return value is what failed.
    ///
    /// Nothing outside the plan is built. A step that fails holds up those that need it and no others.
    pub fn execute(
        &self,
        catalog: &Catalog,
        derived: &Derived,
        plan: &BuildPlan,
        on: &(dyn Fn(Progress) + Sync),
        done: &(dyn Fn(Executed) + Sync),
    ) -> Result<Vec<StepFailure>> {
        let mut board =
            Board { todo: Vec::new(), running: BTreeSet::new(), built: BTreeMap::new(), failed: BTreeSet::new() };
        for step in &plan.steps {
            match step {
                Step::Reuse { package, derivation, .. } | Step::Keep { package, derivation, .. } => {
                    let realised = self.realised_one(derivation)?;
                    let realised =
                        realised.ok_or_else(|| Error::Missing { what: format!("the build of {package}") })?;
                    board.built.insert(package.clone(), realised);
                }
                Step::Build { .. } => board.todo.push(step.clone()),
                Step::Blocked { .. } => {}
            }
        }
        if !board.todo.is_empty() {
            let names: Vec<_> = board.todo.iter().map(|s| s.package().clone()).collect();
            self.root.ensure(self, on)?;
            // What can't be fetched fails again, with its own step, where it can be reported.
            for (package, error) in self.archive_sources(catalog, &names, on) {
                tracing::warn!(%package, %error, "a source could not be archived");
            }
        }
        let board = (Mutex::new(board), Condvar::new());
        let failures = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..self.config.jobs.max(1) {
                scope.spawn(|| self.work(catalog, derived, &board, &failures, on, done));
            }
        });
        let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        let built = board.0.into_inner().unwrap_or_else(PoisonError::into_inner).built;
        failures.extend(self.missing_tests(catalog, plan, &built, on, done));
        Ok(failures)
    }

    /// Runs the tests that could not run with their own step: what they need was built later, or the daemon was killed
    /// between a build and its test.
    fn missing_tests(
        &self,
        catalog: &Catalog,
        plan: &BuildPlan,
        built: &BTreeMap<PackageName, Realised>,
        on: &(dyn Fn(Progress) + Sync),
        done: &(dyn Fn(Executed) + Sync),
    ) -> Vec<StepFailure> {
        let inputs: Inputs = built.iter().map(|(name, made)| (name.clone(), made.outputs.clone())).collect();
        let mut failures = Vec::new();
        for step in &plan.steps {
            let (package, derivation) = (step.package(), step.derivation());
            let Some(realised) = built.get(package) else { continue };
            match self.test_package(catalog, package, &inputs, on) {
                Ok(ran) if ran.is_empty() => {}
                Ok(ran) => done(Executed {
                    package: package.clone(),
                    version: step.version().clone(),
                    derivation,
                    action: realised.action,
                    cached: true,
                    ran,
                }),
                Err(error) => failures.push(failure(step, error)),
            }
        }
        failures
    }

    fn work(
        &self,
        catalog: &Catalog,
        derived: &Derived,
        (board, changed): &(Mutex<Board>, Condvar),
        failures: &Mutex<Vec<StepFailure>>,
        on: &(dyn Fn(Progress) + Sync),
        done: &(dyn Fn(Executed) + Sync),
    ) {
        loop {
            let mut held = board.lock().unwrap_or_else(PoisonError::into_inner);
            let (step, built) = loop {
                if self.cancel.is_cancelled() || held.todo.is_empty() {
                    return;
                }
                if let Some(step) = held.take(derived) {
                    break (step, held.built.clone());
                }
                if held.running.is_empty() {
                    return;
                }
                held = changed.wait(held).unwrap_or_else(PoisonError::into_inner);
            };
            drop(held);
            // A step that panics must not leave the others waiting for it.
            let stepping = std::panic::AssertUnwindSafe(|| self.step(catalog, derived, &step, &built, on));
            let outcome = std::panic::catch_unwind(stepping).unwrap_or_else(|_| {
                Err(Error::Missing { what: format!("an answer for {}: it panicked", step.package()) })
            });
            let mut held = board.lock().unwrap_or_else(PoisonError::into_inner);
            held.running.remove(step.package());
            match outcome {
                Ok((executed, realised)) => {
                    held.built.insert(step.package().clone(), realised);
                    done(executed);
                }
                Err(error) => {
                    held.failed.insert(step.package().clone());
                    held.drop_dependents(derived);
                    let failure = failure(&step, error);
                    let (package, summary) = (failure.package.clone(), explain(&failure.error));
                    on(Progress::Failed { package, summary, log: failure.log });
                    failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
                }
            }
            changed.notify_all();
        }
    }

    fn step(
        &self,
        catalog: &Catalog,
        derived: &Derived,
        step: &Step,
        built: &BTreeMap<PackageName, Realised>,
        on: &(dyn Fn(Progress) + Sync),
    ) -> Result<(Executed, Realised)> {
        let (package, derivation) = (step.package(), step.derivation());
        let recipe = catalog.package(package)?;
        let missing = || Error::Missing { what: format!("derivation {derivation}") };
        let task = derived.derivations.get(&derivation).ok_or_else(missing)?;
        let inputs: Inputs = built.iter().map(|(name, made)| (name.clone(), made.outputs.clone())).collect();
        let made = self.realise(recipe, &derivation, task, &inputs, (&self.cancel, on))?;
        let mut ran = made.ran;
        let mut all = inputs;
        all.insert(package.clone(), made.realised.outputs.clone());
        ran.extend(self.test_package(catalog, package, &all, on)?);
        let executed = Executed {
            package: package.clone(),
            version: recipe.version().clone(),
            derivation,
            action: made.realised.action,
            cached: made.cached,
            ran,
        };
        Ok((executed, made.realised))
    }
}

fn failure(step: &Step, error: Error) -> StepFailure {
    let log = if let Error::BuildFailed { log, .. } = &error { Some(*log) } else { None };
    StepFailure { package: step.package().clone(), derivation: step.derivation(), error, log }
}

/// An error with everything that caused it, on one line each.
fn explain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!("\n  because {inner}"));
        cause = inner.source();
    }
    text
}
