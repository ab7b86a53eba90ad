//! A small image that every check passes, as a description that a test can break before it is built.

use crate::archive::{EPOCH, Raw, archive, gzip};
use crate::elf::Elf;
use anneal_checks::*;
use anneal_content::{
    BlobDigest, Entry, EntryKind, MemoryBlobs, OutputName, PackageName, TreeDigest, TreePath, Version,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A package as it is described.
pub(crate) struct Pkg {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) licence: &'static str,
    pub(crate) members: Vec<Raw>,
    pub(crate) tests: Tests,
    pub(crate) builds: Vec<&'static str>,
}

type Edit<T> = Box<dyn Fn(&mut T)>;

/// The image as it is described.
pub(crate) struct World {
    pub(crate) packages: Vec<Pkg>,
    pub(crate) own: Vec<Raw>,
    pub(crate) previous: Option<Box<World>>,
    pub(crate) gzip_time: u32,
    pub(crate) after_the_end: Vec<u8>,
    /// Breaks the layers' members, first package first, the image's own layer last.
    pub(crate) layers: Vec<Edit<Vec<Vec<Raw>>>>,
    pub(crate) config: Vec<Edit<Value>>,
    pub(crate) manifest: Vec<Edit<Value>>,
    pub(crate) sbom: Vec<Edit<Value>>,
    pub(crate) subject: Vec<Edit<Subject>>,
}

fn musl() -> Pkg {
    let libc = Elf { needed: vec![], ..Elf::library("libc.so", &["malloc", "printf", "__stack_chk_fail"]) };
    let libc = Elf { imports: vec![], ..libc };
    Pkg {
        name: "musl",
        version: "1.2.5",
        licence: "MIT",
        members: vec![
            Raw::link("lib/ld-musl-x86_64.so.1", "/usr/lib/libc.so"),
            Raw::file("usr/lib/libc.so", 0o755, &libc.bytes()),
        ],
        tests: Tests::Passed { steps: 1 },
        builds: vec!["musl", "musl"],
    }
}

fn zlib(version: &'static str, mark: &[u8]) -> Pkg {
    let libz = Elf { tail: mark.to_vec(), ..Elf::library("libz.so.1", &["deflate", "inflate", "zlibVersion"]) };
    Pkg {
        name: "zlib",
        version,
        licence: "Zlib",
        members: vec![
            Raw::file("usr/lib/libz.so.1.2", 0o755, &libz.bytes()),
            Raw::link("usr/lib/libz.so.1", "libz.so.1.2"),
        ],
        tests: Tests::Passed { steps: 2 },
        builds: vec![version, version],
    }
}

fn web() -> Pkg {
    let imports = vec![("inflate", None), ("malloc", None), ("__stack_chk_fail", None), ("?__gmon_start__", None)];
    let program = Elf { needed: vec!["libz.so.1", "libc.so"], imports, ..Elf::program() };
    Pkg {
        name: "web",
        version: "3.1",
        licence: "BSD-2-Clause",
        members: vec![
            Raw::file("usr/bin/web", 0o755, &program.bytes()),
            Raw::file("usr/share/web/index.html", 0o644, b"<p>It works.</p>\n"),
        ],
        tests: Tests::Passed { steps: 1 },
        builds: vec!["web", "web"],
    }
}

impl World {
    /// A web server that was rebuilt because of an advisory about zlib, and the release before it.
    pub(crate) fn good() -> Self {
        let old = Self::with(zlib("1.2.11", b"before"));
        Self { previous: Some(Box::new(old)), ..Self::with(zlib("1.2.13", b"after!")) }
    }

    fn with(zlib: Pkg) -> Self {
        let passwd = b"root:x:0:0:root:/root:/sbin/nologin\nweb:x:65532:65532:web:/:/sbin/nologin\n";
        let own = vec![
            Raw::file("etc/group", 0o644, b"root:x:0:\nweb:x:65532:\n"),
            Raw::file("etc/passwd", 0o644, passwd),
            Raw::directory("tmp", 0o1777),
        ];
        Self {
            packages: vec![musl(), zlib, web()],
            own,
            previous: None,
            gzip_time: 0,
            after_the_end: Vec::new(),
            layers: Vec::new(),
            config: Vec::new(),
            manifest: Vec::new(),
            sbom: Vec::new(),
            subject: Vec::new(),
        }
    }

    pub(crate) fn package(&mut self, name: &str) -> &mut Pkg {
        self.packages.iter_mut().find(|p| p.name == name).unwrap()
    }
    /// Another program in the place of `usr/bin/web`.
    pub(crate) fn set_program(&mut self, edit: impl Fn(&mut Elf)) {
        let mut program = Elf { needed: vec!["libz.so.1", "libc.so"], ..Elf::program() };
        edit(&mut program);
        self.package("web").members[0].content = program.bytes();
    }
    /// Another library in the place of `usr/lib/libz.so.1.2`.
    pub(crate) fn set_library(&mut self, edit: impl Fn(&mut Elf)) {
        let mut library = Elf::library("libz.so.1", &["deflate", "inflate", "zlibVersion"]);
        edit(&mut library);
        self.package("zlib").members[0].content = library.bytes();
    }
    /// One more member of a package.
    pub(crate) fn add(&mut self, package: &str, member: Raw) {
        self.package(package).members.push(member);
    }

    /// The subject and the blobs that it names.
    pub(crate) fn build(&self) -> (Subject, MemoryBlobs) {
        let mut blobs = MemoryBlobs::new();
        let subject = self.build_into(&mut blobs);
        (subject, blobs)
    }

    fn build_into(&self, blobs: &mut MemoryBlobs) -> Subject {
        let mut layers: Vec<Vec<Raw>> = self.packages.iter().map(|p| with_parents(&p.members)).collect();
        layers.push(with_parents(&self.own));
        self.layers.iter().for_each(|edit| edit(&mut layers));
        let documents = self.documents(&layers, blobs);
        let previous = self.previous.as_ref().map(|old| old.as_previous(blobs));
        let mut subject = Subject {
            platform: Platform { os: "linux".into(), architecture: "amd64".into() },
            packages: self.packages.iter().map(|p| package(p, blobs)).collect(),
            image: Some(Image {
                name: "web".parse().unwrap(),
                manifest: documents.0,
                config: documents.1,
                epoch_secs: EPOCH,
                layer_budget: 4,
                own_paths: with_parents(&self.own).iter().map(|m| path(&m.path)).collect(),
                sbom: Some(documents.2),
                run: Run::Ran(good_run()),
            }),
            plan: previous.as_ref().map(|_| PlannedChange { rebuilt: names(&["zlib"]), ..PlannedChange::default() }),
            advisories: self.previous.iter().flat_map(|_| good_advisories()).collect(),
            previous,
            known_bad: BTreeSet::from([BlobDigest::of(b"malware")]),
        };
        self.subject.iter().for_each(|edit| edit(&mut subject));
        subject
    }

    /// Manifest, config and SBOM.
    fn documents(&self, layers: &[Vec<Raw>], blobs: &mut MemoryBlobs) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let time = "2017-01-15T00:00:00Z";
        let mut descriptors = Vec::new();
        let mut diff_ids = Vec::new();
        for members in layers {
            let plain = archive(members, &self.after_the_end);
            diff_ids.push(BlobDigest::of(&plain).to_string());
            let packed = gzip(&plain, self.gzip_time);
            let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
            descriptors.push(
                json!({"mediaType": media_type, "digest": BlobDigest::of(&packed).to_string(), "size": packed.len()}),
            );
            blobs.insert(packed);
        }
        let history: Vec<Value> = diff_ids.iter().map(|_| json!({"created": time, "created_by": "anneal"})).collect();
        let mut config = json!({
            "architecture": "amd64", "os": "linux", "created": time,
            "config": {
                "User": "65532:65532", "Entrypoint": ["web"], "Cmd": ["-p", "8080"], "WorkingDir": "/",
                "Env": ["PATH=/usr/bin:/bin"], "ExposedPorts": {"8080/tcp": {}}, "StopSignal": "SIGTERM",
                "Labels": {"purpose": "test"}
            },
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history
        });
        self.config.iter().for_each(|edit| edit(&mut config));
        let config = serde_json::to_vec(&config).unwrap();
        let annotations: BTreeMap<String, &str> = [
            ("created", time),
            ("licenses", "MIT"),
            ("revision", "1"),
            ("source", "web"),
            ("title", "web"),
            ("version", "3.1"),
        ]
        .into_iter()
        .map(|(name, value)| (format!("org.opencontainers.image.{name}"), value))
        .collect();
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": BlobDigest::of(&config).to_string(), "size": config.len()
            },
            "layers": descriptors, "annotations": annotations
        });
        self.manifest.iter().for_each(|edit| edit(&mut manifest));
        let mut sbom = self.bill(time);
        self.sbom.iter().for_each(|edit| edit(&mut sbom));
        (serde_json::to_vec(&manifest).unwrap(), config, serde_json::to_vec(&sbom).unwrap())
    }

    fn bill(&self, time: &str) -> Value {
        let mut packages = vec![json!({"SPDXID": "SPDXRef-image", "name": "web", "downloadLocation": "NOASSERTION"})];
        let mut relations = vec![related("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image")];
        for p in &self.packages {
            let id = format!("SPDXRef-package-{}", p.name);
            relations.push(related("SPDXRef-image", "CONTAINS", &id));
            packages.push(json!({
                "SPDXID": id, "name": p.name, "versionInfo": p.version, "supplier": "Organization: Anneal",
                "downloadLocation": "NOASSERTION", "licenseConcluded": p.licence, "licenseDeclared": p.licence,
                "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                    "referenceLocator": format!("pkg:generic/{}@{}", p.name, p.version)}]
            }));
        }
        // What a package was made from is listed, and is no part of the image.
        packages.push(json!({"SPDXID": "SPDXRef-source", "name": "zlib.tar.gz", "downloadLocation": "NOASSERTION"}));
        relations.push(related("SPDXRef-package-zlib", "GENERATED_FROM", "SPDXRef-source"));
        let members = self.packages.iter().flat_map(|p| &p.members).chain(&self.own).filter(|m| m.flag == b'0');
        let files: Vec<Value> = members
            .enumerate()
            .map(|(n, m)| {
                json!({"SPDXID": format!("SPDXRef-file-{n}"), "fileName": format!("./{}", m.path), "checksums": [
                    {"algorithm": "SHA1", "checksumValue": "0000000000000000000000000000000000000000"},
                    {"algorithm": "SHA256", "checksumValue": BlobDigest::of(&m.content).hex()}]})
            })
            .collect();
        json!({
            "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "web",
            "documentNamespace": "https://anneal.example/web", "packages": packages, "files": files,
            "creationInfo": {"created": time, "creators": ["Tool: anneal"]}, "relationships": relations
        })
    }

    fn as_previous(&self, blobs: &mut MemoryBlobs) -> Previous {
        let subject = self.build_into(blobs);
        let image = subject.image.unwrap();
        Previous {
            image: Some(PreviousImage { manifest: image.manifest, config: image.config }),
            packages: subject
                .packages
                .into_iter()
                .map(|p| PreviousPackage {
                    now: if p.name.as_str() == "zlib" { VersionChange::Newer } else { VersionChange::Same },
                    name: p.name,
                    version: p.version,
                    entries: p.entries,
                })
                .collect(),
        }
    }
}

pub(crate) fn names(names: &[&str]) -> BTreeSet<PackageName> {
    names.iter().map(|n| n.parse().unwrap()).collect()
}
pub(crate) fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}
pub(crate) fn builds_of(trees: &[&str]) -> Vec<BTreeMap<OutputName, TreeDigest>> {
    let tree = |text: &&str| TreeDigest::from_bytes(*BlobDigest::of(text.as_bytes()).as_bytes());
    trees.iter().map(|t| BTreeMap::from([("out".parse().unwrap(), tree(t))])).collect()
}
pub(crate) fn tried(tree: &str) -> Trial {
    Trial { varied: vec!["umask".into(), "time".into()], outputs: builds_of(&[tree]).remove(0) }
}
fn related(from: &str, how: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": how, "relatedSpdxElement": to})
}

fn package(p: &Pkg, blobs: &mut MemoryBlobs) -> Package {
    let mut entries = Vec::new();
    for member in with_parents(&p.members) {
        let kind = match member.flag {
            b'0' => EntryKind::File { digest: blobs.insert(member.content.clone()), size: member.content.len() as u64 },
            b'2' => EntryKind::Symlink { target: member.link.clone() },
            b'5' => EntryKind::Directory,
            _ => continue,
        };
        entries.push(Entry { path: path(&member.path), kind, mode: member.mode });
    }
    Package {
        name: p.name.parse().unwrap(),
        version: Version::new(p.version).unwrap(),
        licence: p.licence.into(),
        purl: format!("pkg:generic/{}", p.name),
        role: Role::Checked,
        entries,
        builds: builds_of(&p.builds),
        // A trial that gave the same, of one package.
        trials: p.builds.first().filter(|_| p.name == "web").map(|first| tried(first)).into_iter().collect(),
        tests: p.tests.clone(),
    }
}

/// The members sorted, with every directory above them.
fn with_parents(members: &[Raw]) -> Vec<Raw> {
    let mut all: BTreeMap<String, Raw> = BTreeMap::new();
    for member in members {
        for (at, _) in member.path.match_indices('/') {
            let dir = &member.path[..at];
            all.entry(dir.to_owned()).or_insert_with(|| Raw::directory(dir, 0o755));
        }
        all.insert(member.path.clone(), member.clone());
    }
    all.into_values().collect()
}

fn good_run() -> RunFacts {
    RunFacts {
        argv: vec!["web".into(), "-p".into(), "8080".into()],
        ended: "exit status 0".into(),
        started: true,
        stopped_cleanly: Some(true),
        exit_status: Some(0),
        expected_exit: None,
        http: Some(HttpFacts { request: ":8080/".into(), expected_status: 200, status: Some(200) }),
        output_contains: None,
        read_only_root: true,
        no_capabilities: true,
        no_new_privileges: true,
        user: "65532:65532".into(),
    }
}

fn good_advisories() -> Vec<JudgedAdvisory> {
    let judged = |id: &str, triggering, judgement, accepted: Option<&str>| JudgedAdvisory {
        id: id.into(),
        package: "zlib".parse().unwrap(),
        triggering,
        judgement,
        explanation: "1.2.13 against the range that ends before 1.2.12".into(),
        accepted: accepted.map(str::to_owned),
    };
    vec![
        judged("CVE-2022-37434", true, Judgement::NotAffected, None),
        judged("CVE-2018-25032", false, Judgement::NotAffected, None),
        judged("CVE-2023-45853", false, Judgement::Affected, Some("minizip is not built")),
    ]
}
