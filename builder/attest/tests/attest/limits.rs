//! Each limit, at its value and one past it.

use crate::world::*;
use anneal_attest::*;
use anneal_content::PackageName;

fn too_large<T: std::fmt::Debug>(result: Result<T>) -> bool {
    matches!(result, Err(Error::TooLarge { .. }))
}

#[test]
fn a_bundle_is_read_up_to_64_mib() {
    let signed = sign_statement(&release_statement(), &key(Role::Release)).unwrap();
    let verify = |bytes: &[u8]| verify_bundle(bytes, key(Role::Release).public(), PredicateType::CosignSign, &image());
    let mut padded = signed.json().to_vec();
    padded.resize(64 << 20, b' ');
    assert!(verify(&padded).is_ok());
    padded.push(b' ');
    assert!(too_large(verify(&padded)));
}

#[test]
fn a_statement_is_written_and_read_up_to_48_mib() {
    let mut padded = release_statement().to_json().unwrap();
    padded.resize(48 << 20, b' ');
    assert!(Statement::from_json(&padded).is_ok());
    padded.push(b' ');
    assert!(too_large(Statement::from_json(&padded)));
    let huge = serde_json::json!({ "spdxVersion": "SPDX-2.3", "comment": "x".repeat(48 << 20) });
    assert!(too_large(Statement::about("", image(), Predicate::Spdx(huge)).to_json()));
}

#[test]
fn a_subject_has_at_most_32_digests() {
    let with = |count: usize| {
        let mut value: serde_json::Value = serde_json::from_slice(&release_statement().to_json().unwrap()).unwrap();
        for n in 1..count {
            value["subject"][0]["digest"][format!("other{n}")] = "00".into();
        }
        Statement::from_json(&serde_json::to_vec(&value).unwrap())
    };
    assert!(with(32).is_ok());
    assert!(too_large(with(33)));
}

#[test]
fn provenance_lists_at_most_100_000_resources() {
    let with = |count: usize| {
        let mut provenance = provenance();
        provenance.build_definition.resolved_dependencies = vec![ResourceDescriptor::blob("", &image()); count];
        Statement::about("", image(), Predicate::Provenance(Box::new(provenance))).to_json()
    };
    assert!(with(100_000).is_ok());
    assert!(too_large(with(100_001)));
}

#[test]
fn an_approval_names_at_most_256_bundles_of_a_kind() {
    let with = |count: usize| {
        let mut approval = approval();
        approval.candidate.sboms = (0..count).map(|n| blob(&n.to_string())).collect();
        Statement::approval(approval).to_json()
    };
    assert!(with(256).is_ok());
    assert!(too_large(with(257)));
}

#[test]
fn an_inventory_lists_at_most_10_000_packages() {
    let with = |count: usize| {
        let mut input = sbom_input();
        let mut package = input.packages[1].clone();
        package.files.clear();
        input.packages = (0..count)
            .map(|n| SbomPackage { name: PackageName::new(format!("p{n}")).unwrap(), ..package.clone() })
            .collect();
        sbom(&input)
    };
    assert!(with(10_000).is_ok());
    assert!(too_large(with(10_001)));
}

#[test]
fn an_inventory_lists_at_most_a_million_files() {
    let mut input = sbom_input();
    input.files = vec![input.files[0].clone(); 1_000_001];
    assert!(too_large(sbom(&input)));
}

#[test]
fn a_legacy_signature_is_read_up_to_its_limits() {
    let release = key(Role::Release);
    assert!(sign_simple(&"a".repeat(512), &image(), &release).is_ok());
    assert!(sign_simple(&"a".repeat(513), &image(), &release).is_err());
    let verify = |signature: &str| verify_simple(b"{}", signature, release.public(), &image(), None);
    assert!(matches!(verify(&"A".repeat(1024)), Err(Error::Signature { .. })));
    assert!(too_large(verify(&"A".repeat(1025))));
}
