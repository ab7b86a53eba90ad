//! Which bucket a store keeps its blobs in, as its directory says: the file `BUCKET`, which a store in its own directory
//! does not have.
//!
//! ```text
//! {"store": "3f0c…", "bucket": {"endpoint": "https://…", "region": "…", "name": "…", "prefix": "…", "credentials": "…"}}
//! ```
//! `store` is a random name that the bucket repeats (`bucket/claim.rs`), so that a store never takes the bucket of
//! another for its own and finds all its blobs gone. The place may change, as when a bucket moves to another server.

use super::BucketPlace;
use crate::{
    Error, Result,
    layout::{Layout, sync},
};
use std::{
    fs::{self, File},
    io::Read as _,
    path::PathBuf,
};

/// The longest file that is read.
const TEXT_MAX: u64 = 16 << 10;
/// Where Linux gives random names.
const RANDOM_ID: &str = "/proc/sys/kernel/random/uuid";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    pub(crate) store: String,
    pub(crate) bucket: BucketPlace,
}

impl Place {
    /// A place that no store has yet.
    pub(crate) fn new(bucket: BucketPlace) -> Result<Self> {
        let id = fs::read_to_string(RANDOM_ID).map_err(Error::io("read", RANDOM_ID.as_ref()))?;
        Ok(Self { store: id.trim_end().to_owned(), bucket })
    }

    fn path(layout: &Layout) -> PathBuf {
        layout.dir.join("BUCKET")
    }

    /// What the store's directory says; `None` where there is no such file.
    pub(crate) fn read(layout: &Layout) -> Result<Option<Self>> {
        let path = Self::path(layout);
        let mut text = String::new();
        match File::open(&path) {
            Ok(file) => file.take(TEXT_MAX).read_to_string(&mut text).map_err(Error::io("read", &path))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", &path)(e)),
        };
        let wrong = |e: serde_json::Error| Error::Record { what: path.display().to_string(), reason: e.to_string() };
        serde_json::from_str(&text).map(Some).map_err(wrong)
    }

    /// Writes it down, durably.
    pub(crate) fn write(&self, layout: &Layout) -> Result<()> {
        let path = Self::path(layout);
        let new = path.with_extension("new");
        let text = serde_json::to_string(self)
            .map_err(|e| Error::Record { what: path.display().to_string(), reason: e.to_string() })?;
        fs::write(&new, text + "\n").map_err(Error::io("write", &new))?;
        sync(&new)?;
        fs::rename(&new, &path).map_err(Error::io("rename into place", &path))?;
        sync(&layout.dir)
    }
}
