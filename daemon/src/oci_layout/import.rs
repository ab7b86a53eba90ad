//! Taking a layout in: every digest is computed anew, and a statement is believed when a key from elsewhere verifies it.
//!
//! What is taken in is pinned, and neither served nor published: this site's own approvers decide that.

use super::{REF_NAME, carried::copy, untrusted::Layout};
use crate::{
    commands::log::when,
    error::{Error, Result},
    service::now_ms,
};
use anneal_attest::{
    ANNOTATION_PREDICATE_TYPE, BUNDLE_MEDIA_TYPE, Decision, Keyring, Predicate, PredicateType, PublicKey, Role,
};
use anneal_content::BlobDigest;
use anneal_ledger::State;
use anneal_oci::MediaType;
use anneal_store::{Node, RESERVE_BYTES, Store};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Keys that somebody names, by role; PEM.
pub(crate) type TrustedKeys = Vec<(Role, String)>;

/// What was taken in.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Imported {
    pub(crate) images: Vec<ImportedImage>,
    /// What keeps them here: the documents that the layout's index lists.
    pub(crate) pinned: BTreeSet<BlobDigest>,
    pub(crate) blobs: u64,
    pub(crate) new_blobs: u64,
    pub(crate) bytes: u64,
}

/// An image and what is known about it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ImportedImage {
    /// The names that the layout gives it; nobody vouches for them.
    pub(crate) names: Vec<String>,
    pub(crate) manifest: BlobDigest,
    pub(crate) index: Option<BlobDigest>,
    /// Statements whose signatures were verified.
    pub(crate) verified: Vec<Verified>,
    /// Statements that were kept and not believed, and why.
    pub(crate) unverified: Vec<String>,
}

/// A statement that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verified {
    pub(crate) predicate_type: String,
    pub(crate) role: Role,
    pub(crate) key: String,
}

/// What is believed about a digest, and what is not.
type Beliefs = BTreeMap<BlobDigest, (Vec<Verified>, Vec<String>)>;

/// Takes a layout in. For each role that a key is named for, each image must have a statement that it verifies.
pub(crate) fn import(store: &Store, state: &State, dir: &Path, trusted: &TrustedKeys) -> Result<Imported> {
    let layout = Layout::open(dir)?;
    let mut ring = Keyring::new();
    for (role, pem) in trusted {
        ring.trust(*role, PublicKey::from_pem(pem)?)?;
    }
    let required: BTreeSet<Role> = trusted.iter().map(|(role, _)| *role).collect();
    for approver in state.approvers.values().filter(|approver| approver.revoked.is_none()) {
        ring.trust(Role::Approver, PublicKey::from_pem(&approver.public_key)?)?;
    }
    let beliefs = believe(&layout, &ring, &required)?;
    let images = images(&layout, &beliefs, &required)?;
    let (blobs, bytes) =
        (layout.named.len() as u64, layout.named.values().fold(0_u64, |sum, size| sum.saturating_add(*size)));
    let free = store.free_bytes()?;
    if bytes.saturating_add(RESERVE_BYTES) > free {
        let text =
            format!("{} has {bytes} bytes and {free} are free, some of which are kept in reserve", dir.display());
        return Err(Error::Input(text));
    }
    let _lease = store.lease();
    let new_blobs = take(store, &layout)?;
    let now = now_ms();
    let pinned: BTreeSet<_> = layout.entries.iter().map(|entry| entry.digest).collect();
    let before: BTreeMap<_, _> = store.pins()?.into_iter().map(|pin| (pin.digest, pin)).collect();
    for digest in &pinned {
        match before.get(digest) {
            // what somebody said of it stays
            Some(pin) if pin.node() == Node::Document(*digest) => {}
            Some(pin) => drop(store.pin(Node::Document(*digest), &pin.reason, pin.at_ms)?),
            None => drop(store.pin(
                Node::Document(*digest),
                &format!("imported from an OCI layout on {}", when(now)),
                now,
            )?),
        }
    }
    Ok(Imported { images, pinned, blobs, new_blobs, bytes })
}

/// Verifies every statement. One whose role has a key that was named, and that it does not verify with, is an attack.
fn believe(layout: &Layout, ring: &Keyring, required: &BTreeSet<Role>) -> Result<Beliefs> {
    let mut beliefs = Beliefs::new();
    for listed in &layout.manifests {
        let Some(subject) = &listed.manifest.subject else { continue };
        let (verified, unverified) = beliefs.entry(subject.digest).or_default();
        let claimed =
            listed.manifest.annotations.get(ANNOTATION_PREDICATE_TYPE).map(String::as_str).unwrap_or_default();
        let bundles = listed.manifest.layers.iter().filter(|layer| layer.media_type == BUNDLE_MEDIA_TYPE);
        for layer in bundles {
            let Ok(kind) = claimed.parse::<PredicateType>() else {
                unverified.push(format!("{}: it does not say what it is", layer.digest));
                continue;
            };
            let role = kind.role();
            match ring.verify(&layout.read_statement(&layer.digest)?, kind, &subject.digest) {
                Ok((statement, key)) => match &statement.predicate {
                    Predicate::Approval(approval) if approval.decision != Decision::Approve => {
                        return Err(Error::No(format!("{} was rejected by key {key}", subject.digest)));
                    }
                    _ => verified.push(Verified { predicate_type: kind.uri().to_owned(), role, key: key.hex() }),
                },
                Err(error) if required.contains(&role) => {
                    return Err(Error::No(format!(
                        "nothing is imported: {} says that it is {kind} about {}: {error}",
                        layer.digest, subject.digest
                    )));
                }
                Err(_) => unverified.push(format!("{kind}: no {role} key that is trusted here verifies it")),
            }
        }
    }
    Ok(beliefs)
}

/// The images, each with what is known about it and about the index that lists it.
fn images(layout: &Layout, beliefs: &Beliefs, required: &BTreeSet<Role>) -> Result<Vec<ImportedImage>> {
    let mut images = Vec::new();
    for listed in &layout.manifests {
        let is_image = listed.manifest.subject.is_none()
            && listed.manifest.config.media_type == MediaType::CONFIG
            && listed.manifest.layers.iter().all(|layer| layer.media_type.starts_with(MediaType::LAYER));
        if !is_image {
            continue;
        }
        let about = [Some(listed.digest), listed.index];
        let (mut verified, mut unverified) = (Vec::new(), Vec::new());
        for digest in about.into_iter().flatten() {
            let (good, bad) = beliefs.get(&digest).cloned().unwrap_or_default();
            verified.extend(good);
            unverified.extend(bad);
        }
        if let Some(role) = required.iter().find(|role| !verified.iter().any(|one| one.role == **role)) {
            let text = format!("nothing is imported: no statement about {} is signed by the {role} key", listed.digest);
            return Err(Error::No(text));
        }
        let mut names: Vec<String> = layout
            .entries
            .iter()
            .filter(|entry| about.contains(&Some(entry.digest)))
            .filter_map(|entry| entry.annotations.get(REF_NAME).cloned())
            .collect();
        names.sort();
        images.push(ImportedImage { names, manifest: listed.digest, index: listed.index, verified, unverified });
    }
    match images.is_empty() {
        true => Err(Error::Input("nothing is imported: the layout has no image".into())),
        false => Ok(images),
    }
}

/// Whether a blob is here and every byte of it is right.
fn is_sound(store: &Store, digest: &BlobDigest) -> Result<bool> {
    if !store.has(digest)? {
        return Ok(false);
    }
    let read = store.open_blob(digest).and_then(|mut reader| {
        while reader.next_chunk()?.is_some() {}
        Ok(())
    });
    match read {
        Ok(()) => Ok(true),
        Err(anneal_store::Error::Damaged { .. } | anneal_store::Error::Missing { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Puts every blob that is not there yet; one whose bytes are not what its name says ends it.
fn take(store: &Store, layout: &Layout) -> Result<u64> {
    let mut new = 0;
    for (digest, size) in &layout.named {
        // one that is there is read, so that what rotted is taken out of service and comes again
        if is_sound(store, digest)? {
            continue;
        }
        match copy(layout, digest, *size, store) {
            Ok(()) => new += 1,
            Err(Error::Store(error @ anneal_store::Error::Mismatch { .. })) => {
                return Err(Error::Input(format!(
                    "nothing is imported: {error}; {new} blobs that were taken in before it are pinned by nothing and go with a \
                     later collection"
                )));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(new)
}
