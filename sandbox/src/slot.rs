//! One number per concurrent run of a host, free again when its holder is gone.
//!
//! A number decides which host user stands behind a payload, so two launchers must never have the same one. It is held by
//! an exclusive lock on a file, which the kernel takes back when the holder dies, however it dies. The files stand in a
//! directory that only the launcher's user can enter, so nobody else takes a number away:
//!
//! ```text
//! /run/anneal-sandbox/N                root; /run is one for all network namespaces of a host
//! /run/user/UID/anneal-sandbox/N       anyone else, whose subordinate ids are that user's own
//! /var/tmp/anneal-sandbox-UID/N        where that can't be made; also without a login, as in a service or a container
//! /var/tmp/anneal-sandbox-UID-NS/N     where that is another UID's, as in a user namespace, whose number NS is
//! /tmp/anneal-sandbox-UID/N, ...       where there is no /var/tmp
//! ```
//!
//! Launchers that see different directories there (containers with a `/run` each, but one user namespace) don't know of each
//! other and may choose the same users; `docs/sandbox.md` says so.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use crate::{Error, Result};

/// How many runs there may be at once of one user of a host.
pub(crate) const SLOTS: u32 = 1024;

/// A number that no other run has as long as this value lives.
#[derive(Debug)]
pub(crate) struct Slot {
    number: u32,
    _holder: Flock<File>,
}

impl Slot {
    /// The lowest free number.
    pub(crate) fn take() -> Result<Self> {
        let mut reason = Errno::ENOENT.into();
        let namespace = fs::metadata("/proc/self/ns/user").map_or(0, |found| found.ino());
        for place in places(geteuid().as_raw(), namespace) {
            match directory_of_ours(&place) {
                // Two places would give the same numbers out, so the first that there is decides, whatever it says.
                Ok(directory) => {
                    let taken = take_in(&directory);
                    return taken.map_err(|source| Error::Launch { action: "reserve a user id", source });
                }
                Err(error) => reason = error,
            }
        }
        Err(Error::Launch { action: "reserve a user id (by a lock in /run, /var/tmp or /tmp)", source: reason })
    }

    /// The number.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }
}

/// Where the files may be, the best place first.
fn places(uid: u32, namespace: u64) -> Vec<PathBuf> {
    let run = if uid == 0 { "/run".to_owned() } else { format!("/run/user/{uid}") };
    let mut places = vec![PathBuf::from(run).join("anneal-sandbox")];
    for temporary in ["/var/tmp", "/tmp"] {
        let plain = format!("{temporary}/anneal-sandbox-{uid}");
        let own = format!("{plain}-{namespace}");
        places.extend([plain.into(), own.into()]);
    }
    places
}

/// A place that only this user can enter, made where it is not there yet.
fn directory_of_ours(place: &PathBuf) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let directory =
        open(place, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    let directory = File::from(directory);
    let found = directory.metadata()?;
    // Where anybody may make directories, somebody else can have made this one.
    if found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!("{} is not a directory of this user alone", place.display())));
    }
    Ok(directory)
}

fn take_in(directory: &File) -> io::Result<Slot> {
    let flags = OFlag::O_RDONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    for number in 0..SLOTS {
        let file = File::from(openat(directory, number.to_string().as_str(), flags, Mode::S_IRUSR)?);
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            // Whoever tidied the directory up meanwhile has made the lock one on nothing.
            Ok(holder) if holder.metadata()?.nlink() > 0 => return Ok(Slot { number, _holder: holder }),
            Ok(_) | Err((_, Errno::EWOULDBLOCK)) => {}
            Err((_, errno)) => return Err(errno.into()),
        }
    }
    Err(io::Error::other(format!("{SLOTS} runs are under way")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_slots_held_at_once_differ_and_a_dropped_one_is_free_again() {
        let first = Slot::take().unwrap();
        let second = Slot::take().unwrap();
        assert_ne!(first.number(), second.number());
        let number = second.number();
        drop(second);
        // Another test may take it in between; then a higher one is free.
        assert!(Slot::take().unwrap().number() >= first.number().min(number));
    }

    #[test]
    fn a_number_is_taken_whatever_network_the_other_launcher_is_in() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("slots");
        let directory = directory_of_ours(&place).unwrap();
        let first = take_in(&directory).unwrap();
        let second = take_in(&directory_of_ours(&place).unwrap()).unwrap();
        assert_eq!((first.number(), second.number()), (0, 1));
        drop(first);
        assert_eq!(take_in(&directory).unwrap().number(), 0);
        assert_eq!(fs::metadata(&place).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn where_every_number_is_taken_there_is_no_run_and_no_number_from_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let directory = directory_of_ours(&dir.path().join("slots")).unwrap();
        let all: Vec<Slot> = (0..SLOTS).map(|_| take_in(&directory).unwrap()).collect();
        assert!(take_in(&directory).unwrap_err().to_string().contains("1024 runs are under way"));
        drop(all);
    }

    #[test]
    fn a_directory_that_others_could_enter_or_that_is_a_link_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(directory_of_ours(&open).is_err());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(directory_of_ours(&link).is_err());
        assert_eq!(fs::read_dir(&open).unwrap().count(), 0);
    }

    #[test]
    fn every_user_has_places_of_its_own() {
        let texts = |uid| places(uid, 5).iter().map(|place| place.display().to_string()).collect::<Vec<_>>();
        assert_eq!(texts(0)[..3], ["/run/anneal-sandbox", "/var/tmp/anneal-sandbox-0", "/var/tmp/anneal-sandbox-0-5"]);
        assert_eq!(texts(7)[..2], ["/run/user/7/anneal-sandbox", "/var/tmp/anneal-sandbox-7"]);
        assert_eq!(texts(7)[3..], ["/tmp/anneal-sandbox-7", "/tmp/anneal-sandbox-7-5"]);
    }
}
