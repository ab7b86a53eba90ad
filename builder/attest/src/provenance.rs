//! SLSA provenance v1: how an image was built.
//!
//! ```text
//! buildDefinition { buildType, externalParameters, internalParameters, resolvedDependencies }
//! runDetails      { builder { id, version }, metadata { invocationId, startedOn, finishedOn }, byproducts }
//! ```
//! Unset, null and empty mean the same. A consumer ignores fields that it does not know, except among the
//! external parameters: a parameter that we do not know may have changed what was built.

use crate::{Error, ResourceDescriptor, Result, Timestamp, json::null_is_default};
use anneal_content::{BlobDigest, CatalogDigest, ImageName};
use serde_json::Value;
use std::collections::BTreeMap;

/// The build type of images: `externalParameters` name a catalog and an image in it; everything else follows.
pub const BUILD_TYPE_IMAGE: &str = "urn:anneal:build-type:image:v1";

const WHAT: &str = "provenance";
/// The most materials and by-products.
const RESOURCES_MAX: usize = 100_000;

/// The predicate.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// What was asked for.
    pub build_definition: BuildDefinition,
    /// What happened.
    pub run_details: RunDetails,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// How to read the parameters: [`BUILD_TYPE_IMAGE`].
    pub build_type: String,
    /// Everything that somebody outside the builder decided.
    pub external_parameters: ExternalParameters,
    /// What the builder itself decided: sandbox profile, layer writer, number of CPUs shown, and so on.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub internal_parameters: BTreeMap<String, Value>,
    /// Recipes, sources, the build root, advisories: each with its digest.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub resolved_dependencies: Vec<ResourceDescriptor>,
}

/// Everything that somebody outside the builder decided. A name that is not here makes verification fail.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalParameters {
    /// Which image.
    pub image: ImageName,
    /// Of which catalog revision.
    pub catalog: CatalogDigest,
    /// For which platform, such as `linux/amd64`.
    pub platform: String,
    /// The advisories that asked for this build, by id, with the digest of each record.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub advisories: BTreeMap<String, BlobDigest>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// Who built it.
    pub builder: Builder,
    /// When, and as which run.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BuildMetadata::is_empty")]
    pub metadata: BuildMetadata,
    /// What else came out: logs, the derivation graph, the sandbox's report.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub byproducts: Vec<ResourceDescriptor>,
}

/// Who built it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Builder {
    /// A URI; a laptop and a daemon are different builders.
    pub id: String,
    /// Versions of the builder's own parts, by name.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub version: BTreeMap<String, String>,
    /// Parts of the builder that bear on trust, such as its seccomp policy.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub builder_dependencies: Vec<ResourceDescriptor>,
}

/// When, and as which run. These differ from run to run, so a statement of provenance is never part of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildMetadata {
    /// Names the run, globally.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub invocation_id: String,
    /// When the first process started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_on: Option<Timestamp>,
    /// When the image was complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_on: Option<Timestamp>,
}

impl BuildMetadata {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Provenance {
    /// The rules that types alone don't hold.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |field: &str, reason: &str| Err(Error::field(WHAT, field, reason));
        let definition = &self.build_definition;
        if definition.build_type != BUILD_TYPE_IMAGE {
            return Err(Error::Unexpected {
                what: WHAT,
                field: "buildType",
                expected: BUILD_TYPE_IMAGE.to_owned(),
                found: crate::json::shown(&definition.build_type),
            });
        }
        if !self.run_details.builder.id.contains(':') {
            return wrong("builder.id", "must be a URI");
        }
        if definition.external_parameters.platform.split('/').filter(|part| !part.is_empty()).count() < 2 {
            return wrong("externalParameters.platform", "must be like linux/amd64");
        }
        let external = ["image", "catalog", "platform", "advisories"];
        if let Some(name) = external.iter().find(|name| definition.internal_parameters.contains_key(**name)) {
            return wrong(&format!("internalParameters.{name}"), "stands among the external parameters already");
        }
        let metadata = &self.run_details.metadata;
        if metadata.started_on.zip(metadata.finished_on).is_some_and(|(started, finished)| finished < started) {
            return wrong("metadata.finishedOn", "is before startedOn");
        }
        self.check_resources()
    }

    fn check_resources(&self) -> Result<()> {
        let lists = [
            ("resolvedDependencies", &self.build_definition.resolved_dependencies),
            ("byproducts", &self.run_details.byproducts),
            ("builderDependencies", &self.run_details.builder.builder_dependencies),
        ];
        for (field, list) in lists {
            if list.len() > RESOURCES_MAX {
                return Err(Error::TooLarge { what: WHAT, limit: RESOURCES_MAX, unit: "resources", found: list.len() });
            }
            if let Some(at) = list.iter().position(|resource| !resource.is_named()) {
                return Err(Error::field(WHAT, format!("{field}[{at}]"), "has no uri, digest or content"));
            }
        }
        Ok(())
    }
}
