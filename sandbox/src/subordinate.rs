//! Ids of their own for the runs of a caller without root.
//!
//! The administrator can give a user ids beside its own (`/etc/subuid`, `/etc/subgid`), and two small set-user-id programs
//! (`newuidmap`, `newgidmap`) write them into the maps of a user namespace. That is done once for a process:
//!
//! ```text
//! the host             the caller U, its ranges
//!  └ users            0 = U, each id of a range = itself       made here; kept by a descriptor
//!     ├ a sandbox     the payload's one id = one of a range    mapped by its maker, as root does on the host
//!     └ a steward     no ids of its own                        crate::steward
//! ```
//!
//! U owns the namespace in the middle and so has every capability over it and over what is beneath: it can end, trace and
//! read the processes of its runs, although their user is another. Docs: `docs/decisions/0007-why-rootless-runs-have-a-steward.md`.

pub(crate) mod ranges;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anneal_sandbox_op::{Event, IdRange, Op};
use nix::unistd::{Uid, User, getegid, geteuid};

use crate::control;

/// Where the two programs are; the environment has no say.
const PLACES: &[&str] = &["/usr/bin", "/bin", "/run/wrappers/bin"];
/// How long the making of the namespace may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of what a program complains about is quoted.
const COMPLAINT: usize = 200;

/// The user namespace of this caller's subordinate ids.
#[derive(Debug)]
pub(crate) struct Subordinate {
    namespace: OwnedFd,
    /// The users in it, beside the caller.
    pub(crate) uids: IdRange,
    /// The groups.
    pub(crate) gids: IdRange,
}

impl Subordinate {
    /// That of this process, made when it is first asked for; else why there is none.
    pub(crate) fn own() -> Result<&'static Self, &'static str> {
        static OWN: OnceLock<Result<Subordinate, String>> = OnceLock::new();
        OWN.get_or_init(make).as_ref().map_err(String::as_str)
    }

    /// Its descriptor, for a process that is to enter it.
    pub(crate) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// User and group of the run with this number.
    pub(crate) fn ids(&self, slot: u32) -> Option<(u32, u32)> {
        Some((ranges::id_of_slot(self.uids, slot)?, ranges::id_of_slot(self.gids, slot)?))
    }
}

fn make() -> Result<Subordinate, String> {
    let (uid, gid) = (geteuid(), getegid());
    // Without an entry for the user, its number can still be in the files.
    let name = User::from_uid(Uid::from_raw(uid.as_raw())).ok().flatten().map(|user| user.name);
    let uids = range("/etc/subuid", name.as_deref(), uid.as_raw())?;
    let gids = range("/etc/subgid", name.as_deref(), uid.as_raw())?;
    let (newuidmap, newgidmap) = (program("newuidmap")?, program("newgidmap")?);
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    let (mut holder, control) =
        control::start(Stdio::null(), Stdio::null()).map_err(|error| failed("no user namespace", &error))?;
    let made = (|| {
        control.set_read_timeout(Some(PATIENCE)).map_err(|error| failed("no user namespace", &error))?;
        control::send(&control, &[Op::DieWithParent, Op::NewUsers], None)
            .map_err(|error| failed("no user namespace", &error))?;
        match control::receive::<Event>(&control).map_err(|error| failed("no user namespace", &error))?.0 {
            Event::Prepared => {}
            other => return Err(format!("no user namespace: {other:?}")),
        }
        map(&newuidmap, holder.id(), uid.as_raw(), uids)?;
        map(&newgidmap, holder.id(), gid.as_raw(), gids)?;
        let path = format!("/proc/{}/ns/user", holder.id());
        File::open(&path).map_err(|error| failed(&path, &error))
    })();
    // The descriptor keeps the namespace. A process that is gone already is as well.
    let _ = holder.kill();
    let _ = holder.wait();
    Ok(Subordinate { namespace: made?.into(), uids, gids })
}

/// One of the two files; lines that are no text say nothing, and one that is not there has none.
pub(crate) fn read_ranges(path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(ranges::FILE_BYTES + 1).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    if bytes.len() as u64 > ranges::FILE_BYTES {
        return Err(io::Error::other(format!("it is longer than {} bytes", ranges::FILE_BYTES)));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn range(path: &str, name: Option<&str>, uid: u32) -> Result<IdRange, String> {
    let missing = |why: &str| format!("no range for {} in {path}{why}", name.map_or(uid.to_string(), str::to_owned));
    match read_ranges(path) {
        Ok(text) => ranges::range_of(&text, name, uid).ok_or_else(|| missing("")),
        Err(error) => Err(missing(&format!(" ({error})"))),
    }
}

/// One of the two programs, which must be the superuser's.
fn program(name: &str) -> Result<PathBuf, String> {
    let is_theirs = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.uid() == 0 && found.mode() & 0o022 == 0)
    };
    let found = PLACES.iter().map(|place| Path::new(place).join(name)).find(is_theirs);
    found.ok_or_else(|| format!("{name} is not installed"))
}

/// Has a program write one of the two maps.
fn map(program: &Path, process: u32, own: u32, range: IdRange) -> Result<(), String> {
    let IdRange { first, count } = range;
    let words = [process, 0, own, 1, first, first, count].map(|number| number.to_string());
    let said = Command::new(program).args(words).env_clear().current_dir("/").stdin(Stdio::null()).output();
    let program = program.display();
    let said = said.map_err(|error| format!("{program} refused: {error}"))?;
    if said.status.success() {
        return Ok(());
    }
    let complaint: String = String::from_utf8_lossy(&said.stderr).trim().escape_debug().take(COMPLAINT).collect();
    Err(format!("{program} refused: {complaint}"))
}
