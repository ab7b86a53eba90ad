//! `anneal image reproduce`: an image built again from what its evidence names, in a store of its own, and compared.
//!
//! ```text
//! provenance, signed ─▶ catalogue revision, lock of the build root ─▶ derivations: is this the one that was built?
//!     sources and packages of the build root: from the archive by digest, else from their places
//!     built in a scratch directory with nothing in it ─▶ manifest digest: the same?
//! ```
//! The recipes of today are not asked, and no result that is known is used. What the evidence lacks is named, all of it. With
//! a layout in the place of the store it is another operator who builds, and may sign that it came out the same.

mod confirmation;
mod evidence;

use crate::{
    builder::builder_over,
    commands::build::progress_text,
    error::{Error, Result, io},
    keys::{Keys, read_public, result_keys},
    output::{Output, printable},
    service::now_ms,
    settings::Settings,
};
use anneal_attest::{Keyring, Role};
use anneal_builder::{AssembledImage, Builder};
use anneal_content::{BlobDigest, PackageName};
use anneal_plan::{Derived, Swap, Swaps, derive, plan_packages, swap};
use anneal_recipe::Needs;
use anneal_sandbox::CancelToken;
use anneal_store::{OpenMode, Store};
use confirmation::Confirmation;
use evidence::{Evidence, FormerBuild, Recipe, recipe_of, withdrawn};
use serde::Serialize;
use std::{
    collections::BTreeMap,
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
    /// Take the evidence from this OCI layout (`anneal store export --rebuildable`) and not from a state directory; the
    /// key must not come from where the layout comes from
    #[arg(long, value_name = "DIR", requires = "key")]
    pub(crate) from: Option<PathBuf>,
    /// Where it came out the same, write a statement of that, signed by this state directory's build key
    #[arg(long, value_name = "FILE")]
    pub(crate) confirm: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Reproduced {
    image: String,
    manifest: BlobDigest,
    /// What was built now.
    rebuilt: BlobDigest,
    reproduced: bool,
    /// Packages whose runtime output differs; `None` where what it was is not known.
    differing: Option<Vec<PackageName>>,
    /// How many packages were built, those that are only tools included.
    packages_built: usize,
    seconds: u64,
    /// The key that says so, in a statement of its own.
    confirmed_by: Option<String>,
}

/// Performs the command.
pub(crate) fn run(args: &ReproduceArgs, settings: &Settings, output: &Output) -> Result<()> {
    let (begun, begun_ms) = (Instant::now(), now_ms());
    let evidence = Evidence::open(args, settings)?;
    let subject = evidence.subject(&args.image)?;
    let recipe = recipe_of(&evidence, &subject, &trusted(args, settings)?)?;
    // what cannot be signed or written is told before anything is built
    let confirmation = args.confirm.as_deref().map(|file| Confirmation::open(file, settings)).transpose()?;
    let image = recipe.image().clone();
    let place = Scratch::new(args.scratch.as_deref())?;
    let builder = scratch_builder(&place.dir, settings, &recipe)?;
    let (derived, former) = derived(&recipe, &builder)?;
    require_same_derivation(&recipe, &derived, &subject.manifest)?;
    let packages = derived.images.get(&image).map(|need| need.packages.clone()).unwrap_or_default();
    bring_inputs(&recipe, &packages, &evidence, &builder, output)?;
    let rebuilt = rebuild(&recipe, (&derived, &former), &subject.manifest, &packages, &builder, output)?;
    let differs = |name: &PackageName, tree| rebuilt.packages.get(name).is_none_or(|(_, _, now)| *now != tree);
    let differing = subject.packages.as_ref().map(|known| {
        let differing = known.iter().filter(|package| differs(&package.name, package.tree));
        differing.map(|package| package.name.clone()).collect()
    });
    let mut told = Reproduced {
        image: image.to_string(),
        manifest: subject.manifest,
        rebuilt: rebuilt.manifest,
        reproduced: rebuilt.manifest == subject.manifest,
        differing,
        packages_built: recipe.catalog.closure(&packages, Needs::Build)?.len(),
        seconds: begun.elapsed().as_secs(),
        confirmed_by: None,
    };
    if let Some(confirmation) = confirmation.filter(|_| told.reproduced) {
        told.confirmed_by = Some(confirmation.write(&subject.manifest, &recipe.provenance, (begun_ms, now_ms()))?);
    }
    output.result(|| printable_lines(&text(&told, args.confirm.as_deref())), &told)?;
    if told.reproduced {
        return Ok(());
    }
    Err(Error::No(format!("{} {} was not reproduced: it came out as {}", told.image, told.manifest, told.rebuilt)))
}

fn printable_lines(text: &str) -> String {
    text.lines().map(|line| printable(line) + "\n").collect()
}

fn text(told: &Reproduced, confirmation: Option<&Path>) -> String {
    let Reproduced { image, manifest, rebuilt, packages_built, seconds, .. } = told;
    let mut text = format!("{image} {manifest}\n");
    if told.reproduced {
        let _ = writeln!(text, "reproduced: {packages_built} packages built from its evidence alone, in {seconds} s");
        if let (Some(key), Some(file)) = (&told.confirmed_by, confirmation) {
            let _ = writeln!(text, "build key {key} says so in {}", file.display());
        }
        return text;
    }
    let _ = writeln!(text, "NOT reproduced: {packages_built} packages built from its evidence give {rebuilt}");
    for package in told.differing.iter().flatten() {
        let _ = writeln!(text, "  {package} differs; `anneal build --vary {package}` looks for the cause");
    }
    if told.differing.as_ref().is_some_and(Vec::is_empty) {
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
    // A catalogue is where `path:` sources are looked for, and need not be there.
    let catalog = settings.catalog_dir().map_or_else(|_| dir.to_owned(), Path::to_owned);
    let settings = Settings { state: dir.to_owned(), catalog: Some(catalog), ..settings.clone() };
    builder_over(&settings, store, recipe.lock.clone(), CancelToken::new())
}

fn require_same_derivation(recipe: &Recipe, derived: &Derived, manifest: &BlobDigest) -> Result<()> {
    let named = recipe.provenance.build_definition.internal_parameters.get("derivation");
    let ours = derived.images.get(recipe.image()).map(|need| serde_json::json!(need.key));
    if named.is_some() && ours.as_ref() == named {
        return Ok(());
    }
    let told = |value: Option<&serde_json::Value>| value.map_or("nothing".to_owned(), ToString::to_string);
    Err(Error::No(format!(
        "the provenance of {manifest} names derivation {}, and what it names derives to {}",
        told(named),
        told(ours.as_ref())
    )))
}

/// Brings sources and the build root's packages from the archive; what it lacks is fetched from its place.
fn bring_inputs(
    recipe: &Recipe,
    packages: &[PackageName],
    evidence: &Evidence,
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
        if !evidence.bring(&digest, builder.store())? {
            output.note(&printable(&format!("{name} is not in the archive as {digest}: fetching it")));
        }
    }
    Ok(())
}

fn rebuild(
    recipe: &Recipe,
    (derived, former): (&Derived, &[Derived]),
    manifest: &BlobDigest,
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
            return Err(Error::No(format!("{manifest} was not reproduced: {why}")));
        }
    }
    let realised = builder.realised(derived)?;
    Ok(builder.assemble(&recipe.catalog, derived, recipe.image(), &realised)?)
}
