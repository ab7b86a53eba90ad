//! `anneal plan`: what an advisory would rebuild, before anything runs.

use crate::{
    builder::new_builder,
    catalog_files::kept_catalog,
    commands::{advisory, config::read_lock},
    error::{Error, Result},
    output::{Output, printable},
    service::{at_chosen_releases, now_ms},
    settings::Settings,
    tasks::{held_derivations, judge_catalog, kept_builds, read_record, remediation_of},
    view::{View, view},
};
use anneal_advisory::Advisory;
use anneal_content::{DerivationId, ImageName, PackageName, Version};
use anneal_ledger::{Hit, HitKind, State};
use anneal_plan::{Before, BuildPlan, Derived, KeptBuilds, Toolchain, derive, derive_after, plan};
use anneal_recipe::Catalog;
use anneal_sandbox::CancelToken;
use anneal_store::{OpenMode, Store};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

/// What to plan for.
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    /// An advisory that is known, by its id or an alias, or a file with an OSV record
    #[arg(long, value_name = "ID|FILE")]
    pub(crate) advisory: String,
}

/// Everything that the command says.
#[derive(Debug, Serialize)]
struct Answer {
    advisory: String,
    summary: String,
    hits: Vec<Hit>,
    images: Vec<ImageName>,
    bumps: BTreeMap<PackageName, (Version, Version)>,
    blocked: Vec<String>,
    plan: BuildPlan,
    /// What the plan could not take into account.
    notes: Vec<String>,
}

/// Performs the command.
pub(crate) fn run(args: &PlanArgs, settings: &Settings, output: &Output) -> Result<()> {
    let answer = answer(args, settings, output)?;
    output.result(|| printable(&answer.text()), &answer)?;
    if answer.blocked.is_empty() {
        return Ok(());
    }
    Err(Error::No(format!("{} cannot be answered by the releases that are listed", answer.advisory)))
}

fn answer(args: &PlanArgs, settings: &Settings, output: &Output) -> Result<Answer> {
    let base = kept_catalog(settings, output.color)?;
    let mut notes = Vec::new();
    let (view, state) = reading(settings, &mut notes)?;
    let catalog = at_chosen_releases(&base, &state)?;
    let (advisory, known) = advisories(&args.advisory, view.as_ref(), &state)?;
    let (hits, images) = judge_catalog(&advisory, &catalog)?;
    let (bumps, blocked) = remediation_of(&catalog, &known, &[advisory.id.clone()].into(), &hits)?;
    if state.cases.get(&advisory.id).is_some_and(|case| !case.bumps.is_empty()) {
        notes.push(format!("releases were chosen for it already: `anneal case show {}` has their plan", advisory.id));
    }
    let plan = if bumps.is_empty() || !blocked.is_empty() {
        BuildPlan::default()
    } else {
        build_plan(&catalog, &bumps, &state, settings, &mut notes)?
    };
    let summary = advisory::one_line(&advisory);
    Ok(Answer { advisory: advisory.id, summary, hits, images, bumps, blocked, plan, notes })
}

/// The state, or none of it where there is neither a daemon nor a state directory.
fn reading(settings: &Settings, notes: &mut Vec<String>) -> Result<(Option<View>, State)> {
    match view(settings) {
        Ok(view) => {
            let state = view.state()?;
            Ok((Some(view), state))
        }
        Err(Error::Unreachable(_)) if settings.server.is_none() => {
            notes.push("there is no state here: the plan knows no other advisories and no earlier choices".into());
            Ok((None, State::default()))
        }
        Err(error) => Err(error),
    }
}

/// The advisory that is meant, and all that are known with it: a remedy must leave every one of them.
fn advisories(named: &str, view: Option<&View>, state: &State) -> Result<(Advisory, Vec<Advisory>)> {
    let mut known = match view {
        Some(view) => advisory::known(view, state)?.into_iter().map(|(advisory, _)| advisory).collect(),
        None => Vec::new(),
    };
    let meant = match view {
        _ if advisory::is_file(named) => anneal_advisory::parse(&read_record(Path::new(named))?)?,
        Some(view) => advisory::find(view, state, named)?.0,
        None => return Err(Error::Input(format!("`{named}` is no file, and there is no state that could know it"))),
    };
    known.retain(|advisory: &Advisory| advisory.id != meant.id);
    known.push(meant.clone());
    Ok((meant, known))
}

fn build_plan(
    catalog: &Catalog,
    bumps: &BTreeMap<PackageName, (Version, Version)>,
    state: &State,
    settings: &Settings,
    notes: &mut Vec<String>,
) -> Result<BuildPlan> {
    let toolchain = Toolchain {
        build_root: read_lock(settings)?.digest()?,
        sandbox: anneal_builder::SANDBOX_PROFILE,
        layer_writer: anneal_oci::LAYER_WRITER.to_owned(),
        withdrawn: state.withdrawn_packages(),
    };
    let versions = bumps.iter().map(|(package, (_, to))| (package.clone(), to.clone())).collect();
    let old = derive(catalog, &toolchain)?;
    let before = Before { catalog, toolchain: &toolchain, derived: &old };
    let new = derive_after(Some(before), &catalog.with_versions(&versions)?, &toolchain)?;
    let (realised, kept) = realised(&new, settings, notes)?;
    let held = held_derivations(state, now_ms());
    Ok(plan(Some(&old), &new, &changed(&old, &new), &realised, &held).with_kept(&kept))
}

/// The images that are not what they were.
fn changed(old: &Derived, new: &Derived) -> BTreeSet<ImageName> {
    let key = |name: &ImageName| old.images.get(name).map(|need| need.key);
    new.images.iter().filter(|(name, need)| key(name) != Some(need.key)).map(|(name, _)| name.clone()).collect()
}

/// What was built here before, and what of it is kept though what it links came out otherwise.
fn realised(
    new: &Derived,
    settings: &Settings,
    notes: &mut Vec<String>,
) -> Result<(BTreeSet<DerivationId>, KeptBuilds)> {
    let dir = settings.state.join("store");
    if !dir.is_dir() {
        notes.push("no store can be read here: the plan takes nothing as built before".into());
        return Ok((BTreeSet::new(), KeptBuilds::new()));
    }
    let store = Store::open_trusting(&dir, OpenMode::ReadOnly, settings.chunk_hash())?;
    let builder = new_builder(settings, store, CancelToken::new())?;
    let realised = builder.realised(new)?;
    let kept = kept_builds(&builder.kept(new, realised.keys(), &realised)?);
    Ok((realised.into_keys().collect(), kept))
}

impl Answer {
    fn text(&self) -> String {
        let mut text = format!("{}: {}\n", self.advisory, self.summary);
        for hit in &self.hits {
            let kind = if hit.kind == HitKind::Affected { "affects" } else { "may affect" };
            let _ = writeln!(text, "{kind} {} {}\n    {}", hit.package, hit.version, hit.explanation);
        }
        if self.hits.is_empty() {
            text.push_str("touches nothing in the catalogue; nothing would be rebuilt\n");
        } else {
            let images: Vec<_> = self.images.iter().map(ToString::to_string).collect();
            let images = if images.is_empty() { "none has such a package".to_owned() } else { images.join(", ") };
            let _ = writeln!(text, "images  {images}");
        }
        for (package, (from, to)) in &self.bumps {
            let _ = writeln!(text, "choose  {package} {from} -> {to}");
        }
        for why in &self.blocked {
            let _ = writeln!(text, "blocked {why}");
        }
        if !self.hits.is_empty() && self.bumps.is_empty() && self.blocked.is_empty() {
            text.push_str("nothing is certain to be affected: a human must judge, and nothing would be rebuilt\n");
        }
        if !self.plan.images.is_empty() {
            let _ = write!(text, "\n{}", self.plan);
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_hits_says_that_nothing_would_be_rebuilt() {
        let answer = Answer {
            advisory: "X-1".into(),
            summary: "s".into(),
            hits: Vec::new(),
            images: Vec::new(),
            bumps: BTreeMap::new(),
            blocked: Vec::new(),
            plan: BuildPlan::default(),
            notes: vec!["n".into()],
        };
        let text = answer.text();
        assert_eq!(text, "X-1: s\ntouches nothing in the catalogue; nothing would be rebuilt\nnote: n\n");
    }
}
