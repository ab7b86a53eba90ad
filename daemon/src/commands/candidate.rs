//! `anneal candidate`: look at what awaits a decision, and decide, with your own key.

use crate::{
    error::{Error, Result, io},
    output::{Output, human_bytes, printable},
    settings::Settings,
    tasks::{CheckReport, binding, report},
    view::{View, daemon, view},
};
use anneal_attest::{Approval, Decision, Role, SecretKey, Statement, Timestamp, sign_statement};
use anneal_builder::{FileChange, ImageDiff};
use anneal_checks::{Finding, Outcome};
use anneal_ledger::{Candidate, CandidateId, Image, Kept, KeptProof, State};
use clap::Subcommand;
use serde_json::json;
use std::{fmt::Write as _, path::PathBuf};

/// How many changed files are listed.
const FILES_SHOWN: usize = 40;

/// What can be done with candidates.
#[derive(Debug, Subcommand)]
pub(crate) enum CandidateCommand {
    /// Every candidate
    List {
        /// Those that were decided too
        #[arg(long)]
        all: bool,
    },
    /// What changed, what it fixes, what the checks said, what an approval binds to
    Show {
        /// Such as c3
        candidate: CandidateId,
    },
    /// The changed files, all of them
    Diff {
        /// Such as c3
        candidate: CandidateId,
    },
    /// Approve, signed with your key
    Approve(DecideArgs),
    /// Reject, signed with your key
    Reject(DecideArgs),
}

/// A decision.
#[derive(Debug, clap::Args)]
pub(crate) struct DecideArgs {
    /// Such as c3
    pub(crate) candidate: CandidateId,
    /// Your secret key
    #[arg(long, value_name = "FILE", env = "ANNEAL_APPROVER_KEY")]
    pub(crate) key: PathBuf,
    /// The image that you looked at; a candidate that is another one is not decided
    #[arg(long, value_name = "SHA256")]
    pub(crate) digest: Option<anneal_content::BlobDigest>,
    /// Why
    #[arg(short, long, default_value = "")]
    pub(crate) message: String,
}

/// Performs the command.
pub(crate) fn run(command: &CandidateCommand, settings: &Settings, output: &Output) -> Result<()> {
    match command {
        CandidateCommand::List { all } => list(settings, output, *all),
        CandidateCommand::Show { candidate } => {
            let view = view(settings)?;
            let shown = Shown::read(&view, *candidate)?;
            output.result(|| shown.text(), &shown.json()?)
        }
        CandidateCommand::Diff { candidate } => {
            let view = view(settings)?;
            let shown = Shown::read(&view, *candidate)?;
            output.result(|| files_text(&shown.diff, usize::MAX), &shown.diff)
        }
        CandidateCommand::Approve(args) => decide(args, Decision::Approve, settings, output),
        CandidateCommand::Reject(args) => decide(args, Decision::Reject, settings, output),
    }
}

fn list(settings: &Settings, output: &Output, all: bool) -> Result<()> {
    let state = view(settings)?.state()?;
    let shown: Vec<_> = state.candidates.values().filter(|c| all || c.status.word() == "open").collect();
    let text = || {
        let mut text = String::new();
        for c in &shown {
            let fixes = if c.fixes.is_empty() { String::new() } else { format!("  fixes {}", c.fixes.join(", ")) };
            let _ = writeln!(text, "{:5} {:10} {:20} {}{fixes}", c.id, c.status.word(), c.image, c.manifest);
        }
        if shown.is_empty() {
            text.push_str(if all { "no candidates yet\n" } else { "nothing awaits a decision\n" });
        }
        printable(&text)
    };
    output.result(text, &shown)
}

/// Everything that an approver is shown.
struct Shown {
    state: State,
    candidate: Candidate,
    image: Image,
    diff: ImageDiff,
    report: CheckReport,
}

fn find(state: &State, id: CandidateId) -> Result<Candidate> {
    Ok(state.candidates.get(&id).cloned().ok_or(anneal_ledger::Refusal::NoCandidate(id))?)
}

impl Shown {
    fn read(view: &View, id: CandidateId) -> Result<Self> {
        let state = view.state()?;
        let candidate = find(&state, id)?;
        let missing = || Error::Internal(format!("image {} is not in the ledger", candidate.manifest));
        let image = state.images.get(&candidate.manifest).cloned().ok_or_else(missing)?;
        let results = image.verdict.map(|(_, _, results)| results).ok_or_else(missing)?;
        let report = report(&view.blob(&results)?)?;
        let diff = view.json(&candidate.diff)?;
        Ok(Self { diff, report, image, candidate, state })
    }

    fn json(&self) -> Result<serde_json::Value> {
        Ok(json!({
            "candidate": self.candidate, "packages": self.image.packages, "layers": self.image.layers,
            "kept": self.state.kept_in(&self.image).collect::<Vec<_>>(),
            "swapped": self.state.swapped_in(&self.image).map(|(_, kept)| kept).collect::<Vec<_>>(),
            "diff": self.diff, "verdict": self.report.verdict, "evidence": self.image.evidence,
            "binding": binding(&self.state, &self.candidate)?,
        }))
    }

    fn text(&self) -> String {
        let (candidate, diff) = (&self.candidate, &self.diff);
        let tags: Vec<_> = candidate.tags.iter().map(ToString::to_string).collect();
        let mut text = format!("candidate {} of {}: {}\n", candidate.id, candidate.image, candidate.status.word());
        let _ = writeln!(text, "  image     {}", candidate.manifest);
        let _ = writeln!(text, "  index     {}", candidate.index);
        let _ = writeln!(text, "  tags      {}", tags.join(", "));
        let fixes = if candidate.fixes.is_empty() { "nothing known".into() } else { candidate.fixes.join(", ") };
        let _ = writeln!(text, "  fixes     {fixes}");
        let before = diff.from.map_or_else(|| "nothing: this is the first".into(), |digest| digest.to_string());
        let _ = writeln!(text, "  replaces  {before}");
        text.push_str(&packages_text(diff));
        let size = format!("{} (before {})", human_bytes(diff.bytes_now), human_bytes(diff.bytes_before));
        let pull = human_bytes(diff.bytes_to_pull);
        let _ = writeln!(
            text,
            "  size      {size}; a client pulls {pull}: {} new layers, {} it has",
            diff.layers_new, diff.layers_reused
        );
        let swapped = self.state.swapped_in(&self.image).map(|(_, kept)| kept);
        for kept in self.state.kept_in(&self.image).chain(swapped) {
            let _ = writeln!(text, "  kept      {}", kept_text(kept));
        }
        text.push_str(&checks_text(&self.report.findings));
        let _ = writeln!(text, "  evidence");
        for evidence in &self.image.evidence {
            let _ = writeln!(text, "    {} ({} key) {}", evidence.predicate_type, evidence.role, evidence.bundle);
        }
        text.push_str(&files_text(diff, FILES_SHOWN));
        printable(&text)
    }
}

/// A build that was not repeated, and whether that is proved.
fn kept_text(kept: &Kept) -> String {
    let libraries: Vec<_> = kept.linked.keys().map(ToString::to_string).collect();
    let swapped = !kept.ground.is_interface();
    let proof = match kept.proof {
        KeptProof::Due if swapped => "is to be built with it",
        KeptProof::Identical { .. } if swapped => "built with it, it is the same",
        KeptProof::Settled { .. } => "built with it, it is another: a newer candidate has it",
        KeptProof::Unsettled { .. } => "it does NOT build with it: look at its recipe",
        KeptProof::Dropped { .. } => "the checks spoke against it: a newer candidate is on its way",
        KeptProof::Due => "not proved yet",
        KeptProof::Identical { .. } => "proof build identical",
        KeptProof::Failed { .. } => "proof build NOT identical: a newer candidate is on its way",
    };
    let (package, version, libraries) = (&kept.package, &kept.version, libraries.join(", "));
    if swapped {
        return format!("{package} {version}: ships as it was built, with {libraries} as it is now; {proof}");
    }
    format!("{package} {version}: interface equal of {libraries}; {proof}")
}

fn packages_text(diff: &ImageDiff) -> String {
    let mut text = String::new();
    for change in &diff.packages {
        let side = |v: &Option<anneal_content::Version>| v.as_ref().map_or_else(|| "-".into(), ToString::to_string);
        let _ = writeln!(text, "  package   {} {} -> {}", change.package, side(&change.from), side(&change.to));
    }
    text
}

/// Counts, and every finding that is not a pass.
fn checks_text(findings: &[Finding]) -> String {
    let failed: Vec<_> = findings.iter().filter(|f| f.outcome == Outcome::Failed).collect();
    let passed = findings.iter().filter(|f| f.outcome == Outcome::Passed).count();
    let mut text = format!("  checks    {passed} passed, {} with findings\n", failed.len());
    for finding in failed {
        let path = finding.object.path.clone().unwrap_or_default();
        let _ =
            writeln!(text, "    {:?} {} {path}: {}; {}", finding.severity, finding.check, finding.title, finding.found);
    }
    text
}

fn files_text(diff: &ImageDiff, most: usize) -> String {
    let mut text = String::new();
    for (path, change) in diff.files.iter().take(most) {
        let sign = match change {
            FileChange::Added => '+',
            FileChange::Removed => '-',
            FileChange::Changed => '~',
        };
        let _ = writeln!(text, "  {sign} {path}");
    }
    if diff.files.len() > most {
        let _ = writeln!(text, "  ... and {} more: anneal candidate diff", diff.files.len() - most);
    }
    text
}

fn decide(args: &DecideArgs, decision: Decision, settings: &Settings, output: &Output) -> Result<()> {
    let client = daemon(settings)?;
    let key = crate::keys::read_key(&args.key, Role::Approver)?;
    let state: State = client.get("/v1/state")?;
    let candidate = find(&state, args.candidate)?;
    if let Some(digest) = args.digest.filter(|digest| *digest != candidate.manifest) {
        let (id, manifest) = (candidate.id, candidate.manifest);
        return Err(Error::No(format!("candidate {id} is {manifest}, not {digest}: nothing was signed")));
    }
    state.may_decide(candidate.id, &candidate.manifest, &key.public().id().hex())?;
    let statement = sign_decision(&state, &candidate, decision, &args.message, &key)?;
    let _: () = client.post_bytes(&format!("/v1/candidates/{}/decision", candidate.id), statement)?;
    let word = if decision == Decision::Approve { "approved" } else { "rejected" };
    let value = json!({ "candidate": candidate.id, "image": candidate.manifest, "decision": word });
    output.result(|| format!("{word} {} ({}) {}\n", candidate.id, candidate.image, candidate.manifest), &value)
}

/// What an approver is shown of a candidate, and the diff in it.
pub(crate) fn summary(view: &View, id: CandidateId) -> Result<(String, ImageDiff)> {
    let shown = Shown::read(view, id)?;
    Ok((shown.text(), shown.diff))
}

/// The signed statement of a decision: bound to everything that was shown.
pub(crate) fn sign_decision(
    state: &State,
    candidate: &Candidate,
    decision: Decision,
    comment: &str,
    key: &SecretKey,
) -> Result<Vec<u8>> {
    let seconds = i64::try_from(crate::service::now_ms() / 1000).unwrap_or(i64::MAX);
    let approval = Approval {
        decision,
        candidate: binding(state, candidate)?,
        comment: comment.to_owned(),
        approver: key.public().id(),
        time: Timestamp::from_unix(seconds)?,
    };
    Ok(sign_statement(&Statement::approval(approval), key)?.json().to_vec())
}

/// Reads a public key file.
pub(crate) fn read_public(path: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(io("read", path))
}
