//! Every way upwards: by name, by handle, from each place.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use crate::call::{open_at, raw};
use crate::report::Attack;

/// How many directories a climb by handles takes.
const STEPS: usize = 64;

fn identity(path: &str) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

fn names(path: &str) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        fs::read_dir(path).map(|dir| dir.flatten().map(|entry| entry.file_name()).collect()).unwrap_or_default();
    names.sort();
    names
}

/// Looks whether a way up ends at `/` and does not lead to a file that exists on the host only.
fn look(attack: &Attack, way: &str) {
    let (found, root) = (identity(way).ok(), identity("/").ok());
    attack.say(found.is_some() && found == root, way, format!("{found:?}, / is {root:?}"));
    attack.say(names(way) == names("/"), &format!("list {way}"), names(way).len());
    attack.absent(&format!("the canary from {way}"), fs::read(format!("{way}{}", attack.text("canary"))));
}

/// P30b: nothing lies above the root.
pub(crate) fn climb(attack: &Attack) {
    let canary = attack.text("canary");
    let places = attack.list("places");
    let ways = ["/..", "/../..", "/proc/self/root", "/proc/self/root/..", "/proc/thread-self/root/../.."];
    ways.iter().for_each(|way| look(attack, way));
    for place in &places {
        look(attack, &format!("{place}/.."));
        look(attack, &format!("{place}/../.."));
    }
    look(attack, &format!("/{}", "../".repeat(40)));
    attack.absent("the canary", fs::read(canary));
    let _ = std::env::set_current_dir("/");
    for way in ["..", "../../..", "/proc/self/cwd/.."] {
        look(attack, way);
    }
    for place in places.iter().chain(&["/"]) {
        for flags in [libc::O_DIRECTORY, libc::O_DIRECTORY | libc::O_PATH] {
            if let Err(error) = climb_from(attack, place, flags) {
                attack.say(false, &format!("climb from {place}"), error);
            }
        }
    }
}

/// Upwards from a handle of a place.
fn climb_from(attack: &Attack, place: &str, flags: i32) -> io::Result<()> {
    let canary = attack.text("canary");
    let handle = open_at(libc::AT_FDCWD, place, flags, 0)?;
    for up in ["..", "../../../../.."] {
        let above = open_at(handle.as_raw_fd(), up, flags, 0)?;
        look(attack, &format!("/proc/self/fd/{}", above.as_raw_fd()));
        let found = open_at(above.as_raw_fd(), canary.trim_start_matches('/'), 0, 0);
        attack.absent(&format!("openat {up} of {place}, then the canary"), found);
    }
    raw(libc::SYS_fchdir, &[handle.as_raw_fd().into()])?;
    look(attack, "..");
    let mut step: OwnedFd = handle;
    for _ in 0..STEPS {
        step = open_at(step.as_raw_fd(), "..", flags, 0)?;
    }
    look(attack, &format!("/proc/self/fd/{}", step.as_raw_fd()));
    std::env::set_current_dir("/")
}
