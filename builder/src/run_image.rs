//! Running an image in the sandbox: read-only root, no capability, no network but its own loopback, its own user.

use crate::{Error, Result};
use anneal_recipe::{Expectation, ImageRecipe};
use anneal_sandbox::{CancelToken, HttpProbe, Kind, Limits, Mount, MountSource, Outcome, Pool, Spec};
use std::{collections::BTreeMap, path::PathBuf, str::FromStr as _, time::Duration};

/// How an image is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRun {
    /// The command line.
    pub argv: Vec<String>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Where it starts.
    pub workdir: PathBuf,
    /// Numeric user and group.
    pub user: (u32, u32),
    /// The HTTP request to make: port and path.
    pub http: Option<(u16, String)>,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
}

const READY_WITHIN: Duration = Duration::from_secs(20);
const WALL: Duration = Duration::from_secs(60);
const SCRATCH_BYTES: u64 = 64 << 20;

impl ImageRun {
    /// How a recipe's run check runs its image; `None` if there is nothing to run.
    pub fn of(recipe: &ImageRecipe) -> Option<Self> {
        let run = recipe.run.as_ref()?;
        let http = match &run.expect {
            Expectation::Http { port, path, .. } => Some((*port, path.clone())),
            Expectation::Exits { .. } => None,
        };
        Some(Self {
            argv: recipe.run_argv(),
            env: recipe.env.clone(),
            workdir: recipe.workdir.as_str().into(),
            user: (recipe.user.uid, recipe.user.gid),
            http,
            stop_signal: recipe.stop_signal.clone(),
        })
    }
}

/// Runs an image whose root is made of these directories, the first on top.
pub fn run_image(
    roots: Vec<PathBuf>,
    run: &ImageRun,
    sandboxes: &Pool,
    log: &mut (dyn std::io::Write + Send),
    cancel: &CancelToken,
) -> Result<Outcome> {
    let stop_signal = run.stop_signal.as_deref().unwrap_or("SIGTERM");
    let stop_signal = nix::sys::signal::Signal::from_str(stop_signal)
        .map_err(|_| Error::Missing { what: format!("a signal called {stop_signal}") })?;
    let probe = run.http.as_ref().map(|(port, path)| HttpProbe {
        port: *port,
        path: path.clone(),
        ready_within: READY_WITHIN,
        stop_signal: stop_signal as i32,
    });
    let mut env = run.env.clone();
    env.entry("PATH".into()).or_insert_with(|| "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into());
    let scratch = MountSource::Scratch { bytes: SCRATCH_BYTES, inodes: 10_000 };
    let spec = Spec {
        root: roots,
        mounts: vec![Mount { at: "/tmp".into(), source: scratch }],
        argv: run.argv.clone(),
        env,
        cwd: run.workdir.clone(),
        uid: run.user.0,
        gid: run.user.1,
        limits: Limits { wall: WALL, silence: WALL, memory_bytes: 1 << 30, pids: 256, ..Limits::default() },
        probe,
        ..Spec::of(Kind::Run)
    };
    Ok(sandboxes.run(&spec, log, cancel)?)
}
