//! A spec that can't be used: each mistake by its field, with what was found, what is expected and what to do. The whole
//! text is what a person gets, so it stands in a golden file.

use std::path::Path;
use std::time::Duration;

use anneal_sandbox::{CancelToken, Error, MountSource, Spec, Staging};

use crate::bench::{Bench, needs_sandbox};

/// The error and its causes, with the test's own directory and other changing parts taken out.
fn told(bench: &Bench, spec: &Spec) -> String {
    let error: Error = anneal_sandbox::run(spec, &mut Vec::new(), &CancelToken::new()).unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.replace(bench.spec.root[0].parent().unwrap().to_str().unwrap(), "DIR")
}

#[test]
fn each_mistake_in_a_spec_names_its_field_and_what_to_do() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.argv = vec!["/payload".to_owned(), "true".to_owned()];
    let out = bench.tree("real", "x", "x");
    let link = out.with_file_name("link");
    std::os::unix::fs::symlink(&out, &link).unwrap();
    let dir = out.parent().unwrap().to_owned();
    let bent = bench.tree("bent", "inner/x", "x");
    std::os::unix::fs::symlink("inner", bent.join("way")).unwrap();
    let over = |spec: &mut Spec, at: &str, source| {
        spec.mounts.push(anneal_sandbox::Mount { at: "/t".into(), source: MountSource::Trees(vec![bent.clone()]) });
        spec.mounts.push(anneal_sandbox::Mount { at: at.into(), source });
    };
    let scratch = || MountSource::Scratch { bytes: 4096, inodes: 10 };
    type Mistake<'a> = (&'a str, &'a str, &'a dyn Fn(&mut Spec));
    let mount = |spec: &mut Spec, at: &str, source| spec.mounts.push(anneal_sandbox::Mount { at: at.into(), source });
    let mistakes: &[Mistake<'_>] = &[
        ("a relative mount", "mounts[1].at", &|s| mount(s, "src", MountSource::Trees(vec![dir.clone()]))),
        ("a mount that climbs", "mounts[1].at", &|s| mount(s, "/a/../b", MountSource::Trees(vec![]))),
        ("a mount over the sandbox's own", "mounts[1].at", &|s| mount(s, "/proc/x", MountSource::Trees(vec![]))),
        ("a mount given twice", "mounts[1].at", &|s| s.mounts.push(s.mounts[0].clone())),
        ("a relative host path", "mounts[1].source", &|s| mount(s, "/o", MountSource::Output("out".into()))),
        ("a missing tree", "mounts[1].source[0]", &|s| mount(s, "/x", MountSource::Trees(vec![dir.join("absent")]))),
        ("a missing root", "root[0]", &|s| s.root = vec![dir.join("absent")]),
        ("no root", "root", &|s| s.root.clear()),
        ("a file as tree", "mounts[1].source[0]", &|s| mount(s, "/x", MountSource::Trees(vec![out.join("x")]))),
        ("an output that is a symbolic link", "mounts[1].source", &|s| {
            mount(s, "/out", MountSource::Output(link.clone()));
        }),
        ("a missing output", "mounts[1].source", &|s| mount(s, "/out", MountSource::Output(dir.join("absent")))),
        ("a mount in an output", "mounts[1].at", &|s| {
            mount(s, "/out/in", MountSource::Trees(vec![]));
            mount(s, "/out", MountSource::Output(out.clone()));
        }),
        ("a file over a directory", "mounts[2].at", &|s| over(s, "/t/inner", MountSource::File(out.join("x")))),
        ("a mount beneath a file of a tree", "mounts[2].at", &|s| over(s, "/t/inner/x/y", scratch())),
        ("a mount beneath a link of a tree", "mounts[2].at", &|s| over(s, "/t/way/y", scratch())),
        ("a name that is too long", "mounts[1].at", &|s| mount(s, &format!("/{}", "n".repeat(256)), scratch())),
        ("scratch space of more than there can be", "mounts[1].source.bytes", &|s| {
            mount(s, "/s", MountSource::Scratch { bytes: u64::MAX, inodes: 10 });
        }),
        ("copies with too little room", "staging", &|s| {
            s.staging = Staging::Copied { bytes: 4096, inodes: 2, reversed: false };
        }),
        ("fewer open files than a sandbox takes", "limits.open_files", &|s| s.limits.open_files = 15),
        ("an argument that is too long", "argv[2]", &|s| s.argv.push("x".repeat(131_072))),
        ("a variable that is too long", "env.LONG", &|s| _ = s.env.insert("LONG".into(), "x".repeat(131_072))),
        ("too many arguments", "argv is", &|s| s.argv.extend((0..30).map(|_| "x".repeat(100_000)))),
        ("no argv", "argv", &|s| s.argv.clear()),
        ("an argv that is not found", "argv[0] is `missing`", &|s| s.argv = vec!["missing".to_owned()]),
        ("an argv that is a directory", "argv[0] is `/tmp`", &|s| s.argv = vec!["/tmp".to_owned()]),
        ("a wall time of zero", "limits.wall_ms", &|s| s.limits.wall = Duration::ZERO),
        ("a silence time of zero", "limits.silence_ms", &|s| s.limits.silence = Duration::ZERO),
        ("memory of zero", "limits.memory_bytes", &|s| s.limits.memory_bytes = 0),
        ("no processes", "limits.pids", &|s| s.limits.pids = 0),
        ("a log of zero bytes", "limits.log_bytes", &|s| s.limits.log_bytes = 0),
        ("no open files", "limits.open_files", &|s| s.limits.open_files = 0),
        ("no processors", "limits.cpus", &|s| s.limits.cpus = 0),
        ("outputs of zero bytes", "limits.output_bytes", &|s| s.limits.output_bytes = 0),
        ("outputs of no files", "limits.output_inodes", &|s| s.limits.output_inodes = 0),
        ("a log rate of zero", "limits.log_bytes_per_second", &|s| s.limits.log_bytes_per_second = 0),
        ("a mask of more than permission bits", "umask", &|s| s.umask = 0o1777),
        ("a working directory that is absent", "/absent", &|s| s.cwd = "/absent".into()),
        ("a host name with an escape sequence", "hostname", &|s| s.hostname = "a\x1b[2J".to_owned()),
        ("a mount with an escape sequence", "mounts[1].at", &|s| mount(s, "a\x1b[2J\n", MountSource::Trees(vec![]))),
    ];
    let mut text = String::new();
    for (what, field, spoil) in mistakes {
        let mut spec = bench.spec.clone();
        spoil(&mut spec);
        let line = told(&bench, &spec);
        assert!(line.contains(field), "{what}: {line}");
        assert!(!line.contains(|c: char| c.is_control()), "{what}: {line:?}");
        text.push_str(&format!("{what}\n  {line}\n"));
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/sandbox/bad-input.txt");
        return std::fs::write(golden, &text).unwrap();
    }
    // Compiled in, since the user of the rootless run may not be let into the repository.
    assert_eq!(text, include_str!("../../../golden/sandbox/bad-input.txt"), "UPDATE_GOLDEN=1 rewrites it");
}

#[test]
fn the_fewest_open_files_that_a_spec_may_have_are_enough_to_begin_with() {
    needs_sandbox!();
    let mut bench = Bench::new();
    bench.spec.limits.open_files = 16;
    bench.output("/out");
    assert_eq!(bench.says(&["list", "/out"]), "\n");
}

#[test]
fn a_tree_that_no_overlay_can_show_is_named_by_its_field() {
    needs_sandbox!();
    let mut bench = Bench::new();
    // Where nothing is mounted in it, it is a tree like others.
    bench.mount("/t", MountSource::Trees(vec!["/dev".into()]));
    if let Err(error) = bench.run(&["true"]) {
        assert!(error.to_string().contains("mounts[1].source"), "{error}");
    }
}
