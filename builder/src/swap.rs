//! A former build that ships with a library that it was not built with: whether it may, and what is built in its place.
//!
//! ```text
//! former build, built with zlib'      zlib, which an advisory asked for
//!     each program and library of it: the soname, and every name that it takes of zlib'        ──▶ offered as before
//!     abidiff of zlib' and zlib, over their debug outputs                                        ──▶ no type changed
//!     its own tests, with zlib at their /sysroot                                                 ──▶ passed
//! ```
//! Whatever is not known to be compatible is an obstacle, and the package is built. Who asks for a swap sees to it that
//! policy allows it and that the image is checked with it.

use crate::{
    Builder, Error, Progress, Ran, Realised, Result,
    abi::Side,
    keep::{differing, inputs_for},
    testing::TestRecord,
};
use anneal_content::{
    ActionDigest, BlobDigest, BlobSource as _, CatalogDigest, DerivationId, EntryKind, OutputName, PackageName,
    TreeDigest, TreePath, list,
};
use anneal_interface::{Interface, SeenAs, SharedObject, drop_in};
use anneal_plan::{CutOff, Derivation, Derived, Inputs, Step, plan_packages};
use anneal_recipe::Catalog;
use anneal_sandbox::CancelToken;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
};

type Outputs = BTreeMap<OutputName, TreeDigest>;

/// A program that is larger is not looked at, and so not known.
const PROGRAM_BYTES_MAX: u64 = 256 << 20;

/// The build that might be swapped in, and what it was built from.
#[derive(Debug, Clone)]
pub struct Former {
    /// Its derivation.
    pub derivation: DerivationId,
    /// The catalogue of which it is, derived.
    pub derived: Derived,
    /// That catalogue's revision, and the blob.
    pub catalog: (CatalogDigest, BlobDigest),
    /// The packages for which the cut-off by interface was withdrawn.
    pub withdrawn: BTreeSet<PackageName>,
}

/// A library that a swapped build runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwappedLibrary {
    /// What is seen of it now.
    pub interface: anneal_content::InterfaceDigest,
    /// What the build was really built with.
    pub built_with: Outputs,
    /// What it runs with.
    pub now: Outputs,
    /// What the comparison of types printed.
    pub abi_report: BlobDigest,
}

/// Why a build may be swapped in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapReport {
    /// The action of the former build.
    pub action: ActionDigest,
    /// The libraries.
    pub linked: BTreeMap<PackageName, SwappedLibrary>,
    /// The log of its tests with them.
    pub tests: BlobDigest,
}

/// What was judged, with what ran for it.
#[derive(Debug)]
pub struct Judged {
    /// It may be swapped in, or what is in the way.
    pub verdict: std::result::Result<SwapReport, String>,
    /// What ran.
    pub ran: Vec<Ran>,
}

/// What building in the place of a swapped build showed.
#[derive(Debug)]
pub struct Settled {
    /// What was built; none where that failed.
    pub action: Option<ActionDigest>,
    /// Why it is not the former build: what differs, or how the build ended.
    pub differs: Option<String>,
    /// What ran for it.
    pub ran: Vec<Ran>,
}

/// Why not, where nothing went wrong.
type Verdict<T> = std::result::Result<T, String>;

/// Leaves with an obstacle.
macro_rules! clear {
    ($verdict:expr) => {
        match $verdict {
            Ok(value) => value,
            Err(why) => return Ok(Err(why)),
        }
    };
}

/// A former build and what it would be built with now.
struct Pair<'a> {
    former: &'a Former,
    then: &'a Derivation,
    outputs: Outputs,
    action: ActionDigest,
    /// The libraries that are others now: what it was built with, and what it would be built with.
    changed: BTreeMap<PackageName, (Outputs, Outputs)>,
}

impl Builder {
    /// Judges whether a former build may ship in the place of a derivation whose inputs are built.
    pub fn judge_swap(
        &self,
        catalog: &Catalog,
        derived: &Derived,
        package: &PackageName,
        former: &Former,
        on: &(dyn Fn(Progress) + Sync),
    ) -> Result<Judged> {
        let mut ran = Vec::new();
        let verdict = self.swap_verdict(catalog, derived, package, former, on, &mut ran)?;
        Ok(Judged { verdict, ran })
    }

    fn swap_verdict(
        &self,
        catalog: &Catalog,
        derived: &Derived,
        package: &PackageName,
        former: &Former,
        on: &(dyn Fn(Progress) + Sync),
        ran: &mut Vec<Ran>,
    ) -> Result<Verdict<SwapReport>> {
        let built = self.realised(derived)?;
        let pair = clear!(self.pair(derived, package, former, &built)?);
        let programs = clear!(self.loaded_files(&pair.outputs)?);
        let mut linked = BTreeMap::new();
        for (library, (built_with, now)) in &pair.changed {
            let offered = clear!(self.names_fit(library, &programs, built_with, now)?);
            let abi_report = clear!(self.types_fit(derived, &pair, library, &offered, &built, on)?);
            let interface = Interface::of(now, &self.store).and_then(|seen| seen.digest());
            let interface = clear!(interface.map_err(|e| format!("what is seen of {library} is not known: {e}")));
            let (built_with, now) = (built_with.clone(), now.clone());
            linked.insert(library.clone(), SwappedLibrary { interface, built_with, now, abi_report });
        }
        let tests = clear!(self.tests_fit(catalog, derived, package, &pair, &built, on, ran)?);
        Ok(Ok(SwapReport { action: pair.action, linked, tests }))
    }

    /// The former build beside what is asked for: they must differ in libraries alone.
    fn pair<'a>(
        &self,
        derived: &Derived,
        package: &PackageName,
        former: &'a Former,
        built: &BTreeMap<DerivationId, Realised>,
    ) -> Result<Verdict<Pair<'a>>> {
        let asked = derived.ids.get(package).and_then(|id| derived.derivations.get(id));
        let then = former.derived.derivations.get(&former.derivation);
        let (Some(asked), Some(then)) = (asked, then) else {
            return Ok(Err("its former build is not known".to_owned()));
        };
        if asked.cut_off == CutOff::Content {
            return Ok(Err("it was seen to read more of what it links than the interface".to_owned()));
        }
        if !asked.differs_in_inputs_alone(then) {
            return Ok(Err("its own recipe, the build root or the sandbox changed".to_owned()));
        }
        let realised = self.realised_one(&former.derivation)?;
        let Some(Realised { action, outputs }) = realised else {
            return Ok(Err("its former build is not in the store any more".to_owned()));
        };
        let Some(result) = self.plain_result(&action)? else {
            return Ok(Err("its former build is not in the store any more".to_owned()));
        };
        let now = asked.mounts(&inputs_for(asked, built))?;
        if now.keys().ne(result.built_with.keys()) {
            return Ok(Err("it is built with other packages than it was".to_owned()));
        }
        let mut changed = BTreeMap::new();
        for (name, now) in now {
            let built_with = result.built_with.get(&name).cloned().unwrap_or_default();
            if built_with != now {
                changed.insert(name, (built_with, now));
            }
        }
        if changed.is_empty() || self.resolve(asked, &inputs_for(asked, built))?.action.digest()? == action {
            return Ok(Err("it need not be: nothing that it sees changed".to_owned()));
        }
        Ok(Ok(Pair { former, then, outputs, action, changed }))
    }

    /// What a loader would put together with libraries, of all that the package is but what nobody runs.
    fn loaded_files(&self, outputs: &Outputs) -> Result<Verdict<Vec<(TreePath, SharedObject)>>> {
        let mut found = Vec::new();
        let aside = [OutputName::doc(), crate::abi::debug_output()?];
        for (_, tree) in outputs.iter().filter(|(name, _)| !aside.contains(name)) {
            for entry in list(tree, &self.store)? {
                let EntryKind::File { digest, size } = entry.kind else { continue };
                let bytes = self.program(&digest, size)?;
                let Some(bytes) = bytes else { return Ok(Err(format!("{} is too large to be read", entry.path))) };
                match SharedObject::read_loaded(&bytes) {
                    Ok(Some(object)) => found.push((entry.path, object)),
                    Ok(None) => {}
                    Err(why) => return Ok(Err(format!("{} is not understood: {why}", entry.path))),
                }
            }
        }
        Ok(Ok(found))
    }

    /// A file as far as it has to be read: no more than a few bytes where it is no program.
    fn program(&self, digest: &BlobDigest, size: u64) -> Result<Option<Vec<u8>>> {
        let damaged = |source| anneal_content::Error::Read { digest: *digest, source };
        let failed = |source| damaged(anneal_content::ReadError::Io { digest: *digest, source });
        let mut reader = self.store.open(digest).map_err(damaged)?;
        let mut bytes = Vec::new();
        reader.by_ref().take(4).read_to_end(&mut bytes).map_err(failed)?;
        if bytes != b"\x7fELF" {
            return Ok(Some(bytes));
        }
        if size > PROGRAM_BYTES_MAX {
            return Ok(None);
        }
        reader.take(PROGRAM_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    /// The files of a library that are loaded, before and now, where each name that is taken of them is offered as before.
    fn names_fit(
        &self,
        library: &PackageName,
        programs: &[(TreePath, SharedObject)],
        built_with: &Outputs,
        now: &Outputs,
    ) -> Result<Verdict<BTreeMap<TreePath, TreePath>>> {
        let linked = [OutputName::out(), OutputName::dev()];
        if let Some(name) = built_with.keys().find(|name| !linked.contains(name)) {
            return Ok(Err(format!("it is built with {library}:{name}, which may be a part of it")));
        }
        for tree in built_with.values() {
            let archive = list(tree, &self.store)?.into_iter().find(|entry| entry.path.as_str().ends_with(".a"));
            if let Some(archive) = archive {
                return Ok(Err(format!("it is built with {} of {library}, which may be a part of it", archive.path)));
            }
        }
        let (before, after) = (clear!(self.offered(library, built_with)?), clear!(self.offered(library, now)?));
        let mut used = BTreeMap::new();
        for (path, program) in programs {
            for needed in program.needed.iter().filter(|needed| before.contains_key(*needed)) {
                let Some((old_path, old)) = before.get(needed) else { continue };
                let Some((new_path, new)) = after.get(needed) else {
                    let sonames: Vec<_> = after.keys().cloned().collect();
                    let now = sonames.join(", ");
                    return Ok(Err(format!("{path} needs {needed}, and the soname of {library} is {now} now")));
                };
                if let Err(why) = drop_in(program, old, new) {
                    return Ok(Err(format!("{path}: {why}")));
                }
                used.insert(old_path.clone(), new_path.clone());
            }
        }
        if used.is_empty() {
            return Ok(Err(format!(
                "nothing of it is seen to load a library of {library}: it may have become a part of it"
            )));
        }
        Ok(Ok(used))
    }

    /// The libraries of a package by their sonames.
    fn offered(
        &self,
        library: &PackageName,
        outputs: &Outputs,
    ) -> Result<Verdict<BTreeMap<String, (TreePath, SharedObject)>>> {
        let interface = match Interface::of(outputs, &self.store) {
            Ok(interface) => interface,
            Err(error) => return Ok(Err(format!("what {library} offers is not known: {error}"))),
        };
        let mut offered = BTreeMap::new();
        for seen in interface.outputs().values().flatten() {
            if let SeenAs::SharedObject(object) = &seen.what
                && let Some(soname) = &object.soname
                && offered.insert(soname.clone(), (seen.path.clone(), SharedObject::clone(object))).is_some()
            {
                return Ok(Err(format!("{library} has {soname} twice")));
            }
        }
        Ok(Ok(offered))
    }

    /// What the comparison of the types of each loaded library printed.
    fn types_fit(
        &self,
        derived: &Derived,
        pair: &Pair<'_>,
        library: &PackageName,
        used: &BTreeMap<TreePath, TreePath>,
        built: &BTreeMap<DerivationId, Realised>,
        on: &(dyn Fn(Progress) + Sync),
    ) -> Result<Verdict<BlobDigest>> {
        let then = pair.then.requires.get(library).map(|input| input.derivation);
        let then = then.filter(|id| pair.former.derived.derivations.contains_key(id));
        let then = then.map(|id| self.realised_one(&id)).transpose()?.flatten();
        let now = derived.ids.get(library).and_then(|id| built.get(id));
        let (Some(then), Some(now)) = (then, now) else {
            return Ok(Err(format!("{library} as it was is not in the store any more")));
        };
        let (built_with, mounted) = pair.changed.get(library).cloned().unwrap_or_default();
        let is_of = |all: &Outputs, some: &Outputs| some.iter().all(|(name, tree)| all.get(name) == Some(tree));
        if !is_of(&then.outputs, &built_with) || !is_of(&now.outputs, &mounted) {
            return Ok(Err(format!("the debug output of {library} is not that of the build that it was linked with")));
        }
        let mut reports = Vec::new();
        for (old, new) in used {
            let before = Side { outputs: &then.outputs, library: old };
            let after = Side { outputs: &now.outputs, library: new };
            let compared = clear!(self.compare_abi(before, after, on)?);
            if let Some(obstacle) = compared.obstacle {
                return Ok(Err(format!("{obstacle}; {library}: anneal log {}", compared.report)));
            }
            reports.push(compared.report);
        }
        if let [report] = reports.as_slice() {
            return Ok(Ok(*report));
        }
        let mut text = Vec::new();
        for report in &reports {
            let damaged = |source| anneal_content::Error::Read { digest: *report, source };
            text.extend(self.store.read(report).map_err(damaged)?);
        }
        Ok(Ok(self.store.put_blob(&text)?))
    }

    /// The log of the package's own tests, run on the former build with the libraries as they are now.
    #[allow(clippy::too_many_arguments, reason = "what a judgement is given, handed on")]
    fn tests_fit(
        &self,
        catalog: &Catalog,
        derived: &Derived,
        package: &PackageName,
        pair: &Pair<'_>,
        built: &BTreeMap<DerivationId, Realised>,
        on: &(dyn Fn(Progress) + Sync),
        ran: &mut Vec<Ran>,
    ) -> Result<Verdict<BlobDigest>> {
        if catalog.package(package)?.test.steps.is_empty() {
            return Ok(Err("it has no tests that could show it running with them".to_owned()));
        }
        let seen = catalog.test_sysroot(package)?;
        if let Some(library) = pair.changed.keys().find(|library| !seen.contains(library)) {
            return Ok(Err(format!("{library} is not at the /sysroot of its tests")));
        }
        let outputs = |id: &DerivationId| built.get(id).map(|one| one.outputs.clone());
        let mut inputs: Inputs = derived.ids.iter().filter_map(|(n, id)| Some((n.clone(), outputs(id)?))).collect();
        inputs.insert(package.clone(), pair.outputs.clone());
        ran.extend(self.test_package(catalog, package, &inputs, on)?);
        match self.test_record(catalog, package, &inputs)? {
            Some(TestRecord { passed: true, log, .. }) => Ok(Ok(log)),
            Some(TestRecord { summary, .. }) => Ok(Err(format!("its tests do not pass with them: {summary}"))),
            None => Ok(Err("its tests could not run: something that they need is not built".to_owned())),
        }
    }

    /// Builds what a former build was swapped in for, and whatever that needs, and compares.
    pub fn settle(
        &self,
        catalog: &Catalog,
        asked: &Derived,
        package: &PackageName,
        former: &DerivationId,
        cancel: &CancelToken,
        on: &(dyn Fn(Progress) + Sync),
    ) -> Result<Settled> {
        let known = self.realised(asked)?.into_keys().collect();
        let plan = plan_packages(asked, std::slice::from_ref(package), &known, &BTreeMap::new());
        let mut ran = Vec::new();
        self.root.ensure(self, on)?;
        for step in plan.steps.iter().filter(|step| matches!(step, Step::Build { .. })) {
            let build = || self.settle_step(catalog, asked, step, cancel, on);
            // What fails once may have been the machine.
            let made = match build() {
                Err(Error::BuildFailed { .. }) => build(),
                made => made,
            };
            match made {
                Ok(more) => ran.extend(more),
                Err(Error::BuildFailed { package, ended, tail, .. }) => {
                    let differs = Some(format!("{package} does not build, twice: {ended}\n{tail}"));
                    return Ok(Settled { action: None, differs, ran });
                }
                Err(error) => return Err(error),
            }
        }
        let missing = |what: &str| Error::Missing { what: format!("{what} of {package}") };
        let id = asked.ids.get(package).ok_or_else(|| missing("the derivation"))?;
        let now = self.realised_one(id)?.ok_or_else(|| missing("the build"))?;
        let then = self.realised_one(former)?.ok_or_else(|| missing("the former build"))?;
        Ok(Settled { action: Some(now.action), differs: differing(&then.outputs, &now.outputs), ran })
    }

    fn settle_step(
        &self,
        catalog: &Catalog,
        asked: &Derived,
        step: &Step,
        cancel: &CancelToken,
        on: &(dyn Fn(Progress) + Sync),
    ) -> Result<Vec<Ran>> {
        let id = step.derivation();
        let missing = || Error::Missing { what: format!("derivation {id}") };
        let derivation = asked.derivations.get(&id).ok_or_else(missing)?;
        let inputs = inputs_for(derivation, &self.realised(asked)?);
        let made = self.realise(catalog.package(step.package())?, &id, derivation, &inputs, (cancel, on))?;
        Ok(made.ran)
    }
}
