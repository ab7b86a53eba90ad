//! Is an affected entry about this component? By package URL, by a name that the component has in the entry's
//! ecosystem, or by the repository of its commit ranges.

use crate::ecosystem::{base, normal_name, pypi_name, repository, same};
use crate::error::shown;
use crate::{Affected, Component, Package, RangeKind};
use std::fmt;

/// How an entry was found to be about a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// Type, namespace and name of the package URLs are equal.
    Purl(String),
    /// The component has this name in this ecosystem.
    Name(String, String),
    /// A commit range is of the component's repository.
    Repository(String),
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Purl(purl) => write!(f, "by package URL {}", shown(purl)),
            Self::Name(ecosystem, name) => write!(f, "by the name {} in {}", shown(name), shown(ecosystem)),
            Self::Repository(repository) => write!(f, "by repository {}", shown(repository)),
        }
    }
}

/// How the entry is about the component, if it is. The strongest identity wins.
pub(super) fn matched(entry: &Affected, component: &Component) -> Option<Match> {
    let package = entry.package.as_ref();
    package
        .and_then(|package| by_purl(package, component))
        .or_else(|| package.and_then(|package| by_name(package, component)))
        .or_else(|| by_repository(entry, component))
}

fn by_purl(package: &Package, component: &Component) -> Option<Match> {
    let wanted = component.purl.as_deref()?;
    let ours = Purl::parse(wanted)?;
    let theirs = match &package.purl {
        Some(purl) => Purl::parse(purl)?,
        None if base(&package.ecosystem).eq_ignore_ascii_case("generic") => Purl::generic(&package.name),
        None => return None,
    };
    (ours == theirs).then(|| Match::Purl(wanted.to_owned()))
}

fn by_name(package: &Package, component: &Component) -> Option<Match> {
    let theirs = normal_name(&package.ecosystem, &package.name);
    let found = component.names.iter().find(|(ecosystem, name)| {
        same(ecosystem, &package.ecosystem) && normal_name(&package.ecosystem, name) == theirs
    });
    found.map(|(_, name)| Match::Name(package.ecosystem.clone(), name.clone()))
}

fn by_repository(entry: &Affected, component: &Component) -> Option<Match> {
    let ours = component.repository.as_deref()?;
    is_commit_range_of(entry, ours).then(|| Match::Repository(ours.to_owned()))
}

fn is_commit_range_of(entry: &Affected, ours: &str) -> bool {
    let ours = repository(ours);
    let theirs = |range: &crate::Range| range.repo.as_deref().is_some_and(|repo| repository(repo) == ours);
    entry.ranges.iter().any(|range| range.kind == RangeKind::Git && theirs(range))
}

/// The type of a package URL, such as `generic`.
pub(super) fn purl_type(purl: &str) -> Option<String> {
    Purl::parse(purl).map(|purl| purl.kind)
}

/// The parts of a package URL that identify a package; version, qualifiers and subpath are not among them.
#[derive(Debug, PartialEq, Eq)]
struct Purl {
    kind: String,
    namespace: String,
    name: String,
}

impl Purl {
    fn parse(text: &str) -> Option<Self> {
        let rest = text.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("pkg:")).and_then(|_| text.get(4..))?;
        let rest = rest.trim_start_matches('/');
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let (kind, path) = rest[..end].split_once('/')?;
        // A version follows the last `@`, but npm scopes begin with one: `pkg:npm/@scope/name`.
        let path = match path.rfind('@') {
            Some(at) if at > 0 && !path[at..].contains('/') => &path[..at],
            _ => path,
        };
        let path = path.trim_matches('/');
        let (namespace, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (namespace, name) = (percent_decoded(namespace)?, percent_decoded(name)?);
        if kind.is_empty() || name.is_empty() {
            return None;
        }
        Some(Self::normal(kind.to_ascii_lowercase(), namespace, name))
    }

    fn generic(name: &str) -> Self {
        Self { kind: "generic".to_owned(), namespace: String::new(), name: name.to_owned() }
    }

    /// Applies what the package URL types say about case and separators.
    fn normal(kind: String, namespace: String, name: String) -> Self {
        match kind.as_str() {
            "pypi" => Self { name: pypi_name(&name), kind, namespace },
            "github" | "gitlab" | "bitbucket" | "deb" | "apk" | "alpine" | "composer" | "hex" => {
                Self { kind, namespace: namespace.to_ascii_lowercase(), name: name.to_ascii_lowercase() }
            }
            _ => Self { kind, namespace, name },
        }
    }
}

/// The text of a package URL's component without percent encoding (purl-spec, "Character encoding"); `None` where an
/// escape is broken or the bytes are not UTF-8.
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
        bytes.push(high * 16 + low);
    }
    String::from_utf8(bytes).ok()
}
