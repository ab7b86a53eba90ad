//! A package URL as a component that advisories can be asked about.
//!
//! ```text
//! pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS#SUBPATH        the version must be there
//! ```

use crate::error::{Error, Result};
use anneal_advisory::{Component, percent_decoded};
use anneal_content::{PackageName, Version};

/// The component that a package URL names: by the URL itself, and by the name its ecosystem knows.
pub(super) fn component(text: &str) -> Result<Component> {
    let wrong = |why: &str| Error::Input(format!("`{text}` is not a package URL that can be asked about: {why}"));
    let rest = text.strip_prefix("pkg:").ok_or_else(|| wrong("expected pkg:TYPE/NAME@VERSION"))?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (kind, path) = rest.split_once('/').ok_or_else(|| wrong("it has no name"))?;
    let (path, version) = match path.rfind('@') {
        // npm's scopes begin with one: pkg:npm/@scope/name
        Some(at) if at > 0 && !path[at..].contains('/') => (&path[..at], &path[at + 1..]),
        _ => return Err(wrong("it has no version")),
    };
    let plain = |text: &str| percent_decoded(text).ok_or_else(|| wrong("a % is not followed by two hex digits"));
    let version = Version::new(plain(version)?).map_err(|e| wrong(&e.to_string()))?;
    let (namespace, name) = path.trim_matches('/').rsplit_once('/').unwrap_or(("", path.trim_matches('/')));
    let (namespace, name) = (plain(namespace)?, plain(name)?);
    if name.is_empty() {
        return Err(wrong("it has no name"));
    }
    let repository = (kind == "github").then(|| format!("https://github.com/{namespace}/{name}"));
    Ok(Component {
        name: slug(&name).ok_or_else(|| wrong("its name has no letter or digit"))?,
        version,
        purl: Some(format!("pkg:{kind}/{path}")),
        repository,
        names: ecosystem_name(kind, &namespace, &name).into_iter().collect(),
    })
}

/// What OSV calls the package: its ecosystem and its name there.
fn ecosystem_name(kind: &str, namespace: &str, name: &str) -> Option<(String, String)> {
    let joined = |by: &str| if namespace.is_empty() { name.to_owned() } else { format!("{namespace}{by}{name}") };
    let (ecosystem, name) = match kind {
        "cargo" => ("crates.io", name.to_owned()),
        "npm" => ("npm", joined("/")),
        "golang" => ("Go", joined("/")),
        "pypi" => ("PyPI", name.to_owned()),
        "maven" => ("Maven", joined(":")),
        "nuget" => ("NuGet", name.to_owned()),
        "gem" => ("RubyGems", name.to_owned()),
        "composer" => ("Packagist", joined("/")),
        "hex" => ("Hex", name.to_owned()),
        "pub" => ("Pub", name.to_owned()),
        "deb" if namespace.eq_ignore_ascii_case("ubuntu") => ("Ubuntu", name.to_owned()),
        "deb" => ("Debian", name.to_owned()),
        "apk" => match namespace.to_ascii_lowercase().as_str() {
            "wolfi" => ("Wolfi", name.to_owned()),
            "chainguard" => ("Chainguard", name.to_owned()),
            _ => ("Alpine", name.to_owned()),
        },
        _ => return None,
    };
    Some((ecosystem.to_owned(), name))
}

/// A name for explanations, by the rule of package names.
fn slug(name: &str) -> Option<PackageName> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c.to_ascii_lowercase() } else { '-' };
    let text: String = name.chars().map(plain).take(64).collect();
    PackageName::new(text.trim_matches(['.', '_', '-'])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, Vec<(String, String)>) {
        let component = component(text).unwrap();
        (component.purl.unwrap_or_default(), component.version.to_string(), component.names)
    }

    #[test]
    fn a_package_url_is_a_component_with_the_name_its_ecosystem_knows() {
        let names = |ecosystem: &str, name: &str| vec![(ecosystem.to_owned(), name.to_owned())];
        assert_eq!(parts("pkg:generic/zlib@1.2.11"), ("pkg:generic/zlib".into(), "1.2.11".into(), Vec::new()));
        assert_eq!(
            parts("pkg:deb/debian/zlib1g@1%3A1.2.11.dfsg-2?arch=amd64"),
            ("pkg:deb/debian/zlib1g".into(), "1:1.2.11.dfsg-2".into(), names("Debian", "zlib1g"))
        );
        assert_eq!(
            parts("pkg:npm/%40angular/core@12.0.0"),
            ("pkg:npm/%40angular/core".into(), "12.0.0".into(), names("npm", "@angular/core"))
        );
        assert_eq!(parts("pkg:maven/org.apache/log4j@2.14.1").2, names("Maven", "org.apache:log4j"));
    }

    #[test]
    fn a_package_url_without_a_version_is_refused_and_a_scope_is_no_version() {
        for text in ["pkg:npm/@scope/name", "pkg:generic/zlib", "zlib@1", "pkg:zlib", "pkg:generic/a%4@1"] {
            assert!(matches!(component(text), Err(Error::Input(_))), "{text}");
        }
    }
}
