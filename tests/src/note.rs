//! A catalogue of one package that takes no compiler and no network: a note, which an advisory can be about.

use crate::{Place, place::link_tree, root_of_builds, sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// When the advisories of tests are from.
pub const OSV_TIME: &str = "2026-01-02T03:04:05Z";

/// The catalogue with its state directory.
#[derive(Debug)]
pub struct Notes {
    /// Both.
    pub place: Place,
    /// What a build does before its result is there; tests make it slow or fail.
    steps: Vec<String>,
}

impl Notes {
    /// Without a build root: the first build fetches one.
    pub fn without_root(dir: &Path) -> Self {
        let place = Place::new(&dir.join("state"), &dir.join("recipes"));
        let notes = Self { place, steps: Vec::new() };
        notes.write();
        notes
    }

    /// With the build root that is kept.
    pub fn ready(dir: &Path) -> Self {
        let notes = Self::without_root(dir);
        Self::link_root(&notes.place.state);
        notes
    }

    /// Gives a new state directory the build root that is kept.
    pub fn link_root(state: &Path) {
        link_tree(root_of_builds(), state);
    }

    /// With as much of the build root as shell steps need: what is copied for each run is copied in no time.
    pub fn with_small_root(dir: &Path) -> Self {
        let notes = Self::without_root(dir);
        Self::link_small_root(&notes.place.state);
        notes
    }

    /// Gives a new state directory that part of the build root, under the whole one's name.
    pub fn link_small_root(state: &Path) {
        link_small_root(state);
    }

    /// Another package of the catalogue, in no image: the note, and a file `usr/share/NAME/found` that holds what these
    /// shell commands write.
    pub fn add_package(&self, name: &str, requires: &[&str], commands: &str) {
        let text = fs::read_to_string(self.recipe()).unwrap();
        let (head, rest) = text.split_once("[build]\n").unwrap();
        let (_, rest) = rest.split_once("steps = [\n").unwrap();
        let requires: Vec<_> = requires.iter().map(|name| format!("{name:?}")).collect();
        let found =
            format!("{{ {commands}; }} >/tmp/found && install -Dm644 /tmp/found \"$OUT/usr/share/{name}/found\"");
        let build = format!("[build]\nrequires = [{}]\ncpus = 2\ntimeout-minutes = 1\n", requires.join(", "));
        let rest = rest
            .replace("/note/note.txt", &format!("/{name}/note.txt"))
            .replace("/note/LICENSE", &format!("/{name}/LICENSE"));
        let head = head.replace("name = \"note\"", &format!("name = \"{name}\""));
        let head = head.replace("pkg:generic/note", &format!("pkg:generic/{name}"));
        let text = format!("{head}{build}steps = [\n  '''{found}''',\n{rest}");
        fs::write(self.place.catalog.join(format!("packages/{name}.toml")), text).unwrap();
    }

    /// The same with other first steps.
    pub fn with_steps(mut self, steps: &[&str]) -> Self {
        self.steps = steps.iter().map(|step| (*step).to_owned()).collect();
        self.write();
        self
    }

    /// A second package, `card`, in an image of its own.
    pub fn with_card(&self) {
        for folder in ["packages", "images"] {
            let folder = self.place.catalog.join(folder);
            let text = fs::read_to_string(folder.join("note.toml")).unwrap();
            let renamed = text
                .replace("name = \"note\"", "name = \"card\"")
                .replace("pkg:generic/note", "pkg:generic/card")
                .replace("example.org/note", "example.org/card")
                .replace("[\"note\"]", "[\"card\"]")
                .replace("version-of = \"note\"", "version-of = \"card\"")
                .replace("$OUT/usr/share/note/", "$OUT/usr/share/card/")
                .replace("$OUT/usr/share/licenses/note/", "$OUT/usr/share/licenses/card/")
                .replace("$SYSROOT/usr/share/note/", "$SYSROOT/usr/share/card/")
                .replace("$OUT/usr/share/note\"", "$OUT/usr/share/card\"");
            fs::write(folder.join("card.toml"), renamed).unwrap();
        }
    }

    /// The package's recipe.
    pub fn recipe(&self) -> PathBuf {
        self.place.catalog.join("packages/note.toml")
    }

    /// A recipe file with one piece of text in place of another.
    #[track_caller]
    pub fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.recipe()).unwrap();
        assert!(text.contains(from), "the recipe has no `{from}`");
        fs::write(self.recipe(), text.replace(from, to)).unwrap();
    }

    fn write(&self) {
        for dir in ["packages", "images", "sources"] {
            fs::create_dir_all(self.place.catalog.join(dir)).unwrap();
        }
        let releases: String = ["1.0", "1.1"].iter().map(|version| self.release(version)).collect();
        let steps: String = self.steps.iter().map(|step| format!("  '''{step}''',\n")).collect();
        let recipe = format!(
            r#"name = "note"
summary = "A note"
homepage = "https://example.org/note"
license = "MIT"
version = "1.0"

[upstream]
purl = "pkg:generic/note"
repository = "https://example.org/note"
{releases}
[build]
requires = []
cpus = 1
timeout-minutes = 1
steps = [
{steps}  'install -Dm644 /src/note.txt "$OUT/usr/share/note/note.txt"',
  'install -Dm644 /src/note.txt "$OUT/usr/share/licenses/note/LICENSE"',
]

[runtime]
requires = []

[test]
steps = ['grep -q note "$SYSROOT/usr/share/note/note.txt"']
"#
        );
        fs::write(self.recipe(), recipe).unwrap();
        let image = r#"name = "note"
summary = "A note in an image"
packages = ["note"]
user = "65532:65532"
tags = ["latest"]
version-of = "note"
"#;
        fs::write(self.place.catalog.join("images/note.toml"), image).unwrap();
    }

    fn release(&self, version: &str) -> String {
        let text = format!("the note of release {version}\n");
        fs::write(self.place.catalog.join(format!("sources/note-{version}.txt")), &text).unwrap();
        format!(
            r#"
[[release]]
version = "{version}"
date = "2020-01-01"
[[release.source]]
sha256 = "{}"
bytes = {}
file = "note.txt"
places = ["path:sources/note-{version}.txt"]
"#,
            sha256(text.as_bytes()),
            text.len()
        )
    }
}

/// What shell steps need of the build root.
const PROGRAMS: &[&str] = &[
    "sh", "dash", "install", "mkdir", "cat", "ls", "find", "grep", "cut", "head", "date", "id", "uname", "nproc",
    "stat", "env", "od", "seq", "touch", "rm", "test", "true", "sort", "sleep",
];
const LIBRARIES: &[&str] = &[
    "ld-linux-x86-64.so.",
    "libc.so.6",
    "libm.so.6",
    "libselinux.so.",
    "libpcre2-8.so.",
    "libacl.so.",
    "libattr.so.",
    "libcrypto.so.",
];

/// Gives a new state directory a part of the build root that is kept, under the whole one's name.
fn link_small_root(state: &Path) {
    let roots = root_of_builds().join("roots");
    let whole = fs::read_dir(&roots).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    let small = state.join("roots").join(whole.file_name().unwrap());
    fs::create_dir_all(&small).unwrap();
    for entry in fs::read_dir(&whole).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), small.join(entry.file_name()));
        match fs::read_link(&from) {
            Ok(target) => std::os::unix::fs::symlink(target, to).unwrap(),
            Err(_) if from.ends_with("etc") => link_tree(&from, &to),
            Err(_) => fs::create_dir(to).unwrap(),
        }
    }
    let part = |folder: &str, wanted: &dyn Fn(&str) -> bool| {
        fs::create_dir_all(small.join(folder)).unwrap();
        for entry in fs::read_dir(whole.join(folder)).unwrap() {
            let entry = entry.unwrap();
            let to = small.join(folder).join(entry.file_name());
            match fs::read_link(entry.path()) {
                _ if !wanted(&entry.file_name().to_string_lossy()) => {}
                Ok(target) => std::os::unix::fs::symlink(target, to).unwrap(),
                Err(_) => fs::hard_link(entry.path(), to).unwrap(),
            }
        }
    };
    part("usr/bin", &|name| PROGRAMS.contains(&name));
    part("usr/lib64", &|_| true);
    part("usr/lib/x86_64-linux-gnu", &|name| LIBRARIES.iter().any(|library| name.starts_with(library)));
}

/// A record that says that releases of the note before `fixed` are broken.
pub fn note_advisory(id: &str, fixed: &str) -> Vec<u8> {
    let record = serde_json::json!({
        "schema_version": "1.6.0", "id": id, "modified": OSV_TIME, "published": OSV_TIME,
        "summary": "The note says too much",
        "affected": [{
            "package": { "ecosystem": "generic", "name": "note", "purl": "pkg:generic/note" },
            "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": fixed }] }]
        }]
    });
    serde_json::to_vec_pretty(&record).unwrap()
}
