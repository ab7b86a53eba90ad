//! Filling in what the verification suite looks at, and asking it.

use crate::{
    AssembledImage, Builder, Error, ImageRun, Phase, Ran, Realised, Result, keep::inputs_of, realise::interval,
    run_image, staging::proves,
};
use anneal_checks::{
    Finding, Image, JudgedAdvisory, Package, PlannedChange, Platform, Policy, Previous, PreviousImage, PreviousPackage,
    Role, Run, RunFacts, Scope, Subject, Tests, Trial, Verdict, VersionChange, Waiver, judge, run,
};
use anneal_content::{
    ActionDigest, ActionResult, BlobDigest, BlobSource as _, DerivationId, PackageName, TreeDigest, TreePath, Version,
    list,
};
use anneal_plan::{Action, Derived, Inputs};
use anneal_recipe::{Catalog, Expectation, ImageRecipe};
use anneal_sandbox::{Confinement, Ended, Outcome};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// What is known beside the image itself.
#[derive(Debug, Clone, Default)]
pub struct ExamineInput {
    /// The last publication: its manifest, its configuration's digest, its packages.
    pub previous: Option<PreviousRelease>,
    /// Advisories judged against the versions in this image.
    pub advisories: Vec<JudgedAdvisory>,
    /// What the plan said would change.
    pub planned: Option<PlannedChange>,
}

/// The last publication of an image.
#[derive(Debug, Clone)]
pub struct PreviousRelease {
    /// Its manifest.
    pub manifest: BlobDigest,
    /// Its packages: version, runtime output, and how the version compares with the one now.
    pub packages: BTreeMap<PackageName, (Version, TreeDigest, VersionChange)>,
}

/// What came of an examination.
#[derive(Debug, Clone)]
pub struct Examination {
    /// Everything that the checks said.
    pub findings: Vec<Finding>,
    /// What policy makes of it.
    pub verdict: Verdict,
    /// The SBOM that was checked, and will be signed.
    pub sbom: BlobDigest,
    /// What ran for it.
    pub ran: Vec<Ran>,
}

impl Builder {
    /// Checks an assembled image.
    pub fn examine(
        &self,
        catalog: &Catalog,
        derived: &Derived,
        image: &AssembledImage,
        built: &BTreeMap<DerivationId, Realised>,
        input: &ExamineInput,
    ) -> Result<Examination> {
        let recipe = catalog.image(&image.name)?;
        let sbom = self.sbom(catalog, image)?;
        let sbom_digest = self.store.put_blob(&sbom)?;
        let own = self.own_entries(recipe)?;
        let (run_facts, mut ran) = self.run_check(recipe, image)?;
        let all = inputs_of(derived, built);
        ran.extend(self.forgotten_tests(catalog, image, &all)?);
        let subject = Subject {
            platform: Platform { os: "linux".into(), architecture: "amd64".into() },
            packages: self.package_facts(catalog, derived, image, built, &all)?,
            image: Some(Image {
                name: image.name.clone(),
                manifest: self.small_blob(&image.manifest)?,
                config: self.small_blob(&image.config)?,
                epoch_secs: image.epoch_secs,
                layer_budget: usize::from(recipe.layer_budget) + 1,
                own_paths: with_parents(own.iter().map(|entry| entry.path.clone())),
                sbom: Some(sbom),
                run: run_facts,
            }),
            previous: self.previous_facts(input.previous.as_ref())?,
            plan: input.planned.clone(),
            advisories: input.advisories.clone(),
            known_bad: BTreeSet::new(),
        };
        let findings = run(&subject, &self.store)?;
        let verdict = judge(&findings, &policy(catalog, recipe, image)?);
        Ok(Examination { findings, verdict, sbom: sbom_digest, ran })
    }

    fn small_blob(&self, digest: &BlobDigest) -> Result<Vec<u8>> {
        self.store.read(digest).map_err(|source| anneal_content::Error::Read { digest: *digest, source }.into())
    }

    fn package_facts(
        &self,
        catalog: &Catalog,
        derived: &Derived,
        image: &AssembledImage,
        built: &BTreeMap<DerivationId, Realised>,
        all: &Inputs,
    ) -> Result<Vec<Package>> {
        let mut packages = Vec::new();
        for (name, (version, id, tree)) in &image.packages {
            let recipe = catalog.package(name)?;
            let realised = built.get(id).ok_or_else(|| Error::Missing { what: format!("the build of {name}") })?;
            let (results, trials) = self.results_of(derived, id, &realised.action, all)?;
            let trial = |result: ActionResult| Trial { varied: result.variation, outputs: result.outputs };
            packages.push(Package {
                name: name.clone(),
                version: version.clone(),
                licence: recipe.license.to_string(),
                purl: crate::evidence::purl(recipe),
                role: Role::Checked,
                entries: list(tree, &self.store)?,
                builds: results.into_iter().map(|result| result.outputs).collect(),
                trials: trials.into_iter().map(trial).collect(),
                tests: self.tests(catalog, name, all)?,
            });
        }
        Ok(packages)
    }

    /// The results of a build with its repetitions, and of its trials; of a kept build those of its proof, too.
    fn results_of(
        &self,
        derived: &Derived,
        id: &DerivationId,
        action: &ActionDigest,
        all: &Inputs,
    ) -> Result<(Vec<ActionResult>, Vec<ActionResult>)> {
        let Some(plain) = self.plain_result(action)? else { return Ok((Vec::new(), Vec::new())) };
        let (results, mut trials) = self.results_and_trials(action, &plain)?;
        if let Some(derivation) = derived.derivations.get(id)
            && let Ok(mounted) = derivation.mounts(all)
            && plain.built_with != mounted
        {
            let proof = Action::by_content(derivation, &mounted).digest()?;
            let proved = self.results(&proof)?.into_iter().filter(|r| !r.variation.is_empty() && !proves(r));
            trials.extend(proved);
        }
        Ok((results, trials))
    }

    /// Runs the tests that nothing is known of any more: what they said goes with a catalogue that is no longer active,
    /// and an image that was kept comes back without a build.
    fn forgotten_tests(&self, catalog: &Catalog, image: &AssembledImage, all: &Inputs) -> Result<Vec<Ran>> {
        let mut ran = Vec::new();
        for name in image.packages.keys() {
            if self.test_record(catalog, name, all)?.is_none() {
                ran.extend(self.test_package(catalog, name, all, &|_| {})?);
            }
        }
        Ok(ran)
    }

    fn tests(&self, catalog: &Catalog, name: &PackageName, all: &Inputs) -> Result<Tests> {
        let steps = catalog.package(name)?.test.steps.len();
        if steps == 0 {
            return Ok(Tests::None);
        }
        Ok(match self.test_record(catalog, name, all)? {
            None => Tests::NotRun { why: "something that they need is not built".into() },
            Some(record) if record.passed => Tests::Passed { steps },
            Some(record) => Tests::Failed { summary: record.summary },
        })
    }

    fn previous_facts(&self, previous: Option<&PreviousRelease>) -> Result<Option<Previous>> {
        let Some(previous) = previous else { return Ok(None) };
        let manifest = self.small_blob(&previous.manifest)?;
        let config = anneal_oci::ImageManifest::parse(&manifest)?.config.digest;
        let mut packages = Vec::new();
        for (name, (version, tree, now)) in &previous.packages {
            let entries = list(tree, &self.store)?;
            packages.push(PreviousPackage { name: name.clone(), version: version.clone(), entries, now: now.clone() });
        }
        let image = PreviousImage { manifest, config: self.small_blob(&config)? };
        Ok(Some(Previous { image: Some(image), packages }))
    }

    /// The directories that make up an image's root: its packages' trees and its own files.
    fn root_dirs(&self, recipe: &ImageRecipe, image: &AssembledImage) -> Result<Vec<PathBuf>> {
        let own = crate::layout::tree_of(&crate::layout::readable(self.own_entries(recipe)?), &self.store)?;
        let mut dirs = vec![self.materialized(&own)?];
        for (_, _, tree) in image.packages.values() {
            dirs.push(self.materialized(tree)?);
        }
        Ok(dirs)
    }

    fn run_check(&self, recipe: &ImageRecipe, image: &AssembledImage) -> Result<(Run, Vec<Ran>)> {
        let (Some(check), Some(how)) = (&recipe.run, ImageRun::of(recipe)) else {
            let silent = recipe.entrypoint.is_empty() && recipe.cmd.is_empty();
            let why = "the recipe has no [run], so nothing shows that the image works".to_owned();
            return Ok((if silent { Run::NothingToRun } else { Run::NotRun { why } }, Vec::new()));
        };
        let mut log = Vec::new();
        let outcome = match run_image(self.root_dirs(recipe, image)?, &how, &self.sandboxes, &mut log, &self.cancel) {
            Ok(outcome) => outcome,
            Err(error) => return Ok((Run::NotRun { why: error.to_string() }, Vec::new())),
        };
        let ran = interval(&outcome, Phase::Test);
        Ok((Run::Ran(run_facts(&how, &check.expect, &outcome, &log)), vec![ran]))
    }
}

fn run_facts(how: &ImageRun, expect: &Expectation, outcome: &Outcome, log: &[u8]) -> RunFacts {
    let (expected_exit, output_contains, http) = match expect {
        Expectation::Http { port, path, status } => {
            let status_seen = outcome.probe.as_ref().map(|probe| probe.status);
            let request = format!(":{port}{path}");
            let facts = anneal_checks::HttpFacts { request, expected_status: *status, status: status_seen };
            (None, None, Some(facts))
        }
        Expectation::Exits { status, stdout_contains } => {
            let text = String::from_utf8_lossy(log);
            let contains = stdout_contains.as_ref().map(|wanted| (wanted.clone(), text.contains(wanted.as_str())));
            (Some(i32::from(*status)), contains, None)
        }
    };
    // What was not seen does not hold.
    let seen = |fact: fn(&Confinement) -> bool| outcome.confinement.as_ref().is_some_and(fact);
    RunFacts {
        argv: how.argv.clone(),
        ended: outcome.ended.to_string(),
        started: outcome.exec_ns > 0,
        stopped_cleanly: http.as_ref().map(|_| outcome.probe.as_ref().is_some_and(|probe| probe.stopped_cleanly)),
        exit_status: if let Ended::Exited(code) = outcome.ended { Some(code) } else { None },
        expected_exit,
        http,
        output_contains,
        read_only_root: seen(|held| held.read_only_root),
        no_capabilities: seen(|held| held.no_capabilities),
        no_new_privileges: seen(|held| held.no_new_privileges),
        user: outcome.confinement.map_or_else(|| "unknown".into(), |held| format!("{}:{}", held.uid, held.gid)),
    }
}

fn with_parents(paths: impl Iterator<Item = TreePath>) -> BTreeSet<TreePath> {
    let mut all = BTreeSet::new();
    for path in paths {
        let mut next = Some(path);
        while let Some(path) = next {
            next = path.parent();
            all.insert(path);
        }
    }
    all
}

fn policy(catalog: &Catalog, recipe: &ImageRecipe, image: &AssembledImage) -> Result<Policy> {
    let mut waivers = Vec::new();
    for name in image.packages.keys() {
        let allowed = &catalog.package(name)?.allow;
        let scoped = allowed.iter().map(|w| (w, Scope::Package(name.clone())));
        waivers.extend(scoped.map(|(w, scope)| Waiver { check: w.check.clone(), scope, reason: w.reason.clone() }));
    }
    for w in &recipe.allow {
        let scope = Scope::Image(recipe.name.clone());
        waivers.push(Waiver { check: w.check.clone(), scope, reason: w.reason.clone() });
    }
    Ok(Policy::new(waivers)?)
}
