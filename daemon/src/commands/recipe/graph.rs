//! The catalogue as a graph: in Graphviz's language, or as a picture.
//!
//! ```text
//! digraph catalogue {
//!   "image nginx" -> "nginx";                      what an image contains
//!   "nginx" -> "zlib";                             what it needs to run
//!   "nginx" -> "make" [style=dashed];              what it needs to be built, and no longer
//! }
//! ```

mod svg;

use anneal_content::{ImageName, PackageName, Version};
use anneal_recipe::Catalog;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// Names and arrows.
#[derive(Debug, Serialize)]
pub(super) struct Graph {
    packages: BTreeMap<PackageName, Node>,
    images: BTreeMap<ImageName, BTreeSet<PackageName>>,
}

/// A package and what it needs.
#[derive(Debug, Serialize)]
struct Node {
    version: Version,
    runtime: BTreeSet<PackageName>,
    build: BTreeSet<PackageName>,
}

impl Graph {
    pub(super) fn of(catalog: &Catalog) -> Self {
        let packages = catalog.packages().iter().map(|(name, recipe)| {
            let (runtime, build) = (recipe.runtime_requires.clone(), recipe.build_requires().cloned().collect());
            (name.clone(), Node { version: recipe.version().clone(), runtime, build })
        });
        let images = catalog.images().iter().map(|(name, recipe)| (name.clone(), recipe.packages.clone()));
        Self { packages: packages.collect(), images: images.collect() }
    }

    /// The graph in Graphviz's language. Names and versions have no quotes or backslashes, by their rules.
    pub(super) fn dot(&self) -> String {
        let mut text = String::from("digraph catalogue {\n  rankdir=LR;\n");
        for (image, packages) in &self.images {
            let _ = writeln!(text, "  \"image {image}\" [shape=box];");
            for package in packages {
                let _ = writeln!(text, "  \"image {image}\" -> \"{package}\";");
            }
        }
        for (name, node) in &self.packages {
            let _ = writeln!(text, "  \"{name}\" [label=\"{name} {}\"];", node.version);
            for needed in &node.runtime {
                let _ = writeln!(text, "  \"{name}\" -> \"{needed}\";");
            }
            for needed in node.build.difference(&node.runtime) {
                let _ = writeln!(text, "  \"{name}\" -> \"{needed}\" [style=dashed];");
            }
        }
        text.push_str("}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<PackageName> {
        names.iter().map(|n| PackageName::new(*n).unwrap()).collect()
    }

    /// An image of a package that runs with one and is built with another.
    pub(super) fn example() -> Graph {
        let node = |version: &str, runtime: &[&str], build: &[&str]| Node {
            version: Version::new(version).unwrap(),
            runtime: set(runtime),
            build: set(build),
        };
        let name = |name: &str| PackageName::new(name).unwrap();
        Graph {
            packages: BTreeMap::from([
                (name("app"), node("1.0", &["zlib"], &["make", "zlib"])),
                (name("make"), node("4.4", &[], &[])),
                (name("zlib"), node("1.3", &[], &[])),
            ]),
            images: BTreeMap::from([(ImageName::new("app").unwrap(), set(&["app"]))]),
        }
    }

    #[test]
    fn what_is_needed_only_to_build_is_dashed() {
        let dot = example().dot();
        assert!(dot.contains("  \"app\" -> \"zlib\";\n"), "{dot}");
        assert!(dot.contains("  \"app\" -> \"make\" [style=dashed];\n"), "{dot}");
        assert!(dot.contains("  \"image app\" -> \"app\";\n"), "{dot}");
    }
}
