//! The documents of an image as they are written: OCI manifest and configuration.
//!
//! Read leniently: a field that is absent or empty is for a check to complain about, so that one mistake does not hide
//! the others. Only what is not JSON, or has a field of another type, cannot be read.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The largest document that is read, in bytes.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// An OCI descriptor.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
}

/// An OCI image manifest.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// An OCI image configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) architecture: String,
    pub(crate) os: String,
    pub(crate) created: Option<String>,
    pub(crate) config: Process,
    pub(crate) rootfs: RootFs,
    pub(crate) history: Vec<History>,
}

/// How a container is run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Process {
    pub(crate) user: String,
    pub(crate) exposed_ports: BTreeMap<String, serde_json::Value>,
    pub(crate) env: Vec<String>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) working_dir: String,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) stop_signal: Option<String>,
    pub(crate) healthcheck: Option<serde_json::Value>,
}

/// The layers, uncompressed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) diff_ids: Vec<String>,
}

/// One step of how the image was made.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct History {
    pub(crate) created: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) comment: Option<String>,
    pub(crate) empty_layer: bool,
}

/// Reads a document, or says why not.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(what: &str, bytes: &[u8]) -> Result<T, String> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(format!("{what}: {} bytes, more than {DOCUMENT_BYTES_MAX}", bytes.len()));
    }
    serde_json::from_slice(bytes).map_err(|e| format!("{what}: {e}"))
}

impl Process {
    /// The whole command line.
    pub(crate) fn argv(&self) -> Vec<&str> {
        let parts = [&self.entrypoint, &self.cmd];
        parts.into_iter().flatten().flatten().map(String::as_str).collect()
    }
}
