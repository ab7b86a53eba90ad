//! What is being used: leases, what was touched under them, and what is being deleted at this moment.
//!
//! Work that puts something into the store and names it later, in an event, holds a lease from before the first to after
//! the second. While a lease or a collection is alive, everything that is put, found or asked for is noted. A collection
//! keeps what was touched since the oldest lease began, with all that it names.
//!
//! Nobody waits for a collection, with one exception: whoever touches one of the few things that are being deleted in
//! this very batch waits for the end of the batch, and then finds them gone.
//!
//! A backup holds what it is to copy in another way: it names everything that there was at one moment, and would have to
//! touch all of it. What it has copied may go.

use crate::{Error, Result, collect::Node, store::lock};
use anneal_content::BlobDigest;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Keeps what is touched while it lives from being collected.
#[derive(Debug)]
pub struct Lease {
    touches: Arc<Touches>,
    since: u64,
    collects: bool,
}

/// The touches of one store.
#[derive(Debug, Default)]
pub(crate) struct Touches {
    /// Whether there is a lease: without one, nothing is noted.
    watching: AtomicBool,
    noted: Mutex<Noted>,
    /// A batch of deletions is over.
    deleted: Condvar,
}

#[derive(Debug, Default)]
struct Noted {
    /// Counts leases; stands for the time.
    clock: u64,
    /// When each living lease began.
    leases: BTreeSet<u64>,
    collecting: bool,
    /// What was touched, and when last.
    touched: HashMap<Node, u64>,
    /// What the collection has not heard of yet.
    fresh: Vec<Node>,
    /// What is being deleted; blobs and actions only.
    condemned: HashSet<Node>,
    /// What a backup has yet to copy.
    held: Option<Held>,
}

/// What no collection deletes, because a backup that has begun names it.
#[derive(Debug)]
enum Held {
    /// All of it, until it is known what is named.
    Everything,
    /// These blobs, in order; as many were copied.
    These(Vec<BlobDigest>, usize),
}

impl Held {
    fn holds(&self, node: &Node) -> bool {
        match (self, node) {
            (Self::Everything, _) => true,
            (Self::These(..), Node::Action(_)) => false,
            (Self::These(digests, copied), node) => {
                let digest = BlobDigest::from_bytes(*node.bytes());
                digests.binary_search(&digest).is_ok_and(|at| at >= *copied)
            }
        }
    }
}

/// Keeps what a backup names from being collected before it is copied.
#[derive(Debug)]
pub(crate) struct Hold(Arc<Touches>);

impl Touches {
    /// Begins a lease.
    pub(crate) fn lease(self: &Arc<Self>) -> Lease {
        self.begin(&mut lock(&self.noted), false)
    }

    /// Begins the lease of a collection; there is one at a time.
    pub(crate) fn collect(self: &Arc<Self>) -> Result<Lease> {
        let mut noted = lock(&self.noted);
        if noted.collecting {
            return Err(Error::Collecting);
        }
        noted.collecting = true;
        Ok(self.begin(&mut noted, true))
    }

    fn begin(self: &Arc<Self>, noted: &mut Noted, collects: bool) -> Lease {
        noted.clock += 1;
        let since = noted.clock;
        noted.leases.insert(since);
        self.watching.store(true, Ordering::Release);
        Lease { touches: Arc::clone(self), since, collects }
    }

    /// Notes that something is used. Comes before the look at whether it is there.
    pub(crate) fn touch(&self, node: Node) {
        if !self.watching.load(Ordering::Acquire) {
            return;
        }
        let mut noted = lock(&self.noted);
        while noted.condemned.contains(&node.stored()) {
            noted = self.deleted.wait(noted).unwrap_or_else(PoisonError::into_inner);
        }
        let now = noted.clock;
        if noted.touched.insert(node, now).is_none() && noted.collecting {
            noted.fresh.push(node);
        }
    }

    /// Everything that is to be kept because it was touched.
    pub(crate) fn all(&self) -> Vec<Node> {
        let mut noted = lock(&self.noted);
        noted.fresh.clear();
        noted.touched.keys().copied().collect()
    }

    /// What was touched since this, or all of it, was asked for last.
    pub(crate) fn fresh(&self) -> Vec<Node> {
        std::mem::take(&mut lock(&self.noted).fresh)
    }

    /// Keeps everything from being collected from now on; what is being deleted at this moment is gone when it returns.
    pub(crate) fn hold(self: &Arc<Self>) -> Result<Hold> {
        let mut noted = lock(&self.noted);
        if noted.held.is_some() {
            return Err(Error::BackingUp);
        }
        noted.held = Some(Held::Everything);
        while !noted.condemned.is_empty() {
            noted = self.deleted.wait(noted).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(Hold(Arc::clone(self)))
    }

    /// Begins to delete those of these that nobody touched; `None` where the collection must hear first what was touched.
    pub(crate) fn condemn(&self, nodes: impl Iterator<Item = Node>) -> Option<HashSet<Node>> {
        let mut noted = lock(&self.noted);
        if !noted.fresh.is_empty() {
            return None;
        }
        let is_used = |node: &Node| {
            node.forms().iter().any(|form| noted.touched.contains_key(form))
                || noted.held.as_ref().is_some_and(|held| held.holds(node))
        };
        let condemned: HashSet<Node> = nodes.map(|node| node.stored()).filter(|node| !is_used(node)).collect();
        noted.condemned.clone_from(&condemned);
        Some(condemned)
    }

    /// What was condemned is gone.
    pub(crate) fn absolve(&self) {
        lock(&self.noted).condemned.clear();
        self.deleted.notify_all();
    }
}

impl Hold {
    /// Keeps these blobs alone, which are in order.
    pub(crate) fn only(&self, digests: Vec<BlobDigest>) {
        lock(&self.0.noted).held = Some(Held::These(digests, 0));
    }

    /// They are copied, up to this one.
    pub(crate) fn copied(&self, digest: &BlobDigest) {
        if let Some(Held::These(digests, copied)) = &mut lock(&self.0.noted).held {
            *copied = digests.partition_point(|held| held <= digest);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.0.noted).held = None;
    }
}

impl Lease {
    pub(crate) fn touches(&self) -> &Touches {
        &self.touches
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut noted = lock(&self.touches.noted);
        noted.leases.remove(&self.since);
        if self.collects {
            noted.collecting = false;
            noted.fresh = Vec::new();
            noted.condemned.clear();
            self.touches.deleted.notify_all();
        }
        match noted.leases.first().copied() {
            None => {
                self.touches.watching.store(false, Ordering::Release);
                noted.touched = HashMap::new();
            }
            // Its roots may be from before an event of the lease that ends here.
            _ if noted.collecting => {}
            // What was touched last before the oldest lease began is named by now, or never will be.
            Some(oldest) if oldest > self.since => noted.touched.retain(|_, at| *at >= oldest),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_content::BlobDigest;

    fn blob(text: &str) -> Node {
        Node::Blob(BlobDigest::of(text.as_bytes()))
    }

    #[test]
    fn what_was_touched_under_a_living_lease_is_not_condemned() {
        let touches = Arc::new(Touches::default());
        touches.touch(blob("before any lease"));
        let older = touches.lease();
        touches.touch(blob("used"));
        let newer = touches.lease();
        drop(older);
        touches.touch(blob("used later"));
        let collecting = touches.collect().unwrap();
        assert_eq!(touches.all(), [blob("used later")]);
        touches.touch(blob("used since"));
        assert!(touches.condemn([blob("used since")].into_iter()).is_none(), "it must hear of it first");
        assert_eq!(touches.fresh(), [blob("used since")]);
        let all = ["before any lease", "used", "used later", "used since"].map(blob);
        let condemned = touches.condemn(all.into_iter()).unwrap();
        assert_eq!(condemned, HashSet::from([blob("before any lease"), blob("used")]));
        touches.absolve();
        drop((newer, collecting));
        assert!(!touches.watching.load(Ordering::Acquire) && lock(&touches.noted).touched.is_empty());
    }

    #[test]
    fn what_a_backup_has_yet_to_copy_is_not_condemned() {
        let touches = Arc::new(Touches::default());
        let _collecting = touches.collect().unwrap();
        let mut digests = ["a", "b", "c"].map(|text| BlobDigest::of(text.as_bytes()));
        digests.sort_unstable();
        let nodes = digests.map(Node::Blob);
        let condemned = || touches.condemn(nodes.into_iter()).unwrap();
        let hold = touches.hold().unwrap();
        assert!(matches!(touches.hold(), Err(Error::BackingUp)));
        assert_eq!(condemned(), HashSet::new());
        hold.only(digests[1..].to_vec());
        assert_eq!(condemned(), HashSet::from([nodes[0]]));
        hold.copied(&digests[1]);
        assert_eq!(condemned(), HashSet::from([nodes[0], nodes[1]]));
        drop(hold);
        assert_eq!(condemned(), HashSet::from(nodes));
        let other = Arc::clone(&touches);
        let waiting = std::thread::spawn(move || drop(other.hold().unwrap()));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!waiting.is_finished(), "a batch is being deleted");
        touches.absolve();
        waiting.join().unwrap();
    }

    #[test]
    fn there_is_one_collection_at_a_time() {
        let touches = Arc::new(Touches::default());
        let first = touches.collect().unwrap();
        assert!(matches!(touches.collect(), Err(Error::Collecting)));
        drop(first);
        touches.collect().unwrap();
    }

    #[test]
    fn who_touches_what_is_being_deleted_waits_for_the_end_of_the_batch() {
        let touches = Arc::new(Touches::default());
        let _collecting = touches.collect().unwrap();
        assert_eq!(touches.condemn([blob("garbage")].into_iter()).unwrap().len(), 1);
        let other = Arc::clone(&touches);
        let waiting = std::thread::spawn(move || other.touch(blob("garbage")));
        touches.touch(blob("something else"));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!waiting.is_finished());
        touches.absolve();
        waiting.join().unwrap();
    }
}
