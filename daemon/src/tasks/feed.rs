//! Advisories come in: from files in the feed directory, and from the command line.

use crate::{
    error::{Error, Result, io},
    service::Service,
};
use anneal_content::BlobDigest;
use anneal_ledger::Event;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The largest record that is read.
const RECORD_BYTES_MAX: u64 = 8 << 20;

/// Remembers which files of the feed directory were read, by size and time.
#[derive(Debug, Default)]
pub(crate) struct Feed(BTreeMap<PathBuf, (u64, Option<SystemTime>)>);

impl Feed {
    /// Takes in what is new. A file that cannot be read is reported once, by name, and holds up no other.
    pub(crate) fn poll(&mut self, service: &Service) {
        let dir = &service.settings.feed;
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|e| e == "json"));
        paths.sort();
        for path in paths {
            let Ok(meta) = std::fs::metadata(&path) else { continue };
            let seen = (meta.len(), meta.modified().ok());
            if self.0.get(&path) == Some(&seen) {
                continue;
            }
            let outcome = read_record(&path).and_then(|bytes| import_advisory(service, &bytes));
            // What is wrong with the record stays wrong until the file changes; anything else is tried again.
            if matches!(outcome, Ok(_) | Err(Error::Advisory(_) | Error::Input(_))) {
                self.0.insert(path.clone(), seen);
            }
            match outcome {
                Ok((id, true)) => tracing::info!(id, path = %path.display(), "advisory imported"),
                Ok((_, false)) => {}
                Err(error) => service.board.trouble(format!("{} was not taken in: {}", path.display(), error.chain())),
            }
        }
    }
}

/// Reads a record file of bounded size.
pub(crate) fn read_record(path: &Path) -> Result<Vec<u8>> {
    let meta = std::fs::metadata(path).map_err(io("read", path))?;
    if !meta.is_file() {
        return Err(Error::Input(format!(
            "{} is not a regular file; a feed holds OSV records as files",
            path.display()
        )));
    }
    if meta.len() > RECORD_BYTES_MAX {
        let (size, path) = (meta.len(), path.display());
        return Err(Error::Input(format!("{path} has {size} bytes; an OSV record has at most {RECORD_BYTES_MAX}")));
    }
    std::fs::read(path).map_err(io("read", path))
}

/// Takes in one record; says its id and whether it was new.
pub(crate) fn import_advisory(service: &Service, bytes: &[u8]) -> Result<(String, bool)> {
    let advisory = anneal_advisory::parse(bytes)?;
    let record = BlobDigest::of(bytes);
    if service.with_state(|state| state.advisories.get(&advisory.id) == Some(&record)) {
        return Ok((advisory.id, false));
    }
    if let Some(known) = service.with_state(|state| state.advisories.get(&advisory.id).copied()) {
        let known = anneal_advisory::parse(&service.small_blob(&known)?)?;
        if known.modified > advisory.modified {
            tracing::info!(id = advisory.id, "an older record than the known one is left out");
            return Ok((advisory.id, false));
        }
    }
    let _lease = service.store.lease();
    service.store.put_blob(bytes)?;
    service.record(Event::AdvisoryImported { id: advisory.id.clone(), record })?;
    Ok((advisory.id, true))
}
