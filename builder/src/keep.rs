//! Builds that are kept though a library they link came out otherwise: how an action is keyed by what a dependent can see,
//! which builds were kept by it, and the build that proves it of one.
//!
//! ```text
//! mounted outputs --Interface::of--> Surfaces --Action::of--> the key; its former result may be of other libraries
//!     ActionResult.built_with is not what is mounted now ──▶ kept
//!     the action by content, built once ──▶ the same outputs: proved. Others, or none: the cut-off is withdrawn
//! ```
//! A surface is computed from the bytes by whoever uses it: a record of one would be believed and is signed by nobody.

use crate::{Builder, Error, Phase, Progress, Ran, Realised, Result, realise::interval, staging::Surroundings};
use anneal_content::{
    ActionDigest, ActionResult, DerivationId, InterfaceDigest, OutputName, PackageName, TreeDigest, Version,
};
use anneal_interface::Interface;
use anneal_plan::{Action, Derivation, Derived, Given, Inputs, Surface, Surfaces};
use anneal_recipe::{Catalog, PackageRecipe};
use anneal_sandbox::CancelToken;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Outputs of one package.
type Outputs = BTreeMap<OutputName, TreeDigest>;

/// Surfaces that were computed since the start; trees don't change.
#[derive(Debug, Default)]
pub(crate) struct KnownSurfaces(Mutex<BTreeMap<Outputs, Surface>>);

/// An action with what stands at its `/sysroot`.
pub(crate) struct Resolved {
    pub(crate) action: Action,
    pub(crate) mounted: Inputs,
}

/// A package whose former build is used with libraries that it was not built with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The package.
    pub package: PackageName,
    /// Its version.
    pub version: Version,
    /// Its derivation.
    pub derivation: DerivationId,
    /// The action, of which the former result is used.
    pub action: ActionDigest,
    /// The libraries.
    pub linked: BTreeMap<PackageName, Linked>,
}

/// A library that came out otherwise since a kept build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// What a dependent sees of it, then and now.
    pub interface: InterfaceDigest,
    /// What the kept build was really built with.
    pub built_with: Outputs,
    /// What it would be built with now.
    pub now: Outputs,
}

/// What came of building a kept package with the libraries as they are now.
#[derive(Debug, Clone)]
pub struct KeptProof {
    /// The action by content that was built.
    pub action: ActionDigest,
    /// Why it is not the kept build: the outputs that differ, or how the build ended. None: it is, every bit of it.
    pub differs: Option<String>,
    /// What ran for it.
    pub ran: Vec<Ran>,
}

impl Builder {
    /// The action of a derivation whose inputs are built, and what it is given.
    pub(crate) fn resolve(&self, derivation: &Derivation, inputs: &Inputs) -> Result<Resolved> {
        let mounted = derivation.mounts(inputs)?;
        let surfaces = self.surfaces(&mounted);
        Ok(Resolved { action: Action::of(derivation, &mounted, &surfaces), mounted })
    }

    /// What can be seen of each package. One that can't be read has no surface, and so counts with its content.
    fn surfaces(&self, mounted: &Inputs) -> Surfaces {
        let mut surfaces = Surfaces::new();
        for (name, outputs) in mounted {
            match self.surface(outputs) {
                Ok(surface) => drop(surfaces.insert(name.clone(), surface)),
                Err(error) => tracing::warn!(package = %name, %error, "its interface is not known"),
            }
        }
        surfaces
    }

    fn surface(&self, outputs: &Outputs) -> anneal_interface::Result<Surface> {
        let known = |surfaces: &BTreeMap<Outputs, Surface>| surfaces.get(outputs).copied();
        if let Some(surface) = known(&self.surfaces.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(surface);
        }
        let interface = Interface::of(outputs, &self.store)?;
        let surface = Surface { interface: interface.digest()?, has_executables: !interface.executables().is_empty() };
        self.surfaces.0.lock().unwrap_or_else(PoisonError::into_inner).insert(outputs.clone(), surface);
        Ok(surface)
    }

    /// The builds of these derivations that are kept: those that were not built with what their inputs are now.
    pub fn kept<'d>(
        &self,
        derived: &Derived,
        wanted: impl IntoIterator<Item = &'d DerivationId>,
        built: &BTreeMap<DerivationId, Realised>,
    ) -> Result<Vec<Kept>> {
        let mut kept = Vec::new();
        for id in wanted {
            if let (Some(derivation), Some(realised)) = (derived.derivations.get(id), built.get(id)) {
                kept.extend(self.kept_one(id, derivation, &realised.action, &inputs_for(derivation, built))?);
            }
        }
        Ok(kept)
    }

    fn kept_one(
        &self,
        id: &DerivationId,
        derivation: &Derivation,
        action: &ActionDigest,
        inputs: &Inputs,
    ) -> Result<Option<Kept>> {
        // What it was built with is not there any more, or not yet again.
        let Ok(mounted) = derivation.mounts(inputs) else { return Ok(None) };
        let Some(result) = self.plain_result(action)? else { return Ok(None) };
        if result.built_with == mounted {
            return Ok(None);
        }
        let resolved = self.resolve(derivation, inputs)?;
        if resolved.action.digest()? != *action {
            return Ok(None);
        }
        let linked = linked(&resolved, &result);
        let (package, version) = (derivation.name.clone(), derivation.version.clone());
        Ok(Some(Kept { package, version, derivation: *id, action: *action, linked }))
    }

    /// Builds a kept package once with its inputs as they are now, and compares.
    pub fn prove_kept(
        &self,
        catalog: &Catalog,
        derived: &Derived,
        id: &DerivationId,
        built: &BTreeMap<DerivationId, Realised>,
        cancel: &CancelToken,
        on: &(dyn Fn(Progress) + Sync),
    ) -> Result<KeptProof> {
        let missing = |what: &str| Error::Missing { what: format!("{what} of derivation {id}") };
        let derivation = derived.derivations.get(id).ok_or_else(|| missing("the package"))?;
        let realised = built.get(id).ok_or_else(|| missing("the build"))?;
        let recipe = catalog.package(&derivation.name)?;
        let mounted = derivation.mounts(&inputs_for(derivation, built))?;
        let action = Action::by_content(derivation, &mounted);
        let key = action.digest()?;
        let mut ran = Vec::new();
        let mut build = || self.plain_build(recipe, &action, &mounted, (cancel, on), &mut ran);
        // What fails once may have been the machine; the withdrawal is for good.
        let built = match build() {
            Err(Error::BuildFailed { .. }) => build(),
            built => built,
        };
        let differs = match built {
            Ok(result) => differing(&realised.outputs, &result.outputs),
            Err(Error::BuildFailed { ended, tail, .. }) => Some(format!("it does not build, twice: {ended}\n{tail}")),
            Err(error) => return Err(error),
        };
        Ok(KeptProof { action: key, differs, ran })
    }

    /// The result of an action by content: the one that is known, else of one build.
    pub(crate) fn plain_build(
        &self,
        recipe: &PackageRecipe,
        action: &Action,
        mounted: &Inputs,
        (cancel, on): (&CancelToken, &(dyn Fn(Progress) + Sync)),
        ran: &mut Vec<Ran>,
    ) -> Result<ActionResult> {
        let key = action.digest()?;
        if let Some(known) = self.whole_results(&key)?.into_iter().find(|result| result.variation.is_empty()) {
            return Ok(known);
        }
        self.root.ensure(self, on)?;
        for source in &recipe.selected().sources {
            self.archive(recipe.name.as_str(), source, on)?;
        }
        let task = self.task(recipe, action, mounted)?;
        let run = self.run_one(&task, &Surroundings::of(Phase::Kept), &self.config.work_dir, cancel, on)?;
        self.record_result(&key, &run.result)?;
        ran.push(interval(&run.outcome, Phase::Kept));
        Ok(run.result)
    }
}

/// What the inputs of a build came out as, by the derivations that it names: one that is swapped in was built with others
/// than those of its catalogue.
pub(crate) fn inputs_for(derivation: &Derivation, built: &BTreeMap<DerivationId, Realised>) -> Inputs {
    let outputs = |id: &DerivationId| built.get(id).map(|realised| realised.outputs.clone());
    derivation.requires.iter().filter_map(|(name, input)| Some((name.clone(), outputs(&input.derivation)?))).collect()
}

/// What each package came out as.
pub(crate) fn inputs_of(derived: &Derived, built: &BTreeMap<DerivationId, Realised>) -> Inputs {
    let outputs = |id: &DerivationId| built.get(id).map(|realised| realised.outputs.clone());
    derived.ids.iter().filter_map(|(name, id)| Some((name.clone(), outputs(id)?))).collect()
}

/// The libraries that are not those that a result was built with.
fn linked(resolved: &Resolved, result: &ActionResult) -> BTreeMap<PackageName, Linked> {
    let mut linked = BTreeMap::new();
    for (name, now) in &resolved.mounted {
        let built_with = result.built_with.get(name).cloned().unwrap_or_default();
        if let (Some(Given::Interface(interface)), true) = (resolved.action.sysroot.get(name), built_with != *now) {
            let (interface, now) = (*interface, now.clone());
            linked.insert(name.clone(), Linked { interface, built_with, now });
        }
    }
    linked
}

/// The outputs in which two builds differ, in words.
pub(crate) fn differing(kept: &Outputs, proof: &Outputs) -> Option<String> {
    let names: std::collections::BTreeSet<_> = kept.keys().chain(proof.keys()).collect();
    let told = |tree: Option<&TreeDigest>| tree.map_or("nothing".to_owned(), ToString::to_string);
    let differing: Vec<String> = names
        .into_iter()
        .filter(|name| kept.get(*name) != proof.get(*name))
        .map(|name| format!("output {name} is {} and was kept as {}", told(proof.get(name)), told(kept.get(name))))
        .collect();
    (!differing.is_empty()).then(|| differing.join("; "))
}
