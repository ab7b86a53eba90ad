//! Images carried by hand: what is exported can be read by tools that are not ours and taken in elsewhere; a layout that
//! somebody else wrote is believed in nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

#[path = "oci_layout/hostile.rs"]
mod hostile;

use anneal_tests::{Notes, Place, Said, copy_tree, scratch, sha256, tool, wait_for};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A site that published a note, the layout that it exported, and its public keys by role.
struct Site {
    dir: tempfile::TempDir,
    notes: Notes,
    layout: PathBuf,
    keys: BTreeMap<&'static str, PathBuf>,
}

impl Site {
    fn new() -> Self {
        let dir = scratch();
        let notes = Notes::ready(dir.path());
        let place = &notes.place;
        let daemon = place.daemon();
        place.anneal(&["build", "--quiet"]).fine();
        let key = place.approver("ada");
        let mut keys = BTreeMap::from([("approver", key.with_extension("pem.pub"))]);
        place
            .anneal(&["store", "export", "note", text(&dir.path().join("early"))])
            .refused(1, &["`note` is published"]);
        let candidate = &place.candidates()[0];
        place.approve(&format!("c{}", candidate["id"]), &key).fine();
        wait_for("the publication", PATIENCE, || (place.candidates()[0]["status"] == "published").then_some(()));
        for role in ["build", "test", "release"] {
            let file = dir.path().join(role);
            place.anneal(&["key", "export", role, "-o", text(&file)]).fine();
            keys.insert(role, file);
        }
        let layout = dir.path().join("layout");
        // beside the daemon
        place.anneal(&["store", "export", "note", text(&layout)]).fine();
        daemon.stop();
        Self { dir, notes, layout, keys }
    }

    fn key(&self, role: &str) -> String {
        format!("{role}={}", text(&self.keys[role]))
    }

    /// A copy of the layout that somebody changes, and what another site says of it.
    fn hostile(&self, elsewhere: &Place, name: &str, change: impl FnOnce(&Layout)) -> Said {
        let copy = Layout(self.dir.path().join(name));
        copy_tree(&self.layout, &copy.0);
        change(&copy);
        elsewhere.anneal(&["store", "import", text(&copy.0), "--key", &self.key("release")])
    }

    /// A site with an empty store.
    fn elsewhere(&self, name: &str) -> Place {
        let place = Place::new(&self.dir.path().join(format!("{name}-state")), &self.notes.place.catalog);
        Notes::link_root(&place.state);
        place.daemon().kill();
        place
    }
}

/// A layout that can be changed.
struct Layout(PathBuf);

impl Layout {
    fn blob(&self, digest: &str) -> PathBuf {
        self.0.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }
    fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.0.join("index.json")).unwrap()).unwrap()
    }
    fn write_index(&self, index: &Value) {
        fs::write(self.0.join("index.json"), serde_json::to_vec(index).unwrap()).unwrap();
    }
    /// Changes `index.json`.
    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut index = self.index();
        change(&mut index);
        self.write_index(&index);
    }
    /// Adds bytes under their digest; gives a descriptor of them.
    fn add(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = format!("sha256:{}", sha256(bytes));
        fs::write(self.blob(&digest), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }
    /// The manifest of the image, and its largest layer.
    fn image(&self) -> (Value, String) {
        let list = self.index()["manifests"][0]["digest"].as_str().unwrap().to_owned();
        let list: Value = serde_json::from_slice(&fs::read(self.blob(&list)).unwrap()).unwrap();
        let digest = list["manifests"][0]["digest"].as_str().unwrap().to_owned();
        let manifest: Value = serde_json::from_slice(&fs::read(self.blob(&digest)).unwrap()).unwrap();
        let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
        (manifest, layer)
    }
    /// The bundle that claims to be this, as bytes, and the entry of its manifest.
    fn statement(&self, kind: &str) -> (Vec<u8>, usize) {
        let index = self.index();
        let entries = index["manifests"].as_array().unwrap();
        let claims =
            |entry: &Value| entry.pointer("/annotations/dev.sigstore.bundle.predicateType") == Some(&json!(kind));
        let at = entries.iter().position(claims).unwrap();
        let manifest: Value =
            serde_json::from_slice(&fs::read(self.blob(entries[at]["digest"].as_str().unwrap())).unwrap()).unwrap();
        (fs::read(self.blob(manifest["layers"][0]["digest"].as_str().unwrap())).unwrap(), at)
    }
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const RELEASED: &str = "https://sigstore.dev/cosign/sign/v1";

#[test]
fn what_is_exported_is_the_same_each_time_and_is_read_by_skopeo_and_taken_in_elsewhere() {
    let site = Site::new();
    let again = site.dir.path().join("again");
    // what may be somebody else's, or another export's
    let others = site.dir.path().join(".again.partial");
    fs::create_dir(&others).unwrap();
    fs::write(others.join("mine"), "kept").unwrap();
    site.notes.place.anneal(&["store", "export", "note:latest", text(&again)]).fine();
    let mut diff = std::process::Command::new("diff");
    Said::by(diff.arg("-r").args([&site.layout, &again])).fine();
    assert_eq!(fs::read_to_string(others.join("mine")).unwrap(), "kept");
    site.notes.place.anneal(&["store", "export", "note", text(&again)]).refused(2, &["is not empty"]);
    site.notes
        .place
        .anneal(&["store", "export", "nothing", text(&again.join("x"))])
        .refused(1, &["no image `nothing`"]);

    if let Some(mut skopeo) = tool("skopeo") {
        let said = Said::by(skopeo.args(["inspect", &format!("oci:{}:note:latest", text(&site.layout))])).fine().json();
        assert_eq!(said["Os"], "linux", "{said}");
        let (manifest, layer) = Layout(site.layout.clone()).image();
        assert_eq!(said["Layers"].as_array().unwrap().len(), manifest["layers"].as_array().unwrap().len());
        assert_eq!(said["Layers"][0], layer.as_str());
        let copy = site.dir.path().join("copy");
        let mut skopeo = tool("skopeo").unwrap();
        let from = format!("oci:{}:note:1.0", text(&site.layout));
        Said::by(skopeo.args(["copy", "--insecure-policy", &from, &format!("dir:{}", text(&copy))])).fine();
    }

    let elsewhere = site.elsewhere("elsewhere");
    let daemon = elsewhere.daemon();
    let mut ask = vec!["store".to_owned(), "import".into(), text(&site.layout).into(), "--json".into()];
    for role in ["build", "test", "release", "approver"] {
        ask.extend(["--key".to_owned(), site.key(role)]);
    }
    let ask: Vec<&str> = ask.iter().map(String::as_str).collect();
    let imported = elsewhere.anneal(&ask).fine().json();
    let image = &imported["images"][0];
    assert_eq!(imported["images"].as_array().unwrap().len(), 1, "{imported}");
    assert_eq!(image["names"], json!(["note:1.0", "note:latest"]), "{imported}");
    let roles: std::collections::BTreeSet<&str> =
        image["verified"].as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["approver", "build", "release", "test"].into());
    assert_eq!(image["unverified"], json!([]), "{imported}");
    assert!(imported["new_blobs"].as_u64() > Some(5), "{imported}");
    // a second time nothing is new
    assert_eq!(elsewhere.anneal(&ask).fine().json()["new_blobs"], 0);
    elsewhere.anneal(&["store", "gc"]).fine();
    elsewhere.anneal(&["store", "scrub"]).fine();
    let manifest = image["manifest"].as_str().unwrap();
    let why = elsewhere.anneal(&["store", "why", manifest]).fine();
    assert!(why.out.contains("imported from an OCI layout"), "{}", why.out);
    // what somebody said of it stays, also when it is imported once more
    elsewhere.anneal(&["store", "pin", manifest, "--reason", "for the auditor"]).fine();
    elsewhere.anneal(&ask).fine();
    let pins = elsewhere.anneal(&["store", "pins"]).fine().out;
    assert!(pins.contains("for the auditor"), "{pins}");
    assert_eq!(daemon.get(&format!("/v2/note/manifests/{manifest}")).status, 404, "nothing unapproved is served");
    daemon.stop();
}

#[test]
fn an_image_of_somebody_elses_tools_with_layers_that_are_not_compressed_is_taken_in() {
    let Some(mut skopeo) = tool("skopeo") else { return };
    let site = Site::new();
    let (plain, layout) = (site.dir.path().join("plain"), site.dir.path().join("theirs"));
    let from = format!("oci:{}:note:latest", text(&site.layout));
    let decompressed = ["copy", "--insecure-policy", "--dest-decompress", &from, &format!("dir:{}", text(&plain))];
    Said::by(skopeo.args(decompressed)).fine();
    let to = format!("oci:{}:theirs", text(&layout));
    let dir = format!("dir:{}", text(&plain));
    let mut skopeo = tool("skopeo").unwrap();
    Said::by(skopeo.args(["copy", "--insecure-policy", "--dest-oci-accept-uncompressed-layers", &dir, &to])).fine();
    let theirs = Layout(layout.clone());
    let listed = theirs.blob(theirs.index()["manifests"][0]["digest"].as_str().unwrap());
    let manifest: Value = serde_json::from_slice(&fs::read(listed).unwrap()).unwrap();
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar", "{manifest}");
    let elsewhere = site.elsewhere("theirs-elsewhere");
    let said = elsewhere.anneal(&["store", "import", text(&layout)]).fine();
    assert!(said.out.contains("nobody is known to stand behind it"), "{}", said.out);
    elsewhere.anneal(&["store", "scrub"]).fine();
}

#[test]
fn evidence_is_believed_only_with_keys_from_elsewhere() {
    let site = Site::new();
    let layout = text(&site.layout);
    let elsewhere = site.elsewhere("unkeyed");
    let said = elsewhere.anneal(&["store", "import", layout]).fine();
    assert!(
        said.out.contains("NOT verified") && said.out.contains("nobody is known to stand behind it"),
        "{}",
        said.out
    );
    let stranger = site.dir.path().join("stranger.pem");
    site.notes.place.anneal(&["key", "new", text(&stranger)]).fine();
    for role in ["build", "test", "release", "approver"] {
        let key = format!("{role}={}.pub", text(&stranger));
        elsewhere.anneal(&["store", "import", layout, "--key", &key]).refused(1, &["nothing is imported"]);
    }
    elsewhere.anneal(&["store", "import", layout, "--key", "log=x"]).refused(2, &["log key"]);

    // the statement of another image in the place of this one's
    let swapped = site.hostile(&elsewhere, "swapped", |layout| {
        let (released, at) = layout.statement(RELEASED);
        let mut index = layout.index();
        let entry = index["manifests"][at].clone();
        let digest = entry["digest"].as_str().unwrap().to_owned();
        let mut manifest: Value = serde_json::from_slice(&fs::read(layout.blob(&digest)).unwrap()).unwrap();
        let provenance = layout.statement("https://slsa.dev/provenance/v1").0;
        manifest["layers"][0] = layout.add(BUNDLE, &provenance);
        let mut fresh = layout.add(MANIFEST, &serde_json::to_vec(&manifest).unwrap());
        fresh["annotations"] = entry["annotations"].clone();
        index["manifests"][at] = fresh;
        layout.write_index(&index);
        for gone in [digest, format!("sha256:{}", sha256(&released))] {
            fs::remove_file(layout.blob(&gone)).unwrap();
        }
    });
    swapped.refused(1, &["nothing is imported", "says that it is https://sigstore.dev/cosign/sign/v1"]);
    // no statement at all
    let bare = site.hostile(&elsewhere, "bare", |layout| {
        let image = layout.index()["manifests"][0].clone();
        let list: Value =
            serde_json::from_slice(&fs::read(layout.blob(image["digest"].as_str().unwrap())).unwrap()).unwrap();
        let (manifest, _) = layout.image();
        let parts =
            manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"], &list["manifests"][0], &image]);
        let kept: Vec<PathBuf> = parts.map(|part| layout.blob(part["digest"].as_str().unwrap())).collect();
        for blob in fs::read_dir(layout.0.join("blobs/sha256")).unwrap().map(|blob| blob.unwrap().path()) {
            if !kept.contains(&blob) {
                fs::remove_file(blob).unwrap();
            }
        }
        layout.edit(|index| index["manifests"] = json!([image]));
    });
    bare.refused(1, &["no statement about", "is signed by the release key"]);
}
