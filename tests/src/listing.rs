//! What the ledger has of images and packages, as text, to hold against `golden/`. Digests hold for one build root.

use crate::{Place, sha256, top};
use serde_json::Value;
use std::{collections::BTreeSet, fmt::Write as _};

/// The build root that digests hold for.
pub fn build_root_line() -> String {
    let lock = std::fs::read(top().join("vendor/build-root.lock")).unwrap();
    format!("# With the build root whose lock is sha256:{}\n", sha256(&lock))
}

fn image(place: &Place, digest: &str) -> Value {
    place.anneal(&["image", "show", digest, "--json"]).fine().json()["image"].clone()
}

/// An image as text: what is in it, its layers, and its digest last.
pub fn image_text(place: &Place, digest: &str) -> String {
    let image = image(place, digest);
    let mut text = format!("\n{}\n", image["name"].as_str().unwrap());
    for package in image["packages"].as_array().unwrap() {
        let _ = writeln!(text, "  {} {}", package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
    }
    for layer in image["layers"].as_array().unwrap() {
        let names = layer["packages"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let names = names.collect::<Vec<_>>().join(" ");
        let of = if names.is_empty() { "metadata" } else { &names };
        let _ = writeln!(text, "  layer {} {of}", layer["digest"].as_str().unwrap());
    }
    let _ = writeln!(text, "  image {}", image["manifest"].as_str().unwrap());
    let _ = writeln!(text, "  index {}", image["index"].as_str().unwrap());
    text
}

/// The packages of images: name, version, the digest of what they install.
pub fn package_lines(place: &Place, digests: &[String]) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for digest in digests {
        for package in image(place, digest)["packages"].as_array().unwrap() {
            let text = |name: &str| package[name].as_str().unwrap().to_owned();
            lines.insert(format!("{} {} {}", text("name"), text("version"), text("tree")));
        }
    }
    lines
}

/// Every image that a place built, the oldest first of each name.
pub fn images(place: &Place) -> Vec<String> {
    let mut all = place.candidates();
    all.sort_by_key(|c| (c["image"].as_str().unwrap().to_owned(), c["id"].as_u64().unwrap()));
    all.iter().map(|c| c["manifest"].as_str().unwrap().to_owned()).collect()
}
