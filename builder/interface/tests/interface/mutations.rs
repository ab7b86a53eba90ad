//! Whatever may show in a dependent changes the Interface: one mutation at a time.

use crate::toy::{CONFIG, HEADER, Toy, VERSIONS, replaced};

/// What a dependent that links statically mounts: all of it.
const ALL: &[&str] = &["out", "dev", "static"];

fn header(old: &str, new: &str) -> Toy {
    Toy { header: replaced(HEADER, old, new), ..Toy::default() }
}

fn flags(flags: &[&str]) -> Toy {
    Toy { flags: flags.iter().map(|flag| (*flag).to_owned()).collect(), ..Toy::default() }
}

fn mutations() -> Vec<(&'static str, Toy)> {
    const SONAME: &str = "-Wl,-soname,libtoy.so.1";
    let hook = "__attribute__((weak)) int toy_hook(int n) { return n; }";
    let sum = "int toy_sum(const struct toy *toy, int n) { return toy->size + n; }";
    vec![
        // What is compiled in.
        ("a macro in a header", header("TOY_LIMIT 16", "TOY_LIMIT 17")),
        ("an inline function", header("x * 2", "x + x")),
        ("the layout of a struct", header("char name[8]", "char name[9]")),
        ("the value of an enum", header("TOY_SAFE = 2", "TOY_SAFE = 3")),
        ("a script that prints flags", Toy { config: replaced(CONFIG, "-ltoy", "-ltoy -lm"), ..Toy::default() }),
        ("an archive", Toy { archive: b"!<arch>\n\n".to_vec(), ..Toy::default() }),
        // What a linker reads.
        ("another soname", flags(&["-Wl,-soname,libtoy.so.2"])),
        ("a library that it needs", flags(&[SONAME, "-Wl,--no-as-needed", "-lneeded"])),
        ("a place to search", flags(&[SONAME, "-Wl,-rpath,/opt/lib", "-Wl,--enable-new-dtags"])),
        ("another kind of search", flags(&[SONAME, "-Wl,-rpath,/opt/lib", "-Wl,--disable-new-dtags"])),
        ("bound when it is loaded", flags(&[SONAME, "-Wl,-z,now"])),
        ("who audits it", flags(&[SONAME, "-Wl,--audit,libaudit.so"])),
        ("the name of a version", Toy { versions: replaced(VERSIONS, "TOY_1.0", "TOY_1.1"), ..Toy::default() }),
        (
            "a version of one symbol",
            Toy {
                versions: "TOY_1.0 { global: toy_[!s]*; local: *; }; TOY_2 { toy_sum; } TOY_1.0;".into(),
                ..Toy::default()
            },
        ),
        ("a version that nothing has", Toy { versions: format!("{VERSIONS} TOY_2 {{ }} TOY_1.0;"), ..Toy::default() }),
        ("no versions", Toy { versions: "{ global: toy_*; local: *; };".into(), ..Toy::default() }),
        ("a symbol more", Toy::source(sum, &format!("{sum} int toy_more(void) {{ return 1; }}"))),
        ("a symbol less", Toy::source(hook, "")),
        ("a symbol that became hidden", Toy::source(hook, &replaced(hook, "weak", "weak, visibility(\"hidden\")"))),
        ("default visibility", flags(&[SONAME, "-fvisibility=protected"])),
        ("a weak symbol that became global", Toy::source(hook, "int toy_hook(int n) { return n; }")),
        (
            "a function that is chosen when it is loaded",
            Toy::source(
                hook,
                "static int h(int n) { return n; } static void *pick(void) { return h; }\n\
                 int toy_hook(int) __attribute__((ifunc(\"pick\")));",
            ),
        ),
        ("a function that became data", Toy::source(hook, "int toy_hook = 1;")),
        ("a function that it needs of others", Toy::source("return toy->size + n;", "int f(int); return f(n);")),
        // What a program copies.
        ("the size of data", Toy::source("toy_table[4] =", "toy_table[5] =")),
        ("the size of data of a thread", Toy::source("__thread int toy_error", "__thread long toy_error")),
        ("the boundary of data", Toy::source("int toy_table[4]", "__attribute__((aligned(128))) int toy_table[4]")),
        ("data that became constant", Toy::source("int toy_table[4]", "const int toy_table[4]")),
        (
            "two names of one thing",
            Toy::source(
                "__attribute__((weak)) int toy_other[4] = {5, 6, 7, 8};",
                "extern int toy_other[4] __attribute__((weak, alias(\"toy_table\")));",
            ),
        ),
        ("the value of an absolute symbol", Toy::source("toy_edition, 5", "toy_edition, 6")),
        (
            "a note",
            Toy::source(
                "__asm__(\"",
                "__asm__(\".pushsection .note.toy, \\\"a\\\", @note; .long 4, 4, 1; .ascii \\\"toy\\\\0data\\\"; .popsection\\n",
            ),
        ),
        // What stands where.
        ("the name of the file", Toy { file: "usr/lib/libtoy.so.1.1", ..Toy::default() }),
        ("the mode of the file", Toy { mode: 0o555, ..Toy::default() }),
        ("where a link points", Toy { link: "libtoy.so.1.1", ..Toy::default() }),
    ]
}

#[test]
fn each_mutation_is_another_interface() {
    let before = Toy::default().seen(ALL);
    for (what, after) in mutations() {
        let seen = after.seen(ALL);
        assert_ne!(seen.to_string(), before.to_string(), "{what}: nobody would see why");
        assert_ne!(seen.digest().unwrap(), before.digest().unwrap(), "{what}: a dependent would be kept");
    }
}

#[test]
fn what_is_mounted_counts_and_nothing_else() {
    let before = Toy::default();
    let all: Vec<_> = [&["out"][..], &["dev"], &["out", "dev"], ALL].map(|m| before.seen(m).digest().unwrap()).into();
    for (at, digest) in all.iter().enumerate() {
        assert!(!all[..at].contains(digest));
    }
}
