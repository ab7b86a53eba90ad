//! Sources come from the archive: the store keeps each one from when it was first fetched, since mirrors delete files.

use crate::{Builder, Error, Progress, Result};
use anneal_content::{BlobDigest, Directory, FileNode, PackageName, TreeDigest};
use anneal_recipe::{Catalog, Place, Source};
use std::path::PathBuf;

/// A directory of a team's own code that is not what its recipe lists. What was listed may still be in the archive.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ChangedDirectory {
    /// Whose source it is.
    pub package: String,
    /// Where it is.
    pub place: String,
    /// The digest that the recipe lists.
    pub expected: BlobDigest,
    /// The digest of what is there.
    pub found: BlobDigest,
}

impl std::fmt::Display for ChangedDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { package, place, expected, found } = self;
        write!(
            f,
            "`{place}`, the source of {package}, has changed since its digest was written: expected {expected}, found {found}; \
             to build what is there now: `anneal recipe lock path {package}`"
        )
    }
}

impl Builder {
    /// Makes sure that every source of these packages is in the archive, several at a time.
    pub fn archive_sources(
        &self,
        catalog: &Catalog,
        packages: &[PackageName],
        on: &(dyn Fn(Progress) + Sync),
    ) -> Vec<(PackageName, Error)> {
        let mut wanted = Vec::new();
        for name in packages {
            let Ok(recipe) = catalog.package(name) else { continue };
            wanted.extend(recipe.selected().sources.iter().map(|source| (name.clone(), source)));
        }
        let queue = std::sync::Mutex::new(wanted.into_iter());
        let failed = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().ok().and_then(|mut queue| queue.next());
                        let Some((package, source)) = next else { break };
                        if let Err(error) = self.archive(package.as_str(), source, on)
                            && let Ok(mut failed) = failed.lock()
                        {
                            failed.push((package, error));
                        }
                    }
                });
            }
        });
        failed.into_inner().unwrap_or_default()
    }

    /// Makes sure that one source is in the archive.
    pub(crate) fn archive(&self, package: &str, source: &Source, on: &(dyn Fn(Progress) + Sync)) -> Result<()> {
        if self.store.has(&source.sha256)? {
            return Ok(());
        }
        let file = source.file.to_string();
        on(Progress::Fetching { file: file.clone(), bytes: source.bytes });
        let mut writer = self.store.writer()?;
        let fetched = self
            .fetcher
            .fetch(&source.into(), &self.config.catalog_dir, &mut writer)
            .map_err(|error| not_fetched(package, source, error))?;
        writer.commit_as(&source.sha256)?;
        on(Progress::Fetched { file, place: fetched.place.to_string() });
        Ok(())
    }

    /// The directories of code that these packages are built from and that changed since their digests were written.
    pub fn changed_directories(&self, catalog: &Catalog, packages: &[PackageName]) -> Result<Vec<ChangedDirectory>> {
        let base = &self.config.catalog_dir;
        let mut changed = Vec::new();
        for name in packages {
            for source in &catalog.package(name)?.selected().sources {
                for place in &source.places {
                    let Place::Path { path } = place else { continue };
                    if !anneal_fetch::is_directory(base, path) {
                        continue;
                    }
                    let found = self.fetcher.measure(place, base, &mut std::io::sink());
                    let found = found.map_err(|error| not_fetched(name.as_str(), source, error))?.sha256;
                    if found != source.sha256 {
                        let (package, place, expected) = (name.to_string(), place.to_string(), source.sha256);
                        changed.push(ChangedDirectory { package, place, expected, found });
                    }
                }
            }
        }
        Ok(changed)
    }

    /// A directory that holds these sources under their names.
    pub(crate) fn source_dir(&self, sources: &[anneal_plan::SourceInput]) -> Result<PathBuf> {
        let mut directory = Directory::default();
        for source in sources {
            let size = self.size_of(&source.sha256)?;
            directory.files.push(FileNode { name: source.file.clone(), digest: source.sha256, size, mode: 0o644 });
        }
        let (bytes, tree) = directory.encode();
        if self.store.mode() == anneal_store::OpenMode::ReadWrite {
            self.store.put_blob(&bytes)?;
        }
        self.materialized(&tree)
    }

    pub(crate) fn size_of(&self, blob: &BlobDigest) -> Result<u64> {
        self.store.size(blob)?.ok_or_else(|| Error::Missing { what: format!("blob {blob}") })
    }

    pub(crate) fn materialized(&self, tree: &TreeDigest) -> Result<PathBuf> {
        Ok(self.store.materialize(tree)?)
    }
}

fn not_fetched(package: &str, source: &Source, error: anneal_fetch::Error) -> Error {
    let package = package.to_owned();
    match error {
        anneal_fetch::Error::DirectoryChanged { place, expected, found } => {
            Error::SourceChanged { changed: Box::new(ChangedDirectory { package, place, expected, found }) }
        }
        other => Error::Fetch { package, file: source.file.to_string(), source: Box::new(other) },
    }
}
