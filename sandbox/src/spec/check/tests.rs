//! One mistake each, and the field it is named by.

use std::time::Duration;

use crate::{Error, HttpProbe, Kind, Mount, MountSource, Spec, Staging};

fn good() -> Spec {
    Spec {
        root: vec!["/trees/root".into()],
        mounts: vec![Mount { at: "/src".into(), source: MountSource::Trees(vec!["/trees/src".into()]) }],
        argv: vec!["/bin/sh".to_owned()],
        ..Spec::of(Kind::Build)
    }
}

fn check(field: &str, spoil: impl Fn(&mut Spec)) {
    let mut spec = good();
    spec.check().unwrap();
    spoil(&mut spec);
    match spec.check() {
        Err(Error::Spec { field: named, .. }) => assert_eq!(named, field),
        other => panic!("{field}: {other:?}"),
    }
}

#[test]
fn a_mount_point_must_be_absolute_plain_and_not_the_sandboxes_own() {
    for at in ["src", "", "/", "/a/../b", "/a/./b", "//a", "/a/", "/dev", "/dev/shm", "/proc/self", "/sys"] {
        check("mounts[0].at", |spec| spec.mounts[0].at = at.into());
    }
    check("mounts[1].at", |spec| spec.mounts.push(spec.mounts[0].clone()));
}

#[test]
fn host_paths_must_be_absolute() {
    check("root", |spec| spec.root.clear());
    check("root[0]", |spec| spec.root = vec!["trees".into()]);
    check("mounts[0].source[0]", |spec| spec.mounts[0].source = MountSource::Trees(vec!["x".into()]));
    check("mounts[0].source", |spec| spec.mounts[0].source = MountSource::Output("x".into()));
    check("mounts[0].source", |spec| spec.mounts[0].source = MountSource::File("x".into()));
}

#[test]
fn a_limit_of_zero_is_refused() {
    check("limits.wall_ms", |spec| spec.limits.wall = Duration::ZERO);
    check("limits.silence_ms", |spec| spec.limits.silence = Duration::ZERO);
    check("limits.memory_bytes", |spec| spec.limits.memory_bytes = 0);
    check("limits.pids", |spec| spec.limits.pids = 0);
    check("limits.log_bytes", |spec| spec.limits.log_bytes = 0);
    check("limits.open_files", |spec| spec.limits.open_files = 0);
    check("limits.cpus", |spec| spec.limits.cpus = 0);
    check("limits.output_bytes", |spec| spec.limits.output_bytes = 0);
    check("staging.bytes", |spec| spec.staging = Staging::Copied { bytes: 0, inodes: 1, reversed: false });
    check("staging.inodes", |spec| spec.staging = Staging::Copied { bytes: 1, inodes: 0, reversed: false });
    check("limits.output_inodes", |spec| spec.limits.output_inodes = 0);
    check("limits.log_bytes_per_second", |spec| spec.limits.log_bytes_per_second = 0);
    check("limits.cpus", |spec| spec.limits.cpus = super::CPU_LIMIT + 1);
    check("mounts[0].source.bytes", |spec| spec.mounts[0].source = MountSource::Scratch { bytes: 0, inodes: 1 });
    check("mounts[0].source.inodes", |spec| spec.mounts[0].source = MountSource::Scratch { bytes: 1, inodes: 0 });
}

#[test]
fn a_payload_that_can_not_be_named_is_refused() {
    check("argv", |spec| spec.argv.clear());
    check("argv[0]", |spec| spec.argv[0].clear());
    check("argv[1]", |spec| spec.argv.push("a\0b".to_owned()));
    check("env", |spec| _ = spec.env.insert("A=B".to_owned(), String::new()));
    check("env.A", |spec| _ = spec.env.insert("A".to_owned(), "\0".to_owned()));
    check("cwd", |spec| spec.cwd = "build".into());
    check("uid", |spec| spec.uid = u32::MAX);
    check("umask", |spec| spec.umask = 0o1000);
    check("hostname", |spec| spec.hostname = "a b".to_owned());
    check("hostname", |spec| spec.hostname = "a".repeat(super::HOSTNAME_LIMIT + 1));
}

#[test]
fn a_probe_that_can_not_be_made_is_refused() {
    let probe = HttpProbe { port: 80, path: "/".to_owned(), ready_within: Duration::from_secs(1), stop_signal: 15 };
    let with = |probe: HttpProbe| move |spec: &mut Spec| spec.probe = Some(probe.clone());
    check("probe.port", with(HttpProbe { port: 0, ..probe.clone() }));
    check("probe.path", with(HttpProbe { path: "/a b".to_owned(), ..probe.clone() }));
    check("probe.path", with(HttpProbe { path: "/\r\nX: y".to_owned(), ..probe.clone() }));
    check("probe.path", with(HttpProbe { path: "a".to_owned(), ..probe.clone() }));
    check("probe.ready_within_ms", with(HttpProbe { ready_within: Duration::ZERO, ..probe.clone() }));
    check("probe.stop_signal", with(HttpProbe { stop_signal: 65, ..probe.clone() }));
}

#[test]
fn what_a_spec_says_does_nothing_to_a_terminal_and_is_cut_where_it_is_long() {
    let mut spec = good();
    spec.hostname = format!("\u{1b}[2J\n{}", "x".repeat(1 << 20));
    let text = spec.check().unwrap_err().to_string();
    assert!(text.contains("\\u{1b}[2J\\n") && text.contains("x..."), "{text}");
    assert!(!text.contains(char::is_control) && text.len() < 800, "{} bytes", text.len());
}

#[test]
fn json_that_is_no_spec_says_where_and_what_and_is_harmless_to_show() {
    let text = serde_json::to_string(&good()).unwrap();
    let told = |text: &str| Spec::from_json(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(Spec::from_json(text.as_bytes()).unwrap(), good());
    for (from, to, wanted) in [
        ("\"uid\"", "\"net\\u001b[2J\":true,\"uid\"", "net\\u{1b}[2J"),
        ("\"uid\":1000", "\"uid\":-1", "-1"),
        ("\"build\"", "\"bui\\nld\"", "bui\\nld"),
        ("[\"/bin/sh\"]", "\"/bin/sh\"", "a sequence"),
        ("\"cwd\":\"/\"", "\"cwd\":\"build\"", "cwd is `build`"),
    ] {
        let said = told(&text.replacen(from, to, 1));
        assert!(said.contains(wanted) && !said.contains(char::is_control), "{said}");
        assert!(said.contains("line 1 column") || said.contains("expected an absolute"), "{said}");
    }
    assert!(told(&" ".repeat(super::JSON_BYTES_MAX + 1)).contains("bytes"));
    assert!(told(&format!("{{\"root\":{}", "[".repeat(100_000))).contains("line 1 column"));
}

#[test]
fn a_spec_survives_json_and_unknown_fields_do_not() {
    let spec = good();
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
    let odd = text.replacen("\"uid\"", "\"network\":true,\"uid\"", 1);
    assert!(serde_json::from_str::<Spec>(&odd).unwrap_err().to_string().contains("network"));
}
