//! The demo's own state directory and daemon process.

use crate::{
    client::Client,
    error::{Error, Result, io},
    settings::{Origin, Settings},
};
use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The images of the story: the followed one, and two that its advisory doesn't touch. The rest of the catalogue would
/// make it longer and add nothing.
pub(super) const IMAGES: &[&str] = &["busybox", "nginx", "static-base"];
/// How long the daemon may take to start.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// Settings with a state directory for the demo: the one that was named, or a new temporary one.
pub(super) fn own_state(mut settings: Settings) -> Result<Settings> {
    settings.catalog_dir()?;
    let named = settings.shown.iter().any(|(name, _, origin)| name == "state" && *origin != Origin::Default);
    if !named {
        let large = PathBuf::from("/var/tmp");
        let base = if large.is_dir() { large } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("anneal-demo.").tempdir_in(&base).map_err(io("create in", &base))?;
        settings.state = dir.keep();
    }
    // The demo approves what is open. It must never meet a catalogue that somebody means.
    let marker = settings.state.join("demo");
    if settings.state.join("store").exists() && !marker.exists() {
        let state = settings.state.display();
        return Err(Error::Input(format!("{state} is not a state directory of the demo; name an empty one, or none")));
    }
    std::fs::create_dir_all(&settings.state).map_err(io("create", &settings.state))?;
    std::fs::write(&marker, "anneal demo\n").map_err(io("write", &marker))?;
    settings.feed = settings.state.join("feed");
    settings.server = Some(settings.state.join("anneal.sock"));
    Ok(settings)
}

/// A daemon that the demo started.
pub(super) struct Daemon {
    child: Child,
    pub(super) client: Client,
    pub(super) listen: String,
    pub(super) log: PathBuf,
}

impl Daemon {
    /// Starts this program's daemon on the demo's state and waits until it answers.
    pub(super) fn start(settings: &Settings) -> Result<Self> {
        let client = Client::new(settings.state.join("anneal.sock"));
        if client.answers() {
            let state = settings.state.display();
            return Err(Error::Input(format!(
                "a daemon runs on {state} already; stop it first, or name another state"
            )));
        }
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr());
        let listen = free.map_err(io("find a free port on", "127.0.0.1"))?.to_string();
        let program = std::env::current_exe().map_err(io("find", "this program"))?;
        let log = settings.state.join("daemon.log");
        let log_file = File::options().append(true).create(true).open(&log).map_err(io("create", &log))?;
        let mut command = Command::new(&program);
        // Its input is a pipe that this process holds: however this process ends, so does the daemon.
        command.args(["daemon", "--until-input-ends"]).arg("--state").arg(&settings.state).args(["--listen", &listen]);
        command.arg("--catalog").arg(settings.catalog_dir()?).args(["--jobs", &settings.jobs.to_string()]);
        command.env("ANNEAL_IMAGES", IMAGES.join(" "));
        command.env("ANNEAL_FEED", &settings.feed).env("ANNEAL_PUBLIC_NAME", &listen);
        if let Some(lock) = &settings.lock {
            command.env("ANNEAL_LOCK", lock);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log_file);
        let child = command.spawn().map_err(io("start", &program))?;
        let mut daemon = Self { child, client, listen, log };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let patience = Instant::now() + START_PATIENCE;
        while !self.client.answers() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Error::Internal(format!("the daemon ended ({status}):\n{}", self.last_words())));
            }
            if Instant::now() > patience {
                return Err(Error::Internal(format!("the daemon did not start:\n{}", self.last_words())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Asks it to stop, and waits.
    pub(super) fn stop(mut self) -> Result<()> {
        self.terminate();
        let patience = Instant::now() + STOP_PATIENCE;
        while Instant::now() < patience {
            if let Ok(Some(status)) = self.child.try_wait() {
                if status.success() {
                    return Ok(());
                }
                return Err(Error::Internal(format!("the daemon ended with {status}:\n{}", self.last_words())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(Error::Internal("the daemon did not stop".into()))
    }

    fn terminate(&self) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.terminate();
            let _ = self.child.wait();
        }
    }
}
