//! How much is in the output directories of a run, measured while the payload goes on writing to them.
//!
//! An output is a host directory, and a directory has no quota of its own on most file systems. So it is walked again
//! and again, a bounded piece of work at a time, and once more after the last process is dead, for as long as
//! the payload itself was given. The walk holds one
//! directory open at a time and goes by handles beneath the output, never through a link, since the payload changes
//! everything under its feet. Each walk begins with the files that have no name and are still held by processes.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::dir::{Dir, OwningIter};
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, SFlag, fstatat};

use super::launch;
use super::nameless::Search;
use crate::steward::{Measured, Steward};
use crate::subordinate::Subordinate;
use crate::{Error, HostFacts, Limits, MountSource, Result, Spec, Users};

/// The first look, and the shortest pause between two.
pub(super) const EVERY: Duration = Duration::from_millis(250);
/// The longest pause; with it and the work itself a limit is noticed within two seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A pause is this many times as long as the work before it.
const REST: u32 = 4;
/// Work done at once, and the pause after it while a walk is not at its end.
const PIECE: Duration = Duration::from_millis(10);
const BREATH: Duration = Duration::from_millis(20);
/// Entries between two looks at the clock.
const ENTRIES: u32 = 128;
/// Bytes of a block in `st_blocks`.
const BLOCK: u64 = 512;
/// More directories in each other than this are over the limit of files. Each is found again from the output on, which
/// takes the longer the deeper it is; what reads outputs refuses far fewer.
const DEPTH: u32 = 256;
/// The kernel takes no longer path at once.
const PATH_LIMIT: usize = 4000;

/// A directory by its name in another; the root has no name.
#[derive(Debug)]
struct Place {
    above: Option<(Rc<Place>, std::ffi::CString)>,
    depth: u32,
}

impl Drop for Place {
    /// Up the chain step by step: a payload may have made it longer than the stack is for a call each.
    fn drop(&mut self) {
        let mut above = self.above.take();
        while let Some(mut place) = above.and_then(|(place, _)| Rc::try_unwrap(place).ok()) {
            above = place.above.take();
        }
    }
}

/// One walk through all outputs.
#[derive(Debug, Default)]
struct Walk {
    /// Directories still to be read, with the output they are in.
    waiting: Vec<(usize, Rc<Place>)>,
    current: Option<Current>,
    bytes: u64,
    inodes: u64,
    too_deep: bool,
    /// Files with several names that have been counted.
    linked: BTreeSet<(u64, u64)>,
    spent: Duration,
    /// The search that comes before the walk.
    search: Option<Search>,
}

#[derive(Debug)]
struct Current {
    output: usize,
    place: Rc<Place>,
    entries: OwningIter,
    handle: OwnedFd,
}

/// What the last walk has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// Everything is within the limits.
    Within,
    /// A limit is passed.
    Over,
    /// There was more than could be looked at in its time.
    Unfinished,
}

/// The outputs of one run.
#[derive(Debug)]
pub(super) struct Meter {
    outputs: Vec<OwnedFd>,
    /// Where the first is.
    first: PathBuf,
    bytes: u64,
    inodes: u64,
    walk: Walk,
    next: Instant,
    over: bool,
    /// Process 1 of the run, while there is a payload.
    init: Option<u32>,
    /// Whether a directory could not be opened, as happens where the payload and the launcher are the same user.
    pub(super) unreadable: bool,
    /// Whether there were processes whose open files could not be looked at.
    pub(super) hidden: bool,
    /// Who walks and gives the outputs back, where they belong to a subordinate user of the launcher's.
    entrusted: Option<Entrusted>,
}

/// Outputs that are another user's for the time of a run.
#[derive(Debug)]
struct Entrusted {
    users: &'static Subordinate,
    steward: Steward,
    /// Since when an answer is waited for.
    asked: Option<Instant>,
}

impl Meter {
    /// Takes a handle of each output.
    pub(super) fn open(spec: &Spec) -> Result<Self> {
        let Limits { output_bytes: bytes, output_inodes: inodes, .. } = spec.limits;
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let (mut outputs, mut first) = (Vec::new(), PathBuf::new());
        for mount in &spec.mounts {
            if let MountSource::Output(path) = &mount.source {
                let handle = open(path, flags, Mode::empty()).map_err(|e| launch("open an output")(e.into()))?;
                if outputs.is_empty() {
                    first.clone_from(path);
                }
                outputs.push(handle);
            }
        }
        let next = Instant::now() + EVERY;
        Ok(Self {
            outputs,
            first,
            bytes,
            inodes,
            walk: Walk::default(),
            next,
            over: false,
            init: None,
            unreadable: false,
            hidden: false,
            entrusted: None,
        })
    }

    /// Also looks at what processes hold: at those beneath this one from now on, or at none any more.
    pub(super) fn attend(&mut self, init: Option<u32>) {
        self.init = init;
    }

    /// How often outputs are measured; `None` where there is none.
    pub(super) fn every_ms(&self) -> Option<u64> {
        (!self.outputs.is_empty()).then_some(EVERY.as_millis() as u64)
    }

    /// Gives the outputs to the payload's user, where that takes a steward.
    pub(super) fn entrust(&mut self, host: &HostFacts) -> Result<()> {
        if self.outputs.is_empty() || host.users != Users::Subordinate {
            return Ok(());
        }
        let users = Subordinate::own().map_err(|reason| Error::Control { reason: reason.to_owned() })?;
        let steward = self.steward(users)?;
        self.entrusted = Some(Entrusted { users, steward, asked: None });
        let given =
            self.entrusted.as_ref().map(|own| own.steward.give(host.outside_uid, host.outside_gid, self.inodes));
        given.unwrap_or(Ok(())).map_err(|source| Error::OutputKept { path: self.first.clone(), source })
    }

    /// A steward that has been handed all outputs.
    fn steward(&self, users: &Subordinate) -> Result<Steward> {
        let steward = Steward::start(users)?;
        for output in &self.outputs {
            steward.keep(output.as_fd()).map_err(launch("hand an output to a steward"))?;
        }
        Ok(steward)
    }

    /// Makes the outputs the launcher's again, once every process is dead. Returns paths of what is not, because it would
    /// lose its set-id bits by that.
    pub(super) fn give_back(&mut self) -> io::Result<Vec<String>> {
        let Some(Entrusted { users, steward, asked }) = self.entrusted.take() else { return Ok(Vec::new()) };
        // What it is still walking for nobody wants to know any more, but it answers in order.
        let heard = asked.map_or(Ok(()), |_| steward.measured().map(drop));
        let given = heard.and_then(|()| steward.reclaim(users)).or_else(|error| {
            tracing::debug!(%error, "a steward could not give outputs back; another one tries");
            self.steward(users).map_err(io::Error::other)?.reclaim(users)
        });
        if given.is_err() {
            self.entrusted = Some(Entrusted { users, steward, asked: None });
        }
        given
    }

    /// Asks the steward, or hears what it has to say.
    fn look_through(&mut self, now: Instant) {
        let (bytes, inodes) = (self.bytes, self.inodes);
        let init = self.init;
        let Some(Entrusted { steward, asked, .. }) = &mut self.entrusted else { return };
        let said = match *asked {
            None => steward.measure(init, bytes, inodes).map(|()| *asked = Some(now)).map(|()| None),
            Some(_) if !steward.has_answered() => Ok(None),
            Some(since) => {
                *asked = None;
                self.next = now + (now.saturating_duration_since(since) * REST).clamp(EVERY, LONGEST_PAUSE);
                steward.measured().map(Some)
            }
        };
        match said {
            Ok(None) => {}
            Ok(Some(measured)) => {
                self.over |= is_over(measured, bytes, inodes);
                self.hidden |= measured.hidden;
            }
            // It does not come back, so neither will the next measurement.
            Err(_) => (self.unreadable, self.next) = (true, now + LONGEST_PAUSE),
        }
    }

    /// The last measurement through the steward.
    fn look_through_to_the_end(&mut self, time: Duration) -> io::Result<bool> {
        let Some(Entrusted { steward, asked, .. }) = &mut self.entrusted else { return Ok(false) };
        steward.answer_within(time)?;
        if asked.take().is_some() {
            steward.measured()?;
        }
        steward.measure(None, self.bytes, self.inodes)?;
        Ok(is_over(steward.measured()?, self.bytes, self.inodes))
    }

    /// Goes on with the walk if it is time to. Whether a limit is passed.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        if self.entrusted.is_some() {
            if !self.over && now >= self.next {
                self.look_through(now);
            }
            return self.over;
        }
        if !self.over && !self.outputs.is_empty() && now >= self.next {
            if self.walk.waiting.is_empty() && self.walk.current.is_none() && self.walk.search.is_none() {
                self.begin();
            }
            let done = self.go_on(now + PIECE);
            let after = Instant::now();
            self.walk.spent += after.saturating_duration_since(now);
            let pause = if done { (self.walk.spent * REST).clamp(EVERY, LONGEST_PAUSE) } else { BREATH };
            self.next = after + pause;
        }
        self.over
    }

    /// One whole walk, for when nothing writes any more, in no more time than this.
    pub(super) fn look_at_all(&mut self, time: Duration) -> Last {
        let mut whole = true;
        if self.entrusted.is_some() {
            match self.look_through_to_the_end(time) {
                Ok(over) => self.over |= over,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    whole = false;
                    self.replace_steward();
                }
                Err(_) => self.unreadable = true,
            }
        } else if !self.over {
            self.begin();
            whole = self.go_on(Instant::now() + time);
        }
        match (self.over, whole) {
            (true, _) => Last::Over,
            (false, true) => Last::Within,
            (false, false) => Last::Unfinished,
        }
    }

    /// Takes another steward in place of one that is still walking.
    fn replace_steward(&mut self) {
        let Some(users) = self.entrusted.as_ref().map(|entrusted| entrusted.users) else { return };
        match self.steward(users) {
            Ok(steward) => self.entrusted = Some(Entrusted { users, steward, asked: None }),
            // Whoever gives the outputs back tries again.
            Err(error) => tracing::debug!(%error, "no other steward could be started"),
        }
    }

    fn begin(&mut self) {
        let root = Rc::new(Place { above: None, depth: 0 });
        let waiting = (0..self.outputs.len()).map(|output| (output, root.clone())).collect();
        let device = |output: &OwnedFd| nix::sys::stat::fstat(output).map(|found| found.st_dev);
        let search = self.init.map(|init| Search::new(init, self.outputs.iter().flat_map(device).collect()));
        self.walk = Walk { waiting, search, ..Walk::default() };
    }

    /// Walks until the end, a limit, or the time given; true at the end.
    fn go_on(&mut self, until: Instant) -> bool {
        let mut entries = 0;
        while !self.over && self.walk.search.is_some() {
            self.search();
            if Instant::now() >= until {
                return false;
            }
        }
        while !self.over {
            let Some(current) = &mut self.walk.current else {
                let Some((output, place)) = self.walk.waiting.pop() else { return true };
                self.walk.current = self.enter(output, place);
                continue;
            };
            match current.entries.next() {
                Some(Ok(entry)) => count(&mut self.walk, entry.file_name()),
                // A directory that can't be read to its end is left at that; the next walk comes back to it.
                Some(Err(_)) | None => self.walk.current = None,
            }
            self.over = self.walk.bytes > self.bytes || self.walk.inodes > self.inodes || self.walk.too_deep;
            entries += 1;
            if entries % ENTRIES == 0 && Instant::now() >= until {
                return false;
            }
        }
        true
    }

    /// Goes on with the search. It comes first: what gets a name meanwhile is then not counted again.
    fn search(&mut self) {
        let Some(search) = &mut self.walk.search else { return };
        let done = search.go_on(ENTRIES);
        self.over = search.found.bytes > self.bytes;
        if done && let Some(Search { found, .. }) = self.walk.search.take() {
            self.hidden |= found.hidden;
            (self.walk.bytes, self.walk.inodes) = (found.bytes, found.files.len() as u64);
            self.walk.linked = found.files;
        }
    }

    /// Opens a directory; `None` where it has gone or can't be read.
    fn enter(&mut self, output: usize, place: Rc<Place>) -> Option<Current> {
        let opened = reopen(self.outputs.get(output)?, &place).and_then(|handle| {
            let second = handle.try_clone().map_err(|_| nix::Error::EMFILE)?;
            Ok(Current { output, place, entries: Dir::from_fd(second)?.into_iter(), handle })
        });
        // Whatever is not simply gone is something that is not measured.
        self.unreadable |=
            opened.as_ref().is_err_and(|error| !matches!(error, nix::Error::ENOENT | nix::Error::ENOTDIR));
        opened.ok()
    }
}

impl Drop for Meter {
    /// What was given away and never used, or used by a run that could not be watched to its end.
    fn drop(&mut self) {
        if let Err(error) = self.give_back() {
            tracing::warn!(%error, "an output stays with the payload's user until the next sweep");
        }
    }
}

fn is_over(measured: Measured, bytes: u64, inodes: u64) -> bool {
    measured.bytes > bytes || measured.inodes > inodes || measured.too_deep
}

/// Adds one entry of the current directory.
fn count(walk: &mut Walk, name: &std::ffi::CStr) {
    let Some(current) = &walk.current else { return };
    if matches!(name.to_bytes(), b"." | b"..") {
        return;
    }
    let Ok(found) = fstatat(&current.handle, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { return };
    let is_directory = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
    if is_directory {
        let depth = current.place.depth.saturating_add(1);
        walk.too_deep |= depth > DEPTH;
        let place = Place { above: Some((current.place.clone(), name.to_owned())), depth };
        walk.waiting.push((current.output, Rc::new(place)));
    } else {
        let file = (found.st_dev, found.st_ino);
        let counted = if found.st_nlink > 1 { !walk.linked.insert(file) } else { walk.linked.contains(&file) };
        if counted {
            return;
        }
    }
    walk.inodes = walk.inodes.saturating_add(1);
    walk.bytes = walk.bytes.saturating_add(u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(BLOCK));
}

/// Opens a place beneath an output, in pieces that the kernel takes.
fn reopen(output: &OwnedFd, place: &Place) -> nix::Result<OwnedFd> {
    let mut names = Vec::new();
    let mut at = place;
    while let Some((above, name)) = &at.above {
        names.push(name.as_bytes());
        at = above;
    }
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC).resolve(resolve);
    let mut handle = openat2(output.as_fd(), ".", how)?;
    let mut path = Vec::new();
    while let Some(name) = names.pop() {
        if !path.is_empty() && path.len() + name.len() > PATH_LIMIT {
            handle = openat2(handle.as_fd(), path.as_slice(), how)?;
            path.clear();
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
    }
    if path.is_empty() { Ok(handle) } else { openat2(handle.as_fd(), path.as_slice(), how) }
}

#[cfg(test)]
mod tests;
