//! The store's promises, tried on a real file system. One binary, because each links the database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod actions;
mod backup;
mod bad_input;
mod blobs;
mod collect;
mod durability;
mod full_disk;
mod journal;
mod kill;
mod opening;
mod remake;
mod rot;
mod speed;
mod trees;

use anneal_content::{ActionDigest, ActionResult, SignedResult};
use anneal_store::{Error, OpenMode, Store};
use std::path::Path;

/// A fresh store and the directory that it is in.
fn fresh() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = writer(dir.path());
    (dir, store)
}

fn writer(dir: &Path) -> Store {
    unless_locked(|| Store::open(&dir.join("store"), OpenMode::ReadWrite)).unwrap()
}

/// Tries for a while: a child of another test has all locks of this process between its fork and its exec.
fn unless_locked<T>(attempt: impl Fn() -> anneal_store::Result<T>) -> anneal_store::Result<T> {
    for _ in 0..200 {
        match attempt() {
            Err(Error::Locked { .. }) => std::thread::sleep(std::time::Duration::from_millis(10)),
            other => return other,
        }
    }
    attempt()
}

/// Bytes that do not compress and differ by seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The error and its causes, as a person reads them.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What is in `tmp`: nothing, unless something is being written.
fn temporaries(store: &Store) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(store.dir().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// A result with the signature of a key that [`believes`] knows.
fn signed(action: &ActionDigest, result: &ActionResult) -> SignedResult {
    let payload = SignedResult::payload_of(action, result).unwrap();
    SignedResult { payload, key_id: "ours".to_owned(), signature: String::new() }
}

/// Stands for the keys of a builder.
fn believes(signed: &SignedResult) -> bool {
    signed.key_id == "ours"
}

fn record(store: &Store, action: &ActionDigest, result: &ActionResult) -> anneal_store::Result<()> {
    store.record_result(&signed(action, result), &believes)
}

fn results(store: &Store, action: &ActionDigest) -> Vec<ActionResult> {
    store.results(action, &believes).unwrap()
}
