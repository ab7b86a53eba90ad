//! Compatible swap, with real C libraries: what ships as it was built with a library that an advisory moved, what is built
//! because something speaks against that, and what building it afterwards comes to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

#[path = "swap/pairs.rs"]
mod pairs;

use anneal_tests::{Facts, Notes, Place, broken_promises, scratch, wait_for};
use pairs::{ADVISORY, PAIRS};
use serde_json::Value;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(900);
const SWAPPED: &[&str] = &["dropin", "same", "stuck", "imagetest"];

/// What stands in the way of each that is not swapped, as the certificate says it.
const OBSTACLES: &[(&str, &str)] = &[
    ("owntest", "its tests do not pass with them"),
    ("dropped", "does not offer lib_twice@LIB_1.0 any more"),
    ("soname", "needs libsoname.so.1, and the soname of lib-soname is libsoname.so.2 now"),
    ("version", "does not offer lib_"),
    ("data", "of libdata.so.1 had 16 bytes and has 32"),
    ("layout", "abidiff sees a change of its types"),
    ("nodebug", "has no debug output"),
    ("archive", "it is built with lib-archive:static, which may be a part of it"),
];

/// The events of a kind about a package, with their numbers.
fn about(events: &[Value], kind: &str, package: &str) -> Vec<(usize, Value)> {
    let numbered = events.iter().enumerate();
    let found = numbered.filter(|(_, event)| event["event"] == kind && event["package"] == package);
    found.map(|(at, event)| (at, event.clone())).collect()
}

fn candidates(place: &Place, image: &str) -> Vec<Value> {
    let mut all = place.candidates();
    all.retain(|candidate| candidate["image"] == image);
    all.sort_by_key(|candidate| candidate["id"].as_u64());
    all
}

/// What the certificate says of an image's program.
fn fate(certificate: &Value, name: &str) -> Value {
    let images = certificate["images"].as_array().unwrap();
    let image = images.iter().find(|image| image["image"] == name).unwrap_or_else(|| panic!("{name}: {certificate}"));
    image["packages"][name].clone()
}

#[test]
fn a_library_that_an_advisory_moves_ships_at_once_where_it_is_a_drop_in_and_rebuilds_what_it_is_none_for() {
    let dir = scratch();
    let place = &Place::new(&dir.path().join("state"), &dir.path().join("recipes"));
    pairs::write(place);
    place.release_all();
    let since = place.events().len();
    let daemon = place.daemon();
    pairs::advisory_lands(place);
    wait_for("the candidates", PATIENCE, || {
        PAIRS.iter().all(|pair| candidates(place, pair.name).len() >= 2).then_some(())
    });
    place.until_it_rests(PATIENCE);
    let events = place.events().split_off(since);
    let certificate = place.anneal(&["case", "certificate", ADVISORY, "--json"]).fine().json();
    let text = place.anneal(&["case", "certificate", ADVISORY]).fine().out;

    for name in SWAPPED {
        let kept = about(&events, "package-kept", name);
        assert_eq!(kept.len(), 1, "{name}: {text}");
        assert_eq!(kept[0].1["ground"]["kind"], "swapped");
        assert_eq!(kept[0].1["ground"]["advisories"], serde_json::json!([ADVISORY]));
        assert!(about(&events, "swap-refused", name).is_empty());
    }
    for (name, why) in OBSTACLES {
        let refused = about(&events, "swap-refused", name);
        assert_eq!(refused.len(), 1, "{name}: {text}");
        assert!(refused[0].1["why"].as_str().unwrap().contains(why), "{name}: {}", refused[0].1["why"]);
        assert!(about(&events, "package-kept", name).is_empty());
        let built = about(&events, "package-built", name);
        assert!(built.iter().any(|(_, event)| event["cached"] == false), "{name} is built");
        let fate = fate(&certificate, name);
        assert_eq!(fate["fate"], "rebuilt", "{fate}");
        assert!(fate["not_swapped"].as_str().unwrap().contains(why), "{fate}");
    }
    // Nobody asked where policy says nothing.
    assert!(about(&events, "swap-refused", "never").is_empty() && about(&events, "package-kept", "never").is_empty());
    assert_eq!(fate(&certificate, "never")["fate"], "rebuilt");

    // One layer is new, and the program was not built before a human could approve it.
    let of_dropin = candidates(place, "dropin");
    assert_eq!(of_dropin.len(), 3, "the release, the one with the former build, and the one that follows");
    let diff = place.anneal(&["candidate", "diff", &format!("c{}", of_dropin[1]["id"]), "--json"]).fine().json();
    assert_eq!(diff["layers_new"], 1, "{diff}");
    let opened =
        |id: &Value| events.iter().position(|e| e["event"] == "candidate-opened" && e["candidate"] == *id).unwrap();
    let first_built = about(&events, "package-built", "dropin").into_iter().map(|(at, _)| at).min();
    let settled = about(&events, "swap-settled", "dropin");
    assert_eq!((settled.len(), &settled[0].1["settling"]["settling"]), (1, &"differs".into()), "{settled:?}");
    assert!(opened(&of_dropin[1]["id"]) < settled[0].0 && settled[0].0 < opened(&of_dropin[2]["id"]));
    assert!(first_built.is_none_or(|at| at > opened(&of_dropin[1]["id"])), "{first_built:?}");

    // What came out the same needs no further candidate, and the certificate says both.
    let of_same = candidates(place, "same");
    assert_eq!((of_same.len(), &of_same[1]["status"]), (2, &"open".into()));
    assert_eq!(about(&events, "swap-settled", "same")[0].1["settling"]["settling"], "identical");
    let line = text.lines().find(|line| line.contains(" same 1.0: swapped")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("it runs with lib-same, types compared in sha256:"), "{line}");
    assert!(line.contains("built since, identical, "), "{line}");
    let shown = place.anneal(&["candidate", "show", &format!("c{}", of_same[1]["id"])]).fine().out;
    assert!(
        shown.contains("same 1.0: ships as it was built, with lib-same as it is now; built with it, it is the same")
    );
    assert!(fate(&certificate, "dropin")["not_swapped"].as_str().unwrap().contains("shipped until it was built"));

    // What does not build is told, and opens nothing.
    assert_eq!(candidates(place, "stuck").len(), 2);
    assert_eq!(about(&events, "swap-settled", "stuck")[0].1["settling"]["settling"], "fails");
    assert!(text.contains("it does NOT build (stuck does not build, twice"), "{text}");
    // What the image's own run speaks against is built, and never was a candidate.
    assert_eq!(about(&events, "swap-settled", "imagetest")[0].1["settling"]["settling"], "dropped");
    assert_eq!(
        (candidates(place, "imagetest").len(), fate(&certificate, "imagetest")["fate"].clone()),
        (2, "rebuilt".into())
    );

    // The evidence names the library that it was really built with, and that is enough to build the image again.
    let manifest = of_dropin[1]["manifest"].as_str().unwrap();
    let told = place.predicate(manifest, "https://slsa.dev/provenance/v1");
    let swapped = &told["buildDefinition"]["internalParameters"]["swapped"];
    assert_eq!(swapped.as_array().unwrap().len(), 1, "{told}");
    let tree = about(&events, "package-kept", "dropin")[0].1["linked"]["lib-dropin"]["built_with"]["out"].clone();
    assert_eq!(
        (&swapped[0]["package"], &swapped[0]["linked"]["lib-dropin"]["builtWith"]["out"]),
        (&"dropin".into(), &tree)
    );
    daemon.stop();
    let promises = broken_promises(&Facts::read(&place.state).unwrap());
    assert!(promises.is_empty(), "{promises:?}");
    let there = dir.path().join("there");
    std::fs::create_dir(&there).unwrap();
    Notes::link_root(&there);
    let said = place.anneal(&["image", "reproduce", manifest, "--scratch", there.to_str().unwrap(), "--json"]).fine();
    assert_eq!(said.json()["rebuilt"], manifest);
}
