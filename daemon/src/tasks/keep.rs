//! Builds that are kept because what they link shows them the same: written down, and proved when nothing else is to be built.

use super::build::payloads;
use crate::{
    error::{Error, Result},
    service::Service,
};
use anneal_builder::{Kept, Linked, Realised};
use anneal_content::DerivationId;
use anneal_ledger::{Event, Ground};
use anneal_plan::{Derived, ImageNeed, KeepGround, KeptBuild, KeptBuilds};
use anneal_sandbox::CancelToken;
use std::collections::BTreeMap;

/// Kept builds as a plan tells of them.
pub(crate) fn kept_builds(kept: &[Kept]) -> KeptBuilds {
    let build = |kept: &Kept| {
        let (linked, ground) = (kept.linked.keys().cloned().collect(), KeepGround::InterfaceEqual);
        (kept.derivation, KeptBuild { linked, ground })
    };
    kept.iter().map(build).collect()
}

/// Journals what is kept of the builds that an image needs, and is not journalled yet. It is read off what is there, so that
/// nothing of it is lost between a build and its event.
pub(super) fn record_kept(
    service: &Service,
    derived: &Derived,
    need: &ImageNeed,
    built: &BTreeMap<DerivationId, Realised>,
) -> Result<()> {
    for kept in service.builder.kept(derived, &need.derivations, built)? {
        let linked = kept.linked.into_iter().map(|(name, linked)| {
            let Linked { interface, built_with, now } = linked;
            (name, anneal_ledger::Linked { interface, built_with, now, abi_report: None })
        });
        let (derivation, action, linked) = (kept.derivation, kept.action, linked.collect());
        let is_known = |state: &anneal_ledger::State| {
            state.kept.get(&derivation).is_some_and(|known| known.action == action && known.linked == linked)
        };
        if !service.with_state(is_known) {
            let (package, version) = (kept.package, kept.version);
            let ground = Ground::InterfaceEqual;
            service.record(Event::PackageKept { package, version, derivation, action, linked, ground })?;
        }
    }
    Ok(())
}

/// Builds a kept package with its libraries as they are now. Where it does not come out the same, bit for bit, the cut-off is
/// withdrawn for it: it is another derivation from then on, and images that hold it are built again.
pub(crate) fn prove_kept(service: &Service, derivation: &DerivationId, cancel: &CancelToken) -> Result<()> {
    // What it gives is named by nothing until it is compared.
    let _lease = service.store.lease();
    let active = service.active();
    let Some(task) = active.derived.derivations.get(derivation) else { return Ok(()) };
    let package = task.name.clone();
    let built = service.builder.realised(&active.derived)?;
    let on = |progress| service.board.progress(progress);
    let proved = service.builder.prove_kept(&active.catalog, &active.derived, derivation, &built, cancel, &on);
    let proof = match proved {
        // Something that is needed is built first; it begins again afterwards.
        Err(anneal_builder::Error::Cancelled { .. }) if cancel.is_cancelled() => return Ok(()),
        proved => proved.map_err(Error::from)?,
    };
    let (derivation, action, payloads) = (*derivation, proof.action, payloads(&proof.ran));
    match proof.differs {
        None => service.record(Event::KeptProved { package, derivation, action, payloads }),
        Some(why) => {
            service.record_and_derive(vec![Event::CutOffWithdrawn { package, derivation, action, why, payloads }])
        }
    }
}
