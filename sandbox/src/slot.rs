//! One number per concurrent run of a host, free again when its holder is gone.
//!
//! A number decides which host user stands behind a payload, so two launchers must never have the same one. It is held by
//! an exclusive lock on a file, which the kernel takes back when the holder dies, however it dies. The files stand in a
//! directory that only the launcher's user can enter, so nobody else takes a number away:
//!
//! ```text
//! place 0   /run/anneal-sandbox/N                      root
//!           ~/.local/state/anneal-sandbox/N            anyone else, by the home that the list of users names
//! place 1   /run/user/UID/anneal-sandbox/N             where there is no such home
//! place 2   /var/tmp/anneal-sandbox-UID/N              where anybody may have been first: then it is passed over
//! place 3   /tmp/anneal-sandbox-UID/N
//! ```
//!
//! The environment has no say, or two programs of one user would look at different places. Where they do all the same (a
//! session that ends takes `/run/user/UID` with it), each place has numbers of its own: place P has those from P times
//! [`SLOTS`] on.
//!
//! A file that somebody removes while it is locked must not make its number free. Three things see to that. Whoever tidies up
//! by age finds files that were touched when they were taken, and a directory that is locked shared, which
//! `systemd-tmpfiles` heeds. Whoever takes a lock looks whether the path still leads to what is locked. And a file
//! that had to be made says nothing about its number, so it counts only once no process of the host has the id behind
//! it, and carries a mark from then on: mode 0600 in place of 0400. The one that lost its file finds that out when its processes
//! have the id, and so are there to be seen ([`Slot::holds`]), and ends its run. Of the two one always sees the other.
//!
//! Launchers that see different directories *and* different processes (containers with one user namespace) don't know of each
//! other and may choose the same users; `docs/sandbox.md` says so.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, open, openat};
use nix::sys::stat::{Mode, fstatat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Uid, User, geteuid};

/// How many runs there may be at once of one user of a host.
pub(crate) const SLOTS: u32 = 1024;
/// How many places there are, each with as many numbers.
pub(crate) const PLACES: u32 = 4;
/// The mark of a file whose number nobody had when it was made.
const PROVEN: u32 = 0o200;

/// A number that no other run has as long as this value lives, or none.
#[derive(Debug)]
pub(crate) struct Slot {
    held: Result<Held, String>,
    /// Tells runs of this process apart where there is no number.
    count: u32,
}

#[derive(Debug)]
struct Held {
    number: u32,
    name: String,
    directory: Directory,
    file: Flock<File>,
}

/// A place that only this user can enter, locked against those who tidy up.
#[derive(Debug)]
struct Directory(OwnedFd);

/// Why there is no number.
#[derive(Debug)]
pub(crate) enum Unavailable {
    /// No place can be had, each with the reason.
    NoPlace(String),
    /// There is a place and something is wrong with it, or all its numbers are taken.
    Failed(io::Error),
}

impl Slot {
    /// The lowest free number; `id_of` says which user of the host a number stands for.
    pub(crate) fn take(id_of: &dyn Fn(u32) -> Option<u32>) -> Result<Self, Unavailable> {
        let uid = geteuid();
        let home = User::from_uid(uid).ok().flatten().map(|user| user.dir);
        Self::take_from(places(uid, home.as_deref()), id_of)
    }

    fn take_from(
        places: [Option<PathBuf>; PLACES as usize],
        id_of: &dyn Fn(u32) -> Option<u32>,
    ) -> Result<Self, Unavailable> {
        let mut reasons = Vec::new();
        for (at, place) in places.into_iter().enumerate() {
            let Some(place) = place else { continue };
            let first = u32::try_from(at).unwrap_or(0) * SLOTS;
            match directory_of_ours(&place) {
                Ok(directory) => {
                    let in_use = |number| id_of(number).is_some_and(is_in_use);
                    let held = take_in(directory, first, &in_use).map_err(Unavailable::Failed)?;
                    return Ok(Self { held: Ok(held), count: count() });
                }
                Err(error) => reasons.push(format!("{}: {error}", place.display())),
            }
        }
        Err(Unavailable::NoPlace(reasons.join("; ")))
    }

    /// None, for a run that has the caller's own user.
    pub(crate) fn none(reason: String) -> Self {
        Self { held: Err(reason), count: count() }
    }

    /// The number, or why there is none.
    pub(crate) fn number(&self) -> Result<u32, &str> {
        self.held.as_ref().map(|held| held.number).map_err(String::as_str)
    }

    /// A number that is different for runs of this process at once, and says nothing else.
    pub(crate) fn turn(&self) -> u32 {
        self.number().unwrap_or(self.count)
    }

    /// Whether the number is still this value's alone. To be asked once a process has the id behind it.
    pub(crate) fn holds(&self) -> bool {
        self.held.as_ref().is_ok_and(|held| same(&held.directory, &held.name, &held.file).unwrap_or(false))
            || self.held.is_err()
    }
}

fn count() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// Where the files may be, the best place first; none where there can't be such a place.
fn places(uid: Uid, home: Option<&Path>) -> [Option<PathBuf>; PLACES as usize] {
    let home = home.filter(|home| home.is_absolute() && *home != Path::new("/"));
    let own = if uid.is_root() {
        Some("/run/anneal-sandbox".into())
    } else {
        home.map(|home| home.join(".local/state/anneal-sandbox"))
    };
    let session = (!uid.is_root()).then(|| format!("/run/user/{uid}/anneal-sandbox").into());
    let [lasting, temporary] = ["/var/tmp", "/tmp"].map(|dir| Some(format!("{dir}/anneal-sandbox-{uid}").into()));
    [own, session, lasting, temporary]
}

/// A place that only this user can enter, made where it is not there yet.
fn directory_of_ours(place: &Path) -> io::Result<Directory> {
    let make = |path: &Path| match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    if make(place).is_err() {
        // What is missing of `~/.local/state` is made, a home that is missing is not.
        for above in place.ancestors().skip(1).take(2).collect::<Vec<_>>().into_iter().rev() {
            if above.ends_with(".local") || above.ends_with(".local/state") {
                make(above)?;
            }
        }
        make(place)?;
    }
    let directory =
        open(place, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty());
    let owner = || fs::symlink_metadata(place).map_or_else(|error| error.to_string(), |found| named(found.uid()));
    let directory = directory.map_err(|errno| {
        let error = io::Error::from(errno);
        io::Error::new(error.kind(), format!("{error}; it belongs to {}", owner()))
    })?;
    let found = File::from(directory.try_clone()?).metadata()?;
    // Where anybody may make directories, somebody else can have made this one.
    if found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
        let (mode, owner) = (found.mode() & 0o7777, named(found.uid()));
        return Err(io::Error::other(format!(
            "it belongs to {owner} with mode {mode:04o}, expected a directory of this user alone; remove it"
        )));
    }
    lock_shared(&directory)?;
    Ok(Directory(directory))
}

/// A user by name and number.
fn named(uid: u32) -> String {
    let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
    name.map_or_else(|| format!("user {uid}"), |name| format!("{name} (user {uid})"))
}

/// Tells whoever tidies up that the directory is in use. One that is at it just now goes on without harm.
fn lock_shared(directory: &OwnedFd) -> io::Result<()> {
    // SAFETY: a descriptor that lives through the call, and a flag.
    match Errno::result(unsafe { libc::flock(directory.as_raw_fd(), libc::LOCK_SH | libc::LOCK_NB) }) {
        Ok(_) | Err(Errno::EWOULDBLOCK) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a name in a directory still leads to an open file.
fn same(directory: &Directory, name: &str, file: &File) -> io::Result<bool> {
    let held = file.metadata()?;
    match fstatat(&directory.0, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(found) => Ok((found.st_dev, found.st_ino) == (held.dev(), held.ino())),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes the lowest number of a place; `in_use` says whether a process has the id behind a number.
fn take_in(directory: Directory, first: u32, in_use: &dyn Fn(u32) -> bool) -> io::Result<Held> {
    // a fifo in the place of a file must not be waited for
    let flags = OFlag::O_RDONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    for number in first..first + SLOTS {
        let name = number.to_string();
        let file = match openat(&directory.0, name.as_str(), flags, Mode::S_IRUSR) {
            Ok(file) => File::from(file),
            // somebody has put something else there
            Err(Errno::ELOOP | Errno::EISDIR | Errno::ENXIO) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if !file.metadata()?.is_file() {
            continue;
        }
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((_, Errno::EWOULDBLOCK)) => continue,
            Err((_, errno)) => return Err(errno.into()),
        };
        // Whoever removed it meanwhile has made the lock one on nothing.
        if !same(&directory, &name, &file)? {
            continue;
        }
        if file.metadata()?.mode() & PROVEN == 0 {
            if in_use(number) {
                continue;
            }
            file.set_permissions(Permissions::from_mode(0o400 | PROVEN))?;
        }
        futimens(&*file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW)?;
        return Ok(Held { number, name, directory, file });
    }
    Err(io::Error::other(format!("{SLOTS} runs are under way")))
}

/// Whether a process of this host has an id, or is about to: one that has a user namespace in which nothing else is mapped.
/// What can't be read has ended, or is no process that a launcher of this user has started.
fn is_in_use(id: u32) -> bool {
    let numbered = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().filter(|entry| numbered(&entry.file_name()));
    processes.map(|entry| entry.path()).any(|process| {
        let read = |name| fs::read_to_string(process.join(name)).unwrap_or_default();
        has_id(&read("status"), id) || maps_only(&read("uid_map"), id)
    })
}

/// Whether a process's status names an id as one of its users.
fn has_id(status: &str, id: u32) -> bool {
    let id = id.to_string();
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    users.is_some_and(|users| users.split_whitespace().any(|user| user == id))
}

/// Whether a map of users consists of one user, with an id behind it.
fn maps_only(map: &str, id: u32) -> bool {
    let mut words = map.split_whitespace().skip(1);
    words.next().is_some_and(|outside| outside == id.to_string()) && words.eq(["1"])
}

#[cfg(test)]
mod tests;
