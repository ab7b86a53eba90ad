//! What a log key signs: where the journal ends, that it was backed up, that it was restored.
//!
//! A note is canonical JSON in a DSSE envelope of a payload type of its own, so that none can be taken for a statement
//! about an image, nor one kind of note for another (each names its kind).

use crate::{
    Error, KeyId, Keyring, Result, Role, SecretKey,
    json::{self, BUNDLE_BYTES_MAX},
};
use anneal_content::{BlobDigest, JournalHead, canonical_json};
use serde::{Deserialize, Serialize};
use sigstore_types::{DsseEnvelope, DsseSignature, PayloadBytes, SignatureBytes, pae};
use std::collections::BTreeMap;

/// The payload type of an envelope that holds a note.
pub const NOTE_MEDIA_TYPE: &str = "application/vnd.anneal.log-note+json";
/// The most bytes of a note.
const NOTE_BYTES_MAX: usize = 64 << 10;
const WHAT: &str = "log note";

/// Where a journal ended at some time: what a client keeps, to hold later answers against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The end.
    pub head: JournalHead,
    /// When that was, milliseconds since 1970.
    pub at_ms: u64,
}

/// That a journal was put back to what a backup had, and lost what came after: lawful, since the log key says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreRecord {
    /// The generation of the backup.
    pub backup: u64,
    /// When that backup was made, milliseconds since 1970.
    pub backed_up_ms: u64,
    /// Where the journal ended in it; this record is the next event.
    pub head: JournalHead,
    /// When it was restored, milliseconds since 1970.
    pub at_ms: u64,
    /// Who did it, in their own words.
    pub by: String,
}

/// That a backup is the daemon's own, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupSeal {
    /// Its generation.
    pub backup: u64,
    /// The digest of its manifest, which names everything else by digest.
    pub manifest: BlobDigest,
    /// Where the journal ends in it.
    pub head: JournalHead,
    /// When it was made, milliseconds since 1970.
    pub at_ms: u64,
    /// The daemon's keys, by role.
    pub keys: BTreeMap<Role, KeyId>,
}

/// Something that a log key says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "note")]
pub enum Note {
    /// Where the journal ends.
    Checkpoint(Checkpoint),
    /// That it was restored.
    Restore(RestoreRecord),
    /// That it was backed up.
    Backup(BackupSeal),
}

/// Signs a note; gives the envelope's canonical JSON. Only a log key may.
pub fn sign_note(note: &Note, key: &SecretKey) -> Result<Vec<u8>> {
    if key.role() != Role::Log {
        let reason = format!("a {} key may not sign it: only a log key may", key.role());
        return Err(Error::field(WHAT, "signature", reason));
    }
    let payload = canonical_json(note)?;
    check_size(payload.len())?;
    let signature = SignatureBytes::new(key.sign(&pae(NOTE_MEDIA_TYPE, &payload)));
    let signature = DsseSignature::new(signature, sigstore_types::KeyId::default());
    Ok(canonical_json(&DsseEnvelope::new(NOTE_MEDIA_TYPE, PayloadBytes::new(payload), signature))?)
}

/// The note in an envelope that one of these log keys signed, and which of them. The payload is parsed only then.
pub fn verify_note(bytes: &[u8], keys: &Keyring) -> Result<(Note, KeyId)> {
    check_size(bytes.len())?;
    let value = json::parse(WHAT, bytes, BUNDLE_BYTES_MAX)?;
    json::only_fields(WHAT, &value, &["payload", "payloadType", "signatures"])?;
    let envelope: DsseEnvelope = json::typed(WHAT, value)?;
    if envelope.payload_type != NOTE_MEDIA_TYPE {
        let found = json::shown(&envelope.payload_type);
        return Err(Error::Unexpected { what: WHAT, field: "payloadType", expected: NOTE_MEDIA_TYPE.into(), found });
    }
    let (payload, signature) = (envelope.payload.as_bytes(), envelope.signature.sig.as_bytes());
    let mut refused = Error::Key { kind: "public", reason: "no log key is trusted, so no note can be verified".into() };
    for key in keys.keys(Role::Log) {
        if key.verifies(&pae(NOTE_MEDIA_TYPE, payload), signature) {
            let note = json::typed(WHAT, json::parse(WHAT, payload, NOTE_BYTES_MAX)?)?;
            return Ok((note, key.id()));
        }
        refused = Error::Signature { key: key.id(), hint: None };
    }
    Err(refused)
}

fn check_size(found: usize) -> Result<()> {
    if found > NOTE_BYTES_MAX {
        return Err(Error::TooLarge { what: WHAT, limit: NOTE_BYTES_MAX, unit: "bytes", found });
    }
    Ok(())
}

/// A note of another kind than was asked for.
fn another(expected: &str, found: &Note) -> Error {
    let found = match found {
        Note::Checkpoint(_) => "checkpoint",
        Note::Restore(_) => "restore",
        Note::Backup(_) => "backup",
    };
    Error::Unexpected { what: WHAT, field: "note", expected: expected.to_owned(), found: found.to_owned() }
}

impl Checkpoint {
    /// Verifies a signed checkpoint.
    pub fn verify(bytes: &[u8], keys: &Keyring) -> Result<Self> {
        match verify_note(bytes, keys)?.0 {
            Note::Checkpoint(checkpoint) => Ok(checkpoint),
            note => Err(another("checkpoint", &note)),
        }
    }
}

impl RestoreRecord {
    /// Verifies a signed restore record.
    pub fn verify(bytes: &[u8], keys: &Keyring) -> Result<Self> {
        match verify_note(bytes, keys)?.0 {
            Note::Restore(record) => Ok(record),
            note => Err(another("restore", &note)),
        }
    }
}

impl BackupSeal {
    /// Verifies a backup's seal.
    pub fn verify(bytes: &[u8], keys: &Keyring) -> Result<Self> {
        match verify_note(bytes, keys)?.0 {
            Note::Backup(seal) => Ok(seal),
            note => Err(another("backup", &note)),
        }
    }
}
