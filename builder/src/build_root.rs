//! The build root: distribution packages of a lock, unpacked once, mounted read-only by every build.
//!
//! ```text
//! <work>/../roots/<digest of the lock>/        complete: it is renamed into place when every byte is written
//! <work>/../roots/<digest>.partial/            on its way in, or out
//! <work>/../roots/<digest>.unused              since when no lock asks for that root, milliseconds since 1970
//! ```

use crate::{Builder, Error, Progress, Result, error::io};
use anneal_content::{BlobDigest, BlobSource as _, EntryName};
use anneal_fetch::{BuildRootLock, assemble_build_root};
use anneal_recipe::Source;
use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A build root by its lock.
#[derive(Debug)]
pub struct BuildRoot {
    lock: BuildRootLock,
    digest: BlobDigest,
    dir: PathBuf,
    /// Held while the root is put together, so that this happens once.
    making: Mutex<()>,
}

impl BuildRoot {
    /// The root of this lock, kept beneath `roots`.
    pub fn new(lock: BuildRootLock, roots: &Path) -> Result<Self> {
        let digest = lock.digest().map_err(|source| Error::BuildRoot {
            lock: BlobDigest::of(lock.to_toml().as_bytes()),
            source: Box::new(source),
        })?;
        Ok(Self { dir: roots.join(digest.hex()), lock, digest, making: Mutex::new(()) })
    }

    /// The lock's digest, which keys every build.
    pub fn digest(&self) -> BlobDigest {
        self.digest
    }

    /// The lock.
    pub fn lock(&self) -> &BuildRootLock {
        &self.lock
    }

    /// The directory of all roots.
    pub(crate) fn roots(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }

    /// The tree, which must have been put together.
    pub(crate) fn dir(&self) -> Result<PathBuf> {
        if self.dir.is_dir() {
            return Ok(self.dir.clone());
        }
        Err(Error::Missing { what: format!("the build root {}", self.digest) })
    }

    /// Makes sure that the tree is there: fetches what the archive lacks, unpacks, renames into place.
    pub(crate) fn ensure(&self, builder: &Builder, on: &(dyn Fn(Progress) + Sync)) -> Result<()> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if self.dir.is_dir() {
            return Ok(());
        }
        self.fetch_all(builder, on)?;
        let roots = self.dir.parent().unwrap_or(&self.dir);
        let temporary = roots.join(format!("{}.partial", self.digest.hex()));
        if temporary.exists() {
            std::fs::remove_dir_all(&temporary).map_err(io("remove", &temporary))?;
        }
        std::fs::create_dir_all(&temporary).map_err(io("create", &temporary))?;
        let opened = AtomicUsize::new(0);
        let open = |package: &anneal_fetch::LockedPackage| {
            on(Progress::BuildRoot { done: opened.fetch_add(1, Ordering::Relaxed), of: self.lock.packages.len() });
            let bytes = builder.store.read(&package.sha256).map_err(std::io::Error::other)?;
            Ok(Box::new(std::io::Cursor::new(bytes)) as Box<dyn std::io::Read + Send>)
        };
        assemble_build_root(&self.lock, &open, &temporary, builder.config.threads)
            .map_err(|source| Error::BuildRoot { lock: self.digest, source: Box::new(source) })?;
        let handle = std::fs::File::open(&temporary).map_err(io("open", &temporary))?;
        nix::unistd::syncfs(&handle).map_err(|e| io("sync", &temporary)(e.into()))?;
        std::fs::rename(&temporary, &self.dir).map_err(io("rename into place", &self.dir))?;
        on(Progress::BuildRoot { done: self.lock.packages.len(), of: self.lock.packages.len() });
        Ok(())
    }

    /// Roots of other locks than this and `also` that nobody has asked for in `keep_ms`: removed, or only named where
    /// `dry_run` says so.
    pub fn remove_unused(&self, also: &Self, keep_ms: u64, now_ms: u64, dry_run: bool) -> Result<Vec<String>> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let _also = (!std::ptr::eq(self, also)).then(|| also.making.lock().unwrap_or_else(PoisonError::into_inner));
        let roots = self.dir.parent().unwrap_or(&self.dir);
        let own = [self.digest.hex(), also.digest.hex()];
        let is_own = |digest: &str| own.iter().any(|own| own == digest);
        let mut removed = Vec::new();
        for name in names_in(roots)? {
            let (digest, rest) = name.split_once('.').unwrap_or((&name, ""));
            // what is named otherwise is not ours
            if format!("sha256:{digest}").parse::<BlobDigest>().is_err() || !["", "partial", "unused"].contains(&rest) {
                continue;
            }
            let path = roots.join(&name);
            let marker = roots.join(format!("{digest}.unused"));
            let marked_ms = std::fs::read_to_string(&marker).ok().and_then(|text| text.trim().parse::<u64>().ok());
            match rest {
                "unused" if is_own(digest) && !dry_run => std::fs::remove_file(&path).map_err(io("remove", &path))?,
                _ if is_own(digest) || rest == "unused" => {}
                "" if now_ms.saturating_sub(marked_ms.unwrap_or(now_ms)) < keep_ms => {
                    if marked_ms.is_none() && !dry_run {
                        std::fs::write(&marker, now_ms.to_string()).map_err(io("write", &marker))?;
                    }
                }
                _ => {
                    if !dry_run {
                        // a root that is half there must never have a whole one's name
                        let going = roots.join(format!("{digest}.partial"));
                        if path != going {
                            std::fs::rename(&path, &going).map_err(io("rename", &path))?;
                        }
                        anneal_sandbox::remove_tree(&going)?;
                        let _ = std::fs::remove_file(&marker);
                    }
                    removed.push(digest.to_owned());
                }
            }
        }
        Ok(removed)
    }

    fn fetch_all(&self, builder: &Builder, on: &(dyn Fn(Progress) + Sync)) -> Result<()> {
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    while let Some(package) = self.lock.packages.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let stopped = builder.cancel.is_cancelled().then_some(Error::Stopped);
                        let fetched = stopped.map_or_else(|| self.fetch_one(builder, package, on), Err);
                        if let Err(error) = fetched {
                            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                            return;
                        }
                    }
                });
            }
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn fetch_one(
        &self,
        builder: &Builder,
        package: &anneal_fetch::LockedPackage,
        on: &(dyn Fn(Progress) + Sync),
    ) -> Result<()> {
        let source = Source {
            sha256: package.sha256,
            bytes: package.bytes,
            file: EntryName::new(format!("{}_{}.deb", package.name, package.version.replace(':', "%3a")))?,
            unpack: None,
            places: vec![package.place()],
        };
        builder.archive("the build root", &source, on)
    }
}

/// The names in a directory, sorted; none where there is no directory.
fn names_in(dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io("list", dir)(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(io("list", dir))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_no_lock_asks_for_goes_after_its_time_and_what_is_not_a_root_stays() {
        let dir = tempfile::tempdir().unwrap();
        let roots = dir.path().join("roots");
        let text = include_str!("../../vendor/build-root.lock");
        let root = BuildRoot::new(BuildRootLock::parse(text).unwrap(), &roots).unwrap();
        assert_eq!(root.remove_unused(&root, 10, 0, false).unwrap(), [] as [String; 0], "there is no directory yet");
        let old = BlobDigest::of(b"an older lock").hex();
        let half = BlobDigest::of(b"half").hex();
        for name in [&root.digest.hex(), &old, &format!("{half}.partial"), "not-ours"] {
            std::fs::create_dir_all(roots.join(name).join("usr")).unwrap();
        }
        assert_eq!(root.remove_unused(&root, 10, 1000, true).unwrap(), [half.as_str()]);
        assert_eq!(root.remove_unused(&root, 10, 1000, false).unwrap(), [half], "nobody makes it");
        assert_eq!(root.remove_unused(&root, 10, 1009, false).unwrap(), [] as [String; 0], "unused since 1000");
        assert_eq!(root.remove_unused(&root, 10, 1010, true).unwrap(), [old.as_str()]);
        assert!(roots.join(&old).is_dir(), "only looked at");
        assert_eq!(root.remove_unused(&root, 10, 1010, false).unwrap(), [old]);
        let mut left = vec!["not-ours".to_owned(), root.digest.hex()];
        left.sort();
        assert_eq!(names_in(&roots).unwrap(), left);
    }
}
