//! A derivation with every input replaced by what it came out as: the key of the action cache.
//!
//! ```text
//! an input that can run in the build, or that something which can runs with   by content
//! an input of which that isn't known                                          by content
//! any other: it only offers something to link                                 by interface
//! ```
//! What is named by interface may change its code without a new key. That nothing of it shows in the result is an assumption:
//! whoever uses it proves it with the action by content, and where it fails, the derivation says [`CutOff::Content`].

use crate::{CutOff, Derivation, Error, SourceInput};
use anneal_content::{
    ActionDigest, BlobDigest, InterfaceDigest, OutputName, PackageName, TreeDigest, Version, canonical_json,
};
use anneal_recipe::{BuildPath, OutputRule};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Packages' outputs by name, as content.
pub type Inputs = BTreeMap<PackageName, BTreeMap<OutputName, TreeDigest>>;

/// What can be seen of the outputs that a build is given of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surface {
    /// Their interface.
    pub interface: InterfaceDigest,
    /// Whether a file of them can run in the build.
    pub has_executables: bool,
}

/// Packages' surfaces; one that isn't here isn't known.
pub type Surfaces = BTreeMap<PackageName, Surface>;

/// What an action names of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Given {
    /// Each output's tree.
    Content(BTreeMap<OutputName, TreeDigest>),
    /// What a dependent can see of all of them.
    Interface(InterfaceDigest),
}

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
    /// What stands at `/sysroot`.
    pub sysroot: BTreeMap<PackageName, Given>,
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

impl Derivation {
    /// What stands at `/sysroot`: of each input the outputs that the build is given, by content.
    ///
    /// # Errors
    /// [`Error::Unresolved`] for an input that was not built, [`Error::NoOutput`] for an output that was asked for and isn't there.
    pub fn mounts(&self, built: &Inputs) -> Result<Inputs, Error> {
        let mut sysroot = Inputs::new();
        for (input, required) in &self.requires {
            let outputs = built
                .get(input)
                .ok_or_else(|| Error::Unresolved { package: self.name.clone(), input: input.clone() })?;
            let mut given = BTreeMap::new();
            for name in &required.outputs {
                match outputs.get(name) {
                    Some(tree) => drop(given.insert(name.clone(), *tree)),
                    // A package need not have anything that runs, or anything to compile against.
                    None if *name == OutputName::out() || *name == OutputName::dev() => {}
                    None => {
                        return Err(Error::NoOutput {
                            package: self.name.clone(),
                            input: input.clone(),
                            output: name.clone(),
                            found: outputs.keys().cloned().collect(),
                        });
                    }
                }
            }
            sysroot.insert(input.clone(), given);
        }
        Ok(sysroot)
    }

    /// The inputs that only offer something to link: nothing of them can run in the build.
    fn linked_only(&self, surfaces: &Surfaces) -> BTreeSet<&PackageName> {
        if self.cut_off == CutOff::Content {
            return BTreeSet::new();
        }
        // What isn't known may run.
        let may_run = |input: &&PackageName| surfaces.get(*input).is_none_or(|surface| surface.has_executables);
        let mut loaded: BTreeSet<&PackageName> = self.requires.keys().filter(may_run).collect();
        let mut todo: Vec<&PackageName> = loaded.iter().copied().collect();
        while let Some(name) = todo.pop() {
            for with in self.requires.get(name).into_iter().flat_map(|input| &input.runs_with) {
                if loaded.insert(with) {
                    todo.push(with);
                }
            }
        }
        self.requires.keys().filter(|input| !loaded.contains(input)).collect()
    }
}

impl Action {
    /// The action of a derivation to which this is mounted.
    pub fn of(derivation: &Derivation, mounted: &Inputs, surfaces: &Surfaces) -> Self {
        let linked = derivation.linked_only(surfaces);
        let given = |name: &PackageName, outputs: &BTreeMap<OutputName, TreeDigest>| {
            let surface = surfaces.get(name).filter(|_| linked.contains(name));
            surface.map_or_else(|| Given::Content(outputs.clone()), |surface| Given::Interface(surface.interface))
        };
        let d = derivation.clone();
        Self {
            name: d.name,
            version: d.version,
            epoch: d.epoch,
            rules: d.rules,
            sources: d.sources,
            sysroot: mounted.iter().map(|(name, outputs)| (name.clone(), given(name, outputs))).collect(),
            cpus: d.cpus,
            workdir: d.workdir,
            env: d.env,
            steps: d.steps,
            outputs: d.outputs,
            build_root: d.build_root,
            sandbox: d.sandbox,
        }
    }

    /// The same with every input by content: what a build of it that is to be kept is proved with.
    pub fn by_content(derivation: &Derivation, mounted: &Inputs) -> Self {
        Self::of(derivation, mounted, &Surfaces::new())
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
