//! Build tasks named before anything is built.

use crate::Error;
use anneal_content::{
    BlobDigest, DerivationId, EntryName, ImageName, OutputName, PackageName, Version, canonical_json,
};
use anneal_recipe::{BuildPath, Catalog, ImageRecipe, OutputRule, PackageRecipe};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What builds are made with beside their recipes; a change of the first three re-keys everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// The digest of the build root's lock.
    pub build_root: BlobDigest,
    /// The version of the sandbox's profile: what a build can see.
    pub sandbox: u32,
    /// The version of the layer writer: what packing does with the same files.
    pub layer_writer: String,
    /// Packages that were seen to read more of what they link than its interface: each is keyed by content alone.
    pub withdrawn: BTreeSet<PackageName>,
}

/// What stops a build from being repeated when something it is built with changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CutOff {
    /// The same interface of what it only links, the same content of everything else.
    Interface,
    /// The same content of everything.
    Content,
}

/// A source file of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceInput {
    /// Its digest.
    pub sha256: BlobDigest,
    /// Its name under `/src`.
    pub file: EntryName,
    /// Where it is unpacked beneath `/build`.
    pub unpack: Option<BuildPath>,
}

/// What a build is given of another package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The build that it comes from.
    pub derivation: DerivationId,
    /// The outputs that are mounted; no other can show in the result.
    pub outputs: BTreeSet<OutputName>,
    /// What it needs to run, by its recipe: where it runs in the build, so does that. All of it stands beside it.
    pub runs_with: BTreeSet<PackageName>,
}

/// What a build takes for granted beside its recipe: which outputs there are by default, which of them are mounted, and how
/// an action names them. A change of any is another number, and re-keys everything.
const RULES: u32 = 3;

/// One build task whose inputs are named by other derivations.
///
/// Time and memory limits and the places of sources are left out on purpose: they don't change what comes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derivation {
    /// The package.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// `SOURCE_DATE_EPOCH`, seconds since 1970.
    pub epoch: u64,
    /// Its sources.
    pub sources: Vec<SourceInput>,
    /// The rules that it follows; see [`Input`].
    pub rules: u32,
    /// What stands at `/sysroot`, by derivation.
    pub requires: BTreeMap<PackageName, Input>,
    /// How its action names them.
    pub cut_off: CutOff,
    /// CPUs that the build is shown.
    pub cpus: u32,
    /// Where the steps begin, beneath `/build`.
    pub workdir: BuildPath,
    /// The recipe's variables.
    pub env: BTreeMap<String, String>,
    /// The steps.
    pub steps: Vec<String>,
    /// How files are split into outputs.
    pub outputs: Vec<OutputRule>,
    /// The build root's lock.
    pub build_root: BlobDigest,
    /// The sandbox's profile.
    pub sandbox: u32,
}

impl Derivation {
    fn of(recipe: &PackageRecipe, requires: BTreeMap<PackageName, Input>, toolchain: &Toolchain) -> Self {
        let release = recipe.selected();
        let source = |s: &anneal_recipe::Source| SourceInput {
            sha256: s.sha256,
            file: s.file.clone(),
            unpack: s.unpack.clone(),
        };
        let is_withdrawn = toolchain.withdrawn.contains(&recipe.name);
        Self {
            name: recipe.name.clone(),
            version: recipe.version().clone(),
            epoch: release.date.epoch_secs(),
            sources: release.sources.iter().map(source).collect(),
            rules: RULES,
            requires,
            cut_off: if is_withdrawn { CutOff::Content } else { CutOff::Interface },
            cpus: recipe.build.cpus,
            workdir: recipe.workdir(),
            env: recipe.build.env.clone(),
            steps: recipe.build.steps.clone(),
            outputs: recipe.outputs.clone(),
            build_root: toolchain.build_root,
            sandbox: toolchain.sandbox,
        }
    }

    /// Whether nothing but builds that it is built with is other than in another one.
    pub fn differs_in_inputs_alone(&self, other: &Self) -> bool {
        let mut same_inputs = self.clone();
        for (name, input) in &mut same_inputs.requires {
            if let Some(earlier) = other.requires.get(name) {
                input.derivation = earlier.derivation;
            }
        }
        same_inputs == *other
    }

    /// The id: BLAKE3 of the canonical JSON.
    pub fn id(&self) -> Result<DerivationId, Error> {
        Ok(DerivationId::of(&canonical_json(self)?))
    }
}

/// What an image needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageNeed {
    /// Names the image before it is built: its recipe and the derivations of its packages.
    pub key: DerivationId,
    /// Its packages, dependencies first.
    pub packages: Vec<PackageName>,
    /// Every derivation that must be built for it, those of tools included.
    pub derivations: BTreeSet<DerivationId>,
}

/// A catalogue, derived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Derived {
    /// Each package's derivation.
    pub ids: BTreeMap<PackageName, DerivationId>,
    /// Each derivation.
    pub derivations: BTreeMap<DerivationId, Arc<Derivation>>,
    /// Each image.
    pub images: BTreeMap<ImageName, Arc<ImageNeed>>,
    /// Packages, dependencies first.
    pub order: Vec<PackageName>,
    /// Packages of which a former build ships for now: what it stands in for.
    pub swapped: BTreeMap<PackageName, DerivationId>,
}

/// Everything of a package that shows in an image: what it is built as, and what its annotations say.
#[derive(Serialize)]
struct PackageKey<'a> {
    derivation: DerivationId,
    license: &'a anneal_recipe::License,
    homepage: &'a Option<String>,
    repository: &'a Option<String>,
}

#[derive(Serialize)]
struct ImageKey<'a> {
    recipe: &'a anneal_recipe::ImageRecipe,
    packages: BTreeMap<&'a PackageName, PackageKey<'a>>,
    layer_writer: &'a str,
}

/// The outputs of a package that a build is given: what runs, what is compiled against, and what its recipe asks for.
fn mounted_outputs(recipe: &PackageRecipe, input: &PackageName) -> BTreeSet<OutputName> {
    let asked = recipe.build.requires.iter().filter(|required| required.package == *input);
    let asked = asked.filter_map(|required| required.output.clone());
    asked.chain([OutputName::out(), OutputName::dev()]).collect()
}

/// A catalogue that was derived before, with what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// The catalogue.
    pub catalog: &'a Catalog,
    /// With what it was derived.
    pub toolchain: &'a Toolchain,
    /// What came of it.
    pub derived: &'a Derived,
}

/// Derives every package and image of a catalogue.
pub fn derive(catalog: &Catalog, toolchain: &Toolchain) -> Result<Derived, Error> {
    derive_after(None, catalog, toolchain)
}

/// The same, taking over what cannot have changed: the answer is that of [`derive`], and time goes with what is new.
pub fn derive_after(before: Option<Before<'_>>, catalog: &Catalog, toolchain: &Toolchain) -> Result<Derived, Error> {
    let before = before.filter(|before| before.toolchain == toolchain);
    let mut derived = Derived { order: catalog.topological(), ..Derived::default() };
    // Derivations of before whose package is gone, has another recipe, or is derived anew. Most revisions have few.
    let mut gone = before.map(|before| before.gone(catalog)).unwrap_or_default();
    for name in &derived.order {
        let recipe = catalog.packages().get(name);
        let recipe = recipe.ok_or_else(|| Error::Unresolved { package: name.clone(), input: name.clone() })?;
        let kept = before.and_then(|before| before.kept(name, recipe, &gone));
        let (id, derivation) = match kept {
            Some(kept) => kept,
            None => {
                gone.extend(before.and_then(|before| before.derived.ids.get(name)));
                derived.derive_one(catalog, recipe, toolchain)?
            }
        };
        derived.ids.insert(name.clone(), id);
        derived.derivations.insert(id, derivation);
    }
    for (name, recipe) in catalog.images() {
        let kept = before.and_then(|before| {
            let need = before.derived.images.get(name)?;
            // Everything that was reached from its recipe is as it was, so the same is reached again.
            let is_same = gone.iter().all(|id| !need.derivations.contains(id))
                && before.catalog.images().get(name) == Some(recipe);
            is_same.then(|| need.clone())
        });
        let need = match kept {
            Some(need) => need,
            None => Arc::new(derived.need(catalog, recipe, toolchain)?),
        };
        derived.images.insert(name.clone(), need);
    }
    Ok(derived)
}

impl Before<'_> {
    /// The derivations of packages that a catalogue does not have any more.
    fn gone(&self, catalog: &Catalog) -> BTreeSet<DerivationId> {
        let ids = self.derived.ids.iter().filter(|(name, _)| !catalog.packages().contains_key(*name));
        ids.map(|(_, id)| *id).collect()
    }

    /// A package's derivation, if its recipe says the same and what it requires is as it was.
    fn kept(
        &self,
        name: &PackageName,
        recipe: &Arc<PackageRecipe>,
        gone: &BTreeSet<DerivationId>,
    ) -> Option<(DerivationId, Arc<Derivation>)> {
        let id = *self.derived.ids.get(name)?;
        let derivation = self.derived.derivations.get(&id)?;
        let is_same = derivation.requires.values().all(|input| !gone.contains(&input.derivation))
            && self.catalog.packages().get(name) == Some(recipe);
        is_same.then(|| (id, derivation.clone()))
    }
}

impl Derived {
    pub(crate) fn derive_one(
        &self,
        catalog: &Catalog,
        recipe: &PackageRecipe,
        toolchain: &Toolchain,
    ) -> Result<(DerivationId, Arc<Derivation>), Error> {
        let name = &recipe.name;
        let mut requires = BTreeMap::new();
        for input in catalog.build_sysroot(name)? {
            let id = self.ids.get(&input).copied();
            let id = id.ok_or_else(|| Error::Unresolved { package: name.clone(), input: input.clone() })?;
            let outputs = mounted_outputs(recipe, &input);
            let runs_with = catalog.package(&input)?.runtime_requires.clone();
            requires.insert(input, Input { derivation: id, outputs, runs_with });
        }
        let derivation = Derivation::of(recipe, requires, toolchain);
        Ok((derivation.id()?, Arc::new(derivation)))
    }

    pub(crate) fn need(
        &self,
        catalog: &Catalog,
        image: &ImageRecipe,
        toolchain: &Toolchain,
    ) -> Result<ImageNeed, Error> {
        let packages = catalog.image_packages(&image.name)?;
        let mut known = BTreeMap::new();
        for package in &packages {
            let recipe = catalog.package(package)?;
            let derivation = self.ids.get(package).copied();
            let derivation =
                derivation.ok_or_else(|| Error::Unresolved { package: package.clone(), input: package.clone() })?;
            let (license, homepage) = (&recipe.license, &recipe.homepage);
            let repository = &recipe.upstream.repository;
            known.insert(package, PackageKey { derivation, license, homepage, repository });
        }
        let key = ImageKey { recipe: image, packages: known, layer_writer: &toolchain.layer_writer };
        let key = DerivationId::of(&canonical_json(&key)?);
        // What their tests need is built as well, so that no package ships untested for want of a tool.
        let mut needed = packages.clone();
        for package in &packages {
            needed.extend(catalog.test_sysroot(package)?);
        }
        let derivations = self.closure_of(&needed);
        Ok(ImageNeed { key, packages, derivations })
    }

    /// The derivations of these packages and of everything that is built for them. What a former build was built with is
    /// not built for one that ships as it is.
    pub fn closure_of(&self, packages: &[PackageName]) -> BTreeSet<DerivationId> {
        let former: BTreeSet<_> = self.swapped.keys().filter_map(|name| self.ids.get(name)).copied().collect();
        self.walk(packages, &former)
    }

    /// The same with what former builds were built with.
    pub fn whole_closure_of(&self, packages: &[PackageName]) -> BTreeSet<DerivationId> {
        self.walk(packages, &BTreeSet::new())
    }

    fn walk(&self, packages: &[PackageName], ends: &BTreeSet<DerivationId>) -> BTreeSet<DerivationId> {
        let mut found: BTreeSet<DerivationId> = packages.iter().filter_map(|p| self.ids.get(p)).copied().collect();
        let mut todo: Vec<DerivationId> = found.iter().copied().collect();
        while let Some(id) = todo.pop() {
            if ends.contains(&id) {
                continue;
            }
            for input in self.derivations.get(&id).into_iter().flat_map(|d| d.requires.values()) {
                if found.insert(input.derivation) {
                    todo.push(input.derivation);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
