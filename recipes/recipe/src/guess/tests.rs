//! Sources and the drafts that come of them: each checks, and says what was guessed.

use super::*;
use crate::Catalog;

const MUSL: &str = "name = \"musl\"\nsummary = \"C library\"\nlicense = \"MIT\"\nversion = \"1\"\n[[release]]\n\
    version = \"1\"\ndate = \"2024-03-01\"\n[build]\nsteps = [\"true\"]\n";
const MIT: &str = "Permission is hereby granted, free of charge, to any person obtaining a copy. The above copyright notice \
    and this permission notice shall be included.";

struct Given<'a> {
    place: &'a str,
    file: &'a str,
    directory: Option<&'a str>,
    texts: &'a [(&'a str, &'a str)],
}

#[track_caller]
fn drafted(given: &Given<'_>) -> (String, Vec<String>) {
    let mut files = SourceFiles { directory: given.directory.map(str::to_owned), ..SourceFiles::default() };
    files.newest_secs = Some(1_600_000_000);
    for (path, text) in given.texts {
        files.paths.insert((*path).to_owned());
        files.texts.insert((*path).to_owned(), (*text).to_owned());
    }
    let (name, place) = ("app".parse().unwrap(), given.place.parse().unwrap());
    let (file, known) = (given.file.parse().unwrap(), BTreeSet::from(["musl".parse().unwrap()]));
    let (text, notes) = draft(&Draft {
        name: &name,
        place: &place,
        file: &file,
        sha256: BlobDigest::of(b"app"),
        bytes: 3,
        files: &files,
        known: &known,
        today: "2026-01-02".parse().unwrap(),
        version: None,
    });
    let recipes = [("packages/app.toml".to_owned(), text.clone()), ("packages/musl.toml".to_owned(), MUSL.to_owned())];
    let checked = Catalog::parse(&recipes);
    assert!(checked.is_ok(), "{}\n{text}", checked.unwrap_err().render(false));
    assert_eq!(format(Kind::Package, "packages/app.toml", &text).unwrap(), text, "a draft is formatted");
    for note in &notes {
        assert!(text.contains(&format!("# {note}\n")), "{note} is not in\n{text}");
    }
    (text, notes)
}

fn given<'a>(texts: &'a [(&'a str, &'a str)]) -> Given<'a> {
    Given { place: "path:a-1.0.tar", file: "a-1.0.tar", directory: Some("a-1.0"), texts }
}

#[track_caller]
fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
}

#[test]
fn a_source_with_configure_becomes_a_whole_recipe() {
    let (text, notes) = drafted(&Given {
        place: "https://a.example/app-1.4.2.tar.gz",
        file: "app-1.4.2.tar.gz",
        directory: Some("app-1.4.2"),
        texts: &[("configure", "#!/bin/sh"), ("Makefile.in", ""), ("COPYING", MIT)],
    });
    has(
        &text,
        &[
            "version = \"1.4.2\"",
            "license = \"MIT\"",
            "'./configure --prefix=/usr'",
            "requires = [\"musl\"]",
            "date = \"2020-09-13\"",
            "CC = \"musl-gcc\"",
            "install -Dm644 -t \"$OUT/usr/share/licenses/app\" COPYING",
            "# license: guessed from `COPYING`",
        ],
    );
    assert!(notes.iter().any(|note| note.starts_with("build: guessed from `configure`")), "{notes:?}");
}

#[test]
fn each_build_system_is_known_by_its_file_and_a_made_configure_comes_first() {
    for (file, step) in [
        ("configure.ac", "autoreconf -fi"),
        ("meson.build", "meson setup"),
        ("CMakeLists.txt", "cmake -S ."),
        ("Cargo.toml", "cargo build --release --offline --locked"),
        ("go.mod", "go build -mod=vendor"),
        ("setup.py", "pip install --no-index"),
        ("Makefile", "make install DESTDIR=\"$OUT\" PREFIX=/usr"),
    ] {
        has(&drafted(&given(&[(file, "")])).0, &[step, &format!("guessed from `{file}`")]);
        has(&drafted(&given(&[(file, ""), ("configure", "")])).0, &["./configure --prefix=/usr"]);
    }
}

#[test]
fn what_is_not_known_is_said_to_be_unknown() {
    let (text, notes) = drafted(&Given {
        place: "path:data.tar",
        file: "data.tar",
        directory: None,
        texts: &[("LICENSE", "All rights reserved by the author."), ("a.txt", "")],
    });
    has(&text, &["license = \"LicenseRef-unknown\"", "version = \"0\""]);
    for what in [
        "license: unknown: `LICENSE` was not recognised",
        "version: unknown",
        "build: nothing shows",
        "summary: the source",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(what)), "{what} is not in {notes:?}");
    }
    assert!(
        drafted(&Given { place: "path:x", file: "x", directory: None, texts: &[] })
            .1
            .iter()
            .any(|n| n.starts_with("unpack:"))
    );
}

#[test]
fn a_gnu_licence_is_or_later_only_where_the_files_say_so() {
    let gpl = "GNU GENERAL PUBLIC LICENSE Version 2, June 1991";
    let later = "/* GNU General Public License ... either version 2, or (at your option) any later version. */";
    has(&drafted(&given(&[("COPYING", gpl), ("main.c", later)])).0, &["license = \"GPL-2.0-or-later\""]);
    let (text, notes) = drafted(&given(&[("COPYING", gpl), ("main.c", "int main;")]));
    has(&text, &["license = \"GPL-2.0-only\""]);
    assert!(notes.iter().any(|note| note.contains("no file says whether a later version")), "{notes:?}");
}

#[test]
fn what_a_manifest_declares_is_taken_before_what_a_text_looks_like() {
    let manifest = "[package]\nname = \"app\"\nversion = \"0.3.1\"\nlicense = \"MIT/Apache-2.0\"\ndescription = \"\"\"\nDoes a thing\nwell.\"\"\"\n";
    let (text, _) = drafted(&Given {
        place: "crate:app/0.3.1",
        file: "app-0.3.1.tar.gz",
        directory: Some("app-0.3.1"),
        texts: &[("Cargo.toml", manifest), ("LICENSE-MIT", MIT)],
    });
    has(
        &text,
        &[
            "license = \"MIT OR Apache-2.0\"",
            "summary = \"Does a thing well\"",
            "purl = \"pkg:cargo/app\"",
            "# license: as `Cargo.toml` says",
        ],
    );
}

#[test]
fn a_version_is_read_off_a_name() {
    for (name, version) in [
        ("zlib-1.3.1.tar.gz", Some("1.3.1")),
        ("tzdata2025b.tar.gz", Some("2025b")),
        ("openssl-3.0.13", Some("3.0.13")),
        ("libz-sys-1.1.8+zlib-1.2.11.crate", Some("1.2.11")),
        ("nginx_1.22.1.orig.tar.gz", Some("1.22.1")),
        ("sqlite-autoconf-3450100.tar.gz", Some("3450100")),
        ("pcre2", None),
        ("app", None),
    ] {
        assert_eq!(numbers_in(name).as_deref(), version, "{name}");
    }
}
