//! Which key may say what.

use crate::world::*;
use anneal_attest::*;

#[test]
fn a_key_signs_what_its_role_may_say_and_nothing_else() {
    let mut table = String::new();
    for role in Role::ALL {
        for (statement, _) in every_statement() {
            let kind = statement.predicate.predicate_type();
            let statement = match statement.predicate {
                Predicate::Approval(mut approval) => {
                    approval.approver = key(role).public().id();
                    Statement::approval(*approval)
                }
                _ => statement,
            };
            let signed = sign_statement(&statement, &key(role));
            let refused = matches!(&signed, Err(Error::NotThisRole { .. }));
            assert_eq!(signed.is_ok(), !refused, "{role} {kind}: {signed:?}");
            table += &format!("{role:8} {:7} {kind}\n", if refused { "refuses" } else { "signs" });
        }
    }
    check_golden("roles.txt", &table);
}

#[test]
fn only_a_release_key_makes_a_legacy_signature() {
    for role in Role::ALL {
        assert_eq!(sign_simple("nginx", &image(), &key(role)).is_ok(), role == Role::Release, "{role}");
    }
}

#[test]
fn a_keyring_believes_a_key_only_in_its_role() {
    let bundle = sign_statement(&release_statement(), &key(Role::Release)).unwrap();
    let mut ring = Keyring::new();
    ring.trust(Role::Test, key(Role::Release).public().clone()).unwrap();
    let refused = ring.verify(bundle.json(), PredicateType::CosignSign, &image());
    assert!(matches!(refused, Err(Error::NoKey { .. })), "{refused:?}");
    let mut ring = Keyring::new();
    ring.trust(Role::Release, another_key(Role::Release).public().clone()).unwrap();
    let refused = ring.verify(bundle.json(), PredicateType::CosignSign, &image());
    assert!(matches!(refused, Err(Error::Signature { .. })), "{refused:?}");
    ring.trust(Role::Release, key(Role::Release).public().clone()).unwrap();
    let (statement, signer) = ring.verify(bundle.json(), PredicateType::CosignSign, &image()).unwrap();
    assert_eq!((statement, signer), (release_statement(), key(Role::Release).public().id()));
}

#[test]
fn one_key_cannot_be_trusted_in_two_roles() {
    let mut ring = Keyring::new();
    ring.trust(Role::Build, key(Role::Build).public().clone()).unwrap();
    ring.trust(Role::Build, key(Role::Build).public().clone()).unwrap();
    assert!(ring.trust(Role::Release, key(Role::Build).public().clone()).is_err());
}

#[test]
fn a_decision_is_signed_only_by_the_approver_it_names() {
    let mut forged = approval();
    forged.approver = another_key(Role::Approver).public().id();
    assert!(sign_statement(&Statement::approval(forged), &key(Role::Approver)).is_err());
}

#[test]
fn a_key_survives_its_file_and_never_shows_itself() {
    let made = key(Role::Build);
    let pem = made.to_pem().unwrap();
    let loaded = SecretKey::from_pem(Role::Build, &pem).unwrap();
    assert_eq!(loaded.public(), made.public());
    assert_eq!(PublicKey::from_pem(&made.public().to_pem().unwrap()).unwrap(), *made.public());
    assert_eq!(PublicKey::from_der(made.public().der()).unwrap(), *made.public());
    assert_eq!(format!("{loaded:?}"), format!("SecretKey(build, {})", made.public().id()));
    assert_ne!(made.public(), another_key(Role::Build).public());
}
