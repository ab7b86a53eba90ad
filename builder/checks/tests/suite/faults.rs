//! One broken image for each way in which a check must fail: the check, the fault in words, and how it is made.

use crate::archive::Raw;
use crate::world::{World, builds_of, names, tried};
use anneal_checks::*;
use anneal_content::BlobDigest;
use serde_json::{Value, json};

/// The check that must refuse, the fault, and how it is made.
pub(crate) type Fault = (&'static str, &'static str, fn(&mut World));

/// A key that was made for this test and protects nothing.
pub(crate) const PEM_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAAAA\nAAAAAAAAAAAAAAAAAAAAAAAAAAGhRANCAARrF9Hy4SxCR/i85uVjpEDydwN9gS3r\nM6D0oTlF2JjClk/jQuL+Gn+bjufrSnwPnhYrzjNXazFezsu2QGg3v1H1\n-----END PRIVATE KEY-----\n";

fn subject(world: &mut World, edit: impl Fn(&mut Subject) + 'static) {
    world.subject.push(Box::new(edit));
}
fn config(world: &mut World, edit: impl Fn(&mut Value) + 'static) {
    world.config.push(Box::new(edit));
}
fn manifest(world: &mut World, edit: impl Fn(&mut Value) + 'static) {
    world.manifest.push(Box::new(edit));
}
fn sbom(world: &mut World, edit: impl Fn(&mut Value) + 'static) {
    world.sbom.push(Box::new(edit));
}
fn layers(world: &mut World, edit: impl Fn(&mut Vec<Vec<Raw>>) + 'static) {
    world.layers.push(Box::new(edit));
}
fn ran(world: &mut World, edit: impl Fn(&mut RunFacts) + 'static) {
    subject(world, move |s| {
        if let Some(Image { run: Run::Ran(facts), .. }) = &mut s.image {
            edit(facts);
        }
    });
}
fn advisory(world: &mut World, number: usize, edit: impl Fn(&mut JudgedAdvisory) + 'static) {
    subject(world, move |s| edit(&mut s.advisories[number]));
}
fn file(world: &mut World, at: &str, content: &[u8]) {
    world.add("web", Raw::file(at, 0o644, content));
}

/// Every fault.
pub(crate) fn all() -> Vec<Fault> {
    [RECIPE, PROGRAMS, LINKING, TREE, LAYERS, DOCUMENTS, SECRETS, INVENTORY, JUDGED, BEHAVIOUR, CHANGE].concat()
}

const RECIPE: &[Fault] = &[
    ("SRC-07", "a licence in words", |w| w.package("web").licence = "BSD two-clause"),
    ("SRC-08", "a recipe without tests", |w| w.package("web").tests = Tests::None),
    ("RUN-04", "a failing test", |w| {
        w.package("web").tests = Tests::Failed { summary: "step 1 of 1: exit status 7".into() };
    }),
    ("RUN-04", "tests that were not run", |w| {
        w.package("web").tests = Tests::NotRun { why: "the sandbox could not be started".into() };
    }),
    ("REP-01", "two builds that differ", |w| w.package("web").builds = vec!["one", "other"]),
    ("REP-01", "a package that was built once", |w| w.package("web").builds = vec!["one"]),
    ("REP-01", "a second build without an output", |w| {
        subject(w, |s| {
            s.packages[0].builds = builds_of(&["one", "one"]);
            s.packages[0].builds[1].clear();
        });
    }),
    ("REP-02", "a trial that gave something else", |w| {
        subject(w, |s| s.packages.iter_mut().for_each(|p| p.trials.iter_mut().for_each(|t| *t = tried("other"))));
    }),
];

const PROGRAMS: &[Fault] = &[
    ("ELF-01", "a program at a fixed address", |w| w.set_program(|e| (e.kind, e.pie) = (2, false))),
    ("ELF-01", "a program without the PIE flag", |w| w.set_program(|e| e.pie = false)),
    ("ELF-02", "a library without RELRO", |w| w.set_library(|e| e.relro = false)),
    ("ELF-02", "a program with lazy binding", |w| w.set_program(|e| e.bind_now = false)),
    ("ELF-03", "an executable stack", |w| w.set_program(|e| e.stack = Some(7))),
    ("ELF-03", "a stack of which nothing is said", |w| w.set_program(|e| e.stack = None)),
    ("ELF-04", "a writable code segment", |w| w.set_program(|e| e.writable_code = true)),
    ("ELF-05", "a program without the stack protector", |w| w.set_program(|e| e.imports = vec![("malloc", None)])),
    ("ELF-08", "a search path in the build", |w| w.set_program(|e| e.runpath = Some("/build/lib"))),
    ("ELF-08", "an empty search path", |w| w.set_program(|e| e.runpath = Some("/usr/lib:"))),
    ("ELF-08", "a search path above the root", |w| w.set_program(|e| e.runpath = Some("$ORIGIN/../../../lib"))),
    ("ELF-09", "relocations in code", |w| w.set_library(|e| e.textrel = true)),
    ("ELF-10", "debug sections", |w| w.set_program(|e| e.debug_info = true)),
    ("ELF-10", "no build id", |w| w.set_program(|e| e.build_id = false)),
    ("ELF-12", "a path of the sandbox", |w| w.set_program(|e| e.tail = b"assert: /build/src/main.c\0".to_vec())),
    ("ELF-12", "an argument with a path of the sandbox", |w| {
        w.set_program(|e| e.tail = b"-I/sysroot/usr/include".to_vec())
    }),
    ("ELF-13", "a program for another machine", |w| w.set_program(|e| e.machine = 183)),
    ("ELF-02", "a file that only looks like ELF", |w| {
        w.package("web").members[0].content = b"\x7fELF\x02\x01\x01 torn".to_vec()
    }),
    ("ELF-12", "a file whose section headers contradict the loader", |w| w.set_program(|e| e.symbols_elsewhere = true)),
    ("SEC-06", "a packed program", |w| w.set_program(|e| e.tail = b"\0UPX!\0".to_vec())),
];

const LINKING: &[Fault] = &[
    ("ABI-01", "a library that is nowhere", |w| w.set_program(|e| e.needed = vec!["libpcre2-8.so.0"])),
    ("ABI-01", "a link to a library without the library", |w| {
        w.package("zlib").members.remove(0);
    }),
    ("ABI-02", "a symbol that no library has", |w| w.set_program(|e| e.imports.push(("inflateBack9", None)))),
    ("ABI-02", "a version that no library has", |w| {
        w.set_program(|e| e.imports.push(("inflate", Some("ZLIB_1.2.9"))));
        w.set_library(|e| e.exports[1].1 = Some("ZLIB_1.2.0"));
    }),
    ("ABI-06", "an interpreter that is not there", |w| {
        w.set_program(|e| e.interpreter = Some("/lib64/ld-linux-x86-64.so.2"))
    }),
    ("ABI-06", "an interpreter that may not be executed", |w| w.package("musl").members[1].mode = 0o644),
    ("ABI-07", "a second copy of a library", |w| {
        let copy = w.package("zlib").members[0].content.clone();
        w.add("web", Raw::file("usr/lib/web/libz.so.1", 0o755, &copy));
    }),
    ("ABI-03", "another soname", |w| w.set_library(|e| e.soname = Some("libz.so.2"))),
    ("ABI-04", "an export that is gone", |w| w.set_library(|e| e.exports.truncate(2))),
];

const TREE: &[Fault] = &[
    ("FS-01", "a setuid program", |w| w.package("web").members[0].mode = 0o4755),
    ("FS-01", "a setgid program", |w| w.package("web").members[0].mode = 0o2755),
    ("FS-02", "a file that everyone may write", |w| w.package("web").members[1].mode = 0o666),
    ("FS-02", "a directory that everyone may write", |w| w.add("web", Raw::directory("var/www", 0o777))),
    ("FS-03", "a file with capabilities", |w| {
        layers(w, |l| {
            let program = l[2].iter_mut().find(|m| m.path == "usr/bin/web").unwrap();
            program.pax = vec![("SCHILY.xattr.security.capability".into(), "x".into())];
        });
    }),
    ("FS-04", "a device", |w| layers(w, |l| l[3].push(Raw::new("zero", b'3', 0o666)))),
    ("FS-04", "a pipe", |w| layers(w, |l| l[3].push(Raw::new("var", b'6', 0o600)))),
    ("FS-05", "a link to nothing", |w| w.add("web", Raw::link("usr/bin/web2", "web-2"))),
    ("FS-05", "a link out of the root", |w| w.add("web", Raw::link("usr/share/web/up", "../../../../etc/passwd"))),
    ("FS-05", "two links in a circle", |w| {
        w.add("web", Raw::link("usr/share/a", "b"));
        w.add("web", Raw::link("usr/share/b", "a"));
    }),
    ("FS-07", "a file in /tmp", |w| file(w, "tmp/cc1.s", b"x")),
    ("FS-07", "a file in /var/cache", |w| file(w, "var/cache/list", b"x")),
    ("FS-08", "a shell beside a web server", |w| w.add("web", Raw::link("usr/bin/sh", "web2"))),
    ("FS-08", "a package manager", |w| file(w, "usr/bin/apk", b"x")),
    ("FS-09", "a manual page", |w| file(w, "usr/share/man/man1/web.1", b"x")),
    ("FS-09", "a static archive", |w| file(w, "usr/lib/libz.a", b"!<arch>\n")),
    ("FS-10", "a file in /usr/local", |w| file(w, "usr/local/bin/tool", b"x")),
    ("FS-10", "two programs of one name", |w| file(w, "bin/web", b"x")),
    ("FS-11", "an editor's backup", |w| file(w, "etc/web.conf~", b"x")),
    ("FS-11", "a repository", |w| file(w, "usr/share/web/.git/HEAD", b"ref: main")),
    ("FS-12", "a file of two packages", |w| {
        let copy = w.package("web").members[1].clone();
        w.add("zlib", copy);
    }),
    ("FS-12", "a file of no package", |w| layers(w, |l| l[3].push(Raw::file("zz", 0o644, b"whose?")))),
    ("FS-12", "a file with other bytes than the package's", |w| {
        layers(w, |l| l[2].iter_mut().find(|m| m.path.ends_with("index.html")).unwrap().content = b"changed".to_vec());
    }),
    ("FS-12", "a file of a package that was left out", |w| {
        layers(w, |l| l[2].retain(|m| !m.path.ends_with("index.html")))
    }),
    ("FS-14", "a Windows program", |w| {
        let mut pe = vec![0; 0x80];
        pe[..2].copy_from_slice(b"MZ");
        pe[0x3c] = 0x40;
        pe[0x40..0x44].copy_from_slice(b"PE\0\0");
        file(w, "usr/share/web/setup.exe", &pe);
    }),
    ("FS-14", "a macOS library", |w| file(w, "usr/share/web/x.dylib", b"\xcf\xfa\xed\xfe....")),
    ("FS-15", "two users with one id", |w| w.own[1].content.extend_from_slice(b"toor:x:0:0::/:/sbin/nologin\n")),
    ("FS-15", "a user without a password", |w| w.own[1].content.extend_from_slice(b"guest::7:7::/:/sbin/nologin\n")),
];

const LAYERS: &[Fault] = &[
    ("REP-06", "a member with the clock's time", |w| layers(w, |l| l[2][0].mtime = 1_700_000_000)),
    ("REP-06", "a layer with the clock's time throughout", |w| {
        layers(w, |l| l[2].iter_mut().for_each(|m| m.mtime = 1_700_000_000));
    }),
    ("REP-06", "an owner by name", |w| layers(w, |l| l[2][0].owner_name = "root")),
    ("REP-06", "members out of order", |w| layers(w, |l| l[2].reverse())),
    ("REP-06", "bytes after the archive's end", |w| w.after_the_end = b"hidden".to_vec()),
    ("REP-06", "a pax header with an access time", |w| layers(w, |l| l[2][0].pax = vec![("atime".into(), "1".into())])),
    ("REP-07", "a time in a gzip header", |w| w.gzip_time = 1_700_000_000),
    ("FS-06", "a path that climbs out", |w| layers(w, |l| l[3].push(Raw::file("../etc/cron", 0o644, b"x")))),
    ("FS-06", "an absolute path", |w| layers(w, |l| l[3].push(Raw::file("/etc/cron", 0o644, b"x")))),
    ("FS-06", "a path twice", |w| {
        layers(w, |l| {
            let again = l[3].last().unwrap().clone();
            l[3].push(again);
        });
    }),
    ("FS-06", "a file beneath a link", |w| {
        layers(w, |l| l[3].extend([Raw::link("var", "usr"), Raw::file("var/x", 0o644, b"x")]));
    }),
    ("FS-06", "a hard link to nothing", |w| {
        layers(w, |l| l[3].push(Raw { link: "nothing".into(), ..Raw::new("zz", b'1', 0o644) }));
    }),
    ("FS-13", "a file that a later layer replaces", |w| {
        layers(w, |l| l[3].insert(0, Raw::file("usr/share/web/index.html", 0o644, b"new")))
    }),
    ("FS-13", "a file that a whiteout removes", |w| {
        layers(w, |l| l[3].insert(0, Raw::file("usr/share/web/.wh.index.html", 0o644, b"")))
    }),
];

const DOCUMENTS: &[Fault] = &[
    ("OCI-01", "a config of another size", |w| manifest(w, |m| m["config"]["size"] = json!(7))),
    ("OCI-01", "another platform", |w| config(w, |c| c["architecture"] = json!("arm64"))),
    ("OCI-01", "a layer of another size", |w| manifest(w, |m| m["layers"][0]["size"] = json!(7))),
    ("OCI-01", "a layer of an unknown kind", |w| manifest(w, |m| m["layers"][0]["mediaType"] = json!("text/plain"))),
    ("OCI-01", "a layer that is not in the store", |w| {
        manifest(w, |m| m["layers"][0]["digest"] = json!(BlobDigest::of(b"lost").to_string()));
    }),
    ("OCI-02", "root", |w| config(w, |c| c["config"]["User"] = json!("0:0"))),
    ("OCI-02", "a user by name", |w| config(w, |c| c["config"]["User"] = json!("web"))),
    ("OCI-02", "no user", |w| config(w, |c| c["config"]["User"] = json!(""))),
    ("OCI-03", "a program that is not there", |w| config(w, |c| c["config"]["Entrypoint"] = json!(["/usr/bin/nginx"]))),
    ("OCI-03", "a program that may not be executed", |w| w.package("web").members[0].mode = 0o644),
    ("OCI-04", "a password in the environment", |w| config(w, |c| c["config"]["Env"] = json!(["DB_PASSWORD=hunter2"]))),
    ("OCI-04", "a key id in a label", |w| config(w, |c| c["config"]["Labels"] = json!({"x": "AKIAQ3EGRZ6XJ5FVTQ2P"}))),
    ("OCI-04", "random text in the environment", |w| {
        config(w, |c| c["config"]["Env"] = json!(["SEED=Zm9vYmFyMTIzNDU2Nzg5MGFiY2RlZkdISUpLTE1OT1BRUlNUVVZXWFla"]));
    }),
    ("OCI-05", "a creation time from the clock", |w| config(w, |c| c["created"] = json!("2026-11-21T21:02:14Z"))),
    ("OCI-05", "no creation time", |w| config(w, |c| c["created"] = Value::Null)),
    ("OCI-06", "no source annotation", |w| manifest(w, |m| m["annotations"] = json!({}))),
    ("OCI-07", "more layers than the budget", |w| subject(w, |s| s.image.as_mut().unwrap().layer_budget = 3)),
    ("OCI-08", "a diff id of other bytes", |w| {
        config(w, |c| c["rootfs"]["diff_ids"][0] = json!(BlobDigest::of(b"other").to_string()));
    }),
    ("OCI-10", "a low port", |w| config(w, |c| c["config"]["ExposedPorts"] = json!({"80/tcp": {}}))),
    ("OCI-11", "a service without a stop signal", |w| config(w, |c| c["config"]["StopSignal"] = Value::Null)),
    ("OCI-11", "a health check", |w| config(w, |c| c["config"]["Healthcheck"] = json!({"Test": ["CMD", "true"]}))),
];

const SECRETS: &[Fault] = &[
    ("SEC-01", "a private key in PEM", |w| file(w, "etc/web.key", PEM_KEY.as_bytes())),
    ("SEC-01", "a private key in the middle of a file", |w| {
        file(w, "etc/all.pem", format!("# all\n{PEM_KEY}").as_bytes())
    }),
    ("SEC-01", "a private key in DER", |w| {
        let der = [
            &[0x30, 0x3f, 2, 1, 1, 4, 0x20][..],
            &[7; 0x20],
            &[0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
            &[0xa1, 12],
            &[0; 12],
        ]
        .concat();
        file(w, "etc/web.der", &der);
    }),
    ("SEC-01", "a private key of OpenSSH", |w| {
        let body = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz";
        file(
            w,
            "etc/ssh/host",
            format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n").as_bytes(),
        );
    }),
    ("SEC-02", "an access key id of a cloud", |w| file(w, "etc/web.conf", b"key = AKIAQ3EGRZ6XJ5FVTQ2P\n")),
    ("SEC-02", "a token whose checksum holds", |w| {
        file(w, "etc/web.conf", format!("token: {}\n", token_with_checksum("ghp_")).as_bytes());
    }),
    ("SEC-04", "a file that is known to be bad", |w| file(w, "usr/share/web/x", b"malware")),
];

/// A token of the form whose last six characters are the CRC-32 of the others.
pub(crate) fn token_with_checksum(prefix: &str) -> String {
    let body = "0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o";
    let mut crc = flate2::Crc::new();
    crc.update(body.as_bytes());
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let sum: String = (0..6).rev().map(|n| char::from(digits[(crc.sum() / 62u32.pow(n) % 62) as usize])).collect();
    format!("{prefix}{body}{sum}")
}

const INVENTORY: &[Fault] = &[
    ("BOM-01", "an SBOM of another version", |w| sbom(w, |b| b["spdxVersion"] = json!("SPDX-2.2"))),
    ("BOM-01", "an SBOM that is not there", |w| subject(w, |s| s.image.as_mut().unwrap().sbom = None)),
    ("BOM-01", "an SBOM that is not JSON", |w| {
        subject(w, |s| s.image.as_mut().unwrap().sbom = Some(b"<spdx/>".to_vec()))
    }),
    ("BOM-01", "an id twice", |w| sbom(w, |b| b["packages"][1]["SPDXID"] = json!("SPDXRef-file-0"))),
    ("BOM-01", "a relationship with nothing", |w| {
        sbom(w, |b| b["relationships"][0]["relatedSpdxElement"] = json!("SPDXRef-gone"));
    }),
    ("BOM-02", "a component without a supplier", |w| sbom(w, |b| b["packages"][1]["supplier"] = json!(""))),
    ("BOM-02", "a time from the clock", |w| sbom(w, |b| b["creationInfo"]["created"] = json!("2026-11-21T21:02:14Z"))),
    ("BOM-03", "a package URL that is none", |w| {
        sbom(w, |b| b["packages"][1]["externalRefs"][0]["referenceLocator"] = json!("generic/musl@1.2.5"));
    }),
    ("BOM-03", "another version in the SBOM", |w| sbom(w, |b| b["packages"][2]["versionInfo"] = json!("1.2.11"))),
    ("BOM-03", "a package that the SBOM leaves out", |w| {
        sbom(w, |b| b["packages"][3]["name"] = json!("somebody-else"));
    }),
    ("BOM-04", "another digest in the SBOM", |w| {
        sbom(w, |b| b["files"][0]["checksums"][1]["checksumValue"] = json!(BlobDigest::of(b"other").hex()));
    }),
    ("BOM-05", "a file that the SBOM leaves out", |w| {
        sbom(w, |b| {
            b["files"].as_array_mut().unwrap().pop();
        });
    }),
    ("BOM-05", "a file that only the SBOM has", |w| sbom(w, |b| b["files"][0]["fileName"] = json!("./usr/bin/ghost"))),
    ("BOM-07", "a component without a licence", |w| {
        sbom(w, |b| {
            b["packages"][1]["licenseConcluded"] = json!("NOASSERTION");
            b["packages"][1]["licenseDeclared"] = json!("NOASSERTION");
        });
    }),
];

const JUDGED: &[Fault] = &[
    ("VUL-01", "an advisory that nobody accepted", |w| advisory(w, 2, |a| a.accepted = None)),
    ("VUL-01", "an advisory that cannot be judged", |w| advisory(w, 1, |a| a.judgement = Judgement::Unknown)),
    ("VUL-02", "the advisory still matches", |w| advisory(w, 0, |a| a.judgement = Judgement::Affected)),
    ("VUL-02", "the advisory cannot be judged", |w| advisory(w, 0, |a| a.judgement = Judgement::Unknown)),
    ("VUL-08", "a downgrade", |w| subject(w, |s| s.previous.as_mut().unwrap().packages[1].now = VersionChange::Older)),
    ("VUL-08", "versions that cannot be ordered", |w| {
        subject(w, |s| {
            s.previous.as_mut().unwrap().packages[1].now = VersionChange::Unknown { why: "a date and a number".into() }
        });
    }),
];

const BEHAVIOUR: &[Fault] = &[
    ("RUN-01", "a program that does not start", |w| {
        ran(w, |r| (r.started, r.ended) = (false, "exec format error".into()))
    }),
    ("RUN-01", "another status", |w| ran(w, |r| r.http.as_mut().unwrap().status = Some(500))),
    ("RUN-01", "no answer", |w| ran(w, |r| r.http.as_mut().unwrap().status = None)),
    ("RUN-01", "a service that has to be killed", |w| ran(w, |r| r.stopped_cleanly = Some(false))),
    ("RUN-01", "a command with another exit status", |w| {
        ran(w, |r| (r.expected_exit, r.exit_status) = (Some(0), Some(1)))
    }),
    ("RUN-01", "a version that is not printed", |w| ran(w, |r| r.output_contains = Some(("web 3.1".into(), false)))),
    ("RUN-01", "an image that was not run", |w| {
        subject(w, |s| s.image.as_mut().unwrap().run = Run::NotRun { why: "no sandbox on this host".into() });
    }),
    ("RUN-01", "an image said to have nothing to run", |w| {
        subject(w, |s| s.image.as_mut().unwrap().run = Run::NothingToRun);
    }),
    ("RUN-02", "a writable root", |w| ran(w, |r| r.read_only_root = false)),
    ("RUN-02", "a run as root", |w| ran(w, |r| r.user = "0:0".into())),
];

const CHANGE: &[Fault] = &[
    ("REG-01", "an image that grew", |w| {
        let noise: Vec<u8> = (0..64u8).flat_map(|n| *BlobDigest::of(&[n]).as_bytes()).collect();
        file(w, "usr/share/web/noise", &noise);
    }),
    ("REG-03", "a package that was not planned", |w| {
        subject(w, |s| drop(s.previous.as_mut().unwrap().packages.remove(0)));
    }),
    ("REG-03", "no plan", |w| subject(w, |s| s.plan = None)),
    ("REG-03", "an addition that did not come", |w| {
        subject(w, |s| s.plan.as_mut().unwrap().added = names(&["brotli"]))
    }),
    ("REG-04", "a file of a package that was not rebuilt", |w| w.package("web").members[1].content = b"other".to_vec()),
    ("REG-04", "a new file of a package that was not rebuilt", |w| file(w, "usr/share/web/new.html", b"new")),
    ("REG-05", "a layer that changed without a reason", |w| {
        subject(w, |s| s.plan.as_mut().unwrap().rebuilt = names(&["web"]));
    }),
    ("REG-06", "a new program", |w| file(w, "usr/bin/extra", b"x")),
    ("REG-06", "a new port", |w| config(w, |c| c["config"]["ExposedPorts"] = json!({"8080/tcp": {}, "9090/tcp": {}}))),
    ("REG-06", "a new setuid file", |w| w.package("web").members[0].mode = 0o4755),
];
