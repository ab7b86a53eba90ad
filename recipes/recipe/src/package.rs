//! A package recipe: how one package is made from source, and every release of it that may be built.

use crate::{BuildPath, Date, Error, License, OutputRule, Place, Requirement, error::format_error};
use anneal_content::{BlobDigest, CheckId, EntryName, PackageName, Version};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

/// How one package is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PackageRecipe {
    /// Its name.
    pub name: PackageName,
    /// One line for people.
    pub summary: String,
    /// The project's page.
    pub homepage: Option<String>,
    /// Under what licence it may be passed on.
    pub license: License,
    /// Who it is upstream, for advisories.
    pub upstream: Upstream,
    /// Every release that may be built, and which one is.
    pub releases: Releases,
    /// How it is built.
    pub build: Build,
    /// What must be there for it to run.
    pub runtime_requires: BTreeSet<PackageName>,
    /// Which files belong to which output; see [`crate::split_outputs`].
    pub outputs: Vec<OutputRule>,
    /// How it is tested; no steps: not tested.
    pub test: Test,
    /// Checks whose findings are accepted, each with a reason.
    pub allow: Vec<Waiver>,
}

impl PackageRecipe {
    /// The release that is built.
    pub fn selected(&self) -> &Release {
        self.releases.selected()
    }
    /// The version that is built.
    pub fn version(&self) -> &Version {
        &self.selected().version
    }
    /// The packages that its build requires.
    pub fn build_requires(&self) -> impl Iterator<Item = &PackageName> {
        self.build.requires.iter().map(|requirement| &requirement.package)
    }
    /// Where the steps begin, beneath `/build`: what the recipe says, else where the first unpacked source went, else `.`.
    pub fn workdir(&self) -> BuildPath {
        let unpacked = || self.selected().sources.iter().find_map(|s| s.unpack.clone());
        self.build.workdir.clone().or_else(unpacked).unwrap_or_else(BuildPath::top)
    }
}

/// The listed releases of a package, oldest first: at least one, no version twice, one of them selected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ReleaseList", into = "ReleaseList")]
pub struct Releases {
    before: Vec<Release>,
    selected: Box<Release>,
    after: Vec<Release>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ReleaseList {
    selected: Version,
    listed: Vec<Release>,
}

impl Releases {
    /// Selects a listed release of a package.
    pub fn new(package: &PackageName, selected: &Version, listed: Vec<Release>) -> Result<Self, Error> {
        Self::select(selected, listed).map_err(|listed| Error::VersionNotListed {
            package: package.clone(),
            version: selected.clone(),
            listed,
        })
    }
    fn select(version: &Version, mut listed: Vec<Release>) -> Result<Self, Vec<Version>> {
        let versions = || listed.iter().map(|release| release.version.clone()).collect::<Vec<_>>();
        let at = listed.iter().position(|release| release.version == *version).ok_or_else(versions)?;
        let after = listed.split_off(at + 1);
        match listed.pop() {
            Some(selected) => Ok(Self { before: listed, selected: Box::new(selected), after }),
            None => Err(Vec::new()),
        }
    }
    /// The release that is built.
    pub fn selected(&self) -> &Release {
        &self.selected
    }
    /// Every release, oldest first.
    pub fn listed(&self) -> impl Iterator<Item = &Release> {
        self.before.iter().chain(std::iter::once(&*self.selected)).chain(&self.after)
    }
    /// The releases after the selected one: what a fix may move to, nearest first.
    pub fn later(&self) -> &[Release] {
        &self.after
    }
    /// A listed release.
    pub fn get(&self, version: &Version) -> Option<&Release> {
        self.listed().find(|release| release.version == *version)
    }
}

impl TryFrom<ReleaseList> for Releases {
    type Error = String;
    fn try_from(list: ReleaseList) -> Result<Self, String> {
        Self::select(&list.selected, list.listed).map_err(|_| format!("no release `{}` is listed", list.selected))
    }
}
impl From<Releases> for ReleaseList {
    fn from(releases: Releases) -> Self {
        let mut listed = releases.before;
        let selected = releases.selected.version.clone();
        listed.push(*releases.selected);
        listed.extend(releases.after);
        Self { selected, listed }
    }
}

/// A package's identity upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Upstream {
    /// Its package URL without a version.
    pub purl: Option<String>,
    /// Part, vendor and product of its CPE 2.3 name, such as `cpe:2.3:a:zlib:zlib`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpe: Option<String>,
    /// Its source repository.
    pub repository: Option<String>,
    /// What advisories call it.
    pub names: Vec<UpstreamName>,
}

/// What one ecosystem calls a package, written `ecosystem:name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UpstreamName {
    /// The ecosystem, as OSV writes it, such as `Debian` or `crates.io`.
    pub ecosystem: String,
    /// The name there.
    pub name: String,
}

/// One release of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Release {
    /// The version, as upstream writes it.
    pub version: Version,
    /// When upstream released it; its midnight UTC is the build's `SOURCE_DATE_EPOCH`.
    pub date: Date,
    /// What it is built from; none for a package that its steps write by themselves.
    pub sources: Vec<Source>,
}

/// One file that a build starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Source {
    /// The file's digest: what is trusted, wherever the file comes from.
    pub sha256: BlobDigest,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its name under `/src` in the build.
    pub file: EntryName,
    /// Where beneath `/build` it is unpacked, with one leading path component stripped; `None`: not unpacked.
    pub unpack: Option<BuildPath>,
    /// Where it may be found, in the order in which it is tried; at least one.
    pub places: Vec<Place>,
}

/// How a package is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Build {
    /// What is mounted at `/sysroot`, with what it needs to run.
    pub requires: BTreeSet<Requirement>,
    /// How many CPUs the build is shown; part of its key.
    pub cpus: u32,
    /// After how many minutes it is stopped; not part of its key.
    pub timeout_minutes: u32,
    /// How much memory it may use, in MiB; not part of its key.
    pub memory_mib: u32,
    /// Where the steps begin; see [`PackageRecipe::workdir`].
    pub workdir: Option<BuildPath>,
    /// Variables that the steps see beside the fixed ones.
    pub env: BTreeMap<String, String>,
    /// What is run, each by `/bin/sh -eu`; at least one.
    pub steps: Vec<String>,
}

/// How a package is tested after it is built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Test {
    /// Packages that the test needs beside the tested one.
    pub requires: BTreeSet<PackageName>,
    /// What is run, each by `/bin/sh -eu`.
    pub steps: Vec<String>,
}

/// A finding that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Waiver {
    /// Which check.
    pub check: CheckId,
    /// Why.
    pub reason: String,
}

impl fmt::Display for UpstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ecosystem, self.name)
    }
}
impl FromStr for UpstreamName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        const FORM: &str = "an ecosystem and the name there, such as \"Debian:zlib\" or \"crates.io:libz-sys\"";
        // Ecosystems may carry a release (`Debian:12`), so the name is what follows the last colon; Maven's names
        // carry a colon of their own and are joined by one.
        let wrong = || format_error("upstream name", FORM, text);
        let cut = if text.starts_with("Maven:") { text.split_once(':') } else { text.rsplit_once(':') };
        let (ecosystem, name) = cut.ok_or_else(wrong)?;
        let valid = |part: &str| !part.is_empty() && part.trim() == part && !part.chars().any(char::is_control);
        if !valid(ecosystem) || !valid(name) {
            return Err(wrong());
        }
        Ok(Self { ecosystem: ecosystem.to_owned(), name: name.to_owned() })
    }
}
crate::text::serde_as_text!(UpstreamName);
