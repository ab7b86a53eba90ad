//! What is not understood counts with its whole content: unknown is never the same.

use crate::toy::{Item, Toy, cc, interface};
use anneal_interface::{SeenAs, SharedObject};
use std::{collections::BTreeMap, fs};

/// Whether a file of this name and these bytes is reduced.
fn is_reduced(name: &'static str, bytes: &[u8]) -> bool {
    let seen = interface(&BTreeMap::from([("out", vec![(name, Item::File(bytes.to_vec(), 0o755))])]));
    let entries = seen.outputs().values().flatten();
    entries.map(|entry| &entry.what).any(|what| matches!(what, SeenAs::SharedObject(_)))
}

#[test]
fn a_library_is_reduced_only_where_a_linker_finds_it_by_its_name() {
    let library = Toy::default().library();
    for (name, reduced) in [
        ("usr/lib/libtoy.so", true),
        ("usr/lib/libtoy.so.1", true),
        ("usr/lib/deep/libtoy.so.1.2.3", true),
        ("usr/lib/libtoy", false),
        ("usr/lib/libtoy.so1", false),
        ("lib/ld-toy.so.1", false),
        ("lib64/ld-linux-x86-64.so.2", false),
    ] {
        assert_eq!(is_reduced(name, &library), reduced, "{name}");
    }
}

#[test]
fn a_plugin_has_no_soname_and_counts_whole() {
    assert!(!is_reduced("usr/lib/libtoy.so", &Toy { flags: Vec::new(), ..Toy::default() }.library()));
}

#[test]
fn what_is_no_shared_object_counts_whole() {
    let library = Toy::default().library();
    let mut sectionless = library.clone();
    sectionless[0x28..0x30].fill(0);
    sectionless[0x3c..0x40].fill(0);
    let mut relocatable = library.clone();
    relocatable[0x10] = 1;
    let cut = &library[..library.len() / 2];
    let text = b"/* GNU ld script */ GROUP ( libtoy.so.1 )".as_slice();
    for (what, bytes) in [
        ("no sections", sectionless.as_slice()),
        ("an object", &relocatable),
        ("cut", cut),
        ("a script", text),
        ("nothing", b""),
    ] {
        assert!(!is_reduced("usr/lib/libtoy.so", bytes), "{what}");
    }
    assert!(is_reduced("usr/lib/libtoy.so", &library), "the control");
}

#[test]
fn a_section_that_speaks_to_linkers_makes_a_library_count_whole() {
    let warning = "__asm__(\".pushsection .gnu.warning.toy_sum; .ascii \\\"do not\\\"; .popsection\");";
    let source = format!("{}{warning}\n", Toy::default().source);
    assert!(!is_reduced("usr/lib/libtoy.so", &Toy { source, ..Toy::default() }.library()));
}

#[test]
fn notes_beyond_the_limit_make_a_library_count_whole() {
    let with = |bytes: u32| {
        let note = format!(
            ".pushsection .note.toy, \\\"a\\\", @note; .long 4, {bytes}, 1; .ascii \\\"toy\\\\0\\\"; .zero {bytes}; .popsection"
        );
        let source = format!("{}__asm__(\"{note}\");\n", Toy::default().source);
        Toy { source, ..Toy::default() }.library()
    };
    assert!(is_reduced("usr/lib/libtoy.so", &with(60_000)));
    assert!(!is_reduced("usr/lib/libtoy.so", &with(65_540)));
}

#[test]
fn a_program_is_no_library_whatever_its_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("p.c"), "int main(void) { return 0; }").unwrap();
    cc(dir.path(), &["-fPIE", "-pie", "-Wl,-soname,libp.so.1", "-o", "p", "p.c"]);
    assert!(!is_reduced("usr/lib/libp.so", &fs::read(dir.path().join("p")).unwrap()));
}

#[test]
fn no_damage_makes_the_reader_panic_or_two_readings_differ() {
    let library = Toy::default().library();
    let whole = SharedObject::read(&library).unwrap();
    let mut same = 0;
    for at in 0..library.len() {
        let mut damaged = library.clone();
        damaged[at] ^= 0x41;
        same += usize::from(SharedObject::read(&damaged).is_ok_and(|read| read == whole));
    }
    // Code, padding and addresses are no part of it, names and symbols are.
    assert!(same > 0 && same < library.len(), "{same} of {}", library.len());
    for length in (0..library.len()).step_by(61) {
        assert!(SharedObject::read(&library[..length]).is_err(), "{length} bytes");
    }
}
