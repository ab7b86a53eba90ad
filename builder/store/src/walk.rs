//! Looking through a directory that a build left, without following it anywhere.
//!
//! Everything is opened by `openat2` beneath one directory handle: no symbolic link is followed, no mount entered, `..`
//! leads nowhere. What may not be in a tree is refused with its path: sockets, devices, fifos, setuid and setgid,
//! extended attributes, names that are not printable UTF-8.

use crate::{Error, Result};
use anneal_content::{EntryName, TreePath};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, readlinkat, statat};
use std::{
    fs::File,
    num::NonZero,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// How many directories deep a tree may be, as in `anneal_content::list`.
const DEPTH_MAX: usize = 64;
/// The longest symbolic link target, as in `anneal_content::Directory`.
const TARGET_BYTES_MAX: usize = 4095;
/// The longest list of extended attributes that is looked at.
const XATTRS_BYTES_MAX: usize = 64 << 10;
/// How often an open is tried again when something was renamed meanwhile.
const OPEN_ATTEMPTS: usize = 16;
/// More threads than this only wait for the disk.
const THREADS_MAX: usize = 16;
/// An attribute that some systems put on every file, without a meaning for its content.
const LABEL: &[u8] = b"security.selinux";

/// What a directory may hold at most. What a tree can't express is always refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestRules {
    /// Files, directories and links together.
    pub entries_max: usize,
    /// Bytes in one file.
    pub file_bytes_max: u64,
    /// Bytes in all files together.
    pub bytes_max: u64,
}

impl Default for IngestRules {
    fn default() -> Self {
        Self { entries_max: 1_000_000, file_bytes_max: 16 << 30, bytes_max: 64 << 30 }
    }
}

/// A directory that is being looked at.
#[derive(Debug)]
pub(crate) struct Root {
    handle: OwnedFd,
    path: PathBuf,
}

/// What was found, in the order of the walk.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Directories beneath the root, with their modes, and whether they are empty.
    pub(crate) directories: Vec<(TreePath, u32, bool)>,
    pub(crate) files: Vec<TreePath>,
    /// Symbolic links and their targets.
    pub(crate) links: Vec<(TreePath, String)>,
}

impl Found {
    fn len(&self) -> usize {
        self.directories.len() + self.files.len() + self.links.len()
    }
}

impl Root {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Error::io("open", path)(e.into()))?;
        Ok(Self { handle, path: path.to_owned() })
    }

    /// Where an entry is on disk, for errors.
    pub(crate) fn at(&self, path: &TreePath) -> PathBuf {
        self.path.join(path.as_str())
    }

    fn open_beneath(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let mut attempt = 1;
        loop {
            match openat2(&self.handle, path, flags, Mode::empty(), resolve) {
                Ok(handle) => return Ok(handle),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) if attempt < OPEN_ATTEMPTS => attempt += 1,
                Err(rustix::io::Errno::XDEV) => return Err(refused(path, "it is on another file system")),
                Err(e) => return Err(Error::io("open", &self.path.join(path))(e.into())),
            }
        }
    }

    /// A regular file and its mode, checked again on the open handle.
    pub(crate) fn open_file(&self, path: &TreePath) -> Result<(File, u32)> {
        // non-blocking, so that a fifo put in its place could not hold us up
        let handle = self.open_beneath(path.as_str(), OFlags::NONBLOCK)?;
        let stat = fstat(&handle).map_err(|e| Error::io("look at", &self.at(path))(e.into()))?;
        check_kind(path.as_str(), FileType::from_raw_mode(stat.st_mode), FileType::RegularFile)?;
        self.check_meta(path.as_str(), &handle, stat.st_mode)?;
        Ok((File::from(handle), stat.st_mode & 0o7777))
    }

    fn check_meta(&self, path: &str, handle: &OwnedFd, mode: u32) -> Result<()> {
        if mode & 0o6000 != 0 {
            return Err(refused(path, &format!("mode {:04o} is setuid or setgid", mode & 0o7777)));
        }
        let names = match attributes(handle) {
            Ok(names) => names,
            Err(rustix::io::Errno::NOTSUP) => return Ok(()),
            Err(e) => return Err(Error::io("list attributes of", &self.path.join(path))(e.into())),
        };
        match names.split(|byte| *byte == 0).find(|name| !name.is_empty() && *name != LABEL) {
            Some(name) => Err(refused(path, &format!("it has the extended attribute `{}`", printable(name)))),
            None => Ok(()),
        }
    }

    /// Lists everything beneath the root.
    pub(crate) fn walk(&self, rules: &IngestRules) -> Result<Found> {
        let mut found = Found::default();
        let mut todo: Vec<Option<TreePath>> = vec![None];
        while let Some(base) = todo.pop() {
            let before = found.directories.len();
            let (count, mode) = self.list(base.as_ref(), rules, &mut found)?;
            todo.extend(found.directories.iter().skip(before).map(|(path, ..)| Some(path.clone())));
            if let Some(base) = base
                && let Some(entry) = found.directories.iter_mut().rev().find(|(path, ..)| *path == base)
            {
                (entry.1, entry.2) = (mode, count == 0);
            }
        }
        Ok(found)
    }

    /// Lists one directory; gives the number of its entries and its mode.
    fn list(&self, base: Option<&TreePath>, rules: &IngestRules, found: &mut Found) -> Result<(usize, u32)> {
        let shown = base.map_or(".", TreePath::as_str);
        let handle = self.open_beneath(shown, OFlags::DIRECTORY)?;
        let io = |operation, e: rustix::io::Errno| Error::io(operation, &self.path.join(shown))(e.into());
        let mode = fstat(&handle).map_err(|e| io("look at", e))?.st_mode;
        if base.is_some() {
            self.check_meta(shown, &handle, mode)?;
        }
        let mut count = 0;
        for entry in Dir::read_from(&handle).map_err(|e| io("list", e))? {
            let entry = entry.map_err(|e| io("list", e))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            count += 1;
            if found.len() >= rules.entries_max {
                return Err(refused(shown, &format!("there are more than {} entries", rules.entries_max)));
            }
            let path = tree_path(base, name.to_bytes())?;
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| io("look into", e))?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                known => known,
            };
            match kind {
                FileType::Directory => found.directories.push((path, 0, false)),
                FileType::Symlink => {
                    let target = readlinkat(&handle, name, Vec::new()).map_err(|e| io("read a link in", e))?;
                    let target = check_target(&path, target.to_bytes())?;
                    found.links.push((path, target));
                }
                other => {
                    check_kind(path.as_str(), other, FileType::RegularFile)?;
                    found.files.push(path);
                }
            }
        }
        Ok((count, mode & 0o7777))
    }
}

/// The names of extended attributes, each ended by NUL.
fn attributes(handle: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let len = rustix::fs::flistxattr_query(handle)?;
    let mut names = vec![0; len.min(XATTRS_BYTES_MAX)];
    if len > 0 {
        let len = rustix::fs::flistxattr(handle, names.as_mut_slice())?;
        names.truncate(len);
    }
    Ok(names)
}

fn tree_path(base: Option<&TreePath>, name: &[u8]) -> Result<TreePath> {
    let shown = || match base {
        Some(base) => format!("{base}/{}", printable(name)),
        None => printable(name),
    };
    let text = std::str::from_utf8(name).map_err(|_| refused(&shown(), "its name is not UTF-8"))?;
    let name = EntryName::new(text).map_err(|e| refused(&shown(), &e.to_string()))?;
    let path = base.map_or_else(|| TreePath::from(name.clone()), |base| base.join(&name));
    if path.as_str().split('/').count() > DEPTH_MAX {
        return Err(refused(path.as_str(), &format!("it is deeper than {DEPTH_MAX} directories")));
    }
    Ok(path)
}

fn check_target(path: &TreePath, target: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(target).map_err(|_| refused(path.as_str(), "its target is not UTF-8"))?;
    if text.is_empty() || text.len() > TARGET_BYTES_MAX {
        let reason = format!("its target has {} bytes, expected 1 to {TARGET_BYTES_MAX}", text.len());
        return Err(refused(path.as_str(), &reason));
    }
    Ok(text.to_owned())
}

fn check_kind(path: &str, found: FileType, expected: FileType) -> Result<()> {
    let what = match found {
        kind if kind == expected => return Ok(()),
        FileType::Socket => "a socket",
        FileType::Fifo => "a fifo",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Symlink => "a symbolic link, which was a file a moment ago",
        _ => "of a kind that a tree can't hold",
    };
    Err(refused(path, &format!("it is {what}; a tree holds files, directories and symbolic links")))
}

pub(crate) fn refused(path: &str, reason: &str) -> Error {
    Error::Refused { path: path.to_owned(), reason: reason.to_owned() }
}

fn printable(bytes: &[u8]) -> String {
    bytes.escape_ascii().take(300).map(char::from).collect()
}

/// Does the same to every item, in as many threads as there are CPUs; ends at the first error.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], act: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut done = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            done.push((index, act(item).inspect_err(|_| stop.store(true, Ordering::Relaxed))?));
        }
        Ok(done)
    };
    let threads = cpus.min(THREADS_MAX).min(items.len());
    let mut done = if threads <= 1 {
        work()?
    } else {
        let parts = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            handles.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        let mut done = Vec::with_capacity(items.len());
        for part in parts {
            done.extend(part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        done
    };
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}
