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
    assert_eq!(executables("lib/ld-toy.so.1", &loader, 0o755), 1);
    assert_eq!(executables("usr/lib/libtoy.so.1", &loader, 0o755), 0, "the control");
    assert_eq!(executables("usr/lib/libtoy.la", b"# a libtool library file\n", 0o755), 0);
}

#[test]
fn what_can_be_loaded_runs_with_whatever_loads_it_and_needs_no_execute_bit() {
    let plugin = Toy { flags: Vec::new(), ..Toy::default() }.library();
    let library = Toy::default().library();
    let mut object = library.clone();
    object[0x10] = 1;
    for mode in [0o644, 0o755] {
        assert_eq!(executables("usr/lib/toy/filter.so", &plugin, mode), 1, "a plugin has no soname");
        assert_eq!(executables("usr/lib/toy/filter.node", &library, mode), 1, "no linker finds this name");
        assert_eq!(executables("usr/lib/libtoy.so", &library[..library.len() / 2], mode), 1, "not understood");
        assert_eq!(executables("usr/lib/libtoy.so", &library, mode), 0, "this is reduced");
    }
    assert_eq!(executables("usr/lib/crt1.o", &object, 0o644), 0, "an object is only linked");
    assert_eq!(executables("usr/lib/libtoy.so", b"GROUP ( libtoy.so.1 )", 0o644), 0, "and a script is read");
    assert_eq!(executables("usr/lib/toy/cut", b"\x7fELF", 0o644), 1, "it does not say");
}
