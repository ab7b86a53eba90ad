//! The host side of one run: trees, an output, canaries, and the spec of a sandbox over them.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anneal_sandbox::{Spec, TemporaryDirectory};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::json;

use crate::{Error, Need, PROGRAM, Probe, Result};

/// What must be found nowhere.
const SECRET: &[u8] = b"anneal-attack-secret-7c31";
const MIB: u64 = 1 << 20;

/// Directories of one run.
///
/// `open` can be reached by every user of the host, so that permission bits are not what protects anything in it;
/// `closed` only by the one who runs the suite, as outputs must be.
#[derive(Debug)]
pub struct Stage {
    dir: TemporaryDirectory,
    leak: Option<File>,
}

/// The model of this host's processor, as it says.
pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown".to_owned(), |(_, model)| model.trim().to_owned())
}

fn failed(source: io::Error) -> Error {
    Error::Stage { action: "make files", source }
}

impl Stage {
    /// Makes everything anew.
    pub fn new(probe: &Probe) -> Result<Self> {
        let dir = TemporaryDirectory::new("anneal-attack-")?;
        let mut stage = Self { dir, leak: None };
        stage.fill().map_err(failed)?;
        if probe.needs(Need::Leak) {
            let leak = File::open(stage.open("host")).map_err(failed)?;
            fcntl(leak.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| failed(errno.into()))?;
            stage.leak = Some(leak);
        }
        Ok(stage)
    }

    fn fill(&self) -> io::Result<()> {
        let mode = |path: &Path, bits| fs::set_permissions(path, Permissions::from_mode(bits));
        mode(self.dir.path(), 0o755)?;
        for (name, bits) in [
            ("open", 0o755),
            ("open/root", 0o755),
            ("open/tree", 0o777),
            ("open/other", 0o755),
            ("open/undeclared", 0o755),
            ("open/single", 0o777),
            ("open/host", 0o777),
            ("open/scratch", 0o777),
            ("open/scratch/out", 0o777),
            ("closed", 0o700),
            ("closed/out", 0o700),
        ] {
            let path = self.dir.path().join(name);
            fs::create_dir(&path)?;
            mode(&path, bits)?;
        }
        for (name, bits) in [
            ("tree/file", 0o666),
            // The caller's alone, in a tree that is given to the payload.
            ("tree/private", 0o600),
            ("other/other", 0o666),
            ("undeclared/file", 0o644),
            ("single/file", 0o666),
            ("host/canary", 0o644),
        ] {
            let path = self.open(name);
            fs::write(&path, format!("{name} of the host"))?;
            mode(&path, bits)?;
        }
        fs::write(self.open("host/secret"), SECRET)?;
        mode(&self.open("host/secret"), 0o644)?;
        fs::write(self.program(), PROGRAM)?;
        mode(&self.program(), 0o755)
    }

    fn open(&self, name: &str) -> PathBuf {
        self.dir.path().join("open").join(name)
    }

    /// The program as a path of the host.
    pub(crate) fn program(&self) -> PathBuf {
        self.open("root/attack")
    }

    /// The output directory.
    pub(crate) fn output(&self) -> PathBuf {
        self.dir.path().join("closed/out")
    }

    /// Where outputs go without a sandbox.
    pub(crate) fn open_output(&self) -> PathBuf {
        self.open("scratch/out")
    }

    /// The place of the companion's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.open("host/socket")
    }

    /// The same for every run: everything that a probe is told, by the paths it sees.
    pub(crate) fn words(&self, inside: bool) -> Vec<String> {
        let path = |name: &str| self.open(name).display().to_string();
        let secret: Vec<String> = SECRET.iter().map(|byte| (byte ^ 0x5a).to_string()).collect();
        let mut words = vec![
            format!("host={}", path("host")),
            format!("canary={}", path("host/canary")),
            format!("socket={}", path("host/socket")),
            format!("undeclared={}", path("undeclared/file")),
            format!("closed={}", self.dir.path().join("closed").display()),
            format!("secret={}", secret.join(",")),
            format!("stage={}", self.dir.path().file_name().unwrap_or_default().to_string_lossy()),
            format!("processor={}", processor()),
            "env=HOME,PATH,TZ".to_owned(),
            "mounts=/src,/both,/empty,/file,/out,/tmp".to_owned(),
        ];
        if inside {
            let fixed = ["inputs=/src/file,/both/file,/both/other,/file,/attack", "out=/out", "scratch=/tmp", "look=/"];
            words.extend(fixed.map(str::to_owned));
            words.push("places=/proc,/dev,/tmp,/src,/both,/empty,/out".to_owned());
        } else {
            words.push(format!("inputs={},{}", path("tree/file"), path("single/file")));
            words.push(format!("out={}", path("scratch/out")));
            words.push(format!("scratch={}", path("scratch")));
            words.push(format!("look={}", path("host")));
            words.push("places=/proc,/dev,/tmp".to_owned());
        }
        words
    }

    /// The sandbox of a probe, in the form that an operator would write.
    pub(crate) fn spec(&self, probe: &Probe) -> Result<Spec> {
        let limits = &probe.limits;
        let spec = json!({
            "kind": "build",
            "root": [self.open("root")],
            "mounts": [
                { "at": "/src", "source": { "trees": [self.open("tree")] } },
                { "at": "/both", "source": { "trees": [self.open("tree"), self.open("other")] } },
                { "at": "/empty", "source": { "trees": [] } },
                { "at": "/file", "source": { "file": self.open("single/file") } },
                { "at": "/out", "source": { "output": self.output() } },
                { "at": "/tmp", "source": { "scratch": { "bytes": 16 * MIB, "inodes": 1000 } } },
            ],
            "argv": ["/attack", probe.id],
            "env": { "PATH": "/", "HOME": "/none", "TZ": "UTC" },
            "cwd": "/tmp",
            "uid": probe.uid,
            "gid": probe.uid,
            "hostname": "anneal",
            "limits": {
                "wall_ms": limits.wall_ms.unwrap_or(20_000),
                "silence_ms": limits.silence_ms.unwrap_or(20_000),
                "memory_bytes": limits.memory_bytes.unwrap_or(512 * MIB),
                "pids": limits.pids.unwrap_or(64),
                "log_bytes": limits.log_bytes.unwrap_or(4 * MIB),
                "open_files": 256,
                "cpus": 1,
            },
        });
        serde_json::from_value(spec).map_err(|error| Error::Table(format!("the sandbox of {}: {error}", probe.id)))
    }

    /// The state of everything that a run must leave alone.
    pub(crate) fn inputs(&self) -> Vec<String> {
        [
            "tree",
            "tree/file",
            "other",
            "other/other",
            "undeclared/file",
            "single",
            "single/file",
            "host/canary",
            "host/secret",
        ]
        .map(|name| {
            let path = self.open(name);
            let found = fs::symlink_metadata(&path);
            let found = found.map(|m| (m.mode(), m.uid(), m.nlink(), m.mtime(), m.mtime_nsec(), m.len()));
            format!("{name} {found:?} {:?}", fs::read(&path).ok())
        })
        .to_vec()
    }

    /// The state of an output: names, kinds, sizes and content.
    pub(crate) fn state(dir: &Path) -> Vec<String> {
        let mut state: Vec<String> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| {
                let (kind, bytes) = (entry.file_type().ok(), fs::read(entry.path()).ok());
                format!("{:?} {kind:?} {bytes:?}", entry.file_name())
            })
            .collect();
        state.sort();
        state
    }
}
