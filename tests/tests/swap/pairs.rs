//! Pairs of a small C library and a program that links it, each pair with an image of its own, and one record that moves
//! every library to its second release.

use anneal_tests::{Notes, OSV_TIME, Place, sha256, top};
use std::{fs, path::Path};

/// The record that all second releases answer.
pub(crate) const ADVISORY: &str = "TEST-2026-78";

const HEADER: &str = "\
#define LIB_VERSION \"1.0\"
#define LIB_ANSWER 42
struct lib_point { int x; int y; };
extern int lib_table[];
int lib_sum(const struct lib_point *point);
int lib_twice(int n);
int lib_answer(void);
";

const SOURCE: &str = "\
#include <lib.h>
int lib_table[4] = {1, 2, 3, 4};
int lib_sum(const struct lib_point *point) { return point->x + point->y; }
int lib_twice(int n) { return n * 2; }
int lib_answer(void) { return LIB_ANSWER; }
";

const VERSIONS: &str = "LIB_1.0 { global: lib_*; local: *; };\n";

/// Prints what it was built with and what it runs with; with an argument, it minds where those are not one.
const PROGRAM: &str = "\
#include <stdio.h>
#include <lib.h>
int main(int argc, char **argv) {
  struct lib_point point = {1, 2};
  (void)argv;
  printf(\"TOLD%d %d %d\\n\", lib_sum(&point), lib_twice(lib_table[1]), lib_answer());
  return argc > 1 && lib_answer() != LIB_ANSWER;
}
";

/// What the second release has in place of a text of the first, in the file with this name.
type Change = (&'static str, &'static str, &'static str);

/// A library and its program.
pub(crate) struct Pair {
    pub(crate) name: &'static str,
    changes: &'static [Change],
    /// The output that is linked, beside what is always mounted.
    archive: bool,
    debug: bool,
    /// Whether the header's version is in the program.
    tells_version: bool,
    /// Whether its own tests mind what it was built with, and whether the image's do.
    minds: (bool, bool),
    allowed: bool,
}

const MACRO: Change = ("lib.h", "\"1.0\"", "\"1.1\"");
const FIX: Change = ("lib.c", "n * 2", "n + n");
const ANSWER: Change = ("lib.h", "LIB_ANSWER 42", "LIB_ANSWER 43");

const DROP_IN: Pair = Pair {
    name: "dropin",
    changes: &[MACRO, FIX, ("lib.c", "#include <lib.h>", "#include <lib.h>\nint lib_more(void) { return 7; }")],
    archive: false,
    debug: true,
    tells_version: true,
    minds: (true, true),
    allowed: true,
};

/// Every pair. The first three are swapped.
pub(crate) const PAIRS: &[Pair] = &[
    DROP_IN,
    Pair { name: "same", tells_version: false, ..DROP_IN },
    Pair {
        name: "stuck",
        changes: &[
            MACRO,
            FIX,
            ("lib.h", "#define LIB_ANSWER 42", "#define LIB_ANSWER 42\n#ifndef LIB_OWN\n#error not yet\n#endif"),
        ],
        ..DROP_IN
    },
    Pair { name: "imagetest", changes: &[MACRO, ANSWER], minds: (false, true), ..DROP_IN },
    Pair { name: "owntest", changes: &[MACRO, ANSWER], ..DROP_IN },
    Pair {
        name: "dropped",
        changes: &[MACRO, ("lib.h", "int lib_twice(int n);", "#define lib_twice lib_double\nint lib_double(int n);")],
        ..DROP_IN
    },
    Pair { name: "soname", changes: &[MACRO, ("soname", "1", "2")], ..DROP_IN },
    Pair { name: "version", changes: &[MACRO, ("lib.map", "LIB_1.0", "LIB_2.0")], ..DROP_IN },
    Pair { name: "data", changes: &[MACRO, ("lib.c", "lib_table[4]", "lib_table[8]")], ..DROP_IN },
    Pair { name: "layout", changes: &[MACRO, ("lib.h", "{ int x; int y; }", "{ int x; int y; int z; }")], ..DROP_IN },
    Pair { name: "nodebug", debug: false, ..DROP_IN },
    Pair { name: "archive", archive: true, ..DROP_IN },
    Pair { name: "never", allowed: false, ..DROP_IN },
];

fn files(pair: &Pair, second: bool) -> Vec<(&'static str, String)> {
    let all = [("lib.h", HEADER), ("lib.c", SOURCE), ("lib.map", VERSIONS), ("soname", "1")];
    let mut files = Vec::new();
    for (file, text) in all {
        let mut text = text.to_owned();
        for (_, old, new) in pair.changes.iter().filter(|(of, ..)| second && *of == file) {
            assert!(text.contains(old), "{text}");
            text = text.replacen(old, new, 1);
        }
        files.push((file, text));
    }
    files
}

/// Writes the whole catalogue.
pub(crate) fn write(place: &Place) {
    for folder in ["packages", "images", "sources"] {
        fs::create_dir_all(place.catalog.join(folder)).unwrap();
    }
    fs::copy(top().join("recipes/packages/musl.toml"), place.catalog.join("packages/musl.toml")).unwrap();
    for pair in PAIRS {
        library(pair, &place.catalog);
        program(pair, &place.catalog);
        image(pair, &place.catalog);
    }
    fs::create_dir_all(&place.state).unwrap();
    Notes::link_root(&place.state);
}

const FLAGS: &str = "-O2 -fstack-protector-strong -fstack-clash-protection";
const LINK: &str = "-Wl,-z,relro,-z,now,--build-id=sha1";

fn library(pair: &Pair, catalog: &Path) {
    let name = pair.name;
    let mut releases = String::new();
    for (version, second) in [("1.0", false), ("1.1", true)] {
        releases
            .push_str(&format!("[[release]]\nversion = \"{version}\"\ndate = \"2020-01-0{}\"\n", 1 + u8::from(second)));
        for (file, text) in files(pair, second) {
            let path = format!("sources/{name}-{version}-{file}");
            fs::write(catalog.join(&path), &text).unwrap();
            releases.push_str(&format!(
                "[[release.source]]\nsha256 = \"{}\"\nbytes = {}\nfile = \"{file}\"\nplaces = [\"path:{path}\"]\n",
                sha256(text.as_bytes()),
                text.len()
            ));
        }
    }
    let debug = "id=$(readelf -n $so | sed -n 's/.*Build ID: //p')\n\
                 dir=\"$OUT/usr/lib/debug/.build-id/$(echo $id | cut -c1-2)\"\nmkdir -p \"$dir\"\n\
                 objcopy --only-keep-debug $so \"$dir/$(echo $id | cut -c3-).debug\"\n";
    let steps = format!(
        "so=lib{name}.so.$(cat /src/soname)\nmkdir -p \"$OUT/usr/include\" \"$OUT/usr/lib\"\n\
         cp /src/lib.h \"$OUT/usr/include/{name}.h\"\ncp /src/lib.c lib.c\n\
         musl-gcc -g {FLAGS} -DLIB_OWN -fPIC -shared -I/src {LINK},-soname,$so,--version-script,/src/lib.map -o $so lib.c\n\
         musl-gcc {FLAGS} -DLIB_OWN -fPIC -I/src -c lib.c\nar rcD \"$OUT/usr/lib/lib{name}.a\" lib.o\n\
         {}strip -o \"$OUT/usr/lib/$so\" $so\nln -s $so \"$OUT/usr/lib/lib{name}.so\"\n",
        if pair.debug { debug } else { "" }
    );
    let output = "[[output]]\nname = \"debug\"\npaths = [\"usr/lib/debug/**\"]\n\n";
    let test = format!("test -e \"$SYSROOT/usr/include/{name}.h\"");
    package(catalog, &format!("lib-{name}"), &releases, ("\"musl\"", "\"musl\""), &steps, output, &test);
}

fn program(pair: &Pair, catalog: &Path) {
    let name = pair.name;
    let told = if pair.tells_version { "built with \" LIB_VERSION \": " } else { "" };
    let text = PROGRAM.replace("lib.h", &format!("{name}.h")).replace("TOLD", told);
    let (asked, linked) = if pair.archive {
        (format!("\"musl\", \"lib-{name}:static\""), format!("-l:lib{name}.a"))
    } else {
        (format!("\"musl\", \"lib-{name}\""), format!("-l{name}"))
    };
    let run = if pair.archive { "\"musl\"".to_owned() } else { format!("\"musl\", \"lib-{name}\"") };
    let steps = format!(
        "cat > x.c <<'C'\n{text}C\nmusl-gcc {FLAGS} -fPIE -pie {LINK} -s -o x x.c {linked}\n\
         install -Dm755 x \"$OUT/usr/bin/{name}\"\n"
    );
    let releases = "[[release]]\nversion = \"1.0\"\ndate = \"2020-01-01\"\n";
    let test = format!("\"$SYSROOT/usr/bin/{name}\" {}", if pair.minds.0 { "mind" } else { "" });
    package(catalog, name, releases, (&asked, &run), &steps, "", &test);
}

fn package(catalog: &Path, name: &str, releases: &str, needs: (&str, &str), steps: &str, outputs: &str, test: &str) {
    let text = format!(
        "name = \"{name}\"\nsummary = \"For a test: {name}\"\nhomepage = \"https://example.org/{name}\"\nlicense = \"MIT\"\n\
         version = \"1.0\"\n\n[upstream]\npurl = \"pkg:generic/{name}\"\nrepository = \"https://example.org/{name}\"\n\n\
         {releases}\n[build]\nrequires = [{}]\nsteps = [\n'''\n{steps}''',\n\
         '''\nprintf 'Permission is granted.\\n' > licence\n\
         install -Dm644 licence \"$OUT/usr/share/licenses/{name}/LICENSE\"\n''',\n]\n\n\
         [runtime]\nrequires = [{}]\n\n{outputs}[test]\nsteps = ['''{test}''']\n\n\
         [checks]\nallow = [{}]\n",
        needs.0,
        needs.1,
        waiver("ABI-04")
    );
    fs::write(catalog.join(format!("packages/{name}.toml")), text).unwrap();
}

/// A finding that counts for nothing: these libraries are nobody else's.
fn waiver(check: &str) -> String {
    format!("{{ check = \"{check}\", reason = \"for a test\" }}")
}

fn image(pair: &Pair, catalog: &Path) {
    let name = pair.name;
    let policy = if pair.allowed { "\n[policy]\ncompatible-swap = \"security\"\n" } else { "" };
    let waived = waiver("ABI-03");
    let args = if pair.minds.1 { "args = [\"mind\"]\n" } else { "" };
    // A library that is a part of the program ships beside it, so that the record is about this image, too.
    let packages = if pair.archive { format!("\"{name}\", \"lib-{name}\"") } else { format!("\"{name}\"") };
    let text = format!(
        "name = \"{name}\"\nsummary = \"An image of {name}\"\npackages = [{packages}]\nuser = \"65532:65532\"\n\
         tags = [\"latest\"]\nversion-of = \"{name}\"\nentrypoint = [\"/usr/bin/{name}\"]\n\n[run]\n{args}exits = 0\n{policy}\n[checks]\nallow = [{waived}]\n"
    );
    fs::write(catalog.join(format!("images/{name}.toml")), text).unwrap();
}

/// A record that says that the first release of every library is broken.
pub(crate) fn advisory_lands(place: &Place) {
    let affected: Vec<_> = PAIRS
        .iter()
        .map(|pair| {
            let name = format!("lib-{}", pair.name);
            serde_json::json!({
                "package": { "ecosystem": "generic", "name": name, "purl": format!("pkg:generic/{name}") },
                "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": "1.1" }] }]
            })
        })
        .collect();
    let record = serde_json::json!({
        "schema_version": "1.6.0", "id": ADVISORY, "modified": OSV_TIME, "published": OSV_TIME,
        "summary": "the first releases are broken", "affected": affected
    });
    place.feed("advisory.json", record.to_string().as_bytes());
}
