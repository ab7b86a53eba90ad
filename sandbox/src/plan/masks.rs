//! What `/proc` shows of the machine: fixed facts, or nothing.
//!
//! A payload sees its own processes there and the same machine on every host. All of `/proc/sys` is a tree of our own
//! with what programs ask for. Files that only the host's superuser can read are left as they are: no one in a
//! sandbox is that user. Which entries exist depends on the kernel's configuration, so a missing one is passed over.

use anneal_sandbox_op::Op;

/// Files that show nothing.
const EMPTY_FILES: &[&str] = &[
    "allocinfo",
    "bootconfig",
    "buddyinfo",
    "cgroups",
    "cmdline",
    "config.gz",
    "consoles",
    "crypto",
    "devices",
    "diskstats",
    "dma",
    "execdomains",
    "fb",
    "interrupts",
    "iomem",
    "ioports",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "latency_stats",
    "locks",
    "mdstat",
    "misc",
    "modules",
    "mtrr",
    "partitions",
    "sched_debug",
    "schedstat",
    "softirqs",
    "swaps",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
    "version_signature",
    "vmstat",
    "zoneinfo",
];

/// Directories that show nothing.
const EMPTY_DIRECTORIES: &[&str] =
    &["acpi", "asound", "bus", "driver", "dynamic_debug", "fs", "irq", "pressure", "scsi", "tty"];

/// The memory that every sandbox seems to have; the real limit is no input of a build.
pub(crate) const MEMORY_KIB: u64 = 4 << 20;
/// The release and the version that the files and `uname` tell of.
pub(crate) const RELEASE: &str = "6.1.0-anneal";
pub(crate) const VERSION: &str = "#1 SMP";
const BOOT_ID: &str = "616e6e65-616c-4000-8000-000000000000";

/// Directories of `/proc/sys`.
const SETTING_DIRECTORIES: &[&str] = &["fs", "kernel/random", "net/core", "net/ipv4", "net/ipv6", "vm"];
/// Files of `/proc/sys` that libraries and build tools read, with the kernel's own defaults. An identifier that is random
/// on other machines is the same at each reading.
const SETTINGS: &[(&str, &str)] = &[
    ("fs/file-max", "9223372036854775807"),
    ("fs/nr_open", "1048576"),
    ("fs/pipe-max-size", "1048576"),
    ("kernel/cap_last_cap", "40"),
    ("kernel/msgmax", "8192"),
    ("kernel/ngroups_max", "65536"),
    ("kernel/ostype", "Linux"),
    ("kernel/overflowgid", "65534"),
    ("kernel/overflowuid", "65534"),
    ("kernel/pid_max", "4194304"),
    ("kernel/random/entropy_avail", "256"),
    ("kernel/random/uuid", "616e6e65-616c-4000-8000-000000000001"),
    ("kernel/randomize_va_space", "2"),
    ("kernel/sem", "32000\t1024000000\t500\t32000"),
    ("kernel/shmall", "18446744073692774399"),
    ("kernel/shmmax", "18446744073692774399"),
    ("kernel/shmmni", "4096"),
    ("kernel/threads-max", "32768"),
    ("net/core/somaxconn", "4096"),
    ("net/ipv4/ip_local_port_range", "32768\t60999"),
    ("net/ipv6/bindv6only", "0"),
    ("vm/max_map_count", "65530"),
    ("vm/overcommit_memory", "0"),
];

/// Mounts `/proc` and everything over it.
pub(super) fn operations(cpus: u32, hostname: &str) -> Vec<Op> {
    let proc = |name: &str| format!("/proc/{name}");
    let bind = |from: String, at: String| Op::Bind { from, at, writable: false, devices: false, optional: true };
    let mut ops = vec![
        Op::Directory { at: "masks/none".to_owned(), mode: 0o555 },
        Op::File { at: "masks/empty".to_owned(), mode: 0o444, content: String::new() },
    ];
    let facts = facts(cpus);
    for (index, (_, content)) in facts.iter().enumerate() {
        ops.push(Op::File { at: format!("masks/{index}"), mode: 0o444, content: content.clone() });
    }
    ops.extend(settings(hostname));
    ops.push(Op::Proc { at: "/proc".to_owned() });
    for (index, (name, _)) in facts.iter().enumerate() {
        ops.push(bind(format!("masks/{index}"), proc(name)));
    }
    ops.push(bind("masks/sys".to_owned(), proc("sys")));
    ops.extend(EMPTY_FILES.iter().map(|name| bind("masks/empty".to_owned(), proc(name))));
    ops.extend(EMPTY_DIRECTORIES.iter().map(|name| bind("masks/none".to_owned(), proc(name))));
    ops
}

/// Files with fixed content.
fn facts(cpus: u32) -> Vec<(&'static str, String)> {
    let each = |line: &dyn Fn(u32) -> String| (0..cpus).map(line).collect::<String>();
    let cpuinfo = each(&|cpu| {
        format!(
            "processor\t: {cpu}\nvendor_id\t: Anneal\ncpu family\t: 6\nmodel\t\t: 0\nmodel name\t: Anneal\nstepping\t: 0\n\
             siblings\t: {cpus}\ncore id\t\t: {cpu}\ncpu cores\t: {cpus}\n\
             flags\t\t: fpu tsc cx8 cmov mmx fxsr sse sse2 syscall nx lm\nclflush size\t: 64\n\n"
        )
    });
    let stat = format!(
        "cpu  0 0 0 0 0 0 0 0 0 0\n{}intr 0\nctxt 0\nbtime 0\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n",
        each(&|cpu| format!("cpu{cpu} 0 0 0 0 0 0 0 0 0 0\n"))
    );
    let meminfo = format!(
        "MemTotal: {MEMORY_KIB:>14} kB\nMemFree: {MEMORY_KIB:>15} kB\nMemAvailable: {MEMORY_KIB:>10} kB\n\
         Buffers:               0 kB\nCached:                0 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n"
    );
    vec![
        ("cpuinfo", cpuinfo),
        ("filesystems", "nodev\ttmpfs\nnodev\tproc\nnodev\tdevpts\n".to_owned()),
        ("loadavg", "0.00 0.00 0.00 1/1 1\n".to_owned()),
        ("meminfo", meminfo),
        ("stat", stat),
        ("uptime", "0.00 0.00\n".to_owned()),
        ("version", format!("Linux version {RELEASE} (anneal@anneal) {VERSION}\n")),
    ]
}

/// The tree that stands for `/proc/sys`: the values of an ordinary machine, none of this one.
fn settings(hostname: &str) -> Vec<Op> {
    let own = [
        ("kernel/domainname", super::DOMAIN),
        ("kernel/hostname", hostname),
        ("kernel/osrelease", RELEASE),
        ("kernel/random/boot_id", BOOT_ID),
        ("kernel/version", VERSION),
    ];
    let directory = |name: &&str| Op::Directory { at: format!("masks/sys/{name}"), mode: 0o555 };
    let file = |(name, value): &(&str, &str)| Op::File {
        at: format!("masks/sys/{name}"),
        mode: 0o444,
        content: format!("{value}\n"),
    };
    SETTING_DIRECTORIES.iter().map(directory).chain(own.iter().chain(SETTINGS).map(file)).collect()
}
