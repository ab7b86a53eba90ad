//! The image config: how a container is run from the image, and the uncompressed digests of its layers.
//!
//! Keys and their odd capitals are those of the OCI image specification, `config.md`.

use crate::{Document, Error, LAYERS_MAX, MediaType, Platform, document, document::shown, limits::within, rfc3339};
use anneal_content::BlobDigest;
use std::collections::{BTreeMap, BTreeSet};

/// What a config is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigInput {
    /// What it runs on.
    pub platform: Platform,
    /// The source epoch, in seconds since 1970.
    pub created_secs: u64,
    /// `uid:gid`, in numbers.
    pub user: String,
    /// The program, and the arguments that always precede `cmd`.
    pub entrypoint: Vec<String>,
    /// The arguments that a user replaces.
    pub cmd: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Where the program starts; absolute.
    pub workdir: Option<String>,
    /// Ports it listens on, such as `8080/tcp`.
    pub ports: BTreeSet<String>,
    /// The signal that stops it, such as `SIGQUIT`.
    pub stop_signal: Option<String>,
    /// Notes that container engines show.
    pub labels: BTreeMap<String, String>,
    /// The layers, lowest first.
    pub layers: Vec<ConfigLayer>,
}

/// One layer in a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigLayer {
    /// The digest of the uncompressed tar.
    pub diff_id: BlobDigest,
    /// How it was made, for `history`: the packages in it, say.
    pub created_by: String,
}

/// The config as a document.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImageConfig {
    /// The CPU.
    pub architecture: String,
    /// The system.
    pub os: String,
    /// The CPU's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// How a container is run.
    #[serde(default)]
    pub config: RunConfig,
    /// The layers.
    pub rootfs: RootFs,
    /// How each layer was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

/// How a container is run.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `uid:gid`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports, each with an empty object.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub exposed_ports: BTreeMap<String, BTreeMap<String, String>>,
    /// `KEY=value`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub env: Vec<String>,
    /// The program.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub entrypoint: Vec<String>,
    /// Its default arguments.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub cmd: Vec<String>,
    /// Where it starts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Notes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
}

/// The layers of an image, uncompressed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed tars, lowest first.
    pub diff_ids: Vec<BlobDigest>,
}

/// How one layer was made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Whether the step made no layer; Anneal writes none such.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// Images of other tools write `null` for an empty list.
fn null_is_empty<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + serde::Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    use serde::Deserialize as _;
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl ImageConfig {
    /// Reads a config of at most [`crate::DOCUMENT_BYTES_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        document::parse("image config", bytes)
    }
}

/// Writes a config.
pub fn image_config(input: &ConfigInput) -> Result<Document, Error> {
    within("number of layers", LAYERS_MAX, input.layers.len() as u64)?;
    let created = rfc3339(input.created_secs)?;
    let history = input.layers.iter().map(|layer| History {
        created: Some(created.clone()),
        created_by: Some(layer.created_by.clone()),
        empty_layer: false,
    });
    let run = RunConfig {
        user: input.user.clone(),
        exposed_ports: input.ports.iter().map(|p| Ok((port(p)?, BTreeMap::new()))).collect::<Result<_, Error>>()?,
        env: input.env.iter().map(|(key, value)| variable(key, value)).collect::<Result<_, Error>>()?,
        entrypoint: input.entrypoint.clone(),
        cmd: input.cmd.clone(),
        working_dir: input.workdir.as_deref().map(absolute).transpose()?.unwrap_or_default(),
        labels: input.labels.clone(),
        stop_signal: input.stop_signal.clone().unwrap_or_default(),
    };
    let config = ImageConfig {
        architecture: input.platform.architecture.clone(),
        os: input.platform.os.clone(),
        variant: input.platform.variant.clone(),
        created: Some(created.clone()),
        config: run,
        rootfs: RootFs { kind: "layers".into(), diff_ids: input.layers.iter().map(|l| l.diff_id).collect() },
        history: history.collect(),
    };
    Document::of(MediaType::CONFIG, &config)
}

fn port(text: &str) -> Result<String, Error> {
    let wrong = || Error::Value {
        field: "port of the image",
        expected: "a number from 1 to 65535 and `/tcp`, `/udp` or `/sctp`",
        found: shown(text),
    };
    let (number, protocol) = text.split_once('/').ok_or_else(wrong)?;
    let plain = number.parse::<u16>().is_ok_and(|n| n > 0 && n.to_string() == number);
    if plain && ["tcp", "udp", "sctp"].contains(&protocol) { Ok(text.to_owned()) } else { Err(wrong()) }
}

fn variable(key: &str, value: &str) -> Result<String, Error> {
    if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
        let expected = "a name without `=`, and neither name nor value with NUL";
        return Err(Error::Value { field: "environment variable of the image", expected, found: shown(key) });
    }
    Ok(format!("{key}={value}"))
}

fn absolute(path: &str) -> Result<String, Error> {
    if path.starts_with('/') && !path.contains('\0') && !path.split('/').any(|part| part == "..") {
        return Ok(path.to_owned());
    }
    let expected = "an absolute path without `..`";
    Err(Error::Value { field: "working directory of the image", expected, found: shown(path) })
}
