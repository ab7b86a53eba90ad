//! Keys: ECDSA on P-256 with SHA-256, the one algorithm that every client of these formats supports.
//!
//! A secret key is PKCS#8 PEM (`openssl genpkey` writes the same), a public key is SPKI PEM. A key's id is the
//! SHA-256 of its SPKI DER in hex. Nonces follow RFC 6979, so signing needs no randomness.

use crate::{Error, Result, Role, json::shown};
use anneal_content::BlobDigest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::{
    ecdsa::{
        DerSignature, SigningKey, VerifyingKey,
        signature::{Signer as _, Verifier as _},
    },
    elliptic_curve::{Generate as _, rand_core::TryCryptoRng, zeroize::Zeroizing},
    pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding},
};
use std::{fmt, str::FromStr};

/// The most bytes of a key file.
const KEY_BYTES_MAX: usize = 8 << 10;

/// The id of a key: the SHA-256 of its SPKI DER, written as 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(BlobDigest);

impl KeyId {
    /// The 64 hex digits.
    pub fn hex(&self) -> String {
        self.0.hex()
    }
    /// The first twelve hex digits, for people.
    pub fn short(&self) -> String {
        self.0.short()
    }
    /// The hint that a Sigstore bundle carries for this key: the same 32 bytes in base64.
    pub fn hint(&self) -> String {
        STANDARD.encode(self.0.as_bytes())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.hex())
    }
}

impl FromStr for KeyId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        format!("sha256:{text}")
            .parse()
            .map(Self)
            .map_err(|_| Error::field("key", "id", format!("`{}` is not 64 lower-case hex digits", shown(text))))
    }
}

impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for KeyId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A public key, from outside the thing that it verifies.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    der: Vec<u8>,
}

impl PublicKey {
    /// Loads SPKI PEM (`-----BEGIN PUBLIC KEY-----`).
    pub fn from_pem(pem: &str) -> Result<Self> {
        check_size("public", pem.len())?;
        let wrong = |reason: String| Error::Key { kind: "public", reason };
        if !pem.contains("BEGIN PUBLIC KEY") {
            return Err(wrong(format!("{}, as `anneal key export` writes it", expected_pem("PUBLIC KEY", pem))));
        }
        let key = VerifyingKey::from_public_key_pem(pem.trim())
            .map_err(|e| wrong(format!("it is not a P-256 key in SPKI form: {e}")))?;
        Self::from_key(key)
    }

    /// Loads SPKI DER.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        check_size("public", der.len())?;
        let key = VerifyingKey::from_public_key_der(der)
            .map_err(|e| Error::Key { kind: "public", reason: format!("{e}; expected the SPKI DER of a P-256 key") })?;
        Self::from_key(key)
    }

    fn from_key(key: VerifyingKey) -> Result<Self> {
        let encoded = key.to_public_key_der();
        let der = encoded.map_err(|e| Error::Key { kind: "public", reason: e.to_string() })?.into_vec();
        Ok(Self { key, der })
    }

    /// The key as SPKI PEM.
    pub fn to_pem(&self) -> Result<String> {
        self.key.to_public_key_pem(LineEnding::LF).map_err(|e| Error::Key { kind: "public", reason: e.to_string() })
    }

    /// The key as SPKI DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        KeyId(BlobDigest::of(&self.der))
    }

    /// Whether `signature` (ASN.1 DER) is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        DerSignature::from_bytes(signature).is_ok_and(|signature| self.key.verify(message, &signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

/// A secret key and the role it was made for. Wiped from memory when dropped; never printed.
pub struct SecretKey {
    role: Role,
    key: SigningKey,
    public: PublicKey,
}

impl SecretKey {
    /// Makes a key from a random source, such as the operating system's.
    pub fn generate<R: TryCryptoRng + ?Sized>(role: Role, random: &mut R) -> Result<Self> {
        let key =
            SigningKey::try_generate_from_rng(random).map_err(|e| Error::Random { role, reason: e.to_string() })?;
        Self::from_key(role, key)
    }

    /// Loads PKCS#8 PEM (`-----BEGIN PRIVATE KEY-----`).
    pub fn from_pem(role: Role, pem: &str) -> Result<Self> {
        check_size("secret", pem.len())?;
        let wrong = |reason: String| Error::Key { kind: "secret", reason };
        if pem.contains("BEGIN EC PRIVATE KEY") {
            let cure = "convert it with `openssl pkcs8 -topk8 -nocrypt`";
            return Err(wrong(format!("expected PKCS#8 (`BEGIN PRIVATE KEY`), found the SEC1 form; {cure}")));
        }
        if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") {
            return Err(wrong("it is encrypted; decrypt it with `openssl pkcs8`".to_owned()));
        }
        if !pem.contains("BEGIN PRIVATE KEY") {
            return Err(wrong(format!("{}, as `anneal key new` writes it", expected_pem("PRIVATE KEY", pem))));
        }
        let key = SigningKey::from_pkcs8_pem(pem.trim())
            .map_err(|e| wrong(format!("it is not a P-256 key in PKCS#8 form: {e}")))?;
        Self::from_key(role, key)
    }

    fn from_key(role: Role, key: SigningKey) -> Result<Self> {
        let public = PublicKey::from_key(*key.verifying_key())?;
        Ok(Self { role, key, public })
    }

    /// The key as PKCS#8 PEM, for a file that only its owner reads.
    pub fn to_pem(&self) -> Result<Zeroizing<String>> {
        self.key.to_pkcs8_pem(LineEnding::LF).map_err(|e| Error::Key { kind: "secret", reason: e.to_string() })
    }

    /// What the key is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs bytes: ASN.1 DER over their SHA-256. Crate-private, so every signature is over a checked payload.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.key.sign(message);
        signature.as_bytes().to_vec()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, {})", self.role, self.public.id())
    }
}

/// What was expected, and the label that was found; never a line of the key itself.
fn expected_pem(label: &str, pem: &str) -> String {
    let found = pem.lines().find_map(|line| line.strip_prefix("-----BEGIN "));
    let found =
        found.map_or_else(|| "no PEM".to_owned(), |rest| format!("`BEGIN {}`", shown(rest.trim_end_matches('-'))));
    format!("expected PEM with `BEGIN {label}`, found {found}")
}

fn check_size(kind: &'static str, found: usize) -> Result<()> {
    if found > KEY_BYTES_MAX {
        return Err(Error::Key { kind, reason: format!("at most {KEY_BYTES_MAX} bytes are read, found {found}") });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6979, appendix A.2.5: P-256 with SHA-256, message "sample".
    #[test]
    fn nonces_follow_rfc_6979() {
        let scalar = hex::decode("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721").unwrap();
        let key = SecretKey::from_key(Role::Build, SigningKey::from_slice(&scalar).unwrap()).unwrap();
        let signature = hex::encode(key.sign(b"sample"));
        let r = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716";
        let s = "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";
        assert_eq!(signature, format!("3046022100{r}022100{s}"));
    }
}
