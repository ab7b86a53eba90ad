//! The directory of a backup: marker, lock, and files by digest, each whole and synced before it has its name.

use super::part::PART_BYTES_MAX;
use crate::{
    Error, Result,
    batch::{create, sync_all},
    layout::{create_dir, remove_tree, sync},
    mend::is_of_the_file,
    regular_file,
};
use anneal_content::{BlobDigest, BlobHasher};
use rustix::fs::{FlockOperation, flock};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

const MARKER: &str = "BACKUP";
const FORMAT: &str = "anneal backup 1";
/// The longest marker, lock text or generation that is read.
const TEXT_MAX: u64 = 1 << 20;
/// So many files, or so many bytes, are synced together.
const FLUSH_FILES: usize = 256;
const FLUSH_BYTES: u64 = 256 << 20;

/// The directory of a backup.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(super) dir: PathBuf,
}

impl Pool {
    /// One that is there already.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let pool = Self { dir: dir.to_owned() };
        match pool.read_text(&dir.join(MARKER))? {
            Some(found) if found.trim_end() == FORMAT => Ok(pool),
            found => Err(pool.foreign(found)),
        }
    }

    fn foreign(&self, found: Option<String>) -> Error {
        let found = found.map(|text| text.trim_end().chars().take(60).flat_map(char::escape_debug).collect());
        Error::NotBackup { dir: self.dir.clone(), found, marker: MARKER, known: FORMAT }
    }

    fn read_text(&self, path: &Path) -> Result<Option<String>> {
        let mut text = String::new();
        match regular_file::open(path) {
            Ok(file) => file.take(TEXT_MAX).read_to_string(&mut text).map_err(Error::io("read", path))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", path)(e)),
        };
        Ok(Some(text))
    }

    pub(super) fn generations_dir(&self) -> PathBuf {
        self.dir.join("generations")
    }

    /// The numbers of the generations, the oldest first.
    pub(super) fn generations(&self) -> Result<BTreeSet<u64>> {
        let dir = self.generations_dir();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(e) => return Err(Error::io("list", &dir)(e)),
        };
        let mut numbers = BTreeSet::new();
        for entry in entries {
            let name = entry.map_err(Error::io("list", &dir))?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        Ok(numbers)
    }

    /// What stands in a generation's file.
    pub(super) fn generation(&self, number: u64) -> Result<Option<String>> {
        self.read_text(&self.generations_dir().join(number.to_string()))
    }

    pub(crate) fn blob(&self, digest: &BlobDigest) -> PathBuf {
        let hex = digest.hex();
        let mut path = self.dir.join("blobs/sha256");
        path.push(hex.get(..2).unwrap_or_default());
        path.push(hex);
        path
    }

    /// A small file of the pool, checked.
    pub(super) fn read(&self, digest: &BlobDigest, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.open_blob(digest)?;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| self.read_error(digest, e))?;
        if bytes.len() as u64 > limit {
            return Err(self.damaged(digest, format!("it is longer than {limit} bytes")));
        }
        match BlobDigest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(self.damaged(digest, format!("it hashes to {found}"))),
        }
    }

    /// A part of a table.
    pub(super) fn read_part(&self, digest: &BlobDigest) -> Result<Vec<u8>> {
        self.read(digest, PART_BYTES_MAX)
    }

    /// A file of the pool, unchecked.
    pub(super) fn open_blob(&self, digest: &BlobDigest) -> Result<File> {
        match regular_file::open(&self.blob(digest)) {
            Ok(file) => Ok(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(self.damaged(digest, "it is missing".to_owned())),
            Err(e) => Err(self.read_error(digest, e)),
        }
    }

    fn read_error(&self, digest: &BlobDigest, error: io::Error) -> Error {
        if is_of_the_file(&error) {
            self.damaged(digest, format!("it cannot be read: {error}"))
        } else {
            Error::io("read", &self.blob(digest))(error)
        }
    }

    /// Whether a file has these bytes.
    fn holds(&self, digest: &BlobDigest, bytes: &[u8]) -> bool {
        let mut found = Vec::new();
        let read = regular_file::open(&self.blob(digest)).and_then(|file| {
            // a byte more than they are, so that a longer file differs
            file.take(bytes.len() as u64 + 1).read_to_end(&mut found)
        });
        read.is_ok() && found == bytes
    }

    /// Reads a file whole; says what is wrong with it, if anything is.
    pub(super) fn wrong_with(&self, digest: &BlobDigest, size: u64) -> Result<Option<String>> {
        let mut hasher = BlobHasher::new();
        let read = self
            .open_blob(digest)
            .and_then(|mut file| io::copy(&mut file, &mut hasher).map_err(|e| self.read_error(digest, e)));
        match read {
            Err(Error::BackupDamaged { reason, .. }) => return Ok(Some(reason)),
            read => read?,
        };
        let (found, bytes) = hasher.finish();
        Ok((found != *digest || bytes != size).then(|| format!("its {bytes} bytes hash to {found}")))
    }

    /// How long a file is that has the right bytes; none where it does not, or cannot be read.
    pub(super) fn sound_bytes(&self, digest: &BlobDigest) -> Option<u64> {
        let mut hasher = BlobHasher::new();
        io::copy(&mut regular_file::open(&self.blob(digest)).ok()?, &mut hasher).ok()?;
        let (found, bytes) = hasher.finish();
        (found == *digest).then_some(bytes)
    }

    pub(crate) fn damaged(&self, digest: &BlobDigest, reason: String) -> Error {
        Error::BackupDamaged { dir: self.dir.clone(), digest: *digest, reason }
    }
}

/// The one who writes.
#[derive(Debug)]
pub(super) struct PoolWriter {
    pub(super) pool: Pool,
    /// Opened before the first write, so that its error state covers all of them.
    file_system: File,
    pending: Vec<(PathBuf, PathBuf)>,
    pending_bytes: u64,
    next: u64,
    /// Files that were not there before, and their bytes.
    pub(super) written: (u64, u64),
    _lock: File,
}

impl PoolWriter {
    /// Opens a backup to add to it, or begins one in an empty directory; one at a time.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        create_dir(dir)?;
        let pool = Pool { dir: dir.to_owned() };
        if pool.read_text(&dir.join(MARKER))?.is_some() {
            Pool::open(dir)?;
        } else {
            for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
                let name = entry.map_err(Error::io("list", dir))?.file_name();
                if !["LOCK", "BACKUP.new", "lost+found"].iter().any(|known| name == *known) {
                    return Err(pool.foreign(None));
                }
            }
        }
        let lock = pool.lock()?;
        let marker = dir.join(MARKER);
        if !marker.exists() {
            let new = dir.join("BACKUP.new");
            fs::write(&new, format!("{FORMAT}\n")).map_err(|e| pool.write_error(&new, e))?;
            sync(&new)?;
            fs::rename(&new, &marker).map_err(Error::io("create", &marker))?;
            sync(dir)?;
        }
        remove_tree(&dir.join("tmp"))?;
        for made in [dir.join("tmp"), pool.generations_dir()] {
            create_dir(&made)?;
        }
        if !dir.join("blobs/sha256/ff").exists() {
            for byte in 0..=u8::MAX {
                create_dir(&dir.join(format!("blobs/sha256/{byte:02x}")))?;
            }
        }
        let file_system = File::open(dir).map_err(Error::io("open", dir))?;
        Ok(Self { pool, file_system, pending: Vec::new(), pending_bytes: 0, next: 0, written: (0, 0), _lock: lock })
    }

    /// Whether a file is there; its bytes are looked at by a check.
    pub(super) fn has(&self, digest: &BlobDigest, size: u64) -> bool {
        fs::symlink_metadata(self.pool.blob(digest)).is_ok_and(|found| found.is_file() && found.len() == size)
    }

    /// Adds bytes; they are at hand, so that what is there is compared with them and not believed.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<BlobDigest> {
        let digest = BlobDigest::of(bytes);
        if !self.pool.holds(&digest, bytes) {
            self.put_chunks(&digest, |write| write(bytes))?;
        }
        Ok(digest)
    }

    /// Adds a file piece by piece; the caller answers for its digest. On an error nothing of it stays.
    pub(super) fn put_chunks(
        &mut self,
        digest: &BlobDigest,
        produce: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        let path = self.pool.dir.join(format!("tmp/{}", self.next));
        self.next += 1;
        let mut bytes = 0;
        let written = create(&path).and_then(|mut file| {
            produce(&mut |chunk| {
                bytes += chunk.len() as u64;
                file.write_all(chunk).map_err(|e| self.pool.write_error(&path, e))
            })
        });
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        self.pending.push((path, self.pool.blob(digest)));
        self.pending_bytes += bytes;
        self.written = (self.written.0 + 1, self.written.1 + bytes);
        if self.pending.len() >= FLUSH_FILES || self.pending_bytes >= FLUSH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Gives their names to all files that were written, when they are synced.
    pub(super) fn flush(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let temporaries = pending.iter().map(|(temporary, _)| temporary.as_path());
        sync_all(pending.len(), temporaries, &self.file_system, &self.pool.dir)?;
        for (temporary, path) in &pending {
            fs::rename(temporary, path).map_err(Error::io("rename into place", path))?;
        }
        Ok(())
    }

    /// Makes a generation of what was written: from here on it is there, or not at all.
    pub(super) fn commit(&mut self, number: u64, text: &[u8]) -> Result<()> {
        self.flush()?;
        rustix::fs::syncfs(&self.file_system)
            .map_err(|e| Error::Sync { path: self.pool.dir.clone(), source: e.into() })?;
        let new = self.pool.dir.join("tmp/generation");
        let mut file = create(&new)?;
        file.write_all(text).map_err(|e| self.pool.write_error(&new, e))?;
        sync(&new)?;
        let dir = self.pool.generations_dir();
        let path = dir.join(number.to_string());
        fs::rename(&new, &path).map_err(Error::io("create", &path))?;
        sync(&dir)
    }
}

impl Pool {
    /// Moves files away that are still wrong when nobody writes to the backup; gives where each is now.
    pub(super) fn set_aside(&self, wrong: &[BlobDigest]) -> Result<Vec<(BlobDigest, PathBuf)>> {
        let _lock = self.lock()?;
        let (dir, mut moved) = (self.dir.join("wrong"), Vec::new());
        for digest in wrong {
            let path = self.blob(digest);
            // a backup may have replaced it since it was read
            if self.sound_bytes(digest).is_some() || fs::symlink_metadata(&path).is_err() {
                continue;
            }
            create_dir(&dir)?;
            let to = dir.join(digest.hex());
            fs::rename(&path, &to).map_err(Error::io("set aside", &path))?;
            moved.push((*digest, to));
        }
        Ok(moved)
    }

    fn lock(&self) -> Result<File> {
        let path = self.dir.join("LOCK");
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).mode(0o644).open(&path);
        let mut file = opened.map_err(Error::io("open", &path))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let holder = self.read_text(&path)?.unwrap_or_default();
            let holder = holder.lines().next().unwrap_or("another process").to_owned();
            return Err(Error::BackupLocked { dir: self.dir.clone(), holder });
        }
        file.set_len(0).map_err(Error::io("write", &path))?;
        writeln!(file, "process {}", std::process::id()).map_err(|e| self.write_error(&path, e))?;
        Ok(file)
    }

    fn write_error(&self, path: &Path, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::BackupFull { dir: self.dir.clone() },
            _ => Error::io("write", path)(error),
        }
    }
}
