//! Looking through a directory without following it anywhere: everything is opened beneath one handle.

use crate::{
    IngestRules, Result,
    error::{Error, refused},
    meta::{UNREADABLE, check_attributes, check_kind, check_link_attributes, check_mode},
    names::{check_target, tree_path},
};
use anneal_content::TreePath;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, readlinkat, statat},
    io::Errno,
};
use std::{
    fs::File,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// How often an open is tried again when something was renamed meanwhile.
const OPEN_ATTEMPTS: usize = 16;
/// All paths and link targets together, which are in memory at once: a million entries of 256 bytes.
const NAMES_BYTES_MAX: usize = 256 << 20;

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
    names_bytes: usize,
}

impl Found {
    fn len(&self) -> usize {
        self.directories.len() + self.files.len() + self.links.len()
    }

    /// Makes room for one more entry.
    fn count(&mut self, path: &TreePath, target: &str) -> Result<()> {
        self.names_bytes += path.as_str().len() + target.len();
        if self.names_bytes > NAMES_BYTES_MAX {
            return Err(refused(path.as_str(), format!("with it all paths take more than {NAMES_BYTES_MAX} bytes")));
        }
        Ok(())
    }
}

impl Root {
    /// The last part of the path must be the directory itself: what a link there leads to is not what was asked for.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(handle) => Ok(Self { handle, path: path.to_owned() }),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let reason = "it is not a directory; a symbolic link to one is not followed, name the directory itself";
                Err(refused(&path.display().to_string(), reason))
            }
            Err(e) => Err(Error::io("open", path)(e.into())),
        }
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
                Err(Errno::AGAIN | Errno::INTR) if attempt < OPEN_ATTEMPTS => attempt += 1,
                Err(Errno::XDEV) => return Err(refused(path, "it is on another file system")),
                Err(Errno::ACCESS) => return Err(refused(path, UNREADABLE)),
                Err(Errno::LOOP | Errno::NOENT | Errno::NOTDIR | Errno::NXIO) => {
                    return Err(refused(
                        path,
                        "it was moved or replaced while it was read; is something still running?",
                    ));
                }
                Err(e) => return Err(Error::io("open", &self.path.join(path))(e.into())),
            }
        }
    }

    /// A regular file and its state, checked again on the open handle.
    pub(crate) fn open_file(&self, path: &TreePath) -> Result<(File, Stat)> {
        // non-blocking, so that a fifo put in its place could not hold us up
        let handle = self.open_beneath(path.as_str(), OFlags::NONBLOCK)?;
        let stat = fstat(&handle).map_err(|e| Error::io("look at", &self.at(path))(e.into()))?;
        check_kind(path.as_str(), FileType::from_raw_mode(stat.st_mode), FileType::RegularFile)?;
        check_mode(path.as_str(), stat.st_mode)?;
        check_attributes(path.as_str(), &self.at(path), &handle)?;
        Ok((File::from(handle), stat))
    }

    /// Whether a file is still what it was when it was opened.
    pub(crate) fn check_unchanged(
        &self,
        path: &TreePath,
        file: &File,
        before: &Stat,
        rules: &IngestRules,
    ) -> Result<()> {
        let after = fstat(file).map_err(|e| Error::io("look at", &self.at(path))(e.into()))?;
        let content = |s: &Stat| (s.st_size, s.st_mtime, s.st_mtime_nsec);
        // Where others may add names, each of them changes this time.
        let inode = |s: &Stat| (!rules.names_elsewhere).then_some((s.st_ctime, s.st_ctime_nsec));
        if content(before) == content(&after) && inode(before) == inode(&after) {
            return Ok(());
        }
        Err(refused(path.as_str(), "it changed while it was read; is something still running?"))
    }

    /// Lists everything beneath the root.
    pub(crate) fn walk(&self, rules: &IngestRules) -> Result<Found> {
        let mut found = Found::default();
        self.list(None, rules, &mut found)?;
        // Places in `found`, so that an entry is not looked for among a million others.
        let mut todo: Vec<usize> = (0..found.directories.len()).collect();
        while let Some(index) = todo.pop() {
            let before = found.directories.len();
            let Some(base) = found.directories.get(index).map(|(path, ..)| path.clone()) else { break };
            let (count, mode) = self.list(Some(&base), rules, &mut found)?;
            todo.extend(before..found.directories.len());
            if let Some(entry) = found.directories.get_mut(index) {
                (entry.1, entry.2) = (mode, count == 0);
            }
        }
        Ok(found)
    }

    /// Lists one directory; gives the number of its entries and its mode.
    fn list(&self, base: Option<&TreePath>, rules: &IngestRules, found: &mut Found) -> Result<(usize, u32)> {
        let shown = base.map_or(".", TreePath::as_str);
        let handle = self.open_beneath(shown, OFlags::DIRECTORY)?;
        let at = || self.path.join(shown);
        let io = |operation, e: Errno| Error::io(operation, &at())(e.into());
        let mode = check_mode(shown, fstat(&handle).map_err(|e| io("look at", e))?.st_mode)?;
        check_attributes(shown, &at(), &handle)?;
        let mut count = 0;
        for entry in Dir::read_from(&handle).map_err(|e| io("list", e))? {
            let entry = entry.map_err(|e| io("list", e))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            count += 1;
            if found.len() >= rules.entries_max {
                return Err(refused(shown, format!("there are more than {} entries", rules.entries_max)));
            }
            let path = tree_path(base, name.to_bytes())?;
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| io("look into", e))?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                known => known,
            };
            if kind == FileType::Symlink {
                let target = readlinkat(&handle, name, Vec::new()).map_err(|e| io("read a link in", e))?;
                let target = check_target(&path, target.to_bytes())?;
                check_link_attributes(path.as_str(), &self.at(&path), &handle, path.file_name())?;
                found.count(&path, &target)?;
                found.links.push((path, target));
                continue;
            }
            found.count(&path, "")?;
            if kind == FileType::Directory {
                found.directories.push((path, 0, false));
            } else {
                check_kind(path.as_str(), kind, FileType::RegularFile)?;
                found.files.push(path);
            }
        }
        Ok((count, mode))
    }
}
