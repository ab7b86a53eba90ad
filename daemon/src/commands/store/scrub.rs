//! Reading the whole store against its digests: the journal's chain, every blob, the trees of every image, and the
//! directories that builds are given.
//!
//! A blob's chunks are checked by the store's reader as it gives them out; here the whole is hashed again and held
//! against the name, so that a record that lies is found as well. Nothing is changed: a daemon that meets the damage
//! takes it out of service.

use crate::{
    error::{Error, Result, io},
    output::{Output, human_bytes, printable},
    service::fold,
};
use anneal_content::{BlobDigest, BlobHasher, EntryKind, TreeDigest, list};
use anneal_ledger::State;
use anneal_store::{IngestRules, Store, digest_dir};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
    time::{Duration, Instant},
};

/// How often progress is told.
const PERIOD: Duration = Duration::from_secs(2);
/// The largest manifest that is looked into.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// What was read and what was wrong.
#[derive(Debug, Default, Serialize)]
struct Report {
    events: u64,
    blobs: u64,
    bytes: u64,
    /// Files that no record names: what an interrupted write left; the next put replaces them.
    leftovers: u64,
    /// Trees of images whose every file is there.
    trees: u64,
    /// Directories that builds are given, hashed again.
    directories: u64,
    /// What is damaged or missing, and how.
    damage: BTreeMap<String, String>,
}

/// Reads everything and says what is wrong.
pub(super) fn scrub(store: &Store, output: &Output) -> Result<()> {
    let mut report = Report { events: store.event_count()?, ..Report::default() };
    let state = match fold(store) {
        Ok(state) => state,
        Err(error) => {
            report.damage.insert("the journal".into(), error.chain());
            State::default()
        }
    };
    let sizes = read_blobs(store, &mut report, output)?;
    let (recorded, damaged) =
        (store.stats()?.blobs, report.damage.keys().filter(|what| what.starts_with("sha256:")).count());
    let lost = recorded.saturating_sub(report.blobs + damaged as u64);
    if lost > 0 {
        report.damage.insert("blobs".into(), format!("{lost} of {recorded} that are recorded have no file"));
    }
    read_reachable(store, &state, &sizes, &mut report);
    read_directories(store, &mut report)?;
    output.result(|| printable(&report_text(&report)), &report)?;
    match report.damage.len() {
        0 => Ok(()),
        count => Err(Error::No(format!("{count} things in the store are damaged or missing"))),
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

/// Reads every blob; gives the sizes of those that are whole.
fn read_blobs(store: &Store, report: &mut Report, output: &Output) -> Result<BTreeMap<BlobDigest, u64>> {
    let mut sizes = BTreeMap::new();
    let all = store.dir().join("blobs/sha256");
    let mut told = Instant::now();
    for folder in names_in(&all)? {
        for name in names_in(&all.join(&folder))? {
            let Ok(digest) = format!("sha256:{name}").parse::<BlobDigest>() else {
                report.leftovers += 1;
                continue;
            };
            match read_blob(store, &digest) {
                Ok(Some(size)) => {
                    report.blobs += 1;
                    report.bytes += size;
                    sizes.insert(digest, size);
                }
                Ok(None) => report.leftovers += 1,
                Err(why) => drop(report.damage.insert(digest.to_string(), why)),
            }
            if output.terminal && told.elapsed() > PERIOD {
                told = Instant::now();
                output.note(&format!("read {} blobs, {}", report.blobs, human_bytes(report.bytes)));
            }
        }
    }
    Ok(sizes)
}

/// Reads one blob and hashes it; `None` where the store has no record of it.
fn read_blob(store: &Store, digest: &BlobDigest) -> std::result::Result<Option<u64>, String> {
    let mut reader = match store.open_blob(digest) {
        Ok(reader) => reader,
        Err(anneal_store::Error::Missing { .. }) => return Ok(None),
        Err(error) => return Err(Error::from(error).chain()),
    };
    let mut hasher = BlobHasher::new();
    while let Some(chunk) = reader.next_chunk().map_err(|e| Error::from(e).chain())? {
        hasher.update(chunk);
    }
    match hasher.finish() {
        (found, size) if found == *digest => Ok(Some(size)),
        (found, _) => Err(format!("its bytes are {found}")),
    }
}

/// Everything that the ledger names must be whole; what is already known to be damaged is not told twice.
fn read_reachable(store: &Store, state: &State, sizes: &BTreeMap<BlobDigest, u64>, report: &mut Report) {
    for (digest, what) in named_blobs(store, state) {
        // what was collected is no damage
        if !sizes.contains_key(&digest) && !matches!(store.collected(&digest), Ok(Some(_))) {
            report.damage.entry(digest.to_string()).or_insert_with(|| format!("{what} is not in the store"));
        }
    }
    let trees: BTreeSet<TreeDigest> = state
        .images
        .values()
        .filter(|image| image.collected_ms.is_none())
        .flat_map(|image| image.packages.iter().map(|package| package.tree))
        .collect();
    for tree in trees {
        match tree_fault(store, &tree, sizes) {
            None => report.trees += 1,
            Some(why) => drop(report.damage.insert(format!("tree {tree}"), why)),
        }
    }
}

/// What is wrong with a tree: a directory that does not read, or a file that is not there.
fn tree_fault(store: &Store, tree: &TreeDigest, sizes: &BTreeMap<BlobDigest, u64>) -> Option<String> {
    let entries = match list(tree, store) {
        Ok(entries) => entries,
        Err(error) => return Some(Error::from(error).chain()),
    };
    entries.iter().find_map(|entry| match &entry.kind {
        EntryKind::File { digest, size } if sizes.get(digest) != Some(size) => {
            Some(format!("{} should be {digest} of {size} bytes, which is not in the store", entry.path))
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
fn read_directories(store: &Store, report: &mut Report) -> Result<()> {
    let trees = store.dir().join("trees");
    for name in names_in(&trees)? {
        match digest_dir(&trees.join(&name), &IngestRules::of_a_materialized_tree()) {
            Ok(found) if found.hex() == name => report.directories += 1,
            Ok(found) => drop(report.damage.insert(format!("directory trees/{name}"), format!("it holds {found}"))),
            Err(error) => drop(report.damage.insert(format!("directory trees/{name}"), Error::from(error).chain())),
        }
    }
    Ok(())
}

fn report_text(report: &Report) -> String {
    let Report { events, blobs, bytes, leftovers, trees, directories, damage } = report;
    let mut text = format!("read {events} events, {blobs} blobs ({}), {trees} trees of images, ", human_bytes(*bytes));
    let _ = writeln!(text, "{directories} directories that builds are given");
    if *leftovers > 0 {
        let _ =
            writeln!(text, "{leftovers} files belong to no record; an interrupted write left them, they do no harm");
    }
    for (what, why) in damage {
        let _ = writeln!(text, "damage: {what}: {why}");
    }
    if damage.is_empty() {
        text.push_str("no damage\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_store::OpenMode;

    fn quiet() -> Output {
        Output { json: true, quiet: true, color: false, terminal: false }
    }

    fn store_with(dir: &Path, bytes: &[u8]) -> BlobDigest {
        Store::open(dir, OpenMode::ReadWrite).unwrap().put_blob(bytes).unwrap()
    }

    #[test]
    fn a_store_in_which_every_byte_is_right_has_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        store_with(dir.path(), b"whole");
        let store = Store::open(dir.path(), OpenMode::ReadOnly).unwrap();
        let mut report = Report::default();
        let sizes = read_blobs(&store, &mut report, &quiet()).unwrap();
        assert_eq!((report.blobs, report.damage.len(), sizes.len()), (1, 0, 1));
    }

    #[test]
    fn one_changed_byte_and_one_missing_blob_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let digest = store_with(dir.path(), b"whole");
        let hex = digest.hex();
        let path = dir.path().join("blobs/sha256").join(&hex[..2]).join(&hex);
        std::fs::write(&path, b"whale").unwrap();
        let store = Store::open(dir.path(), OpenMode::ReadOnly).unwrap();
        let mut report = Report::default();
        let sizes = read_blobs(&store, &mut report, &quiet()).unwrap();
        assert!(report.damage.contains_key(&digest.to_string()), "{report:?}");
        let state = State { advisories: BTreeMap::from([("X-1".into(), BlobDigest::of(b"gone"))]), ..State::default() };
        read_reachable(&store, &state, &sizes, &mut report);
        assert_eq!(report.damage[&BlobDigest::of(b"gone").to_string()], "advisory X-1 is not in the store");
    }
}
