//! Where things are in a store's directory, who may write there, and what an open repairs.

use crate::{Error, OpenMode, Result, footing, regular_file, store::RESERVE_BYTES};
use anneal_content::{BlobDigest, TreeDigest};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// The file that marks a directory as a store.
const MARKER: &str = "FORMAT";
/// What the marker says.
const FORMAT: &str = "anneal store 1";
/// What it says where the blobs are in a bucket, which a program that knows of none then leaves alone.
const FORMAT_BUCKET: &str = "anneal store 1, blobs in a bucket";
/// The longest marker or lock text that is read.
const TEXT_MAX: u64 = 4096;
/// What must be free where a store is made: the reserve, what the database takes in advance, and some room for what it is
/// made for.
const ROOM_BYTES: u64 = RESERVE_BYTES + (64 << 20);
/// Where Linux names the current boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The paths of one store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
    /// Whether the blobs are in a bucket.
    pub(crate) in_bucket: bool,
}

impl Layout {
    pub(crate) fn db(&self) -> PathBuf {
        self.dir.join("db")
    }
    pub(crate) fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }
    pub(crate) fn trees(&self) -> PathBuf {
        self.dir.join("trees")
    }
    pub(crate) fn head(&self) -> PathBuf {
        self.dir.join("HEAD")
    }
    pub(crate) fn ballast(&self) -> PathBuf {
        self.dir.join("BALLAST")
    }
    pub(crate) fn quarantine(&self) -> PathBuf {
        self.dir.join("quarantine")
    }
    pub(crate) fn modes(&self) -> PathBuf {
        self.dir.join("modes")
    }
    pub(crate) fn blobs(&self) -> PathBuf {
        self.dir.join("blobs/sha256")
    }
    /// Whether a blob's file is there, in service or in quarantine.
    pub(crate) fn holds_blobs(&self) -> Result<bool> {
        let names = |dir: &Path| match fs::read_dir(dir) {
            Ok(names) => names.collect::<std::io::Result<Vec<_>>>().map_err(Error::io("list", dir)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(Error::io("list", dir)(e)),
        };
        for folder in names(&self.blobs())? {
            if !names(&folder.path())?.is_empty() {
                return Ok(true);
            }
        }
        Ok(!names(&self.quarantine())?.is_empty())
    }
    /// What the file system has left.
    pub(crate) fn free_bytes(&self) -> Result<u64> {
        let space = rustix::fs::statvfs(&self.dir);
        let space = space.map_err(|e| Error::io("measure the free space of", &self.dir)(e.into()))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
    /// A blob's file.
    pub(crate) fn blob(&self, digest: &BlobDigest) -> PathBuf {
        let hex = digest.hex();
        let mut path = self.blobs();
        path.push(hex.get(..2).unwrap_or_default());
        path.push(hex);
        path
    }
    /// The same bytes in an inode of another mode.
    pub(crate) fn moded(&self, digest: &BlobDigest, mode: u32) -> PathBuf {
        self.modes().join(format!("{mode:04o}/{}", digest.hex()))
    }
    /// A tree as a directory.
    pub(crate) fn tree(&self, tree: &TreeDigest) -> PathBuf {
        self.trees().join(tree.hex())
    }

    /// Makes sure that this is a store, or may become one, and for a writer that it is alone. Nothing in it is changed.
    /// `in_bucket` is for a new one; an old one knows.
    pub(crate) fn open(dir: &Path, mode: OpenMode, in_bucket: bool) -> Result<(Self, Option<File>)> {
        let mut layout = Self { dir: dir.to_owned(), in_bucket };
        if mode == OpenMode::ReadOnly {
            layout.in_bucket = layout.check_marker()?;
            return Ok((layout, None));
        }
        if !Self::is_store(dir) {
            require_room(dir)?;
        }
        create_dir(dir)?;
        if layout.is_new()? {
            footing::try_out(dir)?;
        } else {
            layout.in_bucket = layout.check_marker()?;
        }
        let lock = layout.lock()?;
        Ok((layout, Some(lock)))
    }

    /// Says who writes, and makes the store complete and clean.
    pub(crate) fn settle(&self, lock: &mut File) -> Result<()> {
        let path = self.dir.join("LOCK");
        lock.set_len(0).map_err(Error::io("write", &path))?;
        writeln!(lock, "process {}", std::process::id()).map_err(Error::io("write", &path))?;
        if self.is_new()? {
            self.drop_trials()?;
            self.create()?;
        }
        self.clean()
    }

    /// What trials that were stopped have left.
    fn drop_trials(&self) -> Result<()> {
        for entry in fs::read_dir(&self.dir).map_err(Error::io("list", &self.dir))? {
            let entry = entry.map_err(Error::io("list", &self.dir))?;
            if footing::is_trial(&entry.file_name()) {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Whether the directory is empty, but for what an interrupted first open or a fresh file system leaves.
    fn is_new(&self) -> Result<bool> {
        if Self::is_store(&self.dir) {
            return Ok(false);
        }
        for entry in fs::read_dir(&self.dir).map_err(Error::io("list", &self.dir))? {
            let name = entry.map_err(Error::io("list", &self.dir))?.file_name();
            let is_known = ["LOCK", "FORMAT.new", "lost+found"].iter().any(|known| name == *known);
            if !is_known && !footing::is_trial(&name) {
                return Err(Error::Foreign { dir: self.dir.clone(), marker: MARKER });
            }
        }
        Ok(true)
    }

    fn lock(&self) -> Result<File> {
        let path = self.dir.join("LOCK");
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let file = options.open(&path).map_err(Error::io("open", &path))?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(Error::Footing { dir: self.dir.clone(), lacks: "locks", source: error.into() });
            }
            let mut holder = String::new();
            let _ = (&file).take(TEXT_MAX).read_to_string(&mut holder);
            let holder = holder.lines().next().unwrap_or_default();
            let holder = if holder.is_empty() { "another process" } else { holder };
            return Err(Error::Locked { dir: self.dir.clone(), holder: holder.to_owned() });
        }
        Ok(file)
    }

    /// Whether a directory says that it is a store, of whatever version.
    pub(crate) fn is_store(dir: &Path) -> bool {
        dir.join(MARKER).exists()
    }

    /// Whether the blobs are in a bucket.
    fn check_marker(&self) -> Result<bool> {
        let path = self.dir.join(MARKER);
        let mut found = String::new();
        match regular_file::open(&path) {
            Ok(file) => file.take(TEXT_MAX).read_to_string(&mut found).map_err(Error::io("read", &path))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Absent { dir: self.dir.clone() });
            }
            Err(e) => return Err(Error::io("open", &path)(e)),
        };
        if [FORMAT, FORMAT_BUCKET].contains(&found.trim_end()) {
            return Ok(found.trim_end() == FORMAT_BUCKET);
        }
        let found = found.trim_end().chars().take(60).flat_map(char::escape_debug).collect();
        Err(Error::Format { dir: self.dir.clone(), found, known: FORMAT })
    }

    /// The marker comes last in an empty directory and first of what matters: what follows it is made again if missing.
    fn create(&self) -> Result<()> {
        let (new, path) = (self.dir.join("FORMAT.new"), self.dir.join(MARKER));
        fs::write(&new, format!("{}\n", if self.in_bucket { FORMAT_BUCKET } else { FORMAT }))
            .map_err(Error::io("write", &new))?;
        sync(&new)?;
        fs::rename(&new, &path).map_err(Error::io("create", &path))?;
        sync(&self.dir)
    }

    /// Makes missing directories, empties `tmp`, and drops materialised trees of an earlier boot.
    fn clean(&self) -> Result<()> {
        for dir in [self.trees(), self.quarantine(), self.dir.join("modes")] {
            create_dir(&dir)?;
        }
        // the last of the 256 is made last, so its presence says that all are there
        if !self.blobs().join("ff").exists() {
            for byte in 0..=u8::MAX {
                create_dir(&self.blobs().join(format!("{byte:02x}")))?;
            }
            for dir in [self.blobs(), self.dir.join("blobs"), self.dir.clone()] {
                sync(&dir)?;
            }
        }
        remove_tree(&self.tmp())?;
        create_dir(&self.tmp())?;
        self.drop_old_trees()
    }

    /// Materialised trees are not synced: those of an earlier boot may be half there after a power cut.
    fn drop_old_trees(&self) -> Result<()> {
        let marker = self.dir.join("BOOT");
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        if !boot.is_empty() && fs::read_to_string(&marker).is_ok_and(|seen| seen == boot) {
            return Ok(());
        }
        for dir in [self.trees(), self.dir.join("modes")] {
            let old = self.tmp().join("old");
            fs::rename(&dir, &old).map_err(Error::io("rename", &dir))?;
            remove_tree(&old)?;
            create_dir(&dir)?;
        }
        fs::write(&marker, boot).map_err(Error::io("write", &marker))
    }
}

/// Refuses a disk on which a new store could not take in anything, before a directory is made on it.
fn require_room(dir: &Path) -> Result<()> {
    // a parent may be what is missing, too
    let Some(space) = dir.ancestors().find_map(|there| rustix::fs::statvfs(there).ok()) else { return Ok(()) };
    let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
    // one that does not count its blocks says nothing about what is free
    match space.f_blocks > 0 && free_bytes < ROOM_BYTES {
        true => Err(Error::Full { path: dir.to_owned(), free_bytes, reserve_bytes: ROOM_BYTES }),
        false => Ok(()),
    }
}

/// Makes a directory and its parents.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io("create directory", path))
}

/// Syncs a file or a directory.
pub(crate) fn sync(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    file.sync_all().map_err(|source| Error::Sync { path: path.to_owned(), source })
}

/// Renames something to a path, whatever is there: a directory is in the way of a file, and a file of a directory.
pub(crate) fn rename_over(from: &Path, to: &Path) -> Result<()> {
    use std::io::ErrorKind::{DirectoryNotEmpty, IsADirectory, NotADirectory};
    let renamed = fs::rename(from, to);
    match &renamed {
        Err(e) if matches!(e.kind(), IsADirectory | DirectoryNotEmpty) => remove_tree(to)?,
        Err(e) if e.kind() == NotADirectory => fs::remove_file(to).map_err(Error::io("remove", to))?,
        _ => return renamed.map_err(Error::io("rename into place", to)),
    }
    fs::rename(from, to).map_err(Error::io("rename into place", to))
}

/// Removes a directory and all in it, also where a mode forbids its owner to write; none is fine.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            fs::remove_dir_all(path).map_err(Error::io("remove", path))
        }
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

fn make_writable(root: &Path) -> Result<()> {
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).map_err(Error::io("change mode of", &dir))?;
        for entry in fs::read_dir(&dir).map_err(Error::io("list", &dir))? {
            let entry = entry.map_err(Error::io("list", &dir))?;
            if entry.file_type().map_err(Error::io("look at", &dir))?.is_dir() {
                todo.push(entry.path());
            }
        }
    }
    Ok(())
}
