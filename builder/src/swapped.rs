//! What provenance says of the packages of an image that were not built with the libraries that it ships.

use anneal_attest::ResourceDescriptor;
use anneal_content::{BlobDigest, DerivationId, OutputName, PackageName, TreeDigest, Version};
use anneal_plan::Derivation;
use anneal_recipe::{Catalog, PackageRecipe};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

type Outputs = BTreeMap<OutputName, TreeDigest>;

/// The internal parameter that names former builds that ship, each with the catalogue that it comes from.
pub const SWAPPED: &str = "swapped";

/// A swapped build of an image.
#[derive(Debug, Clone)]
pub struct SwappedBuild {
    /// The package.
    pub package: PackageName,
    /// Its version.
    pub version: Version,
    /// The derivation that the catalogue asks for.
    pub in_place_of: DerivationId,
    /// The one that ships.
    pub former: DerivationId,
    /// The catalogue that it comes from.
    pub catalog: Catalog,
    /// That catalogue as a blob.
    pub catalog_blob: BlobDigest,
    /// The packages for which the cut-off by interface was withdrawn then.
    pub withdrawn: BTreeSet<PackageName>,
    /// The libraries, each with the trees it was built with, those of now, and the comparison.
    pub linked: BTreeMap<PackageName, (Outputs, Outputs, Option<BlobDigest>)>,
    /// The log of its tests.
    pub tests: BlobDigest,
}

impl SwappedBuild {
    /// The name of its catalogue among the materials.
    pub fn catalog_name(package: &PackageName) -> String {
        format!("catalog of the swapped {package}")
    }

    /// It among the internal parameters.
    pub(crate) fn parameter(&self) -> serde_json::Value {
        let linked: BTreeMap<_, _> = self
            .linked
            .iter()
            .map(|(library, (built_with, now, report))| {
                (library.to_string(), json!({ "builtWith": built_with, "now": now, "abiReport": report }))
            })
            .collect();
        json!({
            "package": self.package, "version": self.version, "inPlaceOf": self.in_place_of, "derivation": self.former,
            "cutOffWithdrawn": self.withdrawn, "linked": linked, "tests": self.tests,
        })
    }

    /// Its catalogue, the libraries that it was really built with, and what speaks for it.
    pub(crate) fn materials(&self) -> Vec<ResourceDescriptor> {
        let (package, version) = (&self.package, &self.version);
        let mut materials = vec![
            ResourceDescriptor::blob(Self::catalog_name(package), &self.catalog_blob),
            ResourceDescriptor::blob(format!("tests of the swapped {package} {version}"), &self.tests),
        ];
        for (library, (built_with, _, report)) in &self.linked {
            for (output, tree) in built_with {
                let name = format!("tree of {library}:{output} that {package} {version} was built with");
                materials.push(ResourceDescriptor::blob(name, &BlobDigest::from_bytes(*tree.as_bytes())));
            }
            let name = format!("types of {library} for {package} {version}");
            materials.extend(report.iter().map(|report| ResourceDescriptor::blob(name.clone(), report)));
        }
        materials
    }
}

/// The recipe that a derivation was made of: that of the catalogue, or of one that a swapped build comes from.
pub(crate) fn recipe_of<'c>(
    derivation: &Derivation,
    catalog: &'c Catalog,
    swapped: &'c [SwappedBuild],
) -> Option<&'c PackageRecipe> {
    let is_of = |recipe: &PackageRecipe| {
        let sources = recipe.selected().sources.iter().map(|source| &source.sha256);
        *recipe.version() == derivation.version && sources.eq(derivation.sources.iter().map(|source| &source.sha256))
    };
    let catalogs = std::iter::once(catalog).chain(swapped.iter().map(|one| &one.catalog));
    let mut recipes = catalogs.filter_map(|catalog| catalog.packages().get(&derivation.name));
    recipes.find(|recipe| is_of(recipe)).map(AsRef::as_ref)
}
