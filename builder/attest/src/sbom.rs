//! The inventory of an image as an SPDX 2.3 document.
//!
//! ```text
//! DOCUMENT -DESCRIBES-> Image -CONTAINS-> Package -CONTAINS-> File
//!                         |                  |-DEPENDS_ON-> Package
//!                         '-CONTAINS-> File  '-GENERATED_FROM-> Source
//! ```
//! A pure function of [`SbomInput`]: ids follow from names, paths and digests, lists are sorted, the time is the
//! image's source epoch, and the namespace is the digest of the document itself.

use crate::{
    Error, FileChecksums, Result, SbomFile, SbomInput, SbomPackage, SbomSource,
    json::shown,
    spdx_document::{
        Checksum, CreationInfo, Document, ExternalRef, ExtractedLicense, File, Package, Relationship, VerificationCode,
    },
};
use anneal_content::{BlobDigest, TreePath, blob_digest_of};
use serde_json::Value;
use sha1::Digest as _;
use std::collections::{BTreeMap, BTreeSet};

const WHAT: &str = "inventory";
const DOCUMENT_ID: &str = "SPDXRef-DOCUMENT";
const IMAGE_ID: &str = "SPDXRef-Image";
const NO_ASSERTION: &str = "NOASSERTION";
/// The most packages of one image.
const PACKAGES_MAX: usize = 10_000;
/// The most files of one image.
const FILES_MAX: usize = 1_000_000;

/// The SPDX document of an image, ready to be a [`crate::Predicate::Spdx`]. Its canonical JSON is its bytes.
pub fn sbom(input: &SbomInput) -> Result<Value> {
    check_sizes(input)?;
    let mut writer = Writer::default();
    writer.relate(DOCUMENT_ID, "DESCRIBES", IMAGE_ID);
    let verification = writer.files(IMAGE_ID, &input.files)?;
    writer.packages.push(image_package(input, verification));
    let mut packages: Vec<&SbomPackage> = input.packages.iter().collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    let names: BTreeSet<_> = packages.iter().map(|package| &package.name).collect();
    if names.len() != packages.len() {
        return Err(Error::field(WHAT, "packages", "one package is listed twice"));
    }
    for package in packages {
        if let Some(missing) = package.requires.iter().find(|name| !names.contains(name)) {
            let reason = format!("requires `{missing}`, which is not in the image");
            return Err(Error::field(WHAT, format!("package {}", package.name), reason));
        }
        writer.package(package, &input.license_texts)?;
    }
    writer.finish(input)
}

fn check_sizes(input: &SbomInput) -> Result<()> {
    let packages = input.packages.len();
    if packages > PACKAGES_MAX {
        return Err(Error::TooLarge { what: WHAT, limit: PACKAGES_MAX, unit: "packages", found: packages });
    }
    let files = input.files.len() + input.packages.iter().map(|package| package.files.len()).sum::<usize>();
    if files > FILES_MAX {
        return Err(Error::TooLarge { what: WHAT, limit: FILES_MAX, unit: "files", found: files });
    }
    Ok(())
}

#[derive(Default)]
struct Writer<'a> {
    packages: Vec<Package>,
    files: BTreeMap<&'a TreePath, File>,
    sources: BTreeMap<BlobDigest, &'a SbomSource>,
    licenses: BTreeMap<String, String>,
    relationships: Vec<Relationship>,
}

impl<'a> Writer<'a> {
    fn relate(&mut self, from: &str, kind: &'static str, to: &str) {
        self.relationships.push(Relationship {
            spdx_element_id: from.to_owned(),
            relationship_type: kind,
            related_spdx_element: to.to_owned(),
        });
    }

    /// Lists the files of `owner` and gives its verification code: none where there is no file.
    fn files(&mut self, owner: &str, files: &'a [SbomFile]) -> Result<Option<VerificationCode>> {
        for file in files {
            let id = file_id(&file.path);
            self.relate(owner, "CONTAINS", &id);
            let written = File {
                id,
                file_name: format!("./{}", file.path),
                checksums: [sha1_checksum(&file.checksums), sha256_checksum(&file.checksums.sha256)],
            };
            if self.files.insert(&file.path, written).is_some() {
                return Err(Error::field(WHAT, "files", format!("`{}` is listed twice", file.path)));
            }
        }
        Ok((!files.is_empty()).then(|| verification_code(files)))
    }

    fn package(&mut self, package: &'a SbomPackage, license_texts: &BTreeMap<String, String>) -> Result<()> {
        let id = package_id(package.name.as_str());
        self.license(package, license_texts)?;
        let mut identities = vec![purl_ref(versioned_purl(package)?)];
        identities.extend(versioned_cpe(package)?.map(cpe_ref));
        self.relate(IMAGE_ID, "CONTAINS", &id);
        let verification = self.files(&id, &package.files)?;
        for required in &package.requires {
            self.relate(&id, "DEPENDS_ON", &package_id(required.as_str()));
        }
        for source in &package.sources {
            self.relate(&id, "GENERATED_FROM", &source_id(&source.sha256));
            // The same archive under two names is listed once, under the name that sorts first.
            let listed = self.sources.entry(source.sha256).or_insert(source);
            if (&source.name, &source.url) < (&listed.name, &listed.url) {
                *listed = source;
            }
        }
        self.packages.push(Package {
            id,
            name: package.name.to_string(),
            version_info: package.version.to_string(),
            supplier: NO_ASSERTION,
            download_location: NO_ASSERTION.to_owned(),
            files_analyzed: verification.is_some(),
            package_verification_code: verification,
            checksums: Vec::new(),
            homepage: package.homepage.clone(),
            summary: Some(package.summary.clone()).filter(|summary| !summary.is_empty()),
            license_concluded: NO_ASSERTION,
            license_declared: package.license.clone(),
            copyright_text: NO_ASSERTION,
            primary_package_purpose: None,
            external_refs: identities,
        });
        Ok(())
    }

    /// Checks a licence expression and carries the texts of licences that are not on the SPDX list.
    fn license(&mut self, package: &SbomPackage, texts: &BTreeMap<String, String>) -> Result<()> {
        let wrong = |reason: String| Error::License {
            package: package.name.to_string(),
            expression: shown(&package.license),
            reason,
        };
        let expression = spdx::Expression::parse(&package.license).map_err(|e| wrong(e.reason.to_string()))?;
        for requirement in expression.requirements() {
            if let Some(spdx::AdditionItem::Other(_)) = requirement.req.addition {
                return Err(wrong("an exception that is not on the SPDX list has no form in SPDX 2.3".to_owned()));
            }
            let spdx::LicenseItem::Other(other) = &requirement.req.license else { continue };
            if other.doc_ref.is_some() {
                return Err(wrong("names a licence in another document".to_owned()));
            }
            let name = format!("LicenseRef-{}", other.lic_ref);
            let text = texts.get(&name).ok_or_else(|| wrong(format!("the text of {name} is not given")))?;
            self.licenses.insert(name, text.clone());
        }
        Ok(())
    }

    fn finish(mut self, input: &SbomInput) -> Result<Value> {
        let sources = std::mem::take(&mut self.sources);
        self.packages.extend(sources.values().map(|source| source_package(source)));
        self.relationships.sort();
        self.relationships.dedup();
        let mut document = Document {
            id: DOCUMENT_ID,
            spdx_version: "SPDX-2.3",
            data_license: "CC0-1.0",
            name: input.image.to_string(),
            document_namespace: String::new(),
            creation_info: CreationInfo {
                created: input.created.to_string(),
                creators: vec![format!("Tool: {}", input.tool)],
            },
            packages: self.packages,
            files: self.files.into_values().collect(),
            has_extracted_licensing_infos: self
                .licenses
                .into_iter()
                .map(|(license_id, extracted_text)| ExtractedLicense { license_id, extracted_text })
                .collect(),
            relationships: self.relationships,
        };
        // Unique to the content, as the specification asks, and the same whenever the content is.
        document.document_namespace = format!("urn:anneal:spdx:{}", blob_digest_of(&document)?.hex());
        serde_json::to_value(&document).map_err(|e| Error::Json { what: WHAT, reason: e.to_string() })
    }
}

fn image_package(input: &SbomInput, verification: Option<VerificationCode>) -> Package {
    let name = input.image.as_str().rsplit('/').next().unwrap_or_default();
    Package {
        id: IMAGE_ID.to_owned(),
        name: input.image.to_string(),
        version_info: input.digest.to_string(),
        supplier: NO_ASSERTION,
        download_location: NO_ASSERTION.to_owned(),
        files_analyzed: verification.is_some(),
        package_verification_code: verification,
        checksums: vec![sha256_checksum(&input.digest)],
        homepage: None,
        summary: None,
        license_concluded: NO_ASSERTION,
        license_declared: NO_ASSERTION.to_owned(),
        copyright_text: NO_ASSERTION,
        primary_package_purpose: Some("CONTAINER"),
        external_refs: vec![purl_ref(format!("pkg:oci/{name}@sha256%3A{}", input.digest.hex()))],
    }
}

fn source_package(source: &SbomSource) -> Package {
    Package {
        id: source_id(&source.sha256),
        name: source.name.clone(),
        version_info: source.sha256.to_string(),
        supplier: NO_ASSERTION,
        download_location: source.url.clone().unwrap_or_else(|| NO_ASSERTION.to_owned()),
        files_analyzed: false,
        package_verification_code: None,
        checksums: vec![sha256_checksum(&source.sha256)],
        homepage: None,
        summary: None,
        license_concluded: NO_ASSERTION,
        license_declared: NO_ASSERTION.to_owned(),
        copyright_text: NO_ASSERTION,
        primary_package_purpose: Some("SOURCE"),
        external_refs: Vec::new(),
    }
}

/// SPDX's digest over a package's files: the SHA-1 of their sorted SHA-1s in hex.
fn verification_code(files: &[SbomFile]) -> VerificationCode {
    let mut sums: Vec<String> = files.iter().map(|file| hex::encode(file.checksums.sha1)).collect();
    sums.sort();
    let code: [u8; 20] = sha1::Sha1::digest(sums.concat()).into();
    VerificationCode { package_verification_code_value: hex::encode(code) }
}

fn sha1_checksum(checksums: &FileChecksums) -> Checksum {
    Checksum { algorithm: "SHA1", checksum_value: hex::encode(checksums.sha1) }
}

fn sha256_checksum(digest: &BlobDigest) -> Checksum {
    Checksum { algorithm: "SHA256", checksum_value: digest.hex() }
}

fn purl_ref(purl: String) -> ExternalRef {
    ExternalRef { reference_category: "PACKAGE-MANAGER", reference_type: "purl", reference_locator: purl }
}

fn cpe_ref(cpe: String) -> ExternalRef {
    ExternalRef { reference_category: "SECURITY", reference_type: "cpe23Type", reference_locator: cpe }
}

/// Ids hold letters, digits, `.` and `-`; `..` stands for a dot and `.-` for `_`, so two names never meet.
fn package_id(name: &str) -> String {
    format!("SPDXRef-Package-{}", name.replace('.', "..").replace('_', ".-"))
}

fn source_id(digest: &BlobDigest) -> String {
    format!("SPDXRef-Source-{}", digest.hex())
}

fn file_id(path: &TreePath) -> String {
    format!("SPDXRef-File-{}", BlobDigest::of(path.as_str().as_bytes()).hex())
}

/// The package's purl with its version, which the recipe's leaves out.
fn versioned_purl(package: &SbomPackage) -> Result<String> {
    let purl = &package.purl;
    let wrong = |reason: &str| {
        Error::field(WHAT, format!("package {}: purl", package.name), format!("`{}` {reason}", shown(purl)))
    };
    if !purl.starts_with("pkg:") || !purl.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(wrong("is not a package URL like pkg:generic/zlib"));
    }
    let end = purl.find(['?', '#']).unwrap_or(purl.len());
    let (path, rest) = purl.split_at(end);
    let mut version = String::new();
    for byte in package.version.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            version.push(char::from(byte));
        } else {
            version.push_str(&format!("%{byte:02X}"));
        }
    }
    match path.split_once('@') {
        None => Ok(format!("{path}@{version}{rest}")),
        Some((_, written)) if written == version => Ok(purl.clone()),
        Some(_) => Err(wrong(&format!("names a version other than {version}; leave the version out"))),
    }
}

/// The package's CPE name with its version, and nothing said of update, edition, language and what it runs on (NIST IR 7695, 6.2).
fn versioned_cpe(package: &SbomPackage) -> Result<Option<String>> {
    let Some(cpe) = &package.cpe else { return Ok(None) };
    if !cpe.starts_with("cpe:2.3:") || cpe.split(':').count() != 5 || !cpe.bytes().all(|b| b.is_ascii_graphic()) {
        let reason = format!("`{}` is not the beginning of a CPE name like cpe:2.3:a:zlib:zlib", shown(cpe));
        return Err(Error::field(WHAT, format!("package {}: cpe", package.name), reason));
    }
    let mut version = String::new();
    for byte in package.version.as_str().bytes() {
        if !byte.is_ascii_alphanumeric() && !b"-._".contains(&byte) {
            version.push('\\');
        }
        version.push(char::from(byte));
    }
    Ok(Some(format!("{cpe}:{version}:*:*:*:*:*:*:*")))
}
