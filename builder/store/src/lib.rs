//! The store: blobs and trees by digest, the action cache, the journal and small records, all durable.
//!
//! ```text
//! DIR/FORMAT               what this is: one line with the format's version
//! DIR/LOCK                 held by the one writer, with its process id
//! DIR/HEAD                 where the journal and the database end, outside of both, so that shortened ones are noticed
//! DIR/db/                  RocksDB: sizes and chunk hashes of blobs, results, failures, journal, records
//! DIR/blobs/sha256/ab/HEX  a blob's bytes, an inode of its own, mode 0644 or 0755, time 1
//! DIR/modes/MODE/HEX       the same bytes in an inode of another mode, for trees that want it
//! DIR/trees/HEX/           a tree as a read-only directory, its files linked to the inodes above
//! DIR/quarantine/HEX       what a damaged blob's file held
//! DIR/tmp/                 unfinished work; emptied when a writer opens
//! DIR/BALLAST              room that is given up where a full disk is to be collected
//! DIR/BUCKET               where the blobs are, where they are not in DIR/blobs (backend/place.rs)
//! DIR/BOOT                 the boot in which `trees` and `modes` were made: they are dropped after a restart
//! ```
//!
//! **What a caller may rely on.** A function that writes has made its work durable when it returns `Ok`; when it returns
//! an error nothing of it is visible. What is read has been checked, chunk by chunk, before it leaves. A blob is in the
//! store if and only if the database says so; files without a record are leftovers that the next put replaces. After a
//! failed sync the handle refuses to write, because the kernel may report success for data that it has dropped.
//!
//! **What is kept.** Nothing is deleted but by a collection (`collect.rs`), which keeps what its caller names as roots,
//! what is pinned, what is young, and what running work holds a lease on, each with all that it names.
//!
//! **What is not touched.** An open that fails leaves everything as it was: what is no store, one of another version, a
//! database that is damaged or shorter than what was acknowledged, and a file system that lacks something that is needed.
//!
//! One process writes; any number may read beside it, each seeing what was acknowledged when it opened.

mod acknowledged;
mod action;
mod backend;
mod backup;
mod batch;
mod blob;
mod collect;
mod db;
mod engine_list;
mod engine_log;
mod engine_table;
mod error;
mod extent;
mod fips;
mod footing;
mod ingest;
mod journal;
mod layout;
mod mend;
mod quarantine;
mod reader;
mod record;
mod regular_file;
mod remake;
mod scrub;
mod small;
mod stats;
mod store;
mod tree;
mod writer;

pub use action::{Believes, Differing, FailureRecord, RESULTS_MAX, ResultSurvey};
pub use anneal_capture::IngestRules;
pub use backend::{Backend, BucketFault, BucketPlace, Content, Staged};
pub use backup::{Backed, Backup, Checked, Draft, Forgotten, Generation, Manifest};
pub use blob::{DAMAGE, FILE_GONE};
pub use collect::{Collection, Gap, KindSize, Lease, Meaning, Node, Pin, RecordMeaning, Root, Survey, Sweep, Swept};
pub use error::{DatabaseFault, Error, Result};
pub use ingest::digest_dir;
pub use mend::Mended;
pub use reader::BlobReader;
pub use record::{CHUNK_BYTES, ChunkHash};
pub use remake::{REMADE_PARTS, Remade};
pub use scrub::{Part, TableRead};
pub use stats::Stats;
pub use store::{OpenMode, RESERVE_BYTES, Store};
pub use tree::MTIME_SECS;
pub use writer::BlobWriter;
