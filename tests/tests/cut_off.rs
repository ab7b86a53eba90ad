//! Cut-off by interface, on real sources: what a patched library keeps, what it rebuilds, and what is caught when a kept
//! build turns out to read more of a library than it should see.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

#[path = "cut_off/linking.rs"]
mod linking;

use anneal_tests::{Facts, Place, ask_socket, broken_promises, scratch, wait_for};
use linking::{ADVISORY, Linking, PATCHED};
use serde_json::Value;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(600);
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// The events of a kind about a package since this many.
fn about(place: &Place, since: usize, kind: &str, package: &str) -> Vec<Value> {
    let events = place.events().into_iter().skip(since);
    events.filter(|event| event["event"] == kind && event["package"] == package).collect()
}

/// Whether the package was really built since then, and not taken from the cache.
#[track_caller]
fn was_built(place: &Place, since: usize, package: &str) -> bool {
    let steps = about(place, since, "package-built", package);
    assert!(!steps.is_empty(), "{package} was no step of the plan");
    steps.iter().any(|step| step["cached"] == false)
}

fn candidates(place: &Place, image: &str) -> Vec<Value> {
    let mut all = place.candidates();
    all.retain(|candidate| candidate["image"] == image);
    all.sort_by_key(|candidate| candidate["id"].as_u64());
    all
}

/// The line of a text about a package.
fn line<'t>(text: &'t str, package: &str) -> &'t str {
    text.lines().find(|line| line.contains(&format!(" {package} "))).unwrap_or_else(|| panic!("{package}: {text}"))
}

#[test]
fn an_advisory_that_a_patch_answers_keeps_what_only_links_and_catches_what_reads_more() {
    let dir = scratch();
    let linking = Linking::released(dir.path());
    let place = &linking.place;
    let since = place.events().len();
    let daemon = place.daemon();
    linking.advisory_lands();
    wait_for("the candidates", PATIENCE, || {
        let opened = |image: &str| candidates(place, image).len() >= 2;
        ["linked", "archived", "reader"].iter().all(|image| opened(image)).then_some(())
    });
    // Before anything is proved: what is kept is on record, and a human sees it.
    let shown = place.anneal(&["candidate", "show", &format!("c{}", candidates(place, "linked")[1]["id"])]).fine();
    assert!(line(&shown.out, "kept").contains("linked 1.0: interface equal of zlib; "), "{}", shown.out);
    place.until_it_rests(PATIENCE);

    assert!(was_built(place, since, "zlib"));
    assert!(was_built(place, since, "archived"), "a static archive is seen whole");
    assert!(!was_built(place, since, "linked"), "what links dynamically is kept");
    let kept = about(place, since, "package-kept", "linked");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_ne!(kept[0]["linked"]["zlib"]["built_with"], kept[0]["linked"]["zlib"]["now"]);
    assert_eq!(about(place, since, "kept-proved", "linked").len(), 1);
    assert!(about(place, since, "package-kept", "archived").is_empty());

    // One package and one layer: the program stays, byte for byte.
    let (before, after) = (&candidates(place, "linked")[0], &candidates(place, "linked")[1]);
    let diff = place.anneal(&["candidate", "diff", &format!("c{}", after["id"]), "--json"]).fine().json();
    assert_eq!(diff["layers_new"], 1, "{diff}");
    let files: Vec<_> = diff["files"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(files, ["usr/lib/libz.so.1.2.13"]);
    assert_ne!(before["manifest"], after["manifest"]);

    // What was kept says what it was really built with.
    let told = place.predicate(after["manifest"].as_str().unwrap(), PROVENANCE);
    let named = told["buildDefinition"]["internalParameters"]["kept"][0].clone();
    assert_eq!((&named["package"], &named["version"]), (&"linked".into(), &"1.0".into()), "{told}");
    let tree = &kept[0]["linked"]["zlib"]["built_with"]["out"];
    assert_eq!(named["linked"]["zlib"]["builtWith"]["out"], *tree);
    let hex = tree.as_str().unwrap().trim_start_matches("sha256:");
    let materials = told["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    let material = materials.iter().find(|one| one["digest"]["sha256"] == hex).unwrap();
    assert_eq!(material["name"], "tree of zlib:out that linked 1.0 was built with");

    // What reads more was kept at first, and its proof gave it away.
    assert_eq!(about(place, since, "package-kept", "reader").len(), 1);
    let withdrawn = about(place, since, "cut-off-withdrawn", "reader");
    assert_eq!(withdrawn.len(), 1);
    assert!(withdrawn[0]["why"].as_str().unwrap().contains("output out is"), "{withdrawn:?}");
    assert!(about(place, since, "cut-off-withdrawn", "linked").is_empty());
    let of_reader = candidates(place, "reader");
    assert_eq!(of_reader.len(), 3, "the release, the one with what was kept, and the one that follows: {of_reader:?}");
    assert_eq!((&of_reader[1]["status"], &of_reader[2]["status"]), (&"superseded".into(), &"open".into()));
    let sums: Vec<_> = of_reader.iter().map(|one| linking.sums(one["manifest"].as_str().unwrap())).collect();
    assert_eq!(sums[0], sums[1], "the kept build tells of the library before");
    assert!(sums[2].0 != sums[1].0 && sums[2].1 != sums[1].1, "and so did what was built with it: {sums:?}");
    assert_eq!(sums[2].0, sums[2].1);

    let text = place.anneal(&["case", "certificate", ADVISORY]).fine().out;
    assert!(text.contains(&format!("rebuilt    zlib 1.2.13 -> {PATCHED}: ")), "{text}");
    assert!(text.contains("built      archived 1.0: it is in no image; input digest "), "{text}");
    assert!(text.contains("image archived has no such package, but is made with one: it is built again"), "{text}");
    let of_linked = line(&text, "linked 1.0:");
    assert!(of_linked.contains("kept       linked 1.0: interface equal of zlib sha256:"), "{text}");
    assert!(of_linked.contains("; proof build identical, sha256:"), "{text}");
    let json = place.anneal(&["case", "certificate", ADVISORY, "--json"]).fine().json();
    let images = json["images"].as_array().unwrap();
    let reader = images.iter().find(|image| image["image"] == "reader").unwrap();
    // The newest candidate answers the case, and of it nothing is kept.
    assert_eq!(reader["packages"]["reader"]["fate"], "rebuilt", "{json}");
    let plan = place.anneal(&["case", "show", ADVISORY]).fine().out;
    assert!(plan.contains("kept     linked 1.0: interface equal of zlib"), "{plan}");
    assert!(plan.contains("build    archived 1.0: built with zlib"), "{plan}");
    daemon.stop();
    let promises = broken_promises(&Facts::read(&place.state).unwrap());
    assert!(promises.is_empty(), "{promises:?}");

    // Withdrawn is withdrawn: after a restart and with the next patch it is built again at once, and nothing of it is kept.
    let since = place.events().len();
    linking.patch_again();
    let daemon = place.daemon();
    place.anneal(&["build", "--quiet"]).fine();
    place.until_it_rests(PATIENCE);
    assert!(was_built(place, since, "reader") && !was_built(place, since, "linked"));
    assert!(about(place, since, "package-kept", "reader").is_empty());
    assert_eq!(about(place, since, "kept-proved", "linked").len(), 1);
    // What the withdrawal changed is in the evidence: the image can be built again from that alone.
    let newest = candidates(place, "reader").pop().unwrap();
    let told = place.predicate(newest["manifest"].as_str().unwrap(), PROVENANCE);
    assert_eq!(told["buildDefinition"]["internalParameters"]["cutOffWithdrawn"], serde_json::json!(["reader"]));
    daemon.stop();
}

#[test]
fn a_changed_header_rebuilds_what_links() {
    let dir = scratch();
    let linking = Linking::released(dir.path());
    let place = &linking.place;
    let since = place.events().len();
    linking.edit_zlib(
        "  \"./configure --prefix=/usr\",",
        "  \"sed -i 's/ZLIB_VERNUM 0x12d0/ZLIB_VERNUM 0x12d1/' zlib.h\",\n  \"./configure --prefix=/usr\",",
    );
    let daemon = place.daemon();
    place.anneal(&["build", "linked", "--quiet"]).fine();
    assert!(was_built(place, since, "zlib") && was_built(place, since, "linked"));
    assert!(about(place, since, "package-kept", "linked").is_empty());
    daemon.stop();
}

#[test]
fn a_daemon_that_is_killed_while_it_proves_goes_on_where_it_was() {
    let dir = scratch();
    let linking = Linking::released(dir.path());
    let place = &linking.place;
    let since = place.events().len();
    linking.patch_again();
    let daemon = place.daemon();
    let count = |kinds: &[&str]| {
        let each = kinds.iter().flat_map(|kind| ["linked", "reader"].map(|package| about(place, since, kind, package)));
        each.map(|events| events.len()).sum::<usize>()
    };
    place.anneal(&["build", "--quiet", "--timeout", "1"]);
    wait_for("a proof to begin", PATIENCE, || {
        let progress = ask_socket(place, "GET", "/v1/progress?after=0&wait=0", "application/json", b"").ok()?;
        String::from_utf8_lossy(&progress.body).contains("\"phase\":\"kept\"").then_some(())
    });
    daemon.kill();
    assert_eq!(count(&["package-kept"]), 2);
    assert!(count(&["kept-proved", "cut-off-withdrawn"]) < 2, "it was killed before every answer was there");
    let daemon = place.daemon();
    place.until_it_rests(PATIENCE);
    assert_eq!(about(place, since, "kept-proved", "linked").len(), 1);
    assert_eq!(about(place, since, "cut-off-withdrawn", "reader").len(), 1);
    assert_eq!(about(place, since, "package-kept", "linked").len(), 1, "a fact is written down once");
    assert_eq!(candidates(place, "reader").last().unwrap()["status"], "open");
    daemon.stop();
}
