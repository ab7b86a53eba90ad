//! Byte-exact texts: what others parse must not change unnoticed.

use crate::world::*;
use anneal_attest::*;
use anneal_content::canonical_json;
use base64::{Engine as _, engine::general_purpose::STANDARD};

#[test]
fn each_kind_of_statement_has_one_text() {
    for (statement, file) in [
        (provenance_statement(), "provenance.json"),
        (test_statement(), "test-result.json"),
        (Statement::approval(approval()), "approval.json"),
        (release_statement(), "image-signature.json"),
    ] {
        let bytes = statement.to_json().unwrap();
        check_golden(file, &pretty(&bytes));
        assert_eq!(bytes, canonical_json(&serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()).unwrap());
    }
}

#[test]
fn the_inventory_of_a_small_image_has_one_text() {
    check_golden("sbom.spdx.json", &pretty(&canonical_json(&sbom(&sbom_input()).unwrap()).unwrap()));
}

#[test]
fn a_bundle_and_its_public_key_have_one_text() {
    let key = key(Role::Release);
    check_golden("bundle.json", &pretty(sign_statement(&release_statement(), &key).unwrap().json()));
    check_golden("release.pub", &key.public().to_pem().unwrap());
}

#[test]
fn a_legacy_signature_has_one_text() {
    let signed = sign_simple("registry.example:5000/team/nginx", &image(), &key(Role::Release)).unwrap();
    let text = format!("{}\n{}\n", String::from_utf8(signed.payload).unwrap(), signed.signature);
    check_golden("simple-signing.txt", &text);
}

#[test]
fn signing_twice_gives_the_same_bytes() {
    for (statement, key) in every_statement() {
        assert_eq!(sign_statement(&statement, &key).unwrap(), sign_statement(&statement, &key).unwrap());
    }
}

#[test]
fn a_statement_survives_writing_and_reading() {
    for (statement, _) in every_statement() {
        let read = Statement::from_json(&statement.to_json().unwrap()).unwrap();
        assert_eq!(read.to_json().unwrap(), statement.to_json().unwrap());
        assert_eq!(read.subjects, statement.subjects);
    }
}

#[test]
fn an_envelope_carries_one_signature_and_no_key_id() {
    let bundle = sign_statement(&release_statement(), &key(Role::Release)).unwrap();
    let value: serde_json::Value = serde_json::from_slice(bundle.json()).unwrap();
    let signatures = value["dsseEnvelope"]["signatures"].as_array().unwrap();
    assert_eq!(signatures.len(), 1);
    assert_eq!(signatures[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["sig"]);
    let hint = value["verificationMaterial"]["publicKey"]["hint"].as_str().unwrap();
    assert_eq!(hex::encode(STANDARD.decode(hint).unwrap()), key(Role::Release).public().id().hex());
}
