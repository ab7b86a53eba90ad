//! One test for every rule by which a component is judged.

use crate::fixture::{named, package_range, record, word, zlib, zlib_range};
use anneal_advisory::{Component, Judgement, judge, parse};
use std::{fmt::Write as _, path::Path};

const DEMO: &str = include_str!("../../../../tests/advisories/CVE-2022-37434.json");

/// Judges zlib releases by one ECOSYSTEM range.
fn by_events(events: &str, expected: &[(&str, &str)]) {
    for (version, expected) in expected {
        assert_eq!(word(&zlib_range("ECOSYSTEM", events), &zlib(version)), *expected, "{version} in {events}");
    }
}

#[test]
fn introduced_zero_is_before_every_version() {
    by_events(r#"{"introduced":"0"}"#, &[("0", "affected"), ("0.1", "affected"), ("9.9", "affected")]);
    by_events(r#"{"introduced":"1.2"}"#, &[("1.1.9", "not affected"), ("1.2", "affected"), ("1.2.0", "affected")]);
}

#[test]
fn fixed_is_the_first_version_that_is_not_affected() {
    let events = r#"{"introduced":"0"},{"fixed":"1.2.13"}"#;
    by_events(
        events,
        &[("1.2.9", "affected"), ("1.2.12", "affected"), ("1.2.13", "not affected"), ("1.3", "not affected")],
    );
    by_events(r#"{"introduced":"0"},{"fixed":"0"}"#, &[("0", "not affected"), ("1.0", "not affected")]);
}

#[test]
fn last_affected_is_the_last_version_that_is_affected() {
    let events = r#"{"introduced":"1.0"},{"last_affected":"1.2.12"}"#;
    by_events(events, &[("0.9", "not affected"), ("1.2.12", "affected"), ("1.2.12.1", "not affected")]);
    by_events(r#"{"introduced":"1.0"},{"last_affected":"1.0"}"#, &[("1.0", "affected"), ("1.1", "not affected")]);
}

#[test]
fn a_limit_ends_what_the_record_speaks_of() {
    let events = r#"{"introduced":"1.0"},{"limit":"2.0"}"#;
    by_events(events, &[("0.9", "not affected"), ("1.9", "affected"), ("2.0", "not affected")]);
    let several = r#"{"introduced":"1.0"},{"limit":"2.0"},{"limit":"3.0"}"#;
    by_events(several, &[("2.5", "affected"), ("3.0", "not affected")]);
    by_events(r#"{"introduced":"1.0"},{"limit":"*"}"#, &[("99", "affected")]);
}

#[test]
fn several_stretches_of_one_range_are_told_apart_in_any_order_of_events() {
    let expected = [
        ("0.9", "not affected"),
        ("1.0.1", "affected"),
        ("2.0", "not affected"),
        ("3.1", "affected"),
        ("3.2.5", "not affected"),
    ];
    by_events(r#"{"introduced":"1.0.0"},{"fixed":"1.0.2"},{"introduced":"3.0.0"},{"fixed":"3.2.5"}"#, &expected);
    by_events(r#"{"fixed":"3.2.5"},{"introduced":"3.0.0"},{"fixed":"1.0.2"},{"introduced":"1.0.0"}"#, &expected);
}

#[test]
fn any_range_and_the_list_of_versions_are_enough() {
    let entry = r#"{"package":{"ecosystem":"generic","name":"zlib"},"versions":["0.5","1.4.0"],"ranges":[
        {"type":"ECOSYSTEM","events":[{"introduced":"1.0"},{"fixed":"1.1"}]},
        {"type":"ECOSYSTEM","events":[{"introduced":"2.0"},{"fixed":"2.1"}]}]}"#;
    let expected =
        [("0.5", "affected"), ("1.0.5", "affected"), ("1.2", "not affected"), ("1.4", "affected"), ("2.0", "affected")];
    for (version, expected) in expected {
        assert_eq!(word(entry, &zlib(version)), expected, "{version}");
    }
}

#[test]
fn any_entry_about_the_component_is_enough_and_others_change_nothing() {
    let (old, new) = (r#"{"introduced":"1.0"},{"fixed":"1.1"}"#, r#"{"introduced":"2.0"},{"fixed":"2.1"}"#);
    let other = package_range("generic", "zlib-ng", r#"{"introduced":"0"}"#);
    let entries = [zlib_range("ECOSYSTEM", old), other, zlib_range("ECOSYSTEM", new)].join(",");
    assert_eq!(word(&entries, &zlib("2.0.5")), "affected");
    assert_eq!(word(&entries, &zlib("1.0.5")), "affected");
    assert_eq!(word(&entries, &zlib("1.5")), "not affected");
}

#[test]
fn a_semver_range_is_read_by_semantic_versioning() {
    let events = r#"{"introduced":"1.0.0"},{"fixed":"1.2.0-rc.2"}"#;
    let cases = [("1.2.0-rc.1", "affected"), ("1.2.0", "not affected"), ("1.1", "affected"), ("1.1.1k", "unknown")];
    for (version, expected) in cases {
        assert_eq!(word(&zlib_range("SEMVER", events), &zlib(version)), expected, "{version}");
    }
}

#[test]
fn a_version_without_a_place_in_the_order_is_unknown_and_never_safe() {
    let events = r#"{"introduced":"1.0"},{"fixed":"1.2.13"}"#;
    assert_eq!(word(&zlib_range("ECOSYSTEM", events), &zlib("1.3-rc1")), "unknown");
    let odd_fix = r#"{"introduced":"1.0"},{"fixed":"1.2-beta"}"#;
    assert_eq!(word(&zlib_range("ECOSYSTEM", odd_fix), &zlib("1.3")), "unknown");
    let everything = r#"{"introduced":"0"}"#;
    assert_eq!(word(&zlib_range("ECOSYSTEM", everything), &zlib("1.3-rc1")), "affected");
    // Listed by name: no order is needed.
    let listed = r#"{"package":{"ecosystem":"generic","name":"zlib"},"versions":["1.3-rc1"]}"#;
    assert_eq!(word(listed, &zlib("1.3-rc1")), "affected");
    assert_eq!(word(listed, &zlib("1.3-rc2")), "not affected");
}

#[test]
fn a_range_beyond_doubt_outweighs_one_in_doubt() {
    let entry = r#"{"package":{"ecosystem":"generic","name":"zlib"},"ranges":[
        {"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.2-odd"}]},
        {"type":"ECOSYSTEM","events":[{"introduced":"1.2.0"},{"fixed":"1.2.13"}]}]}"#;
    assert_eq!(word(entry, &zlib("1.2.11")), "affected");
    assert_eq!(word(entry, &zlib("1.2.13")), "unknown");
}

#[test]
fn an_entry_without_versions_is_unknown() {
    assert_eq!(word(r#"{"package":{"ecosystem":"generic","name":"zlib"}}"#, &zlib("1.2.11")), "unknown");
}

#[test]
fn a_withdrawn_record_affects_nothing_and_says_when_it_was_withdrawn() {
    let text = DEMO.replacen("\"aliases\"", "\"withdrawn\": \"2023-01-02T00:00:00Z\", \"aliases\"", 1);
    let advisory = parse(text.as_bytes()).unwrap();
    let Judgement::NotAffected { explanation } = judge(&advisory, &zlib("1.2.11")) else { panic!("still affected") };
    assert!(explanation.contains("withdrawn on 2023-01-02"), "{explanation}");
    assert_eq!(judge(&advisory, &named("npm", "zlib", "1.2.11")), Judgement::Unrelated);
}

#[test]
fn package_urls_match_by_type_namespace_and_name() {
    let pcre2 = |purl: &str| Component { purl: Some(purl.to_owned()), repository: None, ..named("x", "x", "10.32") };
    let theirs = |purl: &str| {
        format!(
            r#"{{"package":{{"ecosystem":"GIT","name":"n","purl":"{purl}"}},
            "ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}}]}}]}}"#
        )
    };
    let cases = [
        ("pkg:github/pcre2project/pcre2", "pkg:github/PCRE2Project/pcre2", "affected"),
        ("pkg:generic/pcre2", "pkg:generic/pcre2@10.32?arch=x#sub", "affected"),
        ("pkg:generic/pcre2", "pkg:generic/pcre%32", "affected"),
        ("pkg:pypi/Foo_Bar", "pkg:pypi/foo-bar", "affected"),
        ("pkg:npm/%40a/b", "pkg:npm/@a/b", "affected"),
        ("pkg:generic/pcre2", "pkg:generic/PCRE2", "unrelated"),
        ("pkg:generic/pcre2", "pkg:conan/pcre2", "unrelated"),
        ("pkg:generic/pcre2", "pkg:generic/project/pcre2", "unrelated"),
        ("pkg:generic/pcre2", "not a purl", "unrelated"),
    ];
    for (ours, purl, expected) in cases {
        assert_eq!(word(&theirs(purl), &pcre2(ours)), expected, "{ours} and {purl}");
    }
}

#[test]
fn names_match_with_or_without_the_release_of_the_ecosystem() {
    let events = r#"{"introduced":"0"}"#;
    let cases = [
        ("Debian", "Debian:12", "affected"),
        ("Debian:12", "Debian:12", "affected"),
        ("Debian:12", "Debian:11", "unrelated"),
        ("debian", "Debian:11", "affected"),
        ("Ubuntu", "Ubuntu:Pro:18.04:LTS", "affected"),
        ("Debian", "Ubuntu:22.04:LTS", "unrelated"),
    ];
    for (ours, theirs, expected) in cases {
        assert_eq!(
            word(&package_range(theirs, "zlib", events), &named(ours, "zlib", "1.2-1")),
            expected,
            "{ours} {theirs}"
        );
    }
    assert_eq!(word(&package_range("PyPI", "foo-bar", events), &named("PyPI", "Foo.Bar", "1.0")), "affected");
    assert_eq!(word(&package_range("npm", "foo-bar", events), &named("npm", "Foo.Bar", "1.0")), "unrelated");
}

#[test]
fn an_entry_is_read_in_the_order_of_its_ecosystem() {
    let cases = [
        ("PyPI", "0", "1.10.post1", "1.10", "affected"),
        ("PyPI", "0", "1.10", "1.10.post1", "not affected"),
        ("Debian:12", "0", "1:1.0-2", "2.0-1", "affected"),
        ("Debian:12", "0", "1.0-2", "1.0-2~bpo1", "affected"),
        ("Alpine:v3.19", "0", "1.2.3-r4", "1.2.3_rc1-r9", "affected"),
        ("Go", "0", "1.2.0", "v1.2.0+incompatible", "not affected"),
        ("crates.io", "0", "1.0.0-rc.2", "1.0.0-rc.10", "not affected"),
    ];
    for (ecosystem, introduced, fixed, version, expected) in cases {
        let events = format!(r#"{{"introduced":"{introduced}"}},{{"fixed":"{fixed}"}}"#);
        let found = word(&package_range(ecosystem, "thing", &events), &named(ecosystem, "thing", version));
        assert_eq!(found, expected, "{ecosystem} {version} fixed {fixed}");
    }
}

#[test]
fn the_record_of_the_demo_affects_1_2_12_and_not_1_2_13() {
    let advisory = parse(DEMO.as_bytes()).unwrap();
    let mut text = String::new();
    for version in ["1.2.11", "1.2.12", "1.2.13", "1.3.1", "1.2.13-rc1"] {
        writeln!(text, "{version}\n  {}", told(&judge(&advisory, &zlib(version)))).unwrap();
    }
    let nginx = Component { purl: Some("pkg:generic/nginx".to_owned()), ..named("Debian", "nginx", "1.22.1") };
    writeln!(text, "nginx 1.22.1\n  {}", told(&judge(&advisory, &nginx))).unwrap();
    golden("demo.txt", &text);
}

pub(crate) fn told(judgement: &Judgement) -> String {
    match judgement {
        Judgement::Affected { explanation } => format!("affected: {explanation}"),
        Judgement::NotAffected { explanation } => format!("not affected: {explanation}"),
        Judgement::Unknown { explanation } => format!("unknown: {explanation}"),
        Judgement::Unrelated => "unrelated".to_owned(),
    }
}

/// Compares with a golden text; `UPDATE_GOLDEN=1` rewrites it.
pub(crate) fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/advisory").join(name);
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(&path, found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap(), "{name}: UPDATE_GOLDEN=1 rewrites it");
}

#[test]
fn an_explanation_names_record_range_order_and_versions() {
    let advisory = record(&zlib_range("ECOSYSTEM", r#"{"introduced":"1.2"},{"fixed":"1.2.13"}"#));
    let Judgement::Affected { explanation } = judge(&advisory, &zlib("1.2.11")) else { panic!("not affected") };
    for part in [
        "TEST-1",
        "zlib 1.2.11",
        "ECOSYSTEM range",
        "generic order",
        "1.2.11 > introduced 1.2",
        "1.2.11 < fixed 1.2.13",
    ] {
        assert!(explanation.contains(part), "{part} is not in: {explanation}");
    }
}
