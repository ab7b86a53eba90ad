//! Which packages bring something that can run in a dependent's build.

use crate::toy::{Item, Toy, interface};
use std::collections::BTreeMap;

fn executables(name: &'static str, bytes: &[u8], mode: u32) -> usize {
    interface(&BTreeMap::from([("out", vec![(name, Item::File(bytes.to_vec(), mode))])])).executables().len()
}

#[test]
fn a_library_with_its_header_and_its_config_script_brings_nothing_that_runs() {
    assert_eq!(Toy::default().seen(&["out", "dev", "static"]).executables(), []);
}

#[test]
fn programs_and_scripts_run_wherever_they_lie() {
    for name in ["usr/bin/toy", "usr/sbin/toy", "usr/lib/toy/helper", "usr/libexec/toy", "usr/share/toy/run.py"] {
        assert_eq!(executables(name, b"\x7fELF and more", 0o755), 1, "{name}");
        assert_eq!(executables(name, b"#!/bin/sh\n", 0o755), 1, "{name}");
        assert_eq!(executables(name, b"echo a shell would try this\n", 0o711), 1, "{name}");
        assert_eq!(executables(name, b"#!/bin/sh\n", 0o644), 0, "{name} has no execute bit");
    }
}

#[test]
fn a_config_script_is_text_and_a_config_program_is_a_program() {
    assert_eq!(executables("usr/bin/toy-config", b"#!/bin/sh\n", 0o755), 0);
    assert_eq!(executables("usr/bin/toy-config", b"\x7fELF", 0o755), 1);
    assert_eq!(executables("usr/libexec/toy-config", b"#!/bin/sh\n", 0o755), 1);
}

#[test]
fn what_the_loader_does_shows_in_every_build_that_runs_what_it_made() {
    let loader = Toy::default().library();
    // It counts whole already; as a shared object it is not run by name.
    assert_eq!(executables("lib/ld-toy.so.1", &loader, 0o755), 0);
    assert_eq!(executables("usr/lib/libtoy.la", b"# a libtool library file\n", 0o755), 0);
}
