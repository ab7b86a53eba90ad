//! What lies beside the store's content: build roots that no lock asks for any more, and the quarantine.

use super::{Collected, DAY_MS};
use crate::{error::Result, service::now_ms, settings::Settings};
use anneal_builder::Builder;
use anneal_store::Store;

/// Removes what is too old of it, or only says what that would be, and adds it to the answer.
pub(super) fn clear(
    store: &Store,
    builder: &Builder,
    settings: &Settings,
    keep_ms: u64,
    answer: &mut Collected,
) -> Result<()> {
    answer.roots = builder.remove_unused_roots(keep_ms, now_ms(), answer.dry_run)?;
    let before_ms = now_ms().saturating_sub(settings.quarantine_days.saturating_mul(DAY_MS));
    answer.quarantined =
        if answer.dry_run { store.quarantined_before(before_ms)? } else { store.clear_quarantine(before_ms)? };
    Ok(())
}
