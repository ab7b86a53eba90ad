//! A newtype per kind of digest, so that a tree can't be passed where a blob is meant.
//!
//! Text form: `sha256:` and 64 hex digits; a [`DerivationId`] and a [`JournalChain`] are `blake3:` and
//! 64 hex digits.

use crate::{Error, error::shown};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident, $algorithm:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The name of the algorithm, as in the text form.
            pub const ALGORITHM: &'static str = $algorithm;
            /// Wraps 32 bytes that are already a digest.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self { Self(bytes) }
            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] { &self.0 }
            /// The 64 hex digits without the algorithm.
            pub fn hex(&self) -> String { hex::encode(self.0) }
            /// The first twelve hex digits, for people.
            pub fn short(&self) -> String { self.hex().chars().take(12).collect() }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($algorithm, ":{}"), self.hex())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }
        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                let wrong = || Error::Digest { algorithm: $algorithm, hex_len: 64, found: shown(text) };
                let digits = text.strip_prefix(concat!($algorithm, ":")).ok_or_else(wrong)?;
                if digits.len() != 64 || digits.bytes().any(|b| b.is_ascii_uppercase()) { return Err(wrong()); }
                let mut bytes = [0; 32];
                hex::decode_to_slice(digits, &mut bytes).map_err(|_| wrong())?;
                Ok(Self(bytes))
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

digest_type!(
    /// Names a blob: the SHA-256 of its bytes. Also what OCI calls a digest.
    BlobDigest, "sha256");
digest_type!(
    /// Names a tree: the SHA-256 of its encoded root [`crate::Directory`].
    TreeDigest, "sha256");
digest_type!(
    /// Names an action: the cache key of a build.
    ActionDigest, "sha256");
digest_type!(
    /// Names an interface: what a dependent can see of a package at build time.
    InterfaceDigest, "sha256");
digest_type!(
    /// Names a catalog revision.
    CatalogDigest, "sha256");
digest_type!(
    /// Names a derivation: a build task before anything is built.
    DerivationId, "blake3");
digest_type!(
    /// Names a journal up to an event: see [`crate::JournalHead`].
    JournalChain, "blake3");

impl BlobDigest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl TreeDigest {
    /// The blob that holds the root directory: the same 32 bytes.
    pub const fn as_blob(&self) -> BlobDigest {
        BlobDigest(self.0)
    }
}

impl ActionDigest {
    /// The digest of an action's canonical JSON.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl InterfaceDigest {
    /// The digest of an interface's canonical JSON.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl CatalogDigest {
    /// The digest of a catalog's canonical JSON.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl DerivationId {
    /// The id of a derivation's canonical JSON.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// Hashes a stream into a [`BlobDigest`].
#[derive(Debug, Clone, Default)]
pub struct BlobHasher(Sha256, u64);

impl BlobHasher {
    /// An empty stream.
    pub fn new() -> Self {
        Self::default()
    }
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
        self.1 += bytes.len() as u64;
    }
    /// The digest and the number of bytes.
    pub fn finish(self) -> (BlobDigest, u64) {
        (BlobDigest(self.0.finalize().into()), self.1)
    }
}

impl std::io::Write for BlobHasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
