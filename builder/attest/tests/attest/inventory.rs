//! The SPDX document: a pure function of what is in the image.

use crate::world::*;
use anneal_attest::*;
use anneal_content::{PackageName, TreePath, canonical_json};

/// What is wrong, and how to make it so.
type Mistake = (&'static str, fn(&mut SbomInput));

fn bytes(input: &SbomInput) -> Vec<u8> {
    canonical_json(&sbom(input).unwrap()).unwrap()
}

#[test]
fn the_order_of_the_input_changes_no_byte() {
    let mut turned = sbom_input();
    turned.packages.reverse();
    turned.packages.iter_mut().for_each(|package| package.files.reverse());
    assert_eq!(bytes(&turned), bytes(&sbom_input()));
}

#[test]
fn another_file_makes_another_document_with_another_name() {
    let mut changed = sbom_input();
    changed.packages[0].files[0].checksums = FileChecksums::of(&mut &b"patched"[..]).unwrap();
    let namespace = |input: &SbomInput| sbom(input).unwrap()["documentNamespace"].clone();
    assert_ne!(namespace(&changed), namespace(&sbom_input()));
}

#[test]
fn every_input_file_is_listed_with_the_digest_of_its_bytes() {
    let document = sbom(&sbom_input()).unwrap();
    let listed: Vec<(String, String)> = document["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["fileName"].as_str().unwrap().into(), f["checksums"][1]["checksumValue"].as_str().unwrap().into()))
        .collect();
    assert_eq!(
        listed,
        [
            ("./etc/passwd".to_owned(), blob("nobody").hex()),
            ("./lib/ld-musl-x86_64.so.1".to_owned(), blob("loader").hex()),
            ("./usr/lib/libz.so.1.2.13".to_owned(), blob("library").hex()),
            ("./usr/share/zlib/README".to_owned(), blob("read me").hex()),
        ]
    );
}

#[test]
fn a_file_that_calls_itself_evidence_is_a_file_like_any_other() {
    let plain = sbom(&sbom_input()).unwrap();
    let forged = serde_json::to_vec(&plain).unwrap();
    let mut input = sbom_input();
    let names = ["sbom.spdx.json", "provenance.intoto.jsonl", "usr/share/sbom/image.spdx.json", "var/lib/dpkg/status"];
    for name in names {
        let checksums = FileChecksums::of(&mut forged.as_slice()).unwrap();
        input.packages[0].files.push(SbomFile { path: TreePath::new(name).unwrap(), checksums });
    }
    let document = sbom(&input).unwrap();
    let of = |document: &serde_json::Value, list: &str| document[list].as_array().unwrap().clone();
    let (before, after) = (of(&plain, "files"), of(&document, "files"));
    assert_eq!(after.len(), before.len() + names.len(), "each is a file");
    assert!(before.iter().all(|file| after.contains(file)), "and says nothing about another");
    // What identifies a package's content changes with any file; nothing else about a package may.
    let about = |document: &serde_json::Value| {
        let packages = of(document, "packages").into_iter().map(|mut package| {
            let package = package.as_object_mut().unwrap();
            package.remove("packageVerificationCode");
            package.clone()
        });
        packages.collect::<Vec<_>>()
    };
    assert_eq!(about(&document), about(&plain));
    for field in ["creationInfo", "name", "dataLicense", "hasExtractedLicensingInfos", "externalDocumentRefs"] {
        assert_eq!(document[field], plain[field], "{field}");
    }
}

#[test]
fn names_that_differ_only_in_punctuation_have_different_ids() {
    let mut input = sbom_input();
    for name in ["a.b", "a_b", "a-b"] {
        let mut package = input.packages[1].clone();
        package.name = PackageName::new(name).unwrap();
        package.files.clear();
        input.packages.push(package);
    }
    let document = sbom(&input).unwrap();
    let ids: Vec<_> = document["packages"].as_array().unwrap().iter().map(|p| p["SPDXID"].to_string()).collect();
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len(), "{ids:?}");
}

#[test]
fn a_package_url_gets_the_version_that_is_in_the_image() {
    let purl = |text: &str| {
        let mut input = sbom_input();
        input.packages[0].purl = text.to_owned();
        sbom(&input)
            .map(|document| document["packages"][3]["externalRefs"][0]["referenceLocator"].as_str().unwrap().to_owned())
    };
    assert_eq!(purl("pkg:generic/zlib").unwrap(), "pkg:generic/zlib@1.2.13");
    assert_eq!(purl("pkg:generic/zlib?x=1").unwrap(), "pkg:generic/zlib@1.2.13?x=1");
    assert_eq!(purl("pkg:generic/zlib@1.2.13").unwrap(), "pkg:generic/zlib@1.2.13");
    assert!(purl("pkg:generic/zlib@1.2.11").is_err());
    assert!(purl("generic/zlib").is_err());
}

#[test]
fn an_inventory_that_would_be_wrong_is_refused() {
    let refused: [Mistake; 6] = [
        ("a licence that is none", |i| i.packages[0].license = "zlib-ish".to_owned()),
        ("a licence without its text", |i| i.license_texts.clear()),
        ("a package twice", |i| i.packages.push(i.packages[2].clone())),
        ("a file twice", |i| i.files.push(i.packages[0].files[0].clone())),
        ("a requirement that is not there", |i| drop(i.packages.remove(1))),
        ("a package URL that is none", |i| i.packages[0].purl.clear()),
    ];
    for (name, change) in refused {
        let mut input = sbom_input();
        change(&mut input);
        assert!(sbom(&input).is_err(), "{name}");
    }
}
