//! Signatures and evidence, proved by programs that we did not write.
//!
//! skopeo could prove the image signature by itself with a policy of `sigstoreSigned`; Debian 12's refuses to
//! ("Debian-local change: sigstore disabled"), so openssl proves what skopeo would.

use crate::{aftermath, published};
use anneal_tests::{Answer, Daemon, Place, Said, decoded, tool};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn release_key(place: &Place, dir: &Path) -> PathBuf {
    let file = dir.join("release.pub");
    place.anneal(&["key", "export", "release", "-o", file.to_str().unwrap()]).fine();
    file
}

/// openssl's verdict on a signature over bytes.
fn openssl(dir: &Path, key: &Path, signature: &[u8], signed: &[u8]) -> Option<bool> {
    let mut openssl: Command = tool("openssl")?;
    let (sig, data) = (dir.join("signature"), dir.join("signed"));
    fs::write(&sig, signature).unwrap();
    fs::write(&data, signed).unwrap();
    let said = Said::by(openssl.args(["dgst", "-sha256", "-verify"]).arg(key).arg("-signature").arg(sig).arg(data));
    assert!(said.out.contains("Verified OK") == (said.code == 0), "{}{}", said.out, said.err);
    Some(said.code == 0)
}

/// What a DSSE signature is made over.
fn pae(kind: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {kind} {} ", kind.len(), body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The bundles about a digest: what they say they are, and their bytes.
fn bundles(daemon: &Daemon, digest: &str) -> Vec<(String, Answer)> {
    let list = daemon.get(&format!("/v2/nginx/referrers/{digest}")).json();
    let each = list["manifests"].as_array().unwrap().iter().map(|referrer| {
        let kind = referrer["annotations"]["dev.sigstore.bundle.predicateType"].as_str().unwrap().to_owned();
        let manifest = daemon.get(&format!("/v2/nginx/manifests/{}", referrer["digest"].as_str().unwrap())).json();
        assert_eq!(manifest["subject"]["digest"], digest);
        let layer = manifest["layers"][0]["digest"].as_str().unwrap();
        (kind, daemon.get(&format!("/v2/nginx/blobs/{layer}")))
    });
    each.collect()
}

fn bundle(daemon: &Daemon, digest: &str, kind: &str) -> Answer {
    let found = bundles(daemon, digest).into_iter().find(|(found, _)| found == kind);
    found.unwrap_or_else(|| panic!("no {kind} about {digest}")).1
}

#[test]
fn openssl_verifies_the_release_signature_and_no_changed_one() {
    let (dir, place) = aftermath();
    let daemon = place.daemon();
    let (index, manifest) = published(&place);
    let key = release_key(&place, dir.path());
    for digest in [index, manifest] {
        let bundle = bundle(&daemon, &digest, "https://sigstore.dev/cosign/sign/v1").json();
        let envelope = &bundle["dsseEnvelope"];
        let body = decoded(envelope["payload"].as_str().unwrap());
        let statement: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(format!("sha256:{}", statement["subject"][0]["digest"]["sha256"].as_str().unwrap()), digest);
        let signature = decoded(envelope["signatures"][0]["sig"].as_str().unwrap());
        let signed = pae(envelope["payloadType"].as_str().unwrap(), &body);
        let Some(good) = openssl(dir.path(), &key, &signature, &signed) else { return };
        assert!(good);
        let mut changed = signed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(openssl(dir.path(), &key, &signature, &changed), Some(false));
    }
    daemon.stop();
}

#[test]
fn the_signature_that_cosign_looks_for_is_at_its_tag_and_names_the_image() {
    let (dir, place) = aftermath();
    let daemon = place.daemon();
    let (index, manifest) = published(&place);
    let key = release_key(&place, dir.path());
    for digest in [index, manifest] {
        let signatures = daemon.get(&format!("/v2/nginx/manifests/{}.sig", digest.replace(':', "-"))).json();
        let layer = &signatures["layers"][0];
        let signature = decoded(layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap());
        let payload = daemon.get(&format!("/v2/nginx/blobs/{}", layer["digest"].as_str().unwrap())).body;
        let said: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(said["critical"]["image"]["docker-manifest-digest"], digest.as_str());
        let Some(good) = openssl(dir.path(), &key, &signature, &payload) else { return };
        assert!(good, "{said}");
    }
    daemon.stop();
}

#[test]
fn every_statement_is_verified_offline_with_the_key_of_its_role_and_no_other() {
    let (dir, place) = aftermath();
    let daemon = place.daemon();
    let (_, manifest) = published(&place);
    let all = bundles(&daemon, &manifest);
    daemon.stop();
    assert_eq!(all.len(), 4);
    let keys = ["build", "test", "release"].map(|role| {
        let file = dir.path().join(format!("{role}.pub"));
        place.anneal(&["key", "export", role, "-o", file.to_str().unwrap()]).fine();
        (role, file.to_str().unwrap().to_owned())
    });
    for (kind, answer) in all {
        let file = dir.path().join("bundle.json");
        fs::write(&file, &answer.body).unwrap();
        let wanted = match kind.as_str() {
            "https://sigstore.dev/cosign/sign/v1" => "release",
            "https://in-toto.io/attestation/test-result/v0.1" => "test",
            _ => "build",
        };
        for (role, key) in &keys {
            let args = ["verify", file.to_str().unwrap(), "--key", key, "--digest", &manifest];
            let said = place.anneal(&args);
            assert_eq!(said.code, i32::from(*role != wanted), "{kind} with the {role} key: {}{}", said.out, said.err);
        }
    }
}

#[test]
fn the_bill_of_materials_is_valid_spdx_and_names_the_fixed_zlib() {
    let (dir, place) = aftermath();
    let daemon = place.daemon();
    let (_, manifest) = published(&place);
    let bundle = bundle(&daemon, &manifest, "https://spdx.dev/Document").json();
    daemon.stop();
    let statement: Value =
        serde_json::from_slice(&decoded(bundle["dsseEnvelope"]["payload"].as_str().unwrap())).unwrap();
    let document = &statement["predicate"];
    let version = |name: &str| {
        let packages = document["packages"].as_array().unwrap();
        let named = packages.iter().filter(|p| p["name"] == name).filter_map(|p| p["versionInfo"].as_str());
        // The image itself is a package of the document, whose version is its digest.
        named.filter(|version| !version.starts_with("sha256:")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(version("zlib"), ["1.2.13"]);
    assert_eq!(version("nginx"), ["1.22.1"]);
    let file = dir.path().join("nginx.spdx.json");
    fs::write(&file, document.to_string()).unwrap();
    let usual = anneal_tests::target().with_file_name("test-venv");
    let venv = std::env::var_os("ANNEAL_TEST_VENV").map_or(usual, PathBuf::from);
    let program = venv.join("bin/pyspdxtools");
    if !program.exists() {
        return anneal_tests::skipped("no pyspdxtools");
    }
    Said::by(Command::new(program).arg("--infile").arg(file)).fine();
}
