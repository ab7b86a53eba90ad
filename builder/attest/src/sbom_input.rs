//! What an inventory is made from: the facts about an image that its builder knows.

use crate::Timestamp;
use anneal_content::{BlobDigest, ImageName, PackageName, TreePath, Version};
use sha1::Digest as _;
use std::{collections::BTreeMap, io::Read};

/// An image and what is in it.
#[derive(Debug, Clone)]
pub struct SbomInput {
    /// The repository.
    pub image: ImageName,
    /// The manifest.
    pub digest: BlobDigest,
    /// The time that the document says it was made: the image's source epoch, not a clock's.
    pub created: Timestamp,
    /// Who made it, such as `anneal-0.1.0`.
    pub tool: String,
    /// The packages in it. Order does not matter.
    pub packages: Vec<SbomPackage>,
    /// Files that belong to no package: what the image recipe itself adds.
    pub files: Vec<SbomFile>,
    /// The text of each licence that the packages name as `LicenseRef-…`, by that name.
    pub license_texts: BTreeMap<String, String>,
}

/// One package of an image.
#[derive(Debug, Clone)]
pub struct SbomPackage {
    /// Its recipe.
    pub name: PackageName,
    /// The upstream version.
    pub version: Version,
    /// An SPDX expression.
    pub license: String,
    /// Its identity to scanners without the version, such as `pkg:generic/zlib`; one with this very version does too.
    pub purl: String,
    /// Part, vendor and product of its CPE 2.3 name, if it has one, such as `cpe:2.3:a:zlib:zlib`.
    pub cpe: Option<String>,
    /// What it is, in a line.
    pub summary: String,
    /// Its web page, if it has one.
    pub homepage: Option<String>,
    /// The archives it was built from.
    pub sources: Vec<SbomSource>,
    /// Its files in the image; directories and symbolic links are not listed.
    pub files: Vec<SbomFile>,
    /// The packages in this image that it needs at run time.
    pub requires: Vec<PackageName>,
}

/// One archive that a package was built from.
#[derive(Debug, Clone)]
pub struct SbomSource {
    /// Its file name.
    pub name: String,
    /// Its bytes.
    pub sha256: BlobDigest,
    /// Upstream's `https` address, if it has one.
    pub url: Option<String>,
}

/// One regular file.
#[derive(Debug, Clone)]
pub struct SbomFile {
    /// Where in the image.
    pub path: TreePath,
    /// Its bytes.
    pub checksums: FileChecksums,
}

/// The two checksums of a file that the format demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileChecksums {
    /// What the image is verified by.
    pub sha256: BlobDigest,
    /// Demanded of every file by SPDX 2.3, and trusted for nothing here.
    pub sha1: [u8; 20],
}

impl FileChecksums {
    /// Reads a file to its end.
    pub fn of(reader: &mut dyn Read) -> std::io::Result<Self> {
        let mut sha1 = sha1::Sha1::new();
        let mut sha256 = anneal_content::BlobHasher::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let chunk = buffer.get(..count).unwrap_or_default();
            sha1.update(chunk);
            sha256.update(chunk);
        }
        Ok(Self { sha256: sha256.finish().0, sha1: sha1.finalize().into() })
    }
}
