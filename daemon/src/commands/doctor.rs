//! `anneal doctor`: what this host allows, what is missing, how to mend it.

use crate::{
    branch::in_force,
    catalog_files::read_catalog,
    commands::config::read_lock,
    error::{Error, Result},
    output::{Output, human_bytes, printable},
    settings::Settings,
    view::daemon,
};
use anneal_fetch::{CoordinateKind, FetchConfig};
use anneal_sandbox::self_check;
use anneal_store::{OpenMode, Store};
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// The lowest kernel that sandboxes are made for.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// Less than this and a build of a few packages fills the disk.
const FREE_BYTES_MIN: u64 = 4 << 30;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Item {
    name: String,
    ok: bool,
    /// Whether nothing can be built without it.
    needed: bool,
    detail: String,
    /// What to do about it, where it is missing.
    mend: Option<String>,
}

impl Item {
    fn needed(name: &str, ok: bool, detail: String, mend: &str) -> Self {
        Self { name: name.into(), ok, needed: true, detail, mend: (!ok).then(|| mend.to_owned()) }
    }

    fn useful(name: &str, ok: bool, detail: String, mend: &str) -> Self {
        Self { needed: false, ..Self::needed(name, ok, detail, mend) }
    }
}

/// Performs the command.
pub(crate) fn run(settings: &Settings, output: &Output) -> Result<()> {
    let mut items = host();
    items.extend(state(settings));
    items.extend(recipes(settings));
    items.extend(tools());
    output.result(|| printable(&items_text(&items)), &items)?;
    let missing: Vec<_> = items.iter().filter(|item| item.needed && !item.ok).map(|item| item.name.as_str()).collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::No(format!("needed and missing: {}", missing.join(", ")))) }
}

fn items_text(items: &[Item]) -> String {
    let mut text = String::new();
    for item in items {
        let mark = match (item.ok, item.needed) {
            (true, _) => "ok     ",
            (false, true) => "MISSING",
            (false, false) => "missing",
        };
        let _ = writeln!(text, "{mark} {}: {}", item.name, item.detail.trim_end());
        if let Some(mend) = &item.mend {
            let _ = writeln!(text, "        -> {mend}");
        }
    }
    text
}

/// The kernel, and what a sandbox on it holds.
fn host() -> Vec<Item> {
    let report = self_check();
    let new_enough = kernel_version(&report.kernel).is_some_and(|version| version >= KERNEL_MIN);
    let mut items = vec![
        Item::needed("kernel", new_enough, format!("Linux {}", report.kernel), "use Linux 6.1 or newer"),
        control_groups(),
        Item::needed("sandbox", report.usable, usable(report.usable), "see the findings below"),
    ];
    // Without a sandbox its findings say why not; with one, a gap is a limit that this host does not enforce.
    items.extend(report.findings.into_iter().map(|finding| {
        let mend = finding.mend.unwrap_or_else(|| "see docs/sandbox.md".into());
        Item::useful(&format!("sandbox: {}", finding.name), finding.holds, finding.detail, &mend)
    }));
    items
}

fn usable(usable: bool) -> String {
    if usable { "one was made, and a program ran in it" } else { "none can be made, so nothing can be built" }.into()
}

/// Major and minor number of a kernel's release, such as `6.1.0-18-amd64`.
fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn control_groups() -> Item {
    let (name, mend) = ("control groups", "boot with systemd.unified_cgroup_hierarchy=1");
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return Item::useful(name, true, "version 2".into(), mend);
    }
    let kind = if Path::new("/sys/fs/cgroup/memory").exists() { "version 1" } else { "none are mounted" };
    Item::useful(name, kind == "version 1", kind.into(), mend)
}

/// The directory that everything is kept in, and who answers there.
fn state(settings: &Settings) -> Vec<Item> {
    let dir = &settings.state;
    let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let may_write = nix::unistd::access(there, nix::unistd::AccessFlags::W_OK).is_ok();
    let free = nix::sys::statvfs::statvfs(there).map(|fs| fs.blocks_available() * fs.fragment_size());
    let free = free.unwrap_or_default();
    let room = format!("{} free at {}", human_bytes(free), there.display());
    let answers = daemon(settings).map(|client| client.socket().display().to_string());
    vec![
        Item::needed("state", may_write, dir.display().to_string(), "run as its owner, or name another with --state"),
        Item::needed("disk", free >= FREE_BYTES_MIN, room, "make room: builds need a few gigabytes"),
        blobs(settings),
        match answers {
            Ok(socket) => Item::useful("daemon", true, format!("listens at {socket}"), ""),
            Err(error) => Item::useful("daemon", false, error.chain(), "start one with `anneal daemon`"),
        },
    ]
}

/// Where the bytes of blobs are, and whether that can be read.
fn blobs(settings: &Settings) -> Item {
    let dir = settings.state.join("store");
    let store = match Store::open_trusting(&dir, OpenMode::ReadOnly, settings.chunk_hash()) {
        Err(anneal_store::Error::Absent { .. }) => {
            let place = settings.bucket.as_ref().map_or_else(|| "the state directory".to_owned(), ToString::to_string);
            return Item::needed("blobs", true, format!("no store yet; they will be in {place}"), "");
        }
        opened => opened,
    };
    // some answer is enough: what is there is scrubbing's business
    match store.and_then(|store| store.backend().list(0).map(|_| store.backend().name())) {
        Ok(name) => Item::needed("blobs", true, name, ""),
        Err(error) => Item::needed("blobs", false, Error::from(error).chain(), "see what it says"),
    }
}

/// The catalogue, the lock, and the ways to what they name.
fn recipes(settings: &Settings) -> Vec<Item> {
    let mut items = Vec::new();
    let mut kinds = BTreeSet::new();
    match settings.catalog_dir().and_then(|dir| Ok((dir, read_catalog(settings, false)?))) {
        Ok((dir, catalog)) => {
            let (packages, images) = (catalog.packages().len(), catalog.images().len());
            let named = in_force(settings).map_or_else(|| dir.display().to_string(), |at| at.to_string());
            let detail = format!("{named}: {packages} packages, {images} images");
            items.push(Item::needed("catalogue", true, detail, ""));
            let sources = catalog.packages().values().flat_map(|recipe| &recipe.selected().sources);
            // A source is reached by its first place that is a coordinate; later ones are for when that is gone.
            kinds.extend(sources.filter_map(|source| source.places.iter().find_map(|place| kind(place.scheme()))));
        }
        Err(error) => {
            let mend = "name one with --catalog DIR, and see what is wrong with `anneal recipe check`";
            items.push(Item::needed("catalogue", false, first_line(&error.chain()), mend));
        }
    }
    match read_lock(settings) {
        Ok(lock) => {
            kinds.insert(CoordinateKind::Debian);
            let detail = format!("{} packages of {}", lock.packages.len(), lock.suite);
            items.push(Item::needed("build root lock", true, detail, ""));
        }
        Err(error) => {
            let mend = "make one with `anneal recipe lock build-root`";
            items.push(Item::needed("build root lock", false, first_line(&error.chain()), mend));
        }
    }
    items.extend(kinds.into_iter().map(|kind| way(kind, settings)));
    items
}

fn kind(scheme: &str) -> Option<CoordinateKind> {
    CoordinateKind::ALL.into_iter().find(|kind| kind.as_str() == scheme)
}

fn first_line(text: &str) -> String {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
}

/// How sources of a kind are reached: through mirrors, or through the machine's own client.
fn way(kind: CoordinateKind, settings: &Settings) -> Item {
    let config = FetchConfig::from_environment();
    let name = format!("{kind} sources");
    let set = settings.mirrors.get(kind.as_str()).map_or(config.mirrors_of(kind), Vec::as_slice);
    if !set.is_empty() {
        return Item::needed(&name, true, format!("{} mirrors are set", set.len()), "");
    }
    let client = match kind {
        CoordinateKind::Debian | CoordinateKind::DebianSecurity => &config.clients.apt_get,
        CoordinateKind::Crate => &config.clients.cargo,
        CoordinateKind::Pypi => &config.clients.python,
        CoordinateKind::Npm => &config.clients.npm,
        CoordinateKind::Go => &config.clients.go,
    };
    let mend = format!("install {}, or name a mirror: `{kind}` in [mirrors], or {}", client.display(), kind.variable());
    match find_program(client) {
        Some(path) => Item::needed(&name, true, format!("through {}", path.display()), ""),
        None => Item::needed(&name, false, format!("there is no {} and no mirror", client.display()), &mend),
    }
}

/// Where a program is, along PATH.
fn find_program(program: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Programs that are good to have.
fn tools() -> Vec<Item> {
    let tool = |name: &str, what: &str| match find_program(Path::new(name)) {
        Some(path) => Item::useful(name, true, path.display().to_string(), ""),
        None => Item::useful(name, false, what.to_owned(), &format!("install it (on Debian: apt-get install {name})")),
    };
    vec![tool("skopeo", "the demo pulls with it"), tool("podman", "images are run with it, outside of Anneal")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_compared_by_its_first_two_numbers() {
        let versions = ["6.1.0-18-amd64", "5.15.0", "6.12-rc1", "10.0"].map(|release| kernel_version(release).unwrap());
        assert_eq!(versions.map(|version| version >= KERNEL_MIN), [true, false, true, true]);
        assert_eq!(kernel_version("unknown"), None);
    }

    #[test]
    fn what_is_missing_says_how_to_mend_it_and_what_is_there_does_not() {
        let items = [
            Item::needed("lock", false, "no lock".into(), "make one"),
            Item::useful("podman", false, "not here".into(), "install it"),
            Item::needed("kernel", true, "Linux 6.1".into(), "use another"),
        ];
        let expected = "MISSING lock: no lock\n        -> make one\nmissing podman: not here\n        -> install it\n\
                        ok      kernel: Linux 6.1\n";
        assert_eq!(items_text(&items), expected);
    }
}
