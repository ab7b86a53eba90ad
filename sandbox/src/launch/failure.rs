//! What a failed operation means to the one who wrote the spec or runs the host.

use std::fs;
use std::io;

use anneal_sandbox_op::Failure;

use crate::{Error, Spec};

/// Turns a report of the init program into an error that says what to do.
pub(super) fn explain(spec: &Spec, failure: Failure) -> Error {
    let Failure { index, op, call, errno } = failure;
    let source = if errno == 0 { io::Error::other(call.clone()) } else { io::Error::from_raw_os_error(errno) };
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
        if let Some(setting) = forbidding_setting(&|path| fs::read_to_string(path).ok()) {
            return Error::NamespacesForbidden { setting: setting.to_owned(), source };
        }
        if call == "clone" {
            let setting =
                "the container or security policy around this process denies them; allow clone with CLONE_NEWUSER";
            return Error::NamespacesForbidden { setting: setting.to_owned(), source };
        }
    }
    Error::Operation { index, op, call, source }
}

/// The setting of this host that forbids user namespaces, with the value it should have.
pub(crate) fn forbidding_setting(read: &dyn Fn(&str) -> Option<String>) -> Option<&'static str> {
    let is = |path: &str, value: &str| read(path).is_some_and(|text| text.trim() == value);
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return Some("user.max_user_namespaces is 0; set it to 10000 or more with sysctl");
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return Some("kernel.unprivileged_userns_clone is 0; set it to 1 with sysctl");
    }
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return Some("kernel.apparmor_restrict_unprivileged_userns is 1; set it to 0 with sysctl, or run as root");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_forbids_user_namespaces_is_named() {
        for (path, value, name) in [
            ("/proc/sys/user/max_user_namespaces", "0\n", "user.max_user_namespaces"),
            ("/proc/sys/kernel/unprivileged_userns_clone", "0\n", "kernel.unprivileged_userns_clone"),
            ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "kernel.apparmor_restrict"),
        ] {
            let read = |asked: &str| (asked == path).then(|| value.to_owned());
            assert!(forbidding_setting(&read).is_some_and(|setting| setting.contains(name)));
        }
        assert_eq!(forbidding_setting(&|_| Some("1000\n".to_owned())), None);
    }
}
