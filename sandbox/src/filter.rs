//! The filters of system calls, the same for every sandbox, compiled once.
//!
//! Three stand on top of each other and the strictest answer wins; of two errors, that of the later one:
//! 1. what a build, a test or a server may call at all; anything else does not exist (`ENOSYS`), so a
//!    program falls back as it would on an older kernel; a foreign architecture is killed;
//! 2. calls and arguments that are refused (`EPERM`) although the call, or a program's hope for it, is common:
//!    set-user-id bits, device files, new namespaces, mounts, other processes, keyrings, terminal injection;
//! 3. extended attributes, which no file system here has (`ENOTSUP`).
//!
//! `clone3` does not exist since its flags lie behind a pointer; the C libraries then use `clone`. Device control
//! commands are compared by their low 32 bits, as the kernel reads them.

mod allowed;
mod ranges;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use anneal_sandbox_op::Op;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Compare, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::Error;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

const SET_USER_ID: u64 = 0o4000;
const SET_GROUP_ID: u64 = 0o2000;

/// Calls refused whatever their arguments.
const REFUSED: &[i64] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_acct,
    libc::SYS_syslog,
];

/// Terminal injection, line disciplines and console capture, and file flags that outlive permission bits.
const REFUSED_COMMANDS: &[u64] = &[0x5412, 0x541c, 0x541d, 0x5423, 0x4008_6602, 0x4004_6602, 0x401c_5820];

/// Flags of `clone` that make namespaces.
const NAMESPACE_FLAGS: &[i32] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Address families a program may use.
const FAMILIES: &[i32] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// Protocols of the internet families.
const PROTOCOLS: &[i32] = &[0, libc::IPPROTO_ICMP, libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_ICMPV6];

const ATTRIBUTES: &[i64] = &[
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
];

/// The three filters as operations, in the order in which they are installed.
pub(crate) fn operations() -> Result<Vec<Op>, Error> {
    static COMPILED: OnceLock<Result<Vec<Op>, String>> = OnceLock::new();
    COMPILED.get_or_init(compile).clone().map_err(|reason| Error::Filter { reason })
}

fn compile() -> Result<Vec<Op>, String> {
    let refused = refusals().map_err(|e| e.to_string())?;
    let attributes: Rules = ATTRIBUTES.iter().map(|number| (*number, Vec::new())).collect();
    Ok(vec![
        Op::Seccomp {
            summary: format!("allow {} calls, else ENOSYS, foreign architectures killed", allowed::CALLS.len()),
            program: pack(&ranges::compile(allowed::CALLS.iter().map(|(_, number)| *number))),
        },
        Op::Seccomp {
            summary: format!("refuse {} calls or arguments of them with EPERM", refused.len()),
            program: refuse(refused, libc::EPERM)?,
        },
        Op::Seccomp {
            summary: format!("refuse {} calls with ENOTSUP", attributes.len()),
            program: refuse(attributes, libc::EOPNOTSUPP)?,
        },
    ])
}

/// A filter that answers with an error where a rule matches and lets everything else through.
fn refuse(rules: Rules, errno: i32) -> Result<Vec<u64>, String> {
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), TargetArch::x86_64);
    let program: Result<BpfProgram, seccompiler::BackendError> = filter.and_then(TryInto::try_into);
    program.map(|program| pack(&program)).map_err(|e| e.to_string())
}

/// Instructions as numbers.
fn pack(program: &[seccompiler::sock_filter]) -> Vec<u64> {
    let one = |i: &seccompiler::sock_filter| {
        u64::from(i.code) << 48 | u64::from(i.jt) << 40 | u64::from(i.jf) << 32 | u64::from(i.k)
    };
    program.iter().map(one).collect()
}

type Built<T> = Result<T, seccompiler::BackendError>;

/// What the second filter refuses.
fn refusals() -> Built<Rules> {
    let mut rules: Rules = REFUSED.iter().map(|number| (*number, Vec::new())).collect();
    let mut refuse = |number: i64, rule: Vec<SeccompRule>| rules.entry(number).or_default().extend(rule);
    for (number, argument) in [
        (libc::SYS_chmod, 1),
        (libc::SYS_fchmod, 1),
        (libc::SYS_fchmodat, 2),
        (libc::SYS_fchmodat2, 2),
        (libc::SYS_creat, 1),
        (libc::SYS_mknod, 1),
        (libc::SYS_mknodat, 2),
    ] {
        refuse(number, set_id(argument, &[])?);
    }
    for (number, flags, mode) in [(libc::SYS_open, 1, 2), (libc::SYS_openat, 2, 3)] {
        // Without a flag that makes a file the mode argument is not one.
        for making in [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY] {
            refuse(number, set_id(mode, &[has(flags, making as u64)?])?);
        }
    }
    for (number, argument) in [(libc::SYS_mknod, 1), (libc::SYS_mknodat, 2)] {
        for kind in [libc::S_IFCHR, libc::S_IFBLK] {
            let is = Compare::MaskedEq(u64::from(libc::S_IFMT));
            refuse(number, vec![rule(vec![condition(argument, is, u64::from(kind))?])?]);
        }
    }
    for flag in NAMESPACE_FLAGS {
        refuse(libc::SYS_clone, vec![rule(vec![has(0, *flag as u64)?])?]);
    }
    for command in REFUSED_COMMANDS {
        refuse(libc::SYS_ioctl, vec![rule(vec![condition(1, Compare::Eq, *command)?])?]);
    }
    for rule in sockets()? {
        refuse(libc::SYS_socket, vec![rule]);
    }
    refuse(libc::SYS_personality, vec![rule(vec![condition(0, Compare::Ne, 0xffff_ffff)?])?]);
    refuse(libc::SYS_prctl, vec![rule(vec![condition(0, Compare::Eq, libc::PR_SET_MM as u64)?])?]);
    Ok(rules)
}

/// Families and protocols that are not for builds.
fn sockets() -> Built<Vec<SeccompRule>> {
    let none_of = |argument: u8, values: &[i32]| -> Built<Vec<SeccompCondition>> {
        values.iter().map(|value| condition(argument, Compare::Ne, *value as u64)).collect()
    };
    let mut rules = vec![rule(none_of(0, FAMILIES)?)?];
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut conditions = none_of(2, PROTOCOLS)?;
        conditions.push(condition(0, Compare::Eq, family as u64)?);
        rules.push(rule(conditions)?);
    }
    let route_only = [libc::NETLINK_ROUTE];
    let mut conditions = none_of(2, &route_only)?;
    conditions.push(condition(0, Compare::Eq, libc::AF_NETLINK as u64)?);
    rules.push(rule(conditions)?);
    Ok(rules)
}

fn set_id(argument: u8, also: &[SeccompCondition]) -> Built<Vec<SeccompRule>> {
    [SET_USER_ID, SET_GROUP_ID]
        .into_iter()
        .map(|bit| rule(also.iter().cloned().chain([has(argument, bit)?]).collect()))
        .collect()
}

/// True where all bits are set in an argument.
fn has(argument: u8, bits: u64) -> Built<SeccompCondition> {
    condition(argument, Compare::MaskedEq(bits), bits)
}

fn condition(argument: u8, compare: Compare, value: u64) -> Built<SeccompCondition> {
    SeccompCondition::new(argument, Length::Dword, compare, value)
}

fn rule(conditions: Vec<SeccompCondition>) -> Built<SeccompRule> {
    SeccompRule::new(conditions)
}

/// The names of the allowed calls, sorted, one a line.
#[cfg(test)]
pub(crate) fn allowed_text() -> String {
    let mut names: Vec<&str> = allowed::CALLS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.iter().map(|name| format!("{name}\n")).collect()
}
