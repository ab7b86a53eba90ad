//! An SPDX 2.3 document in JSON as it is written, and package URLs.

use serde::Deserialize;
use std::collections::BTreeSet;

/// The document.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Document {
    pub(crate) spdx_version: String,
    #[serde(rename = "SPDXID")]
    pub(crate) id: String,
    pub(crate) data_license: String,
    pub(crate) name: String,
    pub(crate) document_namespace: String,
    pub(crate) creation_info: CreationInfo,
    pub(crate) packages: Vec<Component>,
    pub(crate) files: Vec<ListedFile>,
    pub(crate) relationships: Vec<Relationship>,
}

/// Who made the document and when.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CreationInfo {
    pub(crate) created: String,
    pub(crate) creators: Vec<String>,
}

/// A package in the document.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Component {
    #[serde(rename = "SPDXID")]
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version_info: String,
    pub(crate) supplier: String,
    pub(crate) download_location: String,
    pub(crate) license_concluded: String,
    pub(crate) license_declared: String,
    pub(crate) external_refs: Vec<ExternalRef>,
}

/// A reference to another naming scheme.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ExternalRef {
    pub(crate) reference_type: String,
    pub(crate) reference_locator: String,
}

/// A file in the document.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListedFile {
    #[serde(rename = "SPDXID")]
    pub(crate) id: String,
    pub(crate) file_name: String,
    pub(crate) checksums: Vec<Checksum>,
}

/// A checksum of a file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Checksum {
    pub(crate) algorithm: String,
    pub(crate) checksum_value: String,
}

/// How two elements are related.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Relationship {
    pub(crate) spdx_element_id: String,
    pub(crate) relationship_type: String,
    pub(crate) related_spdx_element: String,
}

impl Document {
    /// Ids of what the document as a whole describes: the image itself.
    fn described(&self) -> impl Iterator<Item = &str> {
        self.relationships.iter().filter_map(|r| match r.relationship_type.as_str() {
            "DESCRIBES" if r.spdx_element_id == self.id => Some(r.related_spdx_element.as_str()),
            "DESCRIBED_BY" if r.related_spdx_element == self.id => Some(r.spdx_element_id.as_str()),
            _ => None,
        })
    }

    /// The packages that the image is made of: not the image itself, nor what it was merely made from.
    pub(crate) fn components(&self) -> impl Iterator<Item = &Component> {
        let made_from = self.relationships.iter().filter_map(|r| match r.relationship_type.as_str() {
            "GENERATED_FROM" => Some(r.related_spdx_element.as_str()),
            "GENERATES" => Some(r.spdx_element_id.as_str()),
            kind if kind.starts_with("BUILD_") => Some(r.spdx_element_id.as_str()),
            _ => None,
        });
        let others: BTreeSet<&str> = self.described().chain(made_from).collect();
        self.packages.iter().filter(move |p| !others.contains(p.id.as_str()))
    }
}

impl Component {
    /// Its package URLs.
    pub(crate) fn purls(&self) -> impl Iterator<Item = &str> {
        self.external_refs.iter().filter(|r| r.reference_type == "purl").map(|r| r.reference_locator.as_str())
    }
}

impl ListedFile {
    /// Its path beneath the root, without `./` or `/` before it.
    pub(crate) fn path(&self) -> &str {
        self.file_name.strip_prefix("./").or_else(|| self.file_name.strip_prefix('/')).unwrap_or(&self.file_name)
    }
    /// Its SHA-256, in lower case.
    pub(crate) fn sha256(&self) -> Option<String> {
        let sum = self.checksums.iter().find(|c| c.algorithm == "SHA256")?;
        Some(sum.checksum_value.to_ascii_lowercase())
    }
}

/// A package URL: `pkg:type/namespace/name@version?qualifiers#subpath`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Purl {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) version: Option<String>,
}

impl Purl {
    /// Reads one, or says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("pkg:").ok_or("it does not begin with `pkg:`")?.trim_start_matches('/');
        let rest = rest.split('#').next().unwrap_or_default();
        let rest = rest.split('?').next().unwrap_or_default();
        let (kind, rest) = rest.split_once('/').ok_or("it has no name after its type")?;
        let valid_kind = kind.starts_with(|c: char| c.is_ascii_alphabetic())
            && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-".contains(&b));
        if !valid_kind {
            return Err(format!("{kind:?} is not a type"));
        }
        let rest = rest.trim_matches('/');
        // A scope such as `@angular` begins with an @ that is no version.
        let split = rest.rsplit_once('@').filter(|(name, _)| !name.is_empty() && !name.ends_with('/'));
        let (path, version) = split.map_or((rest, None), |(path, version)| (path, Some(version)));
        let (namespace, name) = path.rsplit_once('/').unwrap_or(("", path));
        let name = decode(name)?;
        if name.is_empty() {
            return Err("its name is empty".into());
        }
        let version = version.map(decode).transpose()?;
        if version.as_deref() == Some("") {
            return Err("its version is empty".into());
        }
        Ok(Purl { kind: kind.to_ascii_lowercase(), namespace: decode(namespace)?, name, version })
    }
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(|d| d.and_then(|d| char::from(d).to_digit(16)));
        let [Some(high), Some(low)] = digits else { return Err("a `%` without two hex digits".into()) };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::Purl;

    #[test]
    fn package_urls_are_taken_apart_and_nonsense_is_refused() {
        let parts = |text: &str| Purl::parse(text).map(|p| (p.kind, p.namespace, p.name, p.version));
        let some = |v: &str| Some(v.to_owned());
        let own = |a: &str, b: &str, c: &str, v| Ok((a.to_owned(), b.to_owned(), c.to_owned(), v));
        assert_eq!(parts("pkg:generic/zlib@1.2.13"), own("generic", "", "zlib", some("1.2.13")));
        assert_eq!(parts("pkg:npm/%40scope/name@1.0"), own("npm", "@scope", "name", some("1.0")));
        assert_eq!(parts("pkg:npm/@scope/name"), own("npm", "@scope", "name", None));
        assert_eq!(parts("pkg:deb/debian/curl@7.50?arch=i386#x"), own("deb", "debian", "curl", some("7.50")));
        for wrong in ["generic/zlib@1", "pkg:zlib", "pkg:generic/", "pkg:1x/zlib", "pkg:generic/z%4", "pkg:generic/z@"]
        {
            assert!(Purl::parse(wrong).is_err(), "{wrong}");
        }
    }
}
