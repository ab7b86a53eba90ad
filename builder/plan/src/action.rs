//! A derivation with every input replaced by what it came out as: the key of the action cache.

use crate::{Derivation, Error, SourceInput};
use anneal_content::{ActionDigest, BlobDigest, OutputName, PackageName, TreeDigest, Version, canonical_json};
use anneal_recipe::{BuildPath, OutputRule};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Packages' outputs by name, as content.
pub type Inputs = BTreeMap<PackageName, BTreeMap<OutputName, TreeDigest>>;

/// A build with all its inputs by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The package.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// `SOURCE_DATE_EPOCH`, seconds since 1970.
    pub epoch: u64,
    /// The rules of its derivation.
    pub rules: u32,
    /// Its sources.
    pub sources: Vec<SourceInput>,
    /// What stands at `/sysroot`: every output that a build is given, by content.
    pub sysroot: Inputs,
    /// CPUs that the build is shown.
    pub cpus: u32,
    /// Where the steps begin.
    pub workdir: BuildPath,
    /// The recipe's variables.
    pub env: BTreeMap<String, String>,
    /// The steps.
    pub steps: Vec<String>,
    /// How files are split into outputs.
    pub outputs: Vec<OutputRule>,
    /// The build root's lock.
    pub build_root: BlobDigest,
    /// The sandbox's profile.
    pub sandbox: u32,
}

impl Action {
    /// Replaces the derivations that this one requires by their outputs.
    pub fn resolve(derivation: &Derivation, built: &Inputs) -> Result<Self, Error> {
        let mut sysroot = Inputs::new();
        for (input, required) in &derivation.requires {
            let outputs = built
                .get(input)
                .ok_or_else(|| Error::Unresolved { package: derivation.name.clone(), input: input.clone() })?;
            let mut given = BTreeMap::new();
            for name in &required.outputs {
                match outputs.get(name) {
                    Some(tree) => drop(given.insert(name.clone(), *tree)),
                    // A package need not have anything that runs, or anything to compile against.
                    None if *name == OutputName::out() || *name == OutputName::dev() => {}
                    None => {
                        return Err(Error::NoOutput {
                            package: derivation.name.clone(),
                            input: input.clone(),
                            output: name.clone(),
                            found: outputs.keys().cloned().collect(),
                        });
                    }
                }
            }
            sysroot.insert(input.clone(), given);
        }
        let d = derivation.clone();
        Ok(Self {
            name: d.name,
            version: d.version,
            epoch: d.epoch,
            rules: d.rules,
            sources: d.sources,
            sysroot,
            cpus: d.cpus,
            workdir: d.workdir,
            env: d.env,
            steps: d.steps,
            outputs: d.outputs,
            build_root: d.build_root,
            sandbox: d.sandbox,
        })
    }

    /// The cache key: SHA-256 of the canonical JSON.
    pub fn digest(&self) -> Result<ActionDigest, Error> {
        Ok(ActionDigest::of(&canonical_json(self)?))
    }
}

/// The key under which a package's test result is kept: the steps and everything that they see.
pub fn test_key(steps: &[String], sysroot: &Inputs, build_root: BlobDigest, sandbox: u32) -> Result<BlobDigest, Error> {
    #[derive(Serialize)]
    struct TestKey<'a> {
        steps: &'a [String],
        sysroot: &'a Inputs,
        build_root: BlobDigest,
        sandbox: u32,
    }
    Ok(anneal_content::blob_digest_of(&TestKey { steps, sysroot, build_root, sandbox })?)
}
