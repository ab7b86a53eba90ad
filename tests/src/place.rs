//! A state directory and a catalogue, and the program started on them.

use crate::{Daemon, Notes, Said, ask_socket, decoded, program, scratch, sha256, target, top, wait_for};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

/// A state directory with a catalogue.
#[derive(Debug, Clone)]
pub struct Place {
    /// The state directory.
    pub state: PathBuf,
    /// The recipes.
    pub catalog: PathBuf,
    /// Where the daemon listens.
    pub listen: String,
    /// The images of the catalogue that are built, apart by spaces; none: all of them.
    pub images: Option<&'static str>,
}

/// What the demo builds of the repository's catalogue; all of it is for `make catalogue`.
const STORY: &str = "busybox nginx static-base";

impl Place {
    /// These two, with a free port.
    pub fn new(state: &Path, catalog: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { state: state.to_owned(), catalog: catalog.to_owned(), listen: free.to_string(), images: None }
    }

    /// The repository's recipes, and the images of the story.
    pub fn of_repository(state: &Path) -> Self {
        Self::new(state, &top().join("recipes")).of_images(STORY)
    }

    /// These images alone.
    pub fn of_images(self, images: &'static str) -> Self {
        Self { images: Some(images), ..self }
    }

    /// A command that is about this place, with nothing else of ours from the environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        self.arguments(&mut command, args);
        command
    }

    /// The same through another program that starts ours.
    pub fn through(&self, by: &[&str], args: &[&str]) -> Command {
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).arg(program());
        self.arguments(&mut command, args);
        command
    }

    fn arguments(&self, command: &mut Command, args: &[&str]) {
        command.args(args).arg("--state").arg(&self.state).arg("--catalog").arg(&self.catalog);
        command.args(["--listen", &self.listen]);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANNEAL_") && name != "ANNEAL_BIN") {
            // A mirror is how this machine reaches the world, and nothing that a test is about.
            if !name.starts_with("ANNEAL_MIRROR_") {
                command.env_remove(name);
            }
        }
        command.env("ANNEAL_LOCK", top().join("vendor/build-root.lock")).env("NO_COLOR", "1");
        command.env("ANNEAL_CONFIG", empty_config());
        if let Some(images) = self.images {
            command.env("ANNEAL_IMAGES", images);
        }
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn anneal(&self, args: &[&str]) -> Said {
        Said::by(&mut self.command(args))
    }

    /// Starts a daemon and waits until it answers.
    #[track_caller]
    pub fn daemon(&self) -> Daemon {
        Daemon::start(self, &[])
    }

    /// Makes an approver's key beneath the state directory and enrols it.
    #[track_caller]
    pub fn approver(&self, name: &str) -> PathBuf {
        let file = self.state.join(format!("{name}.pem"));
        let path = file.to_str().unwrap();
        self.anneal(&["key", "new", path]).fine();
        self.anneal(&["key", "enroll", &format!("{path}.pub"), "--name", name]).fine();
        file
    }

    /// Approves a candidate.
    #[track_caller]
    pub fn approve(&self, candidate: &str, key: &Path) -> Said {
        self.anneal(&["candidate", "approve", candidate, "--key", key.to_str().unwrap()])
    }

    /// Builds all that the catalogue asks for and releases it; gives the approver's key.
    #[track_caller]
    pub fn release_all(&self) -> PathBuf {
        let daemon = self.daemon();
        self.anneal(&["build", "--quiet"]).fine();
        let key = self.approver("ada");
        for candidate in self.candidates().iter().filter(|candidate| candidate["status"] == "open") {
            self.approve(&format!("c{}", candidate["id"]), &key).fine();
        }
        wait_for("the publications", Duration::from_secs(60), || {
            self.candidates().iter().all(|candidate| candidate["status"] == "published").then_some(())
        });
        daemon.stop();
        key
    }

    /// Every candidate, as the ledger has it.
    #[track_caller]
    pub fn candidates(&self) -> Vec<serde_json::Value> {
        self.anneal(&["candidate", "list", "--all", "--json"]).fine().json().as_array().unwrap().clone()
    }

    /// The journal's events.
    #[track_caller]
    pub fn events(&self) -> Vec<serde_json::Value> {
        self.anneal(&["log", "--json"]).fine().json().as_array().unwrap().clone()
    }

    /// The digest of the bundle with a statement about a manifest.
    #[track_caller]
    pub fn bundle(&self, manifest: &str, kind: &str) -> String {
        let shown = self.anneal(&["image", "show", manifest, "--json"]).fine().json();
        let evidence = shown["image"]["evidence"].as_array().unwrap();
        let one = evidence.iter().find(|one| one["predicate_type"] == kind).unwrap();
        one["bundle"].as_str().unwrap().to_owned()
    }

    /// What a statement about a manifest says, asked of the daemon.
    #[track_caller]
    pub fn predicate(&self, manifest: &str, kind: &str) -> serde_json::Value {
        let path = format!("/v1/blob/{}", self.bundle(manifest, kind));
        let bundle = ask_socket(self, "GET", &path, "application/json", b"").unwrap().json();
        let payload = decoded(bundle["dsseEnvelope"]["payload"].as_str().unwrap());
        serde_json::from_slice::<serde_json::Value>(&payload).unwrap()["predicate"].clone()
    }

    /// Waits until the daemon has nothing left to do: no build is waited for, and no proof is due.
    #[track_caller]
    pub fn until_it_rests(&self, patience: Duration) {
        wait_for("the daemon to rest", patience, || {
            let overview = ask_socket(self, "GET", "/v1/overview", "application/json", b"").ok()?.json();
            overview["tasks"].as_array()?.is_empty().then_some(())
        });
    }

    /// Drops a record into the feed directory, all at once.
    pub fn feed(&self, name: &str, record: &[u8]) {
        let (partial, whole) = (self.state.join("partial"), self.state.join("feed").join(name));
        std::fs::write(&partial, record).unwrap();
        std::fs::rename(partial, whole).unwrap();
    }
}

/// A configuration that says nothing, so that this machine's own is not read.
fn empty_config() -> PathBuf {
    let path = target().join("tmp/anneal-test-config.toml");
    if !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
    }
    path
}

/// Copies what is in a directory into another one.
#[track_caller]
pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    Said::by(Command::new("cp").args(["-a", "--reflink=auto"]).arg(from.join(".")).arg(to)).fine();
}

/// The same with hard links, for what nobody writes to.
#[track_caller]
pub(crate) fn link_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    Said::by(Command::new("cp").arg("-al").arg(from.join(".")).arg(to)).fine();
}

/// A directory with the unpacked build root in it (`roots/`). It takes half a minute to make and never changes for one
/// lock, so it is kept from one run of the tests to the next.
pub fn root_of_builds() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let lock = std::fs::read(top().join("vendor/build-root.lock")).unwrap();
        let kept = target().join("tmp").join(format!("anneal-build-root.{}", &sha256(&lock)[..16]));
        if !kept.exists() {
            let dir = scratch();
            let notes = Notes::without_root(dir.path());
            let daemon = notes.place.daemon();
            notes.place.anneal(&["build", "--quiet"]).fine();
            daemon.stop();
            let made = dir.path().join("made");
            std::fs::create_dir(&made).unwrap();
            std::fs::rename(notes.place.state.join("roots"), made.join("roots")).unwrap();
            // Another test program may have been as fast: then there is one already.
            let _ = std::fs::rename(&made, &kept);
        }
        kept
    })
}
