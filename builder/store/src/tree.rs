//! Trees as read-only directories that an overlay can mount at once.
//!
//! A file of a tree is a hard link to its blob, or, where the blob's inode has another mode, to a second inode with the
//! same bytes under `modes/`. So contents are on disk once per mode, whatever the number of trees. Every content is
//! read and checked before it is linked. The directories are not synced: those of an earlier boot are dropped at open.

use crate::{
    Content, Error, OpenMode, Result, Store,
    backend::FileContent,
    batch::{create, finish},
    collect::Node,
    layout::{create_dir, remove_tree, rename_over},
    record::{BlobRecord, CHUNK_BYTES},
    store::{Inner, lock},
};
use anneal_capture::in_parallel;
use anneal_content::{BlobDigest, Entry, EntryKind, TreeDigest};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::{ErrorKind, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// The time that every file, directory and link of a materialised tree has. Not 0, which some tools take for "unset".
pub const MTIME_SECS: u64 = 1;
/// The mode of a plain blob's inode, and of a tree's plain file.
pub(crate) const FILE_MODE: u32 = 0o644;
/// The mode of a tree's program.
const PROGRAM_MODE: u32 = 0o755;
/// How often one link may find that its inode has just given way to another with the same bytes.
const GIVEN_WAY_MAX: u32 = 100;
/// The mode of a tree's own directory.
const DIRECTORY_MODE: u32 = 0o755;

/// Which mode a blob's inode gets when it comes with a file of `mode`: most links then need no second inode.
pub(crate) const fn inode_mode(mode: u32) -> u32 {
    if mode & 0o111 == 0 { FILE_MODE } else { PROGRAM_MODE }
}

impl Store {
    /// The tree as a directory that nobody may change: modes as in the tree, all times [`MTIME_SECS`].
    ///
    /// Made once and kept; several callers may ask for it at the same time.
    pub fn materialize(&self, tree: &TreeDigest) -> Result<PathBuf> {
        self.inner.touch(Node::Tree(*tree));
        let path = self.inner.layout.tree(tree);
        if path.exists() {
            return Ok(path);
        }
        if self.mode() == OpenMode::ReadOnly {
            return Err(Error::ReadOnly { dir: self.dir().to_owned() });
        }
        let mut making = lock(&self.inner.making);
        while !making.insert(*tree) {
            making = self.inner.made.wait(making).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        drop(making);
        let made = if path.exists() { Ok(()) } else { self.make(tree, &path) };
        lock(&self.inner.making).remove(tree);
        self.inner.made.notify_all();
        made.map(|()| path)
    }

    fn make(&self, tree: &TreeDigest, path: &Path) -> Result<()> {
        let entries = anneal_content::list(tree, self).map_err(|source| Error::Tree { tree: *tree, source })?;
        let temporary = self.inner.temporary();
        self.inner.may_write(&temporary, 0)?;
        create_dir(&temporary)?;
        let made = self.fill(tree, &entries, &temporary);
        let made = made.and_then(|()| fs::rename(&temporary, path).map_err(Error::io("rename into place", path)));
        if made.is_err()
            && let Err(error) = remove_tree(&temporary)
        {
            tracing::warn!(%error, "a half-made tree stays until the next start");
        }
        made
    }

    fn fill(&self, tree: &TreeDigest, entries: &[Entry], root: &Path) -> Result<()> {
        let mut contents: BTreeMap<(BlobDigest, u32), (u64, Vec<PathBuf>)> = BTreeMap::new();
        for entry in entries {
            let path = root.join(entry.path.as_str());
            if entry.mode & 0o6000 != 0 {
                let reason = format!("mode {:04o} of tree {tree} is setuid or setgid", entry.mode);
                return Err(anneal_capture::Error::Refused { path: entry.path.to_string(), reason }.into());
            }
            match &entry.kind {
                EntryKind::Directory => fs::create_dir(&path).map_err(Error::io("create directory", &path))?,
                EntryKind::Symlink { target } => {
                    std::os::unix::fs::symlink(target, &path).map_err(Error::io("create link", &path))?;
                    set_times(&path)?;
                }
                EntryKind::File { digest, size } => {
                    let content = contents.entry((*digest, entry.mode)).or_insert((*size, Vec::new()));
                    if content.0 != *size {
                        let what = format!("entry `{}` of tree {tree}", entry.path);
                        return Err(Error::Record { what, reason: format!("its size is not {}", content.0) });
                    }
                    content.1.push(path);
                }
            }
        }
        let contents: Vec<_> = contents.into_iter().collect();
        in_parallel(&contents, |((digest, mode), (size, paths))| self.inner.link_all(digest, *mode, *size, paths))?;
        for entry in entries.iter().rev().filter(|entry| entry.kind == EntryKind::Directory) {
            set_directory(&root.join(entry.path.as_str()), entry.mode)?;
        }
        set_directory(root, DIRECTORY_MODE)
    }
}

impl Inner {
    /// Puts a checked content at several paths, which share one inode.
    fn link_all(&self, digest: &BlobDigest, mode: u32, size: u64, paths: &[PathBuf]) -> Result<()> {
        let record = self.blob_record(digest)?;
        if record.size != size {
            let what = format!("an entry with blob {digest}");
            return Err(Error::Record { what, reason: format!("expected {size} bytes, the blob has {}", record.size) });
        }
        let mut source = self.source(digest, &record, mode)?;
        for path in paths {
            let mut given_way = 0;
            loop {
                match fs::hard_link(&source, path) {
                    Ok(()) if mode_of(path)? == mode => break,
                    // the blob was put again just now, with another mode
                    Ok(()) => {
                        fs::remove_file(path).map_err(Error::io("remove", path))?;
                        source = self.copy_with_mode(digest, &record, mode)?;
                    }
                    // a fresh inode takes the place of one with as many links as the file system allows
                    Err(e) if e.raw_os_error() == Some(rustix::io::Errno::MLINK.raw_os_error()) => {
                        source = self.copy_with_mode(digest, &record, mode)?;
                    }
                    // Who puts the same content renames its file over ours. Where that falls between the kernel's look
                    // at the name and its link, the inode has no name left, and the kernel says that there is no file.
                    Err(e) if e.kind() == ErrorKind::NotFound && given_way < GIVEN_WAY_MAX => {
                        given_way += 1;
                        source = self.source(digest, &record, mode)?;
                    }
                    Err(e) => return Err(Error::io("link", path)(e)),
                }
            }
        }
        Ok(())
    }

    /// An inode with the blob's bytes, checked, and the mode.
    fn source(&self, digest: &BlobDigest, record: &BlobRecord, mode: u32) -> Result<PathBuf> {
        if let Some(blob) = self.backend.inode(digest)
            && mode_of(&blob).is_ok_and(|found| found == mode)
        {
            self.check_blob(digest, record, |_| Ok(())).map_err(|wrong| self.wrong(digest, wrong))?;
            return Ok(blob);
        }
        let other = self.layout.moded(digest, mode);
        // none yet, a wrong one, or one that its mode keeps us from reading, is made anew
        let is_right = FileContent::open(&other).is_ok_and(|mut found| check(&mut found, record, |_| Ok(())).is_ok());
        if is_right && mode_of(&other)? == mode { Ok(other) } else { self.copy_with_mode(digest, record, mode) }
    }

    fn copy_with_mode(&self, digest: &BlobDigest, record: &BlobRecord, mode: u32) -> Result<PathBuf> {
        let (path, temporary) = (self.layout.moded(digest, mode), self.temporary());
        self.may_write(&path, record.size)?;
        let mut file = create(&temporary)?;
        let write = |chunk: &[u8]| file.write_all(chunk).map_err(Error::io("write", &temporary));
        let copied = self.check_blob(digest, record, write).map_err(|wrong| self.wrong(digest, wrong));
        let placed = copied.and_then(|()| finish(&file, &temporary, mode)).and_then(|()| {
            path.parent().map_or(Ok(()), create_dir)?;
            rename_over(&temporary, &path)
        });
        if placed.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        placed.map(|()| path)
    }

    pub(crate) fn wrong(&self, digest: &BlobDigest, wrong: Wrong) -> Error {
        match wrong {
            Wrong::Content(reason) => self.quarantine(digest, reason),
            Wrong::Absent => self.quarantine(digest, crate::blob::FILE_GONE.to_owned()),
            Wrong::Unread(error) => error,
        }
    }

    /// Reads a blob where it is kept; each chunk goes on only when it is right.
    pub(crate) fn check_blob(
        &self,
        digest: &BlobDigest,
        record: &BlobRecord,
        then: impl FnMut(&[u8]) -> Result<()>,
    ) -> std::result::Result<(), Wrong> {
        match self.backend.open(digest, 0..record.size) {
            Ok(Some(mut content)) => check(&mut *content, record, then),
            Ok(None) => Err(Wrong::Absent),
            Err(Error::Damaged { reason, .. }) => Err(Wrong::Content(reason)),
            Err(error) => Err(Wrong::Unread(error)),
        }
    }
}

/// Why content could not be checked or copied.
pub(crate) enum Wrong {
    Absent,
    Content(String),
    Unread(Error),
}

/// Reads what must be a blob's bytes; each chunk goes on only when it is right.
fn check(
    content: &mut dyn Content,
    record: &BlobRecord,
    mut then: impl FnMut(&[u8]) -> Result<()>,
) -> std::result::Result<(), Wrong> {
    let found = content.size();
    if found != record.size {
        return Err(Wrong::Content(format!("expected {} bytes, found {found}", record.size)));
    }
    let mut chunk = Vec::new();
    for index in 0..record.chunks.len() as u64 {
        let start = index * CHUNK_BYTES;
        let count = usize::try_from(CHUNK_BYTES.min(record.size - start)).unwrap_or_default();
        if !content.read_at(start, count, &mut chunk).map_err(Wrong::Unread)? {
            return Err(Wrong::Content(format!("it ends in chunk {index}")));
        }
        if !record.has_chunk(index, &chunk) {
            return Err(Wrong::Content(format!("chunk {index} (from byte {start}) has another hash")));
        }
        then(&chunk).map_err(Wrong::Unread)?;
    }
    Ok(())
}

fn mode_of(path: &Path) -> Result<u32> {
    let metadata = fs::symlink_metadata(path).map_err(Error::io("look at", path))?;
    Ok(metadata.permissions().mode() & 0o7777)
}

fn set_directory(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Error::io("change mode of", path))?;
    set_times(path)
}

fn set_times(path: &Path) -> Result<()> {
    let time = Timespec { tv_sec: MTIME_SECS as i64, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| Error::io("set times of", path)(e.into()))
}
