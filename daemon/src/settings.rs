//! Settings: flag, then `ANNEAL_*`, then the configuration file, then defaults; each remembers where it came from.
//!
//! ```toml
//! state = "/var/lib/anneal"
//! catalog = "/etc/anneal/recipes"      # or a branch: { git = "https://host/path.git", branch = "main", directory = "recipes" }
//! catalog-poll-seconds = 60            # how often a branch is looked at
//! images = ["curl", "nginx"]           # of the catalogue; left out: all of them
//! listen = "127.0.0.1:8378"
//! keep-published = "forever"          # or { days = 365 }, or { releases = 10 }
//! [keep-published-of]
//! nginx = { releases = 5 }
//! [blobs]                             # settings/blobs.rs
//! bucket = "anneal"
//! [mirrors]
//! debian = ["https://mirror.example/debian"]
//! ```

mod blobs;
mod catalog;

use crate::{
    error::{Error, Result, io},
    upstreams::{cache_dir, is_catalog},
};
use anneal_content::ImageName;
use anneal_ledger::{Keep, KeepPublished};
use anneal_store::{BucketPlace, ChunkHash};
pub(crate) use catalog::Follow;
use catalog::{Written, lock_of};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// What the configuration file may say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    state: Option<PathBuf>,
    catalog: Option<catalog::Written>,
    catalog_poll_seconds: Option<u64>,
    images: Option<BTreeSet<ImageName>>,
    lock: Option<PathBuf>,
    feed: Option<PathBuf>,
    listen: Option<SocketAddr>,
    public_name: Option<String>,
    jobs: Option<usize>,
    threads: Option<usize>,
    builder_id: Option<String>,
    drain_seconds: Option<u64>,
    retry_seconds: Option<u64>,
    keep_days: Option<u64>,
    collect_hours: Option<u64>,
    keep_published: Option<Keep>,
    #[serde(default)]
    keep_published_of: BTreeMap<ImageName, Keep>,
    quarantine_days: Option<u64>,
    scrub_days: Option<u64>,
    scrub_mib_a_second: Option<u64>,
    fips: Option<bool>,
    #[serde(default)]
    blobs: blobs::Blobs,
    #[serde(default)]
    mirrors: BTreeMap<String, Vec<String>>,
}

/// What the command line said.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Flags {
    /// Where everything is kept [env: ANNEAL_STATE; default: /var/lib/anneal for root]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// The catalogue: a directory with packages/ and images/, or a branch that the daemon follows:
    /// git+https://HOST/PATH#BRANCH:DIRECTORY [env: ANNEAL_CATALOG]
    #[arg(long, global = true, value_name = "DIR|BRANCH")]
    pub(crate) catalog: Option<PathBuf>,
    /// The configuration file [env: ANNEAL_CONFIG; default: /etc/anneal/config.toml or the XDG one]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The daemon's socket [env: ANNEAL_SERVER]
    #[arg(long, global = true, value_name = "SOCKET")]
    pub(crate) server: Option<PathBuf>,
    /// Where the registry listens; loopback only [env: ANNEAL_LISTEN]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// How many packages are built at once [env: ANNEAL_JOBS]
    #[arg(long, global = true, value_name = "N")]
    pub(crate) jobs: Option<usize>,
}

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) enum Origin {
    /// A flag.
    Flag,
    /// A variable.
    Variable(String),
    /// The file.
    File(PathBuf),
    /// Nobody said.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("a flag"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// All settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) state: PathBuf,
    /// The catalogue's directory; of a branch that is followed, the one that its newest good commit is written to.
    pub(crate) catalog: Option<PathBuf>,
    /// The branch that the catalogue is read from, where it is.
    pub(crate) follow: Option<Follow>,
    /// The images of the catalogue that are kept; none named: all.
    pub(crate) images: BTreeSet<ImageName>,
    pub(crate) lock: Option<PathBuf>,
    /// Where upstream catalogues are kept.
    pub(crate) cache: PathBuf,
    pub(crate) feed: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) public_name: String,
    pub(crate) jobs: usize,
    pub(crate) threads: usize,
    pub(crate) builder_id: String,
    pub(crate) drain_seconds: u64,
    pub(crate) retry_seconds: u64,
    /// How long what nothing needs any more is kept.
    pub(crate) keep_days: u64,
    /// How often the daemon collects by itself; 0: only when the disk is nearly full.
    pub(crate) collect_hours: u64,
    /// How long publications are served.
    pub(crate) keep_published: KeepPublished,
    /// How long the bytes of what was found damaged are kept.
    pub(crate) quarantine_days: u64,
    /// How often the daemon reads the whole store against its digests; 0: never by itself.
    pub(crate) scrub_days: u64,
    /// How much of it in a second; 0: as much as the disk gives.
    pub(crate) scrub_mib_a_second: u64,
    /// Whether nothing but SHA-256 vouches for what is read.
    pub(crate) fips: bool,
    /// Where blobs are, where that is not the state directory.
    pub(crate) bucket: Option<BucketPlace>,
    pub(crate) mirrors: BTreeMap<String, Vec<String>>,
    pub(crate) server: Option<PathBuf>,
    /// Name, value, origin: for `config show`.
    pub(crate) shown: Vec<(String, String, Origin)>,
}

/// What the process was started with: passed in, so that tests can say anything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// Environment variables.
    pub(crate) variables: BTreeMap<String, String>,
    /// Whether the user is root.
    pub(crate) root: bool,
    /// The working directory.
    pub(crate) cwd: PathBuf,
    /// How many CPUs there are.
    pub(crate) cpus: usize,
}

impl Surroundings {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        Self {
            variables: std::env::vars().collect(),
            root: nix::unistd::geteuid().is_root(),
            cwd: std::env::current_dir().unwrap_or_else(|_| "/".into()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

struct Resolver<'a> {
    surroundings: &'a Surroundings,
    file: Option<PathBuf>,
    shown: Vec<(String, String, Origin)>,
}

impl Resolver<'_> {
    fn pick<T: Clone>(
        &mut self,
        name: &str,
        flag: Option<T>,
        file: Option<T>,
        default: T,
        show: impl Fn(&T) -> String,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let variable = format!("ANNEAL_{}", name.to_uppercase().replace(['-', '.'], "_"));
        let (value, origin) = if let Some(value) = flag {
            (value, Origin::Flag)
        } else if let Some(text) = self.surroundings.variables.get(&variable) {
            let value = parse(text)
                .ok_or_else(|| Error::Input(format!("{variable} is `{text}`, which is not a value for {name}")))?;
            (value, Origin::Variable(variable))
        } else if let (Some(value), Some(path)) = (file, &self.file) {
            (value, Origin::File(path.clone()))
        } else {
            (default, Origin::Default)
        };
        self.shown.push((name.to_owned(), show(&value), origin));
        Ok(value)
    }
}

impl Resolver<'_> {
    /// Rules for single images stand in the file alone. None may say that nothing is kept.
    fn show_rules(&mut self, keep: &KeepPublished) -> Result<()> {
        let all = ("keep-published".to_owned(), keep.all);
        let of = keep.of.iter().map(|(image, keep)| (format!("keep-published-of.{image}"), *keep));
        for (name, keep) in of.chain([all]) {
            keep.to_string().parse::<Keep>().map_err(|wrong| Error::Input(format!("{name}: {wrong}")))?;
            let origin = self.file.clone().map_or(Origin::Default, Origin::File);
            if name != "keep-published" {
                self.shown.push((name, keep.to_string(), origin));
            }
        }
        Ok(())
    }
}

/// The largest configuration file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Settings {
    /// Resolves every setting.
    pub(crate) fn resolve(flags: &Flags, surroundings: &Surroundings) -> Result<Self> {
        let (path, file) = read_file(flags, surroundings)?;
        let mut resolver = Resolver { surroundings, file: path, shown: Vec::new() };
        let paths = |text: &str| Some(PathBuf::from(text));
        let show_path = |path: &PathBuf| path.display().to_string();
        let show_optional = |path: &Option<PathBuf>| path.as_ref().map_or_else(|| "(none)".into(), show_path);
        let state =
            resolver.pick("state", flags.state.clone(), file.state, default_state(surroundings), show_path, paths)?;
        let state = if state.is_absolute() { state } else { surroundings.cwd.join(state) };
        let found = find_upwards(&surroundings.cwd);
        let written = resolver.pick(
            "catalog",
            flags.catalog.clone().map(|named| Some(Written::At(named))),
            file.catalog.map(Some),
            found.map(Written::At),
            |written| written.as_ref().map_or_else(|| "(none)".into(), ToString::to_string),
            |t| Some(Some(Written::At(t.into()))),
        )?;
        let seconds = |text: &str| text.parse::<u64>().ok();
        let poll = file.catalog_poll_seconds;
        let poll_seconds = resolver.pick("catalog-poll-seconds", None, poll, 60, u64::to_string, seconds)?;
        let (catalog, follow) = written.map_or(Ok((None, None)), |written| written.resolved(&state, poll_seconds))?;
        let images = resolver.pick("images", None, file.images, BTreeSet::new(), image_names, image_list)?;
        // That of a commit is looked for when it is needed.
        let beside = catalog.as_deref().filter(|_| follow.is_none()).and_then(lock_of);
        let lock = resolver.pick("lock", None, file.lock.map(Some), beside, show_optional, |t| Some(paths(t)))?;
        let feed = resolver.pick("feed", None, file.feed, state.join("feed"), show_path, paths)?;
        let local = SocketAddr::from(([127, 0, 0, 1], 8378));
        let listen =
            resolver.pick("listen", flags.listen, file.listen, local, ToString::to_string, |t| t.parse().ok())?;
        if !listen.ip().is_loopback() {
            return Err(Error::Input(format!(
                "listen is {listen}: only a loopback address can be listened on, since HTTP has no authentication yet; \
                 put a TLS proxy in front"
            )));
        }
        let public_name =
            resolver
                .pick("public-name", None, file.public_name, listen.to_string(), Clone::clone, |t| Some(t.into()))?;
        let number = |text: &str| text.parse::<usize>().ok().filter(|n| *n > 0);
        let show = |n: &usize| n.to_string();
        let jobs = resolver.pick("jobs", flags.jobs, file.jobs, (surroundings.cpus / 2).max(1), show, number)?;
        let threads = resolver.pick("threads", None, file.threads, surroundings.cpus, show, number)?;
        let builder = "urn:anneal:builder:self-hosted:v1".to_owned();
        let builder_id =
            resolver.pick("builder-id", None, file.builder_id, builder, Clone::clone, |t| Some(t.into()))?;
        let drain_seconds = resolver.pick("drain-seconds", None, file.drain_seconds, 30, u64::to_string, seconds)?;
        let retry_seconds = resolver.pick("retry-seconds", None, file.retry_seconds, 900, u64::to_string, seconds)?;
        let keep_days = resolver.pick("keep-days", None, file.keep_days, 14, u64::to_string, seconds)?;
        let collect_hours = resolver.pick("collect-hours", None, file.collect_hours, 24, u64::to_string, seconds)?;
        let keep = |keep: &Keep| keep.to_string();
        let all =
            resolver.pick("keep-published", None, file.keep_published, Keep::Forever, keep, |t| t.parse().ok())?;
        let keep_published = KeepPublished { all, of: file.keep_published_of };
        resolver.show_rules(&keep_published)?;
        let quarantine_days =
            resolver.pick("quarantine-days", None, file.quarantine_days, 90, u64::to_string, seconds)?;
        let scrub_days = resolver.pick("scrub-days", None, file.scrub_days, 7, u64::to_string, seconds)?;
        let scrub_mib_a_second =
            resolver.pick("scrub-mib-a-second", None, file.scrub_mib_a_second, 32, u64::to_string, seconds)?;
        let fips = resolver.pick("fips", None, file.fips, false, bool::to_string, |t| t.parse().ok())?;
        let bucket = resolver.bucket(file.blobs)?;
        let server = flags.server.clone().or_else(|| surroundings.variables.get("ANNEAL_SERVER").map(PathBuf::from));
        let cache = cache_dir(|name| surroundings.variables.get(name).cloned(), &state);
        Ok(Self {
            state,
            catalog,
            follow,
            images,
            lock,
            cache,
            feed,
            listen,
            public_name,
            jobs,
            threads,
            builder_id,
            drain_seconds,
            retry_seconds,
            keep_days,
            collect_hours,
            keep_published,
            quarantine_days,
            scrub_days,
            scrub_mib_a_second,
            fips,
            bucket,
            mirrors: file.mirrors,
            server,
            shown: resolver.shown,
        })
    }

    /// What vouches for the chunks of blobs.
    pub(crate) fn chunk_hash(&self) -> ChunkHash {
        if self.fips { ChunkHash::Sha256 } else { ChunkHash::Blake3 }
    }
}

fn read_file(flags: &Flags, surroundings: &Surroundings) -> Result<(Option<PathBuf>, File)> {
    let named = flags.config.clone().or_else(|| surroundings.variables.get("ANNEAL_CONFIG").map(PathBuf::from));
    let home = surroundings.variables.get("HOME").map(|home| Path::new(home).join(".config"));
    let xdg = surroundings.variables.get("XDG_CONFIG_HOME").map(PathBuf::from).or(home);
    let usual = [Some(PathBuf::from("/etc/anneal/config.toml")), xdg.map(|dir| dir.join("anneal/config.toml"))];
    let path = named.or_else(|| usual.into_iter().flatten().find(|path| path.exists()));
    let Some(path) = path else { return Ok((None, File::default())) };
    let size = std::fs::metadata(&path).map_err(io("read", &path))?.len();
    if size > FILE_BYTES_MAX {
        return Err(Error::Input(format!(
            "{} has {size} bytes; a configuration has at most {FILE_BYTES_MAX}",
            path.display()
        )));
    }
    let text = std::fs::read_to_string(&path).map_err(io("read", &path))?;
    let file = toml::from_str(&text).map_err(|e| Error::Input(format!("{}: {e}", path.display())))?;
    Ok((Some(path), file))
}

fn image_names(images: &BTreeSet<ImageName>) -> String {
    if images.is_empty() {
        return "(all)".into();
    }
    images.iter().map(ImageName::as_str).collect::<Vec<_>>().join(" ")
}

/// Names apart by spaces or commas.
fn image_list(text: &str) -> Option<BTreeSet<ImageName>> {
    let names = text.split([' ', ',']).filter(|name| !name.is_empty());
    names.map(|name| ImageName::new(name).ok()).collect()
}

fn default_state(surroundings: &Surroundings) -> PathBuf {
    let variable = |name: &str| surroundings.variables.get(name).map(PathBuf::from);
    if let Some(systemd) = variable("STATE_DIRECTORY") {
        return systemd;
    }
    if surroundings.root {
        return "/var/lib/anneal".into();
    }
    let home = variable("HOME").unwrap_or_else(|| "/tmp".into()).join(".local/state");
    variable("XDG_STATE_HOME").unwrap_or(home).join("anneal")
}

/// The nearest directory with an `anneal.toml`, or `recipes/` with packages in it, here or above.
fn find_upwards(cwd: &Path) -> Option<PathBuf> {
    let begun = |dir: &Path| Some(dir.to_owned()).filter(|dir| is_catalog(dir));
    let recipes = |dir: &Path| Some(dir.join("recipes")).filter(|dir| dir.join("packages").is_dir());
    cwd.ancestors().find_map(|dir| begun(dir).or_else(|| recipes(dir)))
}

#[cfg(test)]
mod tests;
