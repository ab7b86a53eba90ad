//! `anneal image reproduce`: an image built again from what its evidence names, in a store of its own, and compared.
//!
//! ```text
//! provenance, signed ─▶ catalogue revision, lock of the build root ─▶ derivations: is this the one that was built?
//!     sources and packages of the build root: from the archive by digest, else from their places
//!     built in a scratch directory with nothing in it ─▶ manifest digest: the same?
//! ```
//! The recipes of today are not asked, and no result that is known is used. What the evidence lacks is named, all of it.

use crate::{
    builder::builder_over,
    commands::build::progress_text,
    error::{Error, Result, io},
    keys::{Keys, read_public, result_keys},
    output::{Output, printable},
    settings::Settings,
    view::View,
};
use anneal_attest::{Keyring, Predicate, PredicateType, Provenance, Role};
use anneal_builder::{AssembledImage, Builder, CUT_OFF_WITHDRAWN, SANDBOX_PROFILE, SWAPPED, SwappedBuild};
use anneal_content::{BlobDigest, DerivationId, PackageName};
use anneal_fetch::BuildRootLock;
use anneal_ledger::Image;
use anneal_plan::{Derived, Swap, Swaps, derive, plan_packages, swap};
use anneal_recipe::{Catalog, Needs};
use anneal_sandbox::CancelToken;
use anneal_store::{OpenMode, Store};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

/// Where large temporary files go where nobody says otherwise: `/tmp` is often memory.
const TEMPORARY: &str = "/var/tmp";
const PLATFORM: &str = "linux/amd64";

/// What to build again, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct ReproduceArgs {
    /// Its name (the newest that was built), its digest, or the beginning of its digest
    pub(crate) image: String,
    /// Build in this directory, which is empty or not there, and keep it; else in one that is removed
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// The build key that must have signed the provenance; else that of the state directory
    #[arg(long, value_name = "PEM")]
    pub(crate) key: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Reproduced {
    image: String,
    manifest: BlobDigest,
    /// What was built now.
    rebuilt: BlobDigest,
    reproduced: bool,
    /// Packages whose runtime output differs.
    differing: Vec<PackageName>,
    /// How many packages were built, those that are only tools included.
    packages_built: usize,
    seconds: u64,
}

/// Everything that the evidence names.
struct Recipe {
    catalog: Catalog,
    lock: BuildRootLock,
    provenance: Provenance,
    former: Vec<FormerBuild>,
}

/// A package that was built from another catalogue than the image's.
struct FormerBuild {
    named: NamedSwap,
    catalog: Catalog,
}

/// It as provenance names it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedSwap {
    package: PackageName,
    derivation: DerivationId,
    cut_off_withdrawn: BTreeSet<PackageName>,
}

/// Performs the command.
pub(crate) fn run(
    args: &ReproduceArgs,
    image: &Image,
    view: &View,
    settings: &Settings,
    output: &Output,
) -> Result<()> {
    let begun = Instant::now();
    let recipe = recipe_of(view, image, &trusted(args, settings)?)?;
    let place = Scratch::new(args.scratch.as_deref())?;
    let builder = scratch_builder(&place.dir, settings, &recipe)?;
    let (derived, former) = derived(&recipe, &builder)?;
    require_same_derivation(&recipe, &derived, image)?;
    let packages = derived.images.get(&image.name).map(|need| need.packages.clone()).unwrap_or_default();
    bring_inputs(&recipe, &packages, view, &builder, output)?;
    let rebuilt = rebuild(&recipe, (&derived, &former), image, &packages, &builder, output)?;
    let differing = image
        .packages
        .iter()
        .filter(|package| rebuilt.packages.get(&package.name).is_none_or(|(_, _, tree)| *tree != package.tree));
    let told = Reproduced {
        image: image.name.to_string(),
        manifest: image.manifest,
        rebuilt: rebuilt.manifest,
        reproduced: rebuilt.manifest == image.manifest,
        differing: differing.map(|package| package.name.clone()).collect(),
        packages_built: recipe.catalog.closure(&packages, Needs::Build)?.len(),
        seconds: begun.elapsed().as_secs(),
    };
    output.result(|| printable_lines(&text(&told)), &told)?;
    if told.reproduced {
        return Ok(());
    }
    Err(Error::No(format!("{} {} was not reproduced: it came out as {}", told.image, told.manifest, told.rebuilt)))
}

fn printable_lines(text: &str) -> String {
    text.lines().map(|line| printable(line) + "\n").collect()
}

fn text(told: &Reproduced) -> String {
    let Reproduced { image, manifest, rebuilt, packages_built, seconds, .. } = told;
    let mut text = format!("{image} {manifest}\n");
    if told.reproduced {
        let _ = writeln!(text, "reproduced: {packages_built} packages built from its evidence alone, in {seconds} s");
        return text;
    }
    let _ = writeln!(text, "NOT reproduced: {packages_built} packages built from its evidence give {rebuilt}");
    for package in &told.differing {
        let _ = writeln!(text, "  {package} differs; `anneal build --vary {package}` looks for the cause");
    }
    if told.differing.is_empty() {
        text.push_str("  every package is the same; how they are put together differs\n");
    }
    text
}

/// The keys that are believed about how images are built.
fn trusted(args: &ReproduceArgs, settings: &Settings) -> Result<Keyring> {
    let Some(path) = &args.key else { return Ok(result_keys(&settings.state.join("keys"))?.trusted) };
    let mut trusted = Keyring::new();
    trusted.trust(Role::Build, read_public(path)?)?;
    Ok(trusted)
}

/// Reads what the evidence names; an error names everything that is missing or can't be used.
fn recipe_of(view: &View, image: &Image, trusted: &Keyring) -> Result<Recipe> {
    let (name, manifest) = (&image.name, &image.manifest);
    let wanted = PredicateType::Provenance;
    let evidence = image.evidence.iter().find(|one| one.predicate_type == wanted.uri()).ok_or_else(|| {
        Error::No(format!("{name} {manifest} has no provenance; it is signed when its checks have passed"))
    })?;
    let (statement, _) = trusted.verify(&view.blob(&evidence.bundle)?, wanted, manifest).map_err(|error| {
        let why = Error::from(error).chain();
        Error::No(format!("the provenance of {name} {manifest} is not verified: {why}"))
    })?;
    let Predicate::Provenance(provenance) = statement.predicate else {
        return Err(Error::Internal("a statement is not of the type that was verified".into()));
    };
    let mut missing = unusable(&provenance);
    let catalog = named(&provenance, "catalog", view, &mut missing);
    let catalog = catalog.and_then(|bytes| Catalog::from_json(&bytes).map_err(|e| missing.push(e.to_string())).ok());
    let lock = named(&provenance, "build-root.lock", view, &mut missing);
    let lock = lock.and_then(|bytes| BuildRootLock::of_identity(&bytes).map_err(|e| missing.push(e.to_string())).ok());
    let mut former = Vec::new();
    for named_swap in swaps_of(&provenance)? {
        let name = SwappedBuild::catalog_name(&named_swap.package);
        let bytes = named(&provenance, &name, view, &mut missing);
        let catalog = bytes.and_then(|b| Catalog::from_json(&b).map_err(|e| missing.push(e.to_string())).ok());
        former.extend(catalog.map(|catalog| FormerBuild { named: named_swap, catalog }));
    }
    if let (Some(catalog), Some(lock)) = (catalog, lock) {
        missing.extend(unnamed(&catalog, &catalog.image_packages(&image.name)?, &provenance)?);
        for one in &former {
            missing.extend(unnamed(&one.catalog, std::slice::from_ref(&one.named.package), &provenance)?);
        }
        if missing.is_empty() {
            return Ok(Recipe { catalog, lock, provenance: *provenance, former });
        }
    }
    let missing: String = missing.iter().map(|what| format!("\n  {what}")).collect();
    Err(Error::No(format!("the evidence of {name} {manifest} is not enough to build it again:{missing}")))
}

/// The packages for which the cut-off by interface was withdrawn; provenance of a program that had none names none.
fn withdrawn(provenance: &Provenance) -> Result<BTreeSet<PackageName>> {
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

/// The catalogue derived, with former builds where the image has them, and for each of those its own catalogue derived.
fn derived(recipe: &Recipe, builder: &Builder) -> Result<(Derived, Vec<Derived>)> {
    let toolchain = builder.toolchain(withdrawn(&recipe.provenance)?);
    let asked = derive(&recipe.catalog, &toolchain)?;
    let (mut swaps, mut former) = (Swaps::new(), Vec::new());
    for FormerBuild { named, catalog } in &recipe.former {
        let then = derive(catalog, &builder.toolchain(named.cut_off_withdrawn.clone()))?;
        let (package, derivation) = (&named.package, &named.derivation);
        let swap = Swap::of(*derivation, &then).zip(asked.ids.get(package));
        let (swap, id) = swap.ok_or_else(|| {
            Error::No(format!(
                "the provenance names derivation {derivation} of {package}, which its catalogue does not make"
            ))
        })?;
        swaps.insert(*id, swap);
        former.push(then);
    }
    let derived = if swaps.is_empty() { asked } else { swap(&asked, &recipe.catalog, &toolchain, &swaps)? };
    Ok((derived, former))
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
fn named(provenance: &Provenance, name: &str, view: &View, missing: &mut Vec<String>) -> Option<Vec<u8>> {
    let resource = provenance.build_definition.resolved_dependencies.iter().find(|one| one.name == name);
    let hex = resource.and_then(|resource| resource.digest.get(BlobDigest::ALGORITHM));
    let digest = hex.and_then(|hex| format!("sha256:{hex}").parse::<BlobDigest>().ok());
    let Some(digest) = digest else {
        missing.push(format!("its provenance names no {name}"));
        return None;
    };
    match view.blob(&digest) {
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

/// A directory to build in, gone afterwards unless somebody asked for it.
struct Scratch {
    dir: PathBuf,
    keep: bool,
}

impl Scratch {
    fn new(asked: Option<&Path>) -> Result<Self> {
        let temporary = std::env::var_os("TMPDIR").map_or_else(|| TEMPORARY.into(), PathBuf::from);
        let own = temporary.join(format!("anneal-reproduce-{}", std::process::id()));
        let dir = std::path::absolute(asked.unwrap_or(&own)).map_err(io("find", asked.unwrap_or(&own)))?;
        if dir.join("store").exists() {
            return Err(Error::Input(format!("{} has a store already; name an empty directory", dir.display())));
        }
        let mut private = std::fs::DirBuilder::new();
        private.mode(0o700).recursive(asked.is_some()).create(&dir).map_err(io("create", &dir))?;
        Ok(Self { dir, keep: asked.is_some() })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = anneal_sandbox::remove_tree(&self.dir)
        {
            tracing::warn!(dir = %self.dir.display(), %error, "a scratch directory was left behind");
        }
    }
}

fn scratch_builder(dir: &Path, settings: &Settings, recipe: &Recipe) -> Result<Builder> {
    let store = Store::open_trusting(&dir.join("store"), OpenMode::ReadWrite, settings.chunk_hash())?;
    for made in ["work", "roots"] {
        let made = dir.join(made);
        std::fs::create_dir_all(&made).map_err(io("create", &made))?;
    }
    // Its results are its own: no other key's are believed.
    Keys::open(&dir.join("keys"))?;
    let catalog = settings.catalog.clone().or_else(|| Some(dir.to_owned()));
    let settings = Settings { state: dir.to_owned(), catalog, ..settings.clone() };
    builder_over(&settings, store, recipe.lock.clone(), CancelToken::new())
}

fn require_same_derivation(recipe: &Recipe, derived: &Derived, image: &Image) -> Result<()> {
    let named = recipe.provenance.build_definition.internal_parameters.get("derivation");
    let ours = derived.images.get(&image.name).map(|need| serde_json::json!(need.key));
    if named.is_some() && ours.as_ref() == named {
        return Ok(());
    }
    let told = |value: Option<&serde_json::Value>| value.map_or("nothing".to_owned(), ToString::to_string);
    Err(Error::No(format!(
        "the provenance of {} names derivation {}, and what it names derives to {}",
        image.manifest,
        told(named),
        told(ours.as_ref())
    )))
}

/// Brings sources and the build root's packages from the archive; what it lacks is fetched from its place.
fn bring_inputs(
    recipe: &Recipe,
    packages: &[PackageName],
    view: &View,
    builder: &Builder,
    output: &Output,
) -> Result<()> {
    let mut wanted = BTreeMap::new();
    let former = recipe.former.iter().map(|one| (&one.catalog, std::slice::from_ref(&one.named.package)));
    for (catalog, packages) in std::iter::once((&recipe.catalog, packages)).chain(former) {
        for package in catalog.closure(packages, Needs::Build)? {
            for source in &catalog.package(&package)?.selected().sources {
                wanted.insert(source.sha256, source.file.to_string());
            }
        }
    }
    if !builder.has_root() {
        let of_root = recipe.lock.packages.iter().map(|one| (one.sha256, format!("{} {}", one.name, one.version)));
        wanted.extend(of_root);
    }
    for (digest, name) in wanted {
        match view.blob(&digest) {
            Ok(bytes) if BlobDigest::of(&bytes) == digest => drop(builder.store().put_blob(&bytes)?),
            _ => output.note(&printable(&format!("{name} is not in the archive as {digest}: fetching it"))),
        }
    }
    Ok(())
}

fn rebuild(
    recipe: &Recipe,
    (derived, former): (&Derived, &[Derived]),
    image: &Image,
    packages: &[PackageName],
    builder: &Builder,
    output: &Output,
) -> Result<AssembledImage> {
    let on = |progress| output.note(&printable(&progress_text(&progress)));
    // First what was built with libraries that the image does not ship.
    let of_former = recipe.former.iter().zip(former);
    let of_former = of_former.map(|(one, then)| (&one.catalog, then, std::slice::from_ref(&one.named.package)));
    for (catalog, derived, packages) in of_former.chain([(&recipe.catalog, derived, packages)]) {
        let known = builder.realised(derived)?.into_keys().collect();
        let steps = plan_packages(derived, packages, &known, &BTreeMap::new());
        let failures = builder.execute(catalog, derived, &steps, &on, &|_| {})?;
        if let Some(failure) = failures.into_iter().next() {
            let why = Error::from(failure.error).chain();
            return Err(Error::No(format!("{} was not reproduced: {why}", image.manifest)));
        }
    }
    let realised = builder.realised(derived)?;
    Ok(builder.assemble(&recipe.catalog, derived, &image.name, &realised)?)
}
