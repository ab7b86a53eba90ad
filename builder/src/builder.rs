//! The builder: the store, the fetcher, the build root, and how much may run at once.

use crate::{BuildRoot, Error, Result, SANDBOX_PROFILE, keep::KnownSurfaces, staging::proves};
use anneal_attest::{Keyring, SecretKey, sign_result};
use anneal_content::{ActionDigest, ActionResult, DerivationId, Entry, EntryKind, OutputName, PackageName, TreeDigest};
use anneal_fetch::{BuildRootLock, Fetcher};
use anneal_plan::{Derived, Toolchain};
use anneal_sandbox::{CancelToken, Pool};
use anneal_store::{ResultSurvey, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

/// What a builder is told once.
#[derive(Debug, Clone)]
pub struct BuilderConfig {
    /// Scratch space, on the same file system as the store.
    pub work_dir: PathBuf,
    /// How many packages are built at once (each with its proof build beside it).
    pub jobs: usize,
    /// How many threads compress and hash.
    pub threads: usize,
    /// The directory that `path:` places are relative to.
    pub catalog_dir: PathBuf,
    /// How this worker is called in results, such as `anneal 0.1.0, Linux 6.1.0 x86_64`.
    pub worker: String,
}

/// What a derivation came out as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realised {
    /// The action that it resolved to.
    pub action: ActionDigest,
    /// Its outputs.
    pub outputs: BTreeMap<OutputName, TreeDigest>,
}

/// Whose results a builder believes, and with which key it signs its own.
#[derive(Debug, Clone, Default)]
pub struct ResultKeys {
    /// The build key; without it nothing is built, only read.
    pub signer: Option<Arc<SecretKey>>,
    /// The build keys whose results are used, earlier ones too as long as they count.
    pub trusted: Keyring,
}

/// Carries out plans.
#[derive(Debug)]
pub struct Builder {
    pub(crate) store: Store,
    pub(crate) fetcher: Fetcher,
    pub(crate) root: BuildRoot,
    pub(crate) abi_tools: BuildRoot,
    pub(crate) config: BuilderConfig,
    keys: ResultKeys,
    pub(crate) cancel: CancelToken,
    /// Tests and checks are short, and one follows the other: each finds its sandbox made.
    pub(crate) sandboxes: Pool,
    pub(crate) surfaces: KnownSurfaces,
}

/// The kind of the records that remember what a derivation came out as.
pub(crate) const REALISED: &str = "realised";

impl Builder {
    /// A builder over a store.
    pub fn new(
        store: Store,
        fetcher: Fetcher,
        root: BuildRoot,
        config: BuilderConfig,
        keys: ResultKeys,
        cancel: CancelToken,
    ) -> Result<Self> {
        let (sandboxes, surfaces) = (Pool::new(1)?, KnownSurfaces::default());
        let abi_tools = crate::abi::tools(root.roots())?;
        Ok(Self { store, fetcher, root, abi_tools, config, keys, cancel, sandboxes, surfaces })
    }

    /// What builds are made with; `withdrawn` are the packages for which the cut-off by interface is withdrawn.
    pub fn toolchain(&self, withdrawn: BTreeSet<PackageName>) -> Toolchain {
        Toolchain {
            withdrawn,
            build_root: self.root.digest(),
            sandbox: SANDBOX_PROFILE,
            layer_writer: anneal_oci::LAYER_WRITER.to_owned(),
        }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether its build root is put together already.
    pub fn has_root(&self) -> bool {
        self.root.dir().is_ok()
    }

    /// Build roots that nobody has asked for in `keep_ms`: removed, or only named.
    pub fn remove_unused_roots(&self, keep_ms: u64, now_ms: u64, dry_run: bool) -> Result<Vec<String>> {
        self.root.remove_unused(&self.abi_tools, keep_ms, now_ms, dry_run)
    }

    /// Which derivations were built before, and what they came out as. One that has lost something to damage is built again.
    pub fn realised(&self, derived: &Derived) -> Result<BTreeMap<DerivationId, Realised>> {
        let mut found = self.recorded(derived)?;
        if self.store.lacks_something()? {
            found.retain(|_, realised| self.is_whole(realised.outputs.values()));
        }
        Ok(found)
    }

    /// Whether a derivation was built before, and nothing of it is lost.
    pub fn has_build(&self, id: &DerivationId) -> Result<bool> {
        let Some(realised) = self.realised_one(id)? else { return Ok(false) };
        Ok(!self.store.lacks_something()? || self.is_whole(realised.outputs.values()))
    }

    /// The same, whatever was lost of them.
    pub(crate) fn recorded(&self, derived: &Derived) -> Result<BTreeMap<DerivationId, Realised>> {
        let mut found = BTreeMap::new();
        for id in derived.derivations.keys() {
            if let Some(realised) = self.realised_one(id)? {
                found.insert(*id, realised);
            }
        }
        Ok(found)
    }

    /// Whether all of these trees are in the store, every file of them.
    fn is_whole<'t>(&self, mut trees: impl Iterator<Item = &'t TreeDigest>) -> bool {
        let is_here = |entry: &Entry| match &entry.kind {
            EntryKind::File { digest, .. } => self.store.has(digest).unwrap_or(false),
            _ => true,
        };
        trees.all(|tree| anneal_content::list(tree, &self.store).is_ok_and(|entries| entries.iter().all(is_here)))
    }

    /// Every tree that a derivation came out as, in whichever of its runs.
    pub fn outputs_of(&self, id: &DerivationId) -> Result<BTreeSet<TreeDigest>> {
        let Some(action) = self.action_of(id)? else { return Ok(BTreeSet::new()) };
        Ok(self.results(&action)?.into_iter().flat_map(|result| result.outputs.into_values()).collect())
    }

    /// Every tree that runs of a derivation were really built with.
    pub fn built_with(&self, id: &DerivationId) -> Result<BTreeSet<TreeDigest>> {
        let Some(action) = self.action_of(id)? else { return Ok(BTreeSet::new()) };
        let inputs = self.results(&action)?.into_iter().flat_map(|result| result.built_with.into_values());
        Ok(inputs.flat_map(BTreeMap::into_values).collect())
    }

    /// What the build root is made of.
    pub fn lock(&self) -> &BuildRootLock {
        self.root.lock()
    }

    pub(crate) fn realised_one(&self, id: &DerivationId) -> Result<Option<Realised>> {
        let Some(bytes) = self.store.record(REALISED, &id.to_string())? else { return Ok(None) };
        let action = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse::<ActionDigest>().ok());
        let Some(action) = action else { return Ok(None) };
        Ok(self.plain_result(&action)?.map(|result| Realised { action, outputs: result.outputs }))
    }

    pub(crate) fn remember(&self, id: &DerivationId, action: &ActionDigest) -> Result<()> {
        Ok(self.store.put_record(REALISED, &id.to_string(), action.to_string().as_bytes())?)
    }

    /// The results of an action that a build key signed.
    pub fn results(&self, action: &ActionDigest) -> Result<Vec<ActionResult>> {
        Ok(self.store.results(action, &|signed| self.keys.trusted.believes(signed))?)
    }

    /// What the whole action cache says: what is believed, what is not, and what differs.
    pub fn survey_results(&self) -> Result<ResultSurvey> {
        Ok(self.store.survey_results(&|signed| self.keys.trusted.believes(signed))?)
    }

    pub(crate) fn record_result(&self, action: &ActionDigest, result: &ActionResult) -> Result<()> {
        let signer = self.keys.signer.as_ref().ok_or(Error::NoBuildKey { action: *action })?;
        let signed = sign_result(action, result, signer)?;
        Ok(self.store.record_result(&signed, &|signed| self.keys.trusted.believes(signed))?)
    }

    /// The results of an action of which nothing was lost to damage.
    pub(crate) fn whole_results(&self, action: &ActionDigest) -> Result<Vec<ActionResult>> {
        let mut results = self.results(action)?;
        if !results.is_empty() && self.store.lacks_something()? {
            results.retain(|result| self.is_whole(result.outputs.values()));
        }
        Ok(results)
    }

    /// The result of an action that may be reused: the first that was not varied on purpose and that goes with its
    /// repetition, both built with the same; else the first that was not varied. What is whole comes before what is not.
    pub(crate) fn plain_result(&self, action: &ActionDigest) -> Result<Option<ActionResult>> {
        let results = self.results(action)?;
        let whole = if self.store.lacks_something()? { self.whole_results(action)? } else { Vec::new() };
        let chosen = [&whole, &results].into_iter().find_map(|results| {
            repeated(results).or_else(|| results.iter().find(|result| result.variation.is_empty()))
        });
        Ok(chosen.cloned())
    }
}

/// A build that was repeated with the same inputs: an action that names a library by interface may have builds with several.
pub(crate) fn repeated(results: &[ActionResult]) -> Option<&ActionResult> {
    let again = |plain: &ActionResult| results.iter().any(|r| proves(r) && r.built_with == plain.built_with);
    results.iter().find(|result| result.variation.is_empty() && again(result))
}
