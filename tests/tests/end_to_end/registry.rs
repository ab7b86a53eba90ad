//! The registry, asked by clients that we did not write, and what it does not show.

use crate::{aftermath, published};
use anneal_tests::{Notes, Place, Said, is_root, note_advisory, scratch, sha256, skipped, tool, wait_for};
use serde_json::Value;
use std::{fs, path::Path, process::Command, time::Duration};

/// Nothing of this machine's proxy may come between a client and the registry.
fn direct(command: &mut Command) -> &mut Command {
    command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1")
}

pub(crate) fn skopeo_copy(place: &Place, reference: &str, layout: &Path) -> Option<Said> {
    let mut skopeo = tool("skopeo")?;
    skopeo.args(["copy", "--quiet", "--insecure-policy", "--src-tls-verify=false"]);
    skopeo.arg(format!("docker://{}/{reference}", place.listen)).arg(format!("oci:{}:pulled", layout.display()));
    Some(Said::by(direct(&mut skopeo)))
}

#[test]
fn skopeo_pulls_by_digest_and_by_tag_the_image_that_was_approved() {
    let (dir, place) = aftermath();
    let daemon = place.daemon();
    let (index, manifest) = published(&place);
    for (name, reference) in [
        ("index", format!("nginx@{index}")),
        ("manifest", format!("nginx@{manifest}")),
        ("latest", "nginx:latest".to_owned()),
        ("version", "nginx:1.22.1".to_owned()),
    ] {
        let layout = dir.path().join(name);
        let Some(said) = skopeo_copy(&place, &reference, &layout) else { return };
        said.fine();
        let list: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        assert_eq!(list["manifests"][0]["digest"], manifest.as_str(), "{reference}");
        for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
            let blob = blob.unwrap();
            assert_eq!(sha256(&fs::read(blob.path()).unwrap()), blob.file_name().to_str().unwrap());
        }
    }
    daemon.stop();
}

/// Where podman cannot run containers, umoci unpacks the image and the program in it is looked at.
#[test]
fn podman_runs_what_was_pulled() {
    let (dir, place) = aftermath();
    let daemon = place.daemon();
    let layout = dir.path().join("layout");
    let Some(said) = skopeo_copy(&place, "nginx:latest", &layout) else { return };
    said.fine();
    daemon.stop();
    if let Some(mut podman) = tool("podman") {
        for option in ["--root", "--runroot"] {
            podman.arg(option).arg(dir.path().join(&option[2..]));
        }
        podman.args(["--storage-driver", "vfs", "--runtime", "runc", "--cgroup-manager=cgroupfs"]);
        podman.args([
            "run",
            "--rm",
            "--network",
            "none",
            "--read-only",
            "--tmpfs",
            "/tmp",
            "--ulimit",
            "nofile=1024:1024",
        ]);
        podman.args(["--ulimit", "nproc=4096:4096", "oci:layout:pulled", "-t"]);
        // podman makes an image's name of the path, and a name has no capitals.
        podman.current_dir(dir.path());
        let said = Said::by(&mut podman);
        if said.code == 0 {
            assert!(said.err.contains("test is successful"), "{}", said.err);
            return;
        }
        skipped(&format!("podman cannot run here: {}", said.err.trim()));
    }
    let Some(mut umoci) = tool("umoci") else { return };
    let bundle = dir.path().join("bundle");
    umoci.arg("unpack").args(if is_root() { &[][..] } else { &["--rootless"] });
    Said::by(umoci.arg("--image").arg(format!("{}:pulled", layout.display())).arg(&bundle)).fine();
    assert!(bundle.join("rootfs/usr/sbin/nginx").is_file());
    let libraries: Vec<_> =
        fs::read_dir(bundle.join("rootfs/usr/lib")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(libraries.iter().any(|name| name == "libz.so.1.2.13"), "{libraries:?}");
}

#[test]
fn buildah_pulls_by_digest() {
    let (dir, place) = aftermath();
    let daemon = place.daemon();
    let (index, _) = published(&place);
    let Some(mut buildah) = tool("buildah") else { return };
    for option in ["--root", "--runroot"] {
        buildah.arg(option).arg(dir.path().join(&option[2..]));
    }
    buildah.args(["--storage-driver", "vfs", "pull", "--quiet", "--tls-verify=false"]);
    Said::by(direct(buildah.arg(format!("{}/nginx@{index}", place.listen)))).fine();
    daemon.stop();
}

#[test]
fn what_is_published_answers_head_and_ranges_and_lists_its_evidence() {
    let (_dir, place) = aftermath();
    let daemon = place.daemon();
    let (index, manifest) = published(&place);
    let head = daemon.ask("HEAD", "/v2/nginx/manifests/latest", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.field("docker-content-digest").as_ref(), Some(&index));
    let whole = daemon.get(&format!("/v2/nginx/manifests/{manifest}"));
    assert_eq!(format!("sha256:{}", sha256(&whole.body)), manifest);
    let layers = whole.json()["layers"].as_array().unwrap().clone();
    assert_eq!(layers.len(), 7);
    let layer = layers[1]["digest"].as_str().unwrap().to_owned();
    let path = format!("/v2/nginx/blobs/{layer}");
    let bytes = daemon.get(&path).body;
    assert_eq!(format!("sha256:{}", sha256(&bytes)), layer);
    for (range, part) in
        [("0-9", &bytes[..10]), ("100000-100099", &bytes[100_000..100_100]), ("-7", &bytes[bytes.len() - 7..])]
    {
        let answer = daemon.ask("GET", &path, &[&format!("Range: bytes={range}")]);
        assert_eq!((answer.status, answer.body.as_slice()), (206, part), "{range}");
    }
    assert_eq!(daemon.ask("GET", &path, &[&format!("Range: bytes={}-", bytes.len())]).status, 416);
    if let Some(mut curl) = tool("curl") {
        curl.args(["--silent", "--fail", "--noproxy", "*", "--head", "--range", "5-14"]);
        let said = Said::by(curl.arg(format!("http://{}{path}", place.listen))).fine();
        assert!(said.out.to_lowercase().contains("docker-content-digest: sha256:"), "{}", said.out);
    }
    let tags = daemon.get("/v2/nginx/tags/list").json();
    for tag in ["1.22.1", "latest"] {
        assert!(tags["tags"].as_array().unwrap().iter().any(|t| t == tag), "{tags}");
    }
    let kinds = |digest: &str| {
        let list = daemon.get(&format!("/v2/nginx/referrers/{digest}")).json();
        let kind = |m: &Value| m["annotations"]["dev.sigstore.bundle.predicateType"].as_str().unwrap().to_owned();
        let mut kinds: Vec<_> = list["manifests"].as_array().unwrap().iter().map(kind).collect();
        kinds.sort();
        kinds
    };
    assert_eq!(
        kinds(&manifest),
        [
            "https://in-toto.io/attestation/test-result/v0.1",
            "https://sigstore.dev/cosign/sign/v1",
            "https://slsa.dev/provenance/v1",
            "https://spdx.dev/Document"
        ]
    );
    assert_eq!(kinds(&index), ["https://sigstore.dev/cosign/sign/v1"]);
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        assert_eq!(daemon.ask(method, &path, &[]).status, 405, "{method}");
    }
    daemon.stop();
}

#[test]
fn an_unapproved_candidate_answers_404_by_every_digest_and_its_tag_stays() {
    let dir = scratch();
    let notes = Notes::ready(dir.path());
    let place = &notes.place;
    let daemon = place.daemon();
    place.anneal(&["build", "--quiet"]).fine();
    let digests = |id: u64| {
        let candidate = place.candidates().into_iter().find(|c| c["id"] == id).unwrap();
        let show = place.anneal(&["image", "show", candidate["manifest"].as_str().unwrap(), "--json"]).fine().json();
        let mut all = vec![candidate["manifest"].clone(), candidate["index"].clone()];
        all.extend(show["image"]["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].clone()));
        all.extend(show["image"]["evidence"].as_array().unwrap().iter().map(|evidence| evidence["bundle"].clone()));
        all.into_iter().map(|digest| digest.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let hidden = |all: &[String]| {
        for digest in all {
            for kind in ["manifests", "blobs"] {
                let answer = daemon.get(&format!("/v2/note/{kind}/{digest}"));
                assert_eq!(answer.status, 404, "{kind} {digest}");
            }
            let list = daemon.get(&format!("/v2/note/referrers/{digest}"));
            assert!(list.status == 404 || list.json()["manifests"].as_array().unwrap().is_empty(), "{digest}");
        }
    };
    let first = digests(1);
    hidden(&first);
    let key = place.approver("ada");
    place.approve("c1", &key).fine();
    let there = || (daemon.get("/v2/note/manifests/latest").status == 200).then_some(());
    wait_for("the publication", Duration::from_secs(30), there);
    place.feed("one.json", &note_advisory("TEST-2026-1", "1.1"));
    wait_for("the second candidate", Duration::from_secs(60), || (place.candidates().len() == 2).then_some(()));
    let second: Vec<_> = digests(2).into_iter().filter(|digest| !first.contains(digest)).collect();
    assert!(second.len() >= 6, "a manifest, an index, a layer, three statements: {second:?}");
    hidden(&second);
    assert_eq!(daemon.get("/v2/note/manifests/1.1").status, 404);
    assert_eq!(daemon.get("/v2/note/manifests/latest").field("docker-content-digest").as_ref(), Some(&first[1]));
    // A rejected one stays where it is, too.
    place.anneal(&["candidate", "reject", "c2", "--key", key.to_str().unwrap(), "-m", "not today"]).fine();
    hidden(&second);
    daemon.stop();
}
