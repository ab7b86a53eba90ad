//! Ending the time for which publications are served, where an operator configured one. The journal says so first, then
//! the registry stops to serve them, and their bytes go with a later collection.

use crate::{
    error::{Error, Result},
    service::{Service, now_ms},
    settings::Settings,
};
use anneal_content::BlobDigest;
use anneal_ledger::{Event, Publication, Record, Refusal, State, Withdrawal};
use anneal_store::Store;
use std::collections::BTreeSet;

/// What is due. A publication with a pin stays, whether its manifest or its index is pinned.
pub(super) fn due(state: &State, store: &Store, settings: &Settings) -> Result<Vec<Withdrawal>> {
    let pins: BTreeSet<BlobDigest> = store.pins()?.iter().map(|pin| pin.digest).collect();
    let is_pinned = |publication: &Publication| {
        [publication.manifest, publication.index].iter().any(|digest| pins.contains(digest))
    };
    Ok(state.expired(&settings.keep_published, &is_pinned, now_ms()))
}

/// Withdraws what is due from a running daemon.
pub(super) fn withdraw(service: &Service) -> Result<Vec<Withdrawal>> {
    for _ in 0..super::ATTEMPTS {
        let withdrawals = due(&service.state(), &service.store, &service.settings)?;
        if withdrawals.is_empty() {
            return Ok(withdrawals);
        }
        match service.record(Event::PublicationsWithdrawn { withdrawals: withdrawals.clone() }) {
            Ok(()) => {
                service.serve_publications()?;
                return Ok(withdrawals);
            }
            // one of them was published again a moment ago
            Err(Error::Refused(Refusal::Kept { .. } | Refusal::NotServed(_))) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Vec::new())
}

/// The event of withdrawing these now; none where there is nothing to withdraw.
pub(super) fn record_of(withdrawals: &[Withdrawal]) -> Option<Record> {
    let event = Event::PublicationsWithdrawn { withdrawals: withdrawals.to_vec() };
    (!withdrawals.is_empty()).then(|| Record { at_ms: now_ms(), event })
}
