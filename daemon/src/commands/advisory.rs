//! `anneal advisory`: take records in, list and explain them, ask them about a component, order versions.

mod compare;
mod purl;

use crate::{
    commands::log::when,
    error::{Error, Result},
    output::{Output, printable},
    settings::Settings,
    tasks::read_record,
    view::{View, daemon, view},
};
use anneal_advisory::{Advisory, Judgement, judge};
use anneal_api::ImportAnswer;
use anneal_content::BlobDigest;
use anneal_ledger::{Case, CaseStatus, HitKind, State};
use clap::Subcommand;
use serde_json::json;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// What can be done with advisories.
#[derive(Debug, Subcommand)]
pub(crate) enum AdvisoryCommand {
    /// Take in OSV records; what they touch is rebuilt
    Import {
        /// A record, or a directory of records (*.json)
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Every advisory that is known, with its case
    List,
    /// A record, its case, what it touches and why
    Show {
        /// Its id, or an alias
        id: String,
    },
    /// Which known advisories touch a component, in the catalogue or not
    Match {
        /// Such as pkg:generic/zlib@1.2.11; `-` reads many from standard input, one a line
        purl: String,
        /// Say why, also of those that are about it and don't affect this version
        #[arg(long)]
        explain: bool,
    },
    /// Order two versions as an ecosystem does: <, = or >
    Compare {
        /// Such as Debian, Alpine, npm, PyPI, crates.io, Go, generic
        ecosystem: String,
        /// The one
        #[arg(requires = "b")]
        a: Option<String>,
        /// The other; without both, pairs are read from standard input, one a line
        b: Option<String>,
    },
}

/// Performs the command.
pub(crate) fn run(command: &AdvisoryCommand, settings: impl Fn() -> Result<Settings>, output: &Output) -> Result<()> {
    match command {
        AdvisoryCommand::Import { files } => import(files, &settings()?, output),
        AdvisoryCommand::List => list(&settings()?, output),
        AdvisoryCommand::Show { id } => show(id, &settings()?, output),
        AdvisoryCommand::Match { purl, explain } => match_purls(purl, *explain, &settings()?, output),
        AdvisoryCommand::Compare { ecosystem, a: Some(a), b: Some(b) } => compare::one(ecosystem, a, b, output),
        AdvisoryCommand::Compare { ecosystem, .. } => compare::many(ecosystem, output),
    }
}

/// The record files that are meant: files as they are, of directories what ends in `.json`.
fn record_files(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(crate::error::io("read", path))?;
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        found.retain(|path| path.extension().is_some_and(|e| e == "json"));
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

fn import(named: &[PathBuf], settings: &Settings, output: &Output) -> Result<()> {
    let client = daemon(settings)?;
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for path in record_files(named)? {
        let answer = read_record(&path).and_then(|bytes| client.post_bytes::<ImportAnswer>("/v1/advisories", bytes));
        match answer {
            Ok(answer) => taken.push(answer),
            Err(error @ Error::Unreachable(_)) => return Err(error),
            Err(error) => refused.push((path, error.chain())),
        }
    }
    let failed: Vec<_> = refused.iter().map(|(path, why)| json!({ "file": path, "why": why })).collect();
    let text = || {
        let line =
            |a: &ImportAnswer| format!("{} {}\n", a.id, if a.new { "was taken in" } else { "was known already" });
        printable(&taken.iter().map(line).collect::<String>())
    };
    output.result(text, &json!({ "taken": taken, "refused": failed }))?;
    if refused.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = refused.iter().map(|(path, why)| format!("\n  {}: {why}", path.display())).collect();
    let (count, all) = (refused.len(), refused.len() + taken.len());
    Err(Error::Input(printable(&format!("not taken in, {count} of {all} files:{}", lines.concat()))))
}

/// Every known record, parsed, by id.
pub(super) fn known(view: &View, state: &State) -> Result<Vec<(Advisory, BlobDigest)>> {
    let read = |digest: &BlobDigest| Ok((anneal_advisory::parse(&view.blob(digest)?)?, *digest));
    state.advisories.values().map(read).collect()
}

/// The record of an id, or of an alias.
pub(super) fn find(view: &View, state: &State, id: &str) -> Result<(Advisory, BlobDigest)> {
    if let Some(record) = state.advisories.get(id) {
        return Ok((anneal_advisory::parse(&view.blob(record)?)?, *record));
    }
    let named = |(advisory, _): &(Advisory, BlobDigest)| advisory.aliases.iter().any(|alias| alias == id);
    known(view, state)?.into_iter().find(named).ok_or_else(|| {
        Error::Input(format!("advisory {} is not known; `anneal advisory list` names those that are", printable(id)))
    })
}

/// A case's status in a word.
pub(super) fn status(case: &Case) -> &'static str {
    match case.status {
        CaseStatus::Open => "open",
        CaseStatus::Remediating { .. } => "remediating",
        CaseStatus::Blocked { .. } => "blocked",
        CaseStatus::Closed => "closed",
    }
}

fn list(settings: &Settings, output: &Output) -> Result<()> {
    let view = view(settings)?;
    let state = view.state()?;
    let known = known(&view, &state)?;
    let word = |advisory: &Advisory| state.cases.get(&advisory.id).map_or("no case", status);
    let each = known.iter().map(|(advisory, record)| {
        json!({
            "id": advisory.id, "aliases": advisory.aliases, "summary": advisory.summary,
            "withdrawn": advisory.withdrawn.is_some(), "record": record, "case": state.cases.get(&advisory.id),
        })
    });
    let each: Vec<_> = each.collect();
    let text = || {
        let mut text = String::new();
        for (advisory, _) in &known {
            let _ = writeln!(text, "{:24} {:12} {}", advisory.id, word(advisory), one_line(advisory));
        }
        if known.is_empty() {
            text.push_str("no advisory is known; `anneal advisory import` takes them in\n");
        }
        printable(&text)
    };
    output.result(text, &each)
}

/// What a record is about, in one line.
pub(super) fn one_line(advisory: &Advisory) -> String {
    let said = if advisory.summary.is_empty() { &advisory.details } else { &advisory.summary };
    let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("(no summary)");
    let short: String = line.trim().chars().take(100).collect();
    if short.len() < line.trim().len() { format!("{short}...") } else { short }
}

fn show(id: &str, settings: &Settings, output: &Output) -> Result<()> {
    let view = view(settings)?;
    let state = view.state()?;
    let (advisory, record) = find(&view, &state, id)?;
    let case = state.cases.get(&advisory.id);
    let raw: serde_json::Value = view.json(&record)?;
    let text = || printable(&show_text(&advisory, &record, case));
    output.result(text, &json!({ "record": raw, "digest": record, "case": case }))
}

fn show_text(advisory: &Advisory, record: &BlobDigest, case: Option<&Case>) -> String {
    let mut text = format!("{}: {}\n", advisory.id, one_line(advisory));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:10} {value}");
    };
    line("record", &record.to_string());
    if !advisory.aliases.is_empty() {
        line("aliases", &advisory.aliases.join(", "));
    }
    if advisory.withdrawn.is_some() {
        line("withdrawn", "it affects nothing any more");
    }
    for severity in &advisory.severity {
        line("severity", &format!("{} {}", severity.kind, severity.score));
    }
    for package in advisory.affected.iter().filter_map(|entry| entry.package.as_ref()) {
        line("about", &format!("{} in {}", package.name, package.ecosystem));
    }
    for reference in &advisory.references {
        line("see", &reference.url);
    }
    match case {
        None => text.push_str("  nothing in the catalogue is touched by it\n"),
        Some(case) => text.push_str(&case_lines(case)),
    }
    text
}

/// A case's hits, images and choice.
pub(super) fn case_lines(case: &Case) -> String {
    let mut text = format!("  {:10} {}, opened {}\n", "case", status(case), when(case.opened_ms));
    for hit in &case.hits {
        let kind = if hit.kind == HitKind::Affected { "affects" } else { "may affect" };
        let _ = writeln!(text, "  {kind:10} {} {}\n    {}", hit.package, hit.version, hit.explanation);
    }
    let images: Vec<_> = case.images.iter().map(ToString::to_string).collect();
    let images = if images.is_empty() { "none has such a package".to_owned() } else { images.join(", ") };
    let _ = writeln!(text, "  {:10} {images}", "images");
    for (package, from, to) in &case.bumps {
        let _ = writeln!(text, "  {:10} {package} {from} -> {to}", "chosen");
    }
    if let CaseStatus::Blocked { why, .. } = &case.status {
        let _ = writeln!(text, "  {:10} {why}", "waits for");
    }
    text
}

fn match_purls(named: &str, explain: bool, settings: &Settings, output: &Output) -> Result<()> {
    let lines = if named == "-" { compare::stdin_lines()? } else { vec![named.to_owned()] };
    let components = lines.iter().map(|line| Ok((line, purl::component(line)?))).collect::<Result<Vec<_>>>()?;
    let view = view(settings)?;
    let known = known(&view, &view.state()?)?;
    let (mut text, mut values) = (String::new(), Vec::new());
    for (purl, component) in components {
        let mut hits = Vec::new();
        for (advisory, _) in &known {
            let (word, explanation) = match judge(advisory, &component) {
                Judgement::Affected { explanation } => ("affected", explanation),
                Judgement::Unknown { explanation } => ("unknown", explanation),
                Judgement::NotAffected { explanation } if explain => ("not affected", explanation),
                Judgement::NotAffected { .. } | Judgement::Unrelated => continue,
            };
            let _ = writeln!(text, "{purl} {} {word}: {}", advisory.id, one_line(advisory));
            if explain {
                let _ = writeln!(text, "    {explanation}");
            }
            hits.push(json!({ "advisory": advisory.id, "judgement": word, "explanation": explanation }));
        }
        if hits.is_empty() {
            let _ = writeln!(text, "{purl}: none of {} known advisories", known.len());
        }
        values.push(json!({ "purl": purl, "advisories": hits }));
    }
    output.result(|| printable(&text), &values)
}

/// Whether an argument means a file: it names one, or looks like a path.
pub(super) fn is_file(text: &str) -> bool {
    let path = Path::new(text);
    path.is_file() || text.contains('/') || path.extension().is_some_and(|e| e == "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_records_means_its_json_files_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.json", "a.json", "README"] {
            std::fs::write(dir.path().join(name), "{}").unwrap();
        }
        let files = record_files(&[dir.path().to_owned(), "/nowhere.json".into()]).unwrap();
        assert_eq!(files, [dir.path().join("a.json"), dir.path().join("b.json"), "/nowhere.json".into()]);
    }

    #[test]
    fn a_record_without_a_summary_is_told_by_the_first_line_of_its_details() {
        let record = br#"{"id":"X-1","modified":"2022-01-01T00:00:00Z","details":"\nA heap overflow.\nMore."}"#;
        assert_eq!(one_line(&anneal_advisory::parse(record).unwrap()), "A heap overflow.");
    }
}
