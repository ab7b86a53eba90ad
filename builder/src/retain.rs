//! What the active catalogue needs of the store: its sources, its build root, what its packages came out as.

use crate::{Builder, Result, builder::REALISED, testing::TESTED};
use anneal_content::{ActionDigest, DerivationId};
use anneal_oci::PackedLayer;
use anneal_plan::{Derived, Inputs};
use anneal_recipe::{Catalog, PackageRecipe};
use anneal_store::{Node, RecordMeaning, Root};

/// The records that builders write, and what each stands for: it goes when that goes.
pub const RECORDS: &[(&str, RecordMeaning)] =
    &[(REALISED, realised_action), (TESTED, tested_log), (crate::assemble::PACKED, packed_layer)];

fn realised_action(bytes: &[u8]) -> Option<Node> {
    std::str::from_utf8(bytes).ok()?.parse().ok().map(Node::Action)
}

fn tested_log(bytes: &[u8]) -> Option<Node> {
    serde_json::from_slice::<crate::testing::TestRecord>(bytes).ok().map(|test| Node::Blob(test.log))
}

fn packed_layer(bytes: &[u8]) -> Option<Node> {
    serde_json::from_slice::<PackedLayer>(bytes).ok().map(|layer| Node::Blob(layer.digest))
}

/// The archived sources of a package's releases: `listed` takes all of them, else only the one that is built.
pub fn source_roots(recipe: &PackageRecipe, listed: bool, of: &str) -> Vec<Root> {
    let releases = recipe.releases.listed();
    let releases = releases.filter(|release| listed || release.version == recipe.releases.selected().version);
    let roots = releases.flat_map(|release| {
        release.sources.iter().map(|source| Root {
            node: Node::Blob(source.sha256),
            kind: "sources",
            why: format!("{} of {} {} {of}", source.file, recipe.name, release.version),
        })
    });
    roots.collect()
}

impl Builder {
    /// The action that a derivation resolved to when it was built.
    pub fn action_of(&self, id: &DerivationId) -> Result<Option<ActionDigest>> {
        let bytes = self.store.record(REALISED, &id.to_string())?;
        Ok(bytes.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()?.parse().ok()))
    }

    /// What the active catalogue needs, as far as it is there.
    pub fn needs(&self, catalog: &Catalog, derived: &Derived) -> Result<Vec<Root>> {
        let mut roots = Vec::new();
        for recipe in catalog.packages().values() {
            roots.extend(source_roots(recipe, true, "in the active catalogue"));
        }
        for package in self.root.lock().packages.iter().chain(&self.abi_tools.lock().packages) {
            let why = format!("{} {} of the build root", package.name, package.version);
            roots.push(Root { node: Node::Blob(package.sha256), kind: "build root", why });
        }
        let realised = self.recorded(derived)?;
        for (name, id) in &derived.ids {
            let Some(realised) = realised.get(id) else { continue };
            let why = format!("the build of {name} in the active catalogue");
            roots.push(Root { node: Node::Action(realised.action), kind: "builds", why });
        }
        let outputs = |id: &DerivationId| realised.get(id).map(|one| one.outputs.clone());
        let built: Inputs = derived.ids.iter().filter_map(|(name, id)| Some((name.clone(), outputs(id)?))).collect();
        for name in catalog.packages().keys() {
            if let Some(test) = self.test_record(catalog, name, &built)? {
                let why = format!("the log of the tests of {name} in the active catalogue");
                roots.push(Root { node: Node::Blob(test.log), kind: "logs", why });
            }
        }
        let mut here = Vec::new();
        for root in roots {
            // what was never fetched is not missing
            if !matches!(root.node, Node::Blob(blob) if !self.store.has(&blob)?) {
                here.push(root);
            }
        }
        Ok(here)
    }
}
