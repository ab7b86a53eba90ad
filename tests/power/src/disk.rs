//! A disk that writes down what it is told: a FUSE file system with one file, `disk`, for a loop device to stand on.
//!
//! The loop device turns a flush of its cache, and a write that must be on the disk at once, into an fsync of the file. So
//! what a real disk would be told arrives here as writes and flushes, and goes into the log (`blocks.rs`) in its order.

use crate::Blocks;
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite,
    Request, TimeOrNow, WriteFlags,
};
use std::{
    ffi::OsStr,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The name of the only file.
const NAME: &str = "disk";
/// Where something on it can begin.
const SECTOR_BYTES: usize = 512;
const FILE: INodeNo = INodeNo(2);
/// How long the kernel may rely on what it was told: nothing here ever changes but by the kernel itself.
const TTL: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Content {
    bytes: Vec<u8>,
    blocks: Blocks,
    /// Where it cannot be read.
    bad: Vec<Range<usize>>,
}

type Shared = Arc<Mutex<Content>>;

fn lock(shared: &Shared) -> MutexGuard<'_, Content> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A disk that is there until it is dropped.
#[derive(Debug)]
pub struct Disk {
    shared: Shared,
    path: PathBuf,
    _session: BackgroundSession,
}

impl Disk {
    /// A new disk, empty, as a file in a directory that is made for it.
    pub fn new(dir: &Path, bytes: usize) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let shared =
            Arc::new(Mutex::new(Content { bytes: vec![0; bytes], blocks: Blocks::default(), bad: Vec::new() }));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("anneal-power".to_owned()), MountOption::NoAtime];
        let session = fuser::spawn_mount(OneFile(Arc::clone(&shared)), dir, &config)?;
        Ok(Self { shared, path: dir.join(NAME), _session: session })
    }

    /// Where the disk is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How much the disk was told so far.
    pub fn position(&self) -> usize {
        lock(&self.shared).blocks.len()
    }

    /// Gives up where it holds these bytes, from the start of a sector on: who reads there gets an error. Says how many
    /// such places there are.
    pub fn spoil(&self, bytes: &[u8]) -> usize {
        let mut content = lock(&self.shared);
        let sectors = (0..content.bytes.len()).step_by(SECTOR_BYTES);
        let found = sectors.filter(|at| content.bytes[*at..].starts_with(bytes));
        let spoilt: Vec<_> = found.map(|at| at..at + bytes.len()).collect();
        content.bad.extend_from_slice(&spoilt);
        spoilt.len()
    }

    /// Everything can be read again, as it was.
    pub fn heal(&self) {
        lock(&self.shared).bad.clear();
    }

    /// All that it was told so far.
    pub fn blocks(&self) -> Blocks {
        lock(&self.shared).blocks.clone()
    }
}

#[derive(Debug)]
struct OneFile(Shared);

impl OneFile {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_file = inode == FILE;
        let size = if is_file { lock(&self.0).bytes.len() as u64 } else { 0 };
        FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }

    fn range(content: &Content, offset: u64, len: usize) -> Range<usize> {
        let end = content.bytes.len();
        let start = usize::try_from(offset).unwrap_or(end).min(end);
        start..start.saturating_add(len).min(end)
    }
}

impl Filesystem for OneFile {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == NAME {
            reply.entry(&TTL, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(inode));
    }

    /// Times and modes don't matter, and the size stays what it is.
    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.attr(&TTL, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let content = lock(&self.0);
        let range = Self::range(&content, offset, size as usize);
        match content.bad.iter().any(|bad| bad.start < range.end && range.start < bad.end) {
            true => reply.error(Errno::EIO),
            false => reply.data(&content.bytes[range]),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut content = lock(&self.0);
        let range = Self::range(&content, offset, data.len());
        if range.len() != data.len() {
            return reply.error(Errno::ENOSPC);
        }
        content.bytes[range].copy_from_slice(data);
        content.blocks.write(offset, data);
        reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        lock(&self.0).blocks.flush();
        reply.ok();
    }
}
