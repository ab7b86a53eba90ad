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
    pub(crate) fn without_root(dir: &Path) -> Self {
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
