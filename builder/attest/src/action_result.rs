//! What a build gave, signed: a record of the action cache is believed only with a build key's signature.
//!
//! The signature is over DSSE's `DSSEv1 <len> <type> <len> <body>` with a payload type of its own, so that it can never be
//! taken for a statement about an image, nor a statement for it.

use crate::{Error, Keyring, Result, Role, SecretKey};
use anneal_content::{ActionDigest, ActionResult, SignedResult};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sigstore_types::pae;

/// The payload type of a signed result.
const RESULT_MEDIA_TYPE: &str = "application/vnd.anneal.action-result.v1+json";

/// Signs what an action gave. Only a build key may.
pub fn sign_result(action: &ActionDigest, result: &ActionResult, key: &SecretKey) -> Result<SignedResult> {
    if key.role() != Role::Build {
        let reason = format!("the {} key may not sign the result of a build; the build key does", key.role());
        return Err(Error::Key { kind: "secret", reason });
    }
    let payload = SignedResult::payload_of(action, result)?;
    let signature = STANDARD.encode(key.sign(&pae(RESULT_MEDIA_TYPE, payload.as_bytes())));
    Ok(SignedResult { payload, key_id: key.public().id().hex(), signature })
}

impl Keyring {
    /// Whether one of the build keys signed exactly this. What it says is read only then.
    pub fn believes(&self, signed: &SignedResult) -> bool {
        let Ok(signature) = STANDARD.decode(&signed.signature) else { return false };
        let message = pae(RESULT_MEDIA_TYPE, signed.payload.as_bytes());
        self.keys(Role::Build).any(|key| key.verifies(&message, &signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_content::{BlobDigest, canonical_json};
    use std::collections::BTreeMap;

    fn key(role: Role, seed: u8) -> SecretKey {
        struct Counting(u8);
        impl p256::elliptic_curve::rand_core::TryRng for Counting {
            type Error = std::convert::Infallible;
            fn try_next_u32(&mut self) -> std::result::Result<u32, Self::Error> {
                Ok(u32::from(self.0))
            }
            fn try_next_u64(&mut self) -> std::result::Result<u64, Self::Error> {
                Ok(u64::from(self.0))
            }
            fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> std::result::Result<(), Self::Error> {
                bytes.fill(self.0);
                Ok(())
            }
        }
        impl p256::elliptic_curve::rand_core::TryCryptoRng for Counting {}
        SecretKey::generate(role, &mut Counting(seed)).unwrap()
    }

    fn result() -> ActionResult {
        ActionResult {
            outputs: BTreeMap::new(),
            log: BlobDigest::of(b"log"),
            worker: "a test".to_owned(),
            started_ms: 1,
            payload_ms: 2,
            limits_not_enforced: Vec::new(),
            variation: Vec::new(),
            built_with: BTreeMap::new(),
        }
    }

    fn trusting(role: Role, key: &SecretKey) -> Keyring {
        let mut ring = Keyring::new();
        ring.trust(role, key.public().clone()).unwrap();
        ring
    }

    #[test]
    fn a_result_is_believed_with_the_build_key_and_with_no_other() {
        let (build, other) = (key(Role::Build, 1), key(Role::Build, 2));
        let action = ActionDigest::of(b"a");
        let signed = sign_result(&action, &result(), &build).unwrap();
        assert_eq!(signed.read().unwrap(), (action, result()));
        assert!(trusting(Role::Build, &build).believes(&signed));
        assert!(!trusting(Role::Build, &other).believes(&signed));
        assert!(!trusting(Role::Test, &build).believes(&signed), "the role decides, not the key alone");
        assert!(!Keyring::new().believes(&signed), "no key believes nothing");
    }

    #[test]
    fn one_changed_byte_of_payload_or_signature_is_not_believed() {
        let build = key(Role::Build, 1);
        let ring = trusting(Role::Build, &build);
        let signed = sign_result(&ActionDigest::of(b"a"), &result(), &build).unwrap();
        let payload = signed.payload.replace("a test", "another");
        assert!(!ring.believes(&SignedResult { payload, ..signed.clone() }));
        let mut raw = STANDARD.decode(&signed.signature).unwrap();
        *raw.last_mut().unwrap() ^= 1;
        assert!(!ring.believes(&SignedResult { signature: STANDARD.encode(raw), ..signed.clone() }));
        assert!(!ring.believes(&SignedResult { signature: "no base64!".into(), ..signed.clone() }));
        assert!(!ring.believes(&SignedResult { signature: String::new(), ..signed }));
    }

    #[test]
    fn the_signature_of_a_statement_with_the_same_bytes_is_none_of_a_result() {
        let build = key(Role::Build, 1);
        let payload = SignedResult::payload_of(&ActionDigest::of(b"a"), &result()).unwrap();
        let signature = STANDARD.encode(build.sign(&pae(crate::STATEMENT_MEDIA_TYPE, payload.as_bytes())));
        let bare = STANDARD.encode(build.sign(payload.as_bytes()));
        let ring = trusting(Role::Build, &build);
        for signature in [signature, bare] {
            let signed = SignedResult { payload: payload.clone(), key_id: build.public().id().hex(), signature };
            assert!(!ring.believes(&signed));
        }
    }

    #[test]
    fn only_the_build_key_signs_results() {
        for role in [Role::Test, Role::Release, Role::Log, Role::Approver] {
            let error = sign_result(&ActionDigest::of(b"a"), &result(), &key(role, 1)).unwrap_err();
            assert!(error.to_string().contains("may not sign the result of a build"), "{error}");
        }
    }

    #[test]
    fn what_is_signed_is_canonical_json() {
        let signed = sign_result(&ActionDigest::of(b"a"), &result(), &key(Role::Build, 1)).unwrap();
        let value: serde_json::Value = serde_json::from_str(&signed.payload).unwrap();
        assert_eq!(canonical_json(&value).unwrap(), signed.payload.as_bytes());
    }
}
