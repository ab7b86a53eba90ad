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
    blob::DAMAGE,
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

/// Something that goes.
struct Doomed {
    node: Node,
    bytes: u64,
    part: Part,
}

/// What of it goes.
enum Part {
    /// All of it.
    Whole,
    /// The record with this key, which stands for it.
    Record(Vec<u8>),
    /// The record of how it was damaged.
    Damage,
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
        let whole = |node, bytes| Doomed { node, bytes, part: Part::Whole };
        doomed.extend(survey.actions.iter().map(|action| whole(Node::Action(*action), 0)));
        doomed.extend(self.loose_records(survey, how.meaning)?);
        doomed.extend(self.loose_damage(survey)?);
        doomed.extend(survey.blobs.iter().map(|(digest, bytes)| whole(Node::Blob(*digest), *bytes)));
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

    /// Keeps what was touched meanwhile, and what a backup holds now, until the next collection with all that it names;
    /// gives the others of these, which are then condemned.
    fn condemn(&self, survey: &mut Survey, meaning: Meaning<'_>, nodes: &[Node]) -> Result<HashSet<Node>> {
        let touches = self.lease.touches();
        let mut follow = |node: &Node| self.named_by(node, meaning);
        loop {
            let still = nodes.iter().copied().filter(|node| !survey.mark.keeps(node));
            let condemned = touches.condemn(still);
            let (used, why) = match &condemned {
                None => (touches.fresh(), "running work uses it"),
                // results that are passed over here must not outlive what they name, though the backup ends in a moment
                Some(condemned) => {
                    let passed = |node: &&Node| !condemned.contains(&node.stored()) && !survey.mark.keeps(node);
                    (nodes.iter().filter(passed).copied().collect(), "a backup copies it")
                }
            };
            if !used.is_empty() {
                survey.mark.hold_all(&used, super::mark::IN_USE, why.to_owned(), &mut follow);
            }
            if let Some(gap) = survey.mark.gaps.first() {
                let (what, wrong) = (gap.what.clone(), gap.wrong.clone());
                return Err(Error::Hidden { what, wrong, why: gap.why.join(", for ") });
            }
            if let Some(condemned) = condemned {
                return Ok(condemned);
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
            let blobs = gone.iter().filter(|doomed| matches!(doomed.part, Part::Whole));
            let digests: Vec<_> = blobs.filter_map(|doomed| as_blob(&doomed.node)).collect();
            self.store.inner.backend.take_away(&digests, dir)?;
            digests.iter().try_for_each(|digest| self.move_files(digest, dir))
        });
        self.lease.touches().absolve();
        let took = begun.elapsed();
        swept.waited(took);
        moved?;
        for doomed in gone {
            match (&doomed.part, doomed.node) {
                (Part::Record(_) | Part::Damage, _) => swept.records += 1,
                (Part::Whole, Node::Action(_)) => swept.actions += 1,
                (Part::Whole, _) => {
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
            match (&doomed.part, doomed.node) {
                (Part::Record(key), _) => changes.delete(Table::Records, key.clone()),
                (Part::Whole, Node::Action(action)) => self.delete_action(&action, &mut changes)?,
                (part, node) => {
                    let digest = BlobDigest::from_bytes(*node.bytes());
                    match part {
                        Part::Damage => changes.delete(Table::Records, format!("{DAMAGE}\0{}", digest.hex())),
                        _ => changes.delete(Table::Blobs, *node.bytes()),
                    }
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
                    let part = Part::Record(format!("{kind}\0{key}").into_bytes());
                    doomed.push(Doomed { node, bytes: 0, part });
                }
            }
        }
        Ok(doomed)
    }

    /// Records of the damage of blobs that nothing names any more. What still names a damaged blob keeps its record, which
    /// alone says that a result is not whole ([`crate::Store::lacks_something`]).
    fn loose_damage(&self, survey: &Survey) -> Result<Vec<Doomed>> {
        let hexes = self.store.records(DAMAGE)?.into_iter().map(|(hex, _)| hex);
        let damaged = hexes.filter_map(|hex| format!("sha256:{hex}").parse().ok()).map(Node::Blob);
        let loose = damaged.filter(|node| !survey.mark.keeps(node));
        Ok(loose.map(|node| Doomed { node, bytes: 0, part: Part::Damage }).collect())
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
        let mut size = BATCH;
        for place in &places {
            let found = match place {
                Place::Blobs(first) => self.store.inner.backend.list(*first)?,
                Place::Modes(folder) => digests_in(folder)?,
                Place::Trees => digests_in(&layout.trees())?,
            };
            let loose: Vec<Node> = found.into_iter().map(Node::Blob).filter(|node| !survey.mark.keeps(node)).collect();
            let mut left = loose.as_slice();
            while !left.is_empty() {
                let (batch, later) = left.split_at(size.min(left.len()));
                left = later;
                if (how.stop)() {
                    swept.stopped = true;
                    return Ok(());
                }
                let condemned = self.condemn(survey, how.meaning, batch)?;
                let begun = Instant::now();
                let moved = self.move_unnamed(place, &condemned, dir);
                self.lease.touches().absolve();
                let took = begun.elapsed();
                swept.waited(took);
                size = next_batch(size, took);
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
mod tests;
