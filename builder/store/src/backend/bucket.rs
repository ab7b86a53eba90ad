//! Blobs as objects in a bucket of an S3-compatible server.
//!
//! ```text
//! PREFIX/STORE               whose bucket this is (bucket/claim.rs)
//! PREFIX/blobs/sha256/HEX    a blob's bytes
//! ```
//!
//! Used of S3: PUT with `If-None-Match: *`, uploads in parts, GET with a range, DELETE, ListObjectsV2. A request is
//! signed (`signing.rs`), has time limits, and is repeated a few times where that changes nothing (`client.rs`). A failed
//! request fails what asked for it and nothing else: unlike a failed sync it leaves no doubt about what is durable.

mod address;
mod answer;
mod claim;
mod client;
mod credentials;
mod fault;
mod listing;
mod object;
mod signing;
mod upload;

pub use address::BucketPlace;
pub use fault::BucketFault;

use super::{Backend, Content, Place, Staged};
use crate::{Error, Result};
use address::Address;
use anneal_content::BlobDigest;
use answer::Listed;
use client::{Ask, Client};
use credentials::{Credentials, environment};
use object::Object;
use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};
use ureq::http::Method;

/// How many requests are under way together for one call: they wait for the network and not for a processor.
const WORKERS: usize = 4;
/// How many objects a page of a listing has.
const PAGE: &str = "1000";
/// How much of a damaged blob is copied at a time.
const COPY_BYTES: u64 = 1 << 20;
/// Up to so many blobs are looked for one by one; for more, the bucket is listed.
const LOOK_EACH_MAX: usize = 32;

/// A bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    client: Arc<Client>,
}

impl Bucket {
    /// A bucket to read from; the server is not asked yet.
    pub(crate) fn new(place: &Place) -> Result<Self> {
        let address = Address::new(&place.bucket)?;
        let credentials = Credentials::find(&place.bucket, &environment)?;
        Ok(Self { client: Arc::new(Client::new(address, credentials)) })
    }

    /// Claims the bucket for a store, which is then its one writer.
    pub(crate) fn claim(&self, place: &Place, may_be_first: bool) -> Result<()> {
        claim::claim(&self.client, &place.store, may_be_first)?;
        claim::end_old_uploads(&self.client)
    }

    fn prefix(&self) -> String {
        self.client.address.key("blobs/sha256/")
    }

    fn key(&self, digest: &BlobDigest) -> String {
        self.prefix() + &digest.hex()
    }

    fn delete(&self, digest: &BlobDigest) -> Result<()> {
        let key = self.key(digest);
        self.client.must(&Ask::new("delete", Method::DELETE, &key), &[200, 204]).map(drop)
    }

    /// All objects whose keys begin with a prefix, a page at a time.
    fn each_page(&self, prefix: &str, mut visit: impl FnMut(&[Listed])) -> Result<()> {
        let mut from = String::new();
        loop {
            let (listed, is_more) = self.client.list(prefix, &from, PAGE)?;
            visit(&listed);
            match listed.last() {
                Some(last) if is_more => from.clone_from(&last.key),
                _ => return Ok(()),
            }
        }
    }
}

impl Backend for Bucket {
    fn keep(&self, staged: &[Staged], _: &File) -> Result<()> {
        each(staged, |one| upload::put(&self.client, &self.key(&one.digest), one))
    }

    fn open(&self, digest: &BlobDigest, range: Range<u64>) -> Result<Option<Box<dyn Content>>> {
        let object = Object::open(Arc::clone(&self.client), self.key(digest), range)?;
        Ok(object.map(|object| Box::new(object) as Box<dyn Content>))
    }

    fn set_aside(&self, digest: &BlobDigest, to: &Path) -> Result<()> {
        let Some(mut object) = Object::open(Arc::clone(&self.client), self.key(digest), 0..u64::MAX)? else {
            return Ok(());
        };
        let mut file = File::create(to).map_err(Error::io("create", to))?;
        let (mut chunk, mut at) = (Vec::new(), 0);
        while at < object.size() {
            let count = COPY_BYTES.min(object.size() - at);
            if !object.read_at(at, usize::try_from(count).unwrap_or_default(), &mut chunk)? {
                break;
            }
            file.write_all(&chunk).map_err(Error::io("write", to))?;
            at += count;
        }
        self.delete(digest)
    }

    fn take_away(&self, digests: &[BlobDigest], _: &Path) -> Result<u64> {
        each(digests, |digest| self.delete(digest))?;
        Ok(digests.len() as u64)
    }

    fn list(&self, first: u8) -> Result<Vec<BlobDigest>> {
        let mut digests = Vec::new();
        self.each_page(&format!("{}{first:02x}", self.prefix()), |listed| {
            digests.extend(listed.iter().filter_map(Listed::digest));
        })?;
        Ok(digests)
    }

    fn came_ms(&self, digests: &[BlobDigest]) -> Result<Vec<Option<u64>>> {
        if digests.len() <= LOOK_EACH_MAX {
            let look = |digest: &BlobDigest| Ok(self.client.stat(&self.key(digest))?.map(|listed| listed.came_ms));
            return digests.iter().map(look).collect();
        }
        let mut came = BTreeMap::new();
        self.each_page(&self.prefix(), |listed| {
            came.extend(listed.iter().filter_map(|listed| Some((listed.digest()?, listed.came_ms))));
        })?;
        Ok(digests.iter().map(|digest| came.get(digest).copied()).collect())
    }

    fn inode(&self, _: &BlobDigest) -> Option<PathBuf> {
        None
    }

    fn name(&self) -> String {
        self.client.place().to_string()
    }
}

/// Does something with each, several at a time, up to the first error.
fn each<T: Sync>(items: &[T], act: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || -> Result<()> {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| !stop.load(Ordering::Relaxed))
        {
            act(item).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    if items.len() <= 1 {
        return work();
    }
    let done: Vec<Result<()>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..WORKERS.min(items.len())).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    done.into_iter().collect()
}
