//! Which listed release answers a set of advisories.

use crate::fixture::{package_range, record, zlib, zlib_range};
use anneal_advisory::{Advisory, Remediation, remediate};
use anneal_content::Version;

fn fixed_in(version: &str) -> Advisory {
    record(&zlib_range("ECOSYSTEM", &format!(r#"{{"introduced":"0"}},{{"fixed":"{version}"}}"#)))
}

fn listed(versions: &[&str]) -> Vec<Version> {
    versions.iter().map(|v| v.parse().unwrap()).collect()
}

fn bump(to: &str) -> Remediation {
    Remediation::Bump { to: to.parse().unwrap() }
}

fn refusal(advisories: &[Advisory], versions: &[&str]) -> String {
    match remediate(advisories, &zlib("1.2.11"), &listed(versions)) {
        Remediation::Blocked { why } => why,
        Remediation::Bump { to } => panic!("bumped to {to}"),
    }
}

#[test]
fn the_smallest_later_release_that_no_advisory_affects_is_chosen() {
    let both = [fixed_in("1.2.12"), fixed_in("1.2.13")];
    let releases = listed(&["1.3.1", "1.2.11", "1.2.9", "1.2.13", "1.2.12"]);
    assert_eq!(remediate(&both, &zlib("1.2.11"), &releases), bump("1.2.13"));
    assert_eq!(remediate(&both[..1], &zlib("1.2.11"), &releases), bump("1.2.12"));
}

#[test]
fn an_earlier_release_is_never_chosen() {
    let introduced = record(&zlib_range("ECOSYSTEM", r#"{"introduced":"1.2.10"}"#));
    let why = refusal(&[introduced], &["1.2.9", "1.2.11"]);
    assert!(why.contains("no release of zlib later than 1.2.11 is listed"), "{why}");
}

#[test]
fn a_refusal_says_what_every_later_release_fails_on() {
    let why = refusal(&[fixed_in("1.3.2")], &["1.2.13", "1.3.1"]);
    for part in ["1.2.13: TEST-1 affects zlib 1.2.13", "1.3.1: TEST-1 affects zlib 1.3.1", "add a fixed one"] {
        assert!(why.contains(part), "{part} is not in: {why}");
    }
}

#[test]
fn a_release_in_doubt_is_not_safe() {
    let doubtful = record(&package_range("Debian:12", "zlib", r#"{"introduced":"0"},{"fixed":"1:1.2.13.dfsg-1"}"#));
    assert_eq!(remediate(std::slice::from_ref(&doubtful), &zlib("1.2.11"), &listed(&["1.2.13", "1.3"])), bump("1.3"));
    assert!(refusal(&[doubtful], &["1.2.13"]).contains("is unknown"));
}

#[test]
fn a_release_without_a_place_in_the_order_is_not_chosen_and_is_named() {
    let why = refusal(&[fixed_in("1.2.13")], &["1.3-rc1"]);
    assert!(why.contains("`1.3-rc1` has no place in the order"), "{why}");
}

#[test]
fn an_unrelated_advisory_changes_nothing() {
    let other = record(&package_range("npm", "zlib", r#"{"introduced":"0"}"#));
    let releases = listed(&["1.2.12", "1.2.13"]);
    assert_eq!(remediate(&[other, fixed_in("1.2.13")], &zlib("1.2.11"), &releases), bump("1.2.13"));
}
