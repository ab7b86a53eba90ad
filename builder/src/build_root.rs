//! The build root: distribution packages of a lock, unpacked once, mounted read-only by every build.
//!
//! ```text
//! <work>/../roots/<digest of the lock>/        complete: it is renamed into place when every byte is written
//! ```

use crate::{Builder, Error, Progress, Result, error::io};
use anneal_content::{BlobDigest, BlobSource as _, EntryName};
use anneal_fetch::{BuildRootLock, assemble_build_root};
use anneal_recipe::Source;
use std::{
    path::PathBuf,
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
    pub fn new(lock: BuildRootLock, roots: &std::path::Path) -> Result<Self> {
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

    fn fetch_all(&self, builder: &Builder, on: &(dyn Fn(Progress) + Sync)) -> Result<()> {
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    while let Some(package) = self.lock.packages.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = self.fetch_one(builder, package, on) {
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
