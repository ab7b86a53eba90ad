//! What is in a state directory, read once for all questions: the journal, the store's rows, and every blob's file
//! hashed here and not by the store.

use crate::sha256;
use anneal_attest::{PublicKey, Role, SecretKey};
use anneal_content::BlobDigest;
use anneal_ledger::{Record, State};
use anneal_store::{OpenMode, Store};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A state directory as it is now. A daemon may run on it.
#[derive(Debug)]
pub struct Facts {
    /// The state directory.
    pub state: PathBuf,
    /// The store, opened to read.
    pub store: Store,
    /// The journal.
    pub records: Vec<Record>,
    /// Every row of the database: table and key, to the value.
    pub rows: BTreeMap<(&'static str, Vec<u8>), Vec<u8>>,
    /// Every blob that has a row: its size, or what is wrong with its file.
    pub blobs: BTreeMap<BlobDigest, Result<u64, String>>,
}

impl Facts {
    /// Reads a state directory; an error where it cannot be read at all.
    pub fn read(state: &Path) -> Result<Self, String> {
        let dir = state.join("store");
        let told = |e: anneal_store::Error| told(&e);
        let store = Store::open(&dir, OpenMode::ReadOnly).map_err(told)?;
        let mut records = Vec::new();
        for line in store.events_from(0).map_err(told)? {
            let (seq, bytes) = line.map_err(told)?;
            records.push(serde_json::from_slice(&bytes).map_err(|e| format!("event {seq}: {e}"))?);
        }
        let mut rows = BTreeMap::new();
        let keep = |table, key: &[u8], value: &[u8]| drop(rows.insert((table, key.to_vec()), value.to_vec()));
        store.each_row(keep).map_err(told)?;
        let digests = rows.keys().filter(|(table, _)| *table == "blobs");
        let digests = digests.filter_map(|(_, key)| key.first_chunk::<32>().copied()).map(BlobDigest::from_bytes);
        let blobs = digests.map(|digest| (digest, hashed(&dir, &digest))).collect();
        Ok(Self { state: state.to_owned(), store, records, rows, blobs })
    }

    /// A blob's bytes, if they are what its digest says.
    pub fn bytes(&self, digest: &BlobDigest) -> Result<Vec<u8>, String> {
        match self.blobs.get(digest) {
            None => Err(format!("{digest} is not in the store")),
            Some(Err(wrong)) => Err(format!("{digest}: {wrong}")),
            Some(Ok(_)) => fs::read(file(&self.state.join("store"), digest)).map_err(|e| format!("{digest}: {e}")),
        }
    }

    /// The public half of one of the daemon's own keys.
    pub fn key(&self, role: Role) -> Result<PublicKey, String> {
        let path = self.state.join(format!("keys/{role}.pem"));
        let pem = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        SecretKey::from_pem(role, &pem).map(|key| key.public().clone()).map_err(|e| e.to_string())
    }

    /// The journal folded, whether or not it was allowed to happen.
    pub fn folded(&self) -> State {
        let mut state = State::default();
        for record in &self.records {
            // whether it follows is a question of its own
            let _ = state.apply(record);
        }
        state
    }

    /// Everything that a start may not change, by name: rows, blobs and trees. Two of these are compared as they are.
    pub fn dump(&self) -> BTreeMap<String, String> {
        let rows = self.rows.iter().map(|((table, key), value)| {
            let text: String = String::from_utf8_lossy(value).chars().filter(|c| !c.is_control()).take(400).collect();
            (format!("{table} {}", key_text(key)), format!("{} {text}", sha256(value)))
        });
        let blobs = self.blobs.iter().map(|(digest, found)| (format!("file of {digest}"), format!("{found:?}")));
        let trees = fs::read_dir(self.state.join("store/trees")).into_iter().flatten();
        let trees = trees.map(|tree| (format!("tree {}", tree.unwrap().file_name().display()), String::new()));
        rows.chain(blobs).chain(trees).collect()
    }
}

fn key_text(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(text) if key.len() != 8 && !text.chars().any(|c| c.is_control() && c != '\0') => text.replace('\0', " "),
        _ if key.len() == 8 => key.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte)).to_string(),
        _ => key.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// Where a blob's bytes are.
pub fn file(store: &Path, digest: &BlobDigest) -> PathBuf {
    let hex = digest.hex();
    store.join("blobs/sha256").join(&hex[..2]).join(hex)
}

fn hashed(store: &Path, digest: &BlobDigest) -> Result<u64, String> {
    let bytes = fs::read(file(store, digest)).map_err(|e| format!("it has a row and no file ({e})"))?;
    let found = sha256(&bytes);
    if found == digest.hex() { Ok(bytes.len() as u64) } else { Err(format!("its file holds sha256:{found}")) }
}

/// An error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
