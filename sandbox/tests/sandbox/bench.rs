//! A tiny root with nothing but the payload, and short ways to run it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anneal_sandbox::{CancelToken, Error, Kind, Limits, Mount, MountSource, Outcome, Pool, Spec, run};

/// Names a payload that is compiled already.
pub(crate) const PAYLOAD: &str = "ANNEAL_TEST_PAYLOAD";
/// Set where every run is to be one from a pool.
pub(crate) const POOLED: &str = "ANNEAL_TEST_POOLED";
/// How many times slower than usual this machine is: in an emulated one everything takes longer.
const SLOW: &str = "ANNEAL_TEST_SLOW";
pub(crate) const MIB: u64 = 1 << 20;

/// A time that holds on a usual machine, as long as it has to be on this one.
pub(crate) fn patient(time: Duration) -> Duration {
    time * std::env::var(SLOW).ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

/// The payload, compiled once.
pub(crate) fn payload() -> &'static Path {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    COMPILED.get_or_init(|| {
        if let Some(path) = std::env::var_os(PAYLOAD) {
            return path.into();
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/payload.rs");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("payload-{}", std::process::id()));
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let status = Command::new(rustc)
            .args(["--edition", "2024", "-C", "target-feature=+crt-static", "-C", "relocation-model=static", "-o"])
            .arg(&path)
            .arg(source)
            .status()
            .unwrap();
        assert!(status.success(), "the payload does not compile");
        path
    })
}

/// Whether sandboxes can be made here; says so if not.
pub(crate) fn possible(test: &str) -> bool {
    match Bench::new().run(&["true"]) {
        Err(Error::NamespacesForbidden { setting, .. }) => {
            let line = format!("skipped: {test}: {setting}\n");
            std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
            false
        }
        _ => true,
    }
}

/// Leaves the test where sandboxes can't be made.
macro_rules! needs_sandbox {
    () => {
        if !crate::bench::possible(module_path!()) {
            return;
        }
    };
}
pub(crate) use needs_sandbox;

/// A place for trees and outputs, and the spec that the tests start from.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    pub(crate) spec: Spec,
    pub(crate) pool: Option<Pool>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        // A link where the file system allows it: the payload is a few MiB.
        if std::fs::hard_link(payload(), root.join("payload")).is_err() {
            std::fs::copy(payload(), root.join("payload")).unwrap();
        }
        let limits = Limits {
            wall: Duration::from_secs(60),
            silence: Duration::from_secs(60),
            memory_bytes: 512 * MIB,
            pids: 64,
            log_bytes: 4 * MIB,
            open_files: 256,
            cpus: 1,
            ..Limits::default()
        };
        let scratch = MountSource::Scratch { bytes: 16 * MIB, inodes: 1000 };
        let spec = Spec {
            root: vec![root],
            mounts: vec![Mount { at: "/tmp".into(), source: scratch }],
            env: BTreeMap::from([("PATH".to_owned(), "/".to_owned())]),
            cwd: "/tmp".into(),
            limits,
            ..Spec::of(Kind::Build)
        };
        let pool = std::env::var_os(POOLED).map(|_| Pool::new(1).unwrap());
        Self { dir, spec, pool }
    }

    /// A new directory with one file in it.
    pub(crate) fn tree(&self, name: &str, file: &str, content: &str) -> PathBuf {
        let tree = self.dir.path().join(name);
        let path = tree.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        tree
    }

    /// A new empty directory that is mounted as output.
    pub(crate) fn output(&mut self, at: &str) -> PathBuf {
        let path = self.dir.path().join(format!("output{}", self.spec.mounts.len()));
        std::fs::create_dir(&path).unwrap();
        self.mount(at, MountSource::Output(path.clone()));
        path
    }

    pub(crate) fn mount(&mut self, at: &str, source: MountSource) {
        self.spec.mounts.push(Mount { at: at.into(), source });
    }

    /// Runs the payload with arguments.
    pub(crate) fn run(&self, args: &[&str]) -> Result<(Outcome, String), Error> {
        self.run_until(args, &CancelToken::new())
    }

    pub(crate) fn run_until(&self, args: &[&str], cancel: &CancelToken) -> Result<(Outcome, String), Error> {
        let args: Vec<&str> = std::iter::once("/payload").chain(args.iter().copied()).collect();
        self.execute(&args, cancel)
    }

    /// Runs another program, by its path in the sandbox.
    pub(crate) fn run_program(&self, args: &[&str]) -> Result<(Outcome, String), Error> {
        self.execute(args, &CancelToken::new())
    }

    fn execute(&self, args: &[&str], cancel: &CancelToken) -> Result<(Outcome, String), Error> {
        let mut spec = self.spec.clone();
        spec.argv = args.iter().copied().map(str::to_owned).collect();
        let mut log = Vec::new();
        let outcome = match &self.pool {
            Some(pool) => {
                pool.prepare_for(&spec);
                pool.settle();
                pool.run(&spec, &mut log, cancel)?
            }
            None => run(&spec, &mut log, cancel)?,
        };
        Ok((outcome, String::from_utf8_lossy(&log).into_owned()))
    }

    /// Runs the payload, which must succeed, and returns what it said.
    pub(crate) fn says(&self, args: &[&str]) -> String {
        let (outcome, log) = self.run(args).unwrap();
        assert!(outcome.succeeded(), "{} {log}", outcome.ended);
        log
    }
}
