//! Deleting, in small batches: first the rows, in one synced write, then the files.
//!
//! A file is moved to `tmp` while its digest is condemned, so that a put of the same blob never meets its removal, and
//! removed when nobody waits any more: to unlink a large file takes its time. A crash leaves files that no row names;
//! they are swept like the rest, the next time.

use super::{COLLECTED, Collection, Meaning, Node, Survey};
use crate::{
    Error, Result,
    action::decode_failure,
    backend::{digests_in, move_away},
    db::{Changes, Table},
    layout::remove_tree,
};
use anneal_content::{ActionDigest, BlobDigest};
use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How many things are deleted together at most: whoever needs one of them waits for all.
const BATCH: usize = 64;
/// How long somebody may wait for a batch: after one that took longer, the next ones are half as large.
const WAIT: Duration = Duration::from_millis(20);

/// How a sweep is done.
pub struct Sweep<'a> {
    /// What documents and records mean.
    pub meaning: Meaning<'a>,
    /// Digests of which it is remembered when they were collected, because something names them for ever.
    pub remember: &'a BTreeSet<BlobDigest>,
    /// Asked before each batch: whether to stop there.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for Sweep<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sweep").field("remember", &self.remember.len()).finish_non_exhaustive()
    }
}

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Swept {
    /// Blobs that are gone.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Actions whose results are gone.
    pub actions: u64,
    /// Failures that had expired, and small records that stood for what is gone.
    pub records: u64,
    /// Files that no row named.
    pub leftovers: u64,
    /// Directories made of trees that are gone.
    pub directories: u64,
    /// The longest time that somebody who needed something of a batch would have waited, in milliseconds.
    pub longest_wait_ms: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// Something that goes: the thing itself, and the row that stands for it where it is a record.
struct Doomed {
    node: Node,
    bytes: u64,
    row: Option<(Table, Vec<u8>)>,
}

/// Where bytes may be that no row names.
enum Place {
    /// The blobs that begin with a byte.
    Blobs(u8),
    /// A folder of inodes of another mode.
    Modes(PathBuf),
    Trees,
}

impl Collection {
    /// Deletes what the survey does not keep, and ends the collection. What was touched since is kept too.
    pub fn sweep(self, mut survey: Survey, how: &Sweep<'_>) -> Result<Swept> {
        if let Some(gap) = survey.gaps().first() {
            let (what, wrong) = (gap.what.clone(), gap.wrong.clone());
            return Err(Error::Hidden { what, wrong, why: gap.why.join(", for ") });
        }
        let mut swept = Swept::default();
        let dir = self.store.inner.temporary();
        let outcome = self.sweep_all(&mut survey, how, &dir, &mut swept);
        self.lease.touches().absolve();
        let cleared = remove_tree(&dir);
        outcome.and(cleared).map(|()| swept)
    }

    fn sweep_all(&self, survey: &mut Survey, how: &Sweep<'_>, dir: &Path, swept: &mut Swept) -> Result<()> {
        // Results before the trees that they name, so that no result outlives its trees.
        let mut doomed: Vec<Doomed> = Vec::new();
        doomed.extend(survey.actions.iter().map(|action| Doomed { node: Node::Action(*action), bytes: 0, row: None }));
        doomed.extend(self.loose_records(survey, how.meaning)?);
        let blobs =
            survey.blobs.iter().map(|(digest, bytes)| Doomed { node: Node::Blob(*digest), bytes: *bytes, row: None });
        doomed.extend(blobs);
        let (mut left, mut size) = (doomed.as_slice(), BATCH);
        while !left.is_empty() {
            if (how.stop)() {
                swept.stopped = true;
                return Ok(());
            }
            let (batch, later) = left.split_at(size.min(left.len()));
            size = next_batch(size, self.delete(survey, how, batch, dir, swept)?);
            left = later;
        }
        self.expire_failures(survey.now_ms, swept)?;
        self.sweep_files(survey, how, dir, swept)
    }

    /// Keeps what was touched meanwhile; gives those of these that nobody touched, which are then condemned.
    fn condemn(&self, survey: &mut Survey, meaning: Meaning<'_>, nodes: &[Node]) -> Result<HashSet<Node>> {
        let touches = self.lease.touches();
        loop {
            let still = nodes.iter().copied().filter(|node| !survey.mark.keeps(node));
            if let Some(condemned) = touches.condemn(still) {
                return Ok(condemned);
            }
            let mut follow = |node: &Node| self.named_by(node, meaning);
            survey.mark.hold_all(&touches.fresh(), super::mark::IN_USE, "running work uses it".to_owned(), &mut follow);
            if let Some(gap) = survey.mark.gaps.first() {
                let (what, wrong) = (gap.what.clone(), gap.wrong.clone());
                return Err(Error::Hidden { what, wrong, why: gap.why.join(", for ") });
            }
        }
    }

    fn delete(
        &self,
        survey: &mut Survey,
        how: &Sweep<'_>,
        batch: &[Doomed],
        dir: &Path,
        swept: &mut Swept,
    ) -> Result<Duration> {
        let nodes: Vec<Node> = batch.iter().map(|doomed| doomed.node).collect();
        let condemned = self.condemn(survey, how.meaning, &nodes)?;
        let begun = Instant::now();
        let gone: Vec<&Doomed> = batch.iter().filter(|doomed| condemned.contains(&doomed.node.stored())).collect();
        let written = self.delete_rows(&gone, how.remember, survey.now_ms);
        let moved = written.and_then(|()| {
            let blobs = gone.iter().filter(|doomed| doomed.row.is_none());
            let digests: Vec<_> = blobs.filter_map(|doomed| as_blob(&doomed.node)).collect();
            self.store.inner.backend.take_away(&digests, dir)?;
            digests.iter().try_for_each(|digest| self.move_files(digest, dir))
        });
        self.lease.touches().absolve();
        let took = begun.elapsed();
        swept.waited(took);
        moved?;
        for doomed in gone {
            match (&doomed.row, doomed.node) {
                (Some(_), _) => swept.records += 1,
                (None, Node::Action(_)) => swept.actions += 1,
                (None, _) => {
                    swept.blobs += 1;
                    swept.bytes += doomed.bytes;
                }
            }
        }
        remove_tree(dir)?;
        Ok(took)
    }

    fn delete_rows(&self, gone: &[&Doomed], remember: &BTreeSet<BlobDigest>, now_ms: u64) -> Result<()> {
        let mut changes = Changes::default();
        for doomed in gone {
            match (&doomed.row, doomed.node) {
                (Some((table, key)), _) => changes.delete(*table, key.clone()),
                (None, Node::Action(action)) => self.delete_action(&action, &mut changes)?,
                (None, node) => {
                    changes.delete(Table::Blobs, *node.bytes());
                    let digest = BlobDigest::from_bytes(*node.bytes());
                    if remember.contains(&digest) {
                        changes.put(Table::Records, format!("{COLLECTED}\0{}", digest.hex()), now_ms.to_be_bytes());
                    }
                }
            }
        }
        self.store.inner.write_db(changes)
    }

    /// All results of an action at once: they are numbered without gaps.
    fn delete_action(&self, action: &ActionDigest, changes: &mut Changes) -> Result<()> {
        let prefix = action.as_bytes();
        for row in self.store.inner.db.rows(Table::Results, prefix, crate::db::prefix_end(prefix))? {
            changes.delete(Table::Results, row?.0);
        }
        Ok(())
    }

    /// Records that stand for what is not kept.
    fn loose_records(&self, survey: &Survey, meaning: Meaning<'_>) -> Result<Vec<Doomed>> {
        let mut doomed = Vec::new();
        for (kind, stands_for) in meaning.records {
            for (key, value) in self.store.records(kind)? {
                // one that cannot be read is worth nothing, and nobody can tell what it would keep
                let Some(node) = stands_for(&value) else { continue };
                if !survey.mark.keeps(&node) {
                    let row = (Table::Records, format!("{kind}\0{key}").into_bytes());
                    doomed.push(Doomed { node, bytes: 0, row: Some(row) });
                }
            }
        }
        Ok(doomed)
    }

    fn expire_failures(&self, now_ms: u64, swept: &mut Swept) -> Result<()> {
        let mut changes = Changes::default();
        for row in self.store.inner.db.rows(Table::Failures, &[], None)? {
            let (key, value) = row?;
            if decode_failure(&value)?.expires_ms <= now_ms {
                changes.delete(Table::Failures, key);
                swept.records += 1;
            }
        }
        self.store.inner.write_db(changes)
    }

    /// Bytes of blobs that no row names, inodes of other modes, and directories made of trees.
    fn sweep_files(&self, survey: &mut Survey, how: &Sweep<'_>, dir: &Path, swept: &mut Swept) -> Result<()> {
        let layout = &self.store.inner.layout;
        let mut places: Vec<Place> = (0..=u8::MAX).map(Place::Blobs).collect();
        places.extend(subfolders(&layout.modes())?.map(Place::Modes));
        places.push(Place::Trees);
        for place in &places {
            let found = match place {
                Place::Blobs(first) => self.store.inner.backend.list(*first)?,
                Place::Modes(folder) => digests_in(folder)?,
                Place::Trees => digests_in(&layout.trees())?,
            };
            let loose: Vec<Node> = found.into_iter().map(Node::Blob).filter(|node| !survey.mark.keeps(node)).collect();
            for batch in loose.chunks(BATCH) {
                if (how.stop)() {
                    swept.stopped = true;
                    return Ok(());
                }
                let condemned = self.condemn(survey, how.meaning, batch)?;
                let begun = Instant::now();
                let moved = self.move_unnamed(place, &condemned, dir);
                self.lease.touches().absolve();
                swept.waited(begun.elapsed());
                let moved = moved?;
                *(if matches!(place, Place::Trees) { &mut swept.directories } else { &mut swept.leftovers }) += moved;
                remove_tree(dir)?;
            }
        }
        Ok(())
    }

    fn move_unnamed(&self, place: &Place, condemned: &HashSet<Node>, dir: &Path) -> Result<u64> {
        let inner = &self.store.inner;
        let mut going = Vec::new();
        for node in condemned {
            let digest = BlobDigest::from_bytes(*node.bytes());
            // a directory of a tree is made again at need; a file whose blob came meanwhile is not ours
            if matches!(place, Place::Trees) || !inner.db.contains(Table::Blobs, digest.as_bytes())? {
                going.push(digest);
            }
        }
        let trees = inner.layout.trees();
        let folder = match place {
            Place::Blobs(_) => return inner.backend.take_away(&going, dir),
            Place::Modes(folder) => folder,
            Place::Trees => &trees,
        };
        let mut moved = 0;
        for digest in going {
            moved += u64::from(move_away(&folder.join(digest.hex()), dir)?);
        }
        Ok(moved)
    }

    /// A blob's inodes of other modes, and the directory made of it where it is a tree.
    fn move_files(&self, digest: &BlobDigest, dir: &Path) -> Result<()> {
        let layout = &self.store.inner.layout;
        for mode in subfolders(&layout.modes())? {
            move_away(&mode.join(digest.hex()), dir)?;
        }
        move_away(&layout.trees().join(digest.hex()), dir).map(drop)
    }
}

impl Swept {
    fn waited(&mut self, time: Duration) {
        self.longest_wait_ms = self.longest_wait_ms.max(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }
}

/// How many are deleted together after a batch of `size` that took so long.
fn next_batch(size: usize, took: Duration) -> usize {
    if took > WAIT { (size / 2).max(1) } else { (size + size / 4 + 1).min(BATCH) }
}

fn as_blob(node: &Node) -> Option<BlobDigest> {
    match node.stored() {
        Node::Blob(digest) => Some(digest),
        _ => None,
    }
}

fn subfolders(dir: &Path) -> Result<impl Iterator<Item = PathBuf> + use<>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        found.push(entry.map_err(Error::io("list", dir))?.path());
    }
    Ok(found.into_iter().filter(|path| path.is_dir()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_slow_disk_batches_shrink_until_nobody_waits_long_and_grow_again_when_it_recovers() {
        // a disk on which each thing takes 5 ms
        let slow = |size: usize| Duration::from_millis(5 * size as u64);
        let sizes: Vec<usize> =
            std::iter::successors(Some(BATCH), |size| Some(next_batch(*size, slow(*size)))).take(50).collect();
        assert!(sizes.iter().skip(5).all(|size| slow(*size) <= Duration::from_millis(50)), "{sizes:?}");
        let recovered = (0..20).fold(1, |size, _| next_batch(size, Duration::ZERO));
        assert_eq!(recovered, BATCH);
        assert_eq!(next_batch(1, Duration::from_secs(9)), 1, "one at a time is the least");
    }
}
