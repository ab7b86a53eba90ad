//! What a failed operation means to the one who wrote the spec or runs the host.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anneal_sandbox_op::Failure;

use crate::{Error, MountSource, Spec, Staging};

/// Turns a report of the init program into an error that says what to do.
pub(super) fn explain(spec: &Spec, failure: Failure) -> Error {
    let Failure { index, op, call, errno } = failure;
    let source = if errno == 0 { io::Error::other(call.clone()) } else { io::Error::from_raw_os_error(errno) };
    if call == "execve" && errno == libc::E2BIG {
        let (argv, env) = (bytes(spec.argv.iter()), bytes(spec.env.iter().flat_map(|(name, value)| [name, value])));
        return Error::Spec {
            field: if argv >= env { "argv" } else { "env" }.to_owned(),
            found: format!("{argv} bytes of arguments and {env} of environment"),
            expected: "both together in less than a quarter of the stack, which is 2 MiB; put more into a file",
        };
    }
    if call == "execve" {
        return Error::Exec { program: spec.argv.first().cloned().unwrap_or_default(), source };
    }
    if call.starts_with("chdir ") {
        return Error::Spec {
            field: "cwd".to_owned(),
            found: spec.cwd.display().to_string(),
            expected: "a directory that is there in the sandbox",
        };
    }
    if matches!(errno, libc::EPERM | libc::EACCES | libc::ENOSPC | libc::EUSERS) {
        let root = nix::unistd::geteuid().is_root();
        if let Some(setting) = forbidding_setting(root, call == "clone", &|path| fs::read_to_string(path).ok()) {
            return Error::NamespacesForbidden { setting, source };
        }
    }
    match misplaced(spec, &op, errno) {
        Some((field, at, expected)) => {
            // What the init program has open says nothing to anyone.
            let call = call.split(" (/proc/self/fd").next().unwrap_or_default().to_owned();
            Error::Mount { field, at, expected, call, source }
        }
        None => Error::Operation { index, op, call, source },
    }
}

fn bytes<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    texts.map(|text| text.len() + 1).sum()
}

/// The field of the spec that an operation which made a mount failed for, its place, and what should be there; nothing
/// where it is not the spec's fault.
fn misplaced(spec: &Spec, op: &str, errno: i32) -> Option<(String, PathBuf, &'static str)> {
    let kind = op.split(' ').next()?;
    let made = |at: &Path| {
        let at = format!("{:?}", at.to_str().unwrap_or_default());
        let said = match kind {
            "bind" => format!(" at {at}"),
            "copy" => format!(" to {at} "),
            _ => format!("{kind} {at}"),
        };
        op.contains(&said)
    };
    let mounts = || spec.mounts.iter().enumerate();
    let found = mounts().find(|(_, mount)| made(&mount.at)).map(|(index, mount)| (index, &mount.source, &mount.at));
    let at = found.map_or_else(|| PathBuf::from("/"), |(_, _, at)| at.clone());
    let field = |name: &str| found.map_or_else(|| "root".to_owned(), |(index, _, _)| format!("mounts[{index}].{name}"));
    let is_known = found.is_some() || made(Path::new("/"));
    match (kind, errno) {
        ("copy", libc::ENOSPC) if spec.staging != Staging::InPlace && is_known => {
            let expected = "bytes and inodes that a copy of these trees fits in";
            Some(("staging".to_owned(), at, expected))
        }
        ("bind" | "tmpfs" | "overlay" | "copy" | "directory" | "file", libc::ENOTDIR) if found.is_some() => {
            Some((field("at"), at, "a place where everything above is a directory in the trees that are there"))
        }
        ("bind" | "tmpfs" | "overlay" | "copy" | "directory" | "file", libc::ELOOP) if found.is_some() => {
            Some((field("at"), at, "a place without symbolic links of a tree on the way; name the one they lead to"))
        }
        ("bind", libc::EINVAL) if matches!(found, Some((_, MountSource::File(_), _))) => {
            Some((field("at"), at, "a place that is a file or absent, since a file goes over no directory"))
        }
        ("overlay", libc::EINVAL | libc::EPERM | libc::ELOOP | libc::EREMOTE) if is_known => {
            let expected = "directories that an overlay can show, which none with other mounts of the host in it is";
            Some((field("source"), at, expected))
        }
        _ => None,
    }
}

/// The kinds of namespaces whose number the host may limit, each user namespace on the way down counting.
const COUNTED: &[&str] = &["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"];

/// The setting of this host that forbids namespaces, with the value it should have. Where no setting does and it was the
/// making of the namespaces that failed, what else it may be.
fn forbidding_setting(root: bool, at_clone: bool, read: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let is = |path: &str, value: &str| read(path).is_some_and(|text| text.trim() == value);
    if let Some(kind) = COUNTED.iter().find(|kind| is(&format!("/proc/sys/user/max_{kind}_namespaces"), "0")) {
        return Some(format!("user.max_{kind}_namespaces is 0; set it to 10000 or more with sysctl"));
    }
    // The superuser is exempt from these two.
    if !root && is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return Some("kernel.unprivileged_userns_clone is 0; set it to 1 with sysctl, or run as root".to_owned());
    }
    if !root && is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        let setting = "kernel.apparmor_restrict_unprivileged_userns is 1; set it to 0 with sysctl, give the program an \
                       AppArmor profile that allows userns, or run as root";
        return Some(setting.to_owned());
    }
    if at_clone && read("/proc/self/mountinfo").is_some_and(|table| in_chroot(&table)) {
        return Some(
            "this process is in a chroot, where the kernel makes none; run it outside, or use pivot_root".into(),
        );
    }
    at_clone.then(|| {
        "the container or security policy around this process denies them; allow clone with CLONE_NEWUSER".to_owned()
    })
}

/// Whether the root of this process is no mount point, as it is for every process outside a chroot.
fn in_chroot(table: &str) -> bool {
    !table.is_empty() && !table.lines().any(|line| line.split(' ').nth(4) == Some("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "21 1 8:1 / / rw - ext4 a rw\n22 21 0:5 / /proc rw - proc proc rw\n";
    const CHROOT: &str = "22 21 0:5 / /proc rw - proc proc rw\n";

    #[test]
    fn the_setting_that_forbids_namespaces_is_named() {
        for (path, value, name) in [
            ("/proc/sys/user/max_user_namespaces", "0\n", "user.max_user_namespaces"),
            ("/proc/sys/user/max_net_namespaces", "0\n", "user.max_net_namespaces"),
            ("/proc/sys/kernel/unprivileged_userns_clone", "0\n", "kernel.unprivileged_userns_clone"),
            ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "kernel.apparmor_restrict"),
        ] {
            let read = |asked: &str| (asked == path).then(|| value.to_owned());
            let named = |root| forbidding_setting(root, false, &read).is_some_and(|setting| setting.contains(name));
            assert!(named(false), "{name}");
            assert_eq!(named(true), name.starts_with("user."), "{name}: the superuser is exempt from some");
        }
        assert_eq!(forbidding_setting(false, false, &|_| Some("1000\n".to_owned())), None);
    }

    #[test]
    fn a_chroot_is_told_from_a_policy() {
        let told = |table: &'static str| {
            let read = |asked: &str| (asked == "/proc/self/mountinfo").then(|| table.to_owned());
            forbidding_setting(true, true, &read).unwrap_or_default()
        };
        assert!(told(CHROOT).contains("chroot"));
        assert!(told(PLAIN).contains("policy"));
        assert!(told("").contains("policy"));
    }
}
