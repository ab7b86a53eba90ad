//! What fetching depends on outside a recipe: mirrors, the programs of the machine, patience.
//!
//! A mirror is a base address for one kind of coordinate. It comes from a setting, or from the
//! environment: `ANNEAL_MIRROR_DEBIAN`, `ANNEAL_MIRROR_DEBIAN_SECURITY`, `ANNEAL_MIRROR_CRATE`,
//! `ANNEAL_MIRROR_PYPI`, `ANNEAL_MIRROR_NPM`, `ANNEAL_MIRROR_GO`. Several are separated by spaces and asked in order.
//! Where a mirror is set, the machine's own client is not asked.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

/// The kinds of coordinate, each resolved by a client or a mirror of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CoordinateKind {
    /// `debian:`, through apt.
    Debian,
    /// `debian-security:`, through apt.
    DebianSecurity,
    /// `crate:`, through cargo.
    Crate,
    /// `pypi:`, through pip.
    Pypi,
    /// `npm:`, through npm.
    Npm,
    /// `go:`, through go.
    Go,
}

impl CoordinateKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Debian, Self::DebianSecurity, Self::Crate, Self::Pypi, Self::Npm, Self::Go];

    /// The word before the colon, also the name of the setting.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::DebianSecurity => "debian-security",
            Self::Crate => "crate",
            Self::Pypi => "pypi",
            Self::Npm => "npm",
            Self::Go => "go",
        }
    }

    /// The environment variable that names mirrors of this kind.
    pub fn variable(self) -> String {
        format!("ANNEAL_MIRROR_{}", self.as_str().replace('-', "_").to_ascii_uppercase())
    }
}

impl CoordinateKind {
    /// What to do where this kind has no client, for messages.
    pub(crate) fn instead(self) -> String {
        format!("name a mirror in the setting `{self}` or in {}", self.variable())
    }
}

impl fmt::Display for CoordinateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The programs that know how this machine reaches its registries; a bare name is found through `PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    /// Asks apt which archives are set up.
    pub apt_get: PathBuf,
    /// Asks apt what a package is.
    pub apt_cache: PathBuf,
    /// Downloads with apt's own transports, proxies and logins.
    pub apt_helper: PathBuf,
    /// Downloads crates.
    pub cargo: PathBuf,
    /// Runs pip.
    pub python: PathBuf,
    /// Downloads npm packages.
    pub npm: PathBuf,
    /// Downloads Go modules.
    pub go: PathBuf,
    /// Downloads commits.
    pub git: PathBuf,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            apt_get: "apt-get".into(),
            apt_cache: "apt-cache".into(),
            apt_helper: "/usr/lib/apt/apt-helper".into(),
            cargo: "cargo".into(),
            python: "python3".into(),
            npm: "npm".into(),
            go: "go".into(),
            git: "git".into(),
        }
    }
}

/// Everything that fetching depends on.
#[derive(Debug, Clone)]
pub struct FetchConfig {
    /// Base addresses by kind, asked in order, in place of the machine's client.
    pub mirrors: BTreeMap<CoordinateKind, Vec<String>>,
    /// The machine's clients.
    pub clients: Clients,
    /// Where downloads are kept until they are verified.
    pub spool: PathBuf,
    /// Where cargo keeps its configuration and its crates.
    pub cargo_home: Option<PathBuf>,
    /// A file of logins by host, in the form of netrc.
    pub netrc: Option<PathBuf>,
    /// How long one request, or one run of a client, may take.
    pub patience: Duration,
    /// The pauses before a request is made again after a fault that may pass.
    pub pauses: Vec<Duration>,
}

impl Default for FetchConfig {
    /// No mirrors, the usual clients, nothing from the environment.
    fn default() -> Self {
        Self {
            mirrors: BTreeMap::new(),
            clients: Clients::default(),
            spool: std::env::temp_dir(),
            cargo_home: None,
            netrc: None,
            patience: Duration::from_secs(15 * 60),
            pauses: vec![Duration::from_millis(500), Duration::from_secs(2)],
        }
    }
}

impl FetchConfig {
    /// The defaults, with what the process's environment names.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
    }

    /// The defaults, with what some variables name.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let home = variable("HOME").map(PathBuf::from);
        let mut config = Self {
            cargo_home: variable("CARGO_HOME").map(PathBuf::from).or_else(|| home.as_ref().map(|h| h.join(".cargo"))),
            netrc: variable("NETRC").map(PathBuf::from).or_else(|| home.as_ref().map(|h| h.join(".netrc"))),
            ..Self::default()
        };
        for kind in CoordinateKind::ALL {
            if let Some(text) = variable(&kind.variable()) {
                config.mirrors.insert(kind, text.split_whitespace().map(str::to_owned).collect());
            }
        }
        config
    }

    /// The mirrors set for a kind of coordinate.
    pub fn mirrors_of(&self, kind: CoordinateKind) -> &[String] {
        self.mirrors.get(&kind).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_names_the_mirrors_of_its_kind_and_of_no_other() {
        let config = FetchConfig::from_variables(|name| {
            (name == "ANNEAL_MIRROR_DEBIAN_SECURITY").then(|| "https://a.example/s  file:/srv/s".to_owned())
        });
        assert_eq!(config.mirrors_of(CoordinateKind::DebianSecurity), ["https://a.example/s", "file:/srv/s"]);
        assert!(config.mirrors_of(CoordinateKind::Debian).is_empty());
    }

    #[test]
    fn cargo_and_netrc_are_found_in_the_home_unless_named() {
        let home = |name: &str| (name == "HOME").then(|| "/home/u".to_owned());
        let config = FetchConfig::from_variables(home);
        assert_eq!(config.cargo_home, Some("/home/u/.cargo".into()));
        let config = FetchConfig::from_variables(|n| if n == "NETRC" { Some("/run/netrc".into()) } else { home(n) });
        assert_eq!(config.netrc, Some("/run/netrc".into()));
    }
}
