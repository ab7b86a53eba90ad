//! The roots that sandboxes start from: a static program that does nothing, among few or many files.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program, as a sandbox sees it.
pub(crate) const PROGRAM: &str = "/true";
/// Names of the roots and how many files each has beside the program.
pub(crate) const SMALL: (&str, usize) = ("small", 50);
pub(crate) const LARGE: (&str, usize) = ("large", 5_000);
const FILES_PER_DIRECTORY: usize = 50;

/// Makes both roots in a directory.
pub(crate) fn make(dir: &Path) -> io::Result<()> {
    let program = compile(dir)?;
    for (name, files) in [SMALL, LARGE] {
        let root = dir.join(name);
        // Bubblewrap needs the mount points to be there.
        for mount_point in ["dev", "proc", "tmp"] {
            fs::create_dir_all(root.join(mount_point))?;
        }
        fs::copy(&program, root.join(PROGRAM.trim_start_matches('/')))?;
        for file in 0..files {
            let parent = root.join(format!("usr/{}", file / FILES_PER_DIRECTORY));
            fs::create_dir_all(&parent)?;
            fs::write(parent.join(file.to_string()), file.to_string())?;
        }
    }
    Ok(())
}

fn compile(dir: &Path) -> io::Result<PathBuf> {
    let program = dir.join("true");
    let mut cc = Command::new("cc")
        .args(["-O2", "-static", "-x", "c", "-o"])
        .arg(&program)
        .arg("-")
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut source) = cc.stdin.take() {
        source.write_all(b"int main(void) { return 0; }\n")?;
    }
    match cc.wait()?.success() {
        true => Ok(program),
        false => Err(io::Error::other("cc can't make a static program")),
    }
}
