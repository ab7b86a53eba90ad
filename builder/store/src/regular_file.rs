//! Opening what must be a regular file where anything may stand: a FIFO would keep whoever opens it waiting for ever, a
//! symbolic link lead elsewhere, and a device do whatever it does.

use rustix::{fs::OFlags, io::Errno};
use std::{
    fmt,
    fs::{self, File, FileType, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

/// What stands in a file's place.
#[derive(Debug)]
struct Other(&'static str);

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stands in its place, and no regular file", self.0)
    }
}

impl std::error::Error for Other {}

/// Opens a regular file to read it, and nothing else.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    let found = match &opened {
        Ok(file) => file.metadata()?,
        // a link, a socket, a device that nothing drives
        Err(e) if [Some(Errno::LOOP), Some(Errno::NXIO), Some(Errno::NODEV)].contains(&Errno::from_io_error(e)) => {
            fs::symlink_metadata(path)?
        }
        Err(_) => return opened,
    };
    if found.is_file() { opened } else { Err(io::Error::other(Other(named(found.file_type())))) }
}

/// Whether an error says that something else than a regular file stands there.
pub(crate) fn is_other(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Other>())
}

/// What stands there, in words.
pub(crate) fn named(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_block_device() || kind.is_char_device() => "a device",
        _ => "something",
    }
}
