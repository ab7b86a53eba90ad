//! The statements about an image: what is in it, how it was built, how it fared. Unsigned: keys are not the builder's.

use crate::{AssembledImage, Builder, Kept, Linked, Result, SWAPPED, SwappedBuild, swapped::recipe_of};
use anneal_attest::{
    BUILD_TYPE_IMAGE, BuildDefinition, BuildMetadata, Builder as BuilderId, ExternalParameters, FileChecksums,
    Predicate, Provenance, ResourceDescriptor, RunDetails, SbomFile, SbomInput, SbomPackage, SbomSource, Statement,
    TestResult, Timestamp, sbom,
};
use anneal_checks::{Finding, Outcome, Severity};
use anneal_content::{
    BlobDigest, BlobSource as _, CatalogDigest, CommitId, Entry, EntryKind, PackageName, TreePath, canonical_json, list,
};
use anneal_plan::{CutOff, Derived};
use anneal_recipe::{Catalog, Needs, PackageRecipe, Place};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What the statements say beside what the image itself tells.
#[derive(Debug, Clone)]
pub struct EvidenceInput {
    /// The catalog revision.
    pub revision: CatalogDigest,
    /// The revision as a blob.
    pub revision_blob: BlobDigest,
    /// The branch and its commit that the recipes are of, but for the releases that cases chose.
    pub commit: Option<(String, CommitId)>,
    /// The advisories that asked for this build.
    pub advisories: BTreeMap<String, BlobDigest>,
    /// Names this run, globally.
    pub invocation: String,
    /// When the image was complete, seconds since 1970.
    pub finished_secs: i64,
    /// What the checks found.
    pub findings: Vec<Finding>,
    /// The findings as a blob.
    pub results: BlobDigest,
    /// The SBOM that was checked.
    pub sbom: BlobDigest,
    /// A URI that names this builder and its mode.
    pub builder_id: String,
    /// The packages of it that were not built with the libraries that it ships.
    pub swapped: Vec<SwappedBuild>,
}

/// The three statements.
#[derive(Debug, Clone)]
pub struct Statements {
    /// What is in it.
    pub sbom: Statement,
    /// How it was built.
    pub provenance: Statement,
    /// How it fared.
    pub test_result: Statement,
    /// The lock of the build root, put into the store: provenance names it, and with it the image can be built again.
    pub build_root: BlobDigest,
}

/// The internal parameter that names the packages whose builds were keyed by content alone.
pub const CUT_OFF_WITHDRAWN: &str = "cutOffWithdrawn";
/// The internal parameters that say what is to be built, and nothing about the runs that built it: who builds it again and
/// gets the same says them, too.
pub const CONFIRMED_PARAMETERS: &[&str] = &[DERIVATION, SANDBOX, LAYERS, CUT_OFF_WITHDRAWN, SWAPPED];
/// The internal parameter that names what the image was made from.
const DERIVATION: &str = "derivation";
/// The one that names the sandbox's profile.
const SANDBOX: &str = "sandboxProfile";
/// The one that names how layers are written.
const LAYERS: &str = "layerWriter";
/// The largest licence file.
const LICENSE_BYTES_MAX: u64 = 1 << 20;

/// The names in a licence expression that no list defines, whose text an SBOM must give.
fn own_licenses(expression: &str) -> Vec<String> {
    let words = expression.split(|c: char| c.is_whitespace() || "()+".contains(c));
    words.filter(|word| word.starts_with("LicenseRef-")).map(ToOwned::to_owned).collect()
}

/// A package's package URL without its version: whoever writes that too must know how URLs spell it.
pub(crate) fn purl(recipe: &PackageRecipe) -> String {
    recipe.upstream.purl.clone().unwrap_or_else(|| format!("pkg:generic/{}", recipe.name))
}

impl Builder {
    /// The SPDX document of an image: a pure function of what is in it.
    pub(crate) fn sbom(&self, catalog: &Catalog, image: &AssembledImage) -> Result<Vec<u8>> {
        let recipe = catalog.image(&image.name)?;
        let mut packages = Vec::new();
        let mut license_texts = BTreeMap::new();
        for (name, (version, _, tree)) in &image.packages {
            let recipe = catalog.package(name)?;
            let mut files = Vec::new();
            let entries = list(tree, &self.store)?;
            for reference in own_licenses(&recipe.license.to_string()) {
                if let Some(text) = self.license_text(name, &entries)? {
                    license_texts.insert(reference, text);
                }
            }
            for entry in entries {
                if let EntryKind::File { digest, .. } = entry.kind {
                    files.push(self.sbom_file(entry.path, &digest)?);
                }
            }
            let requires = catalog.closure([name], Needs::Runtime)?;
            packages.push(SbomPackage {
                name: name.clone(),
                version: version.clone(),
                license: recipe.license.to_string(),
                purl: purl(recipe),
                cpe: recipe.upstream.cpe.clone(),
                summary: recipe.summary.clone(),
                homepage: recipe.homepage.clone(),
                sources: recipe.selected().sources.iter().map(sbom_source).collect(),
                files,
                requires: requires.into_iter().filter(|r| r != name && image.packages.contains_key(r)).collect(),
            });
        }
        let mut files = Vec::new();
        for entry in self.own_entries(recipe)? {
            if let EntryKind::File { digest, .. } = entry.kind {
                files.push(self.sbom_file(entry.path, &digest)?);
            }
        }
        let document = sbom(&SbomInput {
            image: image.name.clone(),
            digest: image.manifest,
            created: Timestamp::from_unix(i64::try_from(image.epoch_secs).unwrap_or(i64::MAX))?,
            tool: concat!("anneal-", env!("CARGO_PKG_VERSION")).to_owned(),
            packages,
            files,
            license_texts,
        })?;
        Ok(canonical_json(&document)?)
    }

    /// The licence that a package ships beneath `usr/share/licenses/<package>/`.
    fn license_text(&self, name: &PackageName, entries: &[Entry]) -> Result<Option<String>> {
        let folder = format!("usr/share/licenses/{name}/");
        let mut text = String::new();
        for entry in entries.iter().filter(|entry| entry.path.as_str().starts_with(&folder)) {
            if let EntryKind::File { digest, .. } = &entry.kind {
                text.push_str(&String::from_utf8_lossy(&self.store.read_blob(digest, LICENSE_BYTES_MAX)?));
            }
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Puts the SPDX document of an image into the store.
    pub fn put_sbom(&self, catalog: &Catalog, image: &AssembledImage) -> Result<BlobDigest> {
        Ok(self.store.put_blob(&self.sbom(catalog, image)?)?)
    }

    fn sbom_file(&self, path: TreePath, digest: &BlobDigest) -> Result<SbomFile> {
        let damaged = |source| anneal_content::Error::Read { digest: *digest, source };
        let mut reader = self.store.open(digest).map_err(damaged)?;
        let io = |source| damaged(anneal_content::ReadError::Io { digest: *digest, source });
        Ok(SbomFile { path, checksums: FileChecksums::of(&mut reader).map_err(io)? })
    }

    /// The statements about an image that was examined.
    pub fn state(
        &self,
        catalog: &Catalog,
        derived: &Derived,
        image: &AssembledImage,
        input: &EvidenceInput,
    ) -> Result<Statements> {
        let about = |predicate| Statement::about(image.name.to_string(), image.manifest, predicate);
        let document = self
            .store
            .read(&input.sbom)
            .map_err(|source| anneal_content::Error::Read { digest: input.sbom, source })?;
        let document = serde_json::from_slice(&document)
            .map_err(|e| crate::Error::Missing { what: format!("a readable SBOM {}: {e}", input.sbom) })?;
        let build_root = self.store.put_blob(
            &self
                .root
                .lock()
                .identity()
                .map_err(|source| crate::Error::BuildRoot { lock: self.root.digest(), source: Box::new(source) })?,
        )?;
        Ok(Statements {
            build_root,
            sbom: about(Predicate::Spdx(document)),
            provenance: about(Predicate::Provenance(Box::new(self.provenance(catalog, derived, image, input)?))),
            test_result: about(Predicate::TestResult(test_result(input)?)),
        })
    }

    fn provenance(
        &self,
        catalog: &Catalog,
        derived: &Derived,
        image: &AssembledImage,
        input: &EvidenceInput,
    ) -> Result<Provenance> {
        let mut dependencies = vec![
            ResourceDescriptor::blob("catalog", &input.revision_blob),
            ResourceDescriptor::blob("build-root.lock", &self.root.digest()),
        ];
        dependencies.extend(input.commit.as_ref().map(|(place, commit)| ResourceDescriptor {
            name: "catalog commit".to_owned(),
            uri: place.clone(),
            digest: BTreeMap::from([("gitCommit".to_owned(), commit.to_string())]),
            ..ResourceDescriptor::default()
        }));
        for package in &self.root.lock().packages {
            let mut resource =
                ResourceDescriptor::blob(format!("{}_{}.deb", package.name, package.version), &package.sha256);
            resource.uri = package.place().to_string();
            dependencies.push(resource);
        }
        for (id, record) in &input.advisories {
            dependencies.push(ResourceDescriptor::blob(format!("advisory {id}"), record));
        }
        let (mut logs, mut started, mut unenforced) = (Vec::new(), None, BTreeSet::new());
        let names: Vec<PackageName> = image.packages.keys().cloned().collect();
        let closure = derived.whole_closure_of(&names);
        let kept = self.kept(derived, &closure, &self.recorded(derived)?)?;
        dependencies.extend(kept.iter().flat_map(really_built_with));
        dependencies.extend(input.swapped.iter().flat_map(SwappedBuild::materials));
        let mut withdrawn = BTreeSet::new();
        for id in closure {
            let Some(derivation) = derived.derivations.get(&id) else { continue };
            let is_asked = derived.ids.get(&derivation.name) == Some(&id);
            withdrawn.extend((is_asked && derivation.cut_off == CutOff::Content).then(|| derivation.name.clone()));
            let recipe = recipe_of(derivation, catalog, &input.swapped);
            let recipe = recipe.ok_or_else(|| crate::Error::Missing {
                what: format!("the recipe of {} {}", derivation.name, derivation.version),
            })?;
            for source in &recipe.selected().sources {
                let mut resource = ResourceDescriptor::blob(source.file.to_string(), &source.sha256);
                resource.uri = source.places.first().map(ToString::to_string).unwrap_or_default();
                dependencies.push(resource);
            }
            let Some(realised) = self.realised_one(&id)? else { continue };
            let Some(result) = self.plain_result(&realised.action)? else { continue };
            logs.push(ResourceDescriptor::blob(
                format!("build log of {} {}", derivation.name, derivation.version),
                &result.log,
            ));
            unenforced.extend(result.limits_not_enforced);
            let secs = i64::try_from(result.started_ms / 1000).unwrap_or(i64::MAX);
            // A package may have been built once more since, to the same bytes; when the image was made that had not begun.
            if secs <= input.finished_secs {
                started = Some(started.map_or(secs, |before: i64| before.min(secs)));
            }
        }
        logs.push(ResourceDescriptor::blob("check results", &input.results));
        dependencies.sort_by(|a, b| (&a.name, &a.uri).cmp(&(&b.name, &b.uri)));
        dependencies.dedup();
        let internal = BTreeMap::from([
            (DERIVATION.to_owned(), json!(image.key)),
            (SANDBOX.to_owned(), json!(crate::SANDBOX_PROFILE)),
            (LAYERS.to_owned(), json!(anneal_oci::LAYER_WRITER)),
            ("limitsNotEnforced".to_owned(), json!(unenforced)),
            ("kept".to_owned(), kept.iter().map(kept_build).collect()),
            (CUT_OFF_WITHDRAWN.to_owned(), json!(withdrawn)),
            (SWAPPED.to_owned(), input.swapped.iter().map(SwappedBuild::parameter).collect()),
        ]);
        Ok(Provenance {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE_IMAGE.to_owned(),
                external_parameters: ExternalParameters {
                    image: image.name.clone(),
                    catalog: input.revision,
                    platform: "linux/amd64".to_owned(),
                    advisories: input.advisories.clone(),
                },
                internal_parameters: internal,
                resolved_dependencies: dependencies,
            },
            run_details: RunDetails {
                builder: BuilderId {
                    id: input.builder_id.clone(),
                    version: BTreeMap::from([("anneal".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
                    builder_dependencies: Vec::new(),
                },
                metadata: BuildMetadata {
                    invocation_id: input.invocation.clone(),
                    started_on: started.map(Timestamp::from_unix).transpose()?,
                    finished_on: Some(Timestamp::from_unix(input.finished_secs)?),
                },
                byproducts: logs,
            },
        })
    }
}

/// The trees of the libraries that a kept build was really built with.
fn really_built_with(kept: &Kept) -> Vec<ResourceDescriptor> {
    let mut trees = Vec::new();
    for (library, linked) in &kept.linked {
        for (output, tree) in &linked.built_with {
            let name = format!("tree of {library}:{output} that {} {} was built with", kept.package, kept.version);
            trees.push(ResourceDescriptor::blob(name, &BlobDigest::from_bytes(*tree.as_bytes())));
        }
    }
    trees
}

/// A kept build among the internal parameters: the libraries that it was built with, and those that it stands for now.
fn kept_build(kept: &Kept) -> serde_json::Value {
    let linked: BTreeMap<_, _> = kept
        .linked
        .iter()
        .map(|(library, linked)| {
            let Linked { interface, built_with, now } = linked;
            (library.to_string(), json!({ "interface": interface, "builtWith": built_with, "now": now }))
        })
        .collect();
    json!({ "package": kept.package, "version": kept.version, "derivation": kept.derivation, "linked": linked })
}

fn sbom_source(source: &anneal_recipe::Source) -> SbomSource {
    let https = |place: &Place| {
        let text = place.to_string();
        text.starts_with("https://").then_some(text)
    };
    SbomSource { name: source.file.to_string(), sha256: source.sha256, url: source.places.iter().find_map(https) }
}

fn test_result(input: &EvidenceInput) -> Result<TestResult> {
    let (mut passed, mut warned, mut failed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for finding in &input.findings {
        let id = finding.check.to_string();
        match (finding.outcome, finding.severity) {
            (Outcome::Failed, Severity::Block) => failed.insert(id),
            (Outcome::Failed, _) => warned.insert(id),
            (Outcome::Passed, _) => passed.insert(id),
            (Outcome::NotApplicable, _) => false,
        };
    }
    // A check that failed on one object and passed on another failed.
    warned.retain(|id| !failed.contains(id));
    passed.retain(|id| !failed.contains(id) && !warned.contains(id));
    let configuration = vec![ResourceDescriptor::blob("check results", &input.results)];
    Ok(TestResult::of(configuration, passed, warned, failed))
}
