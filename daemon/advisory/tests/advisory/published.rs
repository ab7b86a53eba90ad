//! Records and comparisons that others published, where they lie beside the repository.

use crate::fixture::named;
use anneal_advisory::{Component, Judgement, Package, RangeKind, compare, judge, parse};
use std::{
    cmp::Ordering,
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

/// The data beside the repository; `None`, and a line, where there is none.
fn data(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.exists() {
        eprintln!("skipped: no {name}");
        return None;
    }
    Some(path)
}

#[test]
fn published_comparisons_hold_both_ways_round() {
    let files = [
        ("Alpine", "alpine-versions.tsv", 700),
        ("Debian", "debian-versions.tsv", 30),
        ("Debian", "debian-versions-generated.tsv", 14_000),
        ("PyPI", "pypi-versions.tsv", 26),
        ("PyPI", "pypi-versions-generated.tsv", 12_000),
        ("npm", "semver-versions.tsv", 75),
    ];
    for (ecosystem, file, least) in files {
        let Some(path) = data(&format!("version-vectors/{file}")) else { continue };
        let (mut held, mut refused) = (0, Vec::new());
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let [a, sign, b] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{file}: {line}") };
            let expected = match sign {
                "<" => Ordering::Less,
                "=" => Ordering::Equal,
                ">" => Ordering::Greater,
                other => panic!("{file}: {other}"),
            };
            let Ok(found) = compare(ecosystem, a, b) else {
                refused.push(line.to_owned());
                continue;
            };
            assert_eq!(found, expected, "{file}: {line}");
            assert_eq!(compare(ecosystem, b, a), Ok(expected.reverse()), "{file}: {line}");
            held += 1;
        }
        eprintln!("{file}: {held} held, {} with versions that {ecosystem} does not admit", refused.len());
        assert!(held >= least, "{file}: only {held} held; refused {refused:?}");
    }
}

/// Unpacks the archive with whatever is there.
fn unpacked(archive: &Path, into: &Path) -> bool {
    let unzip = Command::new("unzip").arg("-q").arg(archive).arg("-d").arg(into).output();
    if unzip.is_ok_and(|output| output.status.success()) {
        return true;
    }
    let python = Command::new("python3").args(["-m", "zipfile", "-e"]).arg(archive).arg(into).output();
    python.is_ok_and(|output| output.status.success())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Something for the record to be about: its own package at a version that it speaks of.
fn subject(package: &Package, version: &str) -> Option<Component> {
    let version = version.parse().ok()?;
    Some(Component { version, purl: package.purl.clone(), ..named(&package.ecosystem, &package.name, "0") })
}

#[test]
fn published_records_are_read_and_judged_or_refused_by_name() {
    let Some(archive) = data("osv-sample.zip") else { return };
    let dir = tempfile::tempdir().unwrap();
    if !unpacked(&archive, dir.path()) {
        eprintln!("skipped: no unzip");
        return;
    }
    let (mut read, mut refused) = (0, BTreeMap::<String, usize>::new());
    let mut answers = BTreeMap::<&str, usize>::new();
    for path in files(dir.path()) {
        let bytes = std::fs::read(&path).unwrap();
        let advisory = match parse(&bytes) {
            Ok(advisory) => advisory,
            Err(error) => {
                let folder = path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
                *refused.entry(folder.clone()).or_default() += 1;
                let is_record = folder != "cve5-vulnrichment" && path.parent() != Some(dir.path());
                assert!(!is_record, "{}: {error}", path.display());
                continue;
            }
        };
        read += 1;
        for entry in &advisory.affected {
            let Some(package) = &entry.package else { continue };
            let of_versions = entry.ranges.iter().filter(|range| range.kind != RangeKind::Git);
            let fixed = of_versions.flat_map(|range| &range.events).filter(|event| event.kind() == "fixed");
            for version in entry.versions.iter().map(String::as_str).take(3) {
                let Some(subject) = subject(package, version) else { continue };
                let judged = judge(&advisory, &subject);
                let listed = matches!(judged, Judgement::Affected { .. }) || advisory.withdrawn.is_some();
                assert!(listed, "{} lists {version}: {judged:?}", advisory.id);
            }
            for event in fixed.take(2) {
                let Some(subject) = subject(package, event.version()) else { continue };
                *answers.entry(word(&judge(&advisory, &subject))).or_default() += 1;
            }
        }
    }
    eprintln!("{read} records read, refused {refused:?}; at their fixed versions {answers:?}");
    assert_eq!(read, 8175);
    assert_eq!(answers.get("unrelated"), None);
    assert!(answers.get("not affected").is_some_and(|count| *count > 6000));
}

fn word(judgement: &Judgement) -> &'static str {
    match judgement {
        Judgement::Affected { .. } => "affected",
        Judgement::NotAffected { .. } => "not affected",
        Judgement::Unknown { .. } => "unknown",
        Judgement::Unrelated => "unrelated",
    }
}
