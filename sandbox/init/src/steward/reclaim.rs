//! How what a payload made becomes the caller's again, once every process of the payload is dead.
//!
//! Nothing changes any more but by the caller's own hand, so a directory that was moved is moved by us: what lies too deep
//! to hold a handle of every directory on the way is moved to the top, and walked from there.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anneal_sandbox_op::{Answer, IdRange, MAX_LEFT};

use super::directory::{Directory, give};
use super::{look, open_entry};
use crate::syscall::{Fault, check};

/// The bits that let a file run as its owner or its group; a change of owner takes them away.
const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;

/// Taking back under way.
struct Reclaim {
    uids: IdRange,
    gids: IdRange,
    depth: usize,
    entries: u64,
    moved: u64,
    left: Vec<String>,
}

/// A directory on the way down, and its name in the one above.
struct Level {
    directory: Directory,
    name: CString,
}

/// Gives kept directories and everything in them to user 0 of this namespace, as far as it belongs to these ids.
pub(super) fn reclaim(kept: &[OwnedFd], uids: IdRange, gids: IdRange, depth: u32) -> Result<Answer, Fault> {
    let depth = usize::try_from(depth).unwrap_or(usize::MAX).max(1);
    let mut work = Reclaim { uids, gids, depth, entries: 0, moved: 0, left: Vec::new() };
    for top in kept {
        work.take(top.as_fd(), "")?;
        let before = work.moved;
        work.walk(top, Level { directory: Directory::again(top)?, name: CString::default() })?;
        let mut next = before;
        while next < work.moved {
            let name = moved_name(next)?;
            next += 1;
            match Directory::beneath(top, &name) {
                // A payload had thought of that name, and it is a file.
                Err(fault) if matches!(fault.errno(), libc::ENOTDIR | libc::ELOOP) => {}
                directory => work.walk(top, Level { directory: directory?, name })?,
            }
        }
    }
    Ok(Answer::Reclaimed { entries: work.entries, left: work.left, moved: work.moved })
}

fn moved_name(number: u64) -> Result<CString, Fault> {
    CString::new(format!(".reclaimed-{number}")).map_err(|_| Fault::check("a name holds a zero byte"))
}

impl Reclaim {
    /// One directory and all beneath it.
    fn walk(&mut self, top: &OwnedFd, first: Level) -> Result<(), Fault> {
        let mut levels = vec![first];
        loop {
            let held = levels.len();
            let Some(level) = levels.last_mut() else { return Ok(()) };
            let Some(name) = level.directory.next()? else {
                levels.pop();
                continue;
            };
            let about = |fault: Fault| fault.about(&name.to_string_lossy());
            let entry = open_entry(&level.directory, &name, libc::O_PATH).map_err(about)?;
            if look(&entry)?.st_mode & libc::S_IFMT != libc::S_IFDIR {
                let path = path(&levels, &name);
                self.take(entry.as_fd(), &path).map_err(about)?;
                continue;
            }
            self.take(entry.as_fd(), "").map_err(about)?;
            if held >= self.depth {
                self.move_up(level.directory.as_fd(), &name, top)?;
                continue;
            }
            let directory = Directory::beneath(&level.directory, &name).map_err(about)?;
            levels.push(Level { directory, name });
        }
    }

    /// Gives one entry back; what would lose its set-id bits stays, for whoever reads the output to refuse it.
    fn take(&mut self, entry: BorrowedFd<'_>, path: &str) -> Result<(), Fault> {
        let found = look(&entry)?;
        if !self.uids.contains(found.st_uid) && !self.gids.contains(found.st_gid) {
            return Ok(());
        }
        if found.st_mode & libc::S_IFMT != libc::S_IFDIR && found.st_mode & SET_ID != 0 {
            if self.left.len() < MAX_LEFT {
                self.left.push(path.to_owned());
            }
            return Ok(());
        }
        give(entry, 0, 0)?;
        self.entries += 1;
        Ok(())
    }

    fn move_up(&mut self, from: BorrowedFd<'_>, name: &CStr, top: &OwnedFd) -> Result<(), Fault> {
        loop {
            let free = moved_name(self.moved)?;
            // SAFETY: two strings that outlive the call, and integers.
            let result = unsafe {
                let (from, to) = (from.as_raw_fd(), top.as_raw_fd());
                libc::syscall(libc::SYS_renameat2, from, name.as_ptr(), to, free.as_ptr(), libc::RENAME_NOREPLACE)
            };
            match check(result, "renameat2") {
                // A payload may have thought of that name. It is walked once more then, which does no harm.
                Err(fault) if fault.errno() == libc::EEXIST => self.moved += 1,
                other => {
                    self.moved += 1;
                    return other.map(drop);
                }
            }
        }
    }
}

/// Where an entry is, from the kept directory on.
fn path(levels: &[Level], name: &CStr) -> String {
    let names = levels.iter().map(|level| level.name.as_c_str()).chain([name]).filter(|name| !name.is_empty());
    names.map(|name| name.to_string_lossy().escape_debug().to_string()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
    use std::path::{Path, PathBuf};

    use super::*;

    const THEIRS: u32 = 4_300_100;
    const SOMEBODY: u32 = 4_400_000;
    const RANGE: IdRange = IdRange { first: 4_300_000, count: 1000 };

    /// A directory that is gone with this value.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("anneal-reclaim-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, owner: u32, mode: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, name).unwrap();
            chown(&path, Some(owner), Some(owner)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        }

        fn reclaim(&self, depth: u32) -> (u64, Vec<String>, u64) {
            let top = fs::File::open(&self.0).unwrap().into();
            match reclaim(&[top], RANGE, RANGE, depth) {
                Ok(Answer::Reclaimed { entries, left, moved }) => (entries, left, moved),
                other => panic!("{other:?}"),
            }
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn owner(path: &Path) -> (u32, u32) {
        let found = fs::symlink_metadata(path).unwrap();
        (found.uid(), found.mode() & 0o7777)
    }

    /// Only the superuser can make files of others; without it nothing is said.
    fn is_root() -> bool {
        fs::metadata("/proc/self").unwrap().uid() == 0
    }

    #[test]
    fn only_what_belongs_to_the_range_changes_hands_and_no_set_id_bit_is_lost_by_it() {
        if !is_root() {
            return;
        }
        let place = Place::new("owners");
        let plain = place.file("plain", THEIRS, 0o600);
        let other = place.file("other", SOMEBODY, 0o644);
        let set = place.file("set", THEIRS, 0o4755);
        let group = place.file("group", THEIRS, 0o2755);
        let link = place.0.join("link");
        symlink("other", &link).unwrap();
        lchown(&link, Some(THEIRS), Some(THEIRS)).unwrap();
        let (entries, mut left, moved) = place.reclaim(16);
        left.sort();
        assert_eq!((entries, moved), (2, 0));
        assert_eq!(left, ["group", "set"]);
        assert_eq!((owner(&plain), owner(&link).0), ((0, 0o600), 0));
        assert_eq!(owner(&other), (SOMEBODY, 0o644), "neither its owner nor what leads to it makes it ours");
        assert_eq!((owner(&set), owner(&group)), ((THEIRS, 0o4755), (THEIRS, 0o2755)));
    }

    #[test]
    fn what_lies_deeper_than_it_can_be_held_is_moved_up_and_taken_back_as_well() {
        if !is_root() {
            return;
        }
        let place = Place::new("deep");
        // A payload may have thought of the name.
        place.file(".reclaimed-0", THEIRS, 0o644);
        let mut path = place.0.clone();
        for level in 0..50 {
            path.push("d");
            fs::create_dir(&path).unwrap();
            chown(&path, Some(THEIRS), Some(THEIRS)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(if level % 7 == 0 { 0 } else { 0o700 })).unwrap();
        }
        let (entries, left, moved) = place.reclaim(8);
        assert_eq!((entries, left.len()), (51, 0));
        assert!(moved > 5, "{moved}");
        let mut all = vec![place.0.clone()];
        let mut seen = 0;
        while let Some(dir) = all.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                assert_eq!(owner(&path).0, 0, "{}", path.display());
                seen += 1;
                if path.is_dir() {
                    all.push(path);
                }
            }
        }
        assert_eq!(seen, 51);
    }
}
