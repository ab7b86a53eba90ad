//! A package's own tests, run once for each thing that they see.

use crate::{
    Builder, Phase, Progress, Ran, Result,
    realise::{Both, Tail, interval},
    script,
    staging::{Allowance, Stage},
};
use anneal_content::{BlobDigest, OutputName, PackageName};
use anneal_plan::{Derived, Inputs, test_key};
use anneal_recipe::{Catalog, PackageRecipe};
use anneal_sandbox::{Ended, Variation};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// What became of a package's tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TestRecord {
    pub(crate) passed: bool,
    pub(crate) summary: String,
    pub(crate) log: BlobDigest,
}

/// Tests of a package that did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTest {
    /// Which step of them ended how, and the last lines of their log.
    pub summary: String,
    /// The whole log.
    pub log: BlobDigest,
}

pub(crate) const TESTED: &str = "tested";
const TEST_WALL: Duration = Duration::from_secs(15 * 60);
const TEST_MEMORY: u64 = 2 << 30;

/// What a package's tests see: its own and its dependencies' outputs, as far as they are built.
fn test_inputs(catalog: &Catalog, package: &PackageName, built: &Inputs) -> Result<Option<Inputs>> {
    let mut inputs = Inputs::new();
    for name in catalog.test_sysroot(package)? {
        let Some(outputs) = built.get(&name) else { return Ok(None) };
        let seen: BTreeMap<_, _> =
            outputs.iter().filter(|(o, _)| **o != OutputName::doc()).map(|(o, t)| (o.clone(), *t)).collect();
        inputs.insert(name, seen);
    }
    Ok(Some(inputs))
}

impl Builder {
    /// Runs a package's tests unless they ran before or something that they need is not built yet.
    pub(crate) fn test_package(
        &self,
        catalog: &Catalog,
        package: &PackageName,
        built: &Inputs,
        on: &(dyn Fn(Progress) + Sync),
    ) -> Result<Vec<Ran>> {
        let recipe = catalog.package(package)?;
        // A test that failed is tried again with the next build: a limit or the host may have been at fault.
        let passed = self.test_record(catalog, package, built)?.is_some_and(|test| test.passed);
        if recipe.test.steps.is_empty() || passed {
            return Ok(Vec::new());
        }
        let Some(inputs) = test_inputs(catalog, package, built)? else { return Ok(Vec::new()) };
        let key = test_key(&recipe.test.steps, &inputs, self.root.digest(), crate::SANDBOX_PROFILE)?;
        self.root.ensure(self, on)?;
        on(Progress::Started { package: package.clone(), version: recipe.version().clone(), phase: Phase::Test });
        let (record, ran) = self.run_test(recipe, &inputs)?;
        on(Progress::Tested { package: package.clone(), passed: record.passed });
        self.store.put_record(TESTED, &key.to_string(), &serde_json::to_vec(&record).unwrap_or_default())?;
        Ok(vec![ran])
    }

    /// What is known of a package's tests at these inputs.
    pub(crate) fn test_record(
        &self,
        catalog: &Catalog,
        package: &PackageName,
        built: &Inputs,
    ) -> Result<Option<TestRecord>> {
        let recipe = catalog.package(package)?;
        let Some(inputs) = test_inputs(catalog, package, built)? else { return Ok(None) };
        let key = test_key(&recipe.test.steps, &inputs, self.root.digest(), crate::SANDBOX_PROFILE)?;
        let bytes = self.store.record(TESTED, &key.to_string())?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// What a package's tests said if they did not pass with what is built of a catalogue.
    pub fn failed_test(
        &self,
        catalog: &Catalog,
        derived: &Derived,
        package: &PackageName,
    ) -> Result<Option<FailedTest>> {
        let built = self.realised(derived)?;
        let outputs = |name: &PackageName| Some((name.clone(), built.get(derived.ids.get(name)?)?.outputs.clone()));
        let built: Inputs = derived.ids.keys().filter_map(outputs).collect();
        let record = self.test_record(catalog, package, &built)?;
        Ok(record.filter(|test| !test.passed).map(|TestRecord { summary, log, .. }| FailedTest { summary, log }))
    }

    fn run_test(&self, recipe: &PackageRecipe, inputs: &Inputs) -> Result<(TestRecord, Ran)> {
        let sysroot = self.sysroot_dirs(inputs)?;
        let sources = self.source_dir(&[])?;
        let stage = Stage {
            sources: &sources,
            sysroot: &sysroot,
            out: None,
            script: script::steps_script(script::BUILD, &recipe.test.steps),
            env: script::environment(recipe.selected().date.epoch_secs(), recipe.build.cpus, &BTreeMap::new()),
            allowance: Allowance { wall: TEST_WALL, memory_bytes: TEST_MEMORY, cpus: recipe.build.cpus },
            variation: &Variation::default(),
        };
        let spec = self.work_spec(&stage)?;
        let (mut log, mut tail) = (self.store.writer()?, Tail::default());
        let outcome = self.sandboxes.run(&spec, &mut Both(&mut log, &mut tail), &self.cancel)?;
        let (log, _) = log.commit()?;
        if outcome.ended == Ended::Cancelled {
            return Err(crate::Error::Cancelled { package: recipe.name.clone() });
        }
        let passed = outcome.ended == Ended::Exited(0);
        let ended = tail.step.tell(&outcome.ended.to_string());
        let summary = if passed { String::new() } else { format!("{ended}\n{}", tail.text()) };
        Ok((TestRecord { passed, summary, log }, interval(&outcome, Phase::Test)))
    }
}
