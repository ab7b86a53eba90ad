//! The calls that do not simply run: refused, told to the launcher, or both.
//!
//! Each rule stands here once. The kernel gets the rules compiled; the launcher asks the same rules again about a call
//! that comes to it. So what a rule refuses can't be let through by a second opinion.

use super::compile::Condition;
use crate::witness::Attempt;

/// What to say of a call beside its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Nothing.
    None,
    /// The path that this argument points to.
    Path(u8),
    /// The path and the permission bits of these arguments.
    PathAndMode(u8, u8),
    /// The permission bits of this argument.
    Mode(u8),
    /// The namespaces of these flags.
    Namespaces(u8),
    /// Family, type and protocol of a socket.
    Socket,
    /// The command of a device.
    Command,
    /// A number of some meaning.
    Number(&'static str, u8),
}

/// What a traced run wants to know of a call with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lookup {
    /// The argument with the directory that a path may be relative to; the working directory without one.
    pub(crate) directory: Option<u8>,
    /// The argument with the path.
    pub(crate) path: u8,
    /// What is done to what is found there.
    pub(crate) purpose: Purpose,
}

/// What a call with a path does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Opens it, with the flags of this argument.
    Open(u8),
    /// Executes it.
    Execute,
    /// Asks about it; with flags, where this argument has some, and whether a link at its end is followed.
    Ask { flags: Option<u8>, follow: bool },
}

/// What the launcher does about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Notes it and has it fail.
    Refuse { what: Attempt, errno: i32, detail: Detail },
    /// Notes it if the address in these two arguments leads out, and lets it run. That is enough, since a sandbox has no
    /// way out: its network namespace is the wall, and what is in memory may change after the look at it.
    Address { pointer: u8, length: u8 },
    /// Answers it with fixed names of the machine.
    Names,
    /// Answers it with a fixed size of the machine.
    Size,
    /// Answers it with the time since the run began, in the kernel's ticks, and with no time of processors: the kernel's own
    /// answer counts from the machine's boot, whatever a time namespace says.
    Ticks,
    /// Takes the path down and lets it run: this observes and holds nothing back.
    Observe(Lookup),
}

/// One rule; the first that fits a call counts.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) call: &'static str,
    pub(crate) number: i64,
    pub(super) when: Vec<Condition>,
    pub(crate) notice: Notice,
}

impl Rule {
    /// Whether it is about this call.
    pub(crate) fn fits(&self, number: i64, arguments: &[u64; 6]) -> bool {
        self.number == number && self.when.iter().all(|condition| condition.holds(arguments))
    }
}

const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;

/// Refused whatever the arguments, and how such an attempt is listed.
const REFUSED: &[(&str, i64, i32, Attempt, Detail)] = {
    use Attempt::{Kernel, Keyring, Mount, Namespace, TraceProcess};
    use Detail::{Namespaces, None, Number, Path};
    const P: i32 = libc::EPERM;
    // As on a kernel that does not have the call, so that a program falls back.
    const S: i32 = libc::ENOSYS;
    &[
        ("mount", libc::SYS_mount, P, Mount, Path(1)),
        ("umount2", libc::SYS_umount2, P, Mount, Path(0)),
        ("pivot_root", libc::SYS_pivot_root, P, Mount, Path(0)),
        ("chroot", libc::SYS_chroot, P, Mount, Path(0)),
        ("open_tree", libc::SYS_open_tree, S, Mount, Path(1)),
        ("move_mount", libc::SYS_move_mount, S, Mount, None),
        ("fsopen", libc::SYS_fsopen, S, Mount, Path(0)),
        ("fsmount", libc::SYS_fsmount, S, Mount, None),
        ("fspick", libc::SYS_fspick, S, Mount, Path(1)),
        ("mount_setattr", libc::SYS_mount_setattr, S, Mount, Path(1)),
        ("unshare", libc::SYS_unshare, P, Namespace, Namespaces(0)),
        ("setns", libc::SYS_setns, P, Namespace, Namespaces(1)),
        ("ptrace", libc::SYS_ptrace, P, TraceProcess, Number("request", 0)),
        ("process_vm_readv", libc::SYS_process_vm_readv, P, TraceProcess, None),
        ("process_vm_writev", libc::SYS_process_vm_writev, P, TraceProcess, None),
        ("kcmp", libc::SYS_kcmp, P, TraceProcess, None),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, P, TraceProcess, None),
        ("add_key", libc::SYS_add_key, P, Keyring, Path(0)),
        ("request_key", libc::SYS_request_key, P, Keyring, Path(0)),
        ("keyctl", libc::SYS_keyctl, P, Keyring, Number("operation", 0)),
        ("bpf", libc::SYS_bpf, P, Kernel, Number("command", 0)),
        ("perf_event_open", libc::SYS_perf_event_open, P, Kernel, None),
        ("sethostname", libc::SYS_sethostname, P, Kernel, None),
        ("setdomainname", libc::SYS_setdomainname, P, Kernel, None),
        ("settimeofday", libc::SYS_settimeofday, P, Kernel, None),
        ("clock_settime", libc::SYS_clock_settime, P, Kernel, Number("clock", 0)),
        ("reboot", libc::SYS_reboot, P, Kernel, None),
        ("swapon", libc::SYS_swapon, P, Kernel, Path(0)),
        ("swapoff", libc::SYS_swapoff, P, Kernel, Path(0)),
        ("init_module", libc::SYS_init_module, P, Kernel, None),
        ("finit_module", libc::SYS_finit_module, P, Kernel, None),
        ("delete_module", libc::SYS_delete_module, P, Kernel, Path(0)),
        ("kexec_load", libc::SYS_kexec_load, S, Kernel, None),
        ("kexec_file_load", libc::SYS_kexec_file_load, S, Kernel, None),
        ("iopl", libc::SYS_iopl, P, Kernel, None),
        ("ioperm", libc::SYS_ioperm, P, Kernel, None),
        ("acct", libc::SYS_acct, P, Kernel, Path(0)),
        ("syslog", libc::SYS_syslog, P, Kernel, Number("action", 0)),
        ("io_uring_setup", libc::SYS_io_uring_setup, S, Kernel, None),
        ("userfaultfd", libc::SYS_userfaultfd, S, Kernel, None),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, S, Kernel, None),
        ("fanotify_init", libc::SYS_fanotify_init, S, Kernel, None),
    ]
};

/// Terminal injection, line disciplines and console capture.
const REFUSED_COMMANDS: &[u32] = &[0x5412, 0x541c, 0x541d, 0x5423];
/// File flags that outlive permission bits; programs that copy files try them, so they are no evidence of anything.
const QUIETLY_REFUSED_COMMANDS: &[u32] = &[0x4008_6602, 0x4004_6602, 0x401c_5820];

/// What a file system would tell of the disk beneath it, or take for all who use it: identities, places on the disk,
/// encryption, verity. Refused as by a file system that has none of it.
const DISK_COMMANDS: &[u32] = &[
    0x8008_662c, // EXT4_IOC_GETFSUUID
    0x8011_1500, // FS_IOC_GETFSUUID
    0x8081_1501, // FS_IOC_GETFSSYSFSPATH
    0x8100_9431, // FS_IOC_GETFSLABEL
    0x8008_7601, // FS_IOC_GETVERSION
    0x8004_7601, // FS_IOC32_GETVERSION
    0xc020_660b, // FS_IOC_FIEMAP
    0xc050_6617, // FS_IOC_ADD_ENCRYPTION_KEY
    0x4010_6614, // FS_IOC_GET_ENCRYPTION_PWSALT
    0x4080_6685, // FS_IOC_ENABLE_VERITY
    0x8400_941f, // BTRFS_IOC_FS_INFO
    0x8100_587e, // XFS_IOC_FSGEOMETRY
    0x8070_587c, // XFS_IOC_FSGEOMETRY_V2
    0x8070_5864, // XFS_IOC_FSGEOMETRY_V1
];

/// Memory of huge pages, which one table of the machine has and no limit of a run counts: the call, and the argument and
/// the flag that ask for it.
const HUGE_PAGES: &[(i64, u8, u32)] = &[
    (libc::SYS_mmap, 3, libc::MAP_HUGETLB as u32),
    (libc::SYS_memfd_create, 1, libc::MFD_HUGETLB),
    (libc::SYS_shmget, 2, libc::SHM_HUGETLB as u32),
];

/// Flags of `clone` that make namespaces.
pub(crate) const NAMESPACE_FLAGS: &[(&str, i32)] = &[
    ("mount", libc::CLONE_NEWNS),
    ("cgroup", libc::CLONE_NEWCGROUP),
    ("uts", libc::CLONE_NEWUTS),
    ("ipc", libc::CLONE_NEWIPC),
    ("user", libc::CLONE_NEWUSER),
    ("pid", libc::CLONE_NEWPID),
    ("network", libc::CLONE_NEWNET),
    // No flag of `clone`, where these bits are the signal for the parent.
    ("time", libc::CLONE_NEWTIME),
];

/// Address families a program may use.
const FAMILIES: &[i32] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// Protocols of the internet families.
const PROTOCOLS: &[i32] = &[0, libc::IPPROTO_ICMP, libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_ICMPV6];

/// Types of sockets of the internet families; raw ones are refused below.
const TYPES: &[i32] = &[libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW, SOCK_PACKET];

/// The bits of a socket's type that are not flags.
const SOCKET_TYPE: u32 = 0xf;
/// The old way to a packet socket.
const SOCK_PACKET: i32 = 10;

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

fn is(argument: u8, mask: u32, value: u32) -> Condition {
    Condition { argument, mask, value, equal: true }
}

fn is_not(argument: u8, mask: u32, value: u32) -> Condition {
    Condition { argument, mask, value, equal: false }
}

/// True where all bits are set in an argument.
fn has(argument: u8, bits: u32) -> Condition {
    is(argument, bits, bits)
}

/// What comes to the launcher, the refusals first; a traced run's lookups come last, and only for such a run.
pub(crate) fn witnessed(trace: bool) -> Vec<Rule> {
    let mut rules: Vec<Rule> = REFUSED
        .iter()
        .map(|(call, number, errno, what, detail)| Rule {
            call,
            number: *number,
            when: Vec::new(),
            notice: Notice::Refuse { what: *what, errno: *errno, detail: *detail },
        })
        .collect();
    rules.extend(set_ids());
    rules.extend(devices());
    // Process 1 has the payload's user, so the kernel would let the payload set its limits: one of processor time ends it,
    // and with it the whole run as if the sandbox were at fault.
    let process_1 = vec![is(0, u32::MAX, 1)];
    let resource = Detail::Number("resource", 1);
    rules.push(refused("prlimit64", libc::SYS_prlimit64, process_1, Attempt::TraceProcess, resource));
    for (_, flag) in NAMESPACE_FLAGS.iter().filter(|(_, flag)| *flag != libc::CLONE_NEWTIME) {
        let when = vec![has(0, *flag as u32)];
        rules.push(refused("clone", libc::SYS_clone, when, Attempt::Namespace, Detail::Namespaces(0)));
    }
    for when in sockets() {
        rules.push(refused("socket", libc::SYS_socket, when, Attempt::Network, Detail::Socket));
    }
    // Only local sockets come in pairs. For another family the kernel makes both before it finds that out, and looks for a
    // module that has the family.
    let not_local = vec![is_not(0, u32::MAX, libc::AF_UNIX as u32)];
    rules.push(refused("socketpair", libc::SYS_socketpair, not_local, Attempt::Network, Detail::Socket));
    let passed = |call, number, when, notice| Rule { call, number, when, notice };
    let address = |pointer, length| Notice::Address { pointer, length };
    rules.push(passed("connect", libc::SYS_connect, Vec::new(), address(1, 2)));
    // Without an address it is `send`.
    rules.push(passed("sendto", libc::SYS_sendto, vec![is_not(5, u32::MAX, 0)], address(4, 5)));
    rules.push(passed("uname", libc::SYS_uname, Vec::new(), Notice::Names));
    rules.push(passed("sysinfo", libc::SYS_sysinfo, Vec::new(), Notice::Size));
    rules.push(passed("times", libc::SYS_times, Vec::new(), Notice::Ticks));
    if trace {
        rules.extend(lookups());
    }
    rules
}

fn refused(call: &'static str, number: i64, when: Vec<Condition>, what: Attempt, detail: Detail) -> Rule {
    Rule { call, number, when, notice: Notice::Refuse { what, errno: libc::EPERM, detail } }
}

/// Files that would run as another user.
fn set_ids() -> Vec<Rule> {
    let mut rules = Vec::new();
    for bit in [SET_USER_ID, SET_GROUP_ID] {
        for (call, number, mode, detail) in [
            ("chmod", libc::SYS_chmod, 1, Detail::PathAndMode(0, 1)),
            ("fchmod", libc::SYS_fchmod, 1, Detail::Mode(1)),
            ("fchmodat", libc::SYS_fchmodat, 2, Detail::PathAndMode(1, 2)),
            ("fchmodat2", libc::SYS_fchmodat2, 2, Detail::PathAndMode(1, 2)),
            ("creat", libc::SYS_creat, 1, Detail::PathAndMode(0, 1)),
            ("mknod", libc::SYS_mknod, 1, Detail::PathAndMode(0, 1)),
            ("mknodat", libc::SYS_mknodat, 2, Detail::PathAndMode(1, 2)),
        ] {
            rules.push(refused(call, number, vec![has(mode, bit)], Attempt::SetId, detail));
        }
        for (call, number, flags, mode, detail) in [
            ("open", libc::SYS_open, 1, 2, Detail::PathAndMode(0, 2)),
            ("openat", libc::SYS_openat, 2, 3, Detail::PathAndMode(1, 3)),
        ] {
            // Without a flag that makes a file the mode argument is not one.
            for making in [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY] {
                let when = vec![has(flags, making as u32), has(mode, bit)];
                rules.push(refused(call, number, when, Attempt::SetId, detail));
            }
        }
    }
    rules
}

/// Device files, and commands to a terminal that reach beyond it.
fn devices() -> Vec<Rule> {
    let mut rules = Vec::new();
    for kind in [libc::S_IFCHR, libc::S_IFBLK] {
        for (call, number, mode, detail) in [
            ("mknod", libc::SYS_mknod, 1, Detail::PathAndMode(0, 1)),
            ("mknodat", libc::SYS_mknodat, 2, Detail::PathAndMode(1, 2)),
        ] {
            rules.push(refused(call, number, vec![is(mode, libc::S_IFMT, kind)], Attempt::Device, detail));
        }
    }
    // A whiteout is a device file too, and this makes one where it moves something away.
    let whiteout = vec![has(4, libc::RENAME_WHITEOUT)];
    rules.push(refused("renameat2", libc::SYS_renameat2, whiteout, Attempt::Device, Detail::Path(1)));
    for command in REFUSED_COMMANDS {
        let when = vec![is(1, u32::MAX, *command)];
        rules.push(refused("ioctl", libc::SYS_ioctl, when, Attempt::Device, Detail::Command));
    }
    rules
}

/// Families and protocols that are not for builds.
fn sockets() -> Vec<Vec<Condition>> {
    let none_of = |argument, values: &[i32]| -> Vec<Condition> {
        values.iter().map(|value| is_not(argument, u32::MAX, *value as u32)).collect()
    };
    let of = |family: i32, protocols: &[i32]| {
        let mut when = vec![is(0, u32::MAX, family as u32)];
        when.extend(none_of(2, protocols));
        when
    };
    let mut refused = vec![
        none_of(0, FAMILIES),
        of(libc::AF_INET, PROTOCOLS),
        of(libc::AF_INET6, PROTOCOLS),
        of(libc::AF_NETLINK, &[libc::NETLINK_ROUTE]),
    ];
    // These take a capability that no payload has, so the kernel would refuse them by itself, and nobody would know.
    for (family, kind) in
        [(libc::AF_INET, libc::SOCK_RAW), (libc::AF_INET6, libc::SOCK_RAW), (libc::AF_INET, SOCK_PACKET)]
    {
        refused.push(vec![is(0, u32::MAX, family as u32), is(1, SOCKET_TYPE, kind as u32)]);
    }
    // For a type that nobody has, the kernel looks for a module.
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut when = vec![is(0, u32::MAX, family as u32)];
        when.extend(TYPES.iter().map(|kind| is_not(1, SOCKET_TYPE, *kind as u32)));
        refused.push(when);
    }
    refused
}

/// The calls with a path that a traced run looks at.
fn lookups() -> Vec<Rule> {
    let rule = |call, number, directory, path, purpose, when| Rule {
        call,
        number,
        when,
        notice: Notice::Observe(Lookup { directory, path, purpose }),
    };
    let ask = |flags, follow| Purpose::Ask { flags, follow };
    // With this flag and no path a call is about a descriptor. That is how the C library spells `fstat`.
    let by_path = |flags| vec![is(flags, libc::AT_EMPTY_PATH as u32, 0)];
    // A file opened to be written only is not read.
    let reading = |flags| vec![is_not(flags, libc::O_ACCMODE as u32, libc::O_WRONLY as u32)];
    vec![
        rule("open", libc::SYS_open, None, 0, Purpose::Open(1), reading(1)),
        rule("openat", libc::SYS_openat, Some(0), 1, Purpose::Open(2), reading(2)),
        rule("execve", libc::SYS_execve, None, 0, Purpose::Execute, Vec::new()),
        rule("execveat", libc::SYS_execveat, Some(0), 1, Purpose::Execute, by_path(4)),
        rule("stat", libc::SYS_stat, None, 0, ask(None, true), Vec::new()),
        rule("lstat", libc::SYS_lstat, None, 0, ask(None, false), Vec::new()),
        rule("newfstatat", libc::SYS_newfstatat, Some(0), 1, ask(Some(3), true), by_path(3)),
        rule("statx", libc::SYS_statx, Some(0), 1, ask(Some(2), true), by_path(2)),
        rule("access", libc::SYS_access, None, 0, ask(None, true), Vec::new()),
        rule("faccessat", libc::SYS_faccessat, Some(0), 1, ask(None, true), Vec::new()),
        rule("faccessat2", libc::SYS_faccessat2, Some(0), 1, ask(Some(3), true), by_path(3)),
        rule("readlink", libc::SYS_readlink, None, 0, ask(None, false), Vec::new()),
        rule("readlinkat", libc::SYS_readlinkat, Some(0), 1, ask(None, false), Vec::new()),
    ]
}

/// What is refused with `EPERM` and not worth telling.
pub(super) fn quiet() -> Vec<(i64, Vec<Condition>)> {
    let mut rules: Vec<(i64, Vec<Condition>)> =
        QUIETLY_REFUSED_COMMANDS.iter().map(|command| (libc::SYS_ioctl, vec![is(1, u32::MAX, *command)])).collect();
    rules.push((libc::SYS_personality, vec![is_not(0, u32::MAX, u32::MAX)]));
    rules.push((libc::SYS_prctl, vec![is(0, u32::MAX, libc::PR_SET_MM as u32)]));
    rules.extend(HUGE_PAGES.iter().map(|(number, argument, flag)| (*number, vec![has(*argument, *flag)])));
    rules
}

/// What is refused with `ENOTTY` and not worth telling.
pub(super) fn of_the_disk() -> Vec<(i64, Vec<Condition>)> {
    DISK_COMMANDS.iter().map(|command| (libc::SYS_ioctl, vec![is(1, u32::MAX, *command)])).collect()
}

/// What is answered with success and not done.
pub(super) const WITHOUT_EFFECT: &[i64] = &[libc::SYS_sched_setaffinity];

/// What is refused with `ENOTSUP`.
pub(super) fn attributes() -> &'static [i64] {
    ATTRIBUTES
}
