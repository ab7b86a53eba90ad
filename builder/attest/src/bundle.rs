//! The signed form of a statement: a DSSE envelope in a Sigstore bundle v0.3.
//!
//! ```text
//! { mediaType, verificationMaterial: { publicKey: { hint: base64(sha256(SPKI)) } },
//!   dsseEnvelope: { payload: base64, payloadType, signatures: [{ sig: base64(ASN.1) }] } }
//! ```
//! The signature is over DSSE's `DSSEv1 <len> <type> <len> <body>`. The envelope carries no `keyid`: go's DSSE
//! verifier, which cosign uses, skips a signature whose `keyid` is not an SSH fingerprint of the key.

use crate::{Error, KeyId, Predicate, PredicateType, Result, SecretKey, Statement, json};
use anneal_content::canonical_json;
use sigstore_types::{
    DsseEnvelope, DsseSignature, MediaType, PayloadBytes, PublicKeyIdentifier, SignatureBytes, SignatureContent,
    VerificationMaterial, VerificationMaterialContent, pae,
};

/// The media type of a bundle, and the artifact type of the referrer that carries it.
pub const BUNDLE_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The payload type of an envelope that holds a statement.
pub const STATEMENT_MEDIA_TYPE: &str = "application/vnd.in-toto+json";
/// The referrer's annotation that says what kind of bundle it carries: [`CONTENT_DSSE`].
pub const ANNOTATION_CONTENT: &str = "dev.sigstore.bundle.content";
/// The value of [`ANNOTATION_CONTENT`].
pub const CONTENT_DSSE: &str = "dsse-envelope";
/// The referrer's annotation that names the predicate type.
pub const ANNOTATION_PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";

const WHAT: &str = "bundle";

/// A signed statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    predicate_type: PredicateType,
    signer: KeyId,
    json: Vec<u8>,
}

impl Bundle {
    /// The bundle's canonical bytes: the one layer of its referrer.
    pub fn json(&self) -> &[u8] {
        &self.json
    }
    /// What is said.
    pub fn predicate_type(&self) -> PredicateType {
        self.predicate_type
    }
    /// By which key.
    pub fn signer(&self) -> KeyId {
        self.signer
    }
}

/// Signs a statement, if it is the key's to make.
pub fn sign_statement(statement: &Statement, key: &SecretKey) -> Result<Bundle> {
    let predicate_type = statement.predicate.predicate_type();
    if !key.role().may_sign(predicate_type) {
        return Err(Error::NotThisRole { role: key.role(), predicate: predicate_type });
    }
    let signer = key.public().id();
    check_approver(statement, &signer)?;
    let payload = statement.to_json()?;
    let signature = key.sign(&pae(STATEMENT_MEDIA_TYPE, &payload));
    let envelope = DsseEnvelope::new(
        STATEMENT_MEDIA_TYPE,
        PayloadBytes::new(payload),
        DsseSignature::new(SignatureBytes::new(signature), sigstore_types::KeyId::default()),
    );
    let material = VerificationMaterialContent::PublicKey(PublicKeyIdentifier::new(signer.hint()));
    let bundle = sigstore_types::Bundle::new(
        MediaType::Bundle0_3,
        VerificationMaterial::new(material),
        SignatureContent::DsseEnvelope(envelope),
    );
    Ok(Bundle { predicate_type, signer, json: canonical_json(&bundle)? })
}

/// An approval names the key that signs it.
pub(crate) fn check_approver(statement: &Statement, signer: &KeyId) -> Result<()> {
    match &statement.predicate {
        Predicate::Approval(approval) if approval.approver != *signer => Err(Error::Unexpected {
            what: "approval",
            field: "approver",
            expected: signer.to_string(),
            found: approval.approver.to_string(),
        }),
        _ => Ok(()),
    }
}

/// A bundle that has the right shape; nothing about it is verified yet.
pub(crate) struct Unverified {
    pub(crate) hint: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl Unverified {
    /// The bytes that the signature is over.
    pub(crate) fn signed_bytes(&self) -> Vec<u8> {
        pae(STATEMENT_MEDIA_TYPE, &self.payload)
    }
}

/// Reads a bundle: exactly the fields of version 0.3 with a key and an envelope, nothing beside them.
///
/// Entries of transparency logs and timestamps are allowed and not looked at: trust here comes from the key.
pub(crate) fn read(bytes: &[u8]) -> Result<Unverified> {
    let value = json::parse(WHAT, bytes, json::BUNDLE_BYTES_MAX)?;
    json::only_fields(WHAT, &value, &["mediaType", "verificationMaterial", "dsseEnvelope"])?;
    let field = |name: &str| value.get(name).unwrap_or(&serde_json::Value::Null);
    let material_fields = ["publicKey", "tlogEntries", "timestampVerificationData"];
    json::only_fields("verification material", field("verificationMaterial"), &material_fields)?;
    json::only_fields("envelope", field("dsseEnvelope"), &["payload", "payloadType", "signatures"])?;
    if field("mediaType").as_str() != Some(BUNDLE_MEDIA_TYPE) {
        return Err(unexpected("mediaType", BUNDLE_MEDIA_TYPE, field("mediaType").as_str().unwrap_or("nothing")));
    }
    let bundle: sigstore_types::Bundle = json::typed(WHAT, value)?;
    let VerificationMaterialContent::PublicKey(identifier) = bundle.verification_material.content else {
        return Err(unexpected("verificationMaterial", "a public key", "something else"));
    };
    let SignatureContent::DsseEnvelope(envelope) = bundle.content else {
        return Err(unexpected("dsseEnvelope", "an envelope", "a message signature"));
    };
    if envelope.payload_type != STATEMENT_MEDIA_TYPE {
        return Err(unexpected("payloadType", STATEMENT_MEDIA_TYPE, &envelope.payload_type));
    }
    Ok(Unverified {
        hint: identifier.hint,
        payload: envelope.payload.into_bytes(),
        signature: envelope.signature.sig.into_bytes(),
    })
}

fn unexpected(field: &'static str, expected: &str, found: &str) -> Error {
    Error::Unexpected { what: WHAT, field, expected: expected.to_owned(), found: json::shown(found) }
}
