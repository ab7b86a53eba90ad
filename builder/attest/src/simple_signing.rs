//! The image signature that cosign up to 2.x, podman's policy and others read: simple signing.
//!
//! The payload is one layer of an image tagged `sha256-<hex>.sig` in the same repository; the signature over
//! the payload's bytes is an annotation of the layer.
//! ```json
//! {"critical":{"identity":{"docker-reference":"<repo>"},"image":{"docker-manifest-digest":"sha256:…"},
//!  "type":"cosign container image signature"},"optional":null}
//! ```

use crate::{Error, KeyId, PredicateType, PublicKey, Result, SecretKey, json};
use anneal_content::{BlobDigest, Tag};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The media type of the layer that holds the payload.
pub const SIMPLE_SIGNING_MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The layer's annotation that holds the signature.
pub const SIMPLE_SIGNING_ANNOTATION: &str = "dev.cosignproject.cosign/signature";

const WHAT: &str = "simple-signing payload";
const TYPE: &str = "cosign container image signature";
/// The most characters of a repository's name, with its host.
const REFERENCE_CHARS_MAX: usize = 512;
/// The most characters of a signature's base64.
const SIGNATURE_CHARS_MAX: usize = 1024;

/// A payload and its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimpleSignature {
    /// The layer's bytes.
    pub payload: Vec<u8>,
    /// The value of [`SIMPLE_SIGNING_ANNOTATION`].
    pub signature: String,
    /// The key that signed.
    pub signer: KeyId,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    critical: Critical,
    #[serde(default)]
    optional: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    #[serde(rename = "docker-reference")]
    docker_reference: String,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    docker_manifest_digest: BlobDigest,
}

/// The tag under which clients look for the signatures of a digest.
pub fn signature_tag(digest: &BlobDigest) -> Result<Tag> {
    Ok(Tag::new(format!("{}-{}.sig", BlobDigest::ALGORITHM, digest.hex()))?)
}

/// Signs a digest under the name by which it is pulled, such as `registry.example:5000/nginx`. Only a release key may.
pub fn sign_simple(reference: &str, digest: &BlobDigest, key: &SecretKey) -> Result<SimpleSignature> {
    if !key.role().may_sign(PredicateType::CosignSign) {
        return Err(Error::NotThisRole { role: key.role(), predicate: PredicateType::CosignSign });
    }
    check_reference(reference)?;
    let payload = Payload {
        critical: Critical {
            identity: Identity { docker_reference: reference.to_owned() },
            image: Image { docker_manifest_digest: *digest },
            kind: TYPE.to_owned(),
        },
        optional: None,
    };
    let payload = serde_json::to_vec(&payload).map_err(|e| Error::Json { what: WHAT, reason: e.to_string() })?;
    let signature = STANDARD.encode(key.sign(&payload));
    Ok(SimpleSignature { payload, signature, signer: key.public().id() })
}

/// Verifies that `key` signed this digest and, if one is given, this name.
pub fn verify_simple(
    payload: &[u8],
    signature: &str,
    key: &PublicKey,
    digest: &BlobDigest,
    reference: Option<&str>,
) -> Result<()> {
    if signature.len() > SIGNATURE_CHARS_MAX {
        let found = signature.len();
        return Err(Error::TooLarge { what: "signature", limit: SIGNATURE_CHARS_MAX, unit: "characters", found });
    }
    let wrong = |_| Error::field("simple-signing layer", SIMPLE_SIGNING_ANNOTATION, "is not base64");
    let signature = STANDARD.decode(signature).map_err(wrong)?;
    if !key.verifies(payload, &signature) {
        return Err(Error::Signature { key: key.id(), hint: None });
    }
    let Payload { critical, .. } = json::typed(WHAT, json::parse(WHAT, payload, json::PAYLOAD_BYTES_MAX)?)?;
    expect("type", TYPE, &critical.kind)?;
    if critical.image.docker_manifest_digest != *digest {
        return Err(Error::Subject { expected: *digest, found: vec![critical.image.docker_manifest_digest] });
    }
    match reference {
        Some(reference) => expect("docker-reference", reference, &critical.identity.docker_reference),
        None => Ok(()),
    }
}

fn expect(field: &'static str, expected: &str, found: &str) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Unexpected { what: WHAT, field, expected: expected.to_owned(), found: json::shown(found) })
}

/// Host, port and name only: no tag, no digest, and no character that two JSON writers would escape differently.
fn check_reference(reference: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:[]".contains(c);
    let (_, name) = reference.rsplit_once('/').unwrap_or(("", reference));
    let valid = (1..=REFERENCE_CHARS_MAX).contains(&reference.len())
        && reference.chars().all(allowed)
        && !name.is_empty()
        && !name.contains(':');
    if valid {
        return Ok(());
    }
    let reason = format!("`{}` is not a repository like registry.example:5000/nginx", json::shown(reference));
    Err(Error::field(WHAT, "docker-reference", reason))
}
