//! Ours: a state directory with the trees of some packages, as builds leave them, and images of them.

use crate::{ASSEMBLE, Result, Task, say};
use anneal_builder::{BuildRoot, Builder, BuilderConfig, Realised, ResultKeys};
use anneal_content::{ActionDigest, BlobDigest, ImageName, OutputName, TreeDigest};
use anneal_fetch::{BuildRootLock, FetchConfig, Fetcher};
use anneal_measure::tool::succeed;
use anneal_plan::derive;
use anneal_recipe::Catalog;
use anneal_sandbox::CancelToken;
use anneal_store::{IngestRules, OpenMode, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

/// How many packages the files are.
const PARTS: usize = 10;
/// The kind of the records that name the trees.
const TREES: &str = "bench";
/// The package that has all files.
const WHOLE: &str = "whole";
/// A lock that parses; nothing is built.
const LOCK: &str = include_str!("../../../vendor/build-root.lock");

/// Puts the files into a store: as one package, and split into some.
pub(crate) fn fill(state: &Path, files: &Path, place: &Path) -> Result<()> {
    let store = Store::open(&state.join("store"), OpenMode::ReadWrite)?;
    let parts = place.join("parts");
    let (mut todo, mut number) = (vec![files.to_owned()], 0);
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            let to = parts.join(format!("part-{}", number % PARTS)).join(path.strip_prefix(files)?);
            fs::create_dir_all(to.parent().ok_or("a file without a directory")?)?;
            fs::hard_link(&path, &to)?;
            number += 1;
        }
    }
    let rules = IngestRules { names_elsewhere: true, ..IngestRules::default() };
    let mut dirs: Vec<_> =
        (0..PARTS).map(|part| format!("part-{part}")).map(|name| (parts.join(&name), name)).collect();
    dirs.push((files.to_owned(), WHOLE.to_owned()));
    for (dir, name) in dirs {
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        let tree = store.ingest(&dir, &rules)?;
        store.put_record(TREES, &name, tree.as_bytes())?;
    }
    Ok(fs::remove_dir_all(parts)?)
}

/// What is timed; gives the compressed size of all layers.
pub(crate) fn run(task: Task, state: &Path, round: usize) -> Result<u64> {
    let image = match task {
        Task::NewLayer => WHOLE,
        Task::Assembled => "parts",
    };
    let mut command = Command::new(std::env::current_exe()?);
    let said = succeed(command.arg(ASSEMBLE).arg(state).arg(image).arg(round.to_string()))?;
    Ok(said.trim().parse()?)
}

/// Assembles an image. With each round the whole is another release, so that its layer was never packed; and the image
/// of parts has another label, while its layers were packed in the first round.
pub(crate) fn assemble(state: &Path, image: &str, round: &str) -> Result<()> {
    let store = Store::open(&state.join("store"), OpenMode::ReadWrite)?;
    let catalog = Catalog::parse(&files(round.parse()?)).map_err(|mistakes| mistakes.render(false))?;
    let lock = BuildRootLock::parse(LOCK)?;
    let root = BuildRoot::new(lock, &state.join("roots"))?;
    let config = BuilderConfig {
        work_dir: state.join("work"),
        jobs: 1,
        threads: std::thread::available_parallelism()?.get(),
        catalog_dir: state.to_owned(),
        worker: "bench".to_owned(),
    };
    let fetcher = Fetcher::new(FetchConfig::from_environment());
    let builder = Builder::new(store, fetcher, root, config, ResultKeys::default(), CancelToken::new())?;
    let derived = derive(&catalog, &builder.toolchain(BTreeSet::new()))?;
    let mut built = BTreeMap::new();
    for (name, id) in &derived.ids {
        let tree = builder.store().record(TREES, name.as_str())?.ok_or("the store was not filled")?;
        let tree = TreeDigest::from_bytes(*tree.first_chunk().ok_or("the tree is no digest")?);
        let outputs = BTreeMap::from([(OutputName::new("out")?, tree)]);
        built.insert(*id, Realised { action: ActionDigest::of(name.as_str().as_bytes()), outputs });
    }
    let made = builder.assemble(&catalog, &derived, &ImageName::new(image)?, &built)?;
    let size: u64 = made.layers.iter().map(|layer| layer.packed.size).sum();
    say(&size.to_string())
}

fn files(round: u32) -> Vec<(String, String)> {
    let package = |name: &str, day: u32| {
        let digest = BlobDigest::of(name.as_bytes()).hex();
        let text = format!(
            "name = \"{name}\"\nsummary = \"Files\"\nlicense = \"MIT\"\nversion = \"1\"\n[[release]]\nversion = \"1\"\n\
             date = \"2020-01-{:02}\"\n[[release.source]]\nsha256 = \"{digest}\"\nbytes = 1\nfile = \"files\"\n\
             unpack = \"src\"\nplaces = [\"https://example.org/files\"]\n[build]\nsteps = [\"true\"]\n",
            day + 1
        );
        (format!("packages/{name}.toml"), text)
    };
    let names: Vec<String> = (0..PARTS).map(|part| format!("part-{part}")).collect();
    let listed = names.iter().fold(String::new(), |mut listed, name| {
        let _ = write!(listed, "\"{name}\", ");
        listed
    });
    let mut files: Vec<_> = names.iter().map(|name| package(name, 0)).collect();
    files.push(package(WHOLE, round));
    files.push((
        "images/parts.toml".to_owned(),
        format!(
            "name = \"parts\"\nsummary = \"An image\"\npackages = [{listed}]\nlabels = {{ round = \"{round}\" }}\n"
        ),
    ));
    let whole = format!("name = \"{WHOLE}\"\nsummary = \"An image\"\npackages = [\"{WHOLE}\"]\n");
    files.push((format!("images/{WHOLE}.toml"), whole));
    files
}
