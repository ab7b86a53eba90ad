//! What is measured on: real files of this machine, and very many small ones.

use std::{
    error::Error,
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// How many bytes of real files there shall be.
const REAL_BYTES: u64 = 145 << 20;
/// Small files to a directory.
const PER_DIRECTORY: usize = 100;

/// A directory, and what is in it.
#[derive(Debug)]
pub struct Source {
    /// Which files these are, in words.
    pub name: String,
    /// Where they are.
    pub dir: PathBuf,
    /// How many.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Copies of every nth file beneath `/usr`, so that kinds and sizes are those of installed packages.
pub fn real(dir: PathBuf) -> Result<Source> {
    let mut found = Vec::new();
    walk(Path::new("/usr"), &mut found)?;
    found.sort();
    let all: u64 = found.iter().map(|(_, bytes, _)| bytes).sum();
    let step = usize::try_from(all / REAL_BYTES)?.max(1);
    let (mut files, mut bytes) = (0, 0);
    for (path, _, mode) in found.iter().step_by(step) {
        let to = dir.join(path.strip_prefix("/")?);
        fs::create_dir_all(to.parent().ok_or("a file without a directory")?)?;
        bytes += fs::copy(path, &to)?;
        fs::set_permissions(&to, Permissions::from_mode(if mode & 0o100 == 0 { 0o644 } else { 0o755 }))?;
        files += 1;
    }
    Ok(Source { name: format!("every {step}th file of /usr"), dir, files, bytes })
}

/// Regular files that can be read by everybody, with their sizes and modes.
fn walk(dir: &Path, found: &mut Vec<(PathBuf, u64, u32)>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            // One that is closed to us is not measured.
            if let Err(error) = walk(&path, found)
                && error.downcast_ref::<io::Error>().map(io::Error::kind) != Some(io::ErrorKind::PermissionDenied)
            {
                return Err(error);
            }
        } else if kind.is_file() && path.to_str().is_some() {
            let metadata = entry.metadata()?;
            let mode = metadata.permissions().mode();
            if mode & 0o7004 == 0o004 {
                found.push((path, metadata.len(), mode));
            }
        }
    }
    Ok(())
}

/// So many files with about a kilobyte each, no two alike.
pub fn small(dir: PathBuf, files: usize) -> Result<Source> {
    let mut bytes = 0;
    for number in 0..files {
        let parent = dir.join(format!("d{}", number / PER_DIRECTORY));
        if number % PER_DIRECTORY == 0 {
            fs::create_dir_all(&parent)?;
        }
        let text = small_text(number);
        fs::File::create(parent.join(format!("f{number}")))?.write_all(text.as_bytes())?;
        bytes += text.len() as u64;
    }
    Ok(Source { name: "small files".to_owned(), dir, files, bytes })
}

/// A text that no other number has.
pub fn small_text(number: usize) -> String {
    format!("file {number} of many\n").repeat(20 + number % 60)
}
