//! What `anneal demo` writes.

use crate::story;
use anneal_tests::{ADVISORY, package_lines};
use serde_json::{Value, json};

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|each| each.as_str().unwrap()).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn the_demo_ends_well_and_writes_every_fact() {
    let facts = &story().first;
    if story().from_scratch {
        let mut built = strings(&facts["packages_built"]);
        built.sort_unstable();
        assert_eq!(built, ["busybox", "ca-certificates", "musl", "nginx", "pcre2", "tzdata", "zlib"]);
    }
    let images: Vec<_> = facts["images"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
    assert_eq!(images, ["busybox", "nginx", "static-base"]);
    for image in facts["images"].as_array().unwrap() {
        assert!(image["digest"].as_str().unwrap().starts_with("sha256:"), "{image}");
        assert!(number(&image["bytes"]) > 100_000.0 && number(&image["layers"]) >= 2.0, "{image}");
    }
    assert_eq!(facts["advisory"], ADVISORY);
    assert_eq!(facts["approved_by"], "Demo Approver");
    assert_eq!(facts["http_status"], 200);
    assert_eq!(facts["checks"]["failed"], 0);
    assert!(number(&facts["checks"]["passed"]) >= 25.0, "{}", facts["checks"]);
    assert!(facts["checks"]["warned"].is_u64());
    for kind in [
        "https://spdx.dev/Document",
        "https://slsa.dev/provenance/v1",
        "https://in-toto.io/attestation/test-result/v0.1",
        "https://sigstore.dev/cosign/sign/v1",
    ] {
        assert!(strings(&facts["evidence"]).contains(&kind), "no {kind}: {}", facts["evidence"]);
    }
    for name in ["catalogue_build", "advisory_to_candidate", "payload_in_it"] {
        assert!(number(&facts["seconds"][name]) > 0.0, "{name}: {}", facts["seconds"]);
    }
}

#[test]
fn only_zlib_and_what_is_built_with_it_is_rebuilt() {
    let facts = &story().first;
    assert_eq!(facts["plan"]["rebuild"], json!(["zlib", "nginx"]));
    let mut reused = strings(&facts["plan"]["reuse"]);
    reused.sort_unstable();
    assert_eq!(reused, ["busybox", "ca-certificates", "musl", "pcre2", "tzdata"]);
    assert_eq!(facts["rebuilt_packages"], json!(["zlib", "nginx"]));
    assert_eq!(facts["rebuilt_images"], json!(["nginx"]));
    assert_eq!(facts["untouched_images"], json!(["busybox", "static-base"]));
    let lines = package_lines(&story().place, &[facts["pulled_digest"].as_str().unwrap().to_owned()]);
    for version in ["zlib 1.2.13 ", "nginx 1.22.1 "] {
        assert!(lines.iter().any(|line| line.starts_with(version)), "{version}: {lines:?}");
    }
}

#[test]
fn a_client_pulls_the_changed_layers_alone_and_gets_what_was_approved() {
    let facts = &story().first;
    assert_eq!((number(&facts["layers_new"]), number(&facts["layers_reused"])), (2.0, 5.0));
    let (before, after) = (number(&facts["bytes_pulled_before"]), number(&facts["bytes_pulled_after_patch"]));
    assert!(after > 0.0 && after < before / 2.0, "{after} of {before} bytes were pulled again");
    let nginx = facts["images"].as_array().unwrap().iter().find(|image| image["name"] == "nginx").unwrap();
    assert_eq!(facts["pulled_digest"], nginx["digest"]);
    let candidates = story().place.candidates();
    let approved = candidates.iter().find(|c| c["fixes"] == json!([ADVISORY])).unwrap();
    assert_eq!(facts["pulled_digest"], approved["manifest"]);
    assert_eq!((&approved["status"], &approved["decision"][0]), (&json!("published"), &json!("approve")));
}

#[test]
fn anneal_itself_takes_less_than_five_seconds_from_advisory_to_candidate() {
    let seconds = &story().first["seconds"];
    let (all, payload) = (number(&seconds["advisory_to_candidate"]), number(&seconds["payload_in_it"]));
    let own = all - payload;
    eprintln!("from advisory to candidate {all:.1} s, builds and tests {payload:.1} s of it, Anneal {own:.2} s");
    assert!(payload > 1.0, "a compiler that takes {payload} s did not run");
    assert!((0.0..5.0).contains(&own), "Anneal took {own:.2} s");
}

#[test]
fn a_second_run_on_the_same_state_builds_nothing_and_ends_the_same() {
    let (first, second) = (&story().first, &story().second);
    assert_eq!(second["packages_built"], json!([]));
    let took = number(&second["seconds"]["catalogue_build"]);
    eprintln!("the build phase of the second run took {took:.3} s");
    assert!(took < 1.0, "{took} s");
    for same in ["images", "pulled_digest", "rebuilt_packages", "untouched_images", "checks", "http_status"] {
        assert_eq!(first[same], second[same], "{same}");
    }
}
