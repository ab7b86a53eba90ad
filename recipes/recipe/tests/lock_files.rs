//! What programs' own lock files say, and every mistake that one can have, with the text that a person sees.
//!
//! `UPDATE_GOLDEN=1` writes `golden/recipe/lock-files` anew.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use anneal_recipe::{LockFile, LockedFile, WheelTarget, read_lock_file};
use std::{fs, path::Path};

const MUSL: WheelTarget = WheelTarget { python: 13, musl: true };
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const ONES: &str = "1111111111111111111111111111111111111111111111111111111111111111";

fn read(path: &str, text: &str) -> anneal_recipe::Result<Vec<LockedFile>> {
    read_lock_file(LockFile::of(path).unwrap(), path, text, MUSL)
}

fn places(path: &str, text: &str) -> Vec<String> {
    let files = read(path, text).unwrap();
    files.iter().map(|file| file.places.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")).collect()
}

fn cargo(package: &str) -> String {
    format!("version = 3\n\n[[package]]\nname = \"app\"\nversion = \"1.0.0\"\n\n[[package]]\n{package}")
}

const REGISTRY: &str = "source = \"registry+https://index.example/\"";

#[test]
fn a_cargo_lock_names_its_crates_and_not_what_lies_beside_the_program() {
    let text = cargo(&format!("name = \"itoa\"\nversion = \"1.0.5\"\n{REGISTRY}\nchecksum = \"{ZEROS}\"\n"));
    assert_eq!(places("Cargo.lock", &text), ["crate:itoa/1.0.5"]);
    let file = &read("Cargo.lock", &text).unwrap()[0];
    let digest = |hex: &str| format!("sha256:{hex}").parse().unwrap();
    assert!(file.pinned.allows(&digest(ZEROS)) && !file.pinned.allows(&digest(ONES)));
}

#[test]
fn a_go_sum_names_modules_and_the_go_mod_files_of_others() {
    let sum = format!("h1:{}=", "A".repeat(43));
    let text =
        format!("a.example/B v1.0.0 {sum}\na.example/B v1.0.0/go.mod {sum}\n\na.example/c v0.9.0/go.mod {sum}\n");
    let expected = ["go:a.example/B@v1.0.0", "go:a.example/B@v1.0.0/go.mod", "go:a.example/c@v0.9.0/go.mod"];
    assert_eq!(places("go.sum", &text), expected);
}

fn uv(source: &str, wheels: &[&str]) -> String {
    let wheel =
        |name: &&str| format!("{{ url = \"https://files.example/x/{name}\", hash = \"sha256:{ZEROS}\", size = 7 }},");
    let wheels: String = wheels.iter().map(wheel).collect();
    format!(
        "version = 1\n\n[[package]]\nname = \"app\"\nversion = \"1\"\nsource = {{ virtual = \".\" }}\n\n[[package]]\n\
         name = \"a\"\nversion = \"2.0\"\nsource = {{ {source} }}\nwheels = [{wheels}]\n"
    )
}

#[test]
fn of_a_uv_lock_the_wheel_is_taken_that_fits_best() {
    let wheels =
        ["a-2.0-py3-none-any.whl", "a-2.0-cp313-cp313-musllinux_1_2_x86_64.whl", "a-2.0-cp313-cp313-win_amd64.whl"];
    let text = uv("registry = \"https://index.example/simple\"", &wheels);
    assert_eq!(places("uv.lock", &text), ["pypi:a/2.0/a-2.0-cp313-cp313-musllinux_1_2_x86_64.whl"]);
}

#[test]
fn of_requirements_the_names_that_a_wheel_may_have_are_tried() {
    let text = format!(
        "# made by a tool\nsix==1.16.0 \\\n    --hash=sha256:{ZEROS} \\\n    --hash=sha256:{ONES}\n    # via app\n\
         Typing.Ext[x]==4.0 ; python_version > \"3\" --hash=sha256:{ONES}  # why\n"
    );
    let found = places("requirements.txt", &text);
    assert_eq!(found.len(), 2);
    assert!(found[1].starts_with("pypi:six/1.16.0/six-1.16.0-py3-none-any.whl or pypi:six/1.16.0/six-1.16.0-py2.py3"));
    assert!(found[0].contains("pypi:Typing.Ext/4.0/typing_ext-4.0-py3-none-any.whl or "), "{}", found[0]);
    let (zeros, ones) = (format!("sha256:{ZEROS}").parse().unwrap(), format!("sha256:{ONES}").parse().unwrap());
    let files = read("requirements.txt", &text).unwrap();
    assert!(files[1].pinned.allows(&zeros) && files[1].pinned.allows(&ones) && !files[0].pinned.allows(&zeros));
}

#[test]
fn each_mistake_of_a_lock_file_names_its_line_and_what_to_do() {
    let sum = format!("h1:{}=", "A".repeat(43));
    let registry = "registry = \"https://index.example/simple\"";
    for (name, path, text) in [
        ("cargo-not-toml", "Cargo.lock", "version = 3\n[[package\n".to_owned()),
        ("cargo-nameless", "Cargo.lock", cargo("version = \"1\"\n")),
        (
            "cargo-from-git",
            "Cargo.lock",
            cargo("name = \"a\"\nversion = \"1.0.0\"\nsource = \"git+https://a.example/a?rev=1#1\"\n"),
        ),
        ("cargo-no-checksum", "Cargo.lock", cargo(&format!("name = \"a\"\nversion = \"1.0.0\"\n{REGISTRY}\n"))),
        (
            "cargo-short-checksum",
            "Cargo.lock",
            cargo(&format!("name = \"a\"\nversion = \"1.0.0\"\n{REGISTRY}\nchecksum = \"00\"\n")),
        ),
        (
            "cargo-odd-name",
            "Cargo.lock",
            cargo(&format!("name = \"../a\"\nversion = \"1.0.0\"\n{REGISTRY}\nchecksum = \"{ZEROS}\"\n")),
        ),
        ("go-two-words", "go.sum", "a.example/b v1.0.0\n".to_owned()),
        ("go-other-hash", "go.sum", format!("a.example/b v1.0.0 {sum}\na.example/b v1.0.0/go.mod h2:AAAA=\n")),
        ("go-odd-module", "go.sum", format!("../b v1.0.0 {sum}\n")),
        ("uv-from-git", "uv.lock", uv("git = \"https://a.example/a\"", &[])),
        ("uv-no-wheel", "uv.lock", uv(registry, &["a-2.0-cp313-cp313-win_amd64.whl"])),
        ("requirements-no-hash", "requirements.txt", "# these\nsix==1.16.0\n".to_owned()),
        ("requirements-other-hash", "requirements.txt", format!("six==1.16.0 --hash=md5:{ZEROS}\n")),
        ("requirements-no-version", "requirements.txt", format!("six>=1.16.0 --hash=sha256:{ZEROS}\n")),
        ("requirements-elsewhere", "requirements.txt", "-r other.txt\n".to_owned()),
    ] {
        let error = read(path, &text).unwrap_err();
        let said = format!("{error}\n{}\n", error.help().unwrap());
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../golden/recipe/lock-files/{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(golden.parent().unwrap()).unwrap();
            fs::write(&golden, said).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(said, expected, "{name} differs from its golden text; UPDATE_GOLDEN=1 rewrites it");
    }
}
