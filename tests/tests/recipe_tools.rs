//! The tools for recipes, as a maintainer uses them: a draft, its check, its form, a new release, a graph, a failing build
//! and a shell where it failed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

use anneal_tests::{Notes, Place, Said, is_root, scratch, sha256, skipped, tool};
use std::{fs, io::Write as _, path::Path, process::Stdio};

#[path = "recipe_tools/own_code.rs"]
mod own_code;

/// A command with these lines typed into it.
#[track_caller]
fn typed(place: &Place, args: &[&str], lines: &str) -> Said {
    let mut child =
        place.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (what, code) = (format!("{args:?}"), output.status.code().unwrap_or(-1));
    Said { what, code, out: text(&output.stdout), err: text(&output.stderr) }
}

/// A source archive of these files in a catalogue, made by another tar than ours.
fn archive(catalog: &Path, name: &str, directory: &str, files: &[(&str, &str)]) -> Option<()> {
    let dir = scratch();
    for (path, text) in files {
        let path = dir.path().join(directory).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut tar = tool("tar")?;
    tar.args(["--create", "--gzip", "--mtime", "2021-03-04T05:06:07Z", "--file"])
        .arg(catalog.join("sources").join(name));
    Said::by(tar.arg("--directory").arg(dir.path()).arg(directory)).fine();
    Some(())
}

const MIT: &str = "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of this\n\
    software. The above copyright notice and this permission notice shall be included in all copies.\n";

#[test]
fn a_draft_of_a_source_checks_and_says_what_was_guessed() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let made = archive(
        &place.catalog,
        "hello-2.1.tar.gz",
        "hello-2.1",
        &[
            ("Makefile", "install:\n\tinstall -Dm755 hello.sh $(DESTDIR)$(PREFIX)/bin/hello\n"),
            ("hello.sh", "#!/bin/sh\necho hello\n"),
            ("LICENSE", MIT),
        ],
    );
    let Some(()) = made else { return skipped("no tar") };
    let source = place.catalog.join("sources/hello-2.1.tar.gz");
    let said = place.anneal(&["recipe", "new", "hello", "--source", source.to_str().unwrap()]).fine();
    for told in [
        "license: guessed from `LICENSE`",
        "build: guessed from `Makefile`",
        "version: read off the source's directory",
    ] {
        assert!(said.out.contains(told), "{told} is not in {}", said.out);
    }
    let text = fs::read_to_string(place.catalog.join("packages/hello.toml")).unwrap();
    let digest = sha256(&fs::read(&source).unwrap());
    for line in ["license = \"MIT\"", "version = \"2.1\"", "date = \"2021-03-04\"", &format!("sha256 = \"{digest}\"")] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    place.anneal(&["recipe", "check"]).fine();
    place.anneal(&["recipe", "fmt", "--check", place.catalog.join("packages/hello.toml").to_str().unwrap()]).fine();
    place.anneal(&["recipe", "new", "hello", "--source", source.to_str().unwrap()]).refused(2, &["already", "bump"]);
    place.anneal(&["recipe", "new", "other", "--source", "path:sources/none"]).refused(2, &["sources/none"]);
    assert!(!place.catalog.join("packages/other.toml").exists());
}

#[test]
fn a_bump_lists_a_release_with_its_digest_and_a_failed_one_leaves_the_recipe_alone() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    notes.edit("[build]\n", "# how it is made\n[build]  # steps\n");
    let before = fs::read_to_string(notes.recipe()).unwrap();
    let unchanged = || assert_eq!(fs::read_to_string(notes.recipe()).unwrap(), before);
    place.anneal(&["recipe", "bump", "note", "1.2"]).refused(2, &["path:sources/note-1.2.txt", "--source"]);
    unchanged();
    place.anneal(&["recipe", "bump", "note", "1.1"]).refused(2, &["lists a release 1.1 already"]);
    place.anneal(&["recipe", "bump", "note", "1.0.5"]).refused(2, &["not newer than 1.1", "--allow-older"]);
    place.anneal(&["recipe", "bump", "noet", "1.2"]).refused(2, &["did you mean `note`"]);
    unchanged();
    let text = "the note of release 1.2\n";
    fs::write(place.catalog.join("sources/note-1.2.txt"), text).unwrap();
    let said = place.anneal(&["recipe", "bump", "note", "1.2", "--date", "2022-02-02"]).fine();
    for told in ["note-1.2.txt", &sha256(text.as_bytes()), "built at 1.2 from now on; before: 1.0"] {
        assert!(said.out.contains(told), "{told} is not in {}", said.out);
    }
    let after = fs::read_to_string(notes.recipe()).unwrap();
    let block = format!(
        "\n[[release]]\nversion = \"1.2\"\ndate = \"2022-02-02\"\n[[release.source]]\nsha256 = \"{}\"\nbytes = {}\n\
         file = \"note.txt\"\nplaces = [\"path:sources/note-1.2.txt\"]\n",
        sha256(text.as_bytes()),
        text.len()
    );
    assert!(after.contains(&block), "{after}");
    let rest = after.replace(&block, "").replace("version = \"1.2\"", "version = \"1.0\"");
    assert_eq!(rest, before, "nothing else has moved");
    fs::write(place.catalog.join("sources/note-1.0.5.txt"), "older\n").unwrap();
    place.anneal(&["recipe", "bump", "note", "1.0.5", "--allow-older", "--list-only"]).fine();
    let listed = place.anneal(&["recipe", "show", "note", "--json"]).fine().json();
    assert_eq!(listed["package"]["releases"]["selected"], "1.2");
    let versions: Vec<_> = listed["package"]["releases"]["listed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["1.0", "1.0.5", "1.1", "1.2"]);
    place.anneal(&["recipe", "check"]).fine();
}

#[test]
fn what_a_lock_file_names_is_written_by_digest_and_a_file_that_is_another_one_is_not() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let lock = |text: &str| {
        format!(
            "version = 3\n[[package]]\nname = \"app\"\nversion = \"1.0.0\"\n[[package]]\nname = \"itoa\"\nversion = \"1.0.5\"\n\
             source = \"registry+https://index.example/\"\nchecksum = \"{}\"\n",
            sha256(text.as_bytes())
        )
    };
    let lock_text = lock("the crate");
    let Some(()) = archive(&place.catalog, "app.tar.gz", "app-1.0", &[("Cargo.lock", &lock_text)]) else {
        return skipped("no tar");
    };
    let source = fs::read(place.catalog.join("sources/app.tar.gz")).unwrap();
    let recipe = place.catalog.join("packages/app.toml");
    let before = format!(
        "name = \"app\"\nsummary = \"An app\"\nlicense = \"MIT\"\nversion = \"1.0\"\n\n[[release]]\nversion = \"1.0\"\n\
         date = \"2021-03-04\"  # as told\n[[release.source]]\nsha256 = \"{}\"\nbytes = {}\nfile = \"app.tar.gz\"\n\
         unpack = \"app\"\nplaces = [\"path:sources/app.tar.gz\"]\n\n[build]\nsteps = [\"cp Cargo.lock \\\"$OUT/\\\"\"]\n",
        sha256(&source),
        source.len()
    );
    fs::write(&recipe, &before).unwrap();
    let mirror = dir.path().join("itoa-1.0.5.crate");
    let locked = |args: &[&str]| {
        let address = format!("file:{}/{{crate}}-{{version}}.crate", dir.path().display());
        let args = [&["recipe", "lock", "sources"], args].concat();
        Said::by(place.command(&args).env("ANNEAL_MIRROR_CRATE", address))
    };
    fs::write(&mirror, "another crate").unwrap();
    locked(&["app"]).refused(2, &["crate:itoa/1.0.5 is sha256:", "not what the lock file says"]);
    assert_eq!(fs::read_to_string(&recipe).unwrap(), before);
    fs::write(&mirror, "the crate").unwrap();
    let said = locked(&["app"]).fine();
    assert!(said.out.contains("1 sources of Cargo.lock in release 1.0, 1 new, 0 gone"), "{}", said.out);
    let line = format!("locked = [\"crate:itoa/1.0.5 {} 9\"]\n", sha256(b"the crate"));
    assert_eq!(fs::read_to_string(&recipe).unwrap(), before.replace("# as told\n", &format!("# as told\n{line}")));
    place.anneal(&["recipe", "fmt", "--check", recipe.to_str().unwrap()]).fine();
    // What is listed already is not fetched again, and what is no longer named goes.
    fs::remove_file(&mirror).unwrap();
    assert!(locked(&["app"]).fine().out.contains("0 new, 0 gone"));
    let other = dir.path().join("go.sum");
    fs::write(&other, "").unwrap();
    assert!(locked(&["app", "--lock-file", other.to_str().unwrap()]).fine().out.contains("0 new, 1 gone"));
    locked(&["app", "--release", "2.0"]).refused(2, &["app lists no release 2.0, but 1.0"]);
    locked(&[]).refused(2, &["<NAME>"]);
    locked(&["note"]).refused(2, &["--lock-file"]);
}

#[test]
fn recipes_are_written_in_one_way_and_a_check_only_looks() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    place.anneal(&["recipe", "fmt"]).fine();
    let digest = |place: &Place| place.anneal(&["recipe", "check", "--json"]).fine().json()["catalog"].clone();
    let (written, before) = (fs::read_to_string(notes.recipe()).unwrap(), digest(place));
    notes.edit("license = \"MIT\"\n", "license=\"MIT\"# terms\n");
    let untidy = fs::read_to_string(notes.recipe()).unwrap();
    let file = notes.recipe();
    place.anneal(&["recipe", "fmt", "--check"]).refused(1, &["1 recipe is written otherwise"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), untidy);
    let said = place.anneal(&["recipe", "fmt", file.to_str().unwrap()]).fine();
    assert!(said.out.contains("note.toml"), "{}", said.out);
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        written.replace("license = \"MIT\"\n", "license = \"MIT\"  # terms\n")
    );
    place.anneal(&["recipe", "fmt", "--check"]).fine();
    assert_eq!(digest(place), before);
}

#[test]
fn the_graph_is_drawn_and_ways_in_it_are_told() {
    let dir = scratch();
    let place = Place::of_repository(&dir.path().join("state"));
    let dot = place.anneal(&["recipe", "graph"]).fine().out;
    let svg = place.anneal(&["recipe", "graph", "--format", "svg"]).fine().out;
    assert!(dot.starts_with("digraph catalogue {") && svg.starts_with("<svg "), "{dot}{svg}");
    if let Some(mut python) = tool("python3") {
        let picture = dir.path().join("graph.svg");
        fs::write(&picture, &svg).unwrap();
        let parse = "import sys, xml.dom.minidom as m; m.parse(sys.argv[1])";
        Said::by(python.args(["-c", parse]).arg(picture)).fine();
    }
    let said = place.anneal(&["recipe", "why", "nginx", "musl"]).fine();
    assert!(said.out.contains("nginx runs with musl"), "{}", said.out);
    assert!(said.out.contains("image nginx contains nginx, which runs with musl"), "{}", said.out);
    place.anneal(&["recipe", "why", "musl", "nginx"]).refused(1, &["musl does not depend on nginx"]);
    place.anneal(&["recipe", "why", "ngnix", "musl"]).refused(2, &["did you mean `nginx`"]);
    place.anneal(&["recipe", "why", "nginx", "mulsl"]).refused(2, &["did you mean `musl`"]);
}

#[test]
fn a_failing_build_names_its_step_and_a_shell_opens_where_it_failed() {
    if !is_root() {
        return skipped("needs root for the sandbox that is kept");
    }
    let dir = scratch();
    let notes = Notes::ready(dir.path()).with_steps(&["echo kept > made-before", "echo about to fail; exit 7"]);
    let place = &notes.place;
    let daemon = place.daemon();
    place.anneal(&["build"]).refused(
        1,
        &[
            "note does not build: step 2 of 4, `echo about to fail; exit 7`: exited with code 7",
            "| about to fail",
            "again, with a shell where it fails: anneal recipe shell note --keep-failed",
        ],
    );
    let log = place.anneal(&["recipe", "log", "note"]).fine();
    assert!(log.out.contains("about to fail"), "{}", log.out);
    // Beside the daemon, which has staged what the build needs.
    let said = typed(place, &["recipe", "shell", "note", "--keep-failed"], "cat made-before\nexit 3\n");
    let said = said.refused(1, &["the shell exited with code 3"]);
    assert!(said.out.ends_with("anneal: step 2 ended with 7; this is where\nkept\n"), "{}", said.out);
    daemon.stop();
    // Without one.
    let said = typed(
        place,
        &["recipe", "shell", "note"],
        "pwd\necho \"$OUT $SRC $JOBS $SOURCE_DATE_EPOCH\"\ncat /src/note.txt\ntouch \"$OUT/x\" && echo written\n\
         touch /usr/x 2>/dev/null || echo closed\n",
    )
    .fine();
    assert_eq!(said.out, "/build\n/out /src 1 1577836800\nthe note of release 1.0\nwritten\nclosed\n");
    let kept = typed(place, &["recipe", "shell", "note", "--keep-failed"], "cat made-before\n").fine();
    assert!(kept.out.ends_with("this is where\nkept\n"), "{}", kept.out);
}

#[test]
fn the_log_of_a_package_is_that_of_its_tests_where_they_did_not_pass() {
    if !is_root() {
        return skipped("needs root for the sandbox that is kept");
    }
    let dir = scratch();
    let notes = Notes::with_small_root(dir.path()).with_steps(&["echo made"]);
    let place = &notes.place;
    let passes = "steps = ['grep -q note \"$SYSROOT/usr/share/note/note.txt\"']";
    notes.edit(passes, "steps = ['true', 'echo looking for it; test -e /nowhere']");
    let daemon = place.daemon();
    let said = place.anneal(&["build"]).refused(1, &["anneal recipe log note", "note did not pass"]);
    assert!(said.err.contains("tests of note FAILED"), "{}", said.err);
    let step =
        "its tests did not pass: step 2 of 2, `echo looking for it; test -e /nowhere`: exited with code 1; log sha256:";
    let told = place.anneal(&["recipe", "log", "note"]).fine();
    assert!(told.out.contains("looking for it\n") && !told.out.contains("made\n"), "{}", told.out);
    assert!(told.err.contains(step) && told.err.contains("note 1.0 was built at"), "{}", told.err);
    place.anneal(&["image", "check", "note"]).refused(1, &[]);
    daemon.stop();
    // Without a daemon, and for machines.
    let told = place.anneal(&["recipe", "log", "note", "--json"]).fine().json();
    assert!(told["test"]["summary"].as_str().unwrap().starts_with("step 2 of 2, "), "{told}");
    assert_eq!(told["build"]["failed"], false);
    // Tests that pass are no news: the build's log is told.
    notes.edit("steps = ['true', 'echo looking for it; test -e /nowhere']", passes);
    let daemon = place.daemon();
    place.anneal(&["build"]).fine();
    daemon.stop();
    let told = place.anneal(&["recipe", "log", "note"]).fine();
    assert!(told.out.contains("made\n") && !told.err.contains("tests"), "{}{}", told.out, told.err);
}

#[test]
fn the_commands_of_the_page_run_as_they_stand_there() {
    let page = fs::read_to_string(anneal_tests::top().join("docs/recipes.md")).unwrap();
    let commands: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("$ anneal ")).collect();
    assert!(commands.len() >= 9, "{commands:?}");
    let dir = scratch();
    // A team's repository, with code and recipes in it.
    let work = dir.path().join("work");
    fs::create_dir_all(work.join(".git")).unwrap();
    fs::write(work.join("Makefile"), "all:\n").unwrap();
    let place = Place::new(&dir.path().join("state"), &work.join("recipes"));
    for folder in ["packages", "sources"] {
        fs::create_dir_all(place.catalog.join(folder)).unwrap();
    }
    fs::copy(anneal_tests::top().join("recipes/packages/musl.toml"), place.catalog.join("packages/musl.toml")).unwrap();
    for version in ["2.1", "2.2"] {
        let files = [("configure", "#!/bin/sh\n"), ("Makefile", "all:\n"), ("COPYING", MIT)];
        let made = archive(&place.catalog, &format!("hello-{version}.tar.gz"), &format!("hello-{version}"), &files);
        let Some(()) = made else { return skipped("no tar") };
    }
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        Said::by(place.command(&words).current_dir(&place.catalog)).fine();
    }
    let recipe = fs::read_to_string(place.catalog.join("packages/greeter.toml")).unwrap();
    assert!(recipe.contains("places = [\"path:..\"]"), "{recipe}");
    let recipe = fs::read_to_string(place.catalog.join("packages/hello.toml")).unwrap();
    assert!(recipe.contains("version = \"2.2\"") && recipe.contains("path:sources/hello-2.2.tar.gz"), "{recipe}");
}

/// A tar of a small catalogue upstream, as a place pins one.
fn upstream(dir: &Path) -> Option<()> {
    let theirs = Notes::ready(&dir.join("theirs"));
    let top = dir.join("theirs/up-1.0");
    fs::create_dir_all(top.join("vendor")).unwrap();
    fs::copy(anneal_tests::top().join("vendor/build-root.lock"), top.join("vendor/build-root.lock")).unwrap();
    fs::rename(&theirs.place.catalog, top.join("recipes")).unwrap();
    fs::create_dir_all(dir.join("ours")).unwrap();
    let mut tar = tool("tar")?;
    tar.arg("--create").arg("--file").arg(dir.join("ours/up.tar")).arg("--directory").arg(dir.join("theirs"));
    Said::by(tar.arg("up-1.0")).fine();
    Some(())
}

#[test]
fn a_team_begins_a_catalogue_over_another_one_and_is_told_of_what_both_have() {
    let dir = scratch();
    let Some(()) = upstream(dir.path()) else { return skipped("no tar") };
    let ours = dir.path().join("ours");
    let anneal = |args: &[&str], cwd: &Path| {
        let mut command = std::process::Command::new(anneal_tests::program());
        command.args(args).arg("--state").arg(dir.path().join("state")).current_dir(cwd).env_remove("ANNEAL_CATALOG");
        Said::by(command.env("XDG_CACHE_HOME", dir.path().join("cache")).env("NO_COLOR", "1"))
    };
    anneal(&["init", "--upstream", "path:up.tar", "--name", "base"], &ours).fine();
    anneal(&["init"], &ours).refused(2, &["anneal.toml is there already"]);
    assert!(ours.join("vendor/build-root.lock").is_file(), "the lock that upstream's builds start from");
    // Found upwards, with everything upstream in it.
    let said = anneal(&["recipe", "check", "--json"], &ours.join("packages")).fine().json();
    assert_eq!((said["packages"].as_u64(), said["images"].as_u64()), (Some(1), Some(1)));
    anneal(&["recipe", "show", "note"], &ours).fine();
    let theirs = fs::read_to_string(dir.path().join("theirs/up-1.0/recipes/packages/note.toml")).unwrap();
    let own = ours.join("packages/note.toml");
    fs::write(&own, &theirs).unwrap();
    anneal(&["recipe", "check"], &ours)
        .refused(2, &["`note` is also in the upstream catalogue `base`", "replaces = \"base\""]);
    fs::write(&own, theirs.replacen("summary = \"A note\"", "replaces = \"base\"\nsummary = \"Our note\"", 1)).unwrap();
    let shown = anneal(&["recipe", "show", "note", "--json"], &ours).fine().json();
    assert_eq!(shown["package"]["summary"], "Our note");
    // What is upstream is pinned: another file at its place is not taken for it.
    fs::remove_dir_all(dir.path().join("cache")).unwrap();
    fs::write(ours.join("up.tar"), "another").unwrap();
    anneal(&["recipe", "check"], &ours).refused(1, &["upstream `base` has changed", "ask why"]);
}
