//! A build root: the packages of a lock, unpacked over each other, and the few files made by hand.
//!
//! No package's script runs. What those scripts would have done and builds need is done here: the
//! merged directories, the names `cc`, `c++`, `awk`, `yacc`, `automake`, `aclocal` and `which`,
//! users, hosts, the empty directories that a sandbox mounts on, and the musl loader's address and
//! search path, which lead into `/sysroot`, where a build's dependencies are mounted. Each package's
//! digest is checked as it is read. The same lock gives the same tree, byte for byte, mode for mode
//! and second for second.

use crate::{
    BuildRootLock, Error, LockedPackage,
    beneath::Beneath,
    unpack::{MERGED, Unpacked, Unpacker},
};
use anneal_content::BlobHasher;
use std::{
    fs, io,
    io::Read,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// What the build root that Anneal ships is asked to hold; apt adds what these depend on.
pub const BUILD_ROOT_PACKAGES: [&str; 32] = [
    "autoconf",
    "automake",
    "base-files",
    "bash",
    "bc",
    "binutils",
    "bison",
    "bzip2",
    "coreutils",
    "dash",
    "diffutils",
    "file",
    "findutils",
    "flex",
    "g++",
    "gawk",
    "gcc",
    "gettext-base",
    "grep",
    "gzip",
    "libc-bin",
    "libtool",
    "linux-libc-dev",
    "m4",
    "make",
    "patch",
    "perl",
    "pkg-config",
    "sed",
    "tar",
    "unzip",
    "xz-utils",
];

/// Directories that are mounted on, or that programs expect.
const DIRECTORIES: [&str; 12] =
    ["build", "dev", "etc", "home", "out", "proc", "root", "run", "src", "sys", "sysroot", "tmp"];

/// Names that a package's script would have chosen, and what each stands for; made where that exists.
const ALTERNATIVES: [(&str, &str); 7] = [
    ("aclocal", "aclocal-1.16"),
    ("automake", "automake-1.16"),
    ("awk", "gawk"),
    ("c++", "g++"),
    ("cc", "gcc"),
    ("which", "which.debianutils"),
    ("yacc", "bison.yacc"),
];

/// Files that an installer would have written.
const FILES: [(&str, &str); 6] = [
    ("etc/group", "root:x:0:\nbuild:x:1000:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/ld-musl-x86_64.path", "/sysroot/lib\n/sysroot/usr/lib\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n"),
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nbuild:x:1000:1000:build:/build:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    ("etc/resolv.conf", ""),
];

/// Where a program linked against musl finds its loader, and where that leads.
const MUSL_LOADER: (&str, &str) = ("usr/lib/ld-musl-x86_64.so.1", "/sysroot/lib/ld-musl-x86_64.so.1");

/// Opens the bytes of a locked package, wherever they are kept.
pub type OpenPackage<'a> = dyn Fn(&LockedPackage) -> io::Result<Box<dyn Read + Send>> + Sync + 'a;

/// Unpacks a lock's packages into `dest`, which must be empty or missing, with up to `threads` threads.
///
/// After an error `dest` holds a part of the tree and is to be removed.
pub fn assemble_build_root(
    lock: &BuildRootLock,
    open: &OpenPackage<'_>,
    dest: &Path,
    threads: usize,
) -> Result<Unpacked, Error> {
    let beneath = empty_directory(dest)?;
    for name in MERGED {
        let made =
            beneath.directory(&format!("usr/{name}")).and_then(|()| beneath.symlink(name, &format!("usr/{name}")));
        made.map_err(|source| Error::Write { root: dest.to_owned(), entry: name.to_owned(), source })?;
    }
    let mut total = unpack_all(lock, open, dest, &beneath, threads)?;
    total.add(by_hand(dest, &beneath)?);
    beneath.finish().map_err(|source| Error::Write { root: dest.to_owned(), entry: ".".to_owned(), source })?;
    Ok(total)
}

fn empty_directory(dest: &Path) -> Result<Beneath, Error> {
    let write = |source| Error::Write { root: dest.to_owned(), entry: ".".to_owned(), source };
    fs::create_dir_all(dest).map_err(write)?;
    if let Some(found) = fs::read_dir(dest).map_err(write)?.next() {
        let found = found.map_err(write)?.file_name().to_string_lossy().into_owned();
        return Err(Error::NotEmpty { path: dest.to_owned(), found });
    }
    fs::set_permissions(dest, std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(write)?;
    Beneath::open(dest).map_err(write)
}

/// The largest packages first, so that no thread is left with one of them at the end.
fn unpack_all(
    lock: &BuildRootLock,
    open: &OpenPackage<'_>,
    dest: &Path,
    beneath: &Beneath,
    threads: usize,
) -> Result<Unpacked, Error> {
    let mut queue: Vec<&LockedPackage> = lock.packages.iter().collect();
    queue.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let result = Mutex::new(Ok(Unpacked::default()));
    let worker = || {
        while !failed.load(Ordering::Relaxed) {
            let Some(package) = queue.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            let unpacked = unpack_one(package, open, dest, beneath);
            let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
            match (&mut *result, unpacked) {
                (Ok(total), Ok(unpacked)) => total.add(unpacked),
                (Ok(_), Err(error)) => {
                    failed.store(true, Ordering::Relaxed);
                    *result = Err(error);
                }
                (Err(_), _) => {}
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.clamp(1, queue.len().max(1)) {
            scope.spawn(worker);
        }
        worker();
    });
    result.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn unpack_one(
    package: &LockedPackage,
    open: &OpenPackage<'_>,
    dest: &Path,
    beneath: &Beneath,
) -> Result<Unpacked, Error> {
    let read = |source| Error::PackageRead { package: package.name.clone(), source };
    let mut reader = Hashing { inner: open(package).map_err(read)?, hasher: BlobHasher::new() };
    let unpacked = Unpacker { package: &package.name, dest, beneath }.deb(&mut reader);
    // What is wrong with the bytes is told by their digest first, and by what they broke only after it.
    io::copy(&mut (&mut reader).take(crate::lock::MAX_PACKAGE_BYTES), &mut io::sink()).map_err(read)?;
    let (found, _) = reader.hasher.finish();
    if found != package.sha256 {
        return Err(Error::PackageDigest { package: package.name.clone(), expected: package.sha256, found });
    }
    unpacked
}

struct Hashing {
    inner: Box<dyn Read + Send>,
    hasher: BlobHasher,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

fn by_hand(dest: &Path, beneath: &Beneath) -> Result<Unpacked, Error> {
    let at = |entry: &str| {
        let entry = entry.to_owned();
        move |source| Error::Write { root: dest.to_owned(), entry, source }
    };
    let mut total = Unpacked::default();
    for path in DIRECTORIES {
        beneath.directory(path).map_err(at(path))?;
    }
    for (path, text) in FILES {
        let bytes = beneath.file(path, false, &mut text.as_bytes()).map_err(at(path))?;
        total.add(Unpacked { files: 1, bytes });
    }
    for (name, stands_for) in ALTERNATIVES {
        if dest.join("usr/bin").join(stands_for).symlink_metadata().is_ok() {
            let path = format!("usr/bin/{name}");
            beneath.symlink(&path, stands_for).map_err(at(&path))?;
            total.files += 1;
        }
    }
    beneath.symlink(MUSL_LOADER.0, MUSL_LOADER.1).map_err(at(MUSL_LOADER.0))?;
    total.add(Unpacked { files: 1 + MERGED.len() as u64, bytes: 0 });
    Ok(total)
}

#[cfg(test)]
mod tests;
