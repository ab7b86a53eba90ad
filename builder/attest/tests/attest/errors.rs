//! The text of each mistake, as a person reads it.

use crate::world::*;
use anneal_attest::*;

#[test]
fn each_mistake_says_what_was_expected_what_was_found_and_what_to_do() {
    let release = sign_statement(&release_statement(), &key(Role::Release)).unwrap();
    let verify = |bytes: &[u8], role, kind, subject: &str| {
        verify_bundle(bytes, key(role).public(), kind, &blob(subject)).unwrap_err()
    };
    let mut input = sbom_input();
    input.packages[0].license = "zlib-ish".to_owned();
    let kind = PredicateType::CosignSign;
    let mistakes = [
        sign_statement(&test_statement(), &key(Role::Release)).unwrap_err(),
        verify(release.json(), Role::Test, kind, "the image manifest"),
        verify(release.json(), Role::Release, kind, "another image"),
        verify(release.json(), Role::Release, PredicateType::Provenance, "the image manifest"),
        verify(b"{", Role::Release, kind, "the image manifest"),
        verify(b"{}", Role::Release, kind, "the image manifest"),
        Keyring::new().verify(release.json(), kind, &image()).unwrap_err(),
        SecretKey::from_pem(Role::Build, "-----BEGIN EC PRIVATE KEY-----").unwrap_err(),
        SecretKey::from_pem(Role::Build, "-----BEGIN ENCRYPTED PRIVATE KEY-----").unwrap_err(),
        SecretKey::from_pem(Role::Build, "hello").unwrap_err(),
        SecretKey::from_pem(Role::Build, &"x".repeat(8193)).unwrap_err(),
        SecretKey::from_pem(Role::Build, &key(Role::Build).public().to_pem().unwrap()).unwrap_err(),
        SecretKey::from_pem(Role::Build, "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n").unwrap_err(),
        PublicKey::from_pem("hello").unwrap_err(),
        PublicKey::from_pem(&key(Role::Build).to_pem().unwrap()).unwrap_err(),
        "writer".parse::<Role>().unwrap_err(),
        "yesterday".parse::<Timestamp>().unwrap_err(),
        sign_simple("nginx:latest", &image(), &key(Role::Release)).unwrap_err(),
        sbom(&input).unwrap_err(),
    ];
    let text: String = mistakes.iter().map(|mistake| format!("{mistake}\n")).collect();
    check_golden("errors.txt", &text);
}
