//! What this host offers to one run: an id, processors, kernel features.
//!
//! Root mode and rootless mode take the same steps; only the id behind the payload differs. Root gives each
//! concurrent run a host user of its own, from [`first_id`] on, and maps it to the id the payload sees: a payload
//! is then nobody on the host even if it breaks out, and two of them can't reach each other's files. Such a
//! user owns nothing but the output directory of its run. Without root each run has one of the caller's subordinate
//! ids ([`crate::subordinate`]); where there is none, only the caller's own id is left to map, and the result says so. Then
//! nothing depends on a number, and none is taken.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, getegid, geteuid};

use crate::slot::{PLACES, SLOTS, Slot, Unavailable};
use crate::subordinate::{Subordinate, ranges, read_ranges};
use crate::{Error, Result};

/// The first of the host ids that root's payloads run as, where they are nobody's; far from those of accounts and of most
/// subordinate ranges.
const FIRST_ID: u32 = 4_200_000;
/// How many ids there are, one for each number of each place that has numbers.
const IDS: u32 = PLACES * SLOTS;

/// Which host user stands behind a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Users {
    /// One that no other run has at the same time, mapped by the superuser.
    Own,
    /// One of the caller's subordinate ids that no other run has at the same time.
    Subordinate,
    /// The caller's own.
    Shared {
        /// Why there is no better one.
        reason: String,
    },
}

/// The facts that decide how the operations look on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// The host user behind the payload.
    pub outside_uid: u32,
    /// The host group behind the payload.
    pub outside_gid: u32,
    /// What kind of user that is.
    pub users: Users,
    /// The processors this run is to use; empty where they can't be chosen.
    pub cpus: Vec<u32>,
    /// Whether the kernel has time namespaces.
    pub time_namespace: bool,
    /// Version of the kernel's Landlock interface; 0 where there is none.
    pub landlock_abi: u32,
}

impl HostFacts {
    /// Looks at the host for one run.
    pub(crate) fn gather(slot: &Slot, cpus: u32) -> Self {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let found = slot.number().map_err(str::to_owned).and_then(|number| match has_ids() {
            true => Ok((first_id() + number, first_id() + number, Users::Own)),
            false => subordinate(number).map(|(uid, gid)| (uid, gid, Users::Subordinate)),
        });
        let (outside_uid, outside_gid, users) = found.unwrap_or_else(|reason| (uid, gid, Users::Shared { reason }));
        Self {
            outside_uid,
            outside_gid,
            users,
            cpus: choose(&available_cpus(), cpus, slot.turn()),
            time_namespace: fs::symlink_metadata("/proc/self/ns/time_for_children").is_ok_and(|m| m.ino() > 0),
            landlock_abi: landlock_abi(),
        }
    }
}

impl HostFacts {
    /// Whether the payload is another user than the launcher, who then may not read everything that the launcher may.
    pub fn is_another_user(&self) -> bool {
        !matches!(self.users, Users::Shared { .. })
    }
}

/// Takes a number where one decides something; `only_caller` says why the run can have no user but the caller's.
///
/// Without root a place that can't be had makes the run the caller's own. Root never gives its own user to a payload.
pub(crate) fn take_slot(only_caller: Option<String>) -> Result<Slot> {
    let failed = |source| Error::Launch { action: "reserve a user id", source };
    if has_ids() {
        return Slot::take(&|number| Some(first_id() + number)).map_err(|why| match why {
            Unavailable::Failed(source) => failed(source),
            Unavailable::NoPlace(reasons) => failed(io::Error::other(reasons)),
        });
    }
    let users = only_caller.map_or_else(|| Subordinate::own().map_err(str::to_owned), Err);
    match users.map(|users| Slot::take(&|number| users.ids(number).map(|(uid, _)| uid))) {
        Ok(Ok(slot)) => Ok(slot),
        Ok(Err(Unavailable::Failed(source))) => Err(failed(source)),
        Ok(Err(Unavailable::NoPlace(reasons))) => {
            Ok(Slot::none(format!("no directory for the locks on subordinate ids: {reasons}")))
        }
        Err(reason) => Ok(Slot::none(reason)),
    }
}

/// The first of the ids that this superuser's payloads run as: [`FIRST_ID`], or further on where `/etc/subuid` or
/// `/etc/subgid` gives those to somebody, whose containers would then have a user in common with a payload.
pub fn first_id() -> u32 {
    free_ids().unwrap_or(FIRST_ID)
}

fn free_ids() -> Option<u32> {
    static FREE: OnceLock<Option<u32>> = OnceLock::new();
    *FREE.get_or_init(|| {
        // What can't be read may give these ids to anybody.
        let files = [read_ranges("/etc/subuid").ok()?, read_ranges("/etc/subgid").ok()?];
        ranges::free_ids(&files.each_ref().map(String::as_str), FIRST_ID, IDS)
    })
}

/// Whether this is the superuser of a host, or of a container that has the ids for payloads.
fn has_ids() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| geteuid().is_root() && mapped("/proc/self/uid_map") && mapped("/proc/self/gid_map"))
}

/// The subordinate user and group behind a number, or why there are none.
fn subordinate(number: u32) -> std::result::Result<(u32, u32), String> {
    let ids = Subordinate::own()?.ids(number);
    ids.ok_or_else(|| "the range of subordinate ids has fewer than there are runs at once".to_owned())
}

/// What this process can find out of itself that no run here will have, each with the reason; looked for once.
pub(crate) fn missing() -> &'static [String] {
    static MISSING: OnceLock<Vec<String>> = OnceLock::new();
    MISSING.get_or_init(|| {
        let this = Pid::from_raw(0);
        // To choose what is chosen already changes nothing.
        let affinity = sched_getaffinity(this).and_then(|set| sched_setaffinity(this, &set)).err();
        let told = |what: &str, errno: Errno| format!("{what}: {}", io::Error::from(errno));
        let affinity = affinity.map(|errno| told(AFFINITY, errno));
        let taken = (has_ids() && free_ids().is_none()).then(|| {
            format!("ids of runs: /etc/subuid or /etc/subgid gives those from {FIRST_ID} on to somebody, whose containers share them")
        });
        affinity.into_iter().chain(no_keyrings().map(|errno| told(KEYRING, errno))).chain(taken).collect()
    })
}

/// How the init program names them where they turn out to be missing only then.
const AFFINITY: &str = "processor affinity";
const KEYRING: &str = "a session keyring of its own";

/// Why a session keyring can't be had, if it can't: something around this process denies the calls about keys.
fn no_keyrings() -> Option<Errno> {
    const GET_KEYRING_ID: libc::c_long = 0;
    const SESSION_KEYRING: libc::c_long = -3;
    // SAFETY: three integers; the last asks to make nothing.
    let found = unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION_KEYRING, 0usize) };
    match Errno::result(found) {
        // There is none to leave, or the kernel has none at all.
        Ok(_) | Err(Errno::ENOKEY | Errno::ENOSYS | Errno::EKEYREVOKED | Errno::EKEYEXPIRED) => None,
        Err(errno) => Some(errno),
    }
}

/// Asks the kernel once which Landlock it has.
fn landlock_abi() -> u32 {
    /// `LANDLOCK_CREATE_RULESET_VERSION`: make nothing, return the version.
    const VERSION: libc::c_uint = 1;
    static FOUND: OnceLock<u32> = OnceLock::new();
    *FOUND.get_or_init(|| {
        // SAFETY: no attributes are read for a null pointer with size zero.
        let version =
            unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, VERSION) };
        u32::try_from(version).unwrap_or(0)
    })
}

/// Whether an id is one that root's payloads run as.
pub(crate) fn is_of_payloads(uid: u32) -> bool {
    uid.checked_sub(first_id()).is_some_and(|number| number < IDS)
}

/// Whether the ids for payloads exist in the user namespace of the launcher, which may be a container's.
fn mapped(map: &str) -> bool {
    let last = u64::from(first_id()) + u64::from(IDS);
    fs::read_to_string(map).is_ok_and(|text| {
        text.lines().any(|line| {
            let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().unwrap_or(0));
            let (first, _, count) = (numbers.next(), numbers.next(), numbers.next());
            let (first, count) = (first.unwrap_or(0), count.unwrap_or(0));
            first <= u64::from(first_id()) && last <= first.saturating_add(count)
        })
    })
}

/// The processors this process may use.
fn available_cpus() -> Vec<u32> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count())
        .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
        .filter_map(|cpu| u32::try_from(cpu).ok())
        .collect()
}

/// As many processors as declared, or all there are; runs with different slots start at different ones.
fn choose(available: &[u32], wanted: u32, slot: u32) -> Vec<u32> {
    let wanted = wanted as usize;
    if wanted >= available.len() {
        return available.to_vec();
    }
    let start = (slot as usize).wrapping_mul(wanted) % available.len();
    let mut chosen: Vec<u32> = available.iter().cycle().skip(start).take(wanted).copied().collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrent_runs_spread_over_the_processors() {
        let available = [0, 1, 2, 3, 8];
        assert_eq!(choose(&available, 2, 0), [0, 1]);
        assert_eq!(choose(&available, 2, 1), [2, 3]);
        assert_eq!(choose(&available, 2, 2), [0, 8]);
        assert_eq!(choose(&available, 9, 3), available);
        assert_eq!(choose(&[0], 2, 1), [0]);
    }
}
