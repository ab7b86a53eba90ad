//! A subject together with what was read of it: what the checks are given.

use crate::documents::{self, Config, Descriptor, Manifest};
use crate::observe::{ElfFacts, FileFacts, FileKind, Known, LayerFacts, Seen};
use crate::root::{Node, NodeKind, Root};
use crate::spdx::Document;
use crate::subject::{Image, Package, Role, Subject};
use crate::verdict::Object;
use anneal_content::{BlobDigest, BlobSource, Entry, EntryKind, PackageName};
use std::collections::{BTreeMap, BTreeSet};

/// An image whose documents could be read.
#[derive(Debug)]
pub(crate) struct OpenImage<'a> {
    pub(crate) image: &'a Image,
    pub(crate) manifest: Manifest,
    pub(crate) config: Config,
    pub(crate) layers: Vec<Layer<'a>>,
}

/// A layer and what is known about it.
#[derive(Debug)]
pub(crate) struct Layer<'a> {
    pub(crate) descriptor: Descriptor,
    pub(crate) facts: Result<&'a LayerFacts, String>,
}

/// A file, whose it is, and what is known about it.
#[derive(Debug)]
pub(crate) struct File<'a> {
    pub(crate) path: &'a str,
    pub(crate) digest: BlobDigest,
    pub(crate) facts: Result<&'a FileFacts, &'a str>,
}

/// A readable ELF file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binary<'a> {
    pub(crate) path: &'a str,
    pub(crate) elf: &'a ElfFacts,
    pub(crate) facts: &'a FileFacts,
}

/// What the checks are given.
pub(crate) struct View<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) seen: &'a Seen,
    pub(crate) open: Option<Result<OpenImage<'a>, String>>,
    pub(crate) sbom: Option<Result<Document, String>>,
    pub(crate) root: &'a Root,
    /// Packages that say a path is theirs, and what they have there.
    owners: BTreeMap<&'a str, Vec<(&'a Package, &'a Entry)>>,
    /// Regular files that findings are wanted about.
    pub(crate) files: Vec<File<'a>>,
}

/// Reads whatever is not known yet: layers, or the files of packages; and changed libraries of the last release.
pub(crate) fn observe(subject: &Subject, blobs: &dyn BlobSource, seen: &mut Seen) -> Root {
    let mut root = Root::default();
    let manifest = subject.image.as_ref().map(|i| documents::read::<Manifest>("manifest", &i.manifest));
    match &manifest {
        Some(Ok(manifest)) => {
            for (number, layer) in manifest.layers.iter().enumerate() {
                let Ok(digest) = layer.digest.parse() else { continue };
                seen.observe_layer(&digest, &layer.media_type, blobs);
                if let Some(Known::Read(facts)) = seen.layers.get(&digest) {
                    root.add_layer(number, facts);
                }
            }
        }
        Some(Err(_)) => {}
        None => {
            for package in &subject.packages {
                root.add_entries(&package.entries);
            }
        }
    }
    let files: BTreeSet<BlobDigest> = root.nodes.values().filter_map(file_digest).collect();
    // A layer whose facts were kept from another run has been read, and so have the files in it.
    for digest in files.iter().filter(|d| !seen.files.contains_key(d)).copied().collect::<Vec<_>>() {
        seen.observe_file(&digest, blobs);
    }
    for package in subject.previous.iter().flat_map(|p| &p.packages) {
        for entry in package.entries.iter().filter(|e| e.path.file_name().contains(".so")) {
            if let EntryKind::File { digest, .. } = &entry.kind
                && !files.contains(digest)
            {
                seen.observe_file(digest, blobs);
            }
        }
    }
    root
}

fn file_digest(node: &Node) -> Option<BlobDigest> {
    match &node.kind {
        NodeKind::File { digest, .. } => Some(*digest),
        _ => None,
    }
}

impl<'a> View<'a> {
    /// Puts together what is known.
    pub(crate) fn new(subject: &'a Subject, seen: &'a Seen, root: &'a Root) -> Self {
        let mut owners: BTreeMap<&str, Vec<(&Package, &Entry)>> = BTreeMap::new();
        for package in &subject.packages {
            for entry in &package.entries {
                owners.entry(entry.path.as_str()).or_default().push((package, entry));
            }
        }
        let mut view = View { subject, seen, open: None, sbom: None, root, owners, files: Vec::new() };
        view.open = subject.image.as_ref().map(|image| open(image, seen));
        let sbom = subject.image.as_ref().and_then(|i| i.sbom.as_ref());
        view.sbom = sbom.map(|bytes| documents::read("SBOM", bytes));
        view.files = root
            .nodes
            .iter()
            .filter(|(path, _)| view.is_checked(path))
            .filter_map(|(path, node)| {
                let digest = file_digest(node)?;
                let facts = seen.files.get(&digest).map_or(Err("its bytes were not read"), Known::get);
                Some(File { path, digest, facts })
            })
            .collect();
        view
    }

    /// The packages that say a path is theirs, and what they have there.
    pub(crate) fn owners(&self, path: &str) -> &[(&'a Package, &'a Entry)] {
        self.owners.get(path).map_or(&[], Vec::as_slice)
    }

    /// The package that a path belongs to.
    pub(crate) fn owner(&self, path: &str) -> Option<&'a PackageName> {
        self.owners(path).first().map(|(package, _)| &package.name)
    }

    /// Whether findings about a path are wanted.
    pub(crate) fn is_checked(&self, path: &str) -> bool {
        self.subject.image.is_some() || self.owners(path).iter().any(|(package, _)| package.role == Role::Checked)
    }

    /// Every path that findings are wanted about.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&'a str, &'a Node)> + '_ {
        self.root.nodes.iter().filter(|(path, _)| self.is_checked(path)).map(|(path, node)| (path.as_str(), node))
    }

    /// The packages that findings are wanted about.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &'a Package> {
        self.subject.packages.iter().filter(|p| p.role == Role::Checked)
    }

    /// Every readable ELF file, of the closure too.
    pub(crate) fn binary(&self, path: &str) -> Option<Binary<'a>> {
        let node = self.root.nodes.get_key_value(path)?;
        let facts = self.seen.files.get(&file_digest(node.1)?)?.get().ok()?;
        let elf = facts.elf.as_ref()?.get().ok()?;
        Some(Binary { path: node.0, elf, facts })
    }

    /// A path as the object of a finding.
    pub(crate) fn path(&self, path: &str) -> Object {
        Object { package: self.owner(path).cloned(), path: Some(path.to_owned()), ..self.whole() }
    }

    /// A package as the object of a finding.
    pub(crate) fn package(&self, name: &PackageName) -> Object {
        Object { package: Some(name.clone()), ..self.whole() }
    }

    /// A part of a document as the object of a finding.
    pub(crate) fn part(&self, part: &str) -> Object {
        Object { path: Some(part.to_owned()), ..self.whole() }
    }

    /// The subject itself as the object of a finding.
    pub(crate) fn whole(&self) -> Object {
        let mut checked = self.packages();
        match &self.subject.image {
            Some(image) => Object { image: Some(image.name.clone()), ..Object::default() },
            None => match (checked.next(), checked.next()) {
                (Some(only), None) => Object { package: Some(only.name.clone()), ..Object::default() },
                _ => Object::default(),
            },
        }
    }

    /// Layers that could not be read.
    pub(crate) fn unread_layers(&self) -> Vec<(String, String)> {
        match &self.open {
            None => Vec::new(),
            Some(Err(why)) => vec![("manifest".into(), why.clone())],
            Some(Ok(open)) => open
                .layers
                .iter()
                .enumerate()
                .filter_map(|(n, layer)| Some((format!("layer {n}"), layer.facts.as_ref().err()?.clone())))
                .collect(),
        }
    }

    /// The text of a file that was kept.
    pub(crate) fn kept(&self, path: &str) -> Option<&'a [u8]> {
        let number = self.root.layer_of(path)?;
        let Some(Ok(open)) = &self.open else { return None };
        let facts = open.layers.get(number)?.facts.as_ref().ok()?;
        facts.kept.get(path).map(Vec::as_slice)
    }
}

impl<'a> File<'a> {
    /// The ELF facts of an ELF file; `None` for another file; an error where nothing can be said.
    pub(crate) fn binary(&self) -> Option<Result<Binary<'a>, &'a str>> {
        match self.facts {
            Err(why) => Some(Err(why)),
            Ok(facts) if facts.kind == FileKind::Elf => Some(match facts.elf.as_ref().map(Known::get) {
                Some(Ok(elf)) => Ok(Binary { path: self.path, elf, facts }),
                Some(Err(why)) => Err(why),
                None => Err("it was not read as ELF"),
            }),
            Ok(_) => None,
        }
    }
}

fn open<'a>(image: &'a Image, seen: &'a Seen) -> Result<OpenImage<'a>, String> {
    let manifest: Manifest = documents::read("manifest", &image.manifest)?;
    let config: Config = documents::read("config", &image.config)?;
    let layers = manifest
        .layers
        .iter()
        .map(|descriptor| {
            let facts = match descriptor.digest.parse::<BlobDigest>() {
                Err(error) => Err(error.to_string()),
                Ok(digest) => match seen.layers.get(&digest) {
                    None => Err("it was not read".to_owned()),
                    Some(known) => known.get().map_err(str::to_owned),
                },
            };
            Layer { descriptor: descriptor.clone(), facts }
        })
        .collect();
    Ok(OpenImage { image, manifest, config, layers })
}
