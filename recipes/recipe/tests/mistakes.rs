//! Every mistake that a recipe can have, one at a time, and the text that a person sees.
//!
//! Each case changes one thing in the catalogue under `tests/catalogue`. The expected texts are in
//! `golden/recipe/errors`; `UPDATE_GOLDEN=1` writes them anew.

// Tests read their fixtures from disk; clippy knows only functions marked as tests to be tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use anneal_recipe::{Catalog, Mistakes};
use std::{collections::BTreeSet, fs, path::Path};

mod catalogue;
use catalogue::{changed, files};

const ZLIB: &str = "recipes/packages/zlib.toml";
const MUSL: &str = "recipes/packages/musl.toml";
const NGINX: &str = "recipes/packages/nginx.toml";
const IMAGE: &str = "recipes/images/nginx.toml";

/// A mistake's name, the file it is in, and what is changed to what.
type Case = (&'static str, &'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    ("not-toml", ZLIB, "license = \"Zlib\"", "license = Zlib"),
    ("key-written-twice", ZLIB, "license = \"Zlib\"", "license = \"Zlib\"\nlicense = \"MIT\""),
    ("unknown-key", ZLIB, "summary =", "sumary ="),
    ("unknown-key-of-a-nested-table", ZLIB, "unpack = \"src\"\nplaces = [\"crate", "strip = 2\nplaces = [\"crate"),
    ("missing-license", ZLIB, "license = \"Zlib\"\n", ""),
    ("missing-build", MUSL, "[build]\nsteps = [", "# steps = ["),
    ("missing-release", MUSL, "[[release]]\nversion = \"1.2.5\"\ndate = 2024-03-01\n[[release.source]]", "[source]"),
    ("missing-date", ZLIB, "date = \"2017-01-15\"\n", ""),
    ("missing-places", ZLIB, "places = [\"crate:libz-sys/1.1.8\"]\n", ""),
    ("wrong-type", ZLIB, "license = \"Zlib\"", "license = [\"Zlib\"]"),
    ("list-of-other-things", ZLIB, "requires = [\"musl\"]\ncpus", "requires = [\"musl\", 5]\ncpus"),
    ("bad-name", ZLIB, "name = \"zlib\"", "name = \"Zlib\""),
    ("invalid-license", ZLIB, "license = \"Zlib\"", "license = \"zlib\""),
    ("deprecated-license", ZLIB, "license = \"Zlib\"", "license = \"MIT OR GPL-2.0\""),
    ("broken-license-expression", ZLIB, "license = \"Zlib\"", "license = \"MIT OR\""),
    ("bad-date", ZLIB, "\"2017-01-15\"", "\"2017-02-30\""),
    ("bad-homepage", ZLIB, "\"https://zlib.net\"", "\"zlib.net\""),
    ("purl-with-a-version", ZLIB, "pkg:generic/zlib", "pkg:generic/zlib@1.2.11"),
    ("bad-upstream-name", ZLIB, "\"Debian:zlib\"", "\"zlib\""),
    ("short-digest", ZLIB, "9702f5a1", "9702"),
    ("digest-in-capitals", ZLIB, "9702f5a1", "9702F5A1"),
    ("source-of-no-bytes", ZLIB, "bytes = 2481844", "bytes = 0"),
    ("source-file-with-a-slash", ZLIB, "file = \"libz-sys-1.1.8.tar.gz\"", "file = \"../libz.tar.gz\""),
    ("unpacked-outside", ZLIB, "unpack = \"src\"\nplaces = [\"crate", "unpack = \"../src\"\nplaces = [\"crate"),
    ("no-places", ZLIB, "[\"crate:libz-sys/1.1.8\"]", "[]"),
    ("place-without-a-kind", ZLIB, "\"crate:libz-sys/1.1.8\"", "\"libz-sys-1.1.8.tar.gz\""),
    ("place-of-an-unknown-kind", ZLIB, "\"crate:libz-sys/1.1.8\"", "\"ftp://zlib.net/zlib.tar.gz\""),
    ("place-without-encryption", ZLIB, "\"crate:libz-sys/1.1.8\"", "\"http://zlib.net/zlib.tar.gz\""),
    ("place-with-a-password", ZLIB, "\"crate:libz-sys/1.1.8\"", "\"https://me:secret@zlib.net/zlib.tar.gz\""),
    ("crate-without-a-version", ZLIB, "\"crate:libz-sys/1.1.8\"", "\"crate:libz-sys\""),
    ("pool-path-without-pool", ZLIB, "debian:pool/", "debian:"),
    ("path-place-that-leaves", ZLIB, "\"crate:libz-sys/1.1.8\"", "\"path:../../etc/passwd\""),
    ("git-place", ZLIB, "\"crate:libz-sys/1.1.8\"", "\"git+https://github.com/madler/zlib@cacf7f1d\""),
    ("go-place", ZLIB, "\"crate:libz-sys/1.1.8\"", "\"go:example.org/zlib@v1.2.11\""),
    ("place-written-twice", ZLIB, "[\"crate:libz-sys/1.1.8\"]", "[\"crate:libz-sys/1.1.8\", \"crate:libz-sys/1.1.8\"]"),
    (
        "version-not-listed",
        ZLIB,
        "license = \"Zlib\"\nversion = \"1.2.11\"",
        "license = \"Zlib\"\nversion = \"1.2.12\"",
    ),
    ("release-listed-twice", ZLIB, "version = \"1.2.13\"", "version = \"1.2.11\""),
    ("source-file-used-twice", NGINX, "file = \"mime.types\"", "file = \"nginx-1.24.0.tar.gz\""),
    ("too-many-cpus", ZLIB, "cpus = 2", "cpus = 65"),
    ("negative-memory", ZLIB, "memory-mib = 1024", "memory-mib = -1"),
    ("absolute-workdir", ZLIB, "\"src/src/zlib\"", "\"/build/src\""),
    ("reserved-variable", ZLIB, "CFLAGS", "OUT"),
    ("bad-variable", ZLIB, "CFLAGS", "C-FLAGS"),
    ("no-steps", MUSL, "[\"./configure --prefix=/usr\", \"make -j$JOBS\", \"make install DESTDIR=$OUT\"]", "[]"),
    ("empty-step", MUSL, "\"make -j$JOBS\"", "\" \""),
    ("requirement-written-twice", NGINX, "[\"musl\", \"zlib\"]", "[\"zlib\", \"musl\", \"zlib\"]"),
    ("unknown-build-requirement", NGINX, "requires = [\"zlib\"]", "requires = [\"zilb\"]"),
    ("unknown-runtime-requirement", NGINX, "[\"musl\", \"zlib\"]", "[\"openssl\"]"),
    ("unknown-test-requirement", ZLIB, "requires = [\"busybox\"]", "requires = [\"busibox\"]"),
    ("cycle", MUSL, "[build]\n", "[build]\nrequires = [\"nginx\"]\n"),
    ("package-that-needs-itself", MUSL, "[build]\n", "[build]\nrequires = [\"musl\"]\n"),
    ("declared-twice", NGINX, "name = \"nginx\"", "name = \"musl\""),
    ("output-with-an-absolute-path", ZLIB, "\"usr/lib/*.a\"", "\"/usr/lib/*.a\""),
    ("output-with-a-brace", ZLIB, "\"usr/lib/*.a\"", "\"usr/lib/*.{a,la}\""),
    ("output-with-half-a-double-star", ZLIB, "\"usr/lib/*.a\"", "\"usr/lib/**.a\""),
    ("output-listed-twice", ZLIB, "[test]", "[[output]]\nname = \"static\"\npaths = []\n\n[test]"),
    ("waiver-without-a-reason", ZLIB, ", reason = \"upstream's makefile sets no full relro\"", ""),
    ("waiver-of-no-check", ZLIB, "ELF-02", "elf2"),
    ("image-of-an-unknown-package", IMAGE, "packages = [\"nginx\"]", "packages = [\"ngnix\"]"),
    ("user-by-name", IMAGE, "user = \"65532:65532\"", "user = \"nginx\""),
    ("relative-workdir", IMAGE, "workdir = \"/\"", "workdir = \"srv\""),
    ("bad-port", IMAGE, "\"8080/tcp\"", "\"8080\""),
    ("bad-signal", IMAGE, "SIGQUIT", "QUIT"),
    ("layer-budget-of-nothing", IMAGE, "layer-budget = 10", "layer-budget = 0"),
    ("unknown-compression", IMAGE, "\"gzip\"", "\"xz\""),
    ("bad-tag", IMAGE, "\"1.24\"", "\"-1.24\""),
    ("no-tags", IMAGE, "tags = [\"latest\", \"1.24\"]\nversion-of = \"nginx\"", "tags = []"),
    ("version-of-an-absent-package", IMAGE, "version-of = \"nginx\"", "version-of = \"busybox\""),
    ("version-of-an-unknown-package", IMAGE, "version-of = \"nginx\"", "version-of = \"nginy\""),
    ("setuid-file", IMAGE, "mode = \"0644\"", "mode = \"4755\""),
    ("setgid-directory", IMAGE, "mode = \"0755\"", "mode = \"2755\""),
    ("sticky-file", IMAGE, "mode = \"0644\"", "mode = \"1644\""),
    ("mode-as-a-number", IMAGE, "mode = \"0644\"", "mode = 644"),
    ("mode-that-is-not-octal", IMAGE, "mode = \"0644\"", "mode = \"0888\""),
    ("file-that-leaves-the-image", IMAGE, "\"/etc/nginx/nginx.conf\"", "\"/etc/../../nginx.conf\""),
    ("file-at-the-root", IMAGE, "\"/etc/nginx/nginx.conf\"", "\"/\""),
    ("file-and-directory-at-one-path", IMAGE, "path = \"/etc/nginx/nginx.conf\"", "path = \"/var/cache/nginx\""),
    ("directory-beneath-a-file", IMAGE, "path = \"/etc/nginx/nginx.conf\"", "path = \"/var/cache\""),
    ("bad-login-name", IMAGE, "[[account]]\nname = \"nginx\"", "[[account]]\nname = \"Nginx\""),
    ("uid-used-twice", IMAGE, "[run]", "[[account]]\nname = \"other\"\nuid = 65532\ngid = 1\n\n[run]"),
    ("answer-and-exit", IMAGE, "[run]", "[run]\nexits = 0"),
    ("run-that-expects-nothing", IMAGE, "http = { port = 8080, path = \"/\", status = 200 }", ""),
    ("run-of-nothing", IMAGE, "entrypoint = [\"/usr/sbin/nginx\"]\ncmd = [\"-g\", \"daemon off;\"]", ""),
    ("command-and-arguments", IMAGE, "[run]", "[run]\nargv = [\"/bin/true\"]\nargs = []"),
    ("http-without-a-port", IMAGE, "port = 8080, ", ""),
];

#[track_caller]
fn mistakes(files: &[(String, String)]) -> Mistakes {
    Catalog::parse(files).expect_err("these recipes have a mistake")
}

#[track_caller]
fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/recipe/errors").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} differs from its golden text; UPDATE_GOLDEN=1 rewrites it");
}

#[test]
fn each_mistake_is_shown_where_it_is_with_what_to_do() {
    for (name, path, old, new) in CASES {
        let found = mistakes(&changed(&[(path, old, new)]));
        check(name, &found.render(false));
    }
}

#[test]
fn a_file_that_is_neither_package_nor_image_is_a_mistake() {
    let mut files = files();
    files.push(("recipes/zlib.toml".to_owned(), "name = \"zlib\"\n".to_owned()));
    check("neither-package-nor-image", &mistakes(&files).render(false));
}

#[test]
fn all_mistakes_of_all_files_are_reported_at_once() {
    let files = changed(&[
        (ZLIB, "license = \"Zlib\"\n", ""),
        (ZLIB, "cpus = 2", "cpu = 2"),
        (ZLIB, "\"crate:libz-sys/1.1.8\"", "\"crate:libz-sys\""),
        (NGINX, "requires = [\"zlib\"]", "requires = [\"zilb\"]"),
        (IMAGE, "mode = \"0644\"", "mode = \"4755\""),
        (IMAGE, "packages = [\"nginx\"]", "packages = [\"ngnix\"]"),
        (MUSL, "steps = [", "steps = "),
    ]);
    check("many-at-once", &mistakes(&files).render(false));
}

#[test]
fn a_recipe_with_a_mistake_is_still_known_to_the_others() {
    let found = mistakes(&changed(&[(ZLIB, "license = \"Zlib\"\n", "")]));
    assert_eq!(found.count(), 1, "{}", found.render(false));
    let found = mistakes(&changed(&[(MUSL, "license = \"MIT\"", "license = MIT")]));
    assert!(found.iter().all(|mistake| mistake.file() == MUSL), "{}", found.render(false));
    let found = mistakes(&changed(&[(MUSL, "name = \"musl\"", "name = \"Musl\"")]));
    assert_eq!(found.count(), 1, "{}", found.render(false));
}

#[test]
fn a_cycle_names_its_members_and_not_those_that_need_them() {
    let busybox = "recipes/packages/busybox.toml";
    let found = mistakes(&changed(&[
        (busybox, "[build]\nrequires = [\"musl\"]", "[build]\nrequires = [\"zlib\"]"),
        (ZLIB, "[runtime]\nrequires = [\"musl\"]", "[runtime]\nrequires = [\"busybox\"]"),
        (MUSL, "[build]\n", "[build]\nrequires = [\"musl\"]\n"),
    ]));
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["packages need each other: busybox -> zlib -> busybox", "package `musl` needs itself"]);
    let found = mistakes(&changed(&[
        (busybox, "[runtime]\nrequires = [\"musl\"]", "[runtime]\nrequires = [\"nginx\"]"),
        (ZLIB, "[build]\nrequires = [\"musl\"]", "[build]\nrequires = [\"busybox\"]"),
    ]));
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["packages need each other: busybox -> nginx -> zlib -> busybox"]);
}

#[test]
fn every_mistake_says_what_to_do() {
    for (name, path, old, new) in CASES {
        let found = mistakes(&changed(&[(path, old, new)]));
        assert!(found.iter().all(|mistake| mistake.error().help().is_some()), "{name}");
    }
}

#[test]
fn each_case_is_one_mistake_unless_its_name_says_otherwise() {
    // A required key under a wrong name is also a missing one.
    let two = ["unknown-key", "missing-release"];
    for (name, path, old, new) in CASES.iter().filter(|(name, ..)| !two.contains(name)) {
        let found = mistakes(&changed(&[(path, old, new)]));
        assert_eq!(found.count(), 1, "{name}: {}", found.render(false));
    }
}

#[test]
fn a_mistake_says_its_file_line_column_and_code() {
    let found = mistakes(&changed(&[(ZLIB, "license = \"Zlib\"", "license = \"zlib\"")]));
    let mistake = found.iter().next().unwrap();
    assert_eq!((mistake.file(), mistake.position(), mistake.span()), (ZLIB, (4, 11), 95..101));
    assert_eq!(mistake.error().code(), "recipe::license");
    assert_eq!(found.to_string(), "1 mistake in 1 file");
}

#[test]
fn mistakes_are_the_same_whatever_the_order_of_the_files() {
    let mut files = changed(&[(NGINX, "name = \"nginx\"", "name = \"musl\""), (ZLIB, "cpus = 2", "cpu = 2")]);
    let text = mistakes(&files).render(false);
    files.reverse();
    assert_eq!(mistakes(&files).render(false), text);
}

#[test]
fn color_is_only_written_when_it_is_asked_for() {
    let found = mistakes(&changed(&[(ZLIB, "cpus = 2", "cpu = 2")]));
    assert!(!found.render(false).contains('\u{1b}'));
    assert!(found.render(true).contains('\u{1b}'));
}

#[test]
fn every_kind_of_mistake_has_a_case() {
    let seen: BTreeSet<&str> = CASES
        .iter()
        .flat_map(|(_, path, old, new)| {
            let found = mistakes(&changed(&[(path, old, new)]));
            found.iter().map(|mistake| mistake.error().code()).collect::<Vec<_>>()
        })
        .collect();
    let all = include_str!("../src/error.rs").split('"').filter(|text| text.starts_with("recipe::"));
    // These come about without a recipe file, or have a test of their own.
    let elsewhere = ["recipe::unknown-kind", "recipe::too-large", "recipe::misfiled", "recipe::json"];
    let missing: Vec<_> = all.filter(|code| !seen.contains(code) && !elsewhere.contains(code)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn a_file_at_the_limit_is_read_and_one_byte_more_is_not() {
    const LIMIT: usize = 256 * 1024;
    let sized = |size: usize| {
        let mut files = files();
        let text = &mut files.iter_mut().find(|(path, _)| path == MUSL).unwrap().1;
        text.push_str(&"#".repeat(size - text.len()));
        files
    };
    assert!(Catalog::parse(&sized(LIMIT)).is_ok());
    check("file-too-large", &mistakes(&sized(LIMIT + 1)).render(false));
}

#[test]
fn a_catalogue_of_too_many_files_is_refused_before_any_is_read() {
    let file = |at: usize| (format!("packages/{at}.toml"), "not toml".to_owned());
    let files: Vec<_> = (0..20_001).map(file).collect();
    check("too-many-files", &mistakes(&files).render(false));
}

#[test]
fn reading_stops_after_very_many_mistakes() {
    let file = |at: usize| (format!("packages/{at:05}.toml"), "name = 5\n".to_owned());
    let files: Vec<_> = (0..2_000).map(file).collect();
    let found = mistakes(&files).count();
    assert!((500..520).contains(&found), "{found}");
}

#[test]
fn a_deeply_nested_file_is_a_mistake_and_not_a_crash() {
    let text = format!("name = {}", "[".repeat(100_000));
    let files = [("packages/deep.toml".to_owned(), text)];
    assert!(mistakes(&files).count() >= 1);
}
