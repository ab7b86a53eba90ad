//! A directory as a payload might leave it, made from bytes; then read, compared with a plain look and made again.

use crate::check_message;
use anneal_capture::{Error, IngestRules, Sink, capture, digest_dir};
use anneal_content::{BlobDigest, BlobSource as _, EntryKind, MemoryBlobs, TreeDigest, list};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags, XattrFlags, chmodat, fsetxattr, ftruncate, linkat,
    mkdirat, mknodat, openat, openat2, renameat_with, statat, symlinkat, unlinkat,
};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{Read, Write as _},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::Path,
    sync::Mutex,
};

/// So many steps make any directory that is worth a look, and keep a run short.
const STEPS_MAX: usize = 64;
/// Few names, so that they meet; every second one is odd in its own way.
const NAMES: &[&[u8]] = &[
    b"a",
    b"b",
    b"A",
    b"usr",
    b"-rf",
    b"a.",
    b" ",
    b"\\",
    b".wh.a",
    b".wh..wh..opq",
    b"caf\xc3\xa9",
    b"cafe\xcc\x81",
    b"\xff",
    b"a\nb",
    b"\x1b[2J",
    b"\xe2\x80\xaex",
    b"\xed\xa0\x80",
    &[b'n'; 255],
];
const TARGETS: &[&[u8]] =
    &[b"a", b"..", b"../../..", b"/nowhere", b".", b"caf\xc3\xa9", b"\xff", b"a\nb", b"\xe2\x80\xae", &[b't'; 4095]];
const MODES: &[u32] =
    &[0o644, 0o755, 0o600, 0o777, 0o444, 0o500, 0o711, 0o1777, 0o1644, 0o000, 0o4755, 0o2755, 0o6000, 0o111];
const ATTRIBUTES: &[&str] = &["user.a", "user.overlay.opaque", "trusted.a", "security.a", "security.selinux"];

/// What is in a directory, by path: kind, mode, and bytes or target.
type Plain = BTreeMap<Vec<u8>, (char, u32, Vec<u8>)>;

pub(crate) fn output_reader(input: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(dir.path().join("host"), "a file of the host").unwrap();
    make(&out, dir.path(), input);
    let kept = Kept::default();
    let rules = IngestRules::default();
    let read = capture(&out, &rules, &kept);
    let (plain, refusable) = look(&out);
    match (read, digest_dir(&out, &rules)) {
        (Ok(tree), Ok(again)) => {
            assert_eq!(tree, again, "read twice, it is not the same");
            assert!(refusable.is_none(), "taken, although {refusable:?}");
            check_tree(&tree, &kept.0.into_inner().unwrap(), plain, dir.path());
        }
        (Err(error), Err(again)) => {
            assert!(refusable.is_some(), "nothing is wrong with it: {error}");
            check_message(&error);
            check_message(&again);
            match error {
                Error::Refused { path, reason } => assert!(!path.is_empty() && !reason.is_empty()),
                Error::TooLong { path, .. } => assert!(!path.is_empty()),
                Error::Io { path, source, .. } => panic!("{}: {source}", path.display()),
            }
        }
        (read, again) => panic!("once {read:?}, then {again:?}"),
    }
}

/// The tree has what a plain look sees, and a directory made from it has the same digest.
fn check_tree(tree: &TreeDigest, blobs: &MemoryBlobs, plain: Plain, dir: &Path) {
    let again = dir.join("again");
    fs::create_dir(&again).unwrap();
    let mut found = Plain::new();
    let entries = list(tree, blobs).unwrap();
    for entry in &entries {
        let (at, name) = (again.join(entry.path.as_str()), entry.path.as_str().as_bytes().to_vec());
        match &entry.kind {
            EntryKind::Directory => {
                fs::create_dir(&at).unwrap();
                found.insert(name, ('d', entry.mode, vec![]));
            }
            EntryKind::Symlink { target } => {
                std::os::unix::fs::symlink(target, &at).unwrap();
                found.insert(name, ('l', 0o777, target.as_bytes().to_vec()));
            }
            EntryKind::File { digest, size } => {
                let bytes = blobs.read(digest).unwrap();
                assert_eq!(bytes.len() as u64, *size);
                fs::write(&at, &bytes).unwrap();
                found.insert(name, ('f', entry.mode, bytes));
            }
        }
    }
    assert!(found == plain, "the tree has {:?}, the directory {:?}", found.keys(), plain.keys());
    for entry in entries.iter().rev().filter(|entry| !matches!(entry.kind, EntryKind::Symlink { .. })) {
        let mode = Mode::from_raw_mode(entry.mode);
        chmodat(CWD, again.join(entry.path.as_str()), mode, AtFlags::empty()).unwrap();
    }
    assert_eq!(digest_dir(&again, &IngestRules::default()).unwrap(), *tree, "made again, it is another");
}

/// Keeps what is read.
#[derive(Default)]
struct Kept(Mutex<MemoryBlobs>);

impl Sink for Kept {
    type Error = Error;

    fn add_file(
        &self,
        content: &mut dyn Read,
        from: &Path,
        _limit: u64,
        _mode: u32,
    ) -> Result<(BlobDigest, u64), Error> {
        let (mut bytes, path) = (Vec::new(), from.to_owned());
        content.read_to_end(&mut bytes).map_err(|source| Error::Io { operation: "read", path, source })?;
        let size = bytes.len() as u64;
        Ok((self.0.lock().unwrap().insert(bytes), size))
    }

    fn add_directory(&self, bytes: &[u8]) -> Result<(), Error> {
        self.0.lock().unwrap().insert(bytes);
        Ok(())
    }
}

/// A look without any of the reader's code: what is there, and a reason to refuse it, if there is one.
fn look(out: &Path) -> (Plain, Option<String>) {
    let (mut plain, mut reason) = (Plain::new(), None);
    let mut links: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut todo = vec![(out.to_owned(), Vec::new())];
    while let Some((path, name)) = todo.pop() {
        if name.split(|byte| *byte == b'/').count() > 64 || name.len() > 3840 {
            // No path leads to what is in it.
            reason = reason.or(Some("too deep or too long".to_owned()));
            continue;
        }
        let found = fs::symlink_metadata(&path).unwrap();
        let (mode, kind) = (found.mode() & 0o7777, FileType::from_raw_mode(found.mode()));
        let mut bad = |what: &str| reason = reason.take().or(Some(format!("{}: {what}", path.display())));
        let last = path.file_name().unwrap().as_bytes();
        let text = std::str::from_utf8(last);
        if !name.is_empty() && text.is_err() {
            bad("not UTF-8");
        }
        if !name.is_empty() && text.is_ok_and(|t| t.starts_with(".wh.") || t.chars().any(|c| c.is_control())) {
            bad("an odd name");
        }
        if last.windows(3).any(|window| window == "\u{202e}".as_bytes()) {
            bad("a name that turns");
        }
        if mode & 0o6000 != 0 {
            bad("set-id");
        }
        if has_attributes(&path) {
            bad("an attribute");
        }
        let needed = if kind == FileType::Directory { 0o500 } else { 0o400 };
        if kind != FileType::Symlink && mode & needed != needed {
            bad("its owner is kept out");
        }
        match kind {
            FileType::Directory => {
                if !name.is_empty() {
                    plain.insert(name.clone(), ('d', mode, vec![]));
                }
                // Root can list it anyway; for others it is refused already.
                for entry in fs::read_dir(&path).into_iter().flatten() {
                    let entry = entry.unwrap();
                    let mut inner = name.clone();
                    inner.extend((!name.is_empty()).then_some(b'/'));
                    inner.extend(entry.file_name().as_bytes());
                    todo.push((entry.path(), inner));
                }
            }
            FileType::Symlink => {
                let target = fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec();
                match std::str::from_utf8(&target) {
                    Ok(text) if !text.chars().any(|c| c.is_control() || c == '\u{202e}') => {}
                    _ => bad("an odd target"),
                }
                plain.insert(name, ('l', 0o777, target));
            }
            FileType::RegularFile => {
                if mode & 0o1000 != 0 {
                    bad("a sticky file");
                }
                let seen = links.entry(found.ino()).or_insert((found.nlink(), 0));
                seen.1 += 1;
                plain.insert(name, ('f', mode, fs::read(&path).unwrap_or_default()));
            }
            _ => bad("neither file, directory nor link"),
        }
    }
    if links.values().any(|(all, seen)| all != seen) {
        reason = reason.or(Some("a name elsewhere".to_owned()));
    }
    (plain, reason)
}

fn has_attributes(path: &Path) -> bool {
    let mut names = vec![0; 4096];
    let len = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap_or(0);
    names.truncate(len);
    names.split(|byte| *byte == 0).any(|name| !name.is_empty() && name != b"security.selinux")
}

/// Bytes as decisions; when they are used up, each is 0.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.next() % all.len()]
    }
}

/// Carries out the steps that the bytes say; what can't be done is left out. Nothing outside of `out` is touched: every
/// step is taken beneath a handle, and no link is followed.
fn make(out: &Path, host: &Path, input: &[u8]) {
    let root = openat(CWD, out, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let mut choices = Choices(input);
    for _ in 0..STEPS_MAX {
        if choices.0.is_empty() {
            break;
        }
        let step = choices.next() % 14;
        let _ = take(step, &root, host, &mut choices);
    }
}

/// A directory beneath the root, as deep as the next bytes say.
fn parent(root: &OwnedFd, choices: &mut Choices<'_>) -> rustix::io::Result<OwnedFd> {
    let mut at = open(root, OsStr::new("."))?;
    for _ in 0..choices.next() % 4 {
        at = open(&at, OsStr::from_bytes(choices.of(NAMES)))?;
    }
    Ok(at)
}

fn open(at: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(at, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

fn take(step: usize, root: &OwnedFd, host: &Path, choices: &mut Choices<'_>) -> rustix::io::Result<()> {
    let at = parent(root, choices)?;
    let name = OsStr::from_bytes(choices.of(NAMES));
    let plain = Mode::from_raw_mode(0o644);
    let file = |flags| openat(&at, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK, plain);
    match step {
        0 | 1 => mkdirat(&at, name, Mode::from_raw_mode(0o755)),
        2 | 3 => {
            let bytes = vec![b'x'; choices.next() * 7];
            fs::File::from(file(OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?)
                .write_all(&bytes)
                .map_err(|_| rustix::io::Errno::IO)
        }
        4 => symlinkat(OsStr::from_bytes(choices.of(TARGETS)), &at, name),
        5 => {
            let (other, again) = (parent(root, choices)?, OsStr::from_bytes(choices.of(NAMES)));
            linkat(&at, name, other, again, AtFlags::empty())
        }
        6 => linkat(CWD, host.join("host"), &at, name, AtFlags::empty()),
        7 => {
            let mode = Mode::from_raw_mode(choices.of(MODES));
            let kind = FileType::from_raw_mode(statat(&at, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
            if kind == FileType::Symlink { Ok(()) } else { chmodat(&at, name, mode, AtFlags::empty()) }
        }
        8 => {
            let kind = choices.of(&[FileType::Fifo, FileType::Socket, FileType::CharacterDevice]);
            mknodat(&at, name, kind, plain, rustix::fs::makedev(7, 7))
        }
        9 => fsetxattr(file(OFlags::RDONLY)?, choices.of(ATTRIBUTES), b"x", XattrFlags::empty()),
        10 => ftruncate(file(OFlags::WRONLY)?, (choices.next() as u64) << 10),
        11 => {
            let (other, again) = (parent(root, choices)?, OsStr::from_bytes(choices.of(NAMES)));
            renameat_with(&at, name, other, again, choices.of(&[RenameFlags::EXCHANGE, RenameFlags::NOREPLACE]))
        }
        12 => unlinkat(&at, name, choices.of(&[AtFlags::empty(), AtFlags::REMOVEDIR])),
        _ => {
            let mut at = at;
            for _ in 0..choices.next() % 80 {
                mkdirat(&at, name, Mode::from_raw_mode(0o755))?;
                at = open(&at, name)?;
            }
            Ok(())
        }
    }
}
