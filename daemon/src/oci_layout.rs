//! Images with their evidence as a directory that other tools read, for a site that no network reaches.
//!
//! ```text
//! DIR/oci-layout          the version of the format
//! DIR/index.json          what is in it: each image under its tags, then what was said about it
//! DIR/blobs/sha256/HEX    indexes, manifests, configs, layers, bundles
//! ```
//! Evidence is what the registry lists as referrers: manifests with a `subject`, here entries of `index.json` without a
//! name. `skopeo inspect oci:DIR:NAME:TAG` finds an image by its name. No key is in it: who imports takes keys from elsewhere.
//! Where it is to be built again elsewhere, what its provenance names lies beside it as layers of one more such manifest.

mod carried;
mod export;
mod import;
mod untrusted;

pub(crate) use carried::Carried;
pub(crate) use export::export;
pub(crate) use import::{Imported, TrustedKeys, import};

/// The file that says that a directory is a layout, and what it holds.
const MARKER: &str = "oci-layout";
const MARKER_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX: &str = "index.json";
/// The media type of what an image was built from, and of the manifest that has it.
const INPUT: &str = "application/vnd.anneal.build-input.v1";
/// The annotation that names an entry of `index.json`.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
