//! Documents of the store that say what else is needed: catalogues, and locks of build roots. While one of them is lost,
//! nothing is collected.
//!
//! The catalogue that is read from files and the lock that the settings name are at hand, so a start of the daemon and
//! `anneal build` put those back.

use crate::error::{Error, Result};
use anneal_content::BlobDigest;
use anneal_fetch::BuildRootLock;
use anneal_ledger::State;
use anneal_recipe::Catalog;
use anneal_store::Store;

/// How a catalogue comes back.
pub(crate) const CATALOGUE_AGAIN: &str = "where the recipes are still those, start the daemon or run `anneal build`, which puts \
    it back; else stop the daemon and take it out of a backup: `anneal store scrub --mend --backup DIR`";
/// How a lock comes back.
pub(crate) const LOCK_AGAIN: &str = "where the configuration (`lock`, ANNEAL_LOCK) still names that lock, start the daemon or run \
    `anneal build`, which puts it back; else stop the daemon and take it out of a backup: `anneal store scrub --mend \
    --backup DIR`";

/// Reads one whole; `what` says what it is, `again` how it comes back.
pub(crate) fn read(store: &Store, blob: &BlobDigest, what: &str, again: &'static str) -> Result<Vec<u8>> {
    store.read_blob(blob, u64::MAX).map_err(|source| {
        let (what, blob, source) = (what.to_owned(), *blob, Box::new(source));
        Error::Unread { what, blob, again, source }
    })
}

/// Puts those back that the ledger names, that the store lacks, and that are at hand.
pub(crate) fn put_back(store: &Store, state: &State, catalog: &Catalog, lock: &BuildRootLock) -> Result<()> {
    let (catalog, lock) = (catalog.to_json()?, lock.identity()?);
    for (what, bytes) in [("the catalogue", catalog), ("the lock of the build root", lock)] {
        let digest = BlobDigest::of(&bytes);
        let is_named = state.revisions.iter().any(|(_, blob, _)| *blob == digest)
            || state.images.values().any(|image| image.build_root == Some(digest));
        if is_named && !store.has(&digest)? {
            store.put_blob(&bytes)?;
            tracing::warn!(%digest, "{what} was lost from the store, and was put back");
        }
    }
    Ok(())
}
