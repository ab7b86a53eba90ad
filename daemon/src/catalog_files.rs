//! Recipe files on disk to a catalogue, and a file of one replaced.

use crate::{
    error::{Error, Result, io},
    settings::Settings,
    upstreams::upstream_files,
};
use anneal_recipe::{Catalog, Mistakes};
use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// What is read of a recipe file; the parser's own limit, which it reports like any mistake, is lower.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The most recipe files.
const FILES_MAX: usize = 100_000;

/// Reads `packages/*.toml` and `images/*.toml` beneath the catalogue's directory, over those of its upstreams.
pub(crate) fn read_catalog(settings: &Settings, color: bool) -> Result<Catalog> {
    let files = recipe_files(settings.catalog_dir()?)?;
    parse(&files, settings)?.map_err(|mistakes| Error::Recipes(mistakes.render(color)))
}

/// Recipe files over those of the catalogue's upstreams.
pub(crate) fn parse(files: &[(String, String)], settings: &Settings) -> Result<std::result::Result<Catalog, Mistakes>> {
    Ok(Catalog::parse_over(files, &upstream_files(settings)?))
}

/// The catalogue with those of its images that the settings name.
pub(crate) fn kept_catalog(settings: &Settings, color: bool) -> Result<Catalog> {
    let catalog = read_catalog(settings, color)?;
    if settings.images.is_empty() {
        return Ok(catalog);
    }
    Ok(catalog.with_images(&settings.images)?)
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
            files.push((path.display().to_string(), recipe_text(&path)?));
            if files.len() > FILES_MAX {
                return Err(Error::Input(format!("{} has more than {FILES_MAX} recipes", dir.display())));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Reads one recipe file. A pipe or a device in its place neither blocks nor goes on for ever.
pub(crate) fn recipe_text(path: &Path) -> Result<String> {
    let open = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path);
    let file: File = open.map_err(io("read", path))?;
    if !file.metadata().map_err(io("read", path))?.is_file() {
        return Err(Error::Input(format!("{} is not a regular file; a recipe is one", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io("read", path))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let path = path.display();
        return Err(Error::Input(format!(
            "{path} has more than {FILE_BYTES_MAX} bytes, the most that a recipe may have"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::Input(format!("{} is not UTF-8 from byte {at} on; a recipe is text", path.display()))
    })
}

/// Writes a file whole or not at all. A link stays one, and a file that was there keeps its permissions.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir).map_err(io("create", dir))?;
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(io("write in", dir))?;
    std::io::Write::write_all(&mut file, bytes).map_err(io("write", &path))?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let permissions = std::fs::metadata(&path).map_or(readable, |found| found.permissions());
    file.as_file().set_permissions(permissions).map_err(io("make readable", &path))?;
    file.as_file().sync_all().map_err(io("sync", &path))?;
    file.persist(&path).map_err(|e| io("replace", &path)(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_recipe_file_is_named_and_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&at("pipe.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("zero.toml")).unwrap();
        std::fs::write(at("bytes.toml"), b"a = '\xff'").unwrap();
        std::fs::write(at("large.toml"), vec![b'#'; (1 << 20) + 1]).unwrap();
        for (name, why) in [
            ("pipe.toml", "not a regular file"),
            ("zero.toml", "not a regular file"),
            ("bytes.toml", "not UTF-8 from byte 5"),
            ("large.toml", "1048576"),
        ] {
            let error = recipe_text(&at(name)).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(why), "{error}");
        }
    }
}
