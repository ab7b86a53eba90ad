//! A backup of a store: plain files that need no database to be read, in generations that share what they can.
//!
//! ```text
//! DIR/BACKUP                 what this is: one line with the format's version
//! DIR/LOCK                   held by whoever writes a generation, with its process id
//! DIR/generations/N          a line with the digest of a manifest, then the seal, which the layer above signs
//! DIR/blobs/sha256/ab/HEX    bytes by digest: blobs of the store, parts of its tables, manifests
//! DIR/tmp/                   unfinished work; emptied by the next backup
//! DIR/wrong/HEX              what a check found in the place of other bytes; nothing reads it
//! ```
//! A manifest is JSON ([`Manifest`]); for each table of the database it lists parts, and a part is rows (`part.rs`). Rows
//! of `blobs` have only the size, since the rest is computed anew from the bytes. So a backup can be restored by any
//! version that knows this format, whatever its own database looks like, and no fault of the database goes with it.
//!
//! **Consistent.** The tables are read from one snapshot of the database, and from before it until each blob is copied
//! no collection deletes what it names. **Complete or absent.** All files are synced before they have their names, and the
//! generation gets its name last. What an interrupted backup copied is used by the next one. **Incremental.** A file that
//! is there with the right size is not copied again. [`Backup::check`] reads what it holds, and what [`Backup::set_aside`]
//! then moves away is copied again. Parts and manifests are compared every time.

mod forget;
mod part;
mod pool;
mod read;
mod write;

pub use forget::Forgotten;
pub use read::{Backup, Checked, Generation};
pub use write::{Backed, Draft};

use anneal_content::{BlobDigest, JournalHead};
use serde::{Deserialize, Serialize};

/// The largest manifest that is read: one for some hundred million blobs.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// What a generation holds, by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Where the journal ends in it.
    pub head: JournalHead,
    /// Blobs that the store had and could not read, or had lost to damage before: the backup goes on without them.
    pub damaged: Vec<BlobDigest>,
    /// Parts with the digest and size of every blob.
    blobs: Vec<BlobDigest>,
    /// Parts of the other tables.
    journal: Vec<BlobDigest>,
    results: Vec<BlobDigest>,
    failures: Vec<BlobDigest>,
    records: Vec<BlobDigest>,
}
