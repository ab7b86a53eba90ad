//! `path:` where it names a directory: a team's own code, packed into one tar whose bytes depend on nothing but the code.
//!
//! The tar is the one that `git archive --prefix=source/` makes of a commit of the same files, as `git+https:` has it, but
//! for the commit's name and time: in git's order, `source/` first; modes 0644, 0755 and 0777 (links); owner root; one
//! constant time; ended by zeros up to a multiple of 10240 bytes. As git keeps no empty directory, none is in it: whoever
//! has the same commit checked out gets the same digest.
//!
//! ```text
//! left out                                     because
//! `.git`                                       it is not the code
//! the catalogue, where it is in the directory  its recipes name the digest that is being made
//! a directory with a valid CACHEDIR.TAG        it is made from the code: cargo's `target`, caches of Python's tools
//! refused, with the path                       because
//! device, socket, fifo                         no tar of code holds one
//! a link that is absolute or leads out         it would mean another thing where it is unpacked
//! a mount, a change while reading              it is not what the team sees
//! depth, paths, entries, bytes                 see the constants
//! ```
//! Where the directory is the catalogue's root itself, `anneal.toml`, `packages/*.toml` and `images/*.toml` are left out.
//!
//! A place with `..` leads into the git repository that the catalogue is in and never out of that. Everything is opened by
//! `openat2` beneath one handle, so that no link is followed.

mod header;

use header::{BLOCK, Header, Kind};
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2, readlinkat},
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat},
};
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

/// The most files, links and directories of one directory that is packed.
pub const MAX_PACKED_ENTRIES: usize = 100_000;
/// The most bytes of all its files.
pub const MAX_PACKED_BYTES: u64 = 1 << 30;
/// How deep its directories may be.
const MAX_DEPTH: usize = 100;
/// The longest path in it.
const MAX_PATH: usize = 3000;
/// A tar is written in records of this size.
const RECORD: usize = 20 * BLOCK;
/// What its paths begin with.
const TOP: &[u8] = b"source/";
/// What is in a file `CACHEDIR.TAG` of a directory that can be made again.
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

const FLAGS: OFlag = OFlag::O_RDONLY.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK).union(OFlag::O_NOFOLLOW);
const BENEATH: ResolveFlag = ResolveFlag::RESOLVE_BENEATH.union(ResolveFlag::RESOLVE_NO_SYMLINKS);

/// What a `path:` place names.
#[derive(Debug)]
pub(crate) enum Named {
    File(File),
    Directory(CodeDirectory),
}

/// Why a directory is not packed.
#[derive(Debug)]
pub(crate) enum NotPacked {
    /// Something in it.
    Refused(String),
    /// What it should be packed into.
    Writing(io::Error),
}

/// A directory of code.
#[derive(Debug)]
pub(crate) struct CodeDirectory {
    handle: OwnedFd,
    /// Device and inode of the catalogue's root.
    catalog: (u64, u64),
}

/// Opens what a place names, from the root of its catalogue; the error is the reason why not.
pub(crate) fn named(catalog: &Path, path: &str) -> Result<Named, String> {
    let said = |e: io::Error| e.to_string();
    let ups = path.split('/').take_while(|part| *part == "..").count();
    let (root, beneath) = if ups == 0 {
        let found = std::fs::metadata(catalog.join(path)).map_err(said)?;
        if found.is_file() {
            return File::open(catalog.join(path)).map(Named::File).map_err(said);
        }
        if !found.is_dir() {
            return Err("it is neither a file nor a directory".to_owned());
        }
        (catalog.to_owned(), PathBuf::from(path))
    } else {
        in_repository(catalog, ups, path)?
    };
    let handle = open(&root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    let handle = handle.map_err(|e| said(e.into()))?;
    let how = OpenHow::new().flags(FLAGS).resolve(BENEATH);
    let beneath = if beneath.as_os_str().is_empty() { Path::new(".") } else { &beneath };
    let handle = openat2(&handle, beneath, how).map_err(|errno| match errno {
        Errno::ELOOP => "a symbolic link leads there: name the directory itself".to_owned(),
        other => said(other.into()),
    })?;
    let stat = fstat(&handle).map_err(|e| said(e.into()))?;
    match kind_of(&stat) {
        SFlag::S_IFREG => Ok(Named::File(File::from(handle))),
        SFlag::S_IFDIR => {
            let root = nix::sys::stat::stat(catalog).map_err(|e| said(e.into()))?;
            Ok(Named::Directory(CodeDirectory { handle, catalog: (root.st_dev, root.st_ino) }))
        }
        _ => Err("it is neither a file nor a directory".to_owned()),
    }
}

/// Whether a place names a directory.
pub fn is_directory(catalog: &Path, path: &str) -> bool {
    matches!(named(catalog, path), Ok(Named::Directory(_)))
}

/// The repository that a catalogue is in, and a path from its root, which `ups` times `..` must not leave.
fn in_repository(catalog: &Path, ups: usize, path: &str) -> Result<(PathBuf, PathBuf), String> {
    let catalog = catalog.canonicalize().map_err(|e| e.to_string())?;
    let repository = catalog.ancestors().find(|dir| dir.join(".git").symlink_metadata().is_ok());
    let Some(repository) = repository else {
        return Err("it lies outside of the catalogue, which is in no git repository that both could be in".to_owned());
    };
    let above = catalog.ancestors().nth(ups).and_then(|above| above.strip_prefix(repository).ok());
    let Some(above) = above else {
        return Err(format!("it lies outside of the catalogue's git repository {}", repository.display()));
    };
    Ok((repository.to_owned(), path.split('/').skip(ups).fold(above.to_owned(), |path, part| path.join(part))))
}

/// One thing that is packed.
struct Entry {
    /// From the directory.
    path: Vec<u8>,
    what: What,
}

enum What {
    Directory,
    File { executable: bool, bytes: u64 },
    Link { target: Vec<u8> },
}

impl CodeDirectory {
    /// Writes its tar.
    pub(crate) fn pack(&self, out: &mut dyn Write) -> Result<(), NotPacked> {
        let mut walk = Walk { directory: self, entries: Vec::new(), bytes: 0 };
        walk.enter(Vec::new(), 0).map_err(NotPacked::Refused)?;
        if walk.entries.len() < 2 {
            return Err(NotPacked::Refused("there is no file in it".to_owned()));
        }
        let mut out = Counted { out, bytes: 0 };
        for entry in &walk.entries {
            self.write(entry, &mut out)?;
        }
        let used = out.bytes + 2 * BLOCK;
        out.zeros(2 * BLOCK + used.next_multiple_of(RECORD) - used)
    }

    fn write(&self, entry: &Entry, out: &mut Counted<'_>) -> Result<(), NotPacked> {
        let path = [TOP, &entry.path].concat();
        let (kind, mode, size, target) = match &entry.what {
            What::Directory => (Kind::Directory, 0o755, 0, &[][..]),
            What::Link { target } => (Kind::Symlink, 0o777, 0, target.as_slice()),
            What::File { executable, bytes } => (Kind::File, if *executable { 0o755 } else { 0o644 }, *bytes, &[][..]),
        };
        let slash: &[u8] = if matches!(kind, Kind::Directory) && !path.ends_with(b"/") { b"/" } else { b"" };
        out.all(&Header { path: &[&path, slash].concat(), kind, mode, size, target }.encode())?;
        if size > 0 {
            let changed = || NotPacked::Refused(format!("`{}` changed while it was packed", shown(&entry.path)));
            let mut file = File::from(self.open(&entry.path, OFlag::empty()).map_err(NotPacked::Refused)?);
            let mut left = size;
            let mut buffer = vec![0; 128 << 10];
            loop {
                let count = match file.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => count as u64,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => return Err(NotPacked::Refused(unread(&entry.path, &e.to_string()))),
                };
                left = left.checked_sub(count).ok_or_else(changed)?;
                out.all(buffer.get(..usize::try_from(count).unwrap_or_default()).unwrap_or_default())?;
            }
            if left > 0 {
                return Err(changed());
            }
            out.zeros(out.bytes.next_multiple_of(BLOCK) - out.bytes)?;
        }
        Ok(())
    }

    fn open(&self, path: &[u8], flags: OFlag) -> Result<OwnedFd, String> {
        let beneath = if path.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(path) };
        let how = OpenHow::new().flags(FLAGS | flags).resolve(BENEATH | ResolveFlag::RESOLVE_NO_XDEV);
        openat2(&self.handle, beneath, how).map_err(|errno| match errno {
            Errno::EXDEV => format!("`{}` is a mount of another file system", shown(path)),
            other => unread(path, other.desc()),
        })
    }
}

/// What was found so far.
struct Walk<'d> {
    directory: &'d CodeDirectory,
    entries: Vec<Entry>,
    bytes: u64,
}

impl Walk<'_> {
    fn enter(&mut self, path: Vec<u8>, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("`{}` lies deeper than {MAX_DEPTH} directories", shown(&path)));
        }
        let handle = self.directory.open(&path, OFlag::O_DIRECTORY)?;
        let failed = |errno: Errno| unread(&path, errno.desc());
        let root = fstat(&handle).map_err(failed)?;
        let is_catalog = (root.st_dev, root.st_ino) == self.directory.catalog;
        if depth > 0 && (is_catalog || self.is_cache(&path)) {
            return Ok(());
        }
        // The catalogue's own files lie directly in it and in two folders of it.
        let in_catalog = is_catalog
            || (depth == 1 && matches!(path.as_slice(), b"packages" | b"images") && self.packs_the_catalog()?);
        let at = self.entries.len();
        self.add(path.clone(), What::Directory)?;
        let mut dir = Dir::from_fd(handle).map_err(failed)?;
        let mut names: Vec<Vec<u8>> = Vec::new();
        for entry in dir.iter() {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            let catalog_file = if is_catalog { name == b"anneal.toml" } else { name.ends_with(b".toml") };
            let left_out = matches!(name.as_slice(), b"." | b".." | b".git") || (in_catalog && catalog_file);
            names.extend((!left_out).then_some(name));
            if self.entries.len() + names.len() > MAX_PACKED_ENTRIES {
                return Err(too_much("entries", MAX_PACKED_ENTRIES as u64));
            }
        }
        let mut children = Vec::new();
        for name in names {
            let stat = fstatat(&dir, OsStr::from_bytes(&name), AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
            // As git sorts: a directory by its name with the slash.
            let slash: &[u8] = if kind_of(&stat) == SFlag::S_IFDIR { b"/" } else { b"" };
            children.push(([&name, slash].concat(), name, stat));
        }
        children.sort_by(|a, b| a.0.cmp(&b.0));
        for (_, name, stat) in children {
            let child = if path.is_empty() { name.clone() } else { [&path, &b"/"[..], &name].concat() };
            self.child(child, &stat, depth)?;
        }
        if depth > 0 && self.entries.len() == at + 1 {
            self.entries.pop();
        }
        Ok(())
    }

    fn child(&mut self, path: Vec<u8>, stat: &FileStat, depth: usize) -> Result<(), String> {
        let kind = match kind_of(stat) {
            SFlag::S_IFDIR => return self.enter(path, depth + 1),
            SFlag::S_IFREG => {
                let bytes = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
                self.bytes = self.bytes.saturating_add(bytes);
                if self.bytes > MAX_PACKED_BYTES {
                    return Err(too_much("bytes", MAX_PACKED_BYTES));
                }
                return self.add(path, What::File { executable: stat.st_mode & 0o100 != 0, bytes });
            }
            SFlag::S_IFLNK => {
                let target = self.target(&path)?;
                return match leads_out(&path, &target) {
                    None => self.add(path, What::Link { target }),
                    Some(why) => Err(format!("the link `{}` {why}: `{}`", shown(&path), shown(&target))),
                };
            }
            SFlag::S_IFIFO => "a fifo",
            SFlag::S_IFSOCK => "a socket",
            _ => "a device",
        };
        Err(format!("`{}` is {kind}, which is no code", shown(&path)))
    }

    fn target(&self, path: &[u8]) -> Result<Vec<u8>, String> {
        let (parent, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
            None => (&[][..], path),
        };
        let parent = self.directory.open(parent, OFlag::O_DIRECTORY)?;
        let target = readlinkat(&parent, OsStr::from_bytes(name)).map_err(|errno| unread(path, errno.desc()))?;
        Ok(target.as_bytes().to_vec())
    }

    fn add(&mut self, path: Vec<u8>, what: What) -> Result<(), String> {
        if path.len() > MAX_PATH {
            return Err(format!("`{}` is longer than {MAX_PATH} bytes", shown(&path)));
        }
        if self.entries.len() >= MAX_PACKED_ENTRIES {
            return Err(too_much("entries", MAX_PACKED_ENTRIES as u64));
        }
        self.entries.push(Entry { path, what });
        Ok(())
    }

    fn packs_the_catalog(&self) -> Result<bool, String> {
        let stat = fstat(&self.directory.handle).map_err(|errno| unread(b"", errno.desc()))?;
        Ok((stat.st_dev, stat.st_ino) == self.directory.catalog)
    }

    /// Whether a directory says of itself that it can be made again.
    fn is_cache(&self, path: &[u8]) -> bool {
        let Ok(tag) = self.directory.open(&[path, b"/CACHEDIR.TAG"].concat(), OFlag::empty()) else { return false };
        let mut start = [0; CACHE_SIGNATURE.len()];
        File::from(tag).read_exact(&mut start).is_ok() && start == CACHE_SIGNATURE
    }
}

/// How a link leads out of the directory that it is in, if it does. Its target is read as it is written.
fn leads_out(path: &[u8], target: &[u8]) -> Option<&'static str> {
    if target.first() == Some(&b'/') {
        return Some("is absolute");
    }
    let mut depth = path.iter().filter(|b| **b == b'/').count();
    for part in target.split(|b| *b == b'/') {
        depth = match part {
            b"" | b"." => depth,
            b".." => match depth.checked_sub(1) {
                Some(depth) => depth,
                None => return Some("leads out of the directory"),
            },
            _ => depth + 1,
        };
    }
    None
}

/// What is written, and how much it was.
struct Counted<'w> {
    out: &'w mut dyn Write,
    bytes: usize,
}

impl Counted<'_> {
    fn all(&mut self, bytes: &[u8]) -> Result<(), NotPacked> {
        self.bytes += bytes.len();
        self.out.write_all(bytes).map_err(NotPacked::Writing)
    }
    fn zeros(&mut self, count: usize) -> Result<(), NotPacked> {
        self.all(&vec![0; count])
    }
}

fn kind_of(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn shown(path: &[u8]) -> String {
    crate::error::shown(&String::from_utf8_lossy(path), 300)
}

fn unread(path: &[u8], why: &str) -> String {
    format!("`{}` can't be read: {why}", shown(if path.is_empty() { b"." } else { path }))
}

fn too_much(what: &str, most: u64) -> String {
    format!(
        "it has more than {most} {what}; name a directory with the code alone, or mark what is made from it with a CACHEDIR.TAG"
    )
}

#[cfg(test)]
mod tests;
