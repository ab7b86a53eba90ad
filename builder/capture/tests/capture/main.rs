//! What is promised of a directory that a build left, tried on a real file system.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "all of this is a test")]

mod attack;
mod refusals;
mod same;

use anneal_capture::{IngestRules, Sink, capture, digest_dir};
use anneal_content::{BlobDigest, MemoryBlobs, TreeDigest};
use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// A directory with one file in it, to be spoiled.
fn output() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    put(&out, "usr/fine", b"fine");
    (dir, out)
}

fn put(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn digest(dir: &Path) -> Result<TreeDigest, String> {
    digest_dir(dir, &IngestRules::default()).map_err(|e| told(&e))
}

/// The error and its causes, as a person reads them.
fn told(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", told(cause)))
}

/// Keeps every byte, so that a test can look for what must not be there.
#[derive(Default)]
struct Kept {
    blobs: Mutex<MemoryBlobs>,
    bytes: Mutex<Vec<Vec<u8>>>,
}

impl Sink for Kept {
    type Error = anneal_capture::Error;

    fn add_file(
        &self,
        content: &mut dyn Read,
        from: &Path,
        _limit: u64,
        _mode: u32,
    ) -> Result<(BlobDigest, u64), Self::Error> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(|source| anneal_capture::Error::Io {
            operation: "read",
            path: from.to_owned(),
            source,
        })?;
        self.bytes.lock().unwrap().push(bytes.clone());
        let size = bytes.len() as u64;
        Ok((self.blobs.lock().unwrap().insert(bytes), size))
    }

    fn add_directory(&self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.blobs.lock().unwrap().insert(bytes);
        Ok(())
    }
}

impl Kept {
    fn take(dir: &Path) -> (Self, Result<TreeDigest, anneal_capture::Error>) {
        let kept = Self::default();
        let tree = capture(dir, &IngestRules::default(), &kept);
        (kept, tree)
    }

    fn has(&self, text: &str) -> bool {
        let kept = self.bytes.lock().unwrap();
        kept.iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    }
}
