//! The product seen from outside: the program that was built, started as anyone would start it.
//!
//! A test gets a `Place` (a state directory and a catalogue of its own), asks `anneal` things, starts and kills the
//! daemon. State that took long to make is copied, never used in place.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "only tests use this")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod acknowledged;
mod clients;
mod daemon;
mod facts;
mod listing;
mod note;
mod place;
mod promises;
mod random;
mod socket;

pub use acknowledged::{Acknowledged, Pinned, not_served_right};
pub use clients::{Clients, NUMBERED, Worked};
pub use daemon::{Answer, Daemon};
pub use facts::{Facts, file};
pub use listing::{build_root_line, image_text, images, package_lines};
pub use note::{Notes, OSV_TIME, note_advisory};
pub use place::{Place, copy_tree, root_of_builds};
pub use promises::{UNSURE, broken_promises};
pub use random::Random;
pub use socket::{ask_http, ask_socket};

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The advisory of the main story.
pub const ADVISORY: &str = "CVE-2022-37434";

/// The top of the repository.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where cargo puts what it builds; tests put their state directories beneath it, since they are large.
pub fn target() -> PathBuf {
    let cache = || std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let usual = || cache().or_else(home).unwrap_or_else(std::env::temp_dir).join("anneal/target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(usual, PathBuf::from)
}

/// The program under test.
pub fn program() -> PathBuf {
    let program = std::env::var_os("ANNEAL_BIN").map_or_else(|| target().join("release/anneal"), PathBuf::from);
    assert!(program.is_file(), "there is no program {}; `make build` makes it", program.display());
    program
}

/// A directory that goes away with the test.
pub fn scratch() -> TempDir {
    let base = target().join("tmp");
    std::fs::create_dir_all(&base).unwrap();
    tempfile::Builder::new().prefix("anneal-test.").tempdir_in(base).unwrap()
}

/// What a command said.
#[derive(Debug, Clone)]
pub struct Said {
    /// What was run.
    pub what: String,
    /// Its exit code; -1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Runs a command to its end.
    #[track_caller]
    pub fn by(command: &mut Command) -> Self {
        let what = format!("{command:?}");
        let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{what}: {e}"));
        Self {
            what,
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same, of a command that must have done what it was asked to.
    #[track_caller]
    pub fn fine(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}\n{}", self.what, self.out, self.err);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{}: {e}\n{}\n{}", self.what, self.out, self.err))
    }

    /// The same, of a command that must have refused with this exit code, saying all of this.
    #[track_caller]
    pub fn refused(self, code: i32, says: &[&str]) -> Self {
        assert_eq!(self.code, code, "{}\n{}\n{}", self.what, self.out, self.err);
        // A rendered diagnostic breaks its lines where the screen ends.
        let text: String = self.err.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        for each in says {
            assert!(text.contains(each), "{} does not say `{each}`:\n{}", self.what, self.err);
        }
        self
    }
}

/// A tool that is not ours, or nothing and a visible line where it isn't here.
pub fn tool(name: &str) -> Option<Command> {
    let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).stdout(Stdio::null()).status().unwrap();
    if !found.success() {
        skipped(&format!("no {name}"));
        return None;
    }
    Some(Command::new(name))
}

/// Says that something was not tested.
pub fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    Said::by(Command::new("id").arg("-u")).out.trim() == "0"
}

/// Asks again and again until there is an answer.
#[track_caller]
pub fn wait_for<T>(what: &str, patience: Duration, mut there: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(Instant::now() < end, "waited {patience:?} for {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// The SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares a text with a file in `golden/`, or rewrites the file where `UPDATE_GOLDEN=1`.
#[track_caller]
pub fn golden(name: &str, text: &str) {
    let path = top().join("golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let differs = wanted.lines().zip(text.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| wanted.lines().count().min(text.lines().count()));
    let shown = |text: &str| text.lines().nth(line).unwrap_or("(nothing)").to_owned();
    assert!(
        wanted == text,
        "golden/{name} differs at line {}:\n  expected {}\n  found    {}\nUPDATE_GOLDEN=1 takes what was found:\n{text}",
        line + 1,
        shown(&wanted),
        shown(text)
    );
}

/// What base64 text stands for.
#[track_caller]
pub fn decoded(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

/// Base64 text with what it stands for changed.
#[track_caller]
pub fn recoded(text: &str, change: impl FnOnce(String) -> String) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(change(String::from_utf8(decoded(text)).unwrap()))
}
