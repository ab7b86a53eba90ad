//! The tasks of the ledger, performed.

mod build;
mod candidate;
mod code;
mod feed;
mod image;
mod keep;
mod publish;
mod respond;
mod swap;
mod trial;

pub(crate) use build::{Again, ask_for_lost, build, held_derivations};
pub(crate) use candidate::binding;
pub(crate) use code::changed_directories;
pub(crate) use feed::{Feed, import_advisory, read_record};
pub(crate) use image::{CheckReport, index_image, report};
pub(crate) use keep::{kept_builds, prove_kept};
pub(crate) use respond::{component_of, judge_catalog, remediation_of};
pub(crate) use swap::{settle, swaps_in_force};
pub(crate) use trial::{trial_goal, try_package};

use crate::{error::Result, service::Service};
use anneal_ledger::Task;

/// Performs one task, all but building.
pub(crate) fn perform(service: &Service, task: &Task) -> Result<()> {
    // From the first blob to the event that names it, nothing of it may be collected.
    let _lease = service.store.lease();
    match task {
        Task::Publish(candidate) => publish::publish(service, *candidate),
        Task::Match { advisory, record, revision } => respond::match_advisory(service, advisory, *record, *revision),
        Task::Remediate { advisories } => respond::remediate(service, advisories),
        Task::OpenCandidate(manifest) => candidate::open(service, manifest),
        Task::Sign(manifest) => image::sign(service, manifest),
        Task::Check(manifest) => image::check(service, manifest),
        Task::Build(images) => build(service, images),
        Task::DropSwaps(manifest) => swap::drop_swaps(service, manifest),
        Task::Settle { derivation, .. } => settle(service, derivation, &service.cancel.child()),
        Task::ProveKept { derivation, .. } => prove_kept(service, derivation, &service.cancel.child()),
    }
}

/// A task in a few words.
pub(crate) fn name(task: &Task) -> String {
    match task {
        Task::Publish(candidate) => format!("publishing {candidate}"),
        Task::Match { advisory, .. } => format!("matching {advisory}"),
        Task::Remediate { advisories } => format!("remediating {}", advisories.join(", ")),
        Task::OpenCandidate(manifest) => format!("opening a candidate for {manifest}"),
        Task::Sign(manifest) => format!("signing evidence of {manifest}"),
        Task::Check(manifest) => format!("checking {manifest}"),
        Task::Build(images) => {
            let names: Vec<_> = images.iter().map(ToString::to_string).collect();
            format!("building {}", names.join(", "))
        }
        Task::DropSwaps(manifest) => format!("building what ships as it was in {manifest}"),
        Task::Settle { package, .. } => format!("building {package}, of which a former build ships"),
        Task::ProveKept { package, .. } => format!("proving that {package} is what it was kept as"),
    }
}
