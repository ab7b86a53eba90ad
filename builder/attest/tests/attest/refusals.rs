//! Everything that is not exactly what was asked for is refused.

use crate::world::*;
use anneal_attest::*;
use anneal_content::{BlobDigest, CatalogDigest, ImageName};
use p256::ecdsa::{DerSignature, SigningKey, signature::Signer as _};
use p256::pkcs8::DecodePrivateKey as _;
use serde_json::{Value, json};

/// What is wrong, and how to make it so.
type Mistake = (&'static str, fn(&mut Value));

/// Signs any payload at all with a role's key, as a thief of the key could.
fn forge(role: Role, payload_type: &str, payload: &[u8]) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let mut signed = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    signed.extend_from_slice(payload);
    let secret = SigningKey::from_pkcs8_pem(&key(role).to_pem().unwrap()).unwrap();
    let signature: DerSignature = secret.sign(&signed);
    let bundle = json!({
        "mediaType": BUNDLE_MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": key(role).public().id().hint() } },
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": payload_type,
            "signatures": [{ "sig": STANDARD.encode(signature.as_bytes()) }],
        },
    });
    serde_json::to_vec(&bundle).unwrap()
}

/// The golden statement of a kind, changed and signed again.
fn forged(statement: &Statement, change: impl FnOnce(&mut Value)) -> Result<Statement> {
    let kind = statement.predicate.predicate_type();
    let mut value: Value = serde_json::from_slice(&statement.to_json().unwrap()).unwrap();
    change(&mut value);
    let bytes = forge(kind.role(), STATEMENT_MEDIA_TYPE, &serde_json::to_vec(&value).unwrap());
    verify_bundle(&bytes, key(kind.role()).public(), kind, &image())
}

/// A signed release statement, changed in its JSON without signing it again.
fn tampered(change: impl FnOnce(&mut Value)) -> Result<Statement> {
    let bundle = sign_statement(&release_statement(), &key(Role::Release)).unwrap();
    let mut value: Value = serde_json::from_slice(bundle.json()).unwrap();
    change(&mut value);
    let bytes = serde_json::to_vec(&value).unwrap();
    verify_bundle(&bytes, key(Role::Release).public(), PredicateType::CosignSign, &image())
}

#[test]
fn every_kind_of_bundle_verifies_with_its_key_type_and_subject() {
    for (statement, key) in every_statement() {
        let kind = statement.predicate.predicate_type();
        let bundle = sign_statement(&statement, &key).unwrap();
        let verified = verify_bundle(bundle.json(), key.public(), kind, &image()).unwrap();
        assert_eq!(verified.to_json().unwrap(), statement.to_json().unwrap());
        for other in PredicateType::ALL.into_iter().filter(|other| *other != kind) {
            assert!(verify_bundle(bundle.json(), key.public(), other, &image()).is_err(), "{kind} as {other}");
        }
        assert!(verify_bundle(bundle.json(), key.public(), kind, &blob("another image")).is_err());
        assert!(verify_bundle(bundle.json(), another_key(Role::Build).public(), kind, &image()).is_err());
    }
}

#[test]
fn no_changed_byte_of_a_bundle_changes_what_is_believed() {
    let bundle = sign_statement(&release_statement(), &key(Role::Release)).unwrap();
    let public = key(Role::Release).public().clone();
    for at in 0..bundle.json().len() {
        let mut bytes = bundle.json().to_vec();
        bytes[at] ^= 1;
        if let Ok(statement) = verify_bundle(&bytes, &public, PredicateType::CosignSign, &image()) {
            assert_eq!(statement, release_statement(), "byte {at}");
        }
    }
}

#[test]
fn a_bundle_of_another_shape_is_refused() {
    assert!(tampered(|_| ()).is_ok());
    let changes: [Mistake; 12] = [
        ("no media type", |b| drop(b.as_object_mut().unwrap().remove("mediaType"))),
        ("version 0.2", |b| b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2")),
        ("version 0.3 in its old spelling", |b| {
            b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.3");
        }),
        ("an unknown field", |b| b["extra"] = json!(1)),
        ("an unknown field in the envelope", |b| b["dsseEnvelope"]["extra"] = json!(1)),
        ("a second content", |b| b["messageSignature"] = json!({"signature": "MAA="})),
        ("no signature", |b| b["dsseEnvelope"]["signatures"] = json!([])),
        ("two signatures", |b| {
            let one = b["dsseEnvelope"]["signatures"][0].clone();
            b["dsseEnvelope"]["signatures"] = json!([one, one]);
        }),
        ("a certificate beside the key", |b| b["verificationMaterial"]["certificate"] = json!({"rawBytes": "MAA="})),
        ("a certificate for the key", |b| b["verificationMaterial"] = json!({"certificate": {"rawBytes": "MAA="}})),
        ("another payload type", |b| b["dsseEnvelope"]["payloadType"] = json!("application/json")),
        ("no envelope", |b| drop(b.as_object_mut().unwrap().remove("dsseEnvelope"))),
    ];
    for (name, change) in changes {
        assert!(tampered(change).is_err(), "{name}");
    }
}

#[test]
fn another_payload_type_is_refused_even_if_it_is_signed() {
    let payload = release_statement().to_json().unwrap();
    let public = key(Role::Release).public().clone();
    let verify =
        |kind| verify_bundle(&forge(Role::Release, kind, &payload), &public, PredicateType::CosignSign, &image());
    assert!(verify(STATEMENT_MEDIA_TYPE).is_ok());
    assert!(verify("application/json").is_err());
}

#[test]
fn the_hint_decides_nothing() {
    assert!(tampered(|b| b["verificationMaterial"]["publicKey"]["hint"] = json!("someone")).is_ok());
    assert!(tampered(|b| b["verificationMaterial"]["publicKey"] = json!({})).is_ok());
}

#[test]
fn a_signed_statement_that_breaks_its_own_rules_is_refused() {
    let release = release_statement();
    assert!(forged(&release, |_| ()).is_ok());
    assert!(forged(&release, |s| s["future"] = json!(1)).is_ok(), "in-toto ignores unknown fields");
    let refused: [Mistake; 7] = [
        ("an old statement type", |s| s["_type"] = json!("https://in-toto.io/Statement/v0.1")),
        ("no subject", |s| s["subject"] = json!([])),
        ("a subject without sha256", |s| s["subject"][0]["digest"] = json!({"sha512": "00"})),
        ("a subject with a short digest", |s| s["subject"][0]["digest"]["sha256"] = json!("00")),
        ("a predicate that should be empty", |s| s["predicate"] = json!({"a": 1})),
        ("an unknown predicate type", |s| s["predicateType"] = json!("https://example.com/x")),
        ("too many subjects", |s| s["subject"] = json!(vec![s["subject"][0].clone(); 1025])),
    ];
    for (name, change) in refused {
        assert!(forged(&release, change).is_err(), "{name}");
    }
    assert!(forged(&release, |s| s["subject"] = json!(vec![s["subject"][0].clone(); 1024])).is_ok());
}

#[test]
fn a_repeated_field_in_a_signed_payload_is_refused() {
    let text = String::from_utf8(release_statement().to_json().unwrap()).unwrap();
    let twice = text.replacen('{', r#"{"predicateType":"https://slsa.dev/provenance/v1","#, 1);
    let bytes = forge(Role::Release, STATEMENT_MEDIA_TYPE, twice.as_bytes());
    let refused = verify_bundle(&bytes, key(Role::Release).public(), PredicateType::CosignSign, &image());
    assert!(refused.unwrap_err().to_string().contains("stands twice"));
}

#[test]
fn provenance_with_an_unknown_external_parameter_is_refused() {
    let statement = provenance_statement();
    let parameters = |s: &mut Value| s["predicate"]["buildDefinition"]["externalParameters"].take();
    assert!(forged(&statement, |s| s["predicate"]["buildDefinition"]["new_field"] = json!(1)).is_ok());
    let refused = forged(&statement, |s| {
        let mut changed = parameters(s);
        changed["cflags"] = json!("-DBACKDOOR");
        s["predicate"]["buildDefinition"]["externalParameters"] = changed;
    });
    assert!(refused.unwrap_err().to_string().contains("cflags"));
}

#[test]
fn provenance_without_a_required_field_is_refused() {
    let required = [
        "/predicate/buildDefinition",
        "/predicate/buildDefinition/buildType",
        "/predicate/buildDefinition/externalParameters",
        "/predicate/buildDefinition/externalParameters/image",
        "/predicate/buildDefinition/externalParameters/catalog",
        "/predicate/buildDefinition/externalParameters/platform",
        "/predicate/runDetails",
        "/predicate/runDetails/builder",
        "/predicate/runDetails/builder/id",
    ];
    for path in required {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let removed = forged(&provenance_statement(), |s| {
            s.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
        });
        assert!(removed.is_err(), "{path} removed");
        assert!(
            forged(&provenance_statement(), |s| *s.pointer_mut(path).unwrap() = Value::Null).is_err(),
            "{path} null"
        );
        let emptied = forged(&provenance_statement(), |s| *s.pointer_mut(path).unwrap() = json!(""));
        assert!(emptied.is_err(), "{path} empty");
    }
}

#[test]
fn unset_null_and_empty_provenance_fields_mean_the_same() {
    let optional = [
        ("/predicate/buildDefinition", "internalParameters", json!({})),
        ("/predicate/buildDefinition", "resolvedDependencies", json!([])),
        ("/predicate/buildDefinition/externalParameters", "advisories", json!({})),
        ("/predicate/runDetails", "metadata", json!({})),
        ("/predicate/runDetails", "byproducts", json!([])),
        ("/predicate/runDetails/builder", "version", json!({})),
        ("/predicate/runDetails/builder", "builderDependencies", json!([])),
    ];
    for (parent, name, empty) in optional {
        let with = |value: Option<Value>| {
            forged(&provenance_statement(), |s| {
                let object = s.pointer_mut(parent).unwrap().as_object_mut().unwrap();
                object.remove(name);
                value.map(|value| object.insert(name.to_owned(), value));
            })
            .unwrap()
        };
        assert_eq!(with(None), with(Some(Value::Null)), "{name}");
        assert_eq!(with(None), with(Some(empty)), "{name}");
    }
}

#[test]
fn provenance_is_held_against_what_was_expected() {
    let bundle = sign_statement(&provenance_statement(), &key(Role::Build)).unwrap();
    let (image_name, catalog) = (image_name(), CatalogDigest::of(b"the catalog"));
    let expected = ExpectedProvenance {
        builder_id: "urn:anneal:builder:laptop",
        image: &image_name,
        platform: Some("linux/amd64"),
        catalog: Some(&catalog),
    };
    let verify = |e: &ExpectedProvenance<'_>| verify_provenance(bundle.json(), key(Role::Build).public(), &image(), e);
    assert_eq!(verify(&expected).unwrap(), provenance());
    let (other_image, other_catalog) = (ImageName::new("nginx").unwrap(), CatalogDigest::of(b"another"));
    for wrong in [
        ExpectedProvenance { builder_id: "urn:anneal:builder:daemon", ..expected.clone() },
        ExpectedProvenance { image: &other_image, ..expected.clone() },
        ExpectedProvenance { platform: Some("linux/arm64"), ..expected.clone() },
        ExpectedProvenance { catalog: Some(&other_catalog), ..expected.clone() },
    ] {
        assert!(verify(&wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn an_internal_parameter_never_hides_an_external_one() {
    let mut twice = provenance();
    twice.build_definition.internal_parameters.insert("platform".to_owned(), json!("linux/arm64"));
    assert!(Statement::about("", image(), Predicate::Provenance(Box::new(twice))).to_json().is_err());
}

#[test]
fn a_test_result_agrees_with_its_lists() {
    let statement = test_statement();
    for (name, change) in [
        ("passed with a warning", (|s| s["predicate"]["result"] = json!("PASSED")) as fn(&mut Value)),
        ("warned with a failure", |s| s["predicate"]["failedTests"] = json!(["SEC-01"])),
        ("a test in two lists", |s| s["predicate"]["passedTests"] = json!(["ELF-02"])),
        ("an outcome in lower case", |s| s["predicate"]["result"] = json!("warned")),
        ("an unnamed configuration", |s| s["predicate"]["configuration"] = json!([{"name": "policy"}])),
        ("nothing tested", |s| {
            s["predicate"] = json!({"result": "PASSED", "configuration": s["predicate"]["configuration"]});
        }),
    ] {
        assert!(forged(&statement, change).is_err(), "{name}");
    }
}

#[test]
fn a_decision_holds_for_exactly_what_was_shown() {
    let bundle = sign_statement(&Statement::approval(approval()), &key(Role::Approver)).unwrap();
    let verify = |candidate: &Binding| verify_approval(bundle.json(), key(Role::Approver).public(), candidate);
    assert_eq!(verify(&binding()).unwrap(), approval());
    let other = || std::collections::BTreeSet::from([blob("something else")]);
    let more = || binding().sboms.into_iter().chain(other()).collect();
    for changed in [
        Binding { name: ImageName::new("nginx").unwrap(), ..binding() },
        Binding { image: blob("something else"), ..binding() },
        Binding { index: None, ..binding() },
        Binding { index: Some(blob("something else")), ..binding() },
        Binding { check_results: other(), ..binding() },
        Binding { sboms: other(), ..binding() },
        Binding { sboms: more(), ..binding() },
        Binding { provenances: other(), ..binding() },
        Binding { diff: blob("something else"), ..binding() },
    ] {
        assert!(verify(&changed).is_err(), "{changed:?}");
    }
}

#[test]
fn a_decision_about_nothing_shown_is_refused() {
    let statement = Statement::approval(approval());
    for (name, change) in [
        ("an unknown field", (|s| s["predicate"]["condition"] = json!("only on Mondays")) as fn(&mut Value)),
        ("no check results", |s| s["predicate"]["candidate"]["checkResults"] = json!([])),
        ("no inventory", |s| s["predicate"]["candidate"]["sboms"] = json!([])),
        ("no provenance", |s| s["predicate"]["candidate"]["provenances"] = json!([])),
        ("another word", |s| s["predicate"]["decision"] = json!("maybe")),
        ("another approver", |s| s["predicate"]["approver"] = json!("00".repeat(32))),
        ("another image inside than outside", |s| {
            s["predicate"]["candidate"]["image"] = json!(blob("something else").to_string());
        }),
        ("another spelling of the time", |s| s["predicate"]["time"] = json!("2026-11-03T13:00:00.5Z")),
        ("a comment too long", |s| s["predicate"]["comment"] = json!("x".repeat(4097))),
    ] {
        assert!(forged(&statement, change).is_err(), "{name}");
    }
    assert!(forged(&statement, |s| s["predicate"]["comment"] = json!("x".repeat(4096))).is_ok());
}

#[test]
fn a_legacy_signature_holds_for_one_digest_and_one_name() {
    let signed = sign_simple("registry.example:5000/nginx", &image(), &key(Role::Release)).unwrap();
    let public = key(Role::Release).public().clone();
    let verify =
        |payload: &[u8], digest: &BlobDigest, name| verify_simple(payload, &signed.signature, &public, digest, name);
    assert!(verify(&signed.payload, &image(), Some("registry.example:5000/nginx")).is_ok());
    assert!(verify(&signed.payload, &image(), None).is_ok());
    assert!(verify(&signed.payload, &image(), Some("nginx")).is_err());
    assert!(verify(&signed.payload, &blob("another"), None).is_err());
    let mut changed = signed.payload.clone();
    changed[60] ^= 1;
    assert!(verify(&changed, &image(), None).is_err());
    assert!(verify_simple(&signed.payload, &signed.signature, key(Role::Test).public(), &image(), None).is_err());
    assert!(verify_simple(&signed.payload, "not base64!", &public, &image(), None).is_err());
    for name in ["", "nginx:latest", "nginx@sha256:00", "a b", "nginx/", "a<b"] {
        assert!(sign_simple(name, &image(), &key(Role::Release)).is_err(), "{name}");
    }
}
