//! One run of a probe: in a sandbox, in one that lacks some walls, or in none.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anneal_sandbox::{CancelToken, Ended, Op, first_id, remove_tree, run_edited};

use crate::companion::Companion;
use crate::pattern::take_away;
use crate::stage::processor;
use crate::{Ending, Error, KEY, Mode, Need, Outcome, Pattern, Probe, Result, Stage};

/// What a probe says when it has tried everything.
const CLOSING: &[u8] = b"\ntried ";
/// How long a probe may take outside a sandbox.
const PATIENCE: Duration = Duration::from_secs(30);
/// Looks at an output that must not change, and the pause between them.
const LOOKS: usize = 6;
const LOOK_AGAIN: Duration = Duration::from_millis(11);
/// How long a process that nobody ended may go on after it was told to stop.
const SURVIVORS_END: Duration = Duration::from_secs(6);
/// The first of the keys of shared memory, each used once.
const FIRST_KEY: u32 = 0x616e_0000;

/// What stands between a probe and the host.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Walls<'a> {
    /// All of the sandbox.
    All,
    /// All but these.
    Without(&'a [Pattern]),
    /// None.
    None,
}

/// What a run of a probe is told beside what its table says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) probe: &'a Probe,
    pub(crate) mode: Mode,
    pub(crate) ending: Ending,
    /// More words for the probe.
    pub(crate) words: &'a [String],
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) outcome: Outcome,
    /// How the run ended; none without a sandbox, or where none could be made.
    pub(crate) ended: Option<Ended>,
    pub(crate) not_enforced: Vec<String>,
    /// Why it says nothing.
    pub(crate) trouble: Option<String>,
}

/// Runs a probe once, and its sibling beside it where it needs one.
pub(crate) fn attempt(order: Order<'_>, walls: Walls<'_>) -> Result<Trial> {
    let names = names(order.probe);
    if !order.probe.needs(Need::Sibling) || matches!(walls, Walls::None) {
        return alone(order, walls, &names, true);
    }
    let mut words = order.words.to_vec();
    words.push("role=sibling".to_owned());
    let sibling = Order { words: &words, ..order };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| alone(sibling, walls, &names, false));
        let mut trial = alone(order, walls, &names, true)?;
        let other = other.join().map_err(|_| Error::Table("the sibling's thread died".to_owned()))??;
        let said = other.outcome.tried.into_iter().map(|(held, what)| (held, format!("sibling: {what}")));
        let count = other.outcome.closed.unwrap_or(0);
        trial.outcome.tried.extend(said);
        trial.outcome.closed = trial.outcome.closed.map(|closed| closed + count);
        trial.trouble = trial.trouble.or(other.trouble);
        Ok(trial)
    })
}

/// Removes memory that a run without its own namespace of it has left on the host.
pub(crate) fn forget(probe: &Probe, leave: &str) -> Result<()> {
    let stage = Stage::new(probe)?;
    // Fails where there is nothing to remove, which is as it should be.
    let status = Command::new(stage.program()).args(["forget", leave]).stdin(Stdio::null()).status();
    status.map(drop).map_err(|source| Error::Stage { action: "remove shared memory", source })
}

/// Names that nobody else on the host uses.
fn names(probe: &Probe) -> Vec<String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    let key = FIRST_KEY | (process.wrapping_mul(64).wrapping_add(number) & 0xffff);
    let mut names = vec![
        format!("abstract=anneal-attack-{process}-{number}"),
        format!("inward=anneal-attack-inward-{process}-{number}"),
        format!("memory={key}"),
    ];
    if probe.needs(Need::Key) && std::env::var_os(KEY).is_some_and(|key| key == "planted") {
        names.push("key=planted".to_owned());
    }
    names
}

/// The companion's orders: what the probe needs.
fn companion_words(probe: &Probe, stage: &Stage, names: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    for (need, word) in [(Need::Abstract, "abstract="), (Need::Inward, "inward="), (Need::Memory, "memory=")] {
        words.extend(names.iter().filter(|name| probe.needs(need) && name.starts_with(word)).cloned());
    }
    if probe.needs(Need::Socket) {
        words.push(format!("socket={}", stage.socket().display()));
    }
    if probe.needs(Need::Tcp) {
        words.push("tcp=yes".to_owned());
    }
    words
}

fn has_companion(probe: &Probe) -> bool {
    [Need::Process, Need::Abstract, Need::Socket, Need::Tcp, Need::Memory, Need::Inward]
        .iter()
        .any(|need| probe.needs(*need))
}

fn ending_word(ending: Ending) -> String {
    let name = match ending {
        Ending::Succeeds => "succeeds",
        Ending::Fails => "fails",
        Ending::Cancelled => "cancelled",
    };
    format!("ending={name}")
}

fn alone(order: Order<'_>, walls: Walls<'_>, names: &[String], accompanied: bool) -> Result<Trial> {
    let stage = Stage::new(order.probe)?;
    let before = stage.inputs();
    let accompanied = accompanied && has_companion(order.probe);
    let remains = if order.probe.needs(Need::Remains) { Some(Remains::leave(order, walls, names)?) } else { None };
    let mut words = order.words.to_vec();
    words.extend(remains.as_ref().map(|remains| format!("remains={}", remains.file.display())));
    let order = Order { words: &words, ..order };
    let (mut trial, output) = match walls {
        Walls::None => (outside(order, &stage, names, accompanied)?, stage.open_output()),
        Walls::All => (inside(order, &stage, names, accompanied, &[])?, stage.output()),
        Walls::Without(patterns) => {
            let host_root = patterns.iter().any(Pattern::keeps_host_root);
            let output = if host_root { stage.open_output() } else { stage.output() };
            (inside(order, &stage, names, accompanied, patterns)?, output)
        }
    };
    if let Some(remains) = remains {
        trial.outcome.host.extend(remains.exposed);
        trial.trouble = trial.trouble.or(remains.trouble);
    }
    let host = &mut trial.outcome.host;
    if order.probe.needs(Need::Still) && is_changing(&output) {
        host.push("the output goes on changing after the run".to_owned());
        // Nothing can be removed before what survived has ended.
        let _ = fs::write(output.join("stop"), "");
        let end = Instant::now() + SURVIVORS_END;
        while is_changing(&output) && Instant::now() < end {}
    }
    for (was, is) in before.iter().zip(stage.inputs()).filter(|(was, is)| *was != is) {
        host.push(format!("an input was changed: {was} is {is}"));
    }
    // By plain means, since those of the sandbox are what a probe of removal is about.
    if matches!(walls, Walls::None)
        && let Err(error) = fs::remove_dir_all(&output)
    {
        host.push(format!("an output stays behind: {error}"));
    }
    if let Err(error) = remove_tree(&output) {
        host.push(format!("an output stays behind: {error}"));
    }
    Ok(trial)
}

/// What a run has left in its output. It stays as long as this value, as with somebody who looks into a build that failed.
struct Remains {
    _stage: Stage,
    file: PathBuf,
    /// What is wrong with it on the host.
    exposed: Option<String>,
    trouble: Option<String>,
}

impl Remains {
    /// Has the same probe leave it, behind the same walls.
    fn leave(order: Order<'_>, walls: Walls<'_>, names: &[String]) -> Result<Self> {
        let stage = Stage::new(order.probe)?;
        let patterns = if let Walls::Without(patterns) = walls { patterns } else { &[] };
        let mut words = order.words.to_vec();
        words.push("role=leaves".to_owned());
        let trial = inside(Order { words: &words, ..order }, &stage, names, false, patterns)?;
        let host_root = patterns.iter().any(Pattern::keeps_host_root);
        let output = if host_root { stage.open_output() } else { stage.output() };
        let file = output.join("left");
        let mode = fs::symlink_metadata(&file).map(|found| found.mode());
        let bits = mode.as_ref().copied().unwrap_or_default() & 0o6000;
        let exposed = (bits != 0).then(|| format!("what was left has set-id bits: {bits:o}"));
        let told = trial.outcome.tried.iter().find(|(held, _)| !held).map(|(_, what)| what.clone());
        let absent = mode.err().map(|error| format!("nothing was left: {error}"));
        Ok(Self { _stage: stage, file, exposed: exposed.or(told), trouble: trial.trouble.or(absent) })
    }
}

/// Whether somebody is still at work in a directory. It takes more than two looks: what swaps two things is every other
/// time as it was.
fn is_changing(dir: &Path) -> bool {
    let state = Stage::state(dir);
    (0..LOOKS).any(|_| {
        std::thread::sleep(LOOK_AGAIN);
        Stage::state(dir) != state
    })
}

/// What a run writes, and the hand that cancels it once everything is tried.
struct Log<'a> {
    bytes: Vec<u8>,
    cancel: Option<&'a CancelToken>,
}

impl Write for Log<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        if let Some(cancel) = self.cancel
            && self.bytes.windows(CLOSING.len()).any(|window| window == CLOSING)
        {
            cancel.cancel();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the edit of a list leaves for afterwards.
#[derive(Default)]
struct Edited {
    companion: Option<Companion>,
    trouble: Option<String>,
}

fn inside(order: Order<'_>, stage: &Stage, names: &[String], accompanied: bool, without: &[Pattern]) -> Result<Trial> {
    let Order { probe, mode, ending, words } = order;
    let spec = stage.spec(probe)?;
    let host_root = without.iter().any(Pattern::keeps_host_root);
    let left = RefCell::new(Edited::default());
    let edit = |ops: Vec<Op>| {
        let mut left = left.borrow_mut();
        let user = ops.iter().find_map(|op| if let Op::Enter { uid, .. } = op { Some(uid.outside) } else { None });
        let (mut ops, unmatched) = take_away(ops, without);
        if !unmatched.is_empty() {
            left.trouble = Some(format!("nothing in the list reads like `{}`", unmatched.join("`, `")));
        }
        let mut facts = Vec::new();
        if accompanied {
            let user = user.filter(|_| mode == Mode::Root);
            match Companion::start(&stage.program(), &companion_words(probe, stage, names), user) {
                Ok(companion) => {
                    facts.clone_from(&companion.facts);
                    left.companion = Some(companion);
                }
                Err(error) => left.trouble = Some(error.to_string()),
            }
        }
        for op in &mut ops {
            if let Op::Exec { argv, cwd, .. } = op {
                if host_root {
                    *argv = vec![stage.program().display().to_string(), probe.id.clone()];
                    *cwd = "/".to_owned();
                }
                argv.extend(stage.words(!host_root));
                argv.extend(names.iter().chain(&facts).chain(words).cloned());
                argv.push(ending_word(ending));
                argv.extend(limit_words(probe));
            }
        }
        ops
    };
    let cancel = CancelToken::new();
    let mut log = Log { bytes: Vec::new(), cancel: (ending == Ending::Cancelled).then_some(&cancel) };
    let result = run_edited(&spec, &edit, &mut log, &cancel);
    let text = String::from_utf8_lossy(&log.bytes).into_owned();
    let mut trial = Trial { outcome: Outcome::read(&text), ended: None, not_enforced: Vec::new(), trouble: None };
    let left = left.into_inner();
    if let Some(companion) = left.companion {
        trial.outcome.host.extend(companion.end());
    }
    match result {
        Ok(outcome) => {
            trial.ended = Some(outcome.ended);
            let (told, model) = (&outcome.surroundings.cpu_model, processor());
            if probe.needs(Need::Recorded) && *told != model {
                trial.outcome.host.push(format!("the result says that the processor is {told:?}, and it is {model:?}"));
            }
            trial.not_enforced = outcome.limits_not_enforced;
            trial.trouble = left.trouble;
        }
        Err(error @ anneal_sandbox::Error::NamespacesForbidden { .. }) if without.is_empty() => {
            return Err(error.into());
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            trial.trouble = Some(format!("no sandbox could be made: {error}{cause}"));
        }
    }
    Ok(trial)
}

/// What a probe of limits must know of them.
fn limit_words(probe: &Probe) -> Vec<String> {
    let limits = &probe.limits;
    let word = |name: &str, value: Option<u64>| value.map(|value| format!("{name}={value}"));
    [word("pids", limits.pids), word("memory-bytes", limits.memory_bytes), word("log-bytes", limits.log_bytes)]
        .into_iter()
        .flatten()
        .collect()
}

fn outside(order: Order<'_>, stage: &Stage, names: &[String], accompanied: bool) -> Result<Trial> {
    let failed = |source| Error::Stage { action: "run a probe outside of a sandbox", source };
    let Order { probe, mode, words, .. } = order;
    let user = (mode == Mode::Root).then(first_id);
    let companion = match accompanied {
        true => Some(Companion::start(&stage.program(), &companion_words(probe, stage, names), user)?),
        false => None,
    };
    // A file and no pipe: a process that forked away would keep a pipe open.
    let log = stage.output().with_file_name("log");
    let file = File::create(&log).map_err(failed)?;
    let mut command = Command::new(stage.program());
    command.arg(&probe.id).args(stage.words(false)).args(names).args(words).args(limit_words(probe)).arg("outside=yes");
    if let Some(companion) = &companion {
        command.args(&companion.facts);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(file).stderr(Stdio::null());
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let mut child = command.spawn().map_err(failed)?;
    let end = Instant::now() + PATIENCE;
    while child.try_wait().map_err(failed)?.is_none() {
        if Instant::now() > end {
            child.kill().map_err(failed)?;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let text = read_lossy(&log).map_err(failed)?;
    let mut outcome = Outcome::read(&text);
    if let Some(companion) = companion {
        outcome.host.extend(companion.end());
    }
    Ok(Trial { outcome, ended: None, not_enforced: Vec::new(), trouble: None })
}

fn read_lossy(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}
