//! `anneal case`: what advisories opened, and what was done about them.

mod certificate;

use crate::{
    cli::ToFile,
    commands::{
        advisory,
        log::{events, when},
    },
    error::{Error, Result},
    output::{Output, printable, write_file},
    patch::patch_of,
    settings::Settings,
    view::{View, view},
};
use anneal_ledger::{Case, CaseStatus, Event, KeptProof, State};
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
    /// What was chosen for a case as a patch of the recipes, for `git am` or `git apply`
    Patch {
        /// The advisory's id, or an alias
        id: String,
        #[command(flatten)]
        to: ToFile,
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
            let plan = plan_of(&view, case)?;
            let built = if plan.is_some() { builds(&view)? } else { certificate::Built::new() };
            let certificate = certificate::Certificate::of(&state, case, plan.as_ref(), &built)?;
            output.result(|| printable(&certificate.text()), &certificate)
        }
        CaseCommand::Patch { id, to } => {
            let case = find(&view, &state, id)?;
            let text = patch(&view, &state, case, settings)?;
            match &to.output {
                Some(path) => write_file(path, text.as_bytes()),
                None => output.result(|| text.clone(), &json!({ "case": case.advisory, "patch": &text })),
            }
        }
    }
}

/// The patch, made by whoever has the recipes that are in force.
fn patch(view: &View, state: &State, case: &Case, settings: &Settings) -> Result<String> {
    match view {
        View::Daemon(client) => client.get(&format!("/v1/cases/{}/patch", in_path(&case.advisory))),
        View::Directory(_) => patch_of(settings, state, case, &advisory::find(view, state, &case.advisory)?.0),
    }
}

/// Text as one part of a path.
fn in_path(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The plan that was made when releases were chosen.
fn plan_of(view: &View, case: &Case) -> Result<Option<BuildPlan>> {
    case.plan.as_ref().map(|digest| view.json(digest)).transpose()
}

/// Every build that the journal tells of.
fn builds(view: &View) -> Result<certificate::Built> {
    let built = |event| match event {
        Event::PackageBuilt { derivation, action, .. } => Some((derivation, action)),
        _ => None,
    };
    Ok(events(view)?.into_iter().filter_map(|(_, record)| built(record.event)).collect())
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
    let chosen = match &case.status {
        CaseStatus::Remediating { revision } => Some((*revision, state.commit_of(revision))),
        _ => None,
    };
    let waits = state.branch.as_ref().filter(|_| !case.bumps.is_empty()).map(|branch| {
        let place = &branch.at.place;
        if state.revision.is_some_and(|(active, _)| active == branch.files) {
            format!("{place} has all that was chosen, at commit {}", branch.at.commit)
        } else {
            format!("{place} does not have all that was chosen; `anneal case patch {}` is what it lacks", case.advisory)
        }
    });
    let text = || {
        let mut text = format!("{}\n{}", case.advisory, advisory::case_lines(case));
        if let Some((revision, at)) = &chosen {
            let _ = writeln!(text, "  {:10} {revision}", "catalogue");
            if let Some(at) = at {
                let _ = writeln!(text, "  {:10} {at}", "over");
            }
        }
        if let Some(waits) = &waits {
            let _ = writeln!(text, "  {:10} {waits}", "branch");
        }
        for candidate in &candidates {
            let (id, image, word) = (candidate.id, &candidate.image, candidate.status.word());
            let _ = writeln!(text, "  candidate  {id} of {image}: {word}  {}", candidate.manifest);
        }
        if let Some(plan) = &plan {
            let _ = write!(text, "\n{plan}");
        }
        printable(&text)
    };
    let commit = chosen.and_then(|(_, at)| at);
    let value = json!({ "case": case, "commit": commit, "plan": plan, "candidates": candidates });
    output.result(text, &value)
}
