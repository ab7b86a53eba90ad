//! From an action to the sandbox that builds it: which directories it sees, where, and with what limits.

use crate::{Builder, Phase, Result, script};
use anneal_content::{ActionResult, TreeDigest};
use anneal_plan::Inputs;
use anneal_sandbox::{Aspect, Kind, Limits, Mount, MountSource, Spec, Variation};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// Limits that don't change what comes out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    pub(crate) wall: Duration,
    pub(crate) memory_bytes: u64,
    pub(crate) cpus: u32,
}

/// A build that says nothing for this long is stuck.
const SILENCE: Duration = Duration::from_secs(15 * 60);
const LOG_BYTES: u64 = 64 << 20;
const SCRATCH_BYTES: u64 = 8 << 30;
const SCRATCH_INODES: u64 = 1 << 20;
const PIDS: u64 = 4096;
const OPEN_FILES: u64 = 4096;

/// What the proof of a build changes: everything that must not show in the result and costs no time. Fewer processors
/// would make it slower than the build, and copies of the inputs take memory: those are for a trial, and so is the umask,
/// which no host sets and of which only the group's bit could show in modes.
const PROOF: &[Aspect] = &[
    Aspect::Hostname,
    Aspect::User,
    Aspect::Timezone,
    Aspect::Locale,
    Aspect::Home,
    Aspect::Environment,
    Aspect::Path,
    Aspect::Addresses,
];

/// One run of a build: what it is for, and in what its surroundings differ from those of the build itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Surroundings {
    pub(crate) phase: Phase,
    pub(crate) variation: Variation,
}

impl Surroundings {
    /// Those of a phase that has no choice.
    pub(crate) fn of(phase: Phase) -> Self {
        let proof = if phase == Phase::Proof { PROOF } else { &[] };
        Self { phase, variation: proof.iter().copied().collect() }
    }

    /// In what they differ, in words, as a result says it; nothing for the build itself.
    pub(crate) fn differences(&self) -> Vec<String> {
        if matches!(self.phase, Phase::Build | Phase::Test | Phase::Kept) {
            return Vec::new();
        }
        // Whatever else is the same, it is another process at another time.
        self.variation.aspects().map(|aspect| aspect.to_string()).chain([TIME.to_owned()]).collect()
    }
}

/// What every repetition differs in.
pub(crate) const TIME: &str = "time";

/// Whether a result is that of the repetition that goes with each build.
pub(crate) fn proves(result: &ActionResult) -> bool {
    result.variation == Surroundings::of(Phase::Proof).differences()
}

impl Builder {
    /// The lower directories that together make `/sysroot`.
    pub(crate) fn sysroot_dirs(&self, inputs: &Inputs) -> Result<Vec<PathBuf>> {
        let trees = inputs.values().flat_map(BTreeMap::values);
        trees.filter(|tree| !is_empty(tree)).map(|tree| self.materialized(tree)).collect()
    }

    /// The sandbox of a build or of a package's test.
    pub(crate) fn work_spec(&self, stage: &Stage<'_>) -> Result<Spec> {
        let mut mounts = vec![
            scratch("/tmp"),
            scratch(script::BUILD),
            Mount { at: script::SRC.into(), source: MountSource::Trees(vec![stage.sources.to_owned()]) },
        ];
        if !stage.sysroot.is_empty() {
            mounts.push(Mount { at: script::SYSROOT.into(), source: MountSource::Trees(stage.sysroot.to_vec()) });
        }
        if let Some(out) = stage.out {
            mounts.push(Mount { at: script::OUT.into(), source: MountSource::Output(out.to_owned()) });
        }
        let spec = Spec {
            root: vec![self.root.dir()?],
            mounts,
            argv: vec!["/bin/sh".into(), "-eu".into(), "-c".into(), stage.script.clone()],
            env: stage.env.clone(),
            cwd: script::BUILD.into(),
            limits: Limits {
                wall: stage.allowance.wall,
                silence: SILENCE,
                memory_bytes: stage.allowance.memory_bytes,
                pids: PIDS,
                log_bytes: LOG_BYTES,
                open_files: OPEN_FILES,
                cpus: stage.allowance.cpus,
                ..Limits::default()
            },
            ..Spec::of(if stage.out.is_some() { Kind::Build } else { Kind::Test })
        };
        let mut spec = spec.varied(stage.variation);
        // A build that is shown other processors is told to use as many.
        if stage.variation.changes(Aspect::Cpus) {
            spec.env.insert("JOBS".to_owned(), spec.limits.cpus.to_string());
        }
        Ok(spec)
    }
}

/// What goes into the sandbox of one build or test.
pub(crate) struct Stage<'a> {
    pub(crate) sources: &'a Path,
    pub(crate) sysroot: &'a [PathBuf],
    pub(crate) out: Option<&'a Path>,
    pub(crate) script: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) allowance: Allowance,
    pub(crate) variation: &'a Variation,
}

fn scratch(at: &str) -> Mount {
    Mount { at: at.into(), source: MountSource::Scratch { bytes: SCRATCH_BYTES, inodes: SCRATCH_INODES } }
}

/// The digest of the directory with nothing in it, which needs no mount.
fn is_empty(tree: &TreeDigest) -> bool {
    anneal_content::Directory::default().encode().1 == *tree
}
