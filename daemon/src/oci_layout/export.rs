//! Writing a layout: what was published, with everything that was said about it. The same publications give the same bytes.

use super::{INDEX, INPUT, MARKER, MARKER_TEXT, REF_NAME, untrusted::STATEMENT_BYTES_MAX};
use crate::error::{Error, Result, io};
use anneal_attest::{
    ANNOTATION_CONTENT, ANNOTATION_PREDICATE_TYPE, BUNDLE_MEDIA_TYPE, CONTENT_DSSE, Keyring, Predicate, PredicateType,
};
use anneal_content::BlobDigest;
use anneal_ledger::{EvidenceRef, Publication, State};
use anneal_oci::{
    DOCUMENT_BYTES_MAX, Descriptor, EMPTY_CONFIG, ImageIndex, ImageManifest, MediaType, image_index, referrer_manifest,
};
use anneal_store::Store;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

/// What was written.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Exported {
    /// The images, by the names that `index.json` has them under.
    pub(crate) images: Vec<String>,
    /// Statements about them.
    pub(crate) statements: u64,
    /// What the images were built from, where that was asked for.
    pub(crate) inputs: u64,
    /// What provenance names and is not here any more; whoever builds the images again fetches it.
    pub(crate) absent_inputs: Vec<String>,
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
}

/// A layout that is being put together.
struct Content<'a> {
    store: &'a Store,
    state: &'a State,
    entries: Vec<Descriptor>,
    /// From the store.
    stored: BTreeSet<BlobDigest>,
    /// Made here.
    made: BTreeMap<BlobDigest, Vec<u8>>,
    exported: Exported,
}

/// Writes images, named as `NAME`, `NAME:TAG` or by digest, to a directory that is empty or not there. With the build keys
/// of this site, it also writes what the provenance that they signed names, so that the images can be built again from it.
pub(crate) fn export(
    store: &Store,
    state: &State,
    wanted: &[String],
    to: &Path,
    rebuildable: Option<&Keyring>,
) -> Result<Exported> {
    let is_taken = fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) || to.is_file();
    if is_taken {
        return Err(Error::Input(format!(
            "{} is not empty; a layout is written to a directory of its own",
            to.display()
        )));
    }
    let mut publications: BTreeMap<(String, u64), &Publication> = BTreeMap::new();
    for name in wanted {
        let found = find(state, name)?;
        publications.insert((found.image.to_string(), found.candidate.0), found);
    }
    let mut content = Content {
        store,
        state,
        entries: Vec::new(),
        stored: BTreeSet::new(),
        made: BTreeMap::from([(BlobDigest::of(EMPTY_CONFIG), EMPTY_CONFIG.to_vec())]),
        exported: Exported::default(),
    };
    for publication in publications.into_values() {
        content.add(publication)?;
        if let Some(trusted) = rebuildable {
            content.add_inputs(publication, trusted)?;
        }
    }
    content.write(to)
}

/// The newest publication that a name or a digest means.
fn find<'a>(state: &'a State, wanted: &str) -> Result<&'a Publication> {
    let newest = |is_it: &dyn Fn(&Publication) -> bool| state.served_publications().rev().find(|p| is_it(p));
    let found = if let Ok(digest) = wanted.parse::<BlobDigest>() {
        newest(&|p| p.index == digest || p.manifest == digest)
    } else {
        let (name, tag) = wanted.split_once(':').map_or((wanted, None), |(name, tag)| (name, Some(tag)));
        newest(&|p| p.image.as_str() == name && tag.is_none_or(|tag| p.tags.iter().any(|known| known.as_str() == tag)))
    };
    found.ok_or_else(|| {
        let shown: String = wanted.chars().take(120).flat_map(char::escape_debug).collect();
        Error::No(format!(
            "no image `{shown}` is published, and nothing else is exported; `anneal image list` shows those there are"
        ))
    })
}

impl Content<'_> {
    fn document(&self, digest: &BlobDigest) -> Result<Vec<u8>> {
        Ok(self.store.read_blob(digest, DOCUMENT_BYTES_MAX)?)
    }

    fn add(&mut self, publication: &Publication) -> Result<()> {
        let index_bytes = self.document(&publication.index)?;
        let entry = Descriptor::of(MediaType::INDEX, &index_bytes);
        let tags = publication.tags.iter().filter(|tag| self.is_current(publication, tag.as_str()));
        let names: Vec<String> = tags.map(|tag| format!("{}:{tag}", publication.image)).collect();
        if names.is_empty() {
            self.entries.push(entry.clone());
            self.exported.images.push(format!("{}@{}", publication.image, publication.index));
        }
        for name in names {
            self.entries.push(named(entry.clone(), &name));
            self.exported.images.push(name);
        }
        self.stored.insert(publication.index);
        for listed in ImageIndex::parse(&index_bytes)?.manifests {
            self.add_manifest(&listed.digest)?;
        }
        for (tag, digest) in &publication.extra_tags {
            let (entry, _) = self.add_manifest(digest)?;
            self.entries.push(named(entry, &format!("{}:{tag}", publication.image)));
        }
        let image = self.state.images.get(&publication.manifest);
        let image = image.ok_or_else(|| Error::Internal(format!("image {} is unknown", publication.manifest)))?;
        for evidence in publication.evidence.iter().chain(&image.evidence) {
            self.add_evidence(evidence)?;
        }
        self.add_approval(publication)
    }

    /// Whether no later publication took the tag.
    fn is_current(&self, publication: &Publication, tag: &str) -> bool {
        let has_tag =
            |p: &&Publication| p.image == publication.image && p.tags.iter().any(|known| known.as_str() == tag);
        self.state.served_publications().rev().find(has_tag).is_some_and(|p| p.candidate == publication.candidate)
    }

    fn add_manifest(&mut self, digest: &BlobDigest) -> Result<(Descriptor, ImageManifest)> {
        let bytes = self.document(digest)?;
        let manifest = ImageManifest::parse(&bytes)?;
        self.stored.insert(*digest);
        for part in manifest.layers.iter().chain([&manifest.config]) {
            if !self.made.contains_key(&part.digest) {
                self.stored.insert(part.digest);
            }
        }
        Ok((Descriptor::of(MediaType::MANIFEST, &bytes), manifest))
    }

    fn add_evidence(&mut self, evidence: &EvidenceRef) -> Result<()> {
        let (mut entry, manifest) = self.add_manifest(&evidence.referrer)?;
        entry.artifact_type = manifest.artifact_type;
        entry.annotations = manifest.annotations;
        self.say(entry);
        Ok(())
    }

    /// The approver's signed decision, attached in the same way. The registry has no need of it; another site may.
    fn add_approval(&mut self, publication: &Publication) -> Result<()> {
        let candidate = self.state.candidates.get(&publication.candidate);
        let Some((_, _, statement, _)) = candidate.and_then(|candidate| candidate.decision.as_ref()) else {
            return Ok(());
        };
        let subject = Descriptor::of(MediaType::MANIFEST, &self.document(&publication.manifest)?);
        let layer = Descriptor::of(BUNDLE_MEDIA_TYPE, &self.document(statement)?);
        let annotations = BTreeMap::from([
            (ANNOTATION_CONTENT.to_owned(), CONTENT_DSSE.to_owned()),
            (ANNOTATION_PREDICATE_TYPE.to_owned(), PredicateType::Approval.uri().to_owned()),
        ]);
        let manifest = referrer_manifest(&subject, BUNDLE_MEDIA_TYPE, &[layer], &annotations)?;
        let mut entry = manifest.descriptor();
        entry.artifact_type = Some(BUNDLE_MEDIA_TYPE.to_owned());
        entry.annotations = annotations;
        self.stored.insert(*statement);
        self.made.insert(manifest.digest(), manifest.bytes);
        self.say(entry);
        Ok(())
    }

    /// What an image was built from, as far as it is here: one manifest about the image, with each input as a layer.
    fn add_inputs(&mut self, publication: &Publication, trusted: &Keyring) -> Result<()> {
        let (name, manifest) = (&publication.image, &publication.manifest);
        let kind = PredicateType::Provenance;
        let image = self.state.images.get(manifest);
        let evidence = image.and_then(|image| image.evidence.iter().find(|one| one.predicate_type == kind.uri()));
        let evidence = evidence.ok_or_else(|| Error::No(format!("{name} {manifest} has no provenance")))?;
        let bundle = self.store.read_blob(&evidence.bundle, STATEMENT_BYTES_MAX)?;
        let (statement, _) = trusted.verify(&bundle, kind, manifest)?;
        let Predicate::Provenance(provenance) = statement.predicate else {
            return Err(Error::Internal("a statement is not of the type that was verified".into()));
        };
        let mut layers: BTreeMap<BlobDigest, Descriptor> = BTreeMap::new();
        for input in provenance.build_definition.resolved_dependencies {
            let hex = input.digest.get(BlobDigest::ALGORITHM);
            let Some(digest) = hex.and_then(|hex| format!("sha256:{hex}").parse::<BlobDigest>().ok()) else { continue };
            let Some(size) = self.store.size(&digest)? else {
                self.exported.absent_inputs.push(format!("{} {digest}", input.name));
                continue;
            };
            let mut layer = Descriptor::new(INPUT, digest, size);
            layer.annotations.insert("org.opencontainers.image.title".to_owned(), input.name);
            layers.insert(digest, layer);
        }
        let subject = Descriptor::of(MediaType::MANIFEST, &self.document(manifest)?);
        let layers: Vec<Descriptor> = layers.into_values().collect();
        let inputs = referrer_manifest(&subject, INPUT, &layers, &BTreeMap::new())?;
        let mut entry = inputs.descriptor();
        entry.artifact_type = Some(INPUT.to_owned());
        self.exported.inputs += layers.len() as u64;
        self.stored.extend(layers.iter().map(|layer| layer.digest));
        self.made.insert(inputs.digest(), inputs.bytes);
        self.entries.push(entry);
        Ok(())
    }

    fn say(&mut self, entry: Descriptor) {
        if !self.entries.iter().any(|known| known.digest == entry.digest) {
            self.entries.push(entry);
            self.exported.statements += 1;
        }
    }

    /// Everything is written and synced under another name, which is then changed: the directory is whole or not there.
    fn write(mut self, to: &Path) -> Result<Exported> {
        let index = image_index(&self.entries, &BTreeMap::new())?;
        let to = std::path::absolute(to).map_err(io("find", to))?;
        let name = to.file_name().ok_or_else(|| Error::Input(format!("{} has no name", to.display())))?;
        // a name of its own, and never one that is there: it may be somebody else's
        let partial = to.with_file_name(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
        fs::create_dir(&partial).map_err(io("create", &partial))?;
        let written = self.write_all(&partial, &index.bytes).and_then(|()| {
            fs::rename(&partial, &to).map_err(io("create", &to))?;
            let parent = to.parent().unwrap_or(&to);
            File::open(parent).and_then(|dir| dir.sync_all()).map_err(io("sync", parent))
        });
        if written.is_err() {
            let _ = fs::remove_dir_all(&partial);
        }
        written.map(|()| self.exported)
    }

    fn write_all(&mut self, dir: &Path, index: &[u8]) -> Result<()> {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(io("create", &blobs))?;
        for (digest, bytes) in &self.made {
            write(&blobs.join(digest.hex()), bytes)?;
            self.exported.bytes += bytes.len() as u64;
        }
        for digest in &self.stored {
            let mut reader = self.store.open_blob(digest)?;
            self.exported.bytes += reader.blob_size();
            let path = blobs.join(digest.hex());
            let mut file = File::create_new(&path).map_err(io("create", &path))?;
            while let Some(chunk) = reader.next_chunk()? {
                file.write_all(chunk).map_err(io("write", &path))?;
            }
            file.sync_all().map_err(io("sync", &path))?;
        }
        self.exported.blobs = (self.made.len() + self.stored.len()) as u64;
        write(&dir.join(MARKER), MARKER_TEXT.as_bytes())?;
        write(&dir.join(INDEX), index)?;
        let synced = |dir: PathBuf| File::open(&dir).and_then(|open| open.sync_all()).map_err(io("sync", &dir));
        [blobs, dir.join("blobs"), dir.to_owned()].into_iter().try_for_each(synced)
    }
}

fn named(mut entry: Descriptor, name: &str) -> Descriptor {
    entry.annotations.insert(REF_NAME.to_owned(), name.to_owned());
    entry
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create_new(path).map_err(io("create", path))?;
    file.write_all(bytes).map_err(io("write", path))?;
    file.sync_all().map_err(io("sync", path))
}
