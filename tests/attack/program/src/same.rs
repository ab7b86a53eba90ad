//! What must be the same in each run, whatever the host: whoever runs these compares the values of two runs.

use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::call::{address, address_mut, raw, status};
use crate::report::Attack;

/// P80: what a build can learn of where it runs.
pub(crate) fn surroundings(attack: &Attack) {
    let mut fields = [0u8; 65 * 6];
    let _ = raw(libc::SYS_uname, &[address_mut(&mut fields)]);
    for (at, name) in ["sysname", "nodename", "release", "version", "machine", "domainname"].iter().enumerate() {
        let field = fields.get(at * 65..).unwrap_or_default();
        let text = CStr::from_bytes_until_nul(field).unwrap_or_default().to_string_lossy();
        // Release and version come from the kernel itself; the result of a run records them.
        if !matches!(*name, "release" | "version") {
            attack.value(name, text);
        }
    }
    for path in [
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/domainname",
        "/proc/sys/kernel/random/boot_id",
        "/proc/sys/kernel/osrelease",
        "/proc/sys/kernel/version",
        "/proc/cpuinfo",
        "/proc/meminfo",
        "/proc/loadavg",
        "/proc/uptime",
        "/proc/stat",
        "/proc/version",
        "/proc/cmdline",
        "/proc/filesystems",
        "/proc/self/cgroup",
        "/etc/machine-id",
    ] {
        let text = fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
        attack.value(path, format!("{} bytes, sum {}", text.len(), text.bytes().map(u64::from).sum::<u64>()));
    }
    for field in ["Uid", "Gid", "Groups", "Pid", "PPid", "Umask", "SigBlk", "SigIgn", "Cpus_allowed"] {
        // Which processors is up to the host, how many is not.
        let value = status(field);
        let count = |text: &str| text.chars().filter_map(|c| c.to_digit(16)).map(u32::count_ones).sum::<u32>();
        attack.value(field, if field == "Cpus_allowed" { count(&value).to_string() } else { value });
    }
    for (resource, name) in [
        (libc::RLIMIT_CORE, "core"),
        (libc::RLIMIT_NOFILE, "open files"),
        (libc::RLIMIT_NPROC, "processes"),
        (libc::RLIMIT_STACK, "stack"),
        (libc::RLIMIT_MEMLOCK, "locked"),
    ] {
        let mut limits = [0u64; 2];
        let _ = raw(libc::SYS_prlimit64, &[0, resource.into(), 0, address_mut(&mut limits)]);
        attack.value(&format!("limit of {name}"), format!("{limits:?}"));
    }
    let order: Vec<String> = fs::read_dir("/")
        .map(|dir| dir.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    attack.value("order of /", order.join(" "));
    attack
        .value("working directory", std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default());
    let mut variables: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    variables.sort();
    attack.value("environment", variables.join(" "));
    for fd in 0..3 {
        let kind = fs::metadata(format!("/proc/self/fd/{fd}")).map(|found| found.mode() & 0o170_000);
        attack.value(&format!("kind of descriptor {fd}"), format!("{kind:?}"));
    }
}

/// P48: what an output could name of the host. Its name in a table of mounts is known; then nothing may be there.
pub(crate) fn paths_of_the_host(attack: &Attack) {
    let stage = attack.text("stage");
    let variables = std::env::vars().map(|(name, value)| format!("{name}={value}"));
    attack.say(!variables.collect::<String>().contains(stage), "a variable names the host's directory", "looked at");
    let linked = |path: &str| fs::read_link(path).map(|to| to.display().to_string()).unwrap_or_default();
    for path in ["/proc/self/exe", "/proc/self/cwd", "/proc/self/root", "/proc/self/fd/0", "/proc/self/fd/1"] {
        let to = linked(path);
        attack.say(!to.contains(stage), &format!("{path} names it"), if to.is_empty() { "no link" } else { "a link" });
    }
    for path in ["/proc/self/maps", "/proc/self/environ", "/proc/self/mounts"] {
        let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        attack.say(!text.contains(stage), &format!("{path} names it"), format!("{} bytes", text.len()));
    }
    // The place of a bind mount in its file system can't be masked: where the table names it, the name leads nowhere.
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let named: Vec<&str> = table.split([' ', ',', '=']).filter(|word| word.contains(stage)).collect();
    for path in named.iter().copied().chain([attack.text("canary"), attack.text("closed")]) {
        attack.absent("find what a name of the host leads to", fs::symlink_metadata(path));
    }
}

/// P81: clocks that count from boot begin with the run. The clock on the wall is the real one; a result records it.
pub(crate) fn clocks(attack: &Attack) {
    for (name, clock) in [("monotonic", libc::CLOCK_MONOTONIC), ("boot", libc::CLOCK_BOOTTIME)] {
        let mut time = [0i64; 2];
        let _ = raw(libc::SYS_clock_gettime, &[clock.into(), address_mut(&mut time)]);
        let [seconds, _] = time;
        attack.say((0..10).contains(&seconds), &format!("the {name} clock began with the run"), format!("{seconds} s"));
    }
    let shown = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let up = shown.split('.').next().and_then(|text| text.parse::<u64>().ok());
    attack.say(up.is_some_and(|up| up < 10), "uptime", shown.trim());
    let ticks = raw(libc::SYS_times, &[0]).unwrap_or(i64::MAX);
    attack.say((0..1000).contains(&ticks), "times", format!("{ticks} ticks"));
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    attack.say(wall > 1_500_000_000, "the clock on the wall is real", if wall > 1_500_000_000 { "yes" } else { "no" });
}

/// P82: where the kernel puts the parts of a program.
pub(crate) fn addresses(attack: &Attack) {
    let here = 0u8;
    attack.value("stack", format!("{:x}", address(&here) >> 12));
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for part in ["[heap]", "[stack]", "[vdso]"] {
        let line = maps.lines().find(|line| line.ends_with(part)).unwrap_or_default();
        attack.value(part, line.split('-').next().unwrap_or_default());
    }
    let mapped = raw(libc::SYS_mmap, &[0, 4096, 0, i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS), -1, 0]);
    attack.value("a new mapping", format!("{mapped:x?}"));
}
