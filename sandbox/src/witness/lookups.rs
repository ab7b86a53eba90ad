//! What a traced run looks up, one path at a time.
//!
//! The launcher is asked before a call happens and lets it happen. So what a path leads to is looked up here as well, in
//! the sandbox's own root as the payload sees it, and for the right reason only: to tell a declared input from a name
//! that nothing declared has. A process that changes its memory or a directory meanwhile fools this, not the sandbox.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::Trace;
use super::detail::printable;
use super::inputs::{self, Holder, Places};
use super::interpreter;
use super::listener::{Call, Listener, gone};
use crate::Spec;
use crate::filter::{Lookup, Purpose};

/// The longest path the kernel takes.
const PATH: usize = libc::PATH_MAX as usize;
/// Bounds of what is kept while a run lasts.
const MISSING: usize = 4096;
const OPENED: usize = 200_000;
const FOUND: usize = 65_536;
/// Bounds of what is listed.
const READS_OUTSIDE: usize = 512;
const NEVER_READ: usize = 1000;
/// How often a lookup is tried when a directory is renamed under it.
const TRIES: usize = 3;
/// So deep the kernel follows scripts whose interpreters are scripts, and a loader comes last.
const INTERPRETERS: usize = 6;

const METHOD: &str = "Every open for reading, execve, stat, access and readlink by path was reported by the kernel \
    (seccomp user notification) before it happened; its path was read from the caller's memory and looked up in the \
    sandbox. reads_outside lists paths that nothing declared has, /proc and the run's own scratch and output places \
    aside; a name that was missing beneath one declared directory and found elsewhere is a search and is not listed. \
    never_read lists declared files that no call was seen to open or execute. The interpreter of a script and the loader \
    of a program are those that its file names. Not seen: files reached through a descriptor that was passed on or sent, \
    paths that were changed while they were looked at, and files whose names a program only read in a directory. Not \
    observed does not mean none.";
const UNHEARD: &str = "Not observed: the kernel lets only one program hear of a process's system calls, and another one \
    already listens to this one. Nothing is known of what was read.";
const UNSTARTED: &str =
    "Not observed: the run ended before its payload was watched. Nothing is known of what was read.";

/// What was looked up so far.
#[derive(Debug)]
pub(super) struct Lookups {
    places: Places,
    /// The root of the sandbox, which all of its processes share.
    root: Option<Rc<OwnedFd>>,
    /// Declared files and directories that were opened, by their real paths.
    opened: HashSet<PathBuf>,
    /// Last parts of paths that led somewhere.
    found: HashSet<OsString>,
    /// Paths that led nowhere, each with whether something above it is there, the root aside: what a declared directory
    /// lacks is as declared as what it has.
    missing: BTreeMap<PathBuf, bool>,
    observed: bool,
    /// Whether the payload is executed. What is seen before is the sandbox's own doing, and hidden from an ordinary user.
    started: bool,
    /// Where the program that the spec names may be, until it is known which of these it is.
    programs: Vec<PathBuf>,
    /// Whether something could not be taken down.
    incomplete: bool,
}

/// Where a path leads.
enum Led {
    /// To something with this real path, and a handle of it.
    To(PathBuf, OwnedFd),
    Nowhere,
    /// It can't be told.
    Unknown,
}

impl Lookups {
    pub(super) fn new(spec: &Spec) -> Self {
        Self {
            places: Places::of(spec),
            root: None,
            opened: HashSet::new(),
            found: HashSet::new(),
            missing: BTreeMap::new(),
            observed: false,
            started: false,
            programs: programs(spec),
            incomplete: false,
        }
    }

    /// From here on calls are reported.
    pub(super) fn observe(&mut self) {
        self.observed = true;
    }

    /// From here on it is the payload that calls.
    pub(super) fn start(&mut self) {
        self.started = true;
    }

    /// Takes one call down.
    pub(super) fn look(&mut self, listener: &Listener, call: &Call, lookup: Lookup) {
        match path(listener, call, lookup) {
            Ok(Some(path)) => self.take_down(listener, call, lookup.purpose, &path),
            Ok(None) => {}
            // The caller was killed.
            Err(error) if gone(&error) => {}
            Err(_) => self.incomplete |= self.started,
        }
    }

    fn take_down(&mut self, listener: &Listener, call: &Call, purpose: Purpose, path: &Path) {
        if self.root.is_none() {
            let options = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).clone();
            match options.open(format!("/proc/{}/root", call.thread)) {
                Ok(root) if listener.waits(call) => self.root = Some(Rc::new(root.into())),
                _ => return self.incomplete |= self.started && listener.waits(call),
            }
            // The payload's own exec may have been out of sight.
            let programs = std::mem::take(&mut self.programs);
            let _ = programs.iter().any(|program| self.execute(program));
        }
        let flags = |argument: u8| call.arguments.get(usize::from(argument)).copied().unwrap_or(0) as i32;
        match purpose {
            // It is known already.
            _ if purpose != Purpose::Execute && self.opened.contains(path) => {}
            Purpose::Execute => _ = self.execute(path),
            Purpose::Open(argument) => {
                let flags = flags(argument);
                let makes = flags & libc::O_CREAT != 0;
                self.take(path, flags & libc::O_NOFOLLOW == 0, flags & libc::O_PATH == 0, makes);
            }
            Purpose::Ask { flags: argument, follow } => {
                let follow = follow && argument.is_none_or(|n| flags(n) & libc::AT_SYMLINK_NOFOLLOW == 0);
                self.take(path, follow, false, false);
            }
        }
    }

    /// A program, with what the kernel opens for it; whether it is there.
    fn execute(&mut self, path: &Path) -> bool {
        let first = self.take(path, true, true, false);
        let there = first.is_some();
        let mut next = first.and_then(|file| interpreter(&file));
        for _ in 1..INTERPRETERS {
            let Some(path) = next else { break };
            next = self.take(&path, true, true, false).and_then(|file| interpreter(&file));
        }
        there
    }

    /// Takes a path down, and returns a handle of what is there.
    fn take(&mut self, path: &Path, follow: bool, reads: bool, makes: bool) -> Option<OwnedFd> {
        let root = self.root.clone()?;
        let plain = plain(path);
        if plain.starts_with("/proc") {
            return None;
        }
        match lead(&root, path, follow) {
            Led::To(real, handle) => {
                if let Some(name) = path.file_name().filter(|_| self.found.len() < FOUND) {
                    self.found.insert(name.to_owned());
                }
                if reads && self.places.holder(&real) == Holder::Input {
                    self.incomplete |= self.opened.len() >= OPENED;
                    if self.opened.len() < OPENED {
                        self.opened.insert(real);
                    }
                }
                return Some(handle);
            }
            Led::Nowhere if makes || self.missing.contains_key(&plain) => {}
            Led::Nowhere => self.miss(&root, path, plain),
            Led::Unknown => self.incomplete = true,
        }
        None
    }

    /// Takes down a path that leads nowhere.
    fn miss(&mut self, root: &OwnedFd, path: &Path, plain: PathBuf) {
        let above = path.ancestors().skip(1).find_map(|above| match lead(root, above, true) {
            Led::To(real, _) => Some((real, above)),
            _ => None,
        });
        let (real, above) = above.unwrap_or((PathBuf::from("/"), Path::new("/")));
        let whole = path.strip_prefix(above).map_or_else(|_| plain.clone(), |rest| real.join(rest));
        if self.places.holder(&whole) != Holder::Own {
            self.incomplete |= self.missing.len() >= MISSING;
            if self.missing.len() < MISSING {
                self.missing.insert(plain, real != Path::new("/"));
            }
        }
    }

    /// What it amounts to, once no process is left to look anything up.
    pub(super) fn conclude(self, spec: &Spec) -> Trace {
        if !self.observed {
            return Trace {
                method: UNSTARTED.to_owned(),
                reads_outside: Vec::new(),
                never_read: Vec::new(),
                truncated: true,
            };
        }
        let mut truncated = self.incomplete;
        let Self { places, mut opened, found, missing, programs, started, .. } = self;
        let searched =
            |path: &Path, declared: bool| declared && path.file_name().is_some_and(|name| found.contains(name));
        let outside = missing.iter().filter(|(path, declared)| !searched(path, **declared)).map(|(path, _)| path);
        let reads_outside = listed(outside, READS_OUTSIDE, &mut truncated);
        let (files, more) = inputs::files(spec, &places);
        truncated |= more;
        // It looked nothing up itself, so its place has to do.
        opened.extend(programs.into_iter().filter(|path| started && files.contains(path)).take(1));
        // With a full list of what was opened, nothing can be said of the rest.
        let unread = files.iter().filter(|path| opened.len() < OPENED && !opened.contains(*path));
        let never_read = listed(unread, NEVER_READ, &mut truncated);
        Trace { method: METHOD.to_owned(), reads_outside, never_read, truncated }
    }
}

impl Trace {
    /// The trace of a run that nobody could listen to.
    pub(super) fn unheard() -> Self {
        Self { method: UNHEARD.to_owned(), reads_outside: Vec::new(), never_read: Vec::new(), truncated: true }
    }
}

fn listed<'a>(paths: impl Iterator<Item = &'a PathBuf>, at_most: usize, truncated: &mut bool) -> Vec<String> {
    let mut listed: Vec<String> =
        paths.take(at_most + 1).map(|path| printable(path.as_os_str().as_encoded_bytes(), PATH)).collect();
    *truncated |= listed.len() > at_most;
    listed.truncate(at_most);
    listed
}

/// The paths at which the program of a spec is looked for.
fn programs(spec: &Spec) -> Vec<PathBuf> {
    let Some(program) = spec.argv.first() else { return Vec::new() };
    if program.contains('/') {
        return vec![spec.cwd.join(program)];
    }
    let path = spec.env.get("PATH").map(String::as_str).unwrap_or_default();
    path.split(':').filter(|dir| dir.starts_with('/')).map(|dir| Path::new(dir).join(program)).collect()
}

/// The path of a call from the root on; `None` where the call is not about a path that can be declared.
fn path(listener: &Listener, call: &Call, lookup: Lookup) -> io::Result<Option<PathBuf>> {
    let argument = |index: u8| call.arguments.get(usize::from(index)).copied().unwrap_or(0);
    let memory = listener.memory(call, false)?;
    // What can't be read at this address the kernel can't read either.
    let Ok(bytes) = memory.string(argument(lookup.path), PATH) else { return Ok(None) };
    if bytes.is_empty() {
        return Ok(None);
    }
    let path = PathBuf::from(OsString::from_vec(bytes));
    if path.is_absolute() {
        return Ok(Some(path));
    }
    let from = match lookup.directory.map(|index| argument(index) as i32) {
        None | Some(libc::AT_FDCWD) => "cwd".to_owned(),
        Some(descriptor) => format!("fd/{descriptor}"),
    };
    let directory = listener.link(call, &from)?;
    if !listener.waits(call) {
        return Ok(None);
    }
    // Sockets and pipes have names that are no paths, and a directory that was removed is no input.
    let there = directory.is_absolute() && !directory.as_os_str().as_encoded_bytes().ends_with(b" (deleted)");
    Ok(there.then(|| directory.join(path)))
}

/// A path without `.` and `..`, as far as that can be told from its text.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => _ = plain.pop(),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}

/// What the kernel opens besides when it executes a file.
fn interpreter(handle: &OwnedFd) -> Option<PathBuf> {
    let through = format!("/proc/self/fd/{}", handle.as_raw_fd());
    // A pipe or a device would do something when it is opened.
    if !fs::metadata(&through).ok()?.is_file() {
        return None;
    }
    let mut head = vec![0; interpreter::HEAD];
    // The payload may hold a lease on a file of its own, and whoever then opens it would wait until the kernel breaks that.
    let file = fs::OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(through).ok()?;
    let length = file.read_at(&mut head, 0).ok()?;
    interpreter::named(head.get(..length)?)
}

/// Where a path leads in the sandbox. It never leads out, and a handle of this sort touches no device and no pipe.
fn lead(root: &OwnedFd, path: &Path, follow: bool) -> Led {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | if follow { OFlag::empty() } else { OFlag::O_NOFOLLOW };
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    for _ in 0..TRIES {
        match openat2(root, path, how) {
            Ok(found) => {
                return match fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())) {
                    Ok(real) => Led::To(real, found),
                    Err(_) => Led::Unknown,
                };
            }
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG) => return Led::Nowhere,
            Err(Errno::EAGAIN) => {}
            Err(_) => return Led::Unknown,
        }
    }
    Led::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_plain_by_its_text() {
        for (path, expected) in [("/a/./b/../c", "/a/c"), ("/../..", "/"), ("/a//b/", "/a/b"), ("/", "/")] {
            assert_eq!(plain(Path::new(path)), Path::new(expected));
        }
    }

    #[test]
    fn a_link_out_of_the_root_leads_into_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/inside"), "").unwrap();
        for (link, to) in [("up", "../../../../etc/inside"), ("absolute", "/etc/inside"), ("out", "/etc/passwd")] {
            std::os::unix::fs::symlink(to, dir.path().join(link)).unwrap();
        }
        let root: OwnedFd = fs::File::open(dir.path()).unwrap().into();
        let real = |path: &str, follow| match lead(&root, Path::new(path), follow) {
            Led::To(real, _) => Some(real),
            _ => None,
        };
        let inside = dir.path().canonicalize().unwrap().join("etc/inside");
        assert_eq!(real("/up", true).as_ref(), Some(&inside));
        assert_eq!(real("/absolute", true).as_ref(), Some(&inside));
        assert_eq!(real("/out", true), None);
        assert!(real("/out", false).is_some());
    }
}
