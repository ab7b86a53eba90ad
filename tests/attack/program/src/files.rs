//! Ways out through files: to those of the host, and to inputs that were given to be read.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::call::{address, address_mut, c, open_at, raw};
use crate::report::Attack;

/// P30c: a file that is the caller's alone, in a tree that is in sight. The payload must not be the caller.
pub(crate) fn private_file(attack: &Attack) {
    let path = "/src/private";
    attack.say(fs::symlink_metadata(path).is_ok(), "it is in sight", path);
    attack.denied("read it", fs::read(path));
    let own = fs::metadata("/proc/self").map(|found| found.uid()).ok();
    let owner = fs::symlink_metadata(path).map(|found| found.uid()).ok();
    attack.say(own != owner, "it belongs to another user", format!("{owner:?}, and this is {own:?}"));
}

/// P30: files that everyone on the host, or this very user, may read.
pub(crate) fn host_files(attack: &Attack) {
    attack.absent("read a canary of the host", fs::read(attack.text("canary")));
    attack.absent("list a directory of the host", fs::read_dir(attack.text("host")));
    for path in [
        "/etc/shadow",
        "/etc/passwd",
        "/root",
        "/home",
        "/var/lib/anneal",
        "/etc/anneal/config.toml",
        "/run/anneal",
        "/run/docker.sock",
        "/run/secrets",
        "/var/run/secrets",
        "/boot",
        "/lib/modules",
        "/var/log",
        "/mnt",
        "/media",
        "/srv",
        "/etc/ssh",
        "/etc/ssl/private",
    ] {
        attack.absent(path, fs::symlink_metadata(path));
    }
    for path in attack.list("closed") {
        attack.absent("another run's directory", fs::symlink_metadata(path));
    }
    let through = format!("{}/link", attack.text("scratch"));
    let _ = symlink(attack.text("canary"), &through);
    attack.absent("read the canary through a link of one's own", fs::read(&through));
}

/// P31: an input is changed by no call, by no handle and by no other name.
pub(crate) fn change_inputs(attack: &Attack) {
    let out = attack.text("out");
    for input in attack.list("inputs") {
        let say = |what: &str, result: io::Result<()>| attack.fails(&format!("{what} {input}"), result);
        let linked = format!("{out}/linked");
        let Ok(handle) = open_at(libc::AT_FDCWD, input, libc::O_PATH, 0) else {
            return attack.say(false, "find", input);
        };
        let through = format!("/proc/self/fd/{}", handle.as_raw_fd());
        say("append to", OpenOptions::new().append(true).open(input).map(drop));
        say("write through a handle of", OpenOptions::new().write(true).open(&through).map(drop));
        say("truncate through a handle of", fs::write(&through, ""));
        let (path, by_handle, new) = (c(input), c(&through), c(&linked));
        let (at, cwd) = (path.as_ptr() as i64, i64::from(libc::AT_FDCWD));
        say("truncate", raw(libc::SYS_truncate, &[at, 0]).map(drop));
        say(
            "link through a handle of",
            raw(libc::SYS_linkat, &[cwd, by_handle.as_ptr() as i64, cwd, new.as_ptr() as i64, 0x400]).map(drop),
        );
        let empty = c("");
        let fd = i64::from(handle.as_raw_fd());
        say(
            "link a handle of",
            raw(libc::SYS_linkat, &[fd, empty.as_ptr() as i64, cwd, new.as_ptr() as i64, 0x1000]).map(drop),
        );
        say("chmod", fs::set_permissions(input, fs::Permissions::from_mode(0o777)));
        say("chmod through a handle of", fs::set_permissions(&through, fs::Permissions::from_mode(0o777)));
        say("chown", raw(libc::SYS_chown, &[at, raw(libc::SYS_getuid, &[]).unwrap_or(0), -1]).map(drop));
        say("set the times of", raw(libc::SYS_utime, &[at, 0]).map(drop));
        say("set an attribute of", raw(libc::SYS_setxattr, &[at, c("user.x").as_ptr() as i64, at, 1, 0]).map(drop));
        let shared = libc::MAP_SHARED as i64;
        let mapped = File::open(input).and_then(|file| {
            raw(
                libc::SYS_mmap,
                &[0, 4096, i64::from(libc::PROT_READ | libc::PROT_WRITE), shared, file.as_raw_fd().into(), 0],
            )
        });
        say("map to write", mapped.map(drop));
        let opened = File::open(input).and_then(|file| raw(libc::SYS_fallocate, &[file.as_raw_fd().into(), 3, 0, 1]));
        say("punch a hole into", opened.map(drop));
        say("move", fs::rename(input, &linked));
        say("rename", fs::rename(input, format!("{input}.old")));
        say(
            "exchange",
            raw(libc::SYS_renameat2, &[cwd, at, cwd, c(&format!("{input}.old")).as_ptr() as i64, 2]).map(drop),
        );
        say("remove", fs::remove_file(input));
        if let Some((dir, _)) = input.rsplit_once('/').filter(|(dir, _)| !dir.is_empty()) {
            attack.fails(&format!("make a file in {dir}"), fs::write(format!("{dir}/new"), "x"));
            attack.fails(&format!("make a directory in {dir}"), fs::create_dir(format!("{dir}/dir")));
            attack.fails(
                &format!("make an unnamed file in {dir}"),
                open_at(libc::AT_FDCWD, dir, libc::O_TMPFILE | libc::O_WRONLY, 0o600),
            );
            attack.fails(&format!("chmod {dir}"), fs::set_permissions(dir, fs::Permissions::from_mode(0o777)));
        }
    }
}

/// P32: a link in an output to an input would be the same file.
pub(crate) fn link_inputs(attack: &Attack) {
    for (at, input) in attack.list("inputs").iter().enumerate() {
        for place in ["out", "scratch"] {
            let new = format!("{}/link{at}", attack.text(place));
            attack.fails(&format!("link {input} into {place}"), fs::hard_link(input, &new));
            let _ = fs::remove_file(&new);
        }
    }
}

/// P33: trees beside the declared one, whose path is known.
pub(crate) fn undeclared_trees(attack: &Attack) {
    for path in attack.list("undeclared") {
        attack.absent("read an undeclared tree by its path", fs::read(path));
        let name = path.rsplit('/').nth(1).unwrap_or_default();
        for dir in ["/src", "/both", "/"] {
            attack.absent(&format!("read it beside {dir}"), fs::read(format!("{dir}/../{name}/file")));
        }
        attack.absent("hold a handle of it", open_at(libc::AT_FDCWD, path, libc::O_PATH, 0));
        let (cwd, at) = (i64::from(libc::AT_FDCWD), c(path));
        // Links are opened by path as well: a program can't be run from there either.
        let ran = raw(libc::SYS_faccessat, &[cwd, at.as_ptr() as i64, 0]);
        attack.absent("ask for access to it", ran);
    }
}

/// P34: the place of an output stays a directory, and what is put into it leads nowhere.
pub(crate) fn replace_the_output(attack: &Attack) {
    let out = attack.text("out");
    attack.fails("remove the output", fs::remove_dir(out));
    attack.fails("rename the output", fs::rename(out, format!("{}/elsewhere", attack.text("scratch"))));
    attack.fails("put a link in its place", fs::remove_dir(out).and_then(|()| symlink("/etc", out)));
    let (cwd, other) = (i64::from(libc::AT_FDCWD), format!("{}/dir", attack.text("scratch")));
    let _ = fs::create_dir(&other);
    let (a, b) = (c(out), c(&other));
    attack.fails("exchange it", raw(libc::SYS_renameat2, &[cwd, a.as_ptr() as i64, cwd, b.as_ptr() as i64, 2]));
    // What stays behind for the reader of outputs: links out of the tree, which are taken as links or refused.
    let _ = symlink("/etc", format!("{out}/etc"));
    let _ = symlink(attack.text("canary"), format!("{out}/canary"));
    attack.absent("read the canary through a link in the output", fs::read(format!("{out}/canary")));
}

/// P46: what a build that failed has left in its output, which somebody keeps to look into it.
pub(crate) fn remains_of_a_failure(attack: &Attack) {
    if attack.arg("role") == Some("leaves") {
        let left = format!("{}/left", attack.text("out"));
        let made = fs::write(&left, "x").and_then(|()| fs::set_permissions(&left, fs::Permissions::from_mode(0o777)));
        attack.say(made.is_ok(), "leave a program that everybody may change", format!("{made:?}"));
        let set = raw(libc::SYS_chmod, &[c(&left).as_ptr() as i64, 0o6777]);
        attack.say(mode_of(&left) & 0o6000 == 0, "leave it with set-id bits", format!("{set:?}"));
        return;
    }
    let remains = attack.text("remains");
    let dir = remains.trim_end_matches("/left");
    attack.absent("read what a failed build has left", fs::read(remains));
    attack.absent("change it", OpenOptions::new().append(true).open(remains));
    attack.absent("hold a handle of it", open_at(libc::AT_FDCWD, remains, libc::O_PATH, 0));
    attack.absent("list its directory", fs::read_dir(dir));
    attack.absent("find it in one's own output", fs::symlink_metadata(format!("{}/left", attack.text("out"))));
}

/// P37: bits that let a program run as someone else.
pub(crate) fn set_user_id(attack: &Attack) {
    let cwd = i64::from(libc::AT_FDCWD);
    for place in ["out", "scratch"] {
        let file = format!("{}/file", attack.text(place));
        let made = format!("{}/made", attack.text(place));
        let _ = fs::write(&file, "x");
        let (path, new) = (c(&file), c(&made));
        let (at, new) = (path.as_ptr() as i64, new.as_ptr() as i64);
        let handle = File::open(&file).map_or(-1, |file| i64::from(std::os::fd::IntoRawFd::into_raw_fd(file)));
        for (bits, mode) in [("u+s", 0o4755), ("g+s", 0o2755), ("u+s, g+s", 0o6755)] {
            let say = |what: &str, number: i64, args: &[i64]| {
                let result = raw(number, args);
                let set = [&file, &made].iter().any(|path| mode_of(path) & 0o6000 != 0);
                let error = result.err().map_or("done".to_owned(), |error| error.to_string());
                attack.say(!set, &format!("{what} {bits} in {place}"), error);
                let _ = fs::remove_file(&made);
            };
            say("chmod", libc::SYS_chmod, &[at, mode]);
            say("fchmod", libc::SYS_fchmod, &[handle, mode]);
            say("fchmodat", libc::SYS_fchmodat, &[cwd, at, mode]);
            say("fchmodat2", 452, &[cwd, at, mode, 0]);
            say("chmod with high bits", libc::SYS_chmod, &[at, mode | 1 << 32]);
            say("open", libc::SYS_open, &[new, i64::from(libc::O_CREAT | libc::O_WRONLY), mode]);
            say("openat", libc::SYS_openat, &[cwd, new, i64::from(libc::O_CREAT | libc::O_WRONLY), mode]);
            say("creat", libc::SYS_creat, &[new, mode]);
            say("mknod", libc::SYS_mknod, &[new, i64::from(libc::S_IFREG) | mode, 0]);
            say("mknodat", libc::SYS_mknodat, &[cwd, new, i64::from(libc::S_IFREG) | mode, 0]);
            let how = [(libc::O_CREAT | libc::O_WRONLY) as u64, mode as u64, 0u64];
            say("openat2", libc::SYS_openat2, &[cwd, new, address(&how), 24]);
            say("mkfifo", libc::SYS_mknod, &[new, i64::from(libc::S_IFIFO) | mode, 0]);
        }
        let dir = format!("{}/dir", attack.text(place));
        let _ = raw(libc::SYS_mkdir, &[c(&dir).as_ptr() as i64, 0o2755]);
        attack.say(mode_of(&dir) & 0o6000 == 0, &format!("mkdir g+s in {place}"), format!("{:o}", mode_of(&dir)));
    }
}

fn mode_of(path: &str) -> u32 {
    fs::symlink_metadata(path).map_or(0, |found| found.permissions().mode())
}

/// P38: extended attributes and what is kept in them.
pub(crate) fn attributes(attack: &Attack) {
    let cwd = i64::from(libc::AT_FDCWD);
    for place in ["out", "scratch"] {
        let file = format!("{}/attributed", attack.text(place));
        let _ = fs::write(&file, "x");
        let path = c(&file);
        let at = path.as_ptr() as i64;
        let handle = File::open(&file).map_or(-1, |file| i64::from(std::os::fd::IntoRawFd::into_raw_fd(file)));
        // Version 2 of the mark of a program with capabilities: all of them, effective.
        let capabilities: [u32; 5] = [0x0200_0001, u32::MAX, 0, u32::MAX, 0];
        // An access list with one named user.
        let list: [u32; 1] = [2];
        for (name, value, size) in [
            ("user.x", address(&capabilities), 1),
            ("security.capability", address(&capabilities), 20),
            ("trusted.overlay.opaque", address(&capabilities), 1),
            ("user.overlay.opaque", address(&capabilities), 1),
            ("system.posix_acl_access", address(&list), 4),
        ] {
            let label = c(name);
            let label = label.as_ptr() as i64;
            attack.fails(&format!("set {name} in {place}"), raw(libc::SYS_setxattr, &[at, label, value, size, 0]));
            attack.fails(
                &format!("set {name} in {place}, no link"),
                raw(libc::SYS_lsetxattr, &[at, label, value, size, 0]),
            );
            attack.fails(
                &format!("set {name} in {place} by descriptor"),
                raw(libc::SYS_fsetxattr, &[handle, label, value, size, 0]),
            );
            let new = [value as u64, size as u64];
            attack.fails(
                &format!("set {name} in {place}, newest call"),
                raw(463, &[cwd, at, 0, label, address(&new), 16]),
            );
        }
        let mut names = [0u8; 64];
        attack.fails(
            &format!("list attributes in {place}"),
            raw(libc::SYS_listxattr, &[at, address_mut(&mut names), 64]),
        );
    }
}

/// P26: commands to file systems.
pub(crate) fn file_system_commands(attack: &Attack) {
    for place in ["out", "scratch"] {
        let path = format!("{}/commanded", attack.text(place));
        let _ = fs::write(&path, [7; 4096]);
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else {
            return attack.say(false, "make a file", path);
        };
        let fd = i64::from(file.as_raw_fd());
        // No dump, append only, immutable: the first needs no privilege at all.
        for (name, flags) in [("no dump", 0x40u32), ("append only", 0x20), ("immutable", 0x10)] {
            for (call, command) in [("FS_IOC_SETFLAGS", 0x4008_6602i64), ("FS_IOC32_SETFLAGS", 0x4004_6602)] {
                let set = raw(libc::SYS_ioctl, &[fd, command, address(&flags)]);
                attack.refused(&format!("{call} {name} in {place}"), set);
                let _ = raw(libc::SYS_ioctl, &[fd, command, address(&0u32)]);
            }
        }
        let attributes = [0u32, 0, 0, 77, 0, 0, 0];
        attack.refused(
            &format!("set a project in {place}"),
            raw(libc::SYS_ioctl, &[fd, 0x401c_5820, address(&attributes)]),
        );
        // These need privilege over the file system; the freeze would stop every writer of the host's disk.
        let whole = [0u64, u64::MAX, 0];
        for (name, command) in [
            ("FITRIM", 0xc018_5879_u32),
            ("FIFREEZE", 0xc004_5877),
            ("FITHAW", 0xc004_5878),
            ("FS_IOC_SHUTDOWN", 0x8004_587d),
        ] {
            let result = raw(libc::SYS_ioctl, &[fd, command.into(), address(&whole)]);
            if result.is_ok() && name == "FIFREEZE" {
                let _ = raw(libc::SYS_ioctl, &[fd, 0xc004_5878, 0]);
            }
            attack.fails(&format!("{name} in {place}"), result);
        }
        // A clone of an input is a copy: allowed or not, it must not be a way to change the input.
        for input in attack.list("inputs") {
            let Ok(source) = File::open(input) else { continue };
            let back = raw(libc::SYS_ioctl, &[source.as_raw_fd().into(), 0x4004_9409, fd]);
            attack.fails(&format!("clone from {place} over {input}"), back);
        }
    }
}
