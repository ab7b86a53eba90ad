//! The small world of the tests: fixed keys, one image, and a statement of each kind about it.

use anneal_attest::*;
use anneal_content::{BlobDigest, CatalogDigest, ImageName, PackageName, TreePath, Version};
use p256::elliptic_curve::rand_core::{TryCryptoRng, TryRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    path::PathBuf,
};

/// A "random" source that gives one byte for ever: good for tests, since it is the same everywhere.
struct Fixed(u8);

impl TryRng for Fixed {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> std::result::Result<u32, Infallible> {
        Ok(u32::from_ne_bytes([self.0; 4]))
    }
    fn try_next_u64(&mut self) -> std::result::Result<u64, Infallible> {
        Ok(u64::from_ne_bytes([self.0; 8]))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> std::result::Result<(), Infallible> {
        bytes.fill(self.0);
        Ok(())
    }
}
impl TryCryptoRng for Fixed {}

pub(crate) fn key(role: Role) -> SecretKey {
    let seed = 0x11 * (1 + Role::ALL.iter().position(|other| *other == role).unwrap() as u8);
    SecretKey::generate(role, &mut Fixed(seed)).unwrap()
}

pub(crate) fn another_key(role: Role) -> SecretKey {
    SecretKey::generate(role, &mut Fixed(0x77)).unwrap()
}

pub(crate) fn blob(text: &str) -> BlobDigest {
    BlobDigest::of(text.as_bytes())
}

pub(crate) fn image() -> BlobDigest {
    blob("the image manifest")
}

pub(crate) fn image_name() -> ImageName {
    ImageName::new("team/nginx").unwrap()
}

pub(crate) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_793_707_200 + seconds).unwrap()
}

pub(crate) fn provenance() -> Provenance {
    Provenance {
        build_definition: BuildDefinition {
            build_type: BUILD_TYPE_IMAGE.to_owned(),
            external_parameters: ExternalParameters {
                image: image_name(),
                catalog: CatalogDigest::of(b"the catalog"),
                platform: "linux/amd64".to_owned(),
                advisories: BTreeMap::from([("CVE-2022-37434".to_owned(), blob("the advisory"))]),
            },
            internal_parameters: BTreeMap::from([("layerWriter".to_owned(), "1".into())]),
            resolved_dependencies: vec![
                ResourceDescriptor::blob("build-root", &blob("the lock")),
                ResourceDescriptor {
                    uri: "https://zlib.net".to_owned(),
                    ..ResourceDescriptor::blob("zlib-1.2.13.tar.gz", &blob("the source"))
                },
            ],
        },
        run_details: RunDetails {
            builder: Builder {
                id: "urn:anneal:builder:laptop".to_owned(),
                version: BTreeMap::from([("anneal".to_owned(), "0.1.0".to_owned())]),
                builder_dependencies: Vec::new(),
            },
            metadata: BuildMetadata {
                invocation_id: "case-7/run-2".to_owned(),
                started_on: Some(time(0)),
                finished_on: Some(time(61)),
            },
            byproducts: vec![ResourceDescriptor::blob("log", &blob("the log"))],
        },
    }
}

pub(crate) fn provenance_statement() -> Statement {
    Statement::about("team/nginx", image(), Predicate::Provenance(Box::new(provenance())))
}

pub(crate) fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

pub(crate) fn test_result() -> TestResult {
    let policy = ResourceDescriptor::blob("policy", &blob("the policy"));
    TestResult::of(vec![policy], names(&["ELF-01", "OCI-03"]), names(&["ELF-02"]), names(&[]))
}

pub(crate) fn test_statement() -> Statement {
    Statement::about("team/nginx", image(), Predicate::TestResult(test_result()))
}

pub(crate) fn binding() -> Binding {
    Binding {
        name: image_name(),
        image: image(),
        index: Some(blob("the index")),
        check_results: BTreeSet::from([blob("the check results")]),
        sboms: BTreeSet::from([blob("the inventory")]),
        provenances: BTreeSet::from([blob("the provenance")]),
        diff: blob("the diff"),
    }
}

pub(crate) fn approval() -> Approval {
    Approval {
        decision: Decision::Approve,
        candidate: binding(),
        comment: "reviewed the two changed packages".to_owned(),
        approver: key(Role::Approver).public().id(),
        time: time(3600),
    }
}

pub(crate) fn release_statement() -> Statement {
    Statement::about("team/nginx", image(), Predicate::CosignSign)
}

pub(crate) fn spdx_statement() -> Statement {
    Statement::about("team/nginx", image(), Predicate::Spdx(sbom(&sbom_input()).unwrap()))
}

/// One statement of each kind, with the key that may sign it.
pub(crate) fn every_statement() -> Vec<(Statement, SecretKey)> {
    let statements = [
        spdx_statement(),
        provenance_statement(),
        test_statement(),
        Statement::approval(approval()),
        release_statement(),
    ];
    statements.into_iter().map(|s| (s.clone(), key(s.predicate.predicate_type().role()))).collect()
}

fn file(path: &str, bytes: &str) -> SbomFile {
    SbomFile { path: TreePath::new(path).unwrap(), checksums: FileChecksums::of(&mut bytes.as_bytes()).unwrap() }
}

fn package(name: &str, version: &str, license: &str) -> SbomPackage {
    SbomPackage {
        name: PackageName::new(name).unwrap(),
        version: Version::new(version).unwrap(),
        license: license.to_owned(),
        purl: format!("pkg:generic/{name}"),
        cpe: None,
        summary: String::new(),
        homepage: None,
        sources: Vec::new(),
        files: Vec::new(),
        requires: Vec::new(),
    }
}

/// Three packages: one with everything, one with an awkward name, one without files.
pub(crate) fn sbom_input() -> SbomInput {
    let mut zlib = package("zlib", "1.2.13", "Zlib");
    zlib.cpe = Some("cpe:2.3:a:zlib:zlib".to_owned());
    zlib.summary = "Lossless compression library".to_owned();
    zlib.homepage = Some("https://zlib.net".to_owned());
    zlib.files = vec![file("usr/lib/libz.so.1.2.13", "library"), file("usr/share/zlib/README", "read me")];
    zlib.requires = vec![PackageName::new("musl").unwrap()];
    let sha256 = blob("zlib's archive");
    zlib.sources = vec![SbomSource {
        name: "zlib-1.2.13.tar.gz".to_owned(),
        sha256,
        url: Some("https://zlib.net/zlib-1.2.13.tar.gz".to_owned()),
    }];
    let mut musl = package("musl", "1.2.5", "MIT");
    musl.files = vec![file("lib/ld-musl-x86_64.so.1", "loader")];
    let mut certificates = package("ca_certs.bundle", "2026+1~rc", "MPL-2.0 AND LicenseRef-Public-Notice");
    certificates.sources = vec![SbomSource { name: "certs.txt".to_owned(), sha256: blob("certs"), url: None }];
    SbomInput {
        image: image_name(),
        digest: image(),
        created: time(0),
        tool: "anneal-0.1.0".to_owned(),
        packages: vec![zlib, musl, certificates],
        files: vec![file("etc/passwd", "nobody")],
        license_texts: BTreeMap::from([(
            "LicenseRef-Public-Notice".to_owned(),
            "Do as you like with the list.".to_owned(),
        )]),
    }
}

pub(crate) fn golden_dir() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "golden", "attest"].iter().collect()
}

/// Compares text with a golden file; `UPDATE_GOLDEN=1` rewrites it.
#[track_caller]
pub(crate) fn check_golden(name: &str, found: &str) {
    let path = golden_dir().join(name);
    if std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1") {
        std::fs::create_dir_all(golden_dir()).unwrap();
        std::fs::write(&path, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let line = expected.lines().zip(found.lines()).position(|(a, b)| a != b);
    let line = line.unwrap_or_else(|| expected.lines().count().min(found.lines().count()));
    assert!(
        expected == found,
        "golden/attest/{name} differs at line {}:\n  golden: {:?}\n  found:  {:?}\nUPDATE_GOLDEN=1 rewrites it",
        line + 1,
        expected.lines().nth(line),
        found.lines().nth(line),
    );
}

/// JSON as a golden file shows it: keys in canonical order, indented.
pub(crate) fn pretty(bytes: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    serde_json::to_string_pretty(&value).unwrap() + "\n"
}
