//! Each thing that a tree can't hold, by its path and with a reason.

use crate::{chmod, digest, output, put};
use anneal_capture::{IngestRules, digest_dir};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::stat::{Mode, SFlag, makedev, mknod},
    unistd::{geteuid, mkfifo},
};
use rustix::fs::{XattrFlags, lsetxattr};
use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink, net::UnixListener},
    path::Path,
};

#[track_caller]
fn check(make: impl Fn(&Path), named: &str, why: &str) {
    let (_dir, out) = output();
    digest(&out).unwrap();
    make(&out);
    let text = digest(&out).unwrap_err();
    assert!(text.contains(named) && text.contains(why), "{text}");
}

fn is_root(what: &str) -> bool {
    if !geteuid().is_root() {
        println!("skipped: {what} needs root");
    }
    geteuid().is_root()
}

#[test]
fn an_output_that_is_a_symbolic_link_is_refused_and_not_followed() {
    let (dir, out) = output();
    let link = dir.path().join("link");
    symlink(&out, &link).unwrap();
    let text = digest(&link).unwrap_err();
    assert!(text.contains(&format!("`{}`", link.display())) && text.contains("symbolic link"), "{text}");
    assert!(digest(&out.join("usr/fine")).unwrap_err().contains("not a directory"));
    assert!(digest(&out.join("absent")).unwrap_err().contains("absent"));
}

#[test]
fn what_is_neither_file_directory_nor_link_is_refused() {
    check(|out| drop(UnixListener::bind(out.join("usr/sock")).unwrap()), "`usr/sock`", "a socket");
    check(|out| mkfifo(&out.join("usr/pipe"), Mode::S_IRUSR).unwrap(), "`usr/pipe`", "a fifo");
    if !is_root("a device") {
        return;
    }
    for kind in [SFlag::S_IFCHR, SFlag::S_IFBLK] {
        let node = move |out: &Path| mknod(&out.join("usr/node"), kind, Mode::S_IRUSR, makedev(7, 7));
        if node(tempfile::tempdir().unwrap().path()).err() == Some(nix::errno::Errno::EPERM) {
            println!("skipped: this system lets nobody make a device");
            return;
        }
        check(|out| node(out).unwrap(), "`usr/node`", "a device");
    }
}

#[test]
fn set_id_bits_are_refused_everywhere_and_sticky_on_files() {
    for mode in [0o4755, 0o2755, 0o6755, 0o1644] {
        check(|out| chmod(&out.join("usr/fine"), mode), "`usr/fine`", &format!("{mode:04o}"));
    }
    check(|out| chmod(&out.join("usr"), 0o2755), "`usr`", "2755");
    check(|out| chmod(out, 0o2755), "`.`", "2755");
    let (_dir, out) = output();
    chmod(&out.join("usr"), 0o1777);
    digest(&out).unwrap();
}

#[test]
fn a_mode_that_keeps_its_owner_out_is_refused_whoever_reads() {
    for mode in [0o000, 0o100, 0o044, 0o233] {
        check(|out| chmod(&out.join("usr/fine"), mode), "`usr/fine`", "0400");
    }
    for mode in [0o000, 0o400, 0o100] {
        check(|out| chmod(&out.join("usr"), mode), "`usr`", "0500");
    }
    check(|out| chmod(out, 0o000), if geteuid().is_root() { "`.`" } else { "/out" }, "");
}

#[test]
fn extended_attributes_are_refused_on_files_directories_the_output_and_links() {
    let set = |path: &Path, name: &str| lsetxattr(path, name, b"x", XattrFlags::empty());
    let (_dir, out) = output();
    if set(&out, "user.note").is_err() {
        println!("skipped: this file system has no extended attributes");
        return;
    }
    check(|out| set(&out.join("usr/fine"), "user.note").unwrap(), "`usr/fine`", "`user.note`");
    check(|out| set(&out.join("usr"), "user.note").unwrap(), "`usr`", "`user.note`");
    check(|out| set(out, "user.note").unwrap(), "`.`", "`user.note`");
    // A user may put an access list on a file: other permissions than its mode shows.
    let acl = [
        2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 1, 0, 0, 0, 4, 0, 0, 0, 255, 255, 255, 255, 16, 0, 7,
        0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
    ];
    let listed = |out: &Path| lsetxattr(out.join("usr/fine"), "system.posix_acl_access", &acl, XattrFlags::empty());
    if listed(&out).is_ok() {
        check(|out| listed(out).unwrap(), "`usr/fine`", "posix_acl_access");
    }
    let link = |out: &Path| symlink("fine", out.join("usr/link")).unwrap();
    link(&out);
    if !is_root("an attribute of a link") || set(&out.join("usr/link"), "trusted.note").is_err() {
        return;
    }
    let marked = |out: &Path| {
        link(out);
        set(&out.join("usr/link"), "trusted.note").unwrap();
    };
    check(marked, "`usr/link`", "`trusted.note`");
    let capability = [1, 0, 0, 2, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let give =
        |out: &Path| lsetxattr(out.join("usr/fine"), "security.capability", &capability, XattrFlags::empty()).unwrap();
    check(give, "`usr/fine`", "`security.capability`");
}

#[test]
fn names_that_would_mean_something_else_in_an_image_are_refused() {
    let odd = |name: &'static [u8]| {
        move |out: &Path| fs::write(out.join("usr").join(std::ffi::OsStr::from_bytes(name)), "").unwrap()
    };
    check(odd(b".wh.fine"), "`usr/.wh.fine`", "deletion");
    check(odd(b".wh..wh..opq"), "`usr/.wh..wh..opq`", "deletion");
    check(odd(b"caf\xe9"), r"`usr/caf\xe9`", "UTF-8");
    check(odd(b"new\nline"), r"`usr/new\nline`", "control");
    check(odd("a\u{202e}b".as_bytes()), r"`usr/a\xe2\x80\xaeb`", "turn");
    check(|out| fs::create_dir(out.join("usr/.wh.d")).unwrap(), "`usr/.wh.d`", "deletion");
    check(|out| symlink("x", out.join("usr/.wh.l")).unwrap(), "`usr/.wh.l`", "deletion");
    check(|out| symlink("a\nb", out.join("usr/link")).unwrap(), "`usr/link`", r"a\nb");
}

#[test]
fn a_file_with_a_name_elsewhere_is_refused_and_one_with_two_names_here_is_not() {
    let (dir, out) = output();
    fs::hard_link(out.join("usr/fine"), out.join("usr/again")).unwrap();
    digest(&out).unwrap();
    put(dir.path(), "other/file", b"another's");
    fs::hard_link(dir.path().join("other/file"), out.join("usr/theirs")).unwrap();
    let text = digest(&out).unwrap_err();
    assert!(text.contains("`usr/theirs`") && text.contains("2 names"), "{text}");
    digest_dir(&out, &IngestRules::of_a_materialized_tree()).unwrap();
    fs::remove_file(dir.path().join("other/file")).unwrap();
    digest(&out).unwrap();
}

#[test]
fn a_hole_counts_as_its_length_and_is_refused_before_it_is_read() {
    let (_dir, out) = output();
    let hole = fs::File::create(out.join("usr/hole")).unwrap();
    if hole.set_len(1 << 43).is_err() {
        println!("skipped: this file system has no files of 8 TiB");
        return;
    }
    let begun = std::time::Instant::now();
    let text = digest(&out).unwrap_err();
    assert!(text.contains("`usr/hole`") && text.contains("limit"), "{text}");
    hole.set_len(1 << 33).unwrap();
    let rules = IngestRules { bytes_max: (1 << 33) - 1, ..IngestRules::default() };
    let text = digest_dir(&out, &rules).unwrap_err().to_string();
    assert!(text.contains("with it there are more than"), "{text}");
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}

#[test]
fn a_path_that_could_not_be_opened_again_is_refused() {
    let (_dir, out) = output();
    let mut at = fs::File::open(&out).unwrap();
    // Each step is made beneath a handle, since no call takes a path this long.
    let (name, mode) = ("d".repeat(255), rustix::fs::Mode::from_raw_mode(0o755));
    for _ in 0..17 {
        rustix::fs::mkdirat(&at, &name, mode).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        at = rustix::fs::openat(&at, &name, flags, rustix::fs::Mode::empty()).unwrap().into();
    }
    assert!(digest(&out).unwrap_err().contains("longer than 3840 bytes"));
}

#[test]
fn a_mount_in_the_output_is_refused_and_not_entered() {
    if !is_root("a mount") {
        return;
    }
    // Mounts of this thread alone.
    std::thread::spawn(|| {
        if unshare(CloneFlags::CLONE_NEWNS).is_err() {
            println!("skipped: this system lets nobody make a mount namespace");
            return;
        }
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let on_dir = |out: &Path| {
            mount(Some("x"), &out.join("usr"), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        };
        check(on_dir, "`usr`", "another file system");
        // A bind mount is on the same file system, and still not what the build left.
        let on_file = |out: &Path| {
            put(out, "source", b"x");
            mount(Some(&out.join("source")), &out.join("usr/fine"), None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .unwrap();
        };
        check(on_file, "`usr/fine`", "another file system");
    })
    .join()
    .unwrap();
}
