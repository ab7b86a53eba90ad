//! The suite against one good image and against that image broken in every way a check is there for.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be made is a failed test")]

mod archive;
mod elf;
mod faults;
mod world;

use anneal_checks::*;
use anneal_content::{BlobDigest, BlobSource, MemoryBlobs, ReadError};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use world::World;

/// Compares with a golden file, or writes it where `UPDATE_GOLDEN` is set.
#[track_caller]
#[allow(clippy::disallowed_methods, reason = "a test may write its golden file")]
fn golden(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/checks").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    for (number, (line, wanted)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(line, wanted, "line {} of golden/checks/{name}; UPDATE_GOLDEN=1 rewrites it", number + 1);
    }
    assert_eq!(text.len(), expected.len(), "golden/checks/{name} is longer or shorter; UPDATE_GOLDEN=1 rewrites it");
}

fn findings(world: &World) -> Vec<Finding> {
    let (subject, blobs) = world.build();
    run(&subject, &blobs).unwrap()
}

fn failed<'a>(findings: &'a [Finding], check: &str) -> Vec<&'a Finding> {
    findings.iter().filter(|f| f.check.as_str() == check && f.outcome == Outcome::Failed).collect()
}

#[test]
fn a_good_image_passes_every_check_and_none_passes_for_want_of_anything_to_look_at() {
    let found = findings(&World::good());
    let mut text = String::new();
    for finding in &found {
        writeln!(
            text,
            "{} {:?} {:?}: {}: {}",
            finding.check, finding.severity, finding.outcome, finding.title, finding.found
        )
        .unwrap();
    }
    let not_passed: Vec<_> = found.iter().filter(|f| f.outcome != Outcome::Passed).collect();
    assert!(not_passed.is_empty(), "{not_passed:#?}");
    golden("good-image.txt", &text);
}

#[test]
fn every_check_refuses_every_fault_it_is_there_for() {
    let mut text = String::new();
    for (check, fault, apply) in faults::all() {
        let mut world = World::good();
        apply(&mut world);
        let found = findings(&world);
        let refused = failed(&found, check);
        assert!(!refused.is_empty(), "{check} lets pass: {fault}");
        writeln!(text, "{check} refuses {fault}").unwrap();
        for finding in refused.iter().take(3) {
            let object = &finding.object;
            let package = object.package.as_ref().map(|p| format!(" of {p}")).unwrap_or_default();
            let path = object.path.as_deref().unwrap_or("the whole");
            writeln!(text, "  {path}{package}").unwrap();
            writeln!(
                text,
                "    expected {}\n    found    {}\n    do       {}",
                finding.expected, finding.found, finding.advice
            )
            .unwrap();
            assert!(!finding.advice.is_empty() && !finding.expected.is_empty() && !finding.found.is_empty());
        }
        let others: BTreeSet<&str> = found
            .iter()
            .filter(|f| f.outcome == Outcome::Failed && f.check.as_str() != check)
            .map(|f| f.check.as_str())
            .collect();
        if !others.is_empty() {
            writeln!(text, "  so do {}", others.into_iter().collect::<Vec<_>>().join(", ")).unwrap();
        }
    }
    golden("faults.txt", &text);
}

#[test]
fn no_check_is_without_a_fault_that_it_refuses() {
    let proved: BTreeSet<&str> = faults::all().iter().map(|(check, _, _)| *check).collect();
    let known: BTreeSet<&str> = checks().map(|check| check.id).collect();
    assert_eq!(known.difference(&proved).collect::<Vec<_>>(), Vec::<&&str>::new(), "checks without a negative fixture");
    assert_eq!(proved.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "fixtures without a check");
    assert_eq!(checks().count(), known.len(), "an id is in the table twice");
    assert!(known.len() >= 35, "{} checks", known.len());
}

#[test]
fn a_verdict_says_what_blocks_what_warns_and_what_was_let_go() {
    let mut world = World::good();
    world.package("web").members[0].mode = 0o4755;
    world.set_library(|elf| elf.build_id = false);
    world.package("zlib").members[0].mode = 0o2755;
    let waiver =
        |check: &str, scope, reason: &str| Waiver { check: check.parse().unwrap(), scope, reason: reason.into() };
    let policy = Policy::new(vec![
        waiver("FS-01", Scope::Package("zlib".parse().unwrap()), "installed so by upstream, harmless on a library"),
        waiver("OCI-02", Scope::Image("web".parse().unwrap()), "left over from an older release"),
    ])
    .unwrap();
    let verdict = judge(&findings(&world), &policy);
    assert!(!verdict.released);
    golden("verdict.json", &(serde_json::to_string_pretty(&verdict).unwrap() + "\n"));
}

#[test]
fn a_good_image_is_released_and_an_empty_report_is_not() {
    let policy = Policy::new(Vec::new()).unwrap();
    let verdict = judge(&findings(&World::good()), &policy);
    assert!(verdict.released && verdict.blocking.is_empty() && verdict.warnings.is_empty());
    assert_eq!(verdict.passed, checks().count());
    assert!(!judge(&[], &policy).released);
}

#[test]
fn a_waiver_for_a_package_does_not_cover_another_package_nor_the_image() {
    let mut world = World::good();
    world.package("web").members[0].mode = 0o4755;
    world.config.push(Box::new(|config| config["config"]["User"] = "0".into()));
    let found = findings(&world);
    let judged = |check: &str, scope: Scope| {
        let waiver = Waiver { check: check.parse().unwrap(), scope, reason: "accepted by the owners".into() };
        judge(&found, &Policy::new(vec![waiver]).unwrap())
    };
    let package = |name: &str| Scope::Package(name.parse().unwrap());
    let image = |name: &str| Scope::Image(name.parse().unwrap());
    let blocks = |verdict: &Verdict, check: &str| verdict.blocking.iter().any(|f| f.check.as_str() == check);
    assert!(!blocks(&judged("FS-01", package("web")), "FS-01"));
    assert!(blocks(&judged("FS-01", package("zlib")), "FS-01"));
    assert!(blocks(&judged("FS-01", image("web")), "FS-01"));
    assert!(!blocks(&judged("OCI-02", image("web")), "OCI-02"));
    assert!(blocks(&judged("OCI-02", image("other")), "OCI-02"));
    assert!(blocks(&judged("OCI-02", package("web")), "OCI-02"));
    assert_eq!(judged("FS-01", package("zlib")).unused_waivers.len(), 1);
}

#[test]
fn a_policy_refuses_unknown_checks_empty_reasons_and_waivers_given_twice() {
    let waiver = |check: &str, reason: &str| Waiver {
        check: check.parse().unwrap(),
        scope: Scope::Package("zlib".parse().unwrap()),
        reason: reason.into(),
    };
    let error = |waivers: Vec<Waiver>| Policy::new(waivers).unwrap_err().to_string();
    let text = [
        error(vec![waiver("ELF-99", "there is no such check")]),
        error(vec![waiver("ZZZZ-77", "there is no such check")]),
        error(vec![waiver("ELF-01", "  because ")]),
        error(vec![waiver("ELF-01", "a static program"), waiver("ELF-01", "a fixed address")]),
    ];
    golden("policy-errors.txt", &(text.join("\n") + "\n"));
}

#[test]
fn blocking_severities_are_the_policys_choice() {
    let mut world = World::good();
    world.set_library(|elf| elf.build_id = false);
    let found = findings(&world);
    let strict = Policy::blocking(BTreeSet::from([Severity::Block, Severity::Warn]), Vec::new()).unwrap();
    let usual = judge(&found, &Policy::new(Vec::new()).unwrap());
    assert!(usual.released && usual.warned == 1, "{:#?}", usual.blocking);
    assert!(!judge(&found, &strict).released);
}

/// Counts how often each blob is opened.
struct Counting(MemoryBlobs, Mutex<BTreeMap<BlobDigest, usize>>);

impl BlobSource for Counting {
    fn open(&self, digest: &BlobDigest) -> Result<Box<dyn Read + Send + '_>, ReadError> {
        *self.1.lock().unwrap().entry(*digest).or_default() += 1;
        self.0.open(digest)
    }
}

#[test]
fn each_blob_is_read_once_and_an_unchanged_image_not_again() {
    let mut world = World::good();
    for number in 0..300 {
        world.add(
            "web",
            archive::Raw::file(&format!("usr/share/zoneinfo/zone{number}"), 0o644, format!("TZif{number}").as_bytes()),
        );
    }
    let (subject, blobs) = world.build();
    let blobs = Counting(blobs, Mutex::default());
    let mut seen = Seen::new();
    let first = run_with(&subject, &blobs, &mut seen).unwrap();
    let opened = blobs.1.lock().unwrap().clone();
    assert!(opened.values().all(|count| *count == 1), "{opened:?}");
    // Four layers, and the one library of the last release that is not in this one.
    assert_eq!(opened.len(), 5);
    assert_eq!(run_with(&subject, &blobs, &mut seen).unwrap(), first);
    assert_eq!(*blobs.1.lock().unwrap(), opened);
}

#[test]
fn facts_survive_being_written_down() {
    let (subject, blobs) = World::good().build();
    let mut seen = Seen::new();
    let first = run_with(&subject, &blobs, &mut seen).unwrap();
    let mut read: Seen = serde_json::from_slice(&serde_json::to_vec(&seen).unwrap()).unwrap();
    assert_eq!(run_with(&subject, &MemoryBlobs::new(), &mut read).unwrap(), first);
}

#[test]
fn a_package_alone_is_checked_against_its_closure() {
    let (mut subject, blobs) = World::good().build();
    (subject.image, subject.previous, subject.plan) = (None, None, None);
    subject.packages.iter_mut().filter(|p| p.name.as_str() != "web").for_each(|p| p.role = Role::Closure);
    let found = run(&subject, &blobs).unwrap();
    let wrong: Vec<_> = found.iter().filter(|f| f.outcome == Outcome::Failed).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let passed = |check: &str| found.iter().any(|f| f.check.as_str() == check && f.outcome == Outcome::Passed);
    assert!(["ELF-01", "ABI-01", "ABI-02", "FS-12", "SEC-01", "REP-01"].into_iter().all(passed));
    assert!(found.iter().all(|f| f.object.package.as_ref().is_none_or(|p| p.as_str() == "web")));
    // Without its closure nothing can be found.
    subject.packages.retain(|p| p.name.as_str() == "web");
    let alone = run(&subject, &blobs).unwrap();
    assert!(!failed(&alone, "ABI-01").is_empty() && !failed(&alone, "ABI-06").is_empty());
}

#[test]
fn a_missing_blob_fails_every_check_that_would_have_read_it() {
    let (mut subject, _) = World::good().build();
    let found = run(&subject, &MemoryBlobs::new()).unwrap();
    for check in
        ["ELF-01", "FS-01", "FS-12", "SEC-01", "SEC-02", "BOM-04", "BOM-05", "OCI-08", "REP-06", "REP-07", "ABI-02"]
    {
        assert!(!failed(&found, check).is_empty(), "{check} passed without the layers");
    }
    (subject.image, subject.previous, subject.plan) = (None, None, None);
    let found = run(&subject, &MemoryBlobs::new()).unwrap();
    for check in ["ELF-01", "ELF-05", "ELF-13", "ABI-01", "ABI-02", "SEC-01", "SEC-02", "SEC-04", "FS-14"] {
        assert!(!failed(&found, check).is_empty(), "{check} passed without the files");
    }
}

#[test]
fn a_first_release_has_nothing_to_compare_with() {
    let mut world = World::good();
    world.previous = None;
    let found = findings(&world);
    assert!(found.iter().all(|f| f.outcome != Outcome::Failed));
    let not_applicable: Vec<&str> =
        found.iter().filter(|f| f.outcome == Outcome::NotApplicable).map(|f| f.check.as_str()).collect();
    let expected = ["ABI-03", "ABI-04", "VUL-01", "VUL-02", "VUL-08", "REG-01", "REG-03", "REG-04", "REG-05", "REG-06"];
    assert_eq!(not_applicable, expected);
}

#[test]
fn mentions_of_keys_and_placeholders_of_tokens_are_no_secrets() {
    let mut world = World::good();
    let mentions = format!(
        "-----BEGIN PRIVATE KEY-----\0-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n\
         openssh-key-v1\0 is a magic; AKIAIOSFODNN7EXAMPLE is a placeholder; XAKIAQ3EGRZ6XJ5FVTQ2P is no token; \
         ghp_{} has no checksum; /usr/build/x and share/src/y are no build paths",
        "0".repeat(35) + "1"
    );
    world.set_program(|elf| elf.tail = mentions.clone().into_bytes());
    let found = findings(&world);
    for check in ["SEC-01", "SEC-02", "ELF-12"] {
        assert!(failed(&found, check).is_empty(), "{:#?}", failed(&found, check));
    }
}

#[test]
fn a_shell_is_no_leftover_in_an_image_that_is_for_its_shell() {
    let mut world = World::good();
    world.add("web", archive::Raw::link("usr/bin/sh", "web"));
    world.add("web", archive::Raw::link("usr/bin/ash", "web"));
    assert!(failed(&findings(&world), "FS-08").is_empty(), "they are other names of the image's own program");
}

#[test]
fn a_link_to_what_the_runtime_mounts_is_not_dangling() {
    let mut world = World::good();
    world.add("web", archive::Raw::link("var/log/web.log", "/dev/stdout"));
    assert!(failed(&findings(&world), "FS-05").is_empty());
}

#[test]
fn zstd_layers_are_read_and_skippable_frames_refused() {
    for skippable in [false, true] {
        let (mut subject, mut blobs) = World::good().build();
        let members = [archive::Raw::file("usr/bin/x", 0o755, b"x")];
        let plain = archive::archive(&members, b"");
        let packed = archive::zstd(&plain, skippable);
        let image = subject.image.as_mut().unwrap();
        let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
        manifest["layers"] = serde_json::json!([{"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
            "digest": BlobDigest::of(&packed).to_string(), "size": packed.len()}]);
        image.manifest = serde_json::to_vec(&manifest).unwrap();
        let mut config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
        config["rootfs"]["diff_ids"] = serde_json::json!([BlobDigest::of(&plain).to_string()]);
        image.config = serde_json::to_vec(&config).unwrap();
        blobs.insert(packed);
        let found = run(&subject, &blobs).unwrap();
        assert!(failed(&found, "OCI-08").is_empty(), "{:?}", failed(&found, "OCI-08"));
        assert_eq!(failed(&found, "REP-07").is_empty(), !skippable);
    }
}

#[test]
fn torn_and_random_bytes_are_read_without_a_panic() {
    let whole = elf::Elf::library("libx.so.1", &["a", "b"]).bytes();
    for end in 0..whole.len() {
        let _ = FileFacts::of(&whole[..end]);
    }
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut torn = whole.clone();
            torn[at] = value;
            let _ = FileFacts::of(&torn);
        }
    }
}

#[test]
fn a_layer_that_keeps_the_epoch_of_its_own_packages_is_normal() {
    let mut world = World::good();
    world.layers.push(Box::new(|layers| layers[0].iter_mut().for_each(|member| member.mtime -= 86_400)));
    assert!(failed(&findings(&world), "REP-06").is_empty());
}

#[test]
fn at_most_two_hundred_failures_of_a_check_are_told_one_by_one() {
    for (count, told) in [(FAILURES_TOLD_MAX, FAILURES_TOLD_MAX), (FAILURES_TOLD_MAX + 5, FAILURES_TOLD_MAX + 1)] {
        let mut world = World::good();
        for number in 0..count {
            world.add("web", archive::Raw::file(&format!("tmp/{number}"), 0o644, b"x"));
        }
        let found = findings(&world);
        assert_eq!(failed(&found, "FS-07").len(), told);
        assert_eq!(
            failed(&found, "FS-07").last().unwrap().found.starts_with("5 more"),
            told > count.min(FAILURES_TOLD_MAX)
        );
    }
}

#[test]
fn an_extension_header_beyond_its_limit_makes_the_layer_unreadable() {
    let limit = 1024 * 1024;
    let frame = format!("{limit} path=\n").len();
    for (excess, readable) in [(0, true), (1, false)] {
        let mut world = World::good();
        world.layers.push(Box::new(move |layers| {
            layers[3][0].pax = vec![("comment".into(), "x".repeat(limit - frame - 3 + excess))];
        }));
        let (subject, blobs) = world.build();
        let mut seen = Seen::new();
        run_with(&subject, &blobs, &mut seen).unwrap();
        assert_eq!(seen.layers.values().all(|known| known.get().is_ok()), readable, "{excess}");
    }
}

#[test]
fn a_document_beyond_its_limit_is_not_read() {
    let limit = 64 * 1024 * 1024;
    for (size, found) in [(limit, "expected value"), (limit + 1, "more than")] {
        let mut world = World::good();
        world.subject.push(Box::new(move |s| s.image.as_mut().unwrap().sbom = Some(vec![b'x'; size])));
        assert!(failed(&findings(&world), "BOM-01")[0].found.contains(found));
    }
}
