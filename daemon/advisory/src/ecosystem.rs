//! What is known about each ecosystem of the OSV schema: whose versions it has, how they are ordered, and which
//! package URL type means the same place.
//!
//! An ecosystem that is not listed is taken to carry upstream's own versions.

use crate::order::Order;

/// Where the versions of an ecosystem come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Upstream's own versions.
    Upstream,
    /// A language registry: its packages have versions of their own, even where they wrap somebody else's library.
    Registry,
    /// A distribution: upstream's version and a revision, and fixes carried back to old versions.
    Distribution,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ecosystem {
    pub(crate) origin: Origin,
    /// The order of its versions, where Anneal knows it.
    pub(crate) order: Option<Order>,
    /// The package URL types that name packages of it.
    pub(crate) purl_types: &'static [&'static str],
}

/// The ecosystem without its release: `Debian` of `Debian:12`.
pub(crate) fn base(ecosystem: &str) -> &str {
    ecosystem.split_once(':').map_or(ecosystem, |(base, _)| base)
}

/// Whether two ecosystem names mean the same place: equal, or equal without a release that only one of them gives.
pub(crate) fn same(a: &str, b: &str) -> bool {
    let releases_differ = a.contains(':') && b.contains(':') && !a.eq_ignore_ascii_case(b);
    !releases_differ && base(a).eq_ignore_ascii_case(base(b))
}

/// What is known about an ecosystem, with or without a release.
pub(crate) fn known(ecosystem: &str) -> Ecosystem {
    use Order::{Alpine, Debian, Generic, Pep440, Semver};
    let row = |origin, order, purl_types| Ecosystem { origin, order, purl_types };
    match base(ecosystem).to_ascii_lowercase().as_str() {
        "generic" => row(Origin::Upstream, Some(Generic), &["generic"]),
        "crates.io" => row(Origin::Registry, Some(Semver), &["cargo"]),
        "npm" => row(Origin::Registry, Some(Semver), &["npm"]),
        "go" => row(Origin::Registry, Some(Semver), &["golang"]),
        "pypi" => row(Origin::Registry, Some(Pep440), &["pypi"]),
        "maven" => row(Origin::Registry, None, &["maven"]),
        "nuget" => row(Origin::Registry, None, &["nuget"]),
        "rubygems" => row(Origin::Registry, None, &["gem"]),
        "packagist" => row(Origin::Registry, None, &["composer"]),
        "hex" => row(Origin::Registry, None, &["hex"]),
        "pub" => row(Origin::Registry, None, &["pub"]),
        "hackage" => row(Origin::Registry, None, &["hackage"]),
        "cran" | "bioconductor" => row(Origin::Registry, None, &["cran", "bioconductor"]),
        "opam" => row(Origin::Registry, None, &["opam"]),
        "julia" => row(Origin::Registry, None, &["julia"]),
        "debian" | "ubuntu" => row(Origin::Distribution, Some(Debian), &["deb"]),
        "alpine" | "chainguard" | "wolfi" => row(Origin::Distribution, Some(Alpine), &["apk", "alpine"]),
        "almalinux" | "rocky linux" | "red hat" | "suse" | "opensuse" | "openeuler" | "mageia" | "photon os" => {
            row(Origin::Distribution, None, &["rpm"])
        }
        "alpaquita"
        | "bellsoft hardened containers"
        | "cleanstart"
        | "docker hardened images"
        | "echo"
        | "freebsd"
        | "minimos"
        | "root" => row(Origin::Distribution, None, &[]),
        _ => row(Origin::Upstream, None, &[]),
    }
}

/// The form in which two names of one ecosystem are equal if they name the same package.
pub(crate) fn normal_name(ecosystem: &str, name: &str) -> String {
    match base(ecosystem).to_ascii_lowercase().as_str() {
        "pypi" => pypi_name(name),
        "crates.io" => name.to_ascii_lowercase().replace('_', "-"),
        "git" => repository(name),
        _ => name.to_owned(),
    }
}

/// PyPI's rule: case does not count, and a run of `-`, `_`, `.` is one `-`.
pub(crate) fn pypi_name(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c => normal.push(c.to_ascii_lowercase()),
        }
    }
    normal
}

/// A repository address without what does not tell repositories apart: scheme, user, case, `.git`, a last slash.
pub(crate) fn repository(address: &str) -> String {
    let address = address.trim().to_ascii_lowercase();
    let address = address.strip_prefix("git+").unwrap_or(&address);
    let rest = match address.split_once("://") {
        Some((_, rest)) => rest.to_owned(),
        // `git@host:owner/name`
        None => address.replacen(':', "/", 1),
    };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let rest = match rest[..authority_end].rfind('@') {
        Some(at) => &rest[at + 1..],
        None => &rest[..],
    };
    let rest = rest.trim_end_matches('/');
    rest.strip_suffix(".git").unwrap_or(rest).to_owned()
}
