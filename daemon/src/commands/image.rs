//! `anneal image`: which images were built, what is in them, what the checks said, whether they can be built again.

mod reproduce;

use crate::{
    commands::log::when,
    error::{Error, Result},
    output::{Output, human_bytes, printable},
    settings::Settings,
    tasks::report,
    view::view,
};
use anneal_checks::{Finding, Outcome, Verdict};
use anneal_ledger::{CandidateStatus, Image, State};
use clap::Subcommand;
use serde_json::json;
use std::fmt::Write as _;

/// The shortest beginning of a digest that names an image.
const PREFIX_MIN: usize = 6;

/// What can be asked about images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Every image that was built
    List,
    /// An image: its packages, layers, verdict, evidence
    Show {
        /// Its name (the newest that was built), its digest, or the beginning of its digest
        image: String,
    },
    /// What the verification suite found; exit 1 where the image did not pass
    Check {
        /// Its name (the newest that was built), its digest, or the beginning of its digest
        image: String,
    },
    /// Build an image again from its evidence alone, in a store of its own; exit 1 where it comes out otherwise
    Reproduce(reproduce::ReproduceArgs),
}

/// Performs the command.
pub(crate) fn run(command: &ImageCommand, settings: &Settings, output: &Output) -> Result<()> {
    let known = || {
        let view = view(settings)?;
        let state = view.state()?;
        Ok::<_, Error>((view, state))
    };
    match command {
        // its evidence may be elsewhere
        ImageCommand::Reproduce(args) => reproduce::run(args, settings, output),
        ImageCommand::List => list(&known()?.1, output),
        ImageCommand::Show { image } => {
            let (_, state) = known()?;
            let image = find(&state, image)?;
            let value = json!({ "image": image, "status": status(&state, image) });
            output.result(|| printable(&show_text(&state, image)), &value)
        }
        ImageCommand::Check { image } => {
            let (view, state) = known()?;
            let image = find(&state, image)?;
            let (name, manifest) = (&image.name, &image.manifest);
            let Some((passed, _, results)) = &image.verdict else {
                return Err(Error::No(format!("{name} {manifest} was not checked yet")));
            };
            let report = report(&view.blob(results)?)?;
            let verdict: Verdict = serde_json::from_value(report.verdict.clone())
                .map_err(|e| Error::Internal(format!("the verdict in {results} cannot be read: {e}")))?;
            let text = || printable(&check_text(image, &report.findings, &verdict));
            let value = json!({ "image": manifest, "verdict": verdict, "findings": report.findings });
            output.result(text, &value)?;
            if *passed { Ok(()) } else { Err(Error::No(format!("{name} {manifest} did not pass"))) }
        }
    }
}

/// The image that a name, a digest, `name@digest` or the beginning of a digest means.
pub(super) fn find<'a>(state: &'a State, text: &str) -> Result<&'a Image> {
    let text = text.rsplit_once('@').map_or(text, |(_, digest)| digest);
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_prefix = hex.len() >= PREFIX_MIN && hex.bytes().all(|b| b.is_ascii_hexdigit());
    let named = state.images.values().filter(|image| image.name.as_str() == text).max_by_key(|image| image.at_ms);
    if let Some(image) = named {
        return Ok(image);
    }
    let begins = |image: &&Image| image.manifest.hex().starts_with(hex) || image.index.hex().starts_with(hex);
    let found: Vec<_> = state.images.values().filter(|_| is_prefix).filter(begins).collect();
    match found.as_slice() {
        [image] => Ok(image),
        [] => {
            let names: std::collections::BTreeSet<_> = state.images.values().map(|image| image.name.as_str()).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { "none yet".to_owned() } else { names };
            Err(Error::Input(format!("no image `{}` was built; built are: {names}", printable(text))))
        }
        several => Err(Error::Input(format!("{} images begin with {hex}; give more of it", several.len()))),
    }
}

/// Where an image stands on its way out.
fn status(state: &State, image: &Image) -> String {
    if state.published(&image.name).is_some_and(|p| p.manifest == image.manifest) {
        return "published".to_owned();
    }
    match state.candidates.values().rev().find(|c| c.manifest == image.manifest) {
        Some(candidate) if candidate.status == CandidateStatus::Published => "replaced".to_owned(),
        Some(candidate) => format!("{} {}", candidate.id, candidate.status.word()),
        None => "no candidate".to_owned(),
    }
}

fn verdict_word(image: &Image) -> String {
    match &image.verdict {
        None => "not checked".to_owned(),
        Some((true, (passed, warned, _), _)) => format!("passed ({passed} checks, {warned} warned)"),
        Some((false, (_, _, failed), _)) => format!("FAILED ({failed} checks)"),
    }
}

fn list(state: &State, output: &Output) -> Result<()> {
    let mut images: Vec<_> = state.images.values().collect();
    images.sort_by(|a, b| (&a.name, a.at_ms).cmp(&(&b.name, b.at_ms)));
    let values: Vec<_> = images.iter().map(|image| json!({ "image": image, "status": status(state, image) })).collect();
    let text = || {
        let mut text = String::new();
        for image in &images {
            let (at, status, verdict) = (when(image.at_ms), status(state, image), verdict_word(image));
            let _ = writeln!(text, "{:16} {} {at} {status:14} {verdict}", image.name, image.manifest);
        }
        if images.is_empty() {
            text.push_str("no image was built yet; the daemon builds what the catalogue asks for\n");
        }
        text
    };
    output.result(text, &values)
}

fn show_text(state: &State, image: &Image) -> String {
    let mut text = format!("image {}\n", image.name);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:10} {value}");
    };
    line("manifest", &image.manifest.to_string());
    line("index", &image.index.to_string());
    line("catalogue", &image.revision.to_string());
    line("built", &when(image.at_ms));
    line("verdict", &verdict_word(image));
    line("status", &status(state, image));
    for package in &image.packages {
        let inputs: String = package.derivation.to_string().chars().take(19).collect();
        line(
            "package",
            &format!("{} {}  inputs {inputs}  tree {}", package.name, package.version, package.tree.short()),
        );
    }
    for layer in &image.layers {
        let packages: Vec<_> = layer.packages.iter().map(ToString::to_string).collect();
        let holds = if packages.is_empty() { "what the recipe adds".to_owned() } else { packages.join(", ") };
        line("layer", &format!("{} {:>9}  {holds}", layer.digest.short(), human_bytes(layer.size)));
    }
    for evidence in &image.evidence {
        line("evidence", &format!("{} ({} key) {}", evidence.predicate_type, evidence.role, evidence.bundle));
    }
    text
}

fn check_text(image: &Image, findings: &[Finding], verdict: &Verdict) -> String {
    let mut text = format!("{} {}\n", image.name, image.manifest);
    for finding in &verdict.blocking {
        text.push_str(&finding_text("FAILED", finding));
    }
    for finding in &verdict.warnings {
        text.push_str(&finding_text("warned", finding));
    }
    for waived in &verdict.waived {
        text.push_str(&finding_text("waived", &waived.finding));
        let _ = writeln!(text, "         allowed by the recipe: {}", waived.reason);
    }
    for waiver in &verdict.unused_waivers {
        let _ = writeln!(text, "unused {} is allowed and was not found: {}", waiver.check, waiver.reason);
    }
    let mut passed: Vec<_> = findings.iter().filter(|f| f.outcome == Outcome::Passed).collect();
    passed.sort_by_key(|finding| &finding.check);
    for finding in passed {
        let _ = writeln!(text, "passed {} {}", finding.check, finding.title);
    }
    let word = if verdict.released { "passed" } else { "did not pass" };
    let (good, warned, failed, none) = (verdict.passed, verdict.warned, verdict.failed, verdict.not_applicable);
    let _ = writeln!(text, "{word}: {good} passed, {warned} warned, {failed} failed, {none} had nothing to look at");
    text
}

fn finding_text(word: &str, finding: &Finding) -> String {
    let object = &finding.object;
    let package = object.package.as_ref().map(|p| format!(" {p}")).unwrap_or_default();
    let path = object.path.as_ref().map(|p| format!(" {p}")).unwrap_or_default();
    let mut text = format!("{word} {}{package}{path}: {}\n", finding.check, finding.title);
    let _ = writeln!(text, "         expected {}; found {}", finding.expected, finding.found);
    if !finding.advice.is_empty() {
        let _ = writeln!(text, "         {}", finding.advice);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_content::{BlobDigest, CatalogDigest, ImageName};

    fn image(name: &str, seed: &str, at_ms: u64) -> Image {
        Image {
            name: ImageName::new(name).unwrap(),
            manifest: BlobDigest::of(seed.as_bytes()),
            index: BlobDigest::of(format!("{seed} index").as_bytes()),
            revision: CatalogDigest::of(b"r"),
            layers: Vec::new(),
            packages: Vec::new(),
            at_ms,
            verdict: None,
            judged_against: None,
            evidence: Vec::new(),
            build_root: None,
            collected_ms: None,
        }
    }

    #[test]
    fn an_image_is_found_by_name_by_digest_and_by_the_beginning_of_its_digest() {
        let mut state = State::default();
        for image in [image("nginx", "old", 1), image("nginx", "new", 2), image("busybox", "b", 3)] {
            state.images.insert(image.manifest, image);
        }
        let (old, new) = (BlobDigest::of(b"old"), BlobDigest::of(b"new"));
        let found = |text: &str| find(&state, text).map(|image| image.manifest);
        assert_eq!(found("nginx").unwrap(), new);
        assert_eq!(found(&old.to_string()).unwrap(), old);
        assert_eq!(found(&format!("nginx@{old}")).unwrap(), old);
        assert_eq!(found(&old.short()).unwrap(), old);
        assert_eq!(found(&BlobDigest::of(b"old index").hex()).unwrap(), old);
    }

    #[test]
    fn an_image_that_was_not_built_is_refused_with_those_that_were() {
        let mut state = State::default();
        let nginx = image("nginx", "n", 1);
        state.images.insert(nginx.manifest, nginx);
        let error = find(&state, "ngnix").unwrap_err().to_string();
        assert_eq!(error, "no image `ngnix` was built; built are: nginx");
        assert!(find(&state, "").is_err());
    }
}
