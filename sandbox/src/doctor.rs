//! Tries a sandbox on this host and says what holds, what does not, and how to mend it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::plan::LANDLOCK_ABI;
use crate::{CancelToken, Error, Kind, Limits, Outcome, Result, Spec, TemporaryDirectory, program, run, surroundings};

/// How the init program is asked to look around.
const LOOK: &str = "--look-around";
const PATIENCE: Duration = Duration::from_secs(20);

/// One thing that a sandbox should hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub name: String,
    /// Whether it holds here.
    pub holds: bool,
    /// What was seen.
    pub detail: String,
    /// What to do where it does not hold.
    pub mend: Option<String>,
}

/// What this host enforces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether sandboxes can be made at all.
    pub usable: bool,
    /// The release of the kernel.
    pub kernel: String,
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
}

/// Runs a sandbox whose payload says what it sees.
pub fn self_check() -> Report {
    let mut report = Report { usable: false, kernel: surroundings::kernel_release(), findings: Vec::new() };
    match look_around() {
        Ok((said, outcome)) => {
            report.usable = true;
            report.findings.extend(expected(&said));
            report.findings.extend(second_wall(outcome.surroundings.landlock_abi));
            report.findings.extend(outcome.limits_not_enforced.iter().map(|gap| missing(gap)));
        }
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            report.findings.push(Finding {
                name: "a sandbox can be made".to_owned(),
                holds: false,
                detail: if source.is_empty() { error.to_string() } else { format!("{error}: {source}") },
                mend: match error {
                    Error::NamespacesForbidden { setting, .. } => Some(setting),
                    _ => None,
                },
            });
        }
    }
    report
}

/// What the payload must have seen.
fn expected(said: &BTreeMap<String, String>) -> Vec<Finding> {
    [
        ("seccomp", "2", "system calls are filtered"),
        ("no-new-privileges", "1", "no program gains privilege"),
        ("capabilities", "0000000000000000", "no capability is held"),
        ("bounding", "0000000000000000", "no capability can be gained"),
        ("interfaces", "lo", "there is no network but the loopback"),
        ("pid", "2", "no other process is in sight"),
        ("above-root", "itself", "nothing lies above the root"),
        ("mounts", "sandbox only", "no mount of the host is in sight"),
    ]
    .into_iter()
    .map(|(field, wanted, name)| {
        let seen = said.get(field).map_or("nothing", String::as_str);
        let mend = (seen != wanted).then(|| "report this host's kernel and container settings as a defect".to_owned());
        Finding { name: name.to_owned(), holds: seen == wanted, detail: format!("{field}: {seen}"), mend }
    })
    .collect()
}

/// What Landlock holds, where there is any; that there is none is a gap and told as one.
fn second_wall(abi: u32) -> Option<Finding> {
    let more = [(3, ", truncation"), (5, ", device commands"), (6, ", signals and abstract sockets")];
    let more: String = more.iter().filter(|(since, _)| abi >= *since).map(|(_, what)| *what).collect();
    (abi >= LANDLOCK_ABI).then(|| Finding {
        name: "a second wall holds behind the mounts".to_owned(),
        holds: true,
        detail: format!("landlock version {abi}: files{more}"),
        mend: None,
    })
}

/// A finding about something that is not enforced.
fn missing(gap: &str) -> Finding {
    let name = gap.split(':').next().unwrap_or(gap).to_owned();
    Finding { name, holds: false, detail: gap.to_owned(), mend: Some(mend(gap).to_owned()) }
}

/// What to do about something that is not enforced.
pub(crate) fn mend(gap: &str) -> &'static str {
    match gap.split(':').next().unwrap_or(gap) {
        "memory" | "pids" => "run as root, or as a systemd service with Delegate=yes",
        "own user" if gap.contains(" is not installed") => {
            "install the Debian package `uidmap` (elsewhere often `shadow-utils` or `shadow`), or run as root"
        }
        "own user" if gap.contains("no range for ") => {
            "give this user ids, as root: `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME`, with numbers \
             that nobody has yet; or run as root"
        }
        "own user" if gap.contains("map refused: ") => {
            "let set-user-id programs work for this process (no NoNewPrivileges=, no `nosuid` where newuidmap is, no container \
             without these ids around it), or run as root"
        }
        "own user" if gap.contains(" is closed to other users") => {
            "let others read and search it (`chmod o+rX`); nobody reaches it whom the directories above keep out"
        }
        "own user" if gap.contains("no directory for the locks") => {
            "give this user a home directory, or remove what stands in the place of the directories that are named"
        }
        "ids of runs" => "give out other ranges of subordinate ids: payloads run as those from 4200000 on",
        "own user" => "see docs/sandbox.md, or run as root, so that each run has a host user of its own",
        "cpus" => "declare no more processors than this host has, or accept that fewer are used",
        "outputs" => "run as root or with subordinate ids, so that what a payload has closed can be read",
        "processor affinity" => "allow sched_setaffinity in the container or security policy around this process",
        "a session keyring of its own" => "allow keyctl in the container or security policy around this process",
        "log" => "keep on reading what the run writes",
        "clocks" => "run a kernel with CONFIG_TIME_NS",
        "landlock" => "run a kernel from 5.19 on with `landlock` in its list of security modules (`lsm=`)",
        _ => "see docs/sandbox.md",
    }
}

/// What the payload said, by name, and what was not enforced.
fn look_around() -> Result<(BTreeMap<String, String>, Outcome)> {
    let dir = TemporaryDirectory::new("anneal-check-")?;
    look_from(dir.path())
}

fn look_from(dir: &Path) -> Result<(BTreeMap<String, String>, Outcome)> {
    let failed = |source: std::io::Error| Error::Launch { action: "make a root", source };
    let root = dir.join("root");
    fs::create_dir(&root).map_err(failed)?;
    let program = root.join("look");
    fs::write(&program, program::BYTES).map_err(failed)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    let spec = Spec {
        root: vec![root],
        argv: vec!["/look".to_owned(), LOOK.to_owned()],
        limits: Limits { wall: PATIENCE, cpus: 1, ..Limits::default() },
        ..Spec::of(Kind::Test)
    };
    let mut log = Vec::new();
    let outcome = run(&spec, &mut log, &CancelToken::new())?;
    let text = String::from_utf8_lossy(&log);
    let said = text.lines().filter_map(|line| line.split_once(": "));
    Ok((said.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), outcome))
}
