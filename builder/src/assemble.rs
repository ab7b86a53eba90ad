//! An image from the runtime outputs of its packages: one layer a package within the budget, the metadata layer last.
//!
//! A layer depends on the trees in it, the time of their releases and the layer writer, and on nothing else, so a layer
//! whose packages did not change keeps its digest in every image and every revision.

use crate::{Builder, Error, Realised, Result};
use anneal_content::{
    BlobDigest, DerivationId, Entry, EntryKind, ImageName, OutputName, PackageName, TreeDigest, TreePath, Version,
    blob_digest_of, list,
};
use anneal_oci::{
    Compression, ConfigInput, ConfigLayer, Descriptor, ImageFacts, LayerEntry, ManifestInput, PackedLayer, Packing,
    Platform, group, image_config, image_index, image_manifest, pack_layer,
};
use anneal_plan::Derived;
use anneal_recipe::{Catalog, ImageRecipe, PackageRecipe};
use anneal_store::Store;
use serde::Serialize;
use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
};

/// One layer of an assembled image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayer {
    /// What was packed.
    pub packed: PackedLayer,
    /// The packages in it; empty for the metadata layer.
    pub packages: Vec<PackageName>,
}

/// An image that was put together; all of its blobs are in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssembledImage {
    /// Its name.
    pub name: ImageName,
    /// What named it before it was built.
    pub key: DerivationId,
    /// Its manifest.
    pub manifest: BlobDigest,
    /// Its configuration.
    pub config: BlobDigest,
    /// The index that lists it.
    pub index: BlobDigest,
    /// Its layers, lowest first.
    pub layers: Vec<ImageLayer>,
    /// Its packages: version, derivation, runtime output.
    pub packages: BTreeMap<PackageName, (Version, DerivationId, TreeDigest)>,
    /// The newest release in it, seconds since 1970: the time of the image.
    pub epoch_secs: u64,
}

/// A record that remembers how a set of trees was packed.
pub(crate) const PACKED: &str = "packed";
const ROOT_SHELL: &str = "/sbin/nologin";

#[derive(Serialize)]
struct LayerKey {
    trees: Vec<TreeDigest>,
    own: BTreeMap<String, String>,
    writer: &'static str,
    compression: Compression,
    epoch_secs: u64,
}

impl Builder {
    /// Puts an image together from packages that are built.
    pub fn assemble(
        &self,
        catalog: &Catalog,
        derived: &Derived,
        name: &ImageName,
        built: &BTreeMap<DerivationId, Realised>,
    ) -> Result<AssembledImage> {
        let recipe = catalog.image(name)?;
        let need = derived.images.get(name).ok_or_else(|| Error::Missing { what: format!("image {name}") })?;
        let mut packages = BTreeMap::new();
        let mut parts = Vec::new();
        for package in &need.packages {
            let (id, tree) = runtime_output(derived, package, built)?;
            let package_recipe = catalog.package(package)?;
            packages.insert(package.clone(), (package_recipe.version().clone(), id, tree));
            let mut part = Part { recipe: package_recipe, tree, entries: OnceCell::new(), packed: None };
            part.packed = self.remembered(&part.layer_key(recipe))?;
            parts.push(part);
        }
        let epoch_secs = parts.iter().map(Part::epoch).max().unwrap_or_default();
        let mut layers = Vec::new();
        for names in self.groups(&parts, usize::from(recipe.layer_budget))? {
            let members: Vec<&Part<'_>> = parts.iter().filter(|part| names.contains(&part.recipe.name)).collect();
            let packed = match members.as_slice() {
                [Part { packed: Some(packed), .. }] => packed.clone(),
                members => self.package_layer(recipe, members)?,
            };
            layers.push(ImageLayer { packed, packages: names });
        }
        if let Some(packed) = self.metadata_layer(recipe, epoch_secs)? {
            layers.push(ImageLayer { packed, packages: Vec::new() });
        }
        self.documents(recipe, need.key, layers, packages, &parts, epoch_secs)
    }

    /// The packages that share a layer. Sizes are only looked at where there are more packages than layers.
    fn groups(&self, parts: &[Part<'_>], budget: usize) -> Result<Vec<Vec<PackageName>>> {
        let mut there = Vec::new();
        for part in parts {
            if part.packed.is_some() || !part.entries(&self.store)?.is_empty() {
                there.push(part);
            }
        }
        if there.len() <= budget {
            return Ok(there.iter().map(|part| vec![part.recipe.name.clone()]).collect());
        }
        let sized = |part: &&Part<'_>| Ok((part.recipe.name.clone(), part.bytes(&self.store)?));
        Ok(group(&there.iter().map(sized).collect::<Result<Vec<_>>>()?, budget))
    }

    fn package_layer(&self, recipe: &ImageRecipe, members: &[&Part<'_>]) -> Result<PackedLayer> {
        let mut entries: Vec<LayerEntry> = Vec::new();
        for part in members {
            for entry in part.entries(&self.store)? {
                let (path, kind, mode) = (entry.path.clone(), entry.kind.clone(), entry.mode);
                entries.push(LayerEntry { path, kind, mode, uid: 0, gid: 0 });
            }
        }
        self.packed(&layer_key(recipe, members.iter().map(|part| (part.tree, part.epoch()))), &entries)
    }

    fn metadata_layer(&self, recipe: &ImageRecipe, epoch_secs: u64) -> Result<Option<PackedLayer>> {
        let entries = self.own_entries(recipe)?;
        if entries.is_empty() {
            return Ok(None);
        }
        let shown = |e: &LayerEntry| (e.path.to_string(), format!("{:?} {:o} {}:{}", e.kind, e.mode, e.uid, e.gid));
        let own = entries.iter().map(shown).collect();
        let key = LayerKey { own, epoch_secs, ..layer_key(recipe, []) };
        self.packed(&key, &entries).map(Some)
    }

    /// What is known of a layer that was packed before, if it is still there.
    fn remembered(&self, key: &LayerKey) -> Result<Option<PackedLayer>> {
        let Some(bytes) = self.store.record(PACKED, &blob_digest_of(key)?.to_string())? else { return Ok(None) };
        let Ok(packed) = serde_json::from_slice::<PackedLayer>(&bytes) else { return Ok(None) };
        Ok(self.store.has(&packed.digest)?.then_some(packed))
    }

    fn packed(&self, key: &LayerKey, entries: &[LayerEntry]) -> Result<PackedLayer> {
        if let Some(packed) = self.remembered(key)? {
            return Ok(packed);
        }
        let threads = NonZeroUsize::new(self.config.threads).unwrap_or(NonZeroUsize::MIN);
        let packing = Packing::new(key.compression, threads, key.epoch_secs);
        let mut writer = self.store.writer()?;
        let packed = pack_layer(entries, &self.store, &packing, &mut writer)?;
        writer.commit_as(&packed.digest)?;
        let record = blob_digest_of(key)?.to_string();
        self.store.put_record(PACKED, &record, &serde_json::to_vec(&packed).unwrap_or_default())?;
        Ok(packed)
    }

    /// The entries of the metadata layer: what the image recipe itself declares.
    pub(crate) fn own_entries(&self, recipe: &ImageRecipe) -> Result<Vec<LayerEntry>> {
        let mut entries = Vec::new();
        let mut file = |path: TreePath, mode: u32, content: &str| -> Result<()> {
            let digest = self.store.put_blob(content.as_bytes())?;
            let kind = EntryKind::File { digest, size: content.len() as u64 };
            entries.push(LayerEntry { path, kind, mode, uid: 0, gid: 0 });
            Ok(())
        };
        for declared in &recipe.files {
            if let Some(path) = declared.path.tree_path() {
                file(path, declared.mode.bits(), &declared.content)?;
            }
        }
        if !recipe.accounts.is_empty() {
            let (passwd, group) = accounts(recipe);
            file(TreePath::new("etc/passwd")?, 0o644, &passwd)?;
            file(TreePath::new("etc/group")?, 0o644, &group)?;
        }
        for dir in &recipe.directories {
            if let Some(path) = dir.path.tree_path() {
                let (uid, gid) = (dir.owner.uid, dir.owner.gid);
                entries.push(LayerEntry { path, kind: EntryKind::Directory, mode: dir.mode.bits(), uid, gid });
            }
        }
        Ok(entries)
    }

    fn documents(
        &self,
        recipe: &ImageRecipe,
        key: DerivationId,
        layers: Vec<ImageLayer>,
        packages: BTreeMap<PackageName, (Version, DerivationId, TreeDigest)>,
        parts: &[Part<'_>],
        epoch_secs: u64,
    ) -> Result<AssembledImage> {
        let created_by = |layer: &ImageLayer| {
            let named = |p: &PackageName| packages.get(p).map_or_else(|| p.to_string(), |(v, ..)| format!("{p} {v}"));
            let names: Vec<_> = layer.packages.iter().map(named).collect();
            if names.is_empty() { "anneal: metadata".into() } else { format!("anneal: {}", names.join(", ")) }
        };
        let config = image_config(&ConfigInput {
            platform: Platform::linux_amd64(),
            created_secs: epoch_secs,
            user: format!("{}:{}", recipe.user.uid, recipe.user.gid),
            entrypoint: recipe.entrypoint.clone(),
            cmd: recipe.cmd.clone(),
            env: recipe.env.clone(),
            workdir: Some(recipe.workdir.as_str().to_owned()),
            ports: recipe.ports.iter().map(ToString::to_string).collect(),
            stop_signal: recipe.stop_signal.clone(),
            labels: recipe.labels.clone(),
            layers: layers
                .iter()
                .map(|l| ConfigLayer { diff_id: l.packed.diff_id, created_by: created_by(l) })
                .collect(),
        })?;
        let annotations = annotations(recipe, parts, epoch_secs)?;
        let manifest = image_manifest(&ManifestInput {
            config: config.descriptor(),
            layers: layers.iter().map(|layer| layer.packed.descriptor()).collect(),
            annotations: annotations.clone(),
        })?;
        let listed = Descriptor { platform: Some(Platform::linux_amd64()), ..manifest.descriptor() };
        let index = image_index(&[listed], &annotations)?;
        let [config, manifest, index] = [&config, &manifest, &index].map(|document| document.bytes.as_slice());
        let digests = [BlobDigest::of(config), BlobDigest::of(manifest), BlobDigest::of(index)];
        self.store.put_blobs(&[config, manifest, index])?;
        let [config, manifest, index] = digests;
        Ok(AssembledImage { name: recipe.name.clone(), key, manifest, config, index, layers, packages, epoch_secs })
    }
}

/// The key of a layer of these trees, each with the time of its release.
fn layer_key(image: &ImageRecipe, trees: impl IntoIterator<Item = (TreeDigest, u64)>) -> LayerKey {
    let (trees, times): (Vec<_>, Vec<_>) = trees.into_iter().unzip();
    let (compression, epoch_secs) = (compression(image), times.into_iter().max().unwrap_or_default());
    LayerKey { trees, own: BTreeMap::new(), writer: anneal_oci::LAYER_WRITER, compression, epoch_secs }
}

struct Part<'a> {
    recipe: &'a PackageRecipe,
    tree: TreeDigest,
    /// Listed when somebody asks.
    entries: OnceCell<Vec<Entry>>,
    /// Its layer, if it has one to itself that was packed before.
    packed: Option<PackedLayer>,
}

impl Part<'_> {
    fn layer_key(&self, image: &ImageRecipe) -> LayerKey {
        layer_key(image, [(self.tree, self.epoch())])
    }
    fn epoch(&self) -> u64 {
        self.recipe.selected().date.epoch_secs()
    }
    fn entries(&self, store: &Store) -> Result<&[Entry]> {
        if self.entries.get().is_none() {
            let _ = self.entries.set(list(&self.tree, store)?);
        }
        Ok(self.entries.get().map(Vec::as_slice).unwrap_or_default())
    }
    fn bytes(&self, store: &Store) -> Result<u64> {
        let size = |entry: &Entry| if let EntryKind::File { size, .. } = entry.kind { size } else { 0 };
        Ok(self.entries(store)?.iter().map(size).sum())
    }
}

/// A package's derivation and its runtime output.
pub(crate) fn runtime_output(
    derived: &Derived,
    package: &PackageName,
    built: &BTreeMap<DerivationId, Realised>,
) -> Result<(DerivationId, TreeDigest)> {
    let id = derived.ids.get(package).copied();
    let found = id.and_then(|id| Some((id, *built.get(&id)?.outputs.get(&OutputName::out())?)));
    found.ok_or_else(|| Error::Missing { what: format!("the runtime output of {package}") })
}

fn compression(recipe: &ImageRecipe) -> Compression {
    match recipe.compression {
        anneal_recipe::Compression::Gzip => Compression::Gzip,
        anneal_recipe::Compression::Zstd => Compression::Zstd,
    }
}

fn accounts(recipe: &ImageRecipe) -> (String, String) {
    let mut passwd = String::new();
    let mut group = String::new();
    if !recipe.accounts.iter().any(|user| user.uid == 0) {
        passwd.push_str(&format!("root:x:0:0:root:/root:{ROOT_SHELL}\n"));
        group.push_str("root:x:0:\n");
    }
    for user in &recipe.accounts {
        let (home, shell) = (user.home.as_str(), user.shell.as_str());
        passwd.push_str(&format!("{0}:x:{1}:{2}:{0}:{home}:{shell}\n", user.name, user.uid, user.gid));
        group.push_str(&format!("{}:x:{}:\n", user.name, user.gid));
    }
    (passwd, group)
}

fn annotations(recipe: &ImageRecipe, parts: &[Part<'_>], epoch_secs: u64) -> Result<BTreeMap<String, String>> {
    let main = recipe.version_of.as_ref().and_then(|name| parts.iter().find(|part| part.recipe.name == *name));
    let licenses: BTreeSet<String> = parts
        .iter()
        .map(|part| part.recipe.license.to_string())
        .map(|text| if text.contains(" OR ") { format!("({text})") } else { text })
        .collect();
    let day = parts.iter().max_by_key(|part| part.epoch()).map(|part| part.recipe.selected().date.to_string());
    let facts = ImageFacts {
        title: Some(recipe.name.to_string()),
        description: Some(recipe.summary.clone()),
        version: main.map(|part| part.recipe.version().to_string()).or(day),
        // The recipe and not the catalogue: a change elsewhere must not change this image.
        revision: Some(blob_digest_of(recipe)?.to_string()),
        licenses: Some(licenses.into_iter().collect::<Vec<_>>().join(" AND ")),
        url: main.and_then(|part| part.recipe.homepage.clone()),
        source: main.and_then(|part| part.recipe.upstream.repository.clone()),
        vendor: None,
        created_secs: Some(epoch_secs),
        base: None,
    };
    let mut all = facts.annotations()?;
    all.extend(recipe.annotations.iter().map(|(k, v)| (k.clone(), v.clone())));
    Ok(all)
}
