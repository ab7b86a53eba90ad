//! Ballast: room on the disk that is taken only to be given up, so that a disk which others filled to the last byte can
//! still be collected. To delete takes a write to the database, and so some room.

use crate::{
    Error, Result,
    layout::Layout,
    store::{Inner, RECORD_RESERVE_BYTES, RESERVE_BYTES},
};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, File};

/// What must be free besides, so that a small disk is not made smaller still.
const PLENTY_BYTES: u64 = 3 * RESERVE_BYTES;
/// More than a write to the database asks for.
pub(crate) const BALLAST_BYTES: u64 = RECORD_RESERVE_BYTES + (8 << 20);

impl Inner {
    /// Takes the ballast in where there is plenty of room. Without it everything works but on a disk that is quite full.
    pub(crate) fn take_ballast(&self) {
        let path = self.layout.ballast();
        let is_plenty = self.free_bytes().is_ok_and(|free_bytes| free_bytes > PLENTY_BYTES + BALLAST_BYTES);
        if path.exists() || !is_plenty {
            return;
        }
        let made = File::create_new(&path).map_err(Error::io("create", &path)).and_then(|file| {
            let allocated = fallocate(&file, FallocateFlags::empty(), 0, BALLAST_BYTES);
            allocated.map_err(|e| Error::io("allocate", &path)(e.into()))
        });
        if let Err(error) = made {
            tracing::debug!(%error, "no ballast; a disk that others fill up will not be collected");
            let _ = fs::remove_file(&path);
        }
    }

    /// Gives the ballast up where the database has no room any more.
    pub(crate) fn drop_ballast(&self) -> Result<()> {
        drop_ballast(&self.layout)
    }
}

/// The same before the database is open, which takes room as well.
pub(crate) fn drop_ballast(layout: &Layout) -> Result<()> {
    if layout.free_bytes()? >= RECORD_RESERVE_BYTES {
        return Ok(());
    }
    let path = layout.ballast();
    match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &path)(e)),
        _ => Ok(()),
    }
}
