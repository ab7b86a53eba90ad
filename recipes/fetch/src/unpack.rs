//! Takes a package's files out of its tar, without its scripts.
//!
//! The tar crate only parses; everything is written through [`Beneath`]. Regular files, directories,
//! symbolic and hard links are taken; anything else, an absolute path, a `..`, a name that is not
//! UTF-8 or a second entry of the same name refuses the whole package. Set-user-id bits, owners and
//! times are dropped. `/bin`, `/sbin` and `/lib*` are taken for `/usr/bin` and so on, as on a Debian
//! system with merged directories. Documentation and translations are left out: no build reads them,
//! and they are a quarter of all files.

use crate::{Error, beneath::Beneath, deb::with_data_tar, error::shown};
use std::{
    io::{self, Read},
    path::Path,
};
use tar::EntryType;

/// The most entries of one package.
pub const MAX_ENTRIES: usize = 200_000;
/// The most bytes that one package may unpack to.
pub const MAX_UNPACKED_BYTES: u64 = 4 << 30;
/// The longest path of an entry, and the longest target of a link.
pub const MAX_PATH_BYTES: usize = 4096;
/// The longest component of a path.
const MAX_NAME_BYTES: usize = 255;

/// Directories of the root that are links into `/usr`.
pub(crate) const MERGED: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];
/// What is left out.
const LEFT_OUT: [&str; 7] = [
    "usr/share/bug",
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
];

/// What was unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files and links.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Unpacked {
    pub(crate) fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

/// Unpacks one package into an existing directory. `package` is its name, for messages.
pub fn unpack_deb(package: &str, reader: &mut dyn Read, dest: &Path) -> Result<Unpacked, Error> {
    let write = |source| Error::Write { root: dest.to_owned(), entry: ".".to_owned(), source };
    let beneath = Beneath::open(dest).map_err(write)?;
    let unpacked = Unpacker { package, dest, beneath: &beneath }.deb(reader)?;
    beneath.finish().map_err(write)?;
    Ok(unpacked)
}

/// One package on its way into a directory that others may be filling too.
pub(crate) struct Unpacker<'a> {
    pub(crate) package: &'a str,
    pub(crate) dest: &'a Path,
    pub(crate) beneath: &'a Beneath,
}

impl Unpacker<'_> {
    pub(crate) fn deb(&self, reader: &mut dyn Read) -> Result<Unpacked, Error> {
        with_data_tar(self.package, reader, |tar| self.tar(tar))
    }

    fn tar(&self, tar: &mut dyn Read) -> Result<Unpacked, Error> {
        let broken = |e: io::Error| self.package_refused(format!("its data is not a tar archive: {e}"));
        let mut total = Unpacked::default();
        let mut archive = tar::Archive::new(tar);
        for (index, entry) in archive.entries().map_err(broken)?.enumerate() {
            let mut entry = entry.map_err(broken)?;
            if index >= MAX_ENTRIES {
                return Err(self.package_refused(format!("it has more than {MAX_ENTRIES} entries")));
            }
            if total.bytes.saturating_add(entry.size()) > MAX_UNPACKED_BYTES {
                return Err(self.package_refused(format!("it unpacks to more than {MAX_UNPACKED_BYTES} bytes")));
            }
            total.add(self.entry(&mut entry)?);
        }
        Ok(total)
    }

    fn entry(&self, entry: &mut tar::Entry<'_, &mut dyn Read>) -> Result<Unpacked, Error> {
        let raw = entry.path_bytes().into_owned();
        let refused = |reason: String| self.entry_refused(&raw, reason);
        let path = merged_path(&raw).map_err(refused)?;
        let kind = entry.header().entry_type();
        if path.is_empty() || MERGED.contains(&path.as_str()) {
            return match kind {
                EntryType::Directory => Ok(Unpacked::default()),
                _ => Err(refused("takes the place of a directory that every package shares".to_owned())),
            };
        }
        if left_out(&path) {
            return Ok(Unpacked::default());
        }
        let write = |source| self.not_written(&raw, &path, source);
        match kind {
            EntryType::Directory => self.beneath.directory(&path).map_err(write).map(|()| Unpacked::default()),
            EntryType::Regular => {
                let mode = entry.header().mode().map_err(|e| refused(format!("has no mode: {e}")))?;
                let size = entry.size();
                let bytes = self.beneath.file(&path, mode & 0o111 != 0, entry).map_err(write)?;
                if bytes != size {
                    return Err(refused(format!("ends after {bytes} bytes: expected {size}")));
                }
                Ok(Unpacked { files: 1, bytes })
            }
            EntryType::Symlink => {
                let target = link_target(entry).map_err(refused)?;
                self.beneath.symlink(&path, &target).map_err(write)?;
                Ok(Unpacked { files: 1, bytes: 0 })
            }
            EntryType::Link => {
                let existing = merged_path(link_target(entry).map_err(refused)?.as_bytes()).map_err(refused)?;
                self.beneath.hard_link(&path, &existing).map_err(write)?;
                Ok(Unpacked { files: 1, bytes: 0 })
            }
            other => Err(refused(format!("is of kind {other:?}: expected a file, a directory or a link"))),
        }
    }

    /// Tells what the archive did wrong from what the disk did wrong.
    fn not_written(&self, raw: &[u8], path: &str, source: io::Error) -> Error {
        let refused = |reason: String| self.entry_refused(raw, reason);
        match source.kind() {
            io::ErrorKind::AlreadyExists => refused("is there already, from this package or another".to_owned()),
            io::ErrorKind::NotADirectory => refused("lies beneath something that is not a directory".to_owned()),
            io::ErrorKind::NotFound => refused("links to what this package did not bring before it".to_owned()),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                refused(format!("is broken: {source}"))
            }
            _ if source.raw_os_error() == Some(nix::libc::ELOOP) => refused("lies beneath a link".to_owned()),
            _ => Error::Write { root: self.dest.to_owned(), entry: path.to_owned(), source },
        }
    }

    fn package_refused(&self, reason: String) -> Error {
        Error::PackageRefused { package: self.package.to_owned(), reason }
    }

    fn entry_refused(&self, raw: &[u8], reason: String) -> Error {
        let entry = shown(&String::from_utf8_lossy(raw), 120);
        Error::EntryRefused { package: self.package.to_owned(), entry, reason }
    }
}

fn left_out(path: &str) -> bool {
    LEFT_OUT.iter().any(|dir| path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn link_target(entry: &tar::Entry<'_, &mut dyn Read>) -> Result<String, String> {
    let target = entry.link_name_bytes().ok_or("is a link to nothing")?;
    let target = std::str::from_utf8(&target).map_err(|_| "leads to a name that is not UTF-8")?;
    if target.is_empty() || target.len() > MAX_PATH_BYTES || target.contains('\0') {
        return Err(format!("leads to an empty name, or to one longer than {MAX_PATH_BYTES} bytes"));
    }
    Ok(target.to_owned())
}

/// The path beneath the root, without `./` and a trailing slash, with the merged directories in `usr`.
fn merged_path(raw: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(raw).map_err(|_| "has a name that is not UTF-8")?;
    if text.len() > MAX_PATH_BYTES || text.contains('\0') {
        return Err(format!("has a name longer than {MAX_PATH_BYTES} bytes, or one with a NUL"));
    }
    if text.starts_with('/') {
        return Err("has an absolute path".to_owned());
    }
    let text = text.strip_prefix("./").or((text == ".").then_some("")).unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.is_empty() {
        return Ok(String::new());
    }
    for name in text.split('/') {
        if name.is_empty() || name == "." || name == ".." || name.len() > MAX_NAME_BYTES {
            return Err("has a path with an empty, `.`, `..` or too long component".to_owned());
        }
    }
    match text.split_once('/') {
        Some((first, _)) if MERGED.contains(&first) => Ok(format!("usr/{text}")),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
