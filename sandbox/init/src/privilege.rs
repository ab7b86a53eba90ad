//! How privilege is used once and then given up for good.

use std::os::fd::OwnedFd;

use anneal_sandbox_op::Confinement;

use crate::syscall::{self, Fault, check, own, prctl};

/// `SECBIT_NO_SETUID_FIXUP`: a change of user leaves the capabilities alone.
const KEEP_ON_SETUID: u64 = 1 << 2;
/// No privilege for user 0, no fix-up, no ambient capabilities, and every one of these locked.
const LOCKED: u64 = 0b1110_1111;
/// Capability numbers end well below this.
const CAPABILITY_NUMBERS: u64 = 64;
/// Version of the capability header that takes 64 bits.
const CAPABILITY_VERSION: u32 = 0x2008_0522;
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Changes to the mapped user, with the capabilities over the new namespaces still there.
pub(crate) fn become_user(uid: u32, gid: u32, clear_groups: bool) -> Result<(), Fault> {
    prctl(libc::PR_SET_SECUREBITS, KEEP_ON_SETUID, 0, "prctl PR_SET_SECUREBITS")?;
    if clear_groups {
        // SAFETY: no group is read for a count of zero.
        check(libc::c_long::from(unsafe { libc::setgroups(0, std::ptr::null()) }), "setgroups")?;
    }
    // SAFETY: integers only; there is one thread, so glibc's broadcast to others does nothing.
    check(libc::c_long::from(unsafe { libc::setresgid(gid, gid, gid) }), "setresgid")?;
    // SAFETY: as above.
    check(libc::c_long::from(unsafe { libc::setresuid(uid, uid, uid) }), "setresuid")?;
    // A change of user takes the signal on the parent's death away.
    syscall::die_with_parent()
}

/// Makes files as the mapped user from now on.
pub(crate) fn files_as(uid: u32, gid: u32) -> Result<(), Fault> {
    // Otherwise a change of user could take capabilities over the new namespaces away.
    prctl(libc::PR_SET_SECUREBITS, KEEP_ON_SETUID, 0, "prctl PR_SET_SECUREBITS")?;
    for (call, id) in [(libc::SYS_setfsgid, gid), (libc::SYS_setfsuid, uid)] {
        // SAFETY: one integer.
        unsafe { libc::syscall(call, id) };
        // These calls return the id before, whether they worked or not; so does the one that asks for an impossible id.
        // SAFETY: as above.
        let now = unsafe { libc::syscall(call, u32::MAX) };
        if now != libc::c_long::from(id) {
            return Err(Fault::check(format!("files would be made as {now} instead of {id}")));
        }
    }
    // A change of user takes the signal on the parent's death away.
    syscall::die_with_parent()
}

/// Reaches files as the effective user again, who is the launcher's: a change of the real one alone does that.
pub(crate) fn files_as_launcher(uid: u32, gid: u32) -> Result<(), Fault> {
    const UNCHANGED: u32 = u32::MAX;
    // SAFETY: integers only.
    check(libc::c_long::from(unsafe { libc::setresgid(gid, UNCHANGED, UNCHANGED) }), "setresgid")?;
    // SAFETY: as above.
    check(libc::c_long::from(unsafe { libc::setresuid(uid, UNCHANGED, UNCHANGED) }), "setresuid")?;
    // A change of user also gives this process's own files in /proc to the superuser, until its privileges are dropped.
    prctl(libc::PR_SET_DUMPABLE, 1, 0, "prctl PR_SET_DUMPABLE")?;
    syscall::die_with_parent()
}

/// Leaves the session keyring of whoever started the launcher.
pub(crate) fn new_keyring() -> Result<(), Fault> {
    // SAFETY: a null name asks for a new anonymous keyring.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) };
    match check(result, "keyctl") {
        Err(fault) if fault.errno() == libc::ENOSYS => Ok(()),
        other => other.map(drop),
    }
}

/// What it takes to reach, own and move any file of the ids of this namespace, and to look at its processes.
const FOR_FILES: &[u32] = &[CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_SYS_PTRACE];
const CAP_CHOWN: u32 = 0;
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_FOWNER: u32 = 3;
const CAP_SYS_PTRACE: u32 = 19;

/// Keeps those few capabilities, for this process alone: none is inherited, and no program it could execute has any.
pub(crate) fn keep_for_files() -> Result<(), Fault> {
    drop_bounding()?;
    let kept = FOR_FILES.iter().fold(0, |bits, capability| bits | 1 << capability);
    set_capabilities(CapabilityData { effective: kept, permitted: kept, inheritable: 0 })?;
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, "prctl PR_SET_NO_NEW_PRIVS").map(drop)
}

fn drop_bounding() -> Result<(), Fault> {
    for capability in 0..CAPABILITY_NUMBERS {
        match prctl(libc::PR_CAPBSET_DROP, capability, 0, "prctl PR_CAPBSET_DROP") {
            Err(fault) if fault.errno() == libc::EINVAL => break,
            other => other?,
        };
    }
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0, "prctl PR_CAP_AMBIENT")?;
    prctl(libc::PR_SET_SECUREBITS, LOCKED, 0, "prctl PR_SET_SECUREBITS").map(drop)
}

/// Sets the capabilities of this process, of which only the first 32 are ever more than nothing here.
fn set_capabilities(low: CapabilityData) -> Result<(), Fault> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let data = [low, CapabilityData::default()];
    // SAFETY: header and data have the layout of version 3 and outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) }, "capset").map(drop)
}

/// Gives up everything: bounding, ambient, inheritable, permitted and effective capabilities, and the ways to new ones.
pub(crate) fn drop_all() -> Result<(), Fault> {
    drop_bounding()?;
    set_capabilities(CapabilityData::default())?;
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, "prctl PR_SET_NO_NEW_PRIVS")?;
    // Process 1 must not be open to its own payload, which has the same user.
    prctl(libc::PR_SET_DUMPABLE, 0, 0, "prctl PR_SET_DUMPABLE")?;
    syscall::die_with_parent()
}

/// What holds this process, from the kernel and not from what was asked of it.
pub(crate) fn observe() -> Result<Confinement, Fault> {
    let (uid, gid) = identity()?;
    Ok(Confinement {
        no_new_privileges: prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, "prctl PR_GET_NO_NEW_PRIVS")? == 1,
        no_capabilities: !holds_capability()?,
        read_only_root: read_only_root()?,
        uid,
        gid,
    })
}

/// The one user and the one group; a process that could change to others is refused.
fn identity() -> Result<(u32, u32), Fault> {
    let (mut uids, mut gids) = ([0; 3], [0; 3]);
    let ([real, effective, saved], [real_group, effective_group, saved_group]) = (&mut uids, &mut gids);
    // SAFETY: six live integers of the right type.
    let result = unsafe { libc::getresuid(real, effective, saved) };
    check(libc::c_long::from(result), "getresuid")?;
    // SAFETY: as above.
    let result = unsafe { libc::getresgid(real_group, effective_group, saved_group) };
    check(libc::c_long::from(result), "getresgid")?;
    match (uids, gids) {
        ([uid, a, b], [gid, c, d]) if uid == a && uid == b && gid == c && gid == d => Ok((uid, gid)),
        _ => Err(Fault::check(format!("the payload would have several users {uids:?} or groups {gids:?}"))),
    }
}

/// Whether anything is left in any of the five capability sets.
fn holds_capability() -> Result<bool, Fault> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut data = [CapabilityData::default(); 2];
    // SAFETY: header and data have the layout of version 3 and outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capget, &header, data.as_mut_ptr()) }, "capget")?;
    let mut held = data.iter().any(|part| part.effective | part.permitted | part.inheritable != 0);
    for capability in 0..CAPABILITY_NUMBERS {
        match prctl(libc::PR_CAPBSET_READ, capability, 0, "prctl PR_CAPBSET_READ") {
            Err(fault) if fault.errno() == libc::EINVAL => break,
            bounding => held |= bounding? != 0,
        }
        let ambient =
            prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_IS_SET as u64, capability, "prctl PR_CAP_AMBIENT");
        held |= ambient? != 0;
    }
    Ok(held)
}

/// Whether the mount at `/` takes no writing.
fn read_only_root() -> Result<bool, Fault> {
    // SAFETY: `statvfs` is plain integers, overwritten by the call.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: a string that outlives the call and a buffer of the right type.
    check(libc::c_long::from(unsafe { libc::statvfs(c"/".as_ptr(), &mut found) }), "statvfs /")?;
    Ok(found.f_flag & libc::ST_RDONLY != 0)
}

/// Installs a filter.
pub(crate) fn seccomp(program: &[u64]) -> Result<(), Fault> {
    install(program, 0).map(drop)
}

/// Installs a filter that asks, and returns the descriptor by which it does. `None` where another program listens to this
/// one's calls, since the kernel lets only one; then what would have been asked about fails or runs by itself.
pub(crate) fn witness(program: &[u64]) -> Result<Option<OwnedFd>, Fault> {
    // A caller that has been heard waits for its answer, whatever signals come, unless it is killed.
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    match install(program, flags) {
        Err(fault) if fault.errno() == libc::EBUSY => install(&unheard(program), 0).map(|_| None),
        descriptor => own(descriptor?, "seccomp").map(Some),
    }
}

/// A filter with what stands in for each question in its place: the error in its low bits, or nothing.
fn unheard(program: &[u64]) -> Vec<u64> {
    let instead = |packed: &u64| {
        let (code, answer) = ((packed >> 48) as u32, *packed as u32);
        let asks =
            code == libc::BPF_RET | libc::BPF_K && answer & !libc::SECCOMP_RET_DATA == libc::SECCOMP_RET_USER_NOTIF;
        let answer = match answer & libc::SECCOMP_RET_DATA {
            _ if !asks => answer,
            0 => libc::SECCOMP_RET_ALLOW,
            errno => libc::SECCOMP_RET_ERRNO | errno,
        };
        packed >> 32 << 32 | u64::from(answer)
    };
    program.iter().map(instead).collect()
}

fn install(program: &[u64], flags: libc::c_ulong) -> Result<libc::c_long, Fault> {
    let mut instructions: Vec<libc::sock_filter> = program
        .iter()
        .map(|packed| libc::sock_filter {
            code: (packed >> 48) as u16,
            jt: (packed >> 40) as u8,
            jf: (packed >> 32) as u8,
            k: *packed as u32,
        })
        .collect();
    let len = u16::try_from(instructions.len()).map_err(|_| Fault::check("the filter is too long"))?;
    let program = libc::sock_fprog { len, filter: instructions.as_mut_ptr() };
    // SAFETY: the program describes the live vector; the kernel copies it.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &program) };
    check(result, "seccomp")
}
