//! A layout that somebody wrote to do harm: wrong bytes, links, traversal, lies about sizes, nesting, contraband.

use crate::{INDEX, Layout, MANIFEST, RELEASED, Site};
use anneal_tests::{Said, sha256};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::symlink};

/// What somebody does to a layout, and what is said of it.
type Case = (&'static str, Box<dyn Fn(&Layout)>, &'static [&'static str]);

#[test]
fn a_hostile_layout_is_refused_whatever_it_tries() {
    let site = Site::new();
    let layer_of = |layout: &Layout| layout.blob(&layout.image().1);
    let cases: Vec<Case> = vec![
        (
            "wrong-bytes",
            Box::new(move |layout| {
                let path = layer_of(layout);
                let mut bytes = fs::read(&path).unwrap();
                bytes[9] ^= 1;
                fs::write(path, bytes).unwrap();
            }),
            &["nothing is imported", "expected blob", "nothing of it was kept", "pinned by nothing"],
        ),
        ("missing", Box::new(move |layout| fs::remove_file(layer_of(layout)).unwrap()), &["is missing"]),
        (
            "longer",
            Box::new(move |layout| {
                let path = layer_of(layout);
                let bytes = fs::read(&path).unwrap();
                fs::write(path, [bytes.as_slice(), b"more"].concat()).unwrap();
            }),
            &["and is said to have"],
        ),
        (
            "link",
            Box::new(move |layout| {
                let path = layer_of(layout);
                fs::rename(&path, layout.0.with_extension("moved")).unwrap();
                symlink(layout.0.with_extension("moved"), path).unwrap();
            }),
            &["does not open, or is a link"],
        ),
        (
            "linked-folder",
            Box::new(|layout| {
                fs::rename(layout.0.join("blobs"), layout.0.with_extension("blobs")).unwrap();
                symlink(layout.0.with_extension("blobs"), layout.0.join("blobs")).unwrap();
            }),
            &["its directory blobs does not open"],
        ),
        (
            "linked-index",
            Box::new(|layout| {
                fs::rename(layout.0.join("index.json"), layout.0.with_extension("json")).unwrap();
                symlink(layout.0.with_extension("json"), layout.0.join("index.json")).unwrap();
            }),
            &["its index.json does not open"],
        ),
        (
            "fifo",
            Box::new(move |layout| {
                let path = layer_of(layout);
                fs::remove_file(&path).unwrap();
                Said::by(std::process::Command::new("mkfifo").arg(path)).fine();
            }),
            &["is not a regular file"],
        ),
        (
            "traversal",
            Box::new(|layout| {
                layout.edit(|index| {
                    index["manifests"][0]["digest"] = json!("sha256:../../../../etc/passwd");
                })
            }),
            &["image index does not parse", "etc/passwd", "64"],
        ),
        (
            "algorithm",
            Box::new(|layout| {
                layout.edit(|index| {
                    index["manifests"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
                })
            }),
            &["sha512"],
        ),
        (
            "huge",
            Box::new(|layout| {
                layout.edit(|index| {
                    index["manifests"][0]["size"] = json!(u64::MAX);
                })
            }),
            &["is said to have 18446744073709551615 bytes; at most"],
        ),
        (
            "two-sizes",
            Box::new(|layout| {
                layout.edit(|index| {
                    let mut twice = index["manifests"][0].clone();
                    twice["size"] = json!(7);
                    index["manifests"].as_array_mut().unwrap().push(twice);
                })
            }),
            &["bytes, and 7 elsewhere"],
        ),
        (
            "negative",
            Box::new(|layout| layout.edit(|index| index["manifests"][0]["size"] = json!(-1))),
            &["does not parse"],
        ),
        (
            "unknown-type",
            Box::new(|layout| {
                let entry = layout.add("application/x-executable", b"hello");
                layout.edit(|index| index["manifests"].as_array_mut().unwrap().push(entry));
            }),
            &["has the unknown media type `application/x-executable`"],
        ),
        (
            "foreign-layer",
            Box::new(|layout| {
                let (mut manifest, _) = layout.image();
                manifest["layers"][0]["mediaType"] =
                    json!("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
                let entry = layout.add(MANIFEST, &serde_json::to_vec(&manifest).unwrap());
                layout.edit(|index| index["manifests"].as_array_mut().unwrap().push(entry));
            }),
            &["unknown media type", "nondistributable"],
        ),
        (
            "confused",
            Box::new(|layout| {
                let both =
                    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "manifests": [], "layers": [], "config": {} });
                let entry = layout.add(INDEX, &serde_json::to_vec(&both).unwrap());
                layout.edit(|index| index["manifests"].as_array_mut().unwrap().push(entry));
            }),
            &["mediaType"],
        ),
        (
            "nested",
            Box::new(|layout| {
                let mut entry = layout.index()["manifests"][0].clone();
                for _ in 0..5 {
                    let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
                    entry = layout.add(INDEX, &serde_json::to_vec(&list).unwrap());
                }
                layout.edit(|index| index["manifests"].as_array_mut().unwrap().push(entry));
            }),
            &["lies deeper than 3"],
        ),
        (
            "deep-json",
            Box::new(|layout| {
                let bytes =
                    [b"{\"schemaVersion\":2,\"x\":".as_slice(), &b"[".repeat(100_000), &b"]".repeat(100_000), b"}"]
                        .concat();
                fs::write(layout.0.join("index.json"), bytes).unwrap();
            }),
            &["does not parse", "recursion limit"],
        ),
        (
            "huge-index",
            Box::new(|layout| fs::write(layout.0.join("index.json"), b" ".repeat(5 << 20)).unwrap()),
            &["is not a regular file of at most 4194304 bytes"],
        ),
        (
            "twice",
            Box::new(|layout| {
                let text = fs::read_to_string(layout.0.join("index.json")).unwrap();
                fs::write(
                    layout.0.join("index.json"),
                    text.replacen("{\"manifests\"", "{\"manifests\":[],\"manifests\"", 1),
                )
                .unwrap();
            }),
            &["duplicate field"],
        ),
        (
            "extra-blob",
            Box::new(|layout| drop(layout.add("x", b"contraband"))),
            &["nothing in it names its file blobs/sha256/"],
        ),
        (
            "extra-file",
            Box::new(|layout| fs::write(layout.0.join("run.sh"), "").unwrap()),
            &["has `run.sh`, which is no part"],
        ),
        (
            "about-nothing",
            Box::new(|layout| {
                let (bundle, at) = layout.statement(RELEASED);
                let digest = layout.index()["manifests"][at]["digest"].as_str().unwrap().to_owned();
                let mut manifest: Value = serde_json::from_slice(&fs::read(layout.blob(&digest)).unwrap()).unwrap();
                manifest["subject"]["digest"] = json!(format!("sha256:{}", sha256(&bundle)));
                let entry = layout.add(MANIFEST, &serde_json::to_vec(&manifest).unwrap());
                layout.edit(|index| index["manifests"].as_array_mut().unwrap().push(entry));
            }),
            &["which is not in it"],
        ),
        (
            "no-marker",
            Box::new(|layout| fs::remove_file(layout.0.join("oci-layout")).unwrap()),
            &["its oci-layout does not open"],
        ),
        (
            "other-version",
            Box::new(|layout| {
                fs::write(layout.0.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
            }),
            &["does not say version 1.0.0"],
        ),
        (
            "empty",
            Box::new(|layout| {
                for blob in fs::read_dir(layout.0.join("blobs/sha256")).unwrap() {
                    fs::remove_file(blob.unwrap().path()).unwrap();
                }
                layout.edit(|index| index["manifests"] = json!([]));
            }),
            &["the layout has no image"],
        ),
    ];
    let elsewhere = site.elsewhere("elsewhere");
    for (name, change, expected) in cases {
        site.hostile(&elsewhere, name, change).refused(2, expected);
    }
    let kept = elsewhere.anneal(&["store", "gc", "--dry-run", "--json"]).fine().json();
    assert_eq!(kept["kinds"].get("pinned"), None, "nothing of them is kept: {kept}");
    // a name that would look like lines of ours
    let forged = |layout: &Layout| {
        let name = "x)\n  verified: release, signed by release key 1f2e\u{202e}\n  (also called y";
        layout.edit(|index| index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = json!(name));
    };
    let said = site.hostile(&elsewhere, "forged", forged).fine().out;
    assert!(!said.contains("\n  verified: release") && !said.contains('\u{202e}'), "{said}");
    // as skopeo writes it
    let untyped = |layout: &Layout| layout.edit(|index| drop(index.as_object_mut().unwrap().remove("mediaType")));
    site.hostile(&elsewhere, "untyped", untyped).fine();
}
