//! All recipes of one revision, validated together.

use crate::{Error, ImageRecipe, Mistakes, Needs, PackageRecipe};
use anneal_content::{CatalogDigest, ImageName, PackageName, Tag, Version};
use std::collections::{BTreeMap, BTreeSet};

/// All recipes of one revision: every name resolves, nothing depends on itself, every version is listed.
///
/// Serialized as `{"packages": {name: recipe}, "images": {name: recipe}}`; a catalogue that is loaded back is
/// validated again.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Recipes", into = "Recipes")]
pub struct Catalog(Recipes);

/// A catalogue's recipes before they are validated together.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipes {
    pub(crate) packages: BTreeMap<PackageName, PackageRecipe>,
    pub(crate) images: BTreeMap<ImageName, ImageRecipe>,
}

impl Catalog {
    /// Reads recipe files, given as (path, text): package recipes lie under a directory named `packages`, image
    /// recipes under one named `images`. All mistakes of all files are reported at once.
    pub fn parse(files: &[(String, String)]) -> Result<Self, Mistakes> {
        crate::read::read(files)
    }
    /// Every package recipe.
    pub fn packages(&self) -> &BTreeMap<PackageName, PackageRecipe> {
        &self.0.packages
    }
    /// Every image recipe.
    pub fn images(&self) -> &BTreeMap<ImageName, ImageRecipe> {
        &self.0.images
    }
    /// A package recipe; the error names the nearest name there is.
    pub fn package(&self, name: &PackageName) -> Result<&PackageRecipe, Error> {
        let _ = name;
        unimplemented_yet()
    }
    /// An image recipe; the error names the nearest name there is.
    pub fn image(&self, name: &ImageName) -> Result<&ImageRecipe, Error> {
        let _ = name;
        unimplemented_yet()
    }
    /// The digest of the catalogue's canonical JSON.
    pub fn digest(&self) -> Result<CatalogDigest, Error> {
        unimplemented_yet()
    }
    /// The same recipes at other listed releases: the revision that a remediation asks for.
    pub fn with_versions(&self, versions: &BTreeMap<PackageName, Version>) -> Result<Self, Error> {
        let _ = versions;
        unimplemented_yet()
    }
    /// These packages and everything they need, dependencies first.
    pub fn closure<'a>(
        &self,
        names: impl IntoIterator<Item = &'a PackageName>,
        needs: Needs,
    ) -> Result<Vec<PackageName>, Error> {
        let _ = (names.into_iter().count(), needs);
        unimplemented_yet()
    }
    /// These packages and everything that needs them, dependencies first.
    pub fn dependents<'a>(
        &self,
        names: impl IntoIterator<Item = &'a PackageName>,
        needs: Needs,
    ) -> Result<Vec<PackageName>, Error> {
        let _ = (names.into_iter().count(), needs);
        unimplemented_yet()
    }
    /// Every package, dependencies first; packages that don't need each other stand in the order of their names.
    pub fn topological(&self) -> Vec<PackageName> {
        Vec::new()
    }
    /// What stands at `/sysroot` while a package is built: what its build requires and what that needs to run.
    pub fn build_sysroot(&self, name: &PackageName) -> Result<Vec<PackageName>, Error> {
        let _ = name;
        unimplemented_yet()
    }
    /// What stands at `/sysroot` while a package is tested: itself, what its test requires, and what those need to run.
    pub fn test_sysroot(&self, name: &PackageName) -> Result<Vec<PackageName>, Error> {
        let _ = name;
        unimplemented_yet()
    }
    /// Every package of an image: those that were asked for and what they need to run, dependencies first.
    pub fn image_packages(&self, name: &ImageName) -> Result<Vec<PackageName>, Error> {
        let _ = name;
        unimplemented_yet()
    }
    /// An image's tags: the written ones and the version of its `version-of` package.
    pub fn tags(&self, name: &ImageName) -> Result<BTreeSet<Tag>, Error> {
        let _ = name;
        unimplemented_yet()
    }
}

fn unimplemented_yet<T>() -> Result<T, Error> {
    Err(Error::NotReady)
}

impl TryFrom<Recipes> for Catalog {
    type Error = Error;
    fn try_from(recipes: Recipes) -> Result<Self, Error> {
        Ok(Self(recipes))
    }
}
impl From<Catalog> for Recipes {
    fn from(catalog: Catalog) -> Self {
        catalog.0
    }
}
