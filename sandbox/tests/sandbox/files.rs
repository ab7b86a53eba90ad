//! Inputs can be read and not changed, outputs are there afterwards, and nothing else is.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use anneal_sandbox::{Error, MountSource};

use crate::bench::{Bench, needs_sandbox};

#[test]
fn a_path_that_was_not_declared_is_absent() {
    needs_sandbox!();
    let bench = Bench::new();
    let tree = bench.tree("undeclared", "secret", "x");
    for path in [tree.join("secret").to_str().unwrap(), "/etc/passwd", "/root", "/home", "/usr/bin/env", "/sys"] {
        let said = bench.says(&["read", path]);
        assert!(said.contains("No such file or directory"), "{said}");
    }
    assert_eq!(bench.says(&["list", "/"]), "dev payload proc tmp\n");
    assert_eq!(
        bench.says(&["list", "/dev"]),
        "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero\n"
    );
}

#[test]
fn inputs_can_be_read_and_not_changed() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let tree = bench.tree("a", "etc/hosts", "from a tree");
    let file = bench.tree("b", "file", "a file").join("file");
    let many: Vec<_> = (0..300).map(|n| bench.tree(&format!("many{n}"), &format!("file{n}"), &n.to_string())).collect();
    bench.mount("/src", MountSource::Trees(vec![tree]));
    bench.mount("/src/etc/one", MountSource::File(file));
    bench.mount("/sysroot", MountSource::Trees(many.clone()));
    bench.mount("/empty", MountSource::Trees(Vec::new()));
    assert_eq!(bench.says(&["read", "/src/etc/hosts"]), "from a tree");
    assert_eq!(bench.says(&["read", "/src/etc/one"]), "a file");
    assert_eq!(bench.says(&["list", "/sysroot"]).split(' ').count(), 300);
    assert_eq!(bench.says(&["read", "/sysroot/file299"]), "299");
    assert_eq!(bench.says(&["list", "/empty"]), "\n");
    for path in
        ["/src/etc/hosts", "/src/etc/one", "/src/new", "/sysroot/file3", "/sysroot/new", "/empty/new", "/payload"]
    {
        let said = bench.says(&["write", path, "changed"]);
        assert!(said.starts_with("held") && said.contains("Read-only"), "{said}");
    }
    assert_eq!(std::fs::read_to_string(many[3].join("file3")).unwrap(), "3");
}

#[test]
fn the_first_of_two_trees_is_on_top() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let (upper, lower) = (bench.tree("upper", "file", "upper"), bench.tree("lower", "file", "lower"));
    bench.mount("/both", MountSource::Trees(vec![upper.clone(), lower, upper]));
    assert_eq!(bench.says(&["read", "/both/file"]), "upper");
}

#[test]
fn what_is_written_to_an_output_is_there_afterwards() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let out = bench.output("/out");
    bench.says(&["write", "/out/file", "made"]);
    assert_eq!(std::fs::read_to_string(out.join("file")).unwrap(), "made");
    let made = std::fs::metadata(out.join("file")).unwrap();
    assert_eq!(made.mode() & 0o7777, 0o644);
    assert_ne!(made.uid(), 0, "the payload is the superuser of the host");
}

#[test]
fn a_writable_root_takes_files_and_the_tree_beneath_stays_as_it_was() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.writable_root = true;
    assert!(bench.says(&["write", "/new", "x"]).starts_with("escaped"));
    assert_eq!(std::fs::read_dir(&bench.spec.root[0]).unwrap().count(), 1);
}

#[test]
fn scratch_space_ends_where_its_limit_is() {
    needs_sandbox!();
    let bench = Bench::new();
    assert!(bench.says(&["eat-files", "/tmp/big"]).contains("No space left"));
}

#[test]
fn an_output_that_others_could_reach_is_refused() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let out = bench.output("/out");
    // The directory above must be open all the way, as a directory in the temporary one would be.
    let parent = out.parent().unwrap();
    std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o755)).unwrap();
    if parent.ancestors().skip(1).all(|dir| std::fs::metadata(dir).unwrap().mode() & 1 == 1) {
        let refused = bench.run(&["true"]);
        assert!(
            matches!(&refused, Err(Error::OutputExposed { field, .. }) if field == "mounts[1].source"),
            "{refused:?}"
        );
    }
    std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o700)).unwrap();
    bench.says(&["true"]);
}

#[test]
fn an_output_out_of_roots_reach_is_refused_by_its_field_before_anything_is_given_away() {
    needs_sandbox!();
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut bench = Bench::new();
    let first = bench.output("/first");
    let theirs = bench.tree("theirs", "out/x", "x");
    for path in [theirs.clone(), theirs.join("out")] {
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    bench.mount("/out", MountSource::Output(theirs.join("out")));
    let owners = || [&first, &theirs.join("out")].map(|path| std::fs::metadata(path).unwrap().uid());
    let error = bench.run(&["true"]).unwrap_err();
    assert!(error.to_string().contains("mounts[2].source names"), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("theirs belongs to user 65534 with mode 0700"), "{cause}");
    assert_eq!(owners(), [0, 65534]);
}

#[test]
fn a_run_can_write_over_what_the_last_one_left_and_what_is_not_the_callers_stays_as_it_is() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let out = bench.output("/out");
    std::fs::create_dir(out.join("usr")).unwrap();
    for name in ["usr/file", "twice", "set"] {
        std::fs::write(out.join(name), "first").unwrap();
    }
    std::fs::hard_link(out.join("twice"), out.with_file_name("elsewhere")).unwrap();
    std::fs::set_permissions(out.join("set"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", out.join("link")).unwrap();
    let other_user = bench.says(&["true"]).is_empty() && {
        let id_mode = bench.run(&["true"]).unwrap().0.surroundings.id_mode;
        id_mode != anneal_sandbox::IdMode::Shared
    };
    for content in ["second", "third"] {
        for name in ["usr/file", "new"] {
            assert!(bench.says(&["write", &format!("/out/{name}"), content]).starts_with("escaped"));
            assert_eq!(std::fs::read_to_string(out.join(name)).unwrap(), content);
        }
    }
    for kept in ["twice", "set"] {
        let said = bench.says(&["write", &format!("/out/{kept}"), "second"]);
        assert_eq!(said.starts_with("held"), other_user, "{kept}: {said}");
    }
    assert_eq!(std::fs::metadata("/etc/passwd").unwrap().uid(), 0);
    if !nix::unistd::geteuid().is_root() {
        // Root's callers take it back by themselves.
        let own = nix::unistd::geteuid().as_raw();
        for name in ["usr", "usr/file", "new", "twice", "link"] {
            assert_eq!(std::fs::symlink_metadata(out.join(name)).unwrap().uid(), own, "{name}");
        }
    }
}

#[test]
fn an_output_is_its_owners_again_where_the_run_did_not_come_to_be() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let out = bench.output("/out");
    std::fs::write(out.join("file"), "here before").unwrap();
    let before = std::fs::metadata(&out).unwrap();
    bench.spec.argv = vec!["missing".to_owned()];
    let error = anneal_sandbox::run(&bench.spec, &mut Vec::new(), &Default::default()).unwrap_err();
    assert!(matches!(error, Error::Exec { .. }), "{error:?}");
    for after in [&out, &out.join("file")].map(|path| std::fs::metadata(path).unwrap()) {
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    }
}

#[test]
fn an_output_that_a_run_writes_to_is_no_other_runs_at_the_same_time() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let out = bench.output("/out");
    let before = std::fs::metadata(&out).unwrap();
    let refused = |bench: &Bench, field: &str| {
        let error = bench.run(&["true"]).unwrap_err().to_string();
        assert!(error.contains(field) && error.contains("no other run"), "{error}");
    };
    // In one spec, the same or a part of it: what is written to the one would change the other.
    for inner in [out.clone(), out.join("in")] {
        std::fs::create_dir_all(&inner).unwrap();
        bench.mount("/again", MountSource::Output(inner));
        let error = bench.run(&["true"]).unwrap_err().to_string();
        assert!(error.contains("mounts[1].source") && error.contains("mounts[2].source is "), "{error}");
        bench.spec.mounts.pop();
    }
    std::fs::remove_dir(out.join("in")).unwrap();
    let after = std::fs::metadata(&out).unwrap();
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    std::thread::scope(|scope| {
        let mut first = bench.spec.clone();
        first.argv = ["/payload", "walls", "show-and-wait", "/proc/self/uid_map", "2"].map(str::to_owned).to_vec();
        let run = scope.spawn(move || anneal_sandbox::run(&first, &mut Vec::new(), &Default::default()).unwrap());
        crate::crash::wait_for("the first run to have its output", || {
            nix::fcntl::Flock::lock(std::fs::File::open(&out).unwrap(), nix::fcntl::FlockArg::LockSharedNonblock)
                .is_err()
        });
        refused(&bench, "mounts[1].source");
        assert!(run.join().unwrap().succeeded(), "the first run goes on as if nothing had been");
    });
    assert!(bench.run(&["true"]).unwrap().0.succeeded(), "and after it the output is free");
}

#[test]
fn a_link_beneath_a_closed_directory_of_another_user_is_no_way_for_root() {
    needs_sandbox!();
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut bench = Bench::new();
    let tree = bench.tree("open", "x", "x");
    let closed = bench.tree("closed", "y", "y");
    std::os::unix::fs::symlink(tree.parent().unwrap(), closed.join("link")).unwrap();
    std::os::unix::fs::chown(&closed, Some(65534), Some(65534)).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    bench.mount("/x", MountSource::Trees(vec![closed.join("link").join(tree.file_name().unwrap())]));
    let error = bench.run(&["true"]).unwrap_err();
    assert!(error.to_string().contains("mounts[1].source[0]"), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("closed belongs to user 65534"), "{cause}");
}

#[test]
fn a_missing_tree_a_linked_output_and_a_missing_program_are_named() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let link = bench.tree("real", "x", "x").with_file_name("link");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    let check = |bench: &Bench, words: &[&str]| {
        let error = bench.run(&["true"]).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    bench.mount("/x", MountSource::Trees(vec!["/nowhere/at/all".into()]));
    check(&bench, &["mounts[1].source[0]", "/nowhere/at/all"]);
    bench.spec.mounts.pop();
    bench.mount("/x", MountSource::Output(link));
    check(&bench, &["mounts[1].source", "symbolic link"]);
    bench.spec.mounts.pop();
    bench.spec.cwd = "/nowhere".into();
    check(&bench, &["cwd", "/nowhere"]);
    bench.spec.cwd = "/".into();
    bench.spec.argv = vec!["missing".to_owned()];
    let error = anneal_sandbox::run(&bench.spec, &mut Vec::new(), &Default::default()).unwrap_err();
    assert!(matches!(&error, Error::Exec { program, .. } if program == "missing"), "{error:?}");
    bench.spec.argv = vec!["payload".to_owned(), "true".to_owned()];
    assert!(anneal_sandbox::run(&bench.spec, &mut Vec::new(), &Default::default()).unwrap().succeeded());
}

#[test]
fn a_tree_that_the_payloads_user_could_not_read_is_named() {
    needs_sandbox!();
    let mut bench = Bench::new();
    let tree = bench.tree("closed", "x", "x");
    std::fs::set_permissions(&tree, std::fs::Permissions::from_mode(0o700)).unwrap();
    bench.mount("/x", MountSource::Trees(vec![tree]));
    if nix::unistd::geteuid().is_root() {
        let error = bench.run(&["true"]).unwrap_err().to_string();
        assert!(error.contains("mounts[1].source[0]") && error.contains("every user"), "{error}");
    } else {
        assert_eq!(bench.says(&["read", "/x/x"]), "x");
    }
}
