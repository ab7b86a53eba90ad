//! What can be put right after damage, from what else is there: a blob's row from its bytes, its bytes from a second inode
//! of them, a materialised tree from its blobs. What cannot is out of service, and its bytes are in quarantine.

use crate::{
    Backup, Error, OpenMode, Result, Store,
    batch::Batch,
    blob::DAMAGE,
    db::{Changes, Table},
    layout::remove_tree,
    record::{CHUNK_BYTES, ChunkHash, RecordHasher},
    regular_file,
    store::Inner,
    tree::Wrong,
};
use anneal_content::{BlobDigest, TreeDigest};
use rustix::io::Errno;
use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// What became of something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mended {
    /// It was as it should be.
    Sound,
    /// It was not, and is now; how.
    Mended(&'static str),
    /// It is out of service until it comes again; why.
    Lost(String),
}

impl Store {
    /// Whether a blob was found damaged that has not come again, and that something may still name: a collection drops the
    /// records of the others.
    pub fn lacks_something(&self) -> Result<bool> {
        Ok(!self.out_of_service()?.is_empty())
    }

    /// Blobs that were found damaged and have not come again, with how they were damaged. Nobody uses a blob by asking
    /// for these, so this keeps nothing from being collected.
    pub fn out_of_service(&self) -> Result<Vec<(BlobDigest, String)>> {
        let mut gone = Vec::new();
        for (hex, why) in self.records(DAMAGE)? {
            let digest = format!("sha256:{hex}").parse::<BlobDigest>().map_err(|error| Error::Record {
                what: format!("the record of the damage of blob {hex}"),
                reason: error.to_string(),
            })?;
            if !self.inner.db.contains(Table::Blobs, digest.as_bytes())? {
                gone.push((digest, String::from_utf8_lossy(&why).into_owned()));
            }
        }
        Ok(gone)
    }

    /// Looks at a whole blob, row and bytes, and puts right what can be.
    pub fn mend_blob(&self, digest: &BlobDigest) -> Result<Mended> {
        if self.mode() == OpenMode::ReadOnly {
            return Err(Error::ReadOnly { dir: self.dir().to_owned() });
        }
        if self.inner.layout.in_bucket {
            // a bucket keeps one copy, and keeps it itself: there is nothing here to mend from
            let record = self.inner.blob_record(digest)?;
            return match self.inner.check_blob(digest, &record, |_| Ok(())) {
                Ok(()) => Ok(Mended::Sound),
                // nobody can say now what is there
                Err(Wrong::Unread(error)) => Err(error),
                Err(wrong) => Ok(Mended::Lost(self.inner.wrong(digest, wrong).to_string())),
            };
        }
        // it does not go while it is looked at
        let _lease = self.lease();
        let path = self.inner.layout.blob(digest);
        let row = self.inner.db.get(Table::Blobs, digest.as_bytes())?;
        let wrong = match hash(&path, self.inner.chunk_hash) {
            Ok((found, record)) if found == *digest => match row {
                Some(row) if row == record => return Ok(Mended::Sound),
                Some(_) => {
                    let mut changes = Changes::default();
                    changes.put(Table::Blobs, *digest.as_bytes(), record);
                    self.inner.write_db(changes)?;
                    return Ok(Mended::Mended("its row was made again from its bytes"));
                }
                None => "it has no row".to_owned(),
            },
            Ok((found, _)) => format!("its bytes are {found}"),
            Err(e) if e.kind() == io::ErrorKind::NotFound => "its file is gone".to_owned(),
            Err(e) if is_of_the_file(&e) => format!("its file cannot be read: {e}"),
            Err(e) => return Err(Error::io("read", &path)(e)),
        };
        if row.is_some() {
            self.inner.take_out(digest, &wrong)?;
        }
        for copy in self.inner.copies(digest)? {
            if hash(&copy, self.inner.chunk_hash).is_ok_and(|(found, _)| found == *digest) {
                let mut file = regular_file::open(&copy).map_err(Error::io("open", &copy))?;
                let batch = Batch::new(&self.inner)?;
                batch.add_reader(&mut file, &copy, u64::MAX, crate::tree::FILE_MODE)?;
                batch.commit()?;
                self.remove_record(DAMAGE, &digest.hex())?;
                return Ok(Mended::Mended("its bytes were there a second time"));
            }
        }
        Ok(Mended::Lost(wrong))
    }

    /// Puts a blob that is lost back from a backup of this or of any other store: its bytes are hashed on their way. Where the
    /// backup's file is no better, the blob stays lost.
    pub fn mend_from(&self, digest: &BlobDigest, backup: &Backup) -> Result<Mended> {
        if self.has(digest)? {
            return Ok(Mended::Sound);
        }
        let path = backup.pool.blob(digest);
        let unreadable = |e: &io::Error| Mended::Lost(format!("the backup's copy cannot be read: {e}"));
        let damaged = |how: &str| Mended::Lost(format!("the backup's copy is damaged: {how}"));
        let mut file = match regular_file::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Mended::Lost("the backup lacks it".to_owned())),
            Err(e) if is_of_the_file(&e) => return Ok(unreadable(&e)),
            Err(e) => return Err(Error::io("open", &path)(e)),
        };
        let _lease = self.lease();
        let bytes = file.metadata().map_err(Error::io("look at", &path))?.len();
        self.inner.may_write(&path, bytes)?;
        let batch = Batch::new(&self.inner)?;
        match batch.add_reader(&mut file, &path, bytes, crate::tree::FILE_MODE) {
            Ok((found, _)) if found == *digest => {}
            Ok((found, _)) => return Ok(damaged(&format!("it hashes to {found}"))),
            Err(Error::TooLong { .. }) => return Ok(damaged("it is longer than it says")),
            Err(Error::Io { path: at, source, .. }) if at == path && is_of_the_file(&source) => {
                return Ok(unreadable(&source));
            }
            Err(error) => return Err(error),
        }
        batch.commit()?;
        self.remove_record(DAMAGE, &digest.hex())?;
        Ok(Mended::Mended("its bytes were in the backup"))
    }

    /// Looks at a materialised tree, and drops one that is not what its name says: the next build that needs it has it made
    /// again, from bytes that are checked.
    pub fn mend_tree(&self, tree: &TreeDigest) -> Result<Mended> {
        if self.mode() == OpenMode::ReadOnly {
            return Err(Error::ReadOnly { dir: self.dir().to_owned() });
        }
        let path = self.inner.layout.tree(tree);
        match crate::digest_dir(&path, &crate::IngestRules::of_a_materialized_tree()) {
            Ok(found) if found == *tree => return Ok(Mended::Sound),
            _ if !path.exists() => return Ok(Mended::Sound),
            _ => {}
        }
        self.inner.drop_tree(&path)?;
        Ok(Mended::Mended("it is made again when it is needed"))
    }
}

impl Inner {
    /// Takes a blob out of service: row first, then the file, then the trees that have its inode.
    pub(crate) fn take_out(&self, digest: &BlobDigest, reason: &str) -> Result<()> {
        let mut changes = Changes::default();
        changes.delete(Table::Blobs, *digest.as_bytes());
        changes.put(Table::Records, format!("{DAMAGE}\0{}", digest.hex()), reason);
        self.write_db(changes)?;
        let inode = fs::symlink_metadata(self.layout.blob(digest)).map(|file| (file.ino(), file.nlink()));
        if let Err(error) = self.backend.set_aside(digest, &self.layout.quarantine().join(digest.hex())) {
            tracing::warn!(%digest, %error, "a damaged blob stays in its place, without a record");
        }
        if let Ok((inode, links)) = inode
            && links > 1
            && let Err(error) = self.drop_trees_with(inode)
        {
            tracing::error!(%digest, %error, "a materialised tree may have its damaged bytes");
        }
        Ok(())
    }

    /// Drops the materialised trees that have an inode in them.
    fn drop_trees_with(&self, inode: u64) -> Result<()> {
        let trees = self.layout.trees();
        for tree in fs::read_dir(&trees).map_err(Error::io("list", &trees))? {
            let tree = tree.map_err(Error::io("list", &trees))?.path();
            if has_inode(&tree, inode).map_err(Error::io("list", &tree))? {
                tracing::error!(tree = %tree.display(), "a materialised tree has damaged bytes; it is made again when needed");
                self.drop_tree(&tree)?;
            }
        }
        Ok(())
    }

    fn drop_tree(&self, tree: &Path) -> Result<()> {
        let aside = self.temporary();
        match fs::rename(tree, &aside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("rename", tree)(e)),
            _ => {}
        }
        remove_tree(&aside)
    }

    /// Where else a blob's bytes may be: in inodes of other modes, and what was taken out of service.
    fn copies(&self, digest: &BlobDigest) -> Result<Vec<PathBuf>> {
        let modes = self.layout.modes();
        let mut copies = Vec::new();
        for mode in fs::read_dir(&modes).map_err(Error::io("list", &modes))? {
            copies.push(mode.map_err(Error::io("list", &modes))?.path().join(digest.hex()));
        }
        // where only its row was wrong, its bytes are not
        copies.push(self.layout.quarantine().join(digest.hex()));
        Ok(copies)
    }
}

/// The digest of a file and the row that belongs to it.
pub(crate) fn hash(path: &Path, kind: ChunkHash) -> io::Result<(BlobDigest, Vec<u8>)> {
    let mut file = regular_file::open(path)?;
    let mut buffer = vec![0; usize::try_from(CHUNK_BYTES).unwrap_or(1 << 20)];
    let mut hasher = RecordHasher::new(kind);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
    let (digest, record) = hasher.finish();
    Ok((digest, record.encode()))
}

/// Whether an error of opening or reading says that this file is bad, and nothing about the process or the machine.
pub(crate) fn is_of_the_file(error: &io::Error) -> bool {
    const BAD: [Errno; 7] =
        [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::NODATA, Errno::ILSEQ, Errno::ISDIR, Errno::LOOP];
    // without a number it is no answer of the kernel, but of who looked at the file
    Errno::from_io_error(error).is_none_or(|number| BAD.contains(&number))
}

fn has_inode(root: &Path, inode: u64) -> io::Result<bool> {
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                todo.push(entry.path());
            } else if entry.metadata()?.ino() == inode {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
