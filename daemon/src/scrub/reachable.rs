//! Everything that must be in a store beside its blobs' own bytes: the journal's chain, signatures of results, what the
//! ledger names, the trees of images, and the directories that builds are given.

use super::{How, Kind, Report, tables, told};
use crate::{
    error::{Result, io},
    service::fold,
};
use anneal_attest::Keyring;
use anneal_content::{ActionDigest, BlobDigest, EntryKind, ReadError, TreeDigest, list};
use anneal_ledger::State;
use anneal_store::{IngestRules, Store, digest_dir};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Instant,
};

/// The largest manifest that is looked into.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// How a directory that builds are given is called among the findings, before its name.
pub(super) const DIRECTORY: &str = "directory trees/";

/// Who vouches for each result of a build.
pub(super) fn read_results(store: &Store, trusted: &Keyring, report: &mut Report) {
    match store.survey_results(&|signed| trusted.believes(signed)) {
        Ok(survey) => {
            report.results = survey.believed;
            for (log, action) in survey.logs {
                read_log(store, &log, &action, report);
            }
            for (at, (action, why)) in survey.unsigned.into_iter().enumerate() {
                report.found(format!("result {} of action {action}", at + 1), Kind::Unsigned, why);
            }
        }
        Err(error) if tables::is_of_database(&error) => report.found_unreadable(tables::RESULTS, told(error)),
        Err(error) => report.found("the results of builds".into(), Kind::Corrupt, told(error)),
    }
}

/// The log of a result, which is kept as long as the result is.
fn read_log(store: &Store, log: &BlobDigest, action: &ActionDigest, report: &mut Report) {
    match store.recorded_size(log) {
        Ok(Some(_)) => {}
        Err(error) if tables::is_of_database(&error) => report.found_unreadable(tables::BLOBS, told(error)),
        _ => report.found(log.to_string(), Kind::Missing, format!("the log of action {action} is not in the store")),
    }
}

/// The journal, and everything that the ledger names; what is already known to be damaged is not told twice.
pub(super) fn read_named(store: &Store, report: &mut Report) -> Result<()> {
    match store.event_count() {
        Ok(count) => report.events = count,
        Err(error) if tables::is_of_database(&error) => report.found_unreadable(tables::JOURNAL, told(error)),
        Err(error) => return Err(error.into()),
    }
    let state = match fold(store) {
        Ok(state) => state,
        // told already
        Err(_) if report.damage.contains_key(&tables::named(tables::JOURNAL)) => State::default(),
        Err(error) => {
            report.found("the journal".into(), Kind::Corrupt, error.chain());
            State::default()
        }
    };
    read_state(store, &state, report);
    Ok(())
}

fn read_state(store: &Store, state: &State, report: &mut Report) {
    for (digest, what) in named_blobs(store, state) {
        match store.recorded_size(&digest) {
            Ok(Some(_)) => {}
            Err(error) if tables::is_of_database(&error) => report.found_unreadable(tables::BLOBS, told(error)),
            // what was collected is no damage
            _ if matches!(store.collected(&digest), Ok(Some(_))) => {}
            _ => report.found(digest.to_string(), Kind::Missing, format!("{what} is not in the store")),
        }
    }
    report.trees = 0;
    if report.damage.contains_key(&tables::named(tables::BLOBS)) {
        // nobody can say which of their files are there
        return;
    }
    let trees: BTreeSet<TreeDigest> = state
        .images
        .values()
        .filter(|image| image.collected_ms.is_none())
        .flat_map(|image| image.packages.iter().map(|package| package.tree))
        .collect();
    for tree in trees {
        match tree_fault(store, &tree, report) {
            None => report.trees += 1,
            Some((kind, why)) => report.found(format!("tree {tree}"), kind, why),
        }
    }
}

/// What is wrong with a tree: a directory that does not read, or a file that is not there.
fn tree_fault(store: &Store, tree: &TreeDigest, report: &Report) -> Option<(Kind, String)> {
    let entries = match list(tree, store) {
        Ok(entries) => entries,
        Err(error) => {
            let missing = matches!(&error, anneal_content::Error::Read { source: ReadError::Missing(_), .. });
            return Some((if missing { Kind::Missing } else { Kind::Corrupt }, told(error)));
        }
    };
    let is_whole = |digest: &BlobDigest, size: u64| {
        matches!(store.recorded_size(digest), Ok(Some(found)) if found == size)
            && !report.damage.contains_key(&digest.to_string())
    };
    entries.iter().find_map(|entry| match &entry.kind {
        EntryKind::File { digest, size } if !is_whole(digest, *size) => {
            let why = format!("{} should be {digest} of {size} bytes, which is not in the store", entry.path);
            Some((Kind::Missing, why))
        }
        _ => None,
    })
}

/// Every blob that the ledger names, with what it is.
fn named_blobs(store: &Store, state: &State) -> BTreeMap<BlobDigest, String> {
    let mut blobs = BTreeMap::new();
    let mut add = |digest: &BlobDigest, what: String| {
        blobs.entry(*digest).or_insert(what);
    };
    for (revision, blob, _) in &state.revisions {
        add(blob, format!("catalogue {revision}"));
    }
    for (id, record) in &state.advisories {
        add(record, format!("advisory {id}"));
    }
    for case in state.cases.values() {
        case.plan.iter().for_each(|plan| add(plan, format!("the plan of {}", case.advisory)));
    }
    for failure in state.failures.values() {
        failure.log.iter().for_each(|log| add(log, format!("the log of {}", failure.package)));
    }
    for image in state.images.values() {
        let name = &image.name;
        add(&image.index, format!("the index of {name}"));
        image.layers.iter().for_each(|layer| add(&layer.digest, format!("a layer of {name}")));
        image.build_root.iter().for_each(|lock| add(lock, format!("the lock of the build root of {name}")));
        image.verdict.iter().for_each(|(_, _, results)| add(results, format!("check results of {name}")));
    }
    for candidate in state.candidates.values() {
        add(&candidate.diff, format!("what changed in {}", candidate.id));
        candidate.decision.iter().for_each(|decision| add(&decision.2, format!("the decision on {}", candidate.id)));
    }
    let of_images = state.images.values().map(|i| (&i.name, &i.evidence));
    let of_publications = state.publications.iter().map(|p| (&p.image, &p.evidence));
    let evidence: Vec<_> = of_images.chain(of_publications).collect();
    for (name, statement) in evidence.iter().flat_map(|(name, all)| all.iter().map(move |one| (name, one))) {
        add(&statement.bundle, format!("evidence of {name}"));
    }
    let manifests = state.images.values().map(|i| (i.manifest, format!("the manifest of {}", i.name)));
    let referrers = evidence.iter().flat_map(|(name, all)| {
        all.iter().map(move |one| (one.referrer, format!("the manifest of evidence of {name}")))
    });
    let extra = state.publications.iter().flat_map(|p| {
        p.extra_tags.iter().map(move |(tag, digest)| (*digest, format!("the manifest of {}:{tag}", p.image)))
    });
    let manifests: Vec<_> = manifests.chain(referrers).chain(extra).collect();
    for (digest, what) in manifests {
        add(&digest, what.clone());
        manifest_parts(store, &digest).iter().for_each(|part| add(part, format!("a part of {what}")));
    }
    blobs
}

/// The config and layers that a manifest names; a manifest that cannot be read is told as damaged by itself.
fn manifest_parts(store: &Store, manifest: &BlobDigest) -> Vec<BlobDigest> {
    let Ok(bytes) = store.read_blob(manifest, MANIFEST_BYTES_MAX) else { return Vec::new() };
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(&bytes) else { return Vec::new() };
    let layers = value["layers"].as_array().cloned().unwrap_or_default();
    let digests = layers.iter().chain([&value["config"]]).filter_map(|part| part["digest"].as_str()?.parse().ok());
    digests.collect()
}

/// Hashes the directories that builds are given: their files are outside of the store's reader.
pub(super) fn read_directories(store: &Store, how: &How<'_>, report: &mut Report) -> Result<()> {
    for name in names_in(&store.dir().join("trees"))? {
        if (how.stop)() {
            report.stopped = true;
            return Ok(());
        }
        let begun = Instant::now();
        read_directory(store, &name, report);
        how.throttle.rest(begun.elapsed(), how.stop);
    }
    Ok(())
}

pub(super) fn read_directory(store: &Store, name: &str, report: &mut Report) {
    let path = store.dir().join("trees").join(name);
    let found = digest_dir(&path, &IngestRules::of_a_materialized_tree());
    // one that was collected meanwhile is no damage: it is made again at need
    if !path.exists() {
        return;
    }
    let what = format!("{DIRECTORY}{name}");
    match found {
        Ok(found) if found.hex() == name => report.directories += 1,
        Ok(found) => report.found(what, Kind::Corrupt, format!("it holds {found}")),
        Err(error) => report.found(what, Kind::Corrupt, told(error)),
    }
}

/// The names in a directory, sorted; none where there is no directory.
fn names_in(dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io("read", dir)(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(io("read", dir))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
