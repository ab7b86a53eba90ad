//! What a run could see of its host and nobody can fix: recorded, so that two results that differ can be told apart.

use std::fs;
use std::sync::OnceLock;

use serde::Serialize;

use crate::{HostFacts, Users};

/// Which control groups held a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CgroupKind {
    /// The unified hierarchy: memory, processes and processor time in one group.
    V2,
    /// Separate hierarchies: memory and processes, where each is mounted and can be written.
    V1,
    /// No group; the outcome's `limits_not_enforced` says what that leaves open.
    #[default]
    None,
}

/// Which host user stood behind the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdMode {
    /// A user that no other run had at the same time.
    Own,
    /// A subordinate id of the caller that no other run had at the same time.
    Subordinate,
    /// The caller's own user, which other runs of the same caller share.
    Shared,
}

/// The facts of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Surroundings {
    /// Release of the kernel. `uname` and `/proc` show another, but what it can do shows.
    pub kernel: String,
    /// Model of the first processor, whose instructions a payload can find out about.
    pub cpu_model: String,
    /// The real clock at the start, milliseconds of Unix time.
    pub clock_ms: u64,
    /// The control groups.
    pub cgroup: CgroupKind,
    /// Version of the kernel's Landlock interface; 0 where there is none.
    pub landlock_abi: u32,
    /// The host user.
    pub id_mode: IdMode,
    /// How often the outputs were measured against their limits, milliseconds; `None` where there was no output.
    pub outputs_checked_every_ms: Option<u64>,
}

impl Surroundings {
    /// Looks at what stays the same as long as this process lives once only.
    pub(crate) fn gather(host: &HostFacts, cgroup: CgroupKind, clock_ms: u64, checked: Option<u64>) -> Self {
        static FIXED: OnceLock<(String, String)> = OnceLock::new();
        let (kernel, cpu_model) = FIXED.get_or_init(|| (kernel_release(), cpu_model())).clone();
        Self {
            kernel,
            cpu_model,
            clock_ms,
            cgroup,
            landlock_abi: host.landlock_abi,
            id_mode: match host.users {
                Users::Own => IdMode::Own,
                Users::Subordinate => IdMode::Subordinate,
                Users::Shared { .. } => IdMode::Shared,
            },
            outputs_checked_every_ms: checked,
        }
    }
}

/// The release of the kernel, or nothing.
pub(crate) fn kernel_release() -> String {
    nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

fn cpu_model() -> String {
    model_in(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

fn model_in(cpuinfo: &str) -> String {
    let value = |line: &str| line.strip_prefix("model name")?.split_once(':').map(|(_, value)| value.trim().to_owned());
    cpuinfo.lines().find_map(value).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_that_of_the_first_processor() {
        let text = "processor\t: 0\nmodel\t\t: 1\nmodel name\t: One: a\n\nprocessor\t: 1\nmodel name\t: Two\n";
        assert_eq!(model_in(text), "One: a");
        assert_eq!(model_in("processor\t: 0\n"), "unknown");
    }
}
