//! The entries of an Interface, and which files are executables.

use crate::{Error, Result, SharedObject};
use anneal_content::{
    BlobDigest, BlobSource, Entry, EntryKind, InterfaceDigest, OutputName, TreeDigest, TreePath, canonical_json, list,
};
use serde::Serialize;
use std::{collections::BTreeMap, io::Read as _};

/// A library that is larger counts with its whole content.
const SHARED_OBJECT_BYTES_MAX: u64 = 256 << 20;
/// What is reduced and how; a change of it is another number, and gives every Interface another digest.
const FORM: u32 = 1;
const SCRIPT: &[u8] = b"#!";
const ELF_MAGIC: &[u8] = b"\x7fELF";
/// Where `e_type` ends, whatever the class; 1 is an object that is only linked.
const ELF_TYPE_END: usize = 18;
const ANY_EXECUTE: u32 = 0o111;

/// What a dependent can see of a package: each of its mounted outputs, entry by entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interface {
    form: u32,
    outputs: BTreeMap<OutputName, Vec<Seen>>,
    #[serde(skip)]
    executables: Vec<TreePath>,
}

/// One path of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Where.
    pub path: TreePath,
    /// Permission bits.
    pub mode: u32,
    /// As what.
    #[serde(flatten)]
    pub what: SeenAs,
}

/// What stands at a path, as far as a dependent can see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum SeenAs {
    /// A file with its whole content.
    File {
        /// Its bytes.
        digest: BlobDigest,
    },
    /// A library that is linked against.
    SharedObject(Box<SharedObject>),
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// What it points to, as written.
        target: String,
    },
}

impl Interface {
    /// The Interface of these outputs.
    ///
    /// # Errors
    /// [`Error::Content`] and [`Error::Read`] where a tree or a file can't be read.
    pub fn of(outputs: &BTreeMap<OutputName, TreeDigest>, blobs: &dyn BlobSource) -> Result<Self> {
        let mut interface = Self { form: FORM, outputs: BTreeMap::new(), executables: Vec::new() };
        for (name, tree) in outputs {
            let mut seen = Vec::new();
            for entry in list(tree, blobs)? {
                let what = interface.look(&entry, blobs)?;
                seen.push(Seen { path: entry.path, mode: entry.mode, what });
            }
            interface.outputs.insert(name.clone(), seen);
        }
        Ok(interface)
    }

    fn look(&mut self, entry: &Entry, blobs: &dyn BlobSource) -> Result<SeenAs> {
        let (digest, size) = match &entry.kind {
            EntryKind::Directory => return Ok(SeenAs::Directory),
            EntryKind::Symlink { target } => return Ok(SeenAs::Symlink { target: target.clone() }),
            EntryKind::File { digest, size } => (*digest, *size),
        };
        let library = has_name_of_a_library(entry.path.file_name()) && size <= SHARED_OBJECT_BYTES_MAX;
        if library {
            let bytes = read(blobs, entry, &digest, SHARED_OBJECT_BYTES_MAX)?;
            match SharedObject::read(&bytes) {
                // Without a name to be linked by it is a plugin, which may run in the build.
                Ok(object) if object.soname.is_some() && !is_loader(entry.path.file_name()) => {
                    return Ok(SeenAs::SharedObject(Box::new(object)));
                }
                _ => {}
            }
        }
        let runs = if entry.mode & ANY_EXECUTE == 0 {
            // Whatever loads a plugin asks for no execute bit.
            is_loadable(&read(blobs, entry, &digest, ELF_TYPE_END as u64)?)
        } else {
            !self.cannot_run(entry, blobs, &digest)?
        };
        if runs {
            self.executables.push(entry.path.clone());
        }
        Ok(SeenAs::File { digest })
    }

    /// A file with an execute bit that yet brings no code of its package into a build beside what it says itself:
    /// libtool's archives, which are text, and the scripts that print a library's flags.
    fn cannot_run(&self, entry: &Entry, blobs: &dyn BlobSource, digest: &BlobDigest) -> Result<bool> {
        let name = entry.path.file_name();
        if name.ends_with(".la") {
            return Ok(true);
        }
        let prints_flags = name.ends_with("-config") && entry.path.as_str().starts_with("usr/bin/");
        Ok(prints_flags && read(blobs, entry, digest, SCRIPT.len() as u64)? == SCRIPT)
    }

    /// The digest: SHA-256 of the canonical JSON.
    ///
    /// # Errors
    /// [`Error::Content`] where it has no canonical form.
    pub fn digest(&self) -> Result<InterfaceDigest> {
        Ok(InterfaceDigest::of(&canonical_json(self)?))
    }

    /// Each output's entries.
    pub fn outputs(&self) -> &BTreeMap<OutputName, Vec<Seen>> {
        &self.outputs
    }

    /// Files that can run in a dependent's build, or be loaded by what runs. What they do depends on all of the package and of what it runs with, so a
    /// package that has any must be known by its content and not by its Interface.
    pub fn executables(&self) -> &[TreePath] {
        &self.executables
    }
}

/// Whether a linker would look at a file of this name for `-l`, or follow a link to it: `libz.so`, `libz.so.1.2.13`.
fn has_name_of_a_library(name: &str) -> bool {
    name.ends_with(".so") || name.contains(".so.")
}

/// Whether a file begins as a program or a shared object does, rather than as an object or a text. One that ends before it
/// says so may be either.
fn is_loadable(beginning: &[u8]) -> bool {
    let is_elf = beginning.starts_with(ELF_MAGIC);
    let kind = beginning.get(ELF_TYPE_END - 2..ELF_TYPE_END);
    is_elf && !matches!(kind, Some([1, 0] | [0, 1]))
}

/// The loader runs in every build that runs what it has compiled.
fn is_loader(name: &str) -> bool {
    name.starts_with("ld-") || name.starts_with("ld.so") || name.starts_with("ld64.so")
}

fn read(blobs: &dyn BlobSource, entry: &Entry, digest: &BlobDigest, most: u64) -> Result<Vec<u8>> {
    let wrong = |source| Error::Read { path: entry.path.clone(), digest: *digest, source };
    let reader = blobs.open(digest).map_err(|source| anneal_content::Error::Read { digest: *digest, source })?;
    let mut bytes = Vec::new();
    reader.take(most).read_to_end(&mut bytes).map_err(wrong)?;
    Ok(bytes)
}
