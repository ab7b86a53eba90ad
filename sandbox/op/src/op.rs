//! The operations a sandbox is made of, in the order in which they may appear.
//!
//! A list has three parts. Before [`Op::Enter`] the operations run in the process the launcher started, on
//! the host. From there to [`Op::Start`] they run as process 1 of the new namespaces, still with
//! capabilities over those namespaces. After it they run in the payload, up to [`Op::Exec`].
//!
//! Places: a path that starts with `/` is inside the root being built; one that does not is on the base, a
//! private tmpfs that holds mount points and masks and is gone from sight after [`Op::Pivot`].

use serde::{Deserialize, Serialize};

/// A kernel namespace made anew for each sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Namespace {
    /// User and group ids, and the capabilities over all the others.
    User,
    /// Mounts.
    Mount,
    /// Process ids; its process 1 takes every other with it when it dies.
    Pid,
    /// Network interfaces, routes and abstract sockets.
    Network,
    /// System V shared memory, semaphores and message queues, and POSIX message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// The view of the control group tree.
    Cgroup,
}

/// One id inside a sandbox and the host id that stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// The id that the payload sees.
    pub inside: u32,
    /// The id that the host sees.
    pub outside: u32,
}

/// What a host path must be when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Handle {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A character device.
    Device,
}

/// A resource limit of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Size of a core file.
    Core,
    /// Number of open files.
    OpenFiles,
    /// Number of processes and threads of the user.
    Processes,
    /// Size of the stack; also decides how mmap lays out memory.
    Stack,
    /// Bytes that may be locked in memory.
    Locked,
    /// Bytes in POSIX message queues.
    Queues,
    /// Signals that wait for delivery.
    Signals,
    /// How far a process may raise its own priority.
    Nice,
    /// Priority of real-time scheduling.
    RealTime,
}

/// Something that reaches only processes behind the same wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Connections to abstract sockets.
    AbstractSockets,
    /// Signals.
    Signals,
}

/// An HTTP request made to the payload from inside its own network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRequest {
    /// Port on the loopback address.
    pub port: u16,
    /// Path asked for.
    pub path: String,
    /// Milliseconds within which it must answer.
    pub ready_within_ms: u64,
    /// The signal that asks the payload to stop once it has answered.
    pub stop_signal: i32,
    /// Milliseconds it then has to end.
    pub stop_within_ms: u64,
}

/// One step in the making of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Op {
    /// Be killed when the launcher dies.
    DieWithParent,
    /// Join a control group of version 1 on the host.
    JoinGroup {
        /// Its list of tasks.
        tasks: String,
    },
    /// How soon the kernel ends these processes when the whole host is out of memory: 1000 is before all others.
    OomScore {
        /// What is added to the kernel's own score.
        adjustment: i32,
    },
    /// Make a user namespace in which no id exists yet, for whoever may write its maps.
    NewUsers,
    /// Enter the user namespace whose descriptor came with the list, as its user 0 with every capability over it. There
    /// the caller's subordinate ids exist.
    JoinUsers,
    /// Give the log pipe to a user: a payload may open its own standard output again by name, as servers that log to
    /// `/dev/stdout` do.
    GiveLog {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// Keep the capabilities to reach, own and trace what belongs to the ids of this user namespace, and no other.
    KeepForFiles,
    /// Do errands until nobody asks any more.
    Serve,
    /// Make the namespaces and become process 1 of them.
    Enter {
        /// Which ones.
        namespaces: Vec<Namespace>,
        /// The one user.
        uid: IdMap,
        /// The one group.
        gid: IdMap,
        /// Whether `setgroups` must be given up, as the kernel demands of a launcher without privilege.
        deny_setgroups: bool,
    },
    /// Take a handle of a host path while its private parents can still be searched.
    Open {
        /// The path on the host.
        path: String,
        /// What it must be.
        handle: Handle,
    },
    /// Make files as the mapped user, and stay who it is in everything else: what is made before the host's paths are
    /// opened belongs to the payload.
    FilesAs {
        /// User inside.
        uid: u32,
        /// Group inside.
        gid: u32,
    },
    /// Reach files as the launcher does again; only the real user stays the mapped one.
    FilesAsLauncher {
        /// User inside.
        uid: u32,
        /// Group inside.
        gid: u32,
    },
    /// Fail unless an opened host path is what the launcher sees there, since this process may know older mounts.
    Same {
        /// The path.
        path: String,
        /// Its device.
        device: u64,
        /// Its number on that device.
        inode: u64,
    },
    /// Change to the mapped user, keeping the capabilities over the new namespaces.
    Become {
        /// User inside.
        uid: u32,
        /// Group inside.
        gid: u32,
        /// Whether there are supplementary groups to give up.
        clear_groups: bool,
    },
    /// Set host and domain name.
    Hostname {
        /// Host name.
        name: String,
        /// NIS domain name.
        domain: String,
    },
    /// Bring the loopback interface up.
    Loopback,
    /// Cut every mount off from the host's propagation.
    PrivateMounts,
    /// Mount the base, over the root of the host, where only handles reach it.
    Base {
        /// Size limit.
        bytes: u64,
        /// Limit of files.
        inodes: u64,
    },
    /// Make a directory and its parents.
    Directory {
        /// Where.
        at: String,
        /// Permission bits of the last part.
        mode: u32,
    },
    /// Make a file.
    File {
        /// Where.
        at: String,
        /// Permission bits.
        mode: u32,
        /// What it holds.
        content: String,
    },
    /// Make a symbolic link.
    Symlink {
        /// Where.
        at: String,
        /// What it says.
        to: String,
    },
    /// Mount many directories as one, read-only unless there is an upper one.
    Overlay {
        /// Where; `/` is the root itself and comes first.
        at: String,
        /// Opened host directories, the first on top.
        lower: Vec<String>,
        /// A directory of the base that goes underneath and holds the mount points.
        points: Option<String>,
        /// A directory of the base that takes what is written.
        upper: Option<String>,
    },
    /// Mount an empty file system in memory.
    Tmpfs {
        /// Where.
        at: String,
        /// Size limit.
        bytes: u64,
        /// Limit of files.
        inodes: u64,
        /// Permission bits of its root.
        mode: u32,
    },
    /// Mount an opened host path, or a file of the base, at another place.
    Bind {
        /// From where.
        from: String,
        /// To where.
        at: String,
        /// Whether it may be written.
        writable: bool,
        /// Whether device files work on it.
        devices: bool,
        /// Whether a missing mount point is no fault, since kernels differ in what they show.
        optional: bool,
    },
    /// Mount a fresh file system in memory and copy a mounted tree onto it.
    Copy {
        /// What to copy, a place on the base.
        from: String,
        /// Where.
        at: String,
        /// Size limit.
        bytes: u64,
        /// Limit of files.
        inodes: u64,
        /// Whether names are made in reverse order.
        reversed: bool,
        /// Whether it can be written afterwards.
        writable: bool,
    },
    /// Take a mount of the base, with all that is mounted in it, to another place.
    Move {
        /// From where.
        from: String,
        /// To where.
        at: String,
    },
    /// Mount the process file system of the new process namespace, read-only.
    Proc {
        /// Where.
        at: String,
    },
    /// Mount a new instance of the terminal file system.
    Terminals {
        /// Where.
        at: String,
    },
    /// Make a mount read-only after it has been filled.
    ReadOnly {
        /// Which.
        at: String,
    },
    /// Make the new root the only one.
    Pivot,
    /// Let the clocks that count from boot start at zero for the payload.
    ZeroClocks,
    /// Run on these processors only.
    Affinity {
        /// Their numbers on the host.
        cpus: Vec<u32>,
    },
    /// Lay out memory at the same addresses in each run.
    FixedAddresses,
    /// Set the mask for the permission bits of new files.
    Umask {
        /// The mask.
        mask: u32,
    },
    /// Leave the caller's session keyring for an empty one.
    NewKeyring,
    /// Give up every capability for good and the chance to gain any by exec.
    DropPrivileges,
    /// Fork: process 1 goes on as reaper and probe, the rest of the list is for the payload.
    Start {
        /// The HTTP request to make, if any.
        probe: Option<ProbeRequest>,
    },
    /// Start a session of its own, without a terminal.
    NewSession,
    /// Limit a resource; a lower limit that is already there stays.
    Limit {
        /// Which.
        resource: Resource,
        /// Soft limit.
        soft: u64,
        /// Hard limit.
        hard: u64,
    },
    /// Let the payload reach files only beneath these places, whatever handle it gets hold of. What a version of the
    /// kernel's interface does not know is left out.
    Landlock {
        /// The version: 2 renames across directories, 3 truncation, 5 commands to devices, 6 scopes.
        abi: u32,
        /// Where files can be read and executed.
        read: Vec<String>,
        /// Where everything but devices can be made, changed and removed as well.
        write: Vec<String>,
        /// Where devices can be written and given commands.
        devices: Vec<String>,
        /// What can't leave the sandbox.
        scopes: Vec<Scope>,
    },
    /// Install a filter of system calls.
    Seccomp {
        /// What it does, for people.
        summary: String,
        /// Instructions, each packed as code, jump if true, jump if false and operand, from the high bits down.
        program: Vec<u64>,
    },
    /// Install a filter of system calls that asks the launcher, and pass the descriptor that it is asked by. Where another
    /// program listens already the errors in the low bits of its answers stand in for the launcher's.
    Witness {
        /// What it does, for people.
        summary: String,
        /// Instructions, as those of [`Op::Seccomp`].
        program: Vec<u64>,
    },
    /// Become the payload, with nothing open but the three standard descriptors.
    Exec {
        /// Program and arguments; a program without a slash is looked for along `PATH`.
        argv: Vec<String>,
        /// The whole environment, as `NAME=value`.
        env: Vec<String>,
        /// Working directory.
        cwd: String,
    },
}
