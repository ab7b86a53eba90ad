//! Trees to OCI images: deterministic layers, config, manifest, index and referrer manifests.
//!
//! The same entries give the same layer bytes on every machine, at every time and with any number of
//! threads; the same inputs give the same JSON. Nothing here reads a clock or a disk: file contents come
//! from a [`anneal_content::BlobSource`], and compressed bytes go to a writer of the caller's.
//!
//! ```text
//! LayerEntry... --pack_layer--> layer blob + PackedLayer --+--> image_config   --+
//!                                                         +---------------------+--> image_manifest --> image_index
//!                                      evidence blob --> referrer_manifest --subject--^
//! ```

mod annotation;
mod block;
mod config;
mod descriptor;
mod document;
mod error;
mod group;
mod gzip;
mod layer;
mod limits;
mod manifest;
mod ustar;
mod zstandard;

pub use annotation::{ImageFacts, rfc3339};
pub use config::{ConfigInput, ConfigLayer, History, ImageConfig, RootFs, RunConfig, image_config};
pub use descriptor::{Descriptor, MediaType, Platform};
pub use document::{Document, EMPTY_CONFIG};
pub use error::Error;
pub use group::group;
pub use layer::{Compression, LAYER_WRITER, LayerEntry, PackedLayer, Packing, pack_layer};
pub use limits::{DOCUMENT_BYTES_MAX, ENTRIES_MAX, LAYER_BYTES_MAX, LAYERS_MAX, PATH_BYTES_MAX};
pub use manifest::{ImageIndex, ImageManifest, ManifestInput, image_index, image_manifest, referrer_manifest};

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;
