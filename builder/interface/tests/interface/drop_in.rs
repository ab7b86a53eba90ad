//! Programs that were linked against one build of a library, held against another.

use crate::toy::{SOURCE, Toy, cc};
use anneal_interface::{SharedObject, drop_in};
use std::fs;

/// A program that calls the library and takes its data: as a copy where it is not position-independent.
fn program(toy: &Toy, flags: &[&str]) -> SharedObject {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("libtoy.so"), toy.library()).unwrap();
    fs::write(dir.path().join("toy.h"), &toy.header).unwrap();
    let text = "#include \"toy.h\"\nint toy_late(void) __attribute__((weak));\nint main(void) { struct toy t = {TOY_LIMIT, \"x\"};\n\
                if (toy_late) return toy_late();\nreturn toy_sum(&t, toy_twice(toy_table[1])); }\n";
    fs::write(dir.path().join("program.c"), text).unwrap();
    let mut args = flags.to_vec();
    args.extend(["-O1", "-o", "program", "program.c", "-L.", "-ltoy"]);
    cc(dir.path(), &args);
    SharedObject::read_loaded(&fs::read(dir.path().join("program")).unwrap()).unwrap().unwrap()
}

fn library(toy: &Toy) -> SharedObject {
    SharedObject::read(&toy.library()).unwrap()
}

/// What is said of a program that was linked against the usual library.
fn judged(after: &Toy) -> Result<(), String> {
    let (before, now) = (library(&Toy::default()), library(after));
    let fixed = drop_in(&program(&Toy::default(), &["-no-pie", "-fno-pic"]), &before, &now);
    let moving = drop_in(&program(&Toy::default(), &["-pie", "-fPIC"]), &before, &now);
    assert_eq!(fixed.is_ok(), moving.is_ok(), "{fixed:?} {moving:?}");
    fixed
}

#[test]
fn what_a_program_does_not_use_of_a_library_may_change() {
    judged(&Toy::default()).unwrap();
    judged(&Toy::source("return toy->size + n;", "return toy->size - n;")).unwrap();
    judged(&Toy::source("int toy_table[4]", "int toy_more(void) { return 3; }\nint toy_table[4]")).unwrap();
    judged(&Toy::source("__attribute__((weak)) int toy_hook(int n) { return n; }", "")).unwrap();
}

#[test]
fn what_a_program_uses_of_a_library_stays_as_it_was() {
    let without = Toy::source("int toy_sum(const struct toy *toy, int n) { return toy->size + n; }", "");
    let soname = Toy { flags: vec!["-Wl,-soname,libtoy.so.2".into()], ..Toy::default() };
    let version = Toy { versions: "TOY_2.0 { global: toy_*; local: *; };\n".into(), ..Toy::default() };
    let size = Toy::source("int toy_table[4] =", "int toy_table[40] =");
    let kind =
        Toy::source("int toy_sum(const struct toy *toy, int n) { return toy->size + n; }", "int toy_sum[2] = {1, 2};");
    let weak = Toy::source("int toy_sum(", "__attribute__((weak)) int toy_sum(");
    let hidden = Toy::source("int toy_sum(", "__attribute__((visibility(\"protected\"))) int toy_sum(");
    for (after, why) in [
        (without, "libtoy.so.1 does not offer toy_sum@TOY_1.0 any more"),
        (soname, "its soname was libtoy.so.1 and is libtoy.so.2"),
        (version, "does not offer toy_"),
        (size, "had 16 bytes and has 160"),
        (kind, "toy_sum@TOY_1.0 of libtoy.so.1 has another type, binding or visibility"),
        (weak, "toy_sum@TOY_1.0 of libtoy.so.1 has another type, binding or visibility"),
        (hidden, "toy_sum@TOY_1.0 of libtoy.so.1 has another type, binding or visibility"),
    ] {
        let said = judged(&after).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
    assert!(SOURCE.contains("toy_sum"));
}

#[test]
fn a_name_that_was_looked_for_elsewhere_must_not_come_from_the_library_now() {
    let after = library(&Toy::source("int toy_table[4]", "int toy_late(void) { return 3; }\nint toy_table[4]"));
    let program = program(&Toy::default(), &["-pie", "-fPIC"]);
    let said = drop_in(&program, &library(&Toy::default()), &after).unwrap_err();
    assert_eq!(said, "libtoy.so.1 offers toy_late now, which was looked for elsewhere");
}

#[test]
fn a_copy_of_data_in_a_program_is_laid_out_as_the_library_has_it() {
    let after = library(&Toy::source("int toy_table[4] =", "const int toy_table[4] ="));
    let before = library(&Toy::default());
    drop_in(&program(&Toy::default(), &["-pie", "-fPIC"]), &before, &after).unwrap();
    let said = drop_in(&program(&Toy::default(), &["-no-pie", "-fno-pic"]), &before, &after).unwrap_err();
    assert!(said.contains("of which a copy was linked, is laid out otherwise"), "{said}");
}

#[test]
fn a_static_program_loads_nothing_and_a_broken_one_is_not_understood() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x.c"), "int main(void) { return 0; }\n").unwrap();
    cc(dir.path(), &["-static", "-o", "x", "x.c"]);
    cc(dir.path(), &["-c", "-o", "x.o", "x.c"]);
    for name in ["x", "x.o", "x.c"] {
        assert_eq!(SharedObject::read_loaded(&fs::read(dir.path().join(name)).unwrap()), Ok(None), "{name}");
    }
    let whole = Toy::default().library();
    assert!(SharedObject::read_loaded(&whole[..whole.len() / 2]).is_err());
}
