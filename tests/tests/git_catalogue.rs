//! The catalogue in a git repository, with the real git: a push is the next revision, a bad commit is refused, a branch that is
//! rewritten is told, a repository that is gone changes nothing, and a remediation comes back as a patch.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

use anneal_tests::{Daemon, Notes, Place, ask_socket, note_advisory, scratch, wait_for};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// How long anything here may take.
const SOON: Duration = Duration::from_secs(60);
/// A daemon that looks at its branch every second.
const OFTEN: &[&str] = &["env", "ANNEAL_CATALOG_POLL_SECONDS=1"];

/// A bare repository, a clone with the note's recipes in `recipes/`, and a state directory that follows the branch `main`. The
/// state directory lies in the clone: a repository around it has no say.
struct Team {
    notes: Notes,
    bare: PathBuf,
    place: Place,
}

impl Team {
    fn new(dir: &Path) -> Self {
        let notes = Notes::with_small_root(&dir.join("clone"));
        let bare = dir.join("team.git");
        git(dir, &["init", "-q", "--bare", "-b", "main", "team.git"]);
        let catalog = PathBuf::from(format!("git+file://{}#main:recipes", bare.display()));
        let place = Place { catalog, ..notes.place.clone() };
        let team = Self { notes, bare, place };
        git(&team.clone(), &["init", "-q", "-b", "main"]);
        team
    }

    fn clone(&self) -> PathBuf {
        self.notes.place.state.parent().unwrap().to_owned()
    }

    /// Commits the recipes as they are, and pushes them.
    #[track_caller]
    fn push(&self, more: &[&str]) -> String {
        git(&self.clone(), &["add", "recipes"]);
        git(&self.clone(), &[&["commit", "-q", "-m", "change"], more].concat());
        self.push_head()
    }

    #[track_caller]
    fn push_head(&self) -> String {
        git(&self.clone(), &["push", "-q", "--force", self.bare.to_str().unwrap(), "HEAD:refs/heads/main"]);
        git(&self.clone(), &["rev-parse", "HEAD"])
    }

    fn daemon(&self) -> Daemon {
        Daemon::start(&self.place, OFTEN)
    }

    fn state(&self) -> Value {
        ask_socket(&self.place, "GET", "/v1/state", "application/json", b"").unwrap().json()
    }

    fn events(&self, kind: &str) -> Vec<Value> {
        self.place.events().into_iter().filter(|event| event["event"] == kind).collect()
    }

    /// Waits until a commit is in force.
    #[track_caller]
    fn until_in_force(&self, commit: &str) {
        wait_for("the commit to be in force", SOON, || {
            (self.state()["branch"]["at"]["commit"] == commit).then_some(())
        });
    }
}

#[track_caller]
fn git(cwd: &Path, words: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]);
    let run = command.args(words).current_dir(cwd).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(run.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_push_is_the_next_revision_with_its_commit_and_a_bad_one_leaves_the_last_good_one_in_force() {
    let dir = scratch();
    let team = Team::new(dir.path());
    let first = team.push(&[]);
    let daemon = team.daemon();
    team.place.anneal(&["build", "--quiet"]).fine();
    assert_eq!(team.events("branch-followed")[0]["at"]["commit"], first.as_str());
    let cause = &team.events("catalog-imported")[0]["cause"];
    assert_eq!((&cause["kind"], &cause["at"]["commit"]), (&"branch".into(), &first.as_str().into()));
    let manifest = team.place.candidates()[0]["manifest"].as_str().unwrap().to_owned();
    let provenance = team.place.predicate(&manifest, "https://slsa.dev/provenance/v1");
    let materials = provenance["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    let commit = materials.iter().find(|one| one["name"] == "catalog commit").expect("provenance names the commit");
    assert_eq!(commit["digest"]["gitCommit"], first.as_str());

    // Another commit, of which nobody tells the daemon.
    team.notes.edit("cpus = 1", "cpus = 2");
    let second = team.push(&[]);
    team.until_in_force(&second);
    team.place.anneal(&["build", "--quiet"]).fine();
    assert_eq!(team.events("package-built").len(), 2);
    let log = team.place.anneal(&["log"]).fine().out;
    assert!(log.contains(&format!("is the active one, from commit {second} of git+file://")), "{log}");

    // Two mistakes in one file.
    team.notes.edit("[runtime]\nrequires = []", "[runtime]\nrequires = [\"notte\"]");
    team.notes.edit("timeout-minutes = 1", "timeout-minute = 1");
    let bad = team.push(&[]);
    let why = wait_for("the refusal", SOON, || {
        let refused = team.state()["refused_commit"].clone();
        (refused["at"]["commit"] == bad.as_str()).then(|| refused["why"].as_str().unwrap().to_owned())
    });
    assert!(
        why.contains("recipes/packages/note.toml") && why.contains("notte") && why.contains("timeout-minute"),
        "{why}"
    );
    assert!(!why.contains(team.place.state.to_str().unwrap()), "a path of the state directory helps nobody: {why}");
    assert_eq!(team.state()["branch"]["at"]["commit"], second.as_str());
    team.place.anneal(&["build", "--quiet"]).refused(2, &["is not taken", "notte", "timeout-minute"]);
    assert!(team.place.anneal(&["log"]).fine().out.contains(&format!("commit {bad} of git+file://")));
    let metrics = String::from_utf8(daemon.get("/metrics").body).unwrap();
    assert!(metrics.contains("anneal_catalog_commit_refused 1"), "{metrics}");

    // Nothing is forgotten by a restart, and nothing is told twice.
    daemon.stop();
    let daemon = team.daemon();
    team.place.anneal(&["recipe", "show", "note"]).fine();
    assert_eq!(team.state()["branch"]["at"]["commit"], second.as_str());
    team.place.anneal(&["build", "--quiet"]).refused(2, &["is not taken"]);
    let refused = team.events("commit-refused");
    assert_eq!(refused.len(), 1, "{refused:#?}");

    team.notes.edit("timeout-minute = 1", "timeout-minutes = 1");
    team.notes.edit("requires = [\"notte\"]", "requires = []");
    let mended = team.push(&[]);
    team.until_in_force(&mended);
    assert!(team.state()["refused_commit"].is_null());
    assert_eq!(team.events("catalog-imported").len(), 2, "the recipes are what they were");
    team.place.anneal(&["recipe", "fmt"]).refused(2, &["in a clone of your own"]);
    daemon.stop();
}

#[test]
fn a_rewritten_branch_is_told_and_a_repository_that_is_gone_holds_nothing_up() {
    let dir = scratch();
    let team = Team::new(dir.path());
    team.push(&[]);
    let daemon = team.daemon();
    team.place.anneal(&["build", "--quiet"]).fine();
    team.notes.edit("cpus = 1", "cpus = 2");
    let dropped = team.push(&[]);
    team.until_in_force(&dropped);
    team.notes.edit("cpus = 2", "cpus = 3");
    let other = team.push(&["--amend"]);
    team.until_in_force(&other);
    let told = team.events("branch-followed").pop().unwrap();
    assert_eq!(told["left"], dropped.as_str());
    let log = team.place.anneal(&["log"]).fine().out;
    assert!(log.contains(&format!("the branch was REWRITTEN: {dropped}")), "{log}");
    assert!(daemon.said().contains("the branch was rewritten"), "{}", daemon.said());

    // Rewritten while nobody looked, and to the same recipes.
    daemon.stop();
    let same = team.push(&["--amend", "--allow-empty", "-m", "the same recipes"]);
    let daemon = team.daemon();
    team.until_in_force(&same);
    assert_eq!(team.events("branch-followed").pop().unwrap()["left"], other.as_str());

    let away = dir.path().join("away.git");
    fs::rename(&team.bare, &away).unwrap();
    wait_for("the daemon to say so", SOON, || daemon.said().contains("cannot be followed now").then_some(()));
    assert!(daemon.said().contains("it is tried again in"), "{}", daemon.said());
    daemon.stop();
    // It starts with what it has, and answers an advisory.
    let daemon = team.daemon();
    team.place.feed("1.json", &note_advisory("TEST-1", "1.1"));
    wait_for("the case to be answered", SOON, || {
        team.place.candidates().iter().any(|candidate| candidate["fixes"][0] == "TEST-1").then_some(())
    });
    let cause = team.events("catalog-imported").pop().unwrap()["cause"].clone();
    assert_eq!((&cause["kind"], &cause["over"]["commit"]), (&"remediation".into(), &same.as_str().into()));
    team.place.anneal(&["build", "--quiet"]).refused(3, &["cannot be followed now"]);
    fs::rename(&away, &team.bare).unwrap();
    team.notes.edit("A note\"", "A better note\"");
    let back = team.push(&[]);
    team.until_in_force(&back);
    daemon.stop();
}

#[test]
fn a_branch_that_is_not_there_is_told_by_a_first_start_and_by_name() {
    let dir = scratch();
    let team = Team::new(dir.path());
    team.place.anneal(&["recipe", "check"]).refused(2, &["was taken yet"]);
    team.place.anneal(&["daemon"]).refused(3, &["no branch `main`", "team.git#main:recipes"]);
}

#[test]
fn a_remediation_is_a_patch_that_git_takes_and_after_its_push_nothing_is_built_again() {
    let dir = scratch();
    let team = Team::new(dir.path());
    team.notes.edit("version = \"1.0\"\n\n[upstream]", "version = \"1.0\" # what ships\n\n[upstream]");
    let first = team.push(&[]);
    let daemon = team.daemon();
    team.place.anneal(&["build", "--quiet"]).fine();
    team.place.anneal(&["case", "patch", "TEST-1"]).refused(2, &["TEST-1"]);
    let advisory = String::from_utf8(note_advisory("TEST-1", "1.1")).unwrap();
    // Whoever writes an advisory writes no patch.
    let advisory = advisory.replace("says too much", "says\\ndiff --git a/x b/x\\n--- a/x");
    team.place.feed("1.json", advisory.as_bytes());
    wait_for("the candidate", SOON, || {
        team.place.candidates().iter().any(|candidate| candidate["fixes"][0] == "TEST-1").then_some(())
    });
    let shown = team.place.anneal(&["case", "show", "TEST-1"]).fine().out;
    assert!(shown.contains(&first) && shown.contains("anneal case patch TEST-1"), "{shown}");

    // The recipes of another package may have moved on.
    team.notes.with_card();
    let moved_on = team.push(&[]);
    team.until_in_force(&moved_on);
    team.place.anneal(&["build", "--quiet"]).fine();
    team.place.until_it_rests(SOON);
    let built = team.events("package-built").len();
    let imported = team.events("catalog-imported").len();
    let active = team.state()["revision"][0].clone();

    let file = dir.path().join("fix.patch");
    team.place.anneal(&["case", "patch", "TEST-1", "-o", file.to_str().unwrap()]).fine();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with(&format!("From {moved_on} ")), "{text}");
    assert!(text.contains("Subject: [PATCH] note 1.0 -> 1.1, for TEST-1\n"), "{text}");
    assert!(text.contains("-version = \"1.0\" # what ships\n+version = \"1.1\" # what ships\n"), "{text}");
    let changed = |line: &&str| line.starts_with(['+', '-']) && !line.starts_with("---") && !line.starts_with("+++");
    assert_eq!(text.lines().filter(changed).count(), 3, "one line goes, one comes, and the signature: {text}");
    git(&team.clone(), &["apply", "--check", file.to_str().unwrap()]);
    git(&team.clone(), &["am", "-q", file.to_str().unwrap()]);
    assert_eq!(git(&team.clone(), &["diff", "--stat", "HEAD~1", "--", "recipes"]).lines().count(), 2);
    assert!(git(&team.clone(), &["log", "-1", "--format=%B"]).contains("Advisory: TEST-1"));
    let patched = team.push_head();
    team.until_in_force(&patched);
    assert_eq!(team.events("branch-followed").pop().unwrap()["files"], active);
    team.place.anneal(&["build", "--quiet"]).fine();
    team.place.until_it_rests(SOON);
    assert_eq!((team.events("package-built").len(), team.events("catalog-imported").len()), (built, imported));
    assert_eq!(team.state()["revision"][0], active);
    team.place.anneal(&["case", "patch", "TEST-1"]).refused(1, &["selects note 1.1 already"]);
    let shown = team.place.anneal(&["case", "show", "TEST-1"]).fine().out;
    assert!(shown.contains(&format!("has all that was chosen, at commit {patched}")), "{shown}");

    // Nothing moves back, neither by a restart nor by the next change.
    daemon.stop();
    let daemon = team.daemon();
    team.notes.edit("A note\"", "A better note\"");
    let next = team.push(&[]);
    team.until_in_force(&next);
    team.place.anneal(&["build", "--quiet"]).fine();
    assert!(team.place.anneal(&["recipe", "show", "note"]).fine().out.contains("1.1"));
    let newest = team.place.candidates().into_iter().rfind(|candidate| candidate["image"] == "note").unwrap();
    assert!(newest["tags"].to_string().contains("1.1"), "{newest}");
    daemon.stop();
}

#[test]
fn recipes_of_a_directory_give_a_patch_that_begins_in_it() {
    let dir = scratch();
    let notes = Notes::with_small_root(dir.path());
    let daemon = notes.place.daemon();
    notes.place.anneal(&["build", "--quiet"]).fine();
    notes.place.feed("1.json", &note_advisory("TEST-1", "1.1"));
    wait_for("the candidate", SOON, || (notes.place.candidates().len() == 2).then_some(()));
    daemon.stop();
    let text = notes.place.anneal(&["case", "patch", "TEST-1"]).fine().out;
    assert!(text.contains("--- a/packages/note.toml\n+++ b/packages/note.toml\n"), "{text}");
    let file = dir.path().join("fix.patch");
    fs::write(&file, text).unwrap();
    git(&notes.place.catalog, &["apply", file.to_str().unwrap()]);
    assert!(fs::read_to_string(notes.recipe()).unwrap().contains("version = \"1.1\"\n\n[upstream]"));
}
