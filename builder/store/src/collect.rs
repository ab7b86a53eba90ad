//! Collecting garbage: what nothing needs goes, while everything else goes on.
//!
//! ```text
//! begin    from now on, whatever is touched is kept (collect/touch.rs)
//! roots    the caller says what is kept for its own sake, and why
//! survey   everything in the database gets a number; from the roots along every reference (collect/mark.rs)
//! sweep    the rest goes in small batches: rows of the database first, synced, then files (collect/sweep.rs)
//! ```
//!
//! **Never too much.** The roots are read after the beginning. So what an event names was either named before, and is a
//! root, or will be named by work that holds a lease, and is touched. Something that is kept and cannot be followed (a
//! damaged directory) hides what it names: then nothing is deleted until it is mended.
//!
//! **In the end all of it.** A crash leaves rows that no file follows never, and files that no row names at most; the next
//! collection takes those. What is younger than the grace time stays until it is older.
//!
//! Rows go before files, because a blob is in the store if and only if the database says so.

mod ballast;
mod mark;
mod pin;
mod survey;
mod sweep;
mod touch;

pub(crate) use ballast::drop_ballast;
pub use mark::{Gap, Node, Root};
pub use pin::Pin;
pub use survey::{KindSize, Survey};
pub use sweep::{Sweep, Swept};
pub use touch::Lease;
pub(crate) use touch::Touches;

use crate::{Error, OpenMode, Result, Store, db::Table};
use anneal_content::{BlobDigest, BlobSource as _, Directory};

/// The kind of the records that say when a blob was collected: milliseconds since 1970, 8 bytes.
pub(crate) const COLLECTED: &str = "collected";
/// The largest document that is followed: a catalogue.
const DOCUMENT_BYTES_MAX: u64 = 64 << 20;

/// What the store cannot know: what the layers above mean by the bytes that they put into it.
#[derive(Clone, Copy)]
pub struct Meaning<'a> {
    /// What a document names; `None` where it is no document.
    pub document: &'a (dyn Fn(&[u8]) -> Option<Vec<Node>> + Sync),
    /// Kinds of small records that stand for one thing and go with it, and how to read which.
    pub records: &'a [(&'static str, RecordMeaning)],
}

/// Reads what a small record stands for.
pub type RecordMeaning = fn(&[u8]) -> Option<Node>;

impl std::fmt::Debug for Meaning<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meaning").finish_non_exhaustive()
    }
}

/// A collection that has begun: from here on, what is touched is kept.
#[derive(Debug)]
pub struct Collection {
    store: Store,
    lease: Lease,
}

impl Store {
    /// Keeps what is touched from now on, until the lease is dropped, from being collected. Work that puts something into
    /// the store and names it later holds one over both.
    pub fn lease(&self) -> Lease {
        self.inner.touches.lease()
    }

    /// Begins a collection, or a look at what one would do. Read the roots after this, never before.
    pub fn collection(&self) -> Result<Collection> {
        let lease = self.inner.touches.collect()?;
        if self.mode() == OpenMode::ReadWrite {
            self.inner.drop_ballast()?;
        }
        Ok(Collection { store: self.clone(), lease })
    }

    /// When a blob was collected, milliseconds since 1970; `None` where it never was, or has come again.
    pub fn collected(&self, digest: &BlobDigest) -> Result<Option<u64>> {
        if self.inner.db.contains(Table::Blobs, digest.as_bytes())? {
            return Ok(None);
        }
        self.inner.collected(digest)
    }
}

impl crate::store::Inner {
    /// Notes that something is used; see [`Store::lease`].
    pub(crate) fn touch(&self, node: Node) {
        self.touches.touch(node);
    }

    /// What is not there, or not any more.
    pub(crate) fn missing(&self, digest: &BlobDigest) -> Error {
        match self.collected(digest) {
            Ok(None) => Error::Missing { digest: *digest },
            Ok(Some(at_ms)) => Error::Collected { digest: *digest, date: survey::date(at_ms) },
            Err(error) => error,
        }
    }

    pub(crate) fn collected(&self, digest: &BlobDigest) -> Result<Option<u64>> {
        let key = format!("{COLLECTED}\0{}", digest.hex());
        let value = self.db.get(Table::Records, key.as_bytes())?;
        Ok(value.and_then(|value| value.first_chunk::<8>().copied()).map(u64::from_be_bytes))
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        if self.store.mode() == OpenMode::ReadWrite {
            self.store.inner.take_ballast();
        }
    }
}

impl Collection {
    /// What something names.
    fn named_by(&self, node: &Node, meaning: Meaning<'_>) -> Result<Vec<Node>> {
        match node {
            Node::Blob(_) => Ok(Vec::new()),
            Node::Document(digest) => {
                let bytes = self.store.read_blob(digest, DOCUMENT_BYTES_MAX)?;
                (meaning.document)(&bytes).ok_or_else(|| Error::Record {
                    what: format!("blob {digest}"),
                    reason: "it is no manifest, index, catalogue or report".to_owned(),
                })
            }
            Node::Tree(tree) => {
                let wrong = |source| Error::Tree { tree: *tree, source };
                let digest = BlobDigest::from_bytes(*tree.as_bytes());
                // asked first, since it says when a directory was collected
                self.store.inner.blob_record(&digest)?;
                let read = |source| wrong(anneal_content::Error::Read { digest, source });
                let bytes = self.store.read(&digest).map_err(read)?;
                let directory = Directory::decode(tree, &bytes).map_err(wrong)?;
                let files = directory.files.iter().map(|file| Node::Blob(file.digest));
                Ok(files.chain(directory.directories.iter().map(|inner| Node::Tree(inner.digest))).collect())
            }
            Node::Action(action) => {
                let results = self.store.results_untouched(action)?;
                let named = results.iter().flat_map(|result| {
                    let trees = result.outputs.values().map(|tree| Node::Tree(*tree));
                    trees.chain([Node::Blob(result.log)])
                });
                Ok(named.collect())
            }
        }
    }
}
