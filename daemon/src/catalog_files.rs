//! Recipe files on disk to a catalogue.

use crate::error::{Error, Result, io};
use anneal_recipe::Catalog;
use std::path::Path;

/// The largest recipe file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The most recipe files.
const FILES_MAX: usize = 100_000;

/// Reads `packages/*.toml` and `images/*.toml` beneath a directory.
pub(crate) fn read_catalog(dir: &Path, color: bool) -> Result<Catalog> {
    let files = recipe_files(dir)?;
    Catalog::parse(&files).map_err(|mistakes| Error::Recipes(mistakes.render(color)))
}

/// Path and text of each recipe file, sorted by path.
pub(crate) fn recipe_files(dir: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for kind in ["packages", "images"] {
        let folder = dir.join(kind);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && kind == "images" => continue,
            Err(e) => return Err(io("read the catalogue's", &folder)(e)),
        };
        for entry in entries {
            let path = entry.map_err(io("read", &folder))?.path();
            if path.extension().is_none_or(|e| e != "toml") {
                continue;
            }
            let size = std::fs::metadata(&path).map_err(io("read", &path))?.len();
            if size > FILE_BYTES_MAX {
                let limit = format!("{} has {size} bytes; a recipe has at most {FILE_BYTES_MAX}", path.display());
                return Err(Error::Input(limit));
            }
            let text = std::fs::read_to_string(&path).map_err(io("read", &path))?;
            files.push((path.display().to_string(), text));
            if files.len() > FILES_MAX {
                return Err(Error::Input(format!("{} has more than {FILES_MAX} recipes", dir.display())));
            }
        }
    }
    files.sort();
    Ok(files)
}
