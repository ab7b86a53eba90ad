//! An image recipe: which packages an image holds, how it starts, and what is added beside the packages.

use crate::{
    Error, ImagePath, Waiver,
    error::{format_error, shown},
};
use anneal_content::{ImageName, PackageName, Tag};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

/// What an image contains and how it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImageRecipe {
    /// Its name, and its repository's in the registry.
    pub name: ImageName,
    /// One line for people.
    pub summary: String,
    /// Packages that were asked for; what they need to run comes with them.
    pub packages: BTreeSet<PackageName>,
    /// Who runs the first process.
    pub user: Owner,
    /// The program and its fixed arguments.
    pub entrypoint: Vec<String>,
    /// Arguments, or the whole command where there is no entrypoint.
    pub cmd: Vec<String>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Where the first process starts.
    pub workdir: ImagePath,
    /// Ports it listens on.
    pub ports: BTreeSet<Port>,
    /// The signal that stops it, such as `SIGQUIT`.
    pub stop_signal: Option<String>,
    /// Labels in the image's configuration.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// How many layers the packages may take, beside the metadata layer.
    pub layer_budget: u16,
    /// How layers are compressed.
    pub compression: Compression,
    /// Tags as written; see [`ImageRecipe::version_of`] and [`crate::Catalog::tags`].
    pub tags: BTreeSet<Tag>,
    /// The package whose version is a tag as well.
    pub version_of: Option<PackageName>,
    /// Files of the metadata layer, sorted by path.
    pub files: Vec<ImageFile>,
    /// Directories of the metadata layer, sorted by path.
    pub directories: Vec<ImageDirectory>,
    /// Accounts of the image, sorted by uid.
    pub accounts: Vec<Account>,
    /// How it is shown that the image runs; `None`: it has nothing to run.
    pub run: Option<RunCheck>,
    /// Checks whose findings are accepted, each with a reason.
    pub allow: Vec<Waiver>,
    /// What may be done for a fix to ship sooner.
    #[serde(default, skip_serializing_if = "ReleasePolicy::is_usual")]
    pub policy: ReleasePolicy,
}

/// What may be done for a fix to ship sooner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReleasePolicy {
    /// Whether a package keeps its build when an advisory moves a library that it links, and the new one is a drop-in
    /// replacement for the old one: it ships with it at once, and is built again afterwards.
    pub compatible_swap: bool,
}

impl ReleasePolicy {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl ImageRecipe {
    /// What the run check executes: its `argv`, else the entrypoint followed by its `args` or, without them, by `cmd`.
    pub fn run_argv(&self) -> Vec<String> {
        let Some(run) = &self.run else { return Vec::new() };
        if let Some(argv) = &run.argv {
            return argv.clone();
        }
        let args = run.args.as_ref().unwrap_or(&self.cmd);
        self.entrypoint.iter().chain(args).cloned().collect()
    }
}

/// A numeric user and group, written `uid:gid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    /// `0:0`.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// What a port carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// `tcp`
    Tcp,
    /// `udp`
    Udp,
}

/// A port, written `8080/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// 1 to 65535.
    pub number: u16,
    /// What it carries.
    pub protocol: Protocol,
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Every client reads it.
    #[default]
    Gzip,
    /// Smaller and faster; older clients don't read it.
    Zstd,
}

/// Permission bits without setuid and setgid, written in octal, such as `0644`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mode(u32);

impl Mode {
    /// A file that everyone reads.
    pub const FILE: Self = Self(0o644);
    /// A directory that everyone enters.
    pub const DIRECTORY: Self = Self(0o755);
    /// The bits: at most 0o1777.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// A file of the metadata layer; it belongs to root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImageFile {
    /// Where.
    pub path: ImagePath,
    /// Its permission bits, without the sticky bit.
    pub mode: Mode,
    /// Its bytes.
    pub content: String,
}

/// A directory of the metadata layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImageDirectory {
    /// Where.
    pub path: ImagePath,
    /// Its permission bits.
    pub mode: Mode,
    /// Whom it belongs to.
    pub owner: Owner,
}

/// An account of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Account {
    /// The login name.
    pub name: String,
    /// The user's number.
    pub uid: u32,
    /// The group's number; the group is called as the user is.
    pub gid: u32,
    /// The home directory.
    pub home: ImagePath,
    /// The shell; `/sbin/nologin` if the recipe names none.
    pub shell: ImagePath,
}

/// How it is shown that an image runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunCheck {
    /// The whole command, instead of the image's own; never together with `args`.
    pub argv: Option<Vec<String>>,
    /// Arguments after the entrypoint, instead of `cmd`.
    pub args: Option<Vec<String>>,
    /// What must be seen.
    pub expect: Expectation,
}

/// What a run check must see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Expectation {
    /// The image answers one HTTP request.
    Http {
        /// Where it listens.
        port: u16,
        /// What is asked for.
        path: String,
        /// What it must answer.
        status: u16,
    },
    /// The first process ends by itself.
    Exits {
        /// With this status.
        status: u8,
        /// Having written this to standard output.
        stdout_contains: Option<String>,
    },
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}
impl FromStr for Owner {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        const FORM: &str = "two numbers, such as \"65532:65532\"; names of users are not known outside the image";
        let wrong = || format_error("owner", FORM, text);
        let (uid, gid) = text.split_once(':').ok_or_else(wrong)?;
        let number = |digits: &str| decimal(digits).filter(|id| *id < u32::MAX).ok_or_else(wrong);
        Ok(Self { uid: number(uid)?, gid: number(gid)? })
    }
}
crate::text::serde_as_text!(Owner);

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{}/{protocol}", self.number)
    }
}
impl FromStr for Port {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || format_error("port", "a number and what it carries, such as \"8080/tcp\" or \"53/udp\"", text);
        let (number, protocol) = text.split_once('/').ok_or_else(wrong)?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(wrong()),
        };
        let number = decimal(number).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(wrong)?;
        Ok(Self { number, protocol })
    }
}
crate::text::serde_as_text!(Port);

/// A number in the one way of writing it: digits only, no leading zero.
fn decimal(text: &str) -> Option<u32> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    if plain { text.parse().ok() } else { None }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}
impl FromStr for Mode {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let bits = if octal { u32::from_str_radix(text, 8).ok() } else { None };
        let bits = bits.ok_or_else(|| format_error("mode", "three or four octal digits, such as \"0644\"", text))?;
        let special = match bits & 0o6000 {
            0 => return Ok(Self(bits)),
            0o4000 => "setuid",
            0o2000 => "setgid",
            _ => "setuid and setgid",
        };
        Err(Error::SpecialMode { found: shown(text), bits: special })
    }
}
crate::text::serde_as_text!(Mode);
