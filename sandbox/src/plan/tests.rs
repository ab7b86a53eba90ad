//! The list of each kind of sandbox against its golden text.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anneal_sandbox_op::{Op, listing};

use super::operations;
use crate::plan::mounts::MAX_LAYERS;
use crate::{Error, HostFacts, HttpProbe, Kind, Mount, MountSource, Spec, Users, Variation, filter, steward};

fn host() -> HostFacts {
    let (outside_uid, outside_gid) = (4_200_003, 4_200_003);
    HostFacts { outside_uid, outside_gid, users: Users::Own, cpus: vec![0, 1], time_namespace: true, landlock_abi: 7 }
}

pub(crate) fn spec(kind: Kind) -> Spec {
    let mount = |at: &str, source| Mount { at: at.into(), source };
    let scratch = |bytes| MountSource::Scratch { bytes, inodes: 1 << 20 };
    Spec {
        root: vec!["/store/trees/build-root".into()],
        mounts: vec![
            mount("/sysroot", MountSource::Trees(vec!["/store/trees/musl".into(), "/store/trees/zlib".into()])),
            mount("/src", MountSource::Trees(Vec::new())),
            mount("/src/zlib.tar.gz", MountSource::File("/store/blobs/zlib".into())),
            mount("/build", scratch(4 << 30)),
            mount("/tmp", scratch(1 << 30)),
            mount("/out", MountSource::Output("/state/runs/1/out".into())),
        ],
        argv: ["/bin/sh", "-eu", "-c", "make"].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("PATH", "/usr/bin:/bin"), ("TZ", "UTC")].map(|(n, v)| (n.to_owned(), v.to_owned()))),
        cwd: "/build".into(),
        ..Spec::of(kind)
    }
}

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/sandbox").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = golden.lines().zip(text.lines()).find(|(golden, made)| golden != made);
    assert_eq!(golden, text, "{name} differs, first at {differing:?}; UPDATE_GOLDEN=1 rewrites it");
}

#[test]
fn a_build_is_made_by_these_operations() {
    check("build.txt", &listing(&operations(&spec(Kind::Build), &host()).unwrap()));
}

#[test]
fn a_build_in_other_surroundings_is_made_by_these_operations() {
    check("varied.txt", &listing(&operations(&spec(Kind::Build).varied(&Variation::all()), &host()).unwrap()));
}

#[test]
fn a_test_is_made_by_these_operations_without_root() {
    let mut spec = spec(Kind::Test);
    spec.root.push("/store/trees/more".into());
    spec.mounts.truncate(1);
    spec.cwd = "/".into();
    let host = HostFacts {
        outside_uid: 501,
        outside_gid: 20,
        users: Users::Shared { reason: "no range".to_owned() },
        cpus: Vec::new(),
        time_namespace: false,
        landlock_abi: 2,
    };
    check("test.txt", &listing(&operations(&spec, &host).unwrap()));
}

#[test]
fn a_build_without_root_differs_in_this_from_one_with_root_where_there_are_subordinate_ids() {
    let own = operations(&spec(Kind::Build), &host()).unwrap();
    let host = HostFacts { outside_uid: 132_771, outside_gid: 232_771, users: Users::Subordinate, ..host() };
    let subordinate = operations(&spec(Kind::Build), &host).unwrap();
    let line = |sign: char, op: &Op| format!("{sign} {op}\n");
    let gone = own.iter().filter(|op| !subordinate.contains(op)).map(|op| line('-', op));
    let come = subordinate.iter().filter(|op| !own.contains(op)).map(|op| line('+', op));
    check("subordinate.txt", &gone.chain(come).collect::<String>());
}

#[test]
fn a_steward_is_made_by_these_operations() {
    check("steward.txt", &listing(&steward::operations()));
}

#[test]
fn the_run_of_an_image_is_made_by_these_operations() {
    let mut spec = spec(Kind::Run);
    spec.mounts.truncate(0);
    spec.root = ["/store/layers/3", "/store/layers/2", "/store/layers/1"].map(Into::into).to_vec();
    spec.argv = vec!["nginx".to_owned()];
    spec.writable_root = true;
    spec.uid = 65532;
    spec.gid = 65532;
    spec.cwd = "/".into();
    let ready_within = Duration::from_secs(5);
    spec.probe = Some(HttpProbe { port: 8080, path: "/".to_owned(), ready_within, stop_signal: 3 });
    check("run.txt", &listing(&operations(&spec, &host()).unwrap()));
}

#[test]
fn these_are_the_calls_that_a_sandbox_allows() {
    check("calls.txt", &filter::allowed_text());
}

#[test]
fn no_filter_is_longer_than_the_kernel_takes() {
    for op in [false, true].into_iter().flat_map(filter::operations) {
        let (anneal_sandbox_op::Op::Seccomp { program, .. } | anneal_sandbox_op::Op::Witness { program, .. }) = op
        else {
            panic!("not a filter")
        };
        assert!(program.len() <= 4096, "{}", program.len());
    }
}

#[test]
fn more_layers_than_the_kernel_stacks_are_refused() {
    let mut spec = spec(Kind::Build);
    let trees = |count| MountSource::Trees((0..count).map(|n| format!("/t/{n}").into()).collect());
    spec.mounts[0].source = trees(MAX_LAYERS);
    assert!(operations(&spec, &host()).is_ok());
    spec.mounts[0].source = trees(MAX_LAYERS + 1);
    assert!(matches!(operations(&spec, &host()), Err(Error::Spec { .. })));
}

#[test]
fn nothing_is_mounted_beneath_an_output_or_a_file() {
    for beneath in ["/out/x", "/src/zlib.tar.gz/x"] {
        let mut spec = spec(Kind::Build);
        spec.mounts.push(Mount { at: beneath.into(), source: MountSource::Trees(Vec::new()) });
        assert!(matches!(operations(&spec, &host()), Err(Error::Spec { .. })), "{beneath}");
    }
}
