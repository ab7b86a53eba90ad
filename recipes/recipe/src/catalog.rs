//! All recipes of one revision, validated together.

use crate::{Error, ImageRecipe, Mistakes, Needs, PackageRecipe, Releases, check::check, near::nearest, order::Order};
use anneal_content::{CatalogDigest, ImageName, PackageName, Tag, Version, canonical_json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

/// All recipes of one revision: every name resolves, nothing depends on itself, every version is listed.
///
/// Serialized as `{"packages": {name: recipe}, "images": {name: recipe}}`; a catalogue that is loaded back is
/// validated again.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Recipes", into = "Recipes")]
pub struct Catalog {
    recipes: Recipes,
    /// Follows from the recipes, and from what their releases do not change; worked out at the first question.
    order: Arc<OnceLock<Order>>,
}

impl PartialEq for Catalog {
    fn eq(&self, other: &Self) -> bool {
        self.recipes == other.recipes
    }
}
impl Eq for Catalog {}

/// The recipe files of another catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamFiles {
    /// What the catalogue that builds on it calls it.
    pub name: String,
    /// Path and text of each.
    pub files: Vec<(String, String)>,
}

/// A catalogue's recipes before they are validated together. They are shared: most revisions change one of thousands.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipes {
    pub(crate) packages: BTreeMap<PackageName, Arc<PackageRecipe>>,
    pub(crate) images: BTreeMap<ImageName, Arc<ImageRecipe>>,
}

impl Catalog {
    /// Reads recipe files, given as (path, text): package recipes lie under a directory named `packages`, image
    /// recipes under one named `images`. All mistakes of all files are reported at once.
    pub fn parse(files: &[(String, String)]) -> Result<Self, Mistakes> {
        crate::read::read(files, &[])
    }
    /// The same, over the recipes of other catalogues. A name that one of those has, too, is a mistake unless the recipe
    /// says `replaces` and which catalogue's it replaces.
    pub fn parse_over(files: &[(String, String)], upstreams: &[UpstreamFiles]) -> Result<Self, Mistakes> {
        crate::read::read(files, upstreams)
    }
    /// Every package recipe.
    pub fn packages(&self) -> &BTreeMap<PackageName, Arc<PackageRecipe>> {
        &self.recipes.packages
    }
    /// Every image recipe.
    pub fn images(&self) -> &BTreeMap<ImageName, Arc<ImageRecipe>> {
        &self.recipes.images
    }
    pub(crate) fn from_checked(recipes: Recipes) -> Self {
        Self { recipes, order: Arc::default() }
    }
    /// A package recipe; the error names the nearest name there is.
    pub fn package(&self, name: &PackageName) -> Result<&PackageRecipe, Error> {
        self.recipes
            .packages
            .get(name)
            .map(Arc::as_ref)
            .ok_or_else(|| unknown("package", name.as_str(), self.recipes.packages.keys()))
    }
    /// An image recipe; the error names the nearest name there is.
    pub fn image(&self, name: &ImageName) -> Result<&ImageRecipe, Error> {
        self.recipes
            .images
            .get(name)
            .map(Arc::as_ref)
            .ok_or_else(|| unknown("image", name.as_str(), self.recipes.images.keys()))
    }
    /// The digest of the catalogue's canonical JSON.
    pub fn digest(&self) -> Result<CatalogDigest, Error> {
        Ok(CatalogDigest::of(&self.to_json()?))
    }
    /// The catalogue's canonical JSON: as a blob it has the catalogue's digest, and [`Catalog::from_json`] reads it.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        canonical_json(self).map_err(|error| Error::Json { reason: error.to_string() })
    }
    /// Loads a catalogue that was stored as JSON, and validates again what must hold between its recipes.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map_err(|error| Error::Json { reason: error.to_string() })
    }
    /// The same recipes at other listed releases: the revision that a remediation asks for.
    pub fn with_versions(&self, versions: &BTreeMap<PackageName, Version>) -> Result<Self, Error> {
        let mut recipes = self.recipes.clone();
        for (name, version) in versions {
            let releases = self.package(name)?.releases.listed().cloned().collect();
            let releases = Releases::new(name, version, releases)?;
            if let Some(recipe) = recipes.packages.get_mut(name) {
                Arc::make_mut(recipe).releases = releases;
            }
        }
        Ok(Self { recipes, order: self.order.clone() })
    }
    /// The same packages with these images alone; the error names the nearest name there is.
    pub fn with_images(&self, names: &BTreeSet<ImageName>) -> Result<Self, Error> {
        for name in names {
            self.image(name)?;
        }
        let mut recipes = self.recipes.clone();
        recipes.images.retain(|name, _| names.contains(name));
        Ok(Self { recipes, order: self.order.clone() })
    }
    /// These packages and everything they need, dependencies first.
    pub fn closure<'a>(
        &self,
        names: impl IntoIterator<Item = &'a PackageName>,
        needs: Needs,
    ) -> Result<Vec<PackageName>, Error> {
        Ok(self.order().closure(self.known(names)?, needs))
    }
    /// These packages and everything that needs them, dependencies first.
    pub fn dependents<'a>(
        &self,
        names: impl IntoIterator<Item = &'a PackageName>,
        needs: Needs,
    ) -> Result<Vec<PackageName>, Error> {
        Ok(self.order().dependents(self.known(names)?, needs))
    }
    /// Every package, dependencies first; of those that could come next, the first by name does.
    pub fn topological(&self) -> Vec<PackageName> {
        self.order().names().to_vec()
    }
    /// What stands at `/sysroot` while a package is built: what its build requires and what that needs to run.
    pub fn build_sysroot(&self, name: &PackageName) -> Result<Vec<PackageName>, Error> {
        self.closure(self.package(name)?.build_requires(), Needs::Runtime)
    }
    /// What stands at `/sysroot` while a package is tested: itself, what its test requires, and what those need to run.
    pub fn test_sysroot(&self, name: &PackageName) -> Result<Vec<PackageName>, Error> {
        self.closure(self.package(name)?.test.requires.iter().chain([name]), Needs::Runtime)
    }
    /// Every package of an image: those that were asked for and what they need to run, dependencies first.
    pub fn image_packages(&self, name: &ImageName) -> Result<Vec<PackageName>, Error> {
        self.closure(&self.image(name)?.packages, Needs::Runtime)
    }
    /// An image's tags: the written ones and the version of its `version-of` package. A character of the version that
    /// no tag may have becomes `_`.
    pub fn tags(&self, name: &ImageName) -> Result<BTreeSet<Tag>, Error> {
        let image = self.image(name)?;
        let mut tags = image.tags.clone();
        if let Some(package) = &image.version_of {
            tags.insert(version_tag(self.package(package)?.version())?);
        }
        Ok(tags)
    }

    fn known<'a>(&self, names: impl IntoIterator<Item = &'a PackageName>) -> Result<Vec<&'a PackageName>, Error> {
        names.into_iter().map(|name| self.package(name).map(|_| name)).collect()
    }
    fn order(&self) -> &Order {
        self.order.get_or_init(|| Order::of(&self.recipes))
    }
}

fn unknown<'a, N: AsRef<str> + 'a>(kind: &'static str, name: &str, names: impl Iterator<Item = &'a N>) -> Error {
    Error::Unknown { kind, name: name.to_owned(), near: nearest(name, names.map(AsRef::as_ref)) }
}

fn version_tag(version: &Version) -> Result<Tag, Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let tag: String = version.as_str().chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    let tag = if tag.starts_with(['.', '-']) { tag.replacen(['.', '-'], "_", 1) } else { tag };
    Ok(Tag::new(tag)?)
}

impl TryFrom<Recipes> for Catalog {
    type Error = Error;
    fn try_from(recipes: Recipes) -> Result<Self, Error> {
        let known = recipes.packages.keys().cloned().collect();
        match check(&recipes, &known).into_iter().next() {
            Some(problem) => Err(problem.error),
            None => Ok(Self::from_checked(recipes)),
        }
    }
}
impl From<Catalog> for Recipes {
    fn from(catalog: Catalog) -> Self {
        catalog.recipes
    }
}
