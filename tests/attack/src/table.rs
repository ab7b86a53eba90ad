//! The probes as data.

use serde::{Deserialize, Serialize};

use crate::{Error, Mode, Pattern, Result};

/// What a probe must come to in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expectation {
    /// Everything tried is refused.
    Refused,
    /// What does it is killed.
    Killed,
    /// What is looked for is not there.
    Absent,
    /// What is seen is the same in each run.
    Same,
}

/// How a run ends after the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// With code 0.
    Succeeds,
    /// With another code.
    Fails,
    /// By cancellation while it waits.
    Cancelled,
}

/// What must stand on the host while a probe runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A process of the payload's own host user.
    Process,
    /// A listener on an abstract socket.
    Abstract,
    /// A listener on a socket at a path.
    Socket,
    /// A listener on a port of the loopback.
    Tcp,
    /// A System V segment, a set of semaphores and a queue.
    Memory,
    /// Somebody who calls an abstract socket of the payload.
    Inward,
    /// The same probe in another sandbox at the same time.
    Sibling,
    /// A key on the session keyring of whoever starts the sandbox.
    Key,
    /// A directory that whoever starts the sandbox holds open and lets every child inherit.
    Leak,
    /// A look at the output after the run: it must not change any more.
    Still,
    /// What a run before it, which ended in the same way, has left in its output and nobody has removed.
    Remains,
    /// A result that names the processor.
    Recorded,
}

/// How a probe is shown to be alive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, try_from = "Written")]
pub enum Control {
    /// In a sandbox without these operations.
    Without(Vec<Pattern>),
    /// Without any sandbox, since no operation is the sole protection: this is what protects.
    Outside(String),
    /// Without any sandbox, and only in a guest that is thrown away, since this could harm the host.
    Guest(String),
}

/// A control as the table has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    without: Option<Vec<String>>,
    outside: Option<String>,
    guest: Option<String>,
}

impl TryFrom<Written> for Control {
    type Error = String;

    fn try_from(written: Written) -> std::result::Result<Self, String> {
        match (written.without, written.outside, written.guest) {
            (Some(patterns), None, None) if !patterns.is_empty() => patterns
                .iter()
                .map(|text| Pattern::parse(text))
                .collect::<std::result::Result<_, _>>()
                .map(Self::Without),
            (None, Some(why), None) => Ok(Self::Outside(why)),
            (None, None, Some(why)) => Ok(Self::Guest(why)),
            _ => Err("a control is one of `without`, `outside` and `guest`".to_owned()),
        }
    }
}

/// What the sandbox of a probe may use, where that differs from the suite's usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LimitChanges {
    /// Milliseconds of wall time.
    pub wall_ms: Option<u64>,
    /// Milliseconds of silence.
    pub silence_ms: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Processes.
    pub pids: Option<u64>,
    /// Bytes of log.
    pub log_bytes: Option<u64>,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Probe {
    /// Its number in the list of probes; also the name of its function.
    pub id: String,
    /// What it tries.
    pub title: String,
    /// What it must come to.
    pub expect: Expectation,
    /// The modes it makes sense in.
    #[serde(default = "both")]
    pub modes: Vec<Mode>,
    /// Endings that it is repeated for, beside nothing but success.
    #[serde(default = "success")]
    pub endings: Vec<Ending>,
    /// What must stand on the host.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// The user inside; as 0 a program that was left its capabilities would have them after exec too.
    #[serde(default = "user")]
    pub uid: u32,
    /// Words for the probe, one run with each.
    #[serde(default)]
    pub variants: Vec<String>,
    /// Whether a second run looks for what the first has left.
    #[serde(default)]
    pub again: bool,
    /// The limit that must end it, as a result names it; none where it ends by itself.
    #[serde(default)]
    pub limit: Option<String>,
    /// What its sandbox may use.
    #[serde(default)]
    pub limits: LimitChanges,
    /// How it is shown to be alive.
    pub control: Control,
    /// The same without root, where that differs.
    #[serde(default)]
    pub control_rootless: Option<Control>,
}

fn both() -> Vec<Mode> {
    vec![Mode::Root, Mode::Rootless]
}

fn success() -> Vec<Ending> {
    vec![Ending::Succeeds]
}

fn user() -> u32 {
    1000
}

impl Probe {
    /// The control in a mode.
    pub fn control(&self, mode: Mode) -> &Control {
        match (&self.control_rootless, mode) {
            (Some(control), Mode::Rootless) => control,
            _ => &self.control,
        }
    }

    /// Whether it is about who stands behind the payload on the host.
    pub fn about_users(&self) -> bool {
        matches!(&self.control, Control::Without(patterns) if patterns.iter().any(Pattern::is_subordinate_user))
    }

    /// Whether something must stand on the host for it.
    pub fn needs(&self, need: Need) -> bool {
        self.needs.contains(&need)
    }
}

/// A number of the list that other tests cover, since no program in a sandbox could.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Elsewhere {
    /// Its number.
    pub id: String,
    /// What is tried.
    pub title: String,
    /// The tests, as `file: name`.
    pub tests: Vec<String>,
    /// Why it is no probe here.
    pub why: String,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Table {
    /// The probes, in order.
    pub probe: Vec<Probe>,
    /// What other tests cover.
    pub elsewhere: Vec<Elsewhere>,
}

impl Table {
    /// The table of this crate.
    pub fn read() -> Result<Self> {
        toml::from_str(crate::PROBES).map_err(|error| Error::Table(error.to_string()))
    }
}
