//! A catalogue over the real musl and zlib: a program that links zlib, one with its archive in it, and one package that looks
//! into the library, with another that is built with that one.

use anneal_tests::{Notes, OSV_TIME, Place, copy_tree, scratch, sha256, target, top};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// The record that the patched release answers.
pub(crate) const ADVISORY: &str = "TEST-2026-77";
/// That release.
pub(crate) const PATCHED: &str = "1.2.13.1";

/// A patch in the body of a function: no header, no symbol, no size of data changes.
const PATCH: &str = "\
--- a/inflate.c
+++ b/inflate.c
@@ -152,6 +152,7 @@
     state->wsize = 0;
     state->whave = 0;
     state->wnext = 0;
+    state->total = 0;
     return inflateResetKeep(strm);
 }
 
";

/// A program with the function that is patched in it, where that is linked into it.
const LINKED: &str = r#"#include <stdio.h>
#include <zlib.h>
int main(void) {
  z_stream stream = {0};
  if (inflateInit(&stream) != Z_OK || inflateReset(&stream) != Z_OK || inflateEnd(&stream) != Z_OK) return 1;
  printf("checksum %lx\n", crc32(0, (const Bytef *)"123456789", 9));
  return 0;
}
"#;

/// A state directory in which everything is published.
pub(crate) struct Linking {
    pub(crate) place: Place,
}

impl Linking {
    /// A copy of what was released with the unpatched zlib.
    pub(crate) fn released(dir: &Path) -> Self {
        // Poisoned where it fails, so that it is not built anew for each test.
        static RELEASED: LazyLock<PathBuf> = LazyLock::new(release);
        let place = Place::new(&dir.join("state"), &dir.join("recipes"));
        copy_tree(&RELEASED.join("recipes"), &place.catalog);
        fs::create_dir(&place.state).unwrap();
        for name in ["store", "index", "keys", "feed", "ada.pem"] {
            let (from, to) = (RELEASED.join("state").join(name), place.state.join(name));
            if from.is_dir() {
                copy_tree(&from, &to);
            } else {
                fs::copy(&from, &to).unwrap();
            }
        }
        Notes::link_root(&place.state);
        Self { place }
    }

    /// A record that says that zlib before the patched release is broken.
    pub(crate) fn advisory_lands(&self) {
        let record = serde_json::json!({
            "schema_version": "1.6.0", "id": ADVISORY, "modified": OSV_TIME, "published": OSV_TIME,
            "summary": "zlib forgets to forget",
            "affected": [{
                "package": { "ecosystem": "generic", "name": "zlib", "purl": "pkg:generic/zlib" },
                "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": PATCHED }] }]
            }]
        });
        self.place.feed("advisory.json", record.to_string().as_bytes());
    }

    /// zlib's recipe with one piece of text in place of another.
    pub(crate) fn edit_zlib(&self, from: &str, to: &str) {
        let recipe = self.place.catalog.join("packages/zlib.toml");
        let text = fs::read_to_string(&recipe).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(recipe, text.replace(from, to)).unwrap();
    }

    /// Another patch of a function's body, by the recipe itself.
    pub(crate) fn patch_again(&self) {
        let step = r#"  "sed -i 's/^    state->whave = 0;/    state->whave = 0; state->back = -1;/' inflate.c","#;
        self.edit_zlib("  \"./configure --prefix=/usr\",", &format!("{step}\n  \"./configure --prefix=/usr\","));
    }

    /// What the reader wrote down of zlib in an image, and what was built with it copied of that.
    pub(crate) fn sums(&self, manifest: &str) -> (String, String) {
        let shown = self.place.anneal(&["image", "show", manifest, "--json"]).fine().json();
        let of = |package: &str| {
            let packages = shown["image"]["packages"].as_array().unwrap();
            let tree = packages.iter().find(|one| one["name"] == package).unwrap()["tree"].as_str().unwrap().to_owned();
            self.file(&tree, &["usr", "share", package, "sum"])
        };
        (of("reader"), of("after"))
    }

    /// A file of a tree, read as anybody can read it: directories are blobs.
    fn file(&self, tree: &str, path: &[&str]) -> String {
        let mut digest =
            anneal_content::BlobDigest::from_bytes(*tree.parse::<anneal_content::TreeDigest>().unwrap().as_bytes());
        for (at, name) in path.iter().enumerate() {
            let bytes = self.blob(&digest.to_string());
            let tree = anneal_content::TreeDigest::from_bytes(*digest.as_bytes());
            let directory = anneal_content::Directory::decode(&tree, &bytes).unwrap();
            digest = if at + 1 == path.len() {
                directory.files.iter().find(|file| file.name.as_str() == *name).unwrap().digest
            } else {
                let inner = directory.directories.iter().find(|inner| inner.name.as_str() == *name).unwrap();
                anneal_content::BlobDigest::from_bytes(*inner.digest.as_bytes())
            };
        }
        String::from_utf8(self.blob(&digest.to_string())).unwrap()
    }

    fn blob(&self, digest: &str) -> Vec<u8> {
        let path = format!("/v1/blob/{digest}");
        anneal_tests::ask_socket(&self.place, "GET", &path, "application/json", b"").unwrap().body
    }
}

/// Builds and publishes everything with the unpatched zlib.
fn release() -> PathBuf {
    let dir = target().join("tmp/anneal-cut-off");
    let _ = fs::remove_dir_all(&dir);
    // Made beside it first, so that what is there is whole.
    let made = scratch();
    let place = Place::new(&made.path().join("state"), &made.path().join("recipes"));
    write_catalogue(&place.catalog);
    fs::create_dir(&place.state).unwrap();
    Notes::link_root(&place.state);
    place.release_all();
    fs::rename(made.path(), &dir).unwrap();
    dir
}

fn write_catalogue(catalog: &Path) {
    for folder in ["packages", "images", "sources"] {
        fs::create_dir_all(catalog.join(folder)).unwrap();
    }
    fs::copy(top().join("recipes/packages/musl.toml"), catalog.join("packages/musl.toml")).unwrap();
    fs::write(catalog.join("sources/body.patch"), PATCH).unwrap();
    fs::write(catalog.join("packages/zlib.toml"), zlib()).unwrap();
    let program = |flags: &str| {
        format!(
            "cat > x.c <<'C'\n{LINKED}C\n\
             musl-gcc -O2 -fPIE -pie -fstack-protector-strong -Wl,-z,relro,-z,now,--build-id=sha1 -s -o x x.c {flags}\n\
             install -Dm755 x \"$OUT/usr/bin/NAME\""
        )
    };
    let sum = "install -Dm644 sum \"$OUT/usr/share/NAME/sum\"";
    let read = format!("sleep 3\nsha256sum \"$SYSROOT/usr/lib/libz.so.1.2.13\" | cut -c1-64 > sum\n{sum}");
    let copied = format!("cp \"$SYSROOT/usr/share/reader/sum\" sum\n{sum}");
    let packages = [
        ("linked", "\"musl\", \"zlib\"", "\"musl\", \"zlib\"", program("-lz")),
        ("archived", "\"musl\", \"zlib:static\"", "\"musl\"", program("-l:libz.a")),
        ("reader", "\"zlib\"", "", read),
        ("after", "\"reader\"", "\"reader\"", copied),
    ];
    for (name, build, run, steps) in packages {
        let steps = steps.replace("NAME", name);
        fs::write(catalog.join(format!("packages/{name}.toml")), package(name, build, run, &steps)).unwrap();
    }
    for (name, packages, more) in [
        (
            "linked",
            "\"linked\"",
            "entrypoint = [\"/usr/bin/linked\"]\n[run]\nexits = 0\nstdout-contains = \"cbf43926\"\n",
        ),
        (
            "archived",
            "\"archived\"",
            "entrypoint = [\"/usr/bin/archived\"]\n[run]\nexits = 0\nstdout-contains = \"cbf43926\"\n",
        ),
        // zlib itself, so that the record is about this image, too
        ("reader", "\"after\", \"reader\", \"zlib\"", ""),
    ] {
        let text = format!(
            "name = \"{name}\"\nsummary = \"An image of {name}\"\npackages = [{packages}]\nuser = \"65532:65532\"\n\
             tags = [\"latest\"]\nversion-of = \"{name}\"\n{more}"
        );
        fs::write(catalog.join(format!("images/{name}.toml")), text).unwrap();
    }
}

/// The repository's recipe at its second release, with a third that is the second with a patch.
fn zlib() -> String {
    let text = fs::read_to_string(top().join("recipes/packages/zlib.toml")).unwrap();
    let (head, rest) = text.split_once("[build]\n").unwrap();
    let (_, second) = head.split_once("version = \"1.2.13\"\n").unwrap();
    let patch = format!(
        "[[release.source]]\nsha256 = \"{}\"\nbytes = {}\nfile = \"body.patch\"\nplaces = [\"path:sources/body.patch\"]\n",
        sha256(PATCH.as_bytes()),
        PATCH.len()
    );
    let third = format!("[[release]]\nversion = \"{PATCHED}\"\n{}\n{patch}\n", second.trim_end());
    let apply = "  'if [ -e /src/body.patch ]; then patch -p1 < /src/body.patch; fi',\n";
    let rest = rest.replacen("steps = [\n", &format!("steps = [\n{apply}"), 1);
    let head = head.replacen("version = \"1.2.11\"", "version = \"1.2.13\"", 1);
    format!("{head}{third}[build]\n{rest}")
}

fn package(name: &str, build: &str, run: &str, steps: &str) -> String {
    format!(
        "name = \"{name}\"\nsummary = \"For a test: {name}\"\nhomepage = \"https://example.org/{name}\"\nlicense = \"MIT\"\n\
         version = \"1.0\"\n\n[upstream]\npurl = \"pkg:generic/{name}\"\nrepository = \"https://example.org/{name}\"\n\n\
         [[release]]\nversion = \"1.0\"\ndate = \"2020-01-01\"\n\n\
         [build]\nrequires = [{build}]\nsteps = [\n'''\n{steps}\n''',\n\
         '''\nprintf 'Permission is granted.\\n' > licence\n\
         install -Dm644 licence \"$OUT/usr/share/licenses/{name}/LICENSE\"\n''',\n]\n\n\
         [runtime]\nrequires = [{run}]\n\n[test]\nsteps = ['test -d \"$SYSROOT/usr/share/licenses/{name}\"']\n"
    )
}
