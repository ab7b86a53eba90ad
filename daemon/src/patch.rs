//! What was chosen for a case, as a patch of the recipes: what a human who keeps them in git applies and pushes.
//!
//! It is a message as `git format-patch` writes them, for `git am` and `git apply`. It is made over the recipes that are in
//! force: of a branch, over the commit that its first line names, with the paths of the repository; of a directory, with paths
//! that begin in it. Once the files say what the patch says, the catalogue is the one that is built already.

use crate::{
    branch::in_force,
    catalog_files::recipe_text,
    error::{Error, Result},
    output::on_one_line,
    settings::Settings,
};
use anneal_advisory::Advisory;
use anneal_content::{PackageName, Version};
use anneal_ledger::{Case, RevisionCause, State};
use anneal_recipe::{unified_diff, with_selected};
use std::fmt::Write as _;

/// How much of an advisory's summary is told.
const SUMMARY_CHARS_MAX: usize = 300;

/// A package's move, with the recipe that changes for it.
struct Change {
    package: PackageName,
    from: Version,
    to: Version,
    diff: String,
}

/// The patch of a case.
pub(crate) fn patch_of(settings: &Settings, state: &State, case: &Case, advisory: &Advisory) -> Result<String> {
    if case.bumps.is_empty() {
        let id = &case.advisory;
        return Err(Error::No(format!("nothing was chosen for {id}: `anneal case show {id}` says where it stands")));
    }
    let (mut changes, mut others) = (Vec::new(), Vec::new());
    for (package, from, to) in &case.bumps {
        // Another case may have moved it on since.
        let (base, to) = state.pins.get(package).map_or((from, to), |(base, reached)| (base, reached));
        match change(settings, package, base, to)? {
            Ok(change) => changes.push(change),
            Err(why) => others.push(why),
        }
    }
    if changes.is_empty() {
        return Err(Error::No(format!("there is nothing to patch for {}: {}", case.advisory, others.join("; "))));
    }
    message(settings, state, case, advisory, (&changes, &others))
}

/// What changes for a package; otherwise why nothing does.
fn change(
    settings: &Settings,
    package: &PackageName,
    base: &Version,
    to: &Version,
) -> Result<std::result::Result<Change, String>> {
    let file = format!("packages/{package}.toml");
    let path = settings.catalog_dir()?.join(&file);
    if !path.exists() {
        return Ok(Err(format!(
            "{package} is a recipe of an upstream catalogue; pin a revision of that which selects {to}"
        )));
    }
    let text = recipe_text(&path)?;
    let named = settings.follow.as_ref().map_or(file.clone(), |follow| follow.place.path_of(&file));
    let selected = toml::from_str::<toml::Table>(&text).ok();
    let selected = selected.as_ref().and_then(|table| table.get("version")?.as_str()).unwrap_or_default();
    if selected == to.as_str() {
        return Ok(Err(format!("{named} selects {package} {to} already")));
    }
    if selected != base.as_str() {
        let selected = on_one_line(selected);
        return Ok(Err(format!(
            "{named} selects {package} {selected}, which a human chose since; {to} is not in force"
        )));
    }
    let changed = with_selected(&named, &text, to).map_err(|mistakes| Error::Recipes(mistakes.render(false)))?;
    let diff = unified_diff(&named, &text, &changed);
    Ok(Ok(Change { package: package.clone(), from: base.clone(), to: to.clone(), diff }))
}

fn message(
    settings: &Settings,
    state: &State,
    case: &Case,
    advisory: &Advisory,
    (changes, others): (&[Change], &[String]),
) -> Result<String> {
    let at = in_force(settings);
    let commit = at.as_ref().map_or_else(|| "0".repeat(40), |at| at.commit.to_string());
    let each = changes.iter().map(|one| format!("{} {} -> {}", one.package, one.from, one.to));
    let moves = each.collect::<Vec<_>>().join(", ");
    let id = on_one_line(&case.advisory);
    let summary: String = on_one_line(&advisory.summary).chars().take(SUMMARY_CHARS_MAX).collect();
    let mut text = format!("From {commit} Mon Sep 17 00:00:00 2001\nFrom: Anneal <anneal@localhost>\n");
    // Writing to a string does not fail.
    let _ = writeln!(text, "Date: {}", date(case.opened_ms)?);
    let _ = writeln!(text, "Subject: [PATCH] {moves}, for {id}");
    text.push_str("MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n");
    text.push_str("This is what was chosen when the advisory landed, and what is built already: with it, the recipes say so too.\n\n");
    // No line of this may begin as a patch does, whatever the advisory says.
    let _ = writeln!(text, "Advisory: {id}");
    if !summary.is_empty() {
        let _ = writeln!(text, "Summary: {summary}");
    }
    if let Some(at) = &at {
        let _ = writeln!(text, "Made-over: {at}");
    }
    if let Some(branch) = state.branch.as_ref().filter(|_| at.is_some()) {
        let _ = writeln!(text, "Catalogue-before: {}", branch.files);
    }
    let chosen = state.revisions.iter().rev().find(|(.., cause)| is_of(cause, &case.advisory));
    if let Some((revision, ..)) = chosen {
        let _ = writeln!(text, "Catalogue-chosen: {revision}");
    }
    for other in others {
        let _ = writeln!(text, "Not-patched: {}", on_one_line(other));
    }
    text.push_str("---\n");
    for change in changes {
        text.push_str(&change.diff);
    }
    let _ = writeln!(text, "-- \nanneal {}", env!("CARGO_PKG_VERSION"));
    Ok(text)
}

/// Whether a revision is what a case chose, alone or with others.
fn is_of(cause: &RevisionCause, id: &str) -> bool {
    matches!(cause, RevisionCause::Remediation { advisory, .. } if advisory.split(' ').any(|one| one == id))
}

/// When, as mail has it.
fn date(ms: u64) -> Result<String> {
    let wrong = |e: String| Error::Internal(format!("{ms} ms since 1970 is no time: {e}"));
    let seconds = i64::try_from(ms / 1000).map_err(|e| wrong(e.to_string()))?;
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|e| wrong(e.to_string()))?;
    at.format(&time::format_description::well_known::Rfc2822).map_err(|e| wrong(e.to_string()))
}
