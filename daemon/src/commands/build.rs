//! `anneal build`: wait until the daemon has built what the catalogue asks for, and say what came of it.
//!
//! The daemon builds by itself; this command has it read the recipes again, watches, and ends with an exit code that a
//! script can use. With `--vary` it then has packages built again in other surroundings, and says what showed.

mod vary;

use crate::{
    client::Client,
    commands::{
        log::{event_text, when},
        recipe::with_help,
    },
    error::{Error, Result},
    output::{Output, human_bytes, printable},
    progress::{Line, News},
    service::now_ms,
    settings::Settings,
    view::{View, daemon},
};
use anneal_api::{Overview, TrialGoal};
use anneal_builder::{ChangedDirectory, Phase, Progress};
use anneal_content::{BlobDigest, DerivationId, ImageName};
use anneal_ledger::{CandidateId, Event, Image, State};
use anneal_recipe::Catalog;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

/// A file of this size takes so long that its beginning is told, too.
const LARGE_BYTES: u64 = 10_000_000;
/// After how many packages of the build root there is a line.
const BUILD_ROOT_STEP: usize = 24;

/// What to wait for.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    /// Images, and with --vary packages too; without any, all of the catalogue
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<ImageName>,
    /// Give up waiting after this many seconds; the daemon goes on
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// Build again with everything varied that must not matter, and name what did: exit 1 where anything differs
    #[arg(long)]
    pub(crate) vary: bool,
    /// Vary this alone, such as `hostname`; may be given again
    #[arg(long, value_name = "NAME", requires = "vary")]
    pub(crate) aspect: Vec<String>,
}

/// What became of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "standing")]
enum Standing {
    /// It is being built or checked, or its candidate is not open yet.
    Waiting,
    /// It was built and checked; where it passed, it is a candidate.
    Judged { manifest: BlobDigest, passed: bool, counts: (u32, u32, u32), candidate: Option<CandidateId> },
    /// A build that it needs failed.
    Failed { failures: Vec<Failed> },
}

/// A build that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Failed {
    package: String,
    summary: String,
    log: Option<BlobDigest>,
    retry_after_ms: u64,
}

/// Performs the command.
pub(crate) fn run(args: &BuildArgs, settings: &Settings, output: &Output) -> Result<()> {
    let client = daemon(settings)?;
    let _: bool = client.post("/v1/catalog/reload", &())?;
    let goal = TrialGoal { names: args.names.iter().map(ToString::to_string).collect() };
    let changed: Vec<ChangedDirectory> = client.post("/v1/catalog/changed", &goal)?;
    if !changed.is_empty() {
        let each: Vec<_> = changed.iter().map(ToString::to_string).collect();
        return Err(Error::No(printable(&each.join("\n"))));
    }
    if !args.vary {
        let standings = wait(&args.names, args.timeout, &client, output)?;
        return report(&standings, output);
    }
    let overview: Overview = client.get("/v1/overview")?;
    let images: Vec<_> = args.names.iter().filter(|name| overview.images.contains_key(*name)).cloned().collect();
    if args.names.is_empty() || !images.is_empty() {
        // A verdict is no matter here: what fails for not being reproducible is just what is to be explained.
        let standings = wait(&images, args.timeout, &client, output)?;
        let failed = standings.into_iter().filter(|(_, standing)| matches!(standing, Standing::Failed { .. }));
        if let Some(text) = trouble(&failed.collect()) {
            return Err(Error::No(printable(&text)));
        }
    }
    vary::run(args, &client, settings.jobs, output)
}

/// Waits until these images are built and judged, or can't be.
fn wait(
    images: &[ImageName],
    timeout: Option<u64>,
    client: &Client,
    output: &Output,
) -> Result<BTreeMap<ImageName, Standing>> {
    let begun_ms = now_ms();
    let deadline = timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let view = View::Daemon(client.clone());
    let mut after = 0;
    loop {
        let overview: Overview = client.get("/v1/overview")?;
        let state = view.state()?;
        let goal = goal(&overview, images, &view, &state)?;
        let standings: BTreeMap<_, _> =
            goal.iter().map(|(name, key)| (name.clone(), standing(&state, &overview, name, key))).collect();
        let waiting: Vec<_> =
            standings.iter().filter(|(_, s)| **s == Standing::Waiting).map(|(name, _)| name.to_string()).collect();
        let lines: Vec<Line> =
            client.get(&format!("/v1/progress?after={after}&wait={}", if waiting.is_empty() { 0 } else { 1000 }))?;
        after = lines.last().map_or(after, |line| line.seq);
        // What was put up before this command began is not its business.
        lines
            .iter()
            .filter(|line| line.at_ms >= begun_ms)
            .filter_map(line_text)
            .for_each(|text| output.note(&printable(&text)));
        if waiting.is_empty() {
            return Ok(standings);
        }
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Err(Error::No(format!("not done in time: {}; the daemon goes on", waiting.join(", "))));
        }
    }
}

/// The named images, or all of them, with the keys that name them before they are built.
fn goal(
    overview: &Overview,
    named: &[ImageName],
    view: &View,
    state: &State,
) -> Result<BTreeMap<ImageName, DerivationId>> {
    if named.is_empty() {
        return Ok(overview.images.clone());
    }
    let mut goal = BTreeMap::new();
    for name in named {
        let Some(key) = overview.images.get(name) else { return Err(unknown(name, view, state)) };
        goal.insert(name.clone(), *key);
    }
    Ok(goal)
}

/// An image that the daemon's catalogue does not have; the nearest name that it has.
fn unknown(name: &ImageName, view: &View, state: &State) -> Error {
    let catalog = state.revision.and_then(|(_, blob)| Catalog::from_json(&view.blob(&blob).ok()?).ok());
    match catalog.as_ref().map(|catalog| catalog.image(name)) {
        Some(Err(error)) => with_help(&error),
        _ => Error::Input(format!("the daemon's catalogue has no image `{name}`")),
    }
}

fn standing(state: &State, overview: &Overview, name: &ImageName, key: &DerivationId) -> Standing {
    let image = state.assembled.get(key).and_then(|manifest| state.images.get(manifest));
    if let Some(image) = image {
        return match image.verdict {
            Some((passed, counts, _)) => match (passed, candidate(state, image)) {
                (true, None) => Standing::Waiting,
                (_, candidate) => Standing::Judged { manifest: image.manifest, passed, counts, candidate },
            },
            None => Standing::Waiting,
        };
    }
    let held = overview.held.get(name).into_iter().flatten();
    let failures: Vec<_> = held
        .filter_map(|id| state.failures.get(id))
        .map(|failure| Failed {
            package: failure.package.to_string(),
            summary: failure.summary.clone(),
            log: failure.log,
            retry_after_ms: failure.retry_after_ms,
        })
        .collect();
    if failures.is_empty() { Standing::Waiting } else { Standing::Failed { failures } }
}

/// The candidate that an image is, or was published as.
fn candidate(state: &State, image: &Image) -> Option<CandidateId> {
    let published = state.published(&image.name).filter(|p| p.manifest == image.manifest).map(|p| p.candidate);
    let newest = state.newest_candidate(&image.name).filter(|c| c.manifest == image.manifest).map(|c| c.id);
    published.or(newest)
}

fn report(standings: &BTreeMap<ImageName, Standing>, output: &Output) -> Result<()> {
    let text = || {
        let mut text = String::new();
        for (name, standing) in standings {
            if let Standing::Judged { manifest, passed, counts: (good, warned, failed), candidate } = standing {
                let verdict = if *passed { "passed" } else { "did not pass" };
                let candidate = candidate.map(|id| format!("; candidate {id}")).unwrap_or_default();
                let counts = format!("{good} passed, {warned} warned, {failed} failed");
                let _ = writeln!(text, "{name} {manifest} {verdict}: {counts}{candidate}");
            }
        }
        text
    };
    output.result(text, standings)?;
    match trouble(standings) {
        None => Ok(()),
        Some(text) => Err(Error::No(printable(&text))),
    }
}

/// What went wrong, each failed build once; `None` where every image passed.
fn trouble(standings: &BTreeMap<ImageName, Standing>) -> Option<String> {
    let mut builds: BTreeMap<&str, (&Failed, Vec<&str>)> = BTreeMap::new();
    let mut text = String::new();
    for (name, standing) in standings {
        match standing {
            Standing::Failed { failures } => {
                for failed in failures {
                    builds.entry(&failed.package).or_insert((failed, Vec::new())).1.push(name.as_str());
                }
            }
            Standing::Judged { passed: false, .. } => {
                let _ = writeln!(text, "{name} did not pass; what was found: anneal image check {name}");
            }
            Standing::Waiting | Standing::Judged { .. } => {}
        }
    }
    for (failed, images) in builds.values() {
        let _ = writeln!(text, "{}", failed.summary.trim_end());
        let (images, again) = (images.join(", "), when(failed.retry_after_ms));
        let _ =
            writeln!(text, "  {images} cannot be assembled; change the recipe, or wait: it is tried again at {again}");
    }
    (!text.is_empty()).then(|| text.trim_end().to_owned())
}

/// A line of progress, where it is worth one.
fn line_text(line: &Line) -> Option<String> {
    match &line.news {
        // A small file is told of once, when it is there, and the build root's packages by the dozen.
        News::Progress(Progress::Fetching { bytes, .. }) if *bytes < LARGE_BYTES => None,
        News::Progress(Progress::BuildRoot { done, of }) if done % BUILD_ROOT_STEP != 0 && done != of => None,
        News::Progress(progress) => Some(progress_text(progress)),
        News::Trouble(text) => Some(format!("trouble: {text}")),
        // The builder has told of these already.
        News::Event(record) => match &record.event {
            Event::PackageBuilt { .. } | Event::BuildFailed { .. } | Event::PackageTried { .. } => None,
            event => Some(event_text(event)),
        },
    }
}

pub(super) fn progress_text(progress: &Progress) -> String {
    match progress {
        Progress::Fetching { file, bytes } => format!("fetching {file} ({})", human_bytes(*bytes)),
        Progress::Fetched { file, place } => format!("fetched {file} from {place}"),
        Progress::BuildRoot { done, of } => format!("build root: {done} of {of} packages"),
        Progress::Started { package, version, phase } => match phase {
            Phase::Build => format!("building {package} {version}"),
            Phase::Proof => format!("building {package} {version} once more, to prove that it is reproducible"),
            Phase::Test => format!("testing {package} {version}"),
            Phase::Trial => format!("building {package} {version} once more in other surroundings"),
            Phase::Kept => format!("building {package} {version} once more, to prove that it could be kept"),
        },
        Progress::Built { package, version, cached: true, .. } => format!("{package} {version} was built before"),
        Progress::Built { package, version, reproducible, .. } => {
            format!("built {package} {version}{}", if *reproducible { ", reproducibly" } else { "; NOT reproducible" })
        }
        Progress::Tested { package, passed } => {
            let failed = || format!("FAILED; their log: anneal recipe log {package}");
            format!("tests of {package} {}", if *passed { "passed".to_owned() } else { failed() })
        }
        Progress::Failed { package, summary, .. } => {
            format!("{package} FAILED: {}", summary.lines().next().unwrap_or_default())
        }
        Progress::Assembled { image, manifest } => format!("assembled {image}: {manifest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(package: &str) -> Standing {
        let (package, summary) = (package.to_owned(), "zlib does not build: exited with code 1\ntail".to_owned());
        Standing::Failed { failures: vec![Failed { package, summary, log: None, retry_after_ms: 0 }] }
    }

    fn standings(all: &[(&str, Standing)]) -> BTreeMap<ImageName, Standing> {
        all.iter().map(|(name, standing)| (ImageName::new(*name).unwrap(), standing.clone())).collect()
    }

    fn judged(passed: bool) -> Standing {
        let counts = (1, 0, u32::from(!passed));
        Standing::Judged { manifest: BlobDigest::of(b"m"), passed, counts, candidate: None }
    }

    #[test]
    fn a_build_that_holds_up_two_images_is_told_once_with_both() {
        let text = trouble(&standings(&[("a", failed("zlib")), ("b", failed("zlib")), ("c", judged(true))])).unwrap();
        assert_eq!(text.matches("does not build").count(), 1, "{text}");
        assert!(text.contains("a, b cannot be assembled"), "{text}");
    }

    #[test]
    fn an_image_that_did_not_pass_is_trouble_and_one_that_passed_is_none() {
        assert!(trouble(&standings(&[("a", judged(true))])).is_none());
        assert!(trouble(&standings(&[("a", judged(false))])).unwrap().contains("a did not pass"));
    }
}
