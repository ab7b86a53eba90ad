//! A branch followed with the real git.

use super::*;
use std::process::Command;

/// A bare repository with a clone of it.
struct World {
    dir: tempfile::TempDir,
    place: BranchPlace,
    config: FetchConfig,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_owned();
        let url = format!("git+file://{}#main:recipes", at.join("team.git").display());
        let world = Self { dir, place: url.parse().unwrap(), config: FetchConfig::default() };
        world.git(&at, &["init", "-q", "--bare", "-b", "main", "team.git"]);
        world.git(&at, &["init", "-q", "-b", "main", "clone"]);
        world
    }

    fn clone(&self) -> PathBuf {
        self.dir.path().join("clone")
    }

    fn git(&self, cwd: &Path, words: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]);
        let run = command.args(words).current_dir(cwd).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(run.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap().trim().to_owned()
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.clone().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Commits what is there and pushes it.
    fn push(&self, more: &[&str]) -> CommitId {
        let clone = self.clone();
        self.git(&clone, &["add", "-A"]);
        self.git(&clone, &[&["commit", "-q", "-m", "change"], more].concat());
        let to = self.dir.path().join("team.git");
        self.git(&clone, &["push", "-q", "--force", to.to_str().unwrap(), "HEAD:refs/heads/main"]);
        CommitId::new(self.git(&clone, &["rev-parse", "HEAD"])).unwrap()
    }

    fn with<T>(&self, ask: impl FnOnce(&Mirror<'_>) -> T) -> T {
        let dir = self.dir.path().join("mirror");
        ask(&Mirror { config: &self.config, place: &self.place, dir: &dir, stop: &|| false })
    }

    #[track_caller]
    fn refused(&self, commit: &CommitId, why: &str) {
        let to = self.dir.path().join("out");
        let error = self.with(|mirror| {
            mirror.fetch(commit).unwrap();
            mirror.write(commit, &to).unwrap_err()
        });
        assert!(matches!(error, Error::CommitRefused { .. }), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
        assert!(!to.exists());
    }
}

#[test]
fn a_branch_is_written_as_one_says_it_and_nothing_else_is_taken_for_one() {
    for text in [
        "git+https://example.org/team/recipes.git#main:recipes",
        "git+https://example.org/team/recipes.git#release/1.2",
        "git+file:///srv/recipes.git#main",
    ] {
        assert_eq!(text.parse::<BranchPlace>().unwrap().to_string(), text);
    }
    for (text, why) in [
        ("https://example.org/a.git#main", "does not begin with `git+`"),
        ("git+https://example.org/a.git", "no `#branch`"),
        ("git+ssh://example.org/a.git#main", "no address"),
        ("git+http://example.org/a.git#main", "no address"),
        ("git+ext::sh -c x#main", "no address"),
        ("git+file://host/a.git#main", "no address"),
        ("git+https://example.org/a.git#", "no name of a branch"),
        ("git+https://example.org/a.git#-x", "no name of a branch"),
        ("git+https://example.org/a.git#a..b", "no name of a branch"),
        ("git+https://example.org/a.git#main:../x", "no plain path"),
        ("git+https://example.org/a.git#main:.git", "no plain path"),
    ] {
        let error = text.parse::<BranchPlace>().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_commits_catalogue_is_written_as_it_is_committed_whatever_attributes_and_hooks_say() {
    let world = World::new();
    let text = "name = \"a\"\n# $Id$ $Format:%H$\n";
    world.put("recipes/packages/a.toml", text);
    world.put("recipes/sources/run", "#!/bin/sh\n");
    world.put("vendor/build-root.lock", "lock\n");
    world.put("README", "not of the catalogue\n");
    world.put(".gitattributes", "*.toml text eol=crlf ident export-subst filter=lfs\nsources export-ignore\n");
    let commit = world.push(&[]);
    assert_eq!(world.with(|mirror| mirror.head()).unwrap(), commit);
    let to = world.dir.path().join("out");
    world.with(|mirror| {
        assert_eq!(mirror.fetch(&commit).unwrap(), commit);
        mirror.write(&commit, &to).unwrap();
    });
    assert_eq!(fs::read_to_string(to.join("recipes/packages/a.toml")).unwrap(), text);
    assert_eq!(fs::read_to_string(to.join("vendor/build-root.lock")).unwrap(), "lock\n");
    assert!(to.join("recipes/sources/run").exists());
    let mut names: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["recipes", "vendor"]);
}

#[test]
fn links_submodules_and_recipes_that_are_too_large_are_refused_by_name() {
    let world = World::new();
    world.put("recipes/packages/a.toml", "a");
    std::os::unix::fs::symlink("/etc/passwd", world.clone().join("recipes/packages/b.toml")).unwrap();
    world.refused(&world.push(&[]), "`recipes/packages/b.toml` is a symbolic link");
    fs::remove_file(world.clone().join("recipes/packages/b.toml")).unwrap();
    world.put("recipes/packages/large.toml", &"#".repeat((1 << 20) + 1));
    world.refused(&world.push(&[]), "`recipes/packages/large.toml` has 1048577 bytes");
    world.put("recipes/packages/large.toml", "");
    let some = world.push(&[]);
    let entry = format!("160000,{some},recipes/module");
    world.git(&world.clone(), &["update-index", "--add", "--cacheinfo", &entry]);
    world.git(&world.clone(), &["commit", "-q", "-m", "module"]);
    let to = world.dir.path().join("team.git");
    world.git(&world.clone(), &["push", "-q", to.to_str().unwrap(), "HEAD:refs/heads/main"]);
    let commit = CommitId::new(world.git(&world.clone(), &["rev-parse", "HEAD"])).unwrap();
    world.refused(&commit, "`recipes/module` is a submodule");
}

#[test]
fn a_rewritten_branch_does_not_descend_from_what_it_was() {
    let world = World::new();
    world.put("recipes/packages/a.toml", "1");
    let first = world.push(&[]);
    world.put("recipes/packages/a.toml", "2");
    let second = world.push(&[]);
    world.with(|mirror| mirror.fetch(&second)).unwrap();
    assert!(world.with(|mirror| mirror.descends(&second, &first)).unwrap());
    world.put("recipes/packages/a.toml", "3");
    let other = world.push(&["--amend"]);
    world.with(|mirror| mirror.fetch(&other)).unwrap();
    assert!(!world.with(|mirror| mirror.descends(&other, &second)).unwrap());
    // What a run that was killed left behind holds nothing up, and what is gone with it is no ancestor.
    world.put("recipes/packages/a.toml", "4");
    let last = world.push(&[]);
    fs::write(world.dir.path().join("mirror/repository/refs/heads/followed.lock"), "").unwrap();
    assert_eq!(world.with(|mirror| mirror.fetch(&last)).unwrap(), last);
    assert!(!world.with(|mirror| mirror.descends(&last, &second)).unwrap());
    assert!(world.with(|mirror| mirror.descends(&last, &other)).unwrap());
}

#[test]
fn a_repository_that_is_gone_or_has_no_such_branch_is_told() {
    let world = World::new();
    let told = world.with(|mirror| mirror.head()).unwrap_err().to_string();
    assert!(told.contains("no branch `main`") && told.contains("team.git#main:recipes"), "{told}");
    fs::remove_dir_all(world.dir.path().join("team.git")).unwrap();
    let told = world.with(|mirror| mirror.head()).unwrap_err().to_string();
    assert!(told.contains("cannot be followed now") && told.contains("team.git"), "{told}");
}

#[test]
fn a_tree_that_no_honest_git_made_is_refused() {
    assert!(listed("100644 blob aa 3\t../x").is_err());
    assert!(listed("040000 tree aa -\tx").is_err());
    assert!(listed("100644 blob aa\tx").is_err());
    let file = |path: &str| listed(&format!("100644 blob aa 1\t{path}")).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(only_once(&[file("a/b"), file("a/c")]), None);
    assert_eq!(only_once(&[file("a"), file("a/c")]), Some("a"));
    assert_eq!(only_once(&[file("a/c"), file("a")]), Some("a"));
}
