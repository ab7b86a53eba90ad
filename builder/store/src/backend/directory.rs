//! Blobs as files beside the metadata: `blobs/sha256/ab/HEX`.
//!
//! Files are synced each on their own if they are few, else all with one `syncfs`; then renamed; then the directories
//! are synced in the same way. A sync that fails is never repeated, because the kernel may have dropped the data and
//! would report success.

use super::{Backend, Content, Staged};
use crate::{
    Error, Result,
    batch::sync_all,
    layout::{Layout, create_dir, rename_over},
    regular_file,
};
use anneal_content::BlobDigest;
use rustix::{
    buffer::spare_capacity,
    io::{pread, retry_on_intr},
};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

/// The files of one store.
#[derive(Debug)]
pub(crate) struct Directory {
    layout: Layout,
}

impl Directory {
    pub(crate) const fn new(layout: Layout) -> Self {
        Self { layout }
    }
}

impl Backend for Directory {
    fn keep(&self, staged: &[Staged], file_system: &File) -> Result<()> {
        let Some(batch) = staged.first().and_then(|one| one.path.parent()) else { return Ok(()) };
        sync_all(staged.len(), staged.iter().map(|one| one.path.as_path()), file_system, batch)?;
        let mut directories = BTreeSet::new();
        for one in staged {
            let path = self.layout.blob(&one.digest);
            rename_over(&one.path, &path)?;
            directories.extend(path.parent().map(Path::to_owned));
        }
        let parents = directories.iter().map(PathBuf::as_path);
        sync_all(directories.len(), parents, file_system, &self.layout.dir)
    }

    fn open(&self, digest: &BlobDigest, _: Range<u64>) -> Result<Option<Box<dyn Content>>> {
        let path = self.layout.blob(digest);
        match FileContent::open(&path) {
            Ok(content) => Ok(Some(Box::new(content))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) if regular_file::is_other(&e) => Err(Error::Damaged { digest: *digest, reason: e.to_string() }),
            Err(e) => Err(Error::io("open", &path)(e)),
        }
    }

    fn set_aside(&self, digest: &BlobDigest, to: &Path) -> Result<()> {
        let path = self.layout.blob(digest);
        match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found.map_err(Error::io("look at", &path))?,
        };
        rename_over(&path, to)
    }

    fn take_away(&self, digests: &[BlobDigest], bin: &Path) -> Result<u64> {
        let mut moved = 0;
        for digest in digests {
            moved += u64::from(move_away(&self.layout.blob(digest), bin)?);
        }
        Ok(moved)
    }

    fn list(&self, first: u8) -> Result<Vec<BlobDigest>> {
        digests_in(&self.layout.blobs().join(format!("{first:02x}")))
    }

    fn came_ms(&self, digests: &[BlobDigest]) -> Result<Vec<Option<u64>>> {
        digests.iter().map(|digest| came_ms(&self.layout.blob(digest))).collect()
    }

    fn inode(&self, digest: &BlobDigest) -> Option<PathBuf> {
        Some(self.layout.blob(digest))
    }

    fn name(&self) -> String {
        format!("directory {}", self.layout.blobs().display())
    }
}

/// A file that holds a blob's bytes.
#[derive(Debug)]
pub(crate) struct FileContent {
    file: File,
    path: PathBuf,
    size: u64,
}

impl FileContent {
    /// Opens a regular file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = regular_file::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, path: path.to_owned(), size })
    }
}

impl Content for FileContent {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, count: usize, buffer: &mut Vec<u8>) -> Result<bool> {
        buffer.clear();
        buffer.reserve_exact(count);
        while buffer.len() < count {
            let at = offset + buffer.len() as u64;
            // the spare room is not filled with zeros first
            let read = retry_on_intr(|| pread(&self.file, spare_capacity(buffer), at));
            if read.map_err(|e| Error::io("read", &self.path)(e.into()))? == 0 {
                return Ok(false);
            }
        }
        buffer.truncate(count);
        Ok(true)
    }
}

/// When a file came, by the file system.
fn came_ms(path: &Path) -> Result<Option<u64>> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("look at", path)(e)),
    };
    let changed = || UNIX_EPOCH + Duration::from_secs(u64::try_from(metadata.ctime()).unwrap_or_default());
    let came = metadata.created().unwrap_or_else(|_| changed());
    let since = came.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_millis()).ok())
}

/// Moves something out of sight; says whether it was there.
pub(crate) fn move_away(path: &Path, bin: &Path) -> Result<bool> {
    if fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return Ok(false);
    }
    create_dir(bin)?;
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    fs::rename(path, bin.join(format!("{folder}-{name}"))).map_err(Error::io("move away", path))?;
    Ok(true)
}

/// The digests that name the entries of a folder, in order; what is named otherwise is not ours.
pub(crate) fn digests_in(folder: &Path) -> Result<Vec<BlobDigest>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(Error::io("list", folder))?,
    };
    for entry in entries {
        let name = entry.map_err(Error::io("list", folder))?.file_name();
        found.extend(name.to_str().and_then(|hex| format!("sha256:{hex}").parse::<BlobDigest>().ok()));
    }
    found.sort();
    Ok(found)
}
