//! The questions and the changes. What a change replaces is read first and taken out in the same write, so no edge
//! outlives the image or the advisory that it came from.

use crate::db::{Changes, Db, Table};
use crate::{Error, Result};
use anneal_advisory::{Component, ID_LIMIT};
use anneal_content::{BlobDigest, ImageName, PackageName, Version};
use std::{
    fmt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

const DIGEST_BYTES: usize = 32;

/// The index in one directory. One process at a time has it open; its threads may share it.
pub struct Index {
    db: Db,
    /// A change reads what it replaces, so changes take turns.
    changing: Mutex<()>,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

/// What is kept of an advisory.
#[derive(PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct AdvisoryRow {
    record: BlobDigest,
    aliases: Vec<String>,
    touched: Vec<PackageName>,
}

impl Index {
    /// Opens the index, and makes it where there is none.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self { db: Db::open(dir)?, changing: Mutex::new(()) })
    }

    /// Says what an image contains, in place of what was said of it before.
    pub fn put_image(&self, manifest: &BlobDigest, image: &ImageName, components: &[Component]) -> Result<()> {
        let key = image_key(manifest, image);
        let row = serde_json::to_vec(components).map_err(|e| self.damaged(Table::Images, e))?;
        let _turn = self.turn();
        let before = self.db.get(Table::Images, &key)?;
        if before.as_ref() == Some(&row) {
            return Ok(());
        }
        let mut changes = Changes::default();
        for component in self.components(before.as_deref())? {
            changes.delete(Table::Uses, use_key(&component.name, manifest, image));
        }
        for component in components {
            changes.put(Table::Uses, use_key(&component.name, manifest, image), component.version.as_str());
        }
        changes.put(Table::Images, key, row);
        self.db.write(changes)
    }

    /// Forgets an image; `false` if it was not known.
    pub fn remove_image(&self, manifest: &BlobDigest, image: &ImageName) -> Result<bool> {
        let key = image_key(manifest, image);
        let _turn = self.turn();
        let Some(before) = self.db.get(Table::Images, &key)? else { return Ok(false) };
        let mut changes = Changes::default();
        for component in self.components(Some(&before))? {
            changes.delete(Table::Uses, use_key(&component.name, manifest, image));
        }
        changes.delete(Table::Images, key);
        self.db.write(changes)?;
        Ok(true)
    }

    /// The images that contain a package, and the version of it that each contains.
    pub fn images_with(&self, package: &PackageName) -> Result<Vec<(BlobDigest, ImageName, Version)>> {
        let prefix = with_nul(package.as_str());
        let mut found = Vec::new();
        for row in self.db.rows(Table::Uses, &prefix)? {
            let (key, version) = row?;
            let (manifest, image) = self.read_image_key(Table::Uses, key.get(prefix.len()..).unwrap_or_default())?;
            found.push((manifest, image, self.read_text(Table::Uses, &version)?));
        }
        Ok(found)
    }

    /// What an image contains; empty if the manifest is not known.
    pub fn components_of(&self, manifest: &BlobDigest) -> Result<Vec<Component>> {
        // One manifest under two names has the same components.
        match self.db.rows(Table::Images, manifest.as_bytes())?.next() {
            Some(row) => self.components(Some(&row?.1)),
            None => Ok(Vec::new()),
        }
    }

    /// Says which packages an advisory touches, in place of what was said of it before.
    pub fn put_advisory(
        &self,
        id: &str,
        aliases: &[String],
        record: &BlobDigest,
        touched: &[PackageName],
    ) -> Result<()> {
        for id in aliases.iter().map(String::as_str).chain([id]) {
            check_id(id)?;
        }
        let row = AdvisoryRow { record: *record, aliases: aliases.to_vec(), touched: touched.to_vec() };
        let _turn = self.turn();
        let before = self.advisory_row(id)?;
        if before.as_ref() == Some(&row) {
            return Ok(());
        }
        let mut changes = Changes::default();
        if let Some(before) = before {
            without_advisory(&mut changes, id, &before);
        }
        for alias in aliases {
            changes.put(Table::Aliases, edge(alias, id), []);
        }
        for package in touched {
            changes.put(Table::Touches, edge(package.as_str(), id), []);
        }
        let row = serde_json::to_vec(&row).map_err(|e| self.damaged(Table::Advisories, e))?;
        changes.put(Table::Advisories, id.as_bytes().to_vec(), row);
        self.db.write(changes)
    }

    /// Forgets an advisory; `false` if it was not known.
    pub fn remove_advisory(&self, id: &str) -> Result<bool> {
        let _turn = self.turn();
        let Some(before) = self.advisory_row(id)? else { return Ok(false) };
        let mut changes = Changes::default();
        without_advisory(&mut changes, id, &before);
        changes.delete(Table::Advisories, id.as_bytes().to_vec());
        self.db.write(changes)?;
        Ok(true)
    }

    /// The record of an advisory, by its id or else by an alias. Of several with the alias, the first by id.
    pub fn advisory(&self, id_or_alias: &str) -> Result<Option<BlobDigest>> {
        if let Some(row) = self.advisory_row(id_or_alias)? {
            return Ok(Some(row.record));
        }
        let Some(id) = self.edges(Table::Aliases, id_or_alias)?.into_iter().next() else { return Ok(None) };
        Ok(self.advisory_row(&id)?.map(|row| row.record))
    }

    /// The packages that an advisory touches, by its id; empty if it is not known.
    pub fn touched_by(&self, id: &str) -> Result<Vec<PackageName>> {
        Ok(self.advisory_row(id)?.map(|row| row.touched).unwrap_or_default())
    }

    /// The ids of the advisories that touch a package, in order.
    pub fn advisories_of(&self, package: &PackageName) -> Result<Vec<String>> {
        self.edges(Table::Touches, package.as_str())
    }

    /// The images that an advisory reaches: those with a package that it touches.
    pub fn matches(&self, id: &str) -> Result<Vec<(PackageName, BlobDigest, ImageName, Version)>> {
        let mut found = Vec::new();
        for package in self.touched_by(id)? {
            for (manifest, image, version) in self.images_with(&package)? {
                found.push((package.clone(), manifest, image, version));
            }
        }
        Ok(found)
    }

    fn advisory_row(&self, id: &str) -> Result<Option<AdvisoryRow>> {
        let row = self.db.get(Table::Advisories, id.as_bytes())?;
        row.map(|row| serde_json::from_slice(&row).map_err(|e| self.damaged(Table::Advisories, e))).transpose()
    }

    /// What the edges from a name lead to.
    fn edges(&self, table: Table, from: &str) -> Result<Vec<String>> {
        let prefix = with_nul(from);
        let mut found = Vec::new();
        for row in self.db.rows(table, &prefix)? {
            let key = row?.0;
            let to = std::str::from_utf8(key.get(prefix.len()..).unwrap_or_default());
            found.push(to.map_err(|e| self.damaged(table, e))?.to_owned());
        }
        Ok(found)
    }

    fn components(&self, row: Option<&[u8]>) -> Result<Vec<Component>> {
        let Some(row) = row else { return Ok(Vec::new()) };
        serde_json::from_slice(row).map_err(|e| self.damaged(Table::Images, e))
    }

    fn read_image_key(&self, table: Table, key: &[u8]) -> Result<(BlobDigest, ImageName)> {
        let (manifest, image) =
            key.split_first_chunk::<DIGEST_BYTES>().ok_or_else(|| self.damaged(table, "a key is too short"))?;
        Ok((BlobDigest::from_bytes(*manifest), self.read_text(table, image)?))
    }

    fn read_text<T: std::str::FromStr<Err = anneal_content::Error>>(&self, table: Table, bytes: &[u8]) -> Result<T> {
        let text = std::str::from_utf8(bytes).map_err(|e| self.damaged(table, e))?;
        text.parse().map_err(|e| self.damaged(table, e))
    }

    fn damaged(&self, table: Table, reason: impl fmt::Display) -> Error {
        Error::Row { path: self.db.path().to_owned(), table: table.name(), reason: reason.to_string() }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        // The lock guards no data: a change that panicked has written nothing.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn without_advisory(changes: &mut Changes, id: &str, row: &AdvisoryRow) {
    for alias in &row.aliases {
        changes.delete(Table::Aliases, edge(alias, id));
    }
    for package in &row.touched {
        changes.delete(Table::Touches, edge(package.as_str(), id));
    }
}

/// No NUL may be in an id, as keys end names with it; what an advisory's record may have as an id has none.
fn check_id(id: &str) -> Result<()> {
    if (1..=ID_LIMIT).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    let found = id.chars().take(120).flat_map(char::escape_debug).collect();
    Err(Error::Id { limit: ID_LIMIT, found })
}

fn with_nul(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

fn edge(from: &str, to: &str) -> Vec<u8> {
    [from.as_bytes(), b"\0", to.as_bytes()].concat()
}

fn image_key(manifest: &BlobDigest, image: &ImageName) -> Vec<u8> {
    [manifest.as_bytes(), image.as_str().as_bytes()].concat()
}

fn use_key(package: &PackageName, manifest: &BlobDigest, image: &ImageName) -> Vec<u8> {
    [package.as_str().as_bytes(), b"\0", manifest.as_bytes(), image.as_str().as_bytes()].concat()
}
