//! What every backend of the store does, tried on all of them: the directory, and buckets on servers that we did not
//! write (`server.rs`). A server that is not installed is skipped, with a line.
//!
//! `daemon.rs` runs a whole daemon on one of them.
//! `cases.rs` holds them against the contract in `builder/store/src/backend.rs` and against the store's own promises;
//! `trouble.rs` is about what only a server does: it is gone, cuts transfers, ignores conditions, or is another store's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod cases;
mod daemon;
mod proxy;
mod server;
mod trouble;

use anneal_content::BlobDigest;
use anneal_store::{BucketPlace, ChunkHash, OpenMode, Staged, Store};
use server::{Server, servers};
use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

const CHUNK: usize = anneal_store::CHUNK_BYTES as usize;

/// One store to try things on.
struct Subject {
    dir: tempfile::TempDir,
    /// Where its blobs are, and on which server.
    bucket: Option<(BucketPlace, &'static Server)>,
}

impl Subject {
    fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn open(&self) -> Store {
        match &self.bucket {
            None => Store::open(&self.path(), OpenMode::ReadWrite).unwrap(),
            Some((place, _)) => Store::open_in_bucket(&self.path(), ChunkHash::default(), place).unwrap(),
        }
    }

    /// Puts bytes where a blob's are, past the store.
    fn overwrite(&self, digest: &BlobDigest, bytes: &[u8]) {
        match &self.bucket {
            None => fs::write(file(&self.path(), digest), bytes).unwrap(),
            Some((place, server)) => {
                assert_eq!(server.ask("PUT", &format!("{}/{}", place.name, key(place, digest)), bytes), 200);
            }
        }
    }
}

fn file(store: &Path, digest: &BlobDigest) -> PathBuf {
    let hex = digest.hex();
    store.join("blobs/sha256").join(&hex[..2]).join(hex)
}

fn key(place: &BucketPlace, digest: &BlobDigest) -> String {
    format!("{}/blobs/sha256/{}", place.prefix, digest.hex())
}

/// A place of its own in a bucket of a server, with credentials in a file.
fn fresh_place(server: &Server, dir: &Path) -> BucketPlace {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let credentials = dir.join("credentials");
    fs::write(&credentials, server.credentials()).unwrap();
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).unwrap();
    BucketPlace {
        endpoint: server.endpoint(),
        region: "us-east-1".to_owned(),
        name: server::BUCKET.to_owned(),
        prefix: format!("stores/{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        credentials: Some(credentials),
    }
}

/// Tries something on each implementation.
fn everywhere(act: impl Fn(&Subject)) {
    act(&Subject { dir: tempfile::tempdir().unwrap(), bucket: None });
    for server in servers() {
        let dir = tempfile::tempdir().unwrap();
        let place = fresh_place(server, dir.path());
        println!("on {}", server.name());
        act(&Subject { bucket: Some((place, server)), dir });
    }
}

/// Bytes that do not compress and differ by seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

/// Gives files to a backend directly, past the database.
fn keep(store: &Store, files: &[(BlobDigest, &[u8])]) -> anneal_store::Result<()> {
    let file_system = File::open(store.dir()).unwrap();
    let dir = tempfile::tempdir_in(store.dir().join("tmp")).unwrap();
    let stage = |(number, (digest, bytes)): (usize, &(BlobDigest, &[u8]))| {
        let path = dir.path().join(number.to_string());
        fs::write(&path, bytes).unwrap();
        Staged { digest: *digest, size: bytes.len() as u64, path }
    };
    let staged: Vec<Staged> = files.iter().enumerate().map(stage).collect();
    store.backend().keep(&staged, &file_system)
}

/// What a backend has under a digest, whole.
fn held(store: &Store, digest: &BlobDigest) -> Option<Vec<u8>> {
    let mut content = store.backend().open(digest, 0..u64::MAX).unwrap()?;
    let (size, mut bytes) = (content.size(), Vec::new());
    assert!(content.read_at(0, usize::try_from(size).unwrap(), &mut bytes).unwrap());
    Some(bytes)
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
