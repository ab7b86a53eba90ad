//! What an image's evidence names, from the store that has it or from a layout that somebody brought: the statement of how
//! it was built, the catalogue, the lock of the build root.

use super::{PLATFORM, ReproduceArgs};
use crate::{
    commands::image::find,
    error::{Error, Result},
    oci_layout::Carried,
    settings::Settings,
    view::{View, view},
};
use anneal_attest::{Keyring, Predicate, PredicateType, Provenance};
use anneal_builder::{CUT_OFF_WITHDRAWN, SANDBOX_PROFILE, SWAPPED, SwappedBuild};
use anneal_content::{BlobDigest, DerivationId, ImageName, PackageName};
use anneal_fetch::BuildRootLock;
use anneal_ledger::PackageRecord;
use anneal_recipe::{Catalog, Needs};
use anneal_store::Store;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Where the evidence is.
pub(super) enum Evidence {
    /// A daemon, or its state directory.
    Here(View),
    /// A layout; nothing in it is believed but by digest or signature.
    Carried(Carried),
}

/// The image that is to be built again.
pub(super) struct Subject {
    pub(super) manifest: BlobDigest,
    /// What says how it was built, in bundles that are not verified yet.
    bundles: Vec<Vec<u8>>,
    /// What is in it, where that is known before anything is built.
    pub(super) packages: Option<Vec<PackageRecord>>,
}

/// Everything that the evidence names.
pub(super) struct Recipe {
    pub(super) catalog: Catalog,
    pub(super) lock: BuildRootLock,
    pub(super) provenance: Provenance,
    pub(super) former: Vec<FormerBuild>,
}

/// A package that was built from another catalogue than the image's.
pub(super) struct FormerBuild {
    pub(super) named: NamedSwap,
    pub(super) catalog: Catalog,
}

/// It as provenance names it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamedSwap {
    pub(super) package: PackageName,
    pub(super) derivation: DerivationId,
    pub(super) cut_off_withdrawn: BTreeSet<PackageName>,
}

impl Recipe {
    /// The image that is made of it.
    pub(super) fn image(&self) -> &ImageName {
        &self.provenance.build_definition.external_parameters.image
    }
}

impl Evidence {
    pub(super) fn open(args: &ReproduceArgs, settings: &Settings) -> Result<Self> {
        match &args.from {
            Some(dir) => Ok(Self::Carried(Carried::open(dir)?)),
            None => Ok(Self::Here(view(settings)?)),
        }
    }

    /// The image that a text means, with what is said of how it was built.
    pub(super) fn subject(&self, text: &str) -> Result<Subject> {
        let wanted = PredicateType::Provenance;
        let (manifest, bundles, packages) = match self {
            Self::Here(view) => {
                let state = view.state()?;
                let image = find(&state, text)?;
                let of_kind = image.evidence.iter().filter(|one| one.predicate_type == wanted.uri());
                let bundles = of_kind.map(|one| view.blob(&one.bundle)).collect::<Result<Vec<_>>>()?;
                (image.manifest, bundles, Some(image.packages.clone()))
            }
            Self::Carried(layout) => {
                let manifest = layout.find(text)?;
                (manifest, layout.statements(&manifest, wanted)?, None)
            }
        };
        match bundles.is_empty() {
            false => Ok(Subject { manifest, bundles, packages }),
            true => Err(Error::No(format!("{manifest} has no provenance; it is signed when its checks have passed"))),
        }
    }

    fn blob(&self, digest: &BlobDigest) -> Result<Vec<u8>> {
        match self {
            Self::Here(view) => view.blob(digest),
            Self::Carried(layout) => layout.blob(digest),
        }
    }

    /// Puts an input into a store, if it is here and right.
    pub(super) fn bring(&self, digest: &BlobDigest, store: &Store) -> Result<bool> {
        match self {
            Self::Here(view) => match view.blob(digest) {
                Ok(bytes) if BlobDigest::of(&bytes) == *digest => {
                    store.put_blob(&bytes).map(|_| true).map_err(Into::into)
                }
                _ => Ok(false),
            },
            Self::Carried(layout) => layout.copy(digest, store),
        }
    }
}

/// Reads what the evidence names; an error names everything that is missing or can't be used.
pub(super) fn recipe_of(evidence: &Evidence, subject: &Subject, trusted: &Keyring) -> Result<Recipe> {
    let provenance = verified(subject, trusted)?;
    let (name, manifest) = (&provenance.build_definition.external_parameters.image, &subject.manifest);
    let mut missing = unusable(&provenance);
    let catalog = named(&provenance, "catalog", evidence, &mut missing);
    let catalog = catalog.and_then(|bytes| Catalog::from_json(&bytes).map_err(|e| missing.push(e.to_string())).ok());
    let lock = named(&provenance, "build-root.lock", evidence, &mut missing);
    let lock = lock.and_then(|bytes| BuildRootLock::of_identity(&bytes).map_err(|e| missing.push(e.to_string())).ok());
    let mut former = Vec::new();
    for named_swap in swaps_of(&provenance)? {
        let former_name = SwappedBuild::catalog_name(&named_swap.package);
        let bytes = named(&provenance, &former_name, evidence, &mut missing);
        let catalog = bytes.and_then(|b| Catalog::from_json(&b).map_err(|e| missing.push(e.to_string())).ok());
        former.extend(catalog.map(|catalog| FormerBuild { named: named_swap, catalog }));
    }
    if let (Some(catalog), Some(lock)) = (catalog, lock) {
        missing.extend(unnamed(&catalog, &catalog.image_packages(name)?, &provenance)?);
        for one in &former {
            missing.extend(unnamed(&one.catalog, std::slice::from_ref(&one.named.package), &provenance)?);
        }
        if missing.is_empty() {
            return Ok(Recipe { catalog, lock, provenance, former });
        }
    }
    let missing: String = missing.iter().map(|what| format!("\n  {what}")).collect();
    Err(Error::No(format!("the evidence of {name} {manifest} is not enough to build it again:{missing}")))
}

/// The first of the statements that a trusted key signed about this image.
fn verified(subject: &Subject, trusted: &Keyring) -> Result<Provenance> {
    let mut refused = Vec::new();
    for bundle in &subject.bundles {
        match trusted.verify(bundle, PredicateType::Provenance, &subject.manifest) {
            Ok((statement, _)) => match statement.predicate {
                Predicate::Provenance(provenance) => return Ok(*provenance),
                _ => return Err(Error::Internal("a statement is not of the type that was verified".into())),
            },
            Err(error) => refused.push(Error::from(error).chain()),
        }
    }
    let why = refused.join("; ");
    Err(Error::No(format!("the provenance of {} is not verified: {why}", subject.manifest)))
}

/// The packages for which the cut-off by interface was withdrawn; provenance of a program that had none names none.
pub(super) fn withdrawn(provenance: &Provenance) -> Result<BTreeSet<PackageName>> {
    let named = provenance.build_definition.internal_parameters.get(CUT_OFF_WITHDRAWN);
    let named = named.map(|names| serde_json::from_value(names.clone())).transpose();
    named.map(Option::unwrap_or_default).map_err(|e| Error::No(format!("{CUT_OFF_WITHDRAWN} of the provenance: {e}")))
}

/// The former builds that ship in it; provenance of a program that had none names none.
fn swaps_of(provenance: &Provenance) -> Result<Vec<NamedSwap>> {
    let named = provenance.build_definition.internal_parameters.get(SWAPPED);
    let named = named.map(|swaps| serde_json::from_value(swaps.clone())).transpose();
    named.map(Option::unwrap_or_default).map_err(|e| Error::No(format!("{SWAPPED} of the provenance: {e}")))
}

/// What this program does otherwise than the one that built the image.
fn unusable(provenance: &Provenance) -> Vec<String> {
    let definition = &provenance.build_definition;
    let ours =
        [("sandboxProfile", serde_json::json!(SANDBOX_PROFILE)), ("layerWriter", anneal_oci::LAYER_WRITER.into())];
    let version = provenance.run_details.builder.version.get("anneal").map_or("unknown", String::as_str);
    let mut wrong = Vec::new();
    for (name, ours) in ours {
        let theirs = definition.internal_parameters.get(name);
        if theirs != Some(&ours) {
            let theirs = theirs.map_or("nothing".to_owned(), ToString::to_string);
            wrong.push(format!("{name} was {theirs} and is {ours} here; use anneal {version}, which built it"));
        }
    }
    let platform = &definition.external_parameters.platform;
    if platform != PLATFORM {
        wrong.push(format!("it is for {platform}; this program builds for {PLATFORM}"));
    }
    wrong
}

/// The bytes of a document that provenance names.
fn named(provenance: &Provenance, name: &str, evidence: &Evidence, missing: &mut Vec<String>) -> Option<Vec<u8>> {
    let resource = provenance.build_definition.resolved_dependencies.iter().find(|one| one.name == name);
    let hex = resource.and_then(|resource| resource.digest.get(BlobDigest::ALGORITHM));
    let digest = hex.and_then(|hex| format!("sha256:{hex}").parse::<BlobDigest>().ok());
    let Some(digest) = digest else {
        missing.push(format!("its provenance names no {name}"));
        return None;
    };
    match evidence.blob(&digest) {
        Ok(bytes) if BlobDigest::of(&bytes) == digest => Some(bytes),
        Ok(_) => {
            missing.push(format!("{name} {digest} is damaged"));
            None
        }
        Err(error) => {
            missing.push(format!("{name} {digest} cannot be read: {}", error.chain()));
            None
        }
    }
}

/// Sources that the catalogue asks for and provenance does not name.
fn unnamed(catalog: &Catalog, packages: &[PackageName], provenance: &Provenance) -> Result<Vec<String>> {
    let dependencies = &provenance.build_definition.resolved_dependencies;
    let known: BTreeSet<&str> =
        dependencies.iter().filter_map(|one| one.digest.get(BlobDigest::ALGORITHM)).map(String::as_str).collect();
    let mut unnamed = Vec::new();
    for package in catalog.closure(packages, Needs::Build)? {
        for source in &catalog.package(&package)?.selected().sources {
            if !known.contains(source.sha256.hex().as_str()) {
                unnamed.push(format!("its provenance does not name {}, a source of {package}", source.file));
            }
        }
    }
    Ok(unnamed)
}
