//! What else makes an image or a layer of a directory.

use crate::Result;
use anneal_measure::tool::{succeed, version};
use std::{fs, path::Path, process::Command};

/// Another tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// `umoci insert` into an image without layers.
    Umoci,
    /// `buildah commit` of a container that the files were copied into before.
    Buildah,
    /// `tar | gzip -6`, and the digest of what came out.
    Tar,
}

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Umoci, Self::Buildah, Self::Tar];
    pub(crate) const IMAGES: [Self; 2] = [Self::Umoci, Self::Buildah];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Umoci => "umoci insert",
            Self::Buildah => "buildah commit",
            Self::Tar => "tar | gzip",
        }
    }

    pub(crate) fn version(self) -> Option<String> {
        version(match self {
            Self::Umoci => "umoci",
            Self::Buildah => "buildah",
            Self::Tar => "tar",
        })
    }

    /// What there is before the clock starts.
    pub(crate) fn prepare(self, dir: &Path, files: &Path) -> Result<()> {
        match self {
            Self::Umoci => {
                succeed(Command::new("umoci").arg("init").arg("--layout").arg(dir.join("oci")))?;
                succeed(Command::new("umoci").args(["new", "--image"]).arg(image(dir)))?;
            }
            Self::Buildah => {
                let id = succeed(buildah(dir).args(["from", "scratch"]))?;
                succeed(buildah(dir).args(["copy", "--quiet", id.trim()]).arg(files).arg("/"))?;
                fs::write(dir.join("container"), id.trim())?;
            }
            Self::Tar => {}
        }
        Ok(())
    }

    /// What is timed.
    pub(crate) fn run(self, dir: &Path, files: &Path) -> Result<()> {
        match self {
            Self::Umoci => {
                succeed(Command::new("umoci").args(["insert", "--image"]).arg(image(dir)).arg(files).arg("/"))?;
            }
            Self::Buildah => {
                let id = fs::read_to_string(dir.join("container"))?;
                let to = format!("oci:{}", image(dir));
                succeed(buildah(dir).args([
                    "commit",
                    "--quiet",
                    "--disable-compression=false",
                    "--format",
                    "oci",
                    &id,
                    &to,
                ]))?;
            }
            Self::Tar => {
                let script = "tar -C \"$1\" -cf - . | gzip -6 >\"$2\" && sha256sum \"$2\"";
                succeed(Command::new("sh").args(["-c", script, "sh"]).arg(files).arg(dir.join("layer.tar.gz")))?;
            }
        }
        Ok(())
    }

    /// How large the layer is that came out: of a layout, its largest blob.
    pub(crate) fn size(self, dir: &Path) -> Result<u64> {
        if self == Self::Tar {
            return Ok(fs::metadata(dir.join("layer.tar.gz"))?.len());
        }
        let mut largest = 0;
        for entry in fs::read_dir(dir.join("oci/blobs/sha256"))? {
            largest = largest.max(entry?.metadata()?.len());
        }
        Ok(largest)
    }

    /// Takes away what a tool keeps mounted or elsewhere.
    pub(crate) fn clear(self, dir: &Path) -> Result<()> {
        if self == Self::Buildah {
            let id = fs::read_to_string(dir.join("container"))?;
            succeed(buildah(dir).args(["rm", &id]))?;
        }
        Ok(())
    }
}

fn image(dir: &Path) -> String {
    format!("{}:latest", dir.join("oci").display())
}

/// With a storage of its own. `vfs` works everywhere; a commit from scratch reads its files from one directory.
fn buildah(dir: &Path) -> Command {
    let mut command = Command::new("buildah");
    command.arg("--root").arg(dir.join("root")).arg("--runroot").arg(dir.join("run"));
    command.args(["--storage-driver", "vfs"]);
    command
}
