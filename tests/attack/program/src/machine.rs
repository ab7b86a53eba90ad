//! What `/proc`, `/sys` and `/dev` show and take.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileTypeExt;

use crate::report::Attack;

/// P83: the model of the processor by name. Its instructions can be asked for what they are, which nothing can hide but a
/// machine of its own; so a result records the model.
pub(crate) fn processor(attack: &Attack) {
    let model = attack.text("processor");
    for path in ["/proc/cpuinfo", "/proc/version", "/proc/bus/input/devices", "/proc/interrupts", "/proc/mtrr"] {
        let text = fs::read_to_string(path).unwrap_or_default();
        attack.say(!text.contains(model), &format!("{path} names the processor"), format!("{} bytes", text.len()));
    }
    for path in ["/sys/devices/system/cpu", "/sys/devices/system/cpu/vulnerabilities", "/dev/cpu/0/cpuid"] {
        attack.absent(path, fs::symlink_metadata(path));
    }
}

/// P19: settings of the kernel. Files are opened for writing and nothing is written.
pub(crate) fn write_the_kernel(attack: &Attack) {
    for path in [
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/shmmax",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/user/max_user_namespaces",
        "/proc/irq/default_smp_affinity",
        "/proc/mtrr",
        "/proc/1/oom_score_adj",
        "/proc/self/oom_score_adj",
        "/proc/self/coredump_filter",
        "/proc/self/timerslack_ns",
        "/proc/self/clear_refs",
        "/proc/self/attr/current",
        "/proc/self/comm",
        "/sys/kernel/uevent_helper",
        "/sys/power/state",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/memory/cgroup.procs",
        "/sys/class/net/lo/mtu",
    ] {
        attack.denied(&format!("open {path} to write"), OpenOptions::new().write(true).open(path));
    }
    for path in [
        "/sys",
        "/sys/kernel",
        "/sys/firmware",
        "/sys/fs/cgroup",
        "/sys/kernel/debug",
        "/sys/kernel/tracing",
        "/sys/module",
    ] {
        attack.absent(path, fs::read_dir(path));
    }
}

/// P20: what the kernel tells of itself and of this machine.
pub(crate) fn read_the_kernel(attack: &Attack) {
    for path in [
        "/proc/kcore",
        "/proc/kallsyms",
        "/proc/keys",
        "/proc/key-users",
        "/proc/timer_list",
        "/proc/sched_debug",
        "/proc/kpagecount",
        "/proc/kpageflags",
        "/proc/kpagecgroup",
        "/proc/kmsg",
        "/proc/modules",
        "/proc/cmdline",
        "/proc/partitions",
        "/proc/diskstats",
        "/proc/interrupts",
        "/proc/iomem",
        "/proc/ioports",
        "/proc/slabinfo",
        "/proc/vmallocinfo",
        "/proc/pagetypeinfo",
        "/proc/locks",
        "/proc/swaps",
        "/proc/config.gz",
        "/proc/mounts/../sched_debug",
        "/dev/kmsg",
        "/dev/mem",
        "/dev/port",
    ] {
        let shown = fs::File::open(path).and_then(|file| {
            let mut some = Vec::new();
            std::io::Read::read_to_end(&mut std::io::Read::take(file, 4096), &mut some).map(|_| some.len())
        });
        // Some say nothing, some are not there, some are refused; all are well.
        attack.say(
            !matches!(shown, Ok(length) if length > 0),
            path,
            shown.map_or_else(|e| e.to_string(), |n| format!("{n} bytes")),
        );
    }
    for path in [
        "/proc/acpi",
        "/proc/scsi",
        "/proc/bus",
        "/proc/fs",
        "/proc/driver",
        "/proc/irq",
        "/proc/tty",
        "/proc/pressure",
    ] {
        let names = fs::read_dir(path).map(Iterator::count);
        attack.say(!matches!(names, Ok(count) if count > 0), path, format!("{names:?}"));
    }
    // Mounts of the host would show its paths and disks.
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points: Vec<&str> = table.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let declared = attack.list("mounts");
    let own = |point: &&str| {
        *point == "/" || point.starts_with("/proc") || point.starts_with("/dev") || declared.contains(point)
    };
    let strange: Vec<&str> = points.iter().filter(|point| !own(point)).copied().collect();
    attack.say(
        strange.is_empty() && !points.is_empty(),
        "mounts that were not declared",
        format!("{} of {}", strange.len(), points.len()),
    );
    let told = table.contains(attack.text("host"));
    attack.say(!told, "paths of the host in the table of mounts", if told { "shown" } else { "none" });
}

/// P22: a `/dev` with nothing of the host in it.
pub(crate) fn devices(attack: &Attack) {
    const OWN: &[&str] =
        &["fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"];
    let mut names: Vec<String> = fs::read_dir("/dev")
        .map(|d| d.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    let more: Vec<&String> = names.iter().filter(|name| !OWN.contains(&name.as_str())).collect();
    attack.say(
        more.is_empty() && names.len() == OWN.len(),
        "names in /dev",
        format!("{} of {} are not the sandbox's", more.len(), names.len()),
    );
    for name in [
        "fuse",
        "kvm",
        "loop-control",
        "loop0",
        "net/tun",
        "vhost-net",
        "vhost-vsock",
        "vsock",
        "btrfs-control",
        "mem",
        "kmsg",
        "hwrng",
        "rtc0",
        "snapshot",
        "uinput",
        "userfaultfd",
        "vda",
        "sda",
        "nvme0",
        "mapper/control",
        "dri",
        "snd",
        "mqueue",
        "hugepages",
        "autofs",
        "cpu/0/msr",
    ] {
        attack.absent(&format!("/dev/{name}"), fs::symlink_metadata(format!("/dev/{name}")));
    }
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let found = fs::metadata(format!("/dev/{name}")).map(|found| found.file_type().is_char_device());
        attack.say(matches!(found, Ok(true)), &format!("/dev/{name} is a device"), format!("{found:?}"));
    }
    attack.fails("make a file in /dev", fs::write("/dev/anneal-attack", ""));
    attack.fails("remove a device", fs::remove_file("/dev/anneal-attack-none"));
}
