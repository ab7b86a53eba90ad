//! Records about somebody else's versions of our component: distributions, registries, commits.

use crate::fixture::{named, package_range, record, word, zlib, zlib_range};
use crate::judging::{golden, told};
use anneal_advisory::{Component, judge};
use std::fmt::Write as _;

fn fixed_in_debian(fixed: &str) -> String {
    package_range("Debian:12", "zlib", &format!(r#"{{"introduced":"0"}},{{"fixed":"{fixed}"}}"#))
}

#[test]
fn a_distributions_record_decides_only_where_upstreams_part_does() {
    let cases = [
        ("1:1.2.13.dfsg-1", "1.2.11", "affected"),
        ("1:1.2.13.dfsg-1", "1.2.13", "unknown"),
        ("1:1.2.13.dfsg-1", "1.3.1", "not affected"),
        ("1:1.2.13.dfsg-1", "1.3-rc1", "unknown"),
        ("1.2~rc3-1", "1.3", "unknown"),
    ];
    for (fixed, version, expected) in cases {
        assert_eq!(word(&fixed_in_debian(fixed), &zlib(version)), expected, "{version}, fixed in {fixed}");
    }
}

/// Debian 11 fixed CVE-2022-37434 in 1.2.11; upstream's 1.2.12 is later than that and still affected.
#[test]
fn a_fix_carried_back_to_an_old_version_does_not_clear_later_ones() {
    let backport = fixed_in_debian("1:1.2.11.dfsg-2+deb11u2");
    assert_eq!(word(&backport, &zlib("1.2.12")), "unknown");
    assert_eq!(word(&backport, &zlib("1.2.8")), "affected");
}

#[test]
fn a_distributions_own_package_is_read_with_its_revision() {
    let own = Component {
        purl: Some("pkg:deb/debian/zlib".to_owned()),
        ..named("Debian", "zlib", "1:1.2.11.dfsg-2+deb11u1")
    };
    assert_eq!(word(&fixed_in_debian("1:1.2.11.dfsg-2+deb11u2"), &own), "affected");
    let patched = Component { version: "1:1.2.11.dfsg-2+deb11u2".parse().unwrap(), ..own };
    assert_eq!(word(&fixed_in_debian("1:1.2.11.dfsg-2+deb11u2"), &patched), "not affected");
}

/// The crate libz-sys 1.1.9 holds zlib 1.2.13: its numbers say nothing about zlib's.
#[test]
fn a_registrys_numbers_are_not_upstreams() {
    let events = r#"{"introduced":"0"},{"fixed":"1.1.9"}"#;
    assert_eq!(word(&package_range("crates.io", "libz-sys", events), &zlib("1.2.11")), "unknown");
    assert_eq!(word(&package_range("crates.io", "libz-sys", events), &zlib("1.2.13")), "unknown");
    let own = Component { purl: Some("pkg:cargo/libz-sys".to_owned()), ..zlib("1.1.9") };
    assert_eq!(word(&package_range("crates.io", "libz-sys", events), &own), "not affected");
}

#[test]
fn what_speaks_of_our_own_versions_outweighs_what_does_not() {
    let own = zlib_range("ECOSYSTEM", r#"{"introduced":"0"},{"fixed":"1.2.13"}"#);
    let entries = [fixed_in_debian("1:1.2.11.dfsg-2+deb11u2"), own].join(",");
    assert_eq!(word(&entries, &zlib("1.2.13")), "not affected");
    assert_eq!(word(&entries, &zlib("1.2.12")), "affected");
}

fn commits(events: &str, versions: &str) -> String {
    format!(
        r#"{{"ranges":[{{"type":"GIT","repo":"https://github.com/madler/zlib.git","events":[{events}]}}],
            "versions":[{versions}]}}"#
    )
}

const HASHES: &str = r#"{"introduced":"583b3c262f07"},{"fixed":"8f3da6018452"}"#;

#[test]
fn commits_are_matched_by_repository_and_decided_by_the_list_of_tags() {
    let entry = commits(HASHES, r#""v1.2.9","v1.2.11","v1.2.12""#);
    assert_eq!(word(&entry, &zlib("1.2.11")), "affected");
    assert_eq!(word(&entry, &zlib("1.2.13")), "not affected");
    let elsewhere = Component { repository: Some("https://github.com/zlib-ng/zlib-ng".to_owned()), ..zlib("1.2.11") };
    assert_eq!(word(&entry, &elsewhere), "unrelated");
    for address in
        ["git://GitHub.com/madler/zlib/", "git@github.com:madler/zlib.git", "git+https://x@github.com/madler/zlib"]
    {
        let ours = Component { repository: Some(address.to_owned()), ..zlib("1.2.11") };
        assert_eq!(word(&entry, &ours), "affected", "{address}");
    }
}

#[test]
fn commits_without_readable_tags_are_unknown() {
    assert_eq!(word(&commits(HASHES, ""), &zlib("1.2.11")), "unknown");
    assert_eq!(word(&commits(HASHES, r#""before-the-merge""#), &zlib("1.2.11")), "unknown");
    assert_eq!(word(&commits(HASHES, r#""v1.2.9""#), &zlib("1.3-rc1")), "unknown");
    assert_eq!(word(&commits(r#"{"introduced":"0"}"#, ""), &zlib("1.2.11")), "affected");
}

#[test]
fn a_list_of_tags_that_nothing_ends_does_not_clear_releases_after_it() {
    let open = commits(r#"{"introduced":"583b3c262f07"}"#, r#""v1.2.9","v1.2.11""#);
    assert_eq!(word(&open, &zlib("1.2.13")), "unknown");
    assert_eq!(word(&open, &zlib("1.2.8")), "not affected");
}

#[test]
fn commits_beside_versions_raise_no_doubt() {
    let entry = r#"{"package":{"ecosystem":"GIT","name":"n","purl":"pkg:generic/zlib"},"ranges":[
        {"type":"GIT","repo":"https://github.com/madler/zlib","events":[{"introduced":"0"},{"fixed":"8f3da6018452"}]},
        {"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.2.13"}]}]}"#;
    assert_eq!(word(entry, &zlib("1.2.13")), "not affected");
    let apart = [commits(HASHES, ""), zlib_range("ECOSYSTEM", r#"{"introduced":"0"},{"fixed":"1.2.13"}"#)].join(",");
    assert_eq!(word(&apart, &zlib("1.2.13")), "not affected");
}

#[test]
fn tags_are_read_as_projects_write_them() {
    let cases = [
        ("curl", "7.83.0", "curl-7_83_0"),
        ("openssl", "1.1.1k", "OpenSSL_1_1_1k"),
        ("pcre2", "10.42", "pcre2-10.42"),
        ("libssh2", "1.9.0", "libssh2-1.9.0"),
        ("file", "5.29", "FILE5_29"),
        ("nginx", "1.22.1", "release-1.22.1"),
        ("expat", "2.5.0", "R_2_5_0"),
    ];
    for (name, version, tag) in cases {
        let component = Component { name: name.parse().unwrap(), ..zlib(version) };
        assert_eq!(word(&commits(HASHES, &format!(r#""{tag}""#)), &component), "affected", "{tag}");
        let later = Component { version: "99".parse().unwrap(), ..component };
        assert_eq!(word(&commits(HASHES, &format!(r#""{tag}""#)), &later), "not affected", "{tag} and 99");
    }
}

#[test]
fn foreign_explanations_say_what_was_not_compared() {
    let entries = [
        ("backport", fixed_in_debian("1:1.2.11.dfsg-2+deb11u2")),
        ("registry", package_range("crates.io", "libz-sys", r#"{"introduced":"0"},{"fixed":"1.1.9"}"#)),
        ("commits", commits(HASHES, "")),
        ("tags", commits(HASHES, r#""v1.2.11""#)),
        ("rpm", package_range("AlmaLinux:9", "zlib", r#"{"introduced":"0"},{"fixed":"1.2.11-40.el9"}"#)),
    ];
    let mut component = zlib("1.2.12");
    component.names.push(("AlmaLinux".to_owned(), "zlib".to_owned()));
    let mut text = String::new();
    for (title, entry) in entries {
        writeln!(text, "{title}\n  {}", told(&judge(&record(&entry), &component))).unwrap();
    }
    golden("foreign.txt", &text);
}
