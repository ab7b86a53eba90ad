//! Building packages again in other surroundings, when somebody asks for it.
//!
//! What came of it is journalled. Where a package did not come out the same, the images that hold it are checked again,
//! and their candidates can't be approved any more.

use super::build::{held_derivations, payloads};
use crate::{
    error::{Error, Result},
    service::{Service, now_ms},
};
use anneal_api::{TrialGoal, TrialRequest};
use anneal_builder::{Realised, TrialReport};
use anneal_content::{DerivationId, ImageName, PackageName};
use anneal_ledger::Event;
use anneal_plan::{Inputs, plan_packages};
use anneal_recipe::{Catalog, Needs};
use anneal_sandbox::Variation;
use std::collections::{BTreeMap, BTreeSet};

/// The packages that these images are made of and these packages, dependencies first; of all that the catalogue has,
/// where nothing is named. A name that an image and a package have means the image.
pub(crate) fn trial_goal(service: &Service, goal: &TrialGoal) -> Result<Vec<PackageName>> {
    let catalog = service.active().catalog;
    if goal.names.is_empty() {
        return Ok(catalog.topological());
    }
    let mut wanted = BTreeSet::new();
    for name in &goal.names {
        wanted.extend(packages_of(&catalog, name)?);
    }
    Ok(catalog.topological().into_iter().filter(|name| wanted.contains(name)).collect())
}

fn packages_of(catalog: &Catalog, name: &str) -> Result<Vec<PackageName>> {
    if let Ok(image) = ImageName::new(name)
        && catalog.images().contains_key(&image)
    {
        let packages = catalog.image_packages(&image)?;
        return Ok(catalog.closure(&packages, Needs::Build)?);
    }
    let package = PackageName::new(name).map_err(|e| Error::Input(format!("`{name}`: {e}")))?;
    catalog.package(&package)?;
    Ok(vec![package])
}

/// Tries one package; it is built first, where it is not.
pub(crate) fn try_package(service: &Service, request: &TrialRequest) -> Result<TrialReport> {
    // Results name what this puts; until they are recorded nothing of it may be collected.
    let _lease = service.store.lease();
    let varied = named(&request.varied)?;
    let active = service.active();
    let name = &request.package;
    let recipe = active.catalog.package(name)?;
    let unknown = || Error::Internal(format!("{name} has no derivation"));
    let id = active.derived.ids.get(name).ok_or_else(unknown)?;
    let task = active.derived.derivations.get(id).ok_or_else(unknown)?;
    let mut built = service.builder.realised(&active.derived)?;
    let needed = active.derived.closure_of(std::slice::from_ref(name));
    if needed.iter().any(|id| !built.contains_key(id)) {
        build_first(service, name, &built)?;
        built = service.builder.realised(&active.derived)?;
    }
    let outputs = |name: &PackageName| Some((name.clone(), built.get(active.derived.ids.get(name)?)?.outputs.clone()));
    let inputs: Inputs = active.derived.ids.keys().filter_map(outputs).collect();
    let on = |progress| service.board.progress(progress);
    let report = service.builder.try_varied(recipe, (id, task), &inputs, &varied, &on)?;
    service.record(Event::PackageTried {
        package: report.package.clone(),
        version: report.version.clone(),
        derivation: report.derivation,
        action: report.action,
        varied: report.varied.aspects().map(|aspect| aspect.to_string()).collect(),
        causes: report.causes.iter().map(|found| found.cause.to_string()).collect(),
        payloads: payloads(&report.ran),
    })?;
    Ok(report)
}

/// The aspects of these names.
fn named(names: &[String]) -> Result<Variation> {
    let parsed = serde_json::from_value(serde_json::json!(names));
    let all: Vec<_> = Variation::all().aspects().map(|aspect| aspect.to_string()).collect();
    parsed.map_err(|_| Error::Input(format!("what is varied is one of: {}", all.join(", "))))
}

fn build_first(service: &Service, name: &PackageName, built: &BTreeMap<DerivationId, Realised>) -> Result<()> {
    let active = service.active();
    let held = service.with_state(|state| held_derivations(state, now_ms()));
    let known = built.keys().copied().collect();
    let steps = plan_packages(&active.derived, std::slice::from_ref(name), &known, &held);
    let on = |progress| service.board.progress(progress);
    let failures = service.builder.execute(&active.catalog, &active.derived, &steps, &on, &|_| {})?;
    match failures.into_iter().next() {
        None => Ok(()),
        Some(failure) => Err(Error::No(Error::from(failure.error).chain())),
    }
}
