//! in-toto's ResourceDescriptor: a thing named by digest, location or content.

use crate::json::null_is_default;
use anneal_content::BlobDigest;
use serde_json::Value;
use std::collections::BTreeMap;

/// A material, a by-product or a configuration. At least one of `uri`, `digest` and `content` must be set.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceDescriptor {
    /// Tells it from its neighbours.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Names it to the world.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub uri: String,
    /// Digests by algorithm, such as `sha256` and `gitCommit`, in hex.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: BTreeMap<String, String>,
    /// The thing itself, in base64.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub content: String,
    /// Where it was fetched from, if that is not the `uri`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub download_location: String,
    /// Its media type.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// Anything else.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, Value>,
}

impl ResourceDescriptor {
    /// A named blob.
    pub fn blob(name: impl Into<String>, digest: &BlobDigest) -> Self {
        Self {
            name: name.into(),
            digest: BTreeMap::from([(BlobDigest::ALGORITHM.to_owned(), digest.hex())]),
            ..Self::default()
        }
    }

    /// Whether it names anything at all, as the specification demands.
    pub(crate) fn is_named(&self) -> bool {
        !(self.uri.is_empty() && self.digest.is_empty() && self.content.is_empty())
    }
}
