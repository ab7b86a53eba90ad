//! What was taken out of service: the bytes of damaged blobs, kept for a time so that somebody can find out what happened
//! to them. They are never served and nothing refers to them.

use crate::{Error, KindSize, OpenMode, Result, Store, layout::remove_tree};
use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// What is in the quarantine, its size and when it came there, milliseconds since 1970.
struct Held {
    path: PathBuf,
    is_dir: bool,
    bytes: u64,
    since_ms: u64,
}

impl Store {
    /// How much is in quarantine.
    pub fn quarantined(&self) -> Result<KindSize> {
        Ok(sum(&held(&self.inner.layout.quarantine())?))
    }

    /// How much of it came there before a time.
    pub fn quarantined_before(&self, before_ms: u64) -> Result<KindSize> {
        let held = held(&self.inner.layout.quarantine())?;
        Ok(sum(&held.into_iter().filter(|file| file.since_ms < before_ms).collect::<Vec<_>>()))
    }

    /// Removes what came there before a time; says how much.
    pub fn clear_quarantine(&self, before_ms: u64) -> Result<KindSize> {
        if self.mode() == OpenMode::ReadOnly {
            return Err(Error::ReadOnly { dir: self.dir().to_owned() });
        }
        let mut cleared = KindSize::default();
        for file in held(&self.inner.layout.quarantine())?.iter().filter(|file| file.since_ms < before_ms) {
            if file.is_dir {
                remove_tree(&file.path)?;
            } else if let Err(e) = fs::remove_file(&file.path)
                && e.kind() != ErrorKind::NotFound
            {
                return Err(Error::io("remove", &file.path)(e));
            }
            cleared.add(file.bytes);
        }
        Ok(cleared)
    }
}

fn sum(held: &[Held]) -> KindSize {
    let mut size = KindSize::default();
    held.iter().for_each(|file| size.add(file.bytes));
    size
}

fn held(dir: &Path) -> Result<Vec<Held>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("list", dir)(e)),
    };
    let mut held = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("list", dir))?.path();
        match fs::symlink_metadata(&path) {
            Ok(metadata) => {
                // the time at which it was moved there: a blob's own times say nothing
                let since_ms = u64::try_from(metadata.ctime()).unwrap_or_default().saturating_mul(1000);
                // what stood in the place of a file holds no bytes that are counted
                let bytes = if metadata.is_file() { metadata.len() } else { 0 };
                held.push(Held { bytes, is_dir: metadata.is_dir(), since_ms, path });
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("look at", &path)(e)),
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_bytes_are_kept_for_a_time_and_counted_and_their_blob_can_come_again_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), OpenMode::ReadWrite).unwrap();
        let digest = store.put_blob(b"whole").unwrap();
        fs::write(store.inner.layout.blob(&digest), b"whale").unwrap();
        store.read_blob(&digest, 10).unwrap_err();
        let one = KindSize { blobs: 1, bytes: 5 };
        assert_eq!(store.quarantined().unwrap(), one);
        assert_eq!(store.clear_quarantine(1000).unwrap(), KindSize::default(), "it came after that");
        assert_eq!(store.put_blob(b"whole").unwrap(), digest);
        assert_eq!(store.quarantined_before(u64::MAX).unwrap(), one);
        assert_eq!(store.clear_quarantine(u64::MAX).unwrap(), one);
        assert_eq!(store.quarantined().unwrap(), KindSize::default());
        assert_eq!(store.read_blob(&digest, 10).unwrap(), b"whole");
    }
}
