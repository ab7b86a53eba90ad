//! All probes in one mode, each with its control.

use anneal_sandbox::Ended;
use serde::{Deserialize, Serialize};

use crate::trial::{Order, Trial, Walls, attempt, forget};
use crate::{Control, Ending, Expectation, Outcome, Probe, Result, Table, Verdict};

/// The code that a probe ends with where it is told to fail.
const FAILURE: i32 = 3;

/// Who starts the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The superuser, who can give each run a user of its own.
    Root,
    /// Anyone else.
    Rootless,
}

impl Mode {
    /// The mode of this process.
    pub fn now() -> Self {
        if nix::unistd::geteuid().is_root() { Self::Root } else { Self::Rootless }
    }
}

/// What the negative control came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Proof {
    /// With its walls taken away the probe escaped.
    Alive {
        /// Which walls, or why without any sandbox.
        how: String,
        /// How much of what it tried got out.
        escaped: usize,
        /// How much it tried.
        tried: usize,
        /// The first that got out.
        first: String,
    },
    /// It held all the same, so it proves nothing.
    Dead {
        /// What was done and seen.
        reason: String,
    },
    /// For a guest that is thrown away alone, which this is not.
    Guest {
        /// Why.
        why: String,
    },
    /// Nobody asked.
    NotAsked,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// The probe.
    pub id: String,
    /// What it tries.
    pub title: String,
    /// Who started the sandbox.
    pub mode: Mode,
    /// How the run ended after it.
    pub ending: Ending,
    /// What it must come to.
    pub expect: Expectation,
    /// How many things were tried.
    pub tried: usize,
    /// What it came to.
    pub outcome: Verdict,
    /// What its control came to.
    pub control: Proof,
}

impl Row {
    /// Whether the walls stood, or the result says that they can't.
    pub fn holds(&self) -> bool {
        matches!(self.outcome, Verdict::Held | Verdict::NotEnforced(_))
    }

    /// Whether its control failed to show that it is alive.
    pub fn is_dead(&self) -> bool {
        matches!(self.control, Proof::Dead { .. })
    }
}

/// What to run.
#[derive(Debug)]
pub struct Suite {
    table: Table,
    /// Whether the controls run too.
    controls: bool,
    /// Whether this is a machine that may be harmed.
    disposable: bool,
}

impl Suite {
    /// The suite over the crate's own table.
    pub fn new(controls: bool, disposable: bool) -> Result<Self> {
        Ok(Self { table: Table::read()?, controls, disposable })
    }

    /// Only the probes with these numbers.
    pub fn only(mut self, ids: &[String]) -> Self {
        self.table.probe.retain(|probe| ids.contains(&probe.id));
        self
    }

    /// Runs everything in the mode of this process, telling of each row as it is there.
    pub fn run(&self, tell: &mut dyn FnMut(&Row)) -> Result<Vec<Row>> {
        let mode = Mode::now();
        let mut rows = Vec::new();
        for probe in self.table.probe.iter().filter(|probe| probe.modes.contains(&mode)) {
            for (at, ending) in probe.endings.iter().enumerate() {
                let (first, outcome, tried) = judge(probe, mode, *ending)?;
                // One control is enough; it runs with the last ending, which is the one that leaves most behind.
                let last = at + 1 == probe.endings.len();
                let control =
                    if self.controls && last { self.prove(probe, mode, *ending, &first)? } else { Proof::NotAsked };
                let (id, title) = (probe.id.clone(), probe.title.clone());
                let row = Row { id, title, mode, ending: *ending, expect: probe.expect, tried, outcome, control };
                tell(&row);
                rows.push(row);
            }
        }
        Ok(rows)
    }

    fn prove(&self, probe: &Probe, mode: Mode, ending: Ending, normal: &Outcome) -> Result<Proof> {
        let (walls, how) = match probe.control(mode) {
            Control::Without(patterns) => {
                let names: Vec<String> = patterns.iter().map(ToString::to_string).collect();
                (Walls::Without(patterns), format!("without {}", names.join(", ")))
            }
            Control::Outside(why) => (Walls::None, format!("outside, since {why}")),
            Control::Guest(why) if self.disposable => (Walls::None, format!("in this guest, since {why}")),
            Control::Guest(why) => return Ok(Proof::Guest { why: why.clone() }),
        };
        let mut trials = runs(probe, mode, ending, walls)?;
        if let Some(trouble) = trials.iter().find_map(|trial| trial.trouble.clone()) {
            return Ok(Proof::Dead { reason: format!("{how}: {trouble}") });
        }
        let tried = trials.iter().map(|trial| trial.outcome.tried.len()).sum();
        let escapes = match (probe.expect, trials.first_mut()) {
            (Expectation::Same, Some(trial)) => normal.differences(&trial.outcome),
            _ => trials.iter().flat_map(|trial| trial.outcome.escapes()).collect(),
        };
        Ok(match escapes.first() {
            Some(first) => Proof::Alive { how, escaped: escapes.len(), tried, first: first.clone() },
            None => Proof::Dead { reason: format!("{how}: it held all the same, {tried} things tried") },
        })
    }
}

/// Every run that a probe with one ending takes.
fn runs(probe: &Probe, mode: Mode, ending: Ending, walls: Walls<'_>) -> Result<Vec<Trial>> {
    let leave = format!("leave={}", 0x616e_6e00 | (std::process::id() & 0xff));
    let plain = vec![String::new()];
    let variants = if probe.variants.is_empty() { &plain } else { &probe.variants };
    let mut trials = Vec::new();
    for variant in variants {
        let words = vec![variant.clone(), leave.clone()];
        trials.push(attempt(Order { probe, mode, ending, words: &words }, walls)?);
        if probe.again {
            trials.push(attempt(Order { probe, mode, ending: Ending::Succeeds, words: &words }, walls)?);
            forget(probe, &leave)?;
        }
    }
    Ok(trials)
}

/// Runs a probe as it is: what its first run said, the verdict on all, and how much was tried.
fn judge(probe: &Probe, mode: Mode, ending: Ending) -> Result<(Outcome, Verdict, usize)> {
    let mut trials = runs(probe, mode, ending, Walls::All)?;
    let mut verdict = Verdict::Held;
    for (at, trial) in trials.iter().enumerate() {
        let last = probe.again && at % 2 == 1;
        let one = of_trial(probe, if last { Ending::Succeeds } else { ending }, trial);
        if one != Verdict::Held {
            verdict = one;
            break;
        }
    }
    if probe.expect == Expectation::Same && verdict == Verdict::Held {
        let again = runs(probe, mode, ending, Walls::All)?;
        let pairs = trials.iter().zip(&again);
        let differences: Vec<String> = pairs.flat_map(|(a, b)| a.outcome.differences(&b.outcome)).collect();
        if !differences.is_empty() {
            verdict = Verdict::Escaped(differences);
        }
    }
    let tried = trials.iter().map(|trial| trial.outcome.tried.len().max(usize::from(probe.limit.is_some()))).sum();
    let first = if trials.is_empty() { Outcome::default() } else { trials.swap_remove(0).outcome };
    Ok((first, verdict, tried))
}

/// The verdict on one run.
fn of_trial(probe: &Probe, ending: Ending, trial: &Trial) -> Verdict {
    if let Some(trouble) = &trial.trouble {
        return Verdict::Broken(trouble.clone());
    }
    let Some(ended) = trial.ended else { return Verdict::Broken("it did not run".to_owned()) };
    if let Some(limit) = &probe.limit {
        let name = serde_json::to_value(ended).ok();
        if name.as_ref().and_then(serde_json::Value::as_str) == Some(limit) {
            return if trial.outcome.host.is_empty() { Verdict::Held } else { trial.outcome.verdict() };
        }
        // A result that says `memory: …` is not enforced has said it before anything was tried.
        let said = limit.split('-').next().unwrap_or_default();
        return match trial.not_enforced.iter().find(|gap| gap.starts_with(said)) {
            Some(gap) => Verdict::NotEnforced(gap.clone()),
            None => Verdict::Escaped(vec![format!("it {ended}, and {limit} should have ended it")]),
        };
    }
    let expected = match ending {
        Ending::Succeeds => Ended::Exited(0),
        Ending::Fails => Ended::Exited(FAILURE),
        Ending::Cancelled => Ended::Cancelled,
    };
    match trial.outcome.verdict() {
        // Where runs share the caller's user, the result says so.
        Verdict::Escaped(seen) if probe.about_users() => {
            match trial.not_enforced.iter().find(|gap| gap.starts_with("own user: ")) {
                Some(gap) => Verdict::NotEnforced(gap.clone()),
                None => Verdict::Escaped(seen),
            }
        }
        Verdict::Held if ended != expected => {
            Verdict::Broken(format!("it {ended}, which is not how it was told to end"))
        }
        other => other,
    }
}
