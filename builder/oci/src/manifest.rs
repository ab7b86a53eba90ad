//! Manifests: an image's, an index of them, and one that attaches evidence to another by `subject`.

use crate::{
    Descriptor, Document, EMPTY_CONFIG, Error, LAYERS_MAX, MediaType, document,
    document::{check_media_type, shown},
    limits::within,
};
use std::collections::BTreeMap;

/// What an image manifest is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestInput {
    /// The config, from [`Document::descriptor`].
    pub config: Descriptor,
    /// The layers, lowest first, from [`crate::PackedLayer::descriptor`].
    pub layers: Vec<Descriptor>,
    /// Notes for clients.
    pub annotations: BTreeMap<String, String>,
}

/// The manifest of an image or of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// Always [`MediaType::MANIFEST`].
    pub media_type: String,
    /// What kind of artifact it is, where it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Notes for clients.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Manifests under one digest: one a platform, or the referrers of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u32,
    /// Always [`MediaType::INDEX`].
    pub media_type: String,
    /// The manifests, in the order a client tries them.
    pub manifests: Vec<Descriptor>,
    /// Notes for clients.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl ImageManifest {
    /// Reads a manifest of at most [`crate::DOCUMENT_BYTES_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let manifest: Self = document::parse("image manifest", bytes)?;
        check_kind(manifest.schema_version, MediaType::MANIFEST, &manifest.media_type)?;
        Ok(manifest)
    }
}

impl ImageIndex {
    /// Reads an index of at most [`crate::DOCUMENT_BYTES_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let index: Self = document::parse("image index", bytes)?;
        check_kind(index.schema_version, MediaType::INDEX, &index.media_type)?;
        Ok(index)
    }
}

fn check_kind(version: u32, expected: &'static str, found: &str) -> Result<(), Error> {
    if version != 2 {
        return Err(Error::Value { field: "schemaVersion", expected: "2", found: version.to_string() });
    }
    if found != expected {
        return Err(Error::Value { field: "mediaType", expected, found: shown(found) });
    }
    Ok(())
}

/// Writes the manifest of an image.
pub fn image_manifest(input: &ManifestInput) -> Result<Document, Error> {
    within("number of layers", LAYERS_MAX, input.layers.len() as u64)?;
    if input.layers.is_empty() {
        return Err(Error::Value { field: "list of layers", expected: "at least one layer", found: String::new() });
    }
    Document::of(
        MediaType::MANIFEST,
        &ImageManifest {
            schema_version: 2,
            media_type: MediaType::MANIFEST.into(),
            artifact_type: None,
            config: input.config.clone(),
            layers: input.layers.clone(),
            subject: None,
            annotations: input.annotations.clone(),
        },
    )
}

/// Writes an index of manifests, each with its platform.
pub fn image_index(manifests: &[Descriptor], annotations: &BTreeMap<String, String>) -> Result<Document, Error> {
    Document::of(
        MediaType::INDEX,
        &ImageIndex {
            schema_version: 2,
            media_type: MediaType::INDEX.into(),
            manifests: manifests.to_vec(),
            annotations: annotations.clone(),
        },
    )
}

/// Writes a manifest that attaches blobs to a subject, as cosign and others look for with the referrers API.
///
/// Its config is [`EMPTY_CONFIG`], which has to be served beside it.
pub fn referrer_manifest(
    subject: &Descriptor,
    artifact_type: &str,
    layers: &[Descriptor],
    annotations: &BTreeMap<String, String>,
) -> Result<Document, Error> {
    check_media_type("artifact type", artifact_type)?;
    let subject = Descriptor::new(&subject.media_type, subject.digest, subject.size);
    Document::of(
        MediaType::MANIFEST,
        &ImageManifest {
            schema_version: 2,
            media_type: MediaType::MANIFEST.into(),
            artifact_type: Some(artifact_type.to_owned()),
            config: Descriptor::of(MediaType::EMPTY, EMPTY_CONFIG),
            layers: layers.to_vec(),
            subject: Some(subject),
            annotations: annotations.clone(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer() -> Descriptor {
        Descriptor::of(MediaType::LAYER_GZIP, b"layer")
    }

    #[test]
    fn an_image_has_at_least_one_layer_and_at_most_127() {
        let of = |count| {
            let config = Descriptor::of(MediaType::CONFIG, b"{}");
            image_manifest(&ManifestInput { config, layers: vec![layer(); count], annotations: BTreeMap::new() })
        };
        assert!(of(0).is_err());
        assert!(of(1).is_ok());
        assert!(of(127).is_ok());
        assert!(of(128).is_err());
    }

    #[test]
    fn an_artifact_type_must_be_a_media_type() {
        let attach = |kind| referrer_manifest(&layer(), kind, &[layer()], &BTreeMap::new());
        assert!(attach("application/vnd.dev.sigstore.bundle.v0.3+json").is_ok());
        for wrong in ["", "json", "application/", "application/json; charset=utf-8", "a/b/c"] {
            assert!(attach(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_manifest_is_not_taken_for_an_index() {
        let manifest = referrer_manifest(&layer(), "a/b", &[layer()], &BTreeMap::new()).unwrap();
        assert!(ImageManifest::parse(&manifest.bytes).is_ok());
        assert!(ImageIndex::parse(&manifest.bytes).is_err());
        let index = image_index(&[manifest.descriptor()], &BTreeMap::new()).unwrap();
        assert!(ImageIndex::parse(&index.bytes).is_ok());
        assert!(ImageManifest::parse(&index.bytes).is_err());
    }

    #[test]
    fn a_document_over_four_mebibytes_is_neither_written_nor_read() {
        let note = |bytes: usize| BTreeMap::from([("note".to_owned(), "x".repeat(bytes))]);
        assert!(image_index(&[], &note(4 << 20)).is_err());
        let written = image_index(&[], &note((4 << 20) - 200)).unwrap();
        assert!(ImageIndex::parse(&written.bytes).is_ok());
        let padded = [written.bytes.as_slice(), &[b' '; 300]].concat();
        assert!(ImageIndex::parse(&padded).is_err());
    }
}
