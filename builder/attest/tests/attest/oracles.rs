//! Verifiers that we did not write. They are looked for on PATH and in `$ANNEAL_TEST_VENV/bin`.

use crate::world::*;
use anneal_attest::*;
use anneal_content::canonical_json;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

fn tool(name: &str) -> Option<PathBuf> {
    let venv = std::env::var_os("ANNEAL_TEST_VENV").map(|venv| PathBuf::from(venv).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = venv.into_iter().chain(std::env::split_paths(&path)).map(|dir| dir.join(name)).find(|p| p.is_file());
    if found.is_none() {
        println!("skipped: no {name}");
    }
    found
}

/// A Python that has a module.
fn python(module: &str) -> Option<PathBuf> {
    let python = tool("python3")?;
    let found = Command::new(&python).args(["-c", &format!("import {module}")]).output().unwrap().status.success();
    if !found {
        println!("skipped: no {module}");
    }
    found.then_some(python)
}

/// Runs a tool in a directory of its own and gives what it printed; panics if it fails.
#[track_caller]
fn run(tool: &Path, args: &[&str], dir: &Path) -> String {
    let output = Command::new(tool).args(args).current_dir(dir).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{} {args:?}\n{text}{}", tool.display(), String::from_utf8_lossy(&output.stderr));
    text
}

fn put(dir: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(dir.join(name), bytes).unwrap();
}

fn decoded(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// DSSE's pre-authentication encoding, written down here a second time on purpose.
fn pae(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn openssl_verifies_every_kind_of_bundle() {
    let Some(openssl) = tool("openssl") else { return };
    let dir = tempfile::tempdir().unwrap();
    for (statement, key) in every_statement() {
        let bundle = sign_statement(&statement, &key).unwrap();
        let envelope = &serde_json::from_slice::<Value>(bundle.json()).unwrap()["dsseEnvelope"];
        put(dir.path(), "key.pub", key.public().to_pem().unwrap().as_bytes());
        put(dir.path(), "sig", &decoded(&envelope["signatures"][0]["sig"]));
        let payload = decoded(&envelope["payload"]);
        put(dir.path(), "pae", &pae(envelope["payloadType"].as_str().unwrap(), &payload));
        let args = ["dgst", "-sha256", "-verify", "key.pub", "-signature", "sig", "pae"];
        assert!(run(&openssl, &args, dir.path()).contains("Verified OK"));
        put(dir.path(), "pae", &payload);
        let unframed = Command::new(&openssl).args(args).current_dir(dir.path()).output().unwrap();
        assert!(!unframed.status.success(), "the signature must not hold over the bare payload");
    }
}

#[test]
fn openssl_verifies_a_legacy_signature() {
    let Some(openssl) = tool("openssl") else { return };
    let dir = tempfile::tempdir().unwrap();
    let key = key(Role::Release);
    let signed = sign_simple("registry.example:5000/nginx", &image(), &key).unwrap();
    put(dir.path(), "key.pub", key.public().to_pem().unwrap().as_bytes());
    put(dir.path(), "sig", &STANDARD.decode(&signed.signature).unwrap());
    put(dir.path(), "payload", &signed.payload);
    let args = ["dgst", "-sha256", "-verify", "key.pub", "-signature", "sig", "payload"];
    assert!(run(&openssl, &args, dir.path()).contains("Verified OK"));
}

#[test]
fn a_key_and_a_signature_of_openssl_are_accepted() {
    let Some(openssl) = tool("openssl") else { return };
    let dir = tempfile::tempdir().unwrap();
    let curve = "ec_paramgen_curve:P-256";
    run(&openssl, &["genpkey", "-algorithm", "EC", "-pkeyopt", curve, "-out", "key.pem"], dir.path());
    let pem = std::fs::read_to_string(dir.path().join("key.pem")).unwrap();
    let key = SecretKey::from_pem(Role::Release, &pem).unwrap();
    let public = run(&openssl, &["pkey", "-in", "key.pem", "-pubout"], dir.path());
    assert_eq!(public, key.public().to_pem().unwrap());
    let mut bundle: Value = serde_json::from_slice(sign_statement(&release_statement(), &key).unwrap().json()).unwrap();
    let payload = release_statement().to_json().unwrap();
    put(dir.path(), "pae", &pae(STATEMENT_MEDIA_TYPE, &payload));
    run(&openssl, &["dgst", "-sha256", "-sign", "key.pem", "-out", "sig", "pae"], dir.path());
    let signature = STANDARD.encode(std::fs::read(dir.path().join("sig")).unwrap());
    assert_ne!(bundle["dsseEnvelope"]["signatures"][0]["sig"], signature.as_str(), "openssl's nonces are random");
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = signature.into();
    let public = PublicKey::from_pem(&public).unwrap();
    let bytes = serde_json::to_vec(&bundle).unwrap();
    verify_bundle(&bytes, &public, PredicateType::CosignSign, &image()).unwrap();
}

#[test]
fn spdx_tools_find_nothing_wrong_with_an_inventory() {
    let Some(pyspdxtools) = tool("pyspdxtools") else { return };
    let dir = tempfile::tempdir().unwrap();
    let document = sbom(&sbom_input()).unwrap();
    put(dir.path(), "sbom.spdx.json", &canonical_json(&document).unwrap());
    run(&pyspdxtools, &["-i", "sbom.spdx.json", "--version", "SPDX-2.3"], dir.path());
    let mut wrong = document;
    wrong["packages"][1]["licenseDeclared"] = "zlib-ish".into();
    put(dir.path(), "wrong.spdx.json", &canonical_json(&wrong).unwrap());
    let refused = Command::new(&pyspdxtools).args(["-i", "wrong.spdx.json"]).current_dir(dir.path()).output().unwrap();
    assert!(!refused.status.success(), "the validator must be able to say no");
}

#[test]
fn in_toto_attestation_reads_every_statement_and_its_predicate() {
    let Some(python) = python("in_toto_attestation") else { return };
    let script = r#"
import json, sys
from google.protobuf.json_format import ParseDict
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as Message
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult
for name in sys.argv[1:]:
    message = ParseDict(json.load(open(name)), Message())
    kind = message.predicate_type
    predicate = json.load(open(name))["predicate"]
    if kind == "https://sigstore.dev/cosign/sign/v1":
        message.predicate["cosign writes"] = "an empty predicate, which this validator takes for a missing one"
    Statement.copy_from_pb(message).validate()
    if kind == "https://slsa.dev/provenance/v1":
        parsed = ParseDict(predicate, Provenance())
        assert parsed.build_definition.external_parameters["platform"] == "linux/amd64"
        assert parsed.run_details.metadata.finished_on.seconds == 1793707261
    if kind == "https://in-toto.io/attestation/test-result/v0.1":
        assert list(ParseDict(predicate, TestResult()).passed_tests) == ["ELF-01", "OCI-03"]
    print("valid", kind)
"#;
    let dir = tempfile::tempdir().unwrap();
    let statements = every_statement();
    let names: Vec<String> = (0..statements.len()).map(|n| format!("{n}.json")).collect();
    for (name, (statement, _)) in names.iter().zip(&statements) {
        put(dir.path(), name, &statement.to_json().unwrap());
    }
    let mut args = vec!["-c", script];
    args.extend(names.iter().map(String::as_str));
    let printed = run(&python, &args, dir.path());
    for (statement, _) in &statements {
        assert!(printed.contains(&format!("valid {}\n", statement.predicate.predicate_type())), "{printed}");
    }
}

#[test]
fn securesystemslib_verifies_the_envelope_of_every_bundle() {
    let Some(python) = python("securesystemslib.dsse, cryptography") else { return };
    // It wants a `keyid`, which DSSE makes optional; the signature does not cover it.
    let script = r#"
import json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
key = SSlibKey.from_crypto(load_pem_public_key(open("key.pub", "rb").read()))
envelope = json.load(open("bundle.json"))["dsseEnvelope"]
envelope["signatures"][0]["keyid"] = key.keyid
parsed = Envelope.from_dict(envelope)
print("verified by", len(parsed.verify([key], 1)))
parsed.payload += b" "
try:
    parsed.verify([key], 1)
except Exception:
    print("tampered refused")
"#;
    let dir = tempfile::tempdir().unwrap();
    for (statement, key) in every_statement() {
        put(dir.path(), "bundle.json", sign_statement(&statement, &key).unwrap().json());
        put(dir.path(), "key.pub", key.public().to_pem().unwrap().as_bytes());
        assert_eq!(run(&python, &["-c", script], dir.path()), "verified by 1\ntampered refused\n");
    }
}

#[test]
fn sigstore_models_parse_every_bundle() {
    let Some(python) = python("sigstore_models.bundle.v1") else { return };
    let script = "import sys; from sigstore_models.bundle.v1 import Bundle; \
        b = Bundle.from_json(open('bundle.json', 'rb').read()); \
        print(b.media_type, len(b.dsse_envelope.signatures))";
    let dir = tempfile::tempdir().unwrap();
    for (statement, key) in every_statement() {
        put(dir.path(), "bundle.json", sign_statement(&statement, &key).unwrap().json());
        assert_eq!(run(&python, &["-c", script], dir.path()), format!("{BUNDLE_MEDIA_TYPE} 1\n"));
    }
}
