//! Making the table of blobs again where it alone is damaged: all that it says is computed from the blobs' files.
//!
//! 1. everything is read and held against what was acknowledged; where anything else is damaged, nothing is changed;
//! 2. one synced write: a note that the table is being made again, and the digests that are known to be lost;
//! 3. the table is dropped, unread, and made empty;
//! 4. each file is hashed and gets its row; the note goes last.
//!
//! After a stop behind 2 no open succeeds until it was done again from the start. The files of blobs that were collected by
//! a process that was stopped half-way get rows again, too, and go with the next collection.

use crate::{
    Error, OpenMode, Result, Store,
    acknowledged::Acknowledged,
    backend::digests_in,
    blob::{DAMAGE, FILE_GONE},
    db::{self, Changes, Db, Table, prefix_end},
    journal,
    layout::Layout,
    mend::{hash, is_of_the_file},
    record::ChunkHash,
    scrub::read_all,
    store::lock,
};
use anneal_content::BlobDigest;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    thread,
};

/// In how many parts the blobs are read, by the first byte of their digests.
pub const REMADE_PARTS: u16 = 256;
/// What says that it is not done yet.
const NOTE: &[u8] = b"remaking\0blobs";
/// How many rows are written together.
const ROWS_TOGETHER: usize = 1024;

/// What became of the table of blobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remade {
    /// How many blobs are in it now.
    pub rows: u64,
    /// Those that are out of service now, with why.
    pub lost: BTreeMap<BlobDigest, String>,
}

impl Store {
    /// Makes the table of blobs of the store in `dir` again where it is damaged and nothing else of the database is; `None`
    /// where there is nothing of that kind to do, and nothing was changed then. Nobody else may have the store open.
    ///
    /// Every blob is read. `passed` hears how many of [`REMADE_PARTS`] are done. A store whose blobs are in a bucket is left
    /// as it is.
    pub fn remake_blob_table(
        dir: &Path,
        chunk_hash: ChunkHash,
        threads: usize,
        passed: &(dyn Fn(u16) + Sync),
    ) -> Result<Option<Remade>> {
        if !Layout::is_store(dir) {
            return Ok(None);
        }
        let (layout, _lock) = Layout::open(dir, OpenMode::ReadWrite, false)?;
        let Some(mut lost) = damage(&layout)? else { return Ok(None) };
        let path = layout.db();
        let mut damaged = Db::open_damaged(&path, OpenMode::ReadWrite)?;
        damaged.write(note(&lost))?;
        damaged.drop_table(Table::Blobs)?;
        damaged.make_table(Table::Blobs)?;
        damaged.end_work();
        drop(damaged);
        let db = Db::open(&path, OpenMode::ReadWrite)?;
        let rows = fill(&layout, &db, chunk_hash, threads, passed, &mut lost)?;
        let mut done = note(&lost);
        done.delete(Table::Records, NOTE);
        db.write(done)?;
        db.end_work();
        Ok(Some(Remade { rows, lost }))
    }
}

/// Refuses a store whose table of blobs is not whole yet.
pub(crate) fn require_whole(layout: &Layout, db: &Db) -> Result<()> {
    match db.contains(Table::Records, NOTE)? {
        true => Err(Error::HalfMade { dir: layout.dir.clone() }),
        false => Ok(()),
    }
}

/// What is lost of a store whose table of blobs is damaged and nothing else, as far as rows can be read; `None` where another
/// thing is wrong, which the next open tells, or nothing.
fn damage(layout: &Layout) -> Result<Option<BTreeMap<BlobDigest, String>>> {
    let acknowledged = Acknowledged::read(layout)?;
    if layout.in_bucket || db::is_blank(&layout.db()) {
        return Ok(None);
    }
    let Ok(db) = Db::open_damaged(&layout.db(), OpenMode::ReadOnly) else { return Ok(None) };
    let is_whole = acknowledged.hold_against(layout, &db).and_then(|()| journal::end(layout, &db));
    let faults: Vec<&str> =
        read_all(&db, &|| false)?.into_iter().filter_map(|table| table.fault.map(|_| table.name)).collect();
    let is_begun = matches!(db.contains(Table::Records, NOTE), Ok(true));
    let is_of_blobs = faults == [Table::Blobs.name()] || (faults.is_empty() && is_begun);
    if is_whole.is_err() || !is_of_blobs {
        return Ok(None);
    }
    let mut lost = BTreeMap::new();
    for first in 0..=u8::MAX {
        let files = digests_in(&layout.blobs().join(format!("{first:02x}")))?;
        let Ok(rows) = db.rows(Table::Blobs, &[first], prefix_end(&[first])) else { break };
        for (key, _) in rows.map_while(Result::ok) {
            if let Some(digest) = key.first_chunk::<32>().map(|bytes| BlobDigest::from_bytes(*bytes))
                && files.binary_search(&digest).is_err()
            {
                lost.insert(digest, FILE_GONE.to_owned());
            }
        }
    }
    Ok(Some(lost))
}

/// That the table is being made, and what is lost.
fn note(lost: &BTreeMap<BlobDigest, String>) -> Changes {
    let mut changes = Changes::default();
    changes.put(Table::Records, NOTE, *b"from files");
    for (digest, why) in lost {
        changes.put(Table::Records, format!("{DAMAGE}\0{}", digest.hex()), why.as_bytes());
    }
    changes
}

/// Gives each blob its row, several parts at a time; says how many there are.
fn fill(
    layout: &Layout,
    db: &Db,
    chunk_hash: ChunkHash,
    threads: usize,
    passed: &(dyn Fn(u16) + Sync),
    lost: &mut BTreeMap<BlobDigest, String>,
) -> Result<u64> {
    let (next, done, rows, found) = (AtomicU16::new(0), AtomicU16::new(0), AtomicU64::new(0), Mutex::new(lost));
    let work = || -> Result<()> {
        while let Ok(first) = u8::try_from(next.fetch_add(1, Ordering::Relaxed)) {
            let (count, wrong) = fill_part(layout, db, chunk_hash, first)?;
            rows.fetch_add(count, Ordering::Relaxed);
            lock(&found).extend(wrong);
            passed(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
        Ok(())
    };
    let ended: Vec<Result<()>> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let joined = others.into_iter().map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(own).chain(joined).collect()
    });
    ended.into_iter().collect::<Result<()>>()?;
    Ok(rows.into_inner())
}

/// The same for the blobs that begin with a byte; gives how many, and those whose files are wrong.
fn fill_part(
    layout: &Layout,
    db: &Db,
    chunk_hash: ChunkHash,
    first: u8,
) -> Result<(u64, BTreeMap<BlobDigest, String>)> {
    let (mut rows, mut lost) = (0, BTreeMap::new());
    for some in digests_in(&layout.blobs().join(format!("{first:02x}")))?.chunks(ROWS_TOGETHER) {
        let mut changes = Changes::default();
        for digest in some {
            let path = layout.blob(digest);
            match hash(&path, chunk_hash) {
                Ok((found, record)) if found == *digest => {
                    changes.put(Table::Blobs, *digest.as_bytes(), record);
                    rows += 1;
                }
                Ok((found, _)) => drop(lost.insert(*digest, format!("its bytes are {found}"))),
                Err(e) if is_of_the_file(&e) => drop(lost.insert(*digest, format!("its file cannot be read: {e}"))),
                Err(e) => return Err(Error::io("read", &path)(e)),
            }
        }
        if !changes.is_empty() {
            db.write(changes)?;
        }
    }
    Ok((rows, lost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_wherever_it_was_stopped_before_the_first_row() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("store");
        let store = Store::open(&at, OpenMode::ReadWrite).unwrap();
        let blobs: Vec<BlobDigest> = (0..40_u8).map(|n| store.put_blob(&[n]).unwrap()).collect();
        let path = store.inner.layout.db();
        drop(store);
        for steps in 1..=3 {
            let mut db = Db::open_damaged(&path, OpenMode::ReadWrite).unwrap();
            db.write(note(&BTreeMap::new())).unwrap();
            if steps > 1 {
                db.drop_table(Table::Blobs).unwrap();
            }
            if steps > 2 {
                db.make_table(Table::Blobs).unwrap();
            }
            drop(db);
            for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
                let refused = Store::open(&at, mode).unwrap_err();
                assert!(matches!(refused, Error::HalfMade { .. } | Error::Unopened { .. }), "{steps}: {refused}");
                assert!(refused.to_string().contains("anneal store scrub --mend"), "{refused}");
            }
            let remade = Store::remake_blob_table(&at, ChunkHash::Blake3, 3, &|_| {}).unwrap().unwrap();
            assert_eq!((remade.rows, remade.lost.len()), (40, 0), "{steps}");
            let store = Store::open(&at, OpenMode::ReadWrite).unwrap();
            for (digest, n) in blobs.iter().zip(0_u8..) {
                assert_eq!(store.read_blob(digest, 9).unwrap(), [n]);
            }
        }
    }
}
