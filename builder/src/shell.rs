//! A shell where a package is built: the sandbox of the build itself, with the same roots, mounts, environment and user.
//!
//! A sandbox gives its payload no standard input, so what is typed comes through a pipe in one directory more than a build
//! has, `/input`. It is no terminal: a line arrives when it is whole, and there is no control of jobs. Nothing that the
//! shell leaves is kept, and no result is recorded. A store that another process writes is only read; then the inputs of
//! the build must have been staged before, as they are after a build was tried.

use crate::{
    Builder, Error, Progress, Result,
    error::io,
    keep::Resolved,
    realise::WorkPlace,
    script,
    staging::{Allowance, Stage},
};
use anneal_content::PackageName;
use anneal_plan::{Derived, Inputs};
use anneal_recipe::Catalog;
use anneal_sandbox::{Mount, MountSource, Outcome, Variation};
use nix::sys::stat::Mode;
use std::{
    fs::{OpenOptions, Permissions},
    io::{Read, Write},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

/// Where the pipe is, inside.
const INPUT: &str = "/input";
const PIPE: &str = "pipe";
/// Somebody thinks, and meanwhile nothing is said.
const PATIENCE: Duration = Duration::from_secs(12 * 60 * 60);

/// Where a shell begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellStart {
    /// Where the first step would: sources are unpacked.
    FirstStep,
    /// Where a step fails, after those before it; a build that doesn't fail gives no shell.
    FailingStep,
}

/// What a shell is for, and with what it talks.
pub struct Shell<'a> {
    /// The package.
    pub package: &'a PackageName,
    /// Where it begins.
    pub start: ShellStart,
    /// Whether it asks for each line.
    pub prompts: bool,
    /// What it reads; read to its end by a thread that is not waited for.
    pub input: Box<dyn Read + Send>,
    /// Where it writes.
    pub output: &'a mut dyn Write,
    /// A directory of its own, closed to other users, that the caller removes.
    pub work_dir: &'a Path,
}

impl std::fmt::Debug for Shell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("package", self.package).field("start", &self.start).finish_non_exhaustive()
    }
}

impl Builder {
    /// Runs a shell to its end.
    pub fn shell(
        &self,
        catalog: &Catalog,
        derived: &Derived,
        shell: Shell<'_>,
        on: &(dyn Fn(Progress) + Sync),
    ) -> Result<Outcome> {
        let recipe = catalog.package(shell.package)?;
        let Resolved { action, mounted } = self.action_for_shell(derived, shell.package)?;
        if self.store.mode() == anneal_store::OpenMode::ReadWrite {
            self.root.ensure(self, on)?;
            for source in &recipe.selected().sources {
                self.archive(recipe.name.as_str(), source, on)?;
            }
        }
        let (sources, sysroot) = (self.source_dir(&action.sources)?, self.sysroot_dirs(&mounted)?);
        let place = WorkPlace::new(shell.work_dir)?;
        let stage = Stage {
            sources: &sources,
            sysroot: &sysroot,
            out: Some(&place.out),
            script: script::shell_script(&action, shell.start, shell.prompts, &format!("{INPUT}/{PIPE}")),
            env: script::environment(action.epoch, action.cpus, &action.env),
            allowance: Allowance {
                wall: PATIENCE,
                memory_bytes: u64::from(recipe.build.memory_mib) << 20,
                cpus: action.cpus,
            },
            variation: &Variation::default(),
        };
        let mut spec = self.work_spec(&stage)?;
        spec.limits.silence = PATIENCE;
        spec.mounts.push(Mount { at: INPUT.into(), source: MountSource::Output(place.input()?) });
        let pipe = place.input()?.join(PIPE);
        nix::unistd::mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|e| io("make a pipe at", &pipe)(e.into()))?;
        // The payload may be another user; the directory above is closed to everyone else.
        std::fs::set_permissions(&pipe, Permissions::from_mode(0o666)).map_err(io("open to the payload", &pipe))?;
        feed(shell.input, &pipe);
        Ok(anneal_sandbox::run(&spec, shell.output, &self.cancel)?)
    }

    /// The action of a package whose inputs were built.
    fn action_for_shell(&self, derived: &Derived, package: &PackageName) -> Result<Resolved> {
        let missing = |what: String| Error::Missing { what };
        let id = derived.ids.get(package).ok_or_else(|| missing(format!("the derivation of {package}")))?;
        let task = derived.derivations.get(id).ok_or_else(|| missing(format!("derivation {id}")))?;
        let mut inputs = Inputs::new();
        for input in task.requires.keys() {
            let built = derived.ids.get(input).map(|id| self.realised_one(id)).transpose()?.flatten();
            let built = built.ok_or_else(|| Error::NotBuilt { package: package.clone(), needs: input.clone() })?;
            inputs.insert(input.clone(), built.outputs);
        }
        self.resolve(task, &inputs)
    }
}

/// Hands on what is read, and ends with it. Opening waits for the shell, so this is a thread; where no shell ever comes it
/// ends with the process.
fn feed(mut input: Box<dyn Read + Send>, pipe: &Path) {
    let pipe = pipe.to_owned();
    std::thread::spawn(move || {
        let Ok(mut pipe) = OpenOptions::new().write(true).open(&pipe) else { return };
        let mut buffer = [0; 4096];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) if pipe.write_all(buffer.get(..count).unwrap_or_default()).is_ok() => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    });
}
