//! `anneal case`: what advisories opened, and what was done about them.

mod certificate;

use crate::{
    commands::{advisory, log::when},
    error::{Error, Result},
    output::{Output, printable},
    settings::Settings,
    view::{View, view},
};
use anneal_ledger::{Case, KeptProof, State};
use anneal_plan::{BuildPlan, KeepGround, KeptBuild, KeptBuilds};
use clap::Subcommand;
use serde_json::json;
use std::fmt::Write as _;

/// What can be asked about cases.
#[derive(Debug, Subcommand)]
pub(crate) enum CaseCommand {
    /// Every case
    List,
    /// A case: hits, choice, plan, candidates
    Show {
        /// The advisory's id, or an alias
        id: String,
    },
    /// What was rebuilt for a case, and of everything else the proof that it need not be
    Certificate {
        /// The advisory's id, or an alias
        id: String,
    },
}

/// Performs the command.
pub(crate) fn run(command: &CaseCommand, settings: &Settings, output: &Output) -> Result<()> {
    let view = view(settings)?;
    let state = view.state()?;
    match command {
        CaseCommand::List => list(&state, output),
        CaseCommand::Show { id } => show(&view, &state, find(&view, &state, id)?, output),
        CaseCommand::Certificate { id } => {
            let case = find(&view, &state, id)?;
            let certificate = certificate::Certificate::of(&state, case, plan_of(&view, case)?.as_ref())?;
            output.result(|| printable(&certificate.text()), &certificate)
        }
    }
}

/// The plan that was made when releases were chosen.
fn plan_of(view: &View, case: &Case) -> Result<Option<BuildPlan>> {
    case.plan.as_ref().map(|digest| view.json(digest)).transpose()
}

/// What was kept in place of a planned build.
fn kept_builds(state: &State) -> KeptBuilds {
    let kept = state.kept.iter().filter(|(_, kept)| !matches!(kept.proof, KeptProof::Dropped { .. }));
    kept.map(|(id, kept)| {
        let ground = if kept.ground.is_interface() { KeepGround::InterfaceEqual } else { KeepGround::Swapped };
        (*id, KeptBuild { linked: kept.linked.keys().cloned().collect(), ground })
    })
    .collect()
}

/// The case of an advisory, by its id or an alias.
fn find<'a>(view: &View, state: &'a State, id: &str) -> Result<&'a Case> {
    if let Some(case) = state.cases.get(id) {
        return Ok(case);
    }
    let (advisory, _) = advisory::find(view, state, id)?;
    let none = || Error::No(format!("{} opened no case: it touches nothing in the catalogue", advisory.id));
    state.cases.get(&advisory.id).ok_or_else(none)
}

fn list(state: &State, output: &Output) -> Result<()> {
    let text = || {
        let mut text = String::new();
        for case in state.cases.values() {
            let images: Vec<_> = case.images.iter().map(ToString::to_string).collect();
            let hits: Vec<_> = case.hits.iter().map(|hit| format!("{} {}", hit.package, hit.version)).collect();
            let (status, hits, images) = (advisory::status(case), hits.join(", "), images.join(", "));
            let _ = writeln!(text, "{:24} {status:12} {} {hits} in {images}", case.advisory, when(case.opened_ms));
        }
        if state.cases.is_empty() {
            text.push_str("no case was opened yet\n");
        }
        printable(&text)
    };
    output.result(text, &state.cases)
}

fn show(view: &View, state: &State, case: &Case, output: &Output) -> Result<()> {
    let plan = plan_of(view, case)?.map(|plan| plan.with_kept(&kept_builds(state)));
    let candidates: Vec<_> = state.candidates.values().filter(|c| c.fixes.contains(&case.advisory)).collect();
    let text = || {
        let mut text = format!("{}\n{}", case.advisory, advisory::case_lines(case));
        for candidate in &candidates {
            let (id, image, word) = (candidate.id, &candidate.image, candidate.status.word());
            let _ = writeln!(text, "  candidate  {id} of {image}: {word}  {}", candidate.manifest);
        }
        if let Some(plan) = &plan {
            let _ = write!(text, "\n{plan}");
        }
        printable(&text)
    };
    output.result(text, &json!({ "case": case, "plan": plan, "candidates": candidates }))
}
