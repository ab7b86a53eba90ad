//! How long a plan takes: one package of a large catalogue gets another release; which builds and images follow?
//!
//! `tests/bench` builds and calls it: `tests/bench [--quick] [--json FILE] [plan]`. The catalogue is made up: packages
//! require a few of those before them, as libraries and tools do, and images are made of some packages each. What is
//! timed is all that happens between "the catalogue is another" and "this is the plan".

use anneal_content::{BlobDigest, ImageName, PackageName, Version};
use anneal_measure::{Machine, Percentiles, milliseconds, percentiles};
use anneal_plan::{Before, Step, Toolchain, derive, derive_after, plan};
use anneal_recipe::Catalog;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
    time::Instant,
};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Sizes of catalogues, in packages; a fifth as many images.
const SIZES: [usize; 4] = [1_250, 2_500, 5_000, 10_000];
const ROUNDS: usize = 20;
const QUICK_ROUNDS: usize = 3;
/// Packages that need nothing: a libc, a compiler's runtime and the like.
const FIRST: usize = 5;

/// One size.
#[derive(Debug, Serialize)]
struct Measured {
    packages: usize,
    images: usize,
    /// From the two catalogues to the plan.
    plan_ms: Percentiles,
    /// Of the last round: how many packages it builds, and how many images change.
    builds: usize,
    images_changed: usize,
}

/// All of it.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    rounds: usize,
    sizes: Vec<Measured>,
}

fn main() -> ExitCode {
    match measure(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(words: &[String]) -> Result<()> {
    let (mut rounds, mut json) = (ROUNDS, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => rounds = QUICK_ROUNDS,
            "--json" => json = Some(words.next().ok_or("--json needs a file")?),
            other => return Err(format!("{other} is unknown; expected --quick or --json FILE").into()),
        }
    }
    let mut report = Report { machine: Machine::this(), rounds, sizes: Vec::new() };
    say("plan: one package of a made-up catalogue gets another release (ms)")?;
    for packages in SIZES {
        let measured = one(packages, rounds)?;
        let Measured { images, plan_ms, builds, images_changed, .. } = &measured;
        say(&format!(
            "  {packages:>6} recipes, {images:>5} images   p50 {:>6.1}  p99 {:>6.1}   {builds} to build, {images_changed} images change",
            plan_ms.p50, plan_ms.p99
        ))?;
        report.sizes.push(measured);
    }
    if let (Some(small), Some(large)) = (report.sizes.first(), report.sizes.last()) {
        let (times, larger) = (large.plan_ms.p50 / small.plan_ms.p50, large.packages as f64 / small.packages as f64);
        say(&format!("  {larger:.0} times the recipes take {times:.1} times as long"))?;
    }
    if let Some(path) = json {
        std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    }
    Ok(())
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

fn one(packages: usize, rounds: usize) -> Result<Measured> {
    let images = packages / 5;
    let catalog = Catalog::parse(&files(packages, images)).map_err(|mistakes| mistakes.to_string())?;
    let toolchain = Toolchain {
        build_root: BlobDigest::of(b"a build root"),
        sandbox: 1,
        layer_writer: "a layer writer".into(),
        withdrawn: BTreeSet::new(),
    };
    let old = derive(&catalog, &toolchain)?;
    let goal: BTreeSet<ImageName> = catalog.images().keys().cloned().collect();
    let realised = old.ids.values().copied().collect();
    let mut times = Vec::new();
    let (mut builds, mut images_changed) = (0, 0);
    for round in 0..=rounds {
        // another library each time
        let at = (packages / 20 + round) * 10;
        let changed = BTreeMap::from([(PackageName::new(name(at))?, Version::new("1.1")?)]);
        let begun = Instant::now();
        let new_catalog = catalog.with_versions(&changed)?;
        let before = Before { catalog: &catalog, toolchain: &toolchain, derived: &old };
        let new = derive_after(Some(before), &new_catalog, &toolchain)?;
        let steps = plan(Some(&old), &new, &goal, &realised, &BTreeMap::new());
        let took = milliseconds(begun.elapsed());
        builds = steps.steps.iter().filter(|step| matches!(step, Step::Build { .. })).count();
        images_changed = steps.images.iter().filter(|image| !image.untouched).count();
        if builds == 0 || images_changed == 0 {
            return Err(format!("{} has no dependents: nothing was measured", name(at)).into());
        }
        if round > 0 {
            times.push(took);
        }
    }
    Ok(Measured { packages, images, plan_ms: percentiles(times.into_iter()), builds, images_changed })
}

fn name(number: usize) -> String {
    format!("package-{number}")
}

/// Numbers as if at random, and the same at each run.
fn scattered(number: usize, turn: usize, end: usize) -> usize {
    let mixed = (number * 31 + turn * 17 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    mixed % end
}

/// What a package requires: the first ones, and one or two libraries. Libraries are a tenth of all, and need only the first.
fn requires(number: usize) -> BTreeSet<usize> {
    if number < FIRST {
        return BTreeSet::new();
    }
    let base = scattered(number, 0, FIRST);
    if number.is_multiple_of(10) {
        return BTreeSet::from([base]);
    }
    let libraries = (1..=1 + number % 3).map(|turn| scattered(number, turn, number / 10 + 1) * 10);
    libraries.filter(|library| *library < number).chain([base]).collect()
}

/// The recipes' files.
fn files(packages: usize, images: usize) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for number in 0..packages {
        let listed: Vec<String> = requires(number).into_iter().map(|other| format!("\"{}\"", name(other))).collect();
        let listed = listed.join(", ");
        let mut text = format!(
            "name = \"{0}\"\nsummary = \"A package\"\nlicense = \"MIT\"\nversion = \"1.0\"\n[upstream]\npurl = \"pkg:generic/{0}\"\n",
            name(number)
        );
        for version in ["1.0", "1.1"] {
            let digest = BlobDigest::of(format!("{number} {version}").as_bytes()).hex();
            let _ = write!(
                text,
                "[[release]]\nversion = \"{version}\"\ndate = \"2024-01-01\"\n[[release.source]]\nsha256 = \"{digest}\"\n\
                 bytes = 1000\nfile = \"source.tar.gz\"\nunpack = \"src\"\nplaces = [\"https://example.org/{number}-{version}.tar.gz\"]\n"
            );
        }
        let _ = write!(
            text,
            "[build]\nrequires = [{listed}]\nsteps = [\"./configure --prefix=/usr\", \"make -j$JOBS\", \
             \"make install DESTDIR=$OUT\"]\n[runtime]\nrequires = [{listed}]\n"
        );
        files.push((format!("packages/{}.toml", name(number)), text));
    }
    for number in 0..images {
        let chosen: BTreeSet<usize> = (0..6).map(|turn| scattered(number, turn + 40, packages)).collect();
        let listed: Vec<String> = chosen.into_iter().map(|other| format!("\"{}\"", name(other))).collect();
        let text = format!("name = \"image-{number}\"\nsummary = \"An image\"\npackages = [{}]\n", listed.join(", "));
        files.push((format!("images/image-{number}.toml"), text));
    }
    files
}
