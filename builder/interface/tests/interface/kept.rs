//! What may change in a library without anyone who links it being built again.

use crate::toy::{SOURCE, Toy, cc};
use std::{fs, path::Path};

/// A body that does another thing, and one that is so much longer that everything behind it moves.
fn other_bodies() -> [Toy; 2] {
    let long = "{ volatile int r = n; while (r < toy->size * 7) r += r * n + 3; return r ^ toy->name[r & 7]; }";
    [
        Toy::source("return toy->size + n;", "return toy->size - n;"),
        Toy::source(
            "{ return toy->size + n; }",
            &format!("{long} static int padding[999]; int *toy_sum_padding(void);"),
        ),
    ]
}

#[test]
fn another_function_body_is_the_same_interface() {
    let before = Toy::default();
    for after in other_bodies() {
        assert_ne!(before.library(), after.library(), "the library is another one");
        let (seen, now) = (before.seen(&["out", "dev"]), after.seen(&["out", "dev"]));
        assert_eq!(seen.to_string(), now.to_string());
        assert_eq!(seen.digest().unwrap(), now.digest().unwrap());
    }
}

#[test]
fn an_archive_that_is_not_mounted_is_nobodys_business() {
    let after = Toy { archive: b"!<arch>\nmore".to_vec(), ..Toy::default() };
    assert_eq!(Toy::default().seen(&["out", "dev"]).digest().unwrap(), after.seen(&["out", "dev"]).digest().unwrap());
}

/// A program that takes copies of the library's data, linked in a directory of its own.
fn program(toy: &Toy) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("libtoy.so"), toy.library()).unwrap();
    fs::write(dir.path().join("toy.h"), &toy.header).unwrap();
    let text = "#include \"toy.h\"\nint main(void) { struct toy t = {TOY_LIMIT, \"x\"};\n\
                return toy_sum(&t, toy_twice(toy_table[1])) + toy_hook(toy_other[0]); }\n";
    fs::write(dir.path().join("program.c"), text).unwrap();
    // Not position-independent: such a program copies data out of the library.
    cc(dir.path(), &["-O1", "-no-pie", "-fno-pic", "-o", "program", "program.c", "-L.", "-ltoy"]);
    read(dir.path(), "program")
}

fn read(dir: &Path, name: &str) -> Vec<u8> {
    fs::read(dir.join(name)).unwrap()
}

#[test]
fn a_program_that_is_linked_against_the_same_interface_is_the_same_program() {
    let before = program(&Toy::default());
    for after in other_bodies() {
        assert!(before == program(&after), "a linker sees more than the interface says");
    }
    // Each of these is in no header, and yet in the program.
    for (old, new) in [
        ("int toy_table[4] =", "int toy_table[40] ="),
        ("int toy_table[4] =", "__attribute__((aligned(256))) int toy_table[4] ="),
        ("int toy_table[4] =", "const int toy_table[4] ="),
        (
            "__attribute__((weak)) int toy_other[4] = {5, 6, 7, 8};",
            "extern int toy_other[4] __attribute__((weak, alias(\"toy_table\")));",
        ),
    ] {
        let after = Toy::source(old, new);
        assert!(before != program(&after), "{new}: this proves nothing, for the program is the same");
        assert_ne!(Toy::default().seen(&["out"]).digest().unwrap(), after.seen(&["out"]).digest().unwrap(), "{new}");
    }
}

#[test]
fn an_interface_can_be_read() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let mut text = Toy::default().seen(&["out", "dev", "static"]).to_string();
    // What a compiler says about itself is not ours.
    text = text.lines().filter(|line| !line.contains("note ")).map(|line| format!("{line}\n")).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/interface/toy.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap_or_default(), "UPDATE_GOLDEN=1 writes it anew");
    assert!(SOURCE.contains("toy_edition") && text.contains("toy_edition"));
}
