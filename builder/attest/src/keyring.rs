//! The public keys that a verifier trusts, by role; more than one per role while a key is being rotated.

use crate::{
    Error, KeyId, PredicateType, PublicKey, Result, Role, Statement, bundle,
    verify::{expect_statement, verify_signature},
};
use anneal_content::BlobDigest;
use std::collections::BTreeMap;

/// Trusted keys by role.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: BTreeMap<Role, BTreeMap<KeyId, PublicKey>>,
}

impl Keyring {
    /// No key: verifies nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts a key to say what its role may say, and nothing else. One key cannot have two roles.
    pub fn trust(&mut self, role: Role, key: PublicKey) -> Result<()> {
        let id = key.id();
        let other = self.keys.iter().find(|(other, keys)| **other != role && keys.contains_key(&id));
        if let Some((other, _)) = other {
            let reason = format!("key {id} is trusted as the {other} key already; one key has one role");
            return Err(Error::Key { kind: "public", reason });
        }
        self.keys.entry(role).or_default().insert(id, key);
        Ok(())
    }

    /// The keys of a role.
    pub fn keys(&self, role: Role) -> impl Iterator<Item = &PublicKey> {
        self.keys.get(&role).into_iter().flat_map(BTreeMap::values)
    }

    /// Verifies a bundle with the keys of the one role that may say `predicate`, and says which of them signed.
    pub fn verify(&self, bytes: &[u8], predicate: PredicateType, subject: &BlobDigest) -> Result<(Statement, KeyId)> {
        let bundle = bundle::read(bytes)?;
        let mut refused = Error::NoKey { predicate };
        for key in self.keys(predicate.role()) {
            match verify_signature(&bundle, key) {
                Ok(statement) => {
                    let statement = expect_statement(statement, &key.id(), predicate, subject)?;
                    return Ok((statement, key.id()));
                }
                Err(error @ Error::Signature { .. }) => refused = error,
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }
}
