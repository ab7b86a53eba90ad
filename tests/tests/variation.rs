//! Builds in other surroundings: what must not show in a package, and who is told when it does.
//!
//! Each planted package lets one thing of its surroundings into its result, in the way that real ones do. All are tried
//! with everything varied at once, and each must be called by the name of what it lets in, and by no other.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

use anneal_tests::{Notes, scratch, skipped, wait_for};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path, time::Duration};

/// Name, what it needs, the commands whose output it ships, and why it is not reproducible.
const PLANTED: &[(&str, &[&str], &str, &[&str])] = &[
    ("clean", &[], "echo the same", &[]),
    (
        "many",
        &[],
        "for n in $(seq 40); do install -Dm644 /src/note.txt \"$OUT/usr/share/many/$n-$((n * 7919 % 41))\"; done",
        &[],
    ),
    ("names", &[], "uname -n", &["hostname"]),
    ("owner", &[], "id -u", &["user"]),
    ("masked", &[], "umask", &["umask"]),
    ("grouped", &[], "mkdir -p \"$OUT/usr/share/grouped\" && echo 1 >\"$OUT/usr/share/grouped/made\"", &[]),
    ("zone", &[], "date -d @0 +%H", &["timezone"]),
    ("tongue", &[], "echo \"$LC_ALL\"", &["locale"]),
    ("homely", &[], "echo ~", &["home"]),
    ("variables", &[], "env | cut -d= -f1 | grep -v LANG | sort", &["environment"]),
    ("search", &[], "echo \"$PATH\"", &["path"]),
    ("parallel", &[], "nproc", &["cpus"]),
    ("pointer", &[], "head -n1 /proc/self/maps | cut -d- -f1", &["addresses"]),
    ("mounted", &[], "stat -f -c %T \"$SRC\"", &["file-system"]),
    ("listing", &["many"], "ls -U \"$SYSROOT/usr/share/many\"", &["input-order"]),
    (
        "manifest",
        &[],
        "for n in $(seq 40); do touch \"$OUT/$((n * 7919 % 41))\"; done; ls -U \"$OUT\"; rm \"$OUT\"/*",
        &["file-system"],
    ),
    ("stamped", &[], "date", &["time"]),
    ("archived", &[], "touch /tmp/now && stat -c %Y /tmp/now", &["time"]),
    ("dice", &[], "head -c8 /dev/urandom | od -An -tx1", &["randomness"]),
    ("stubborn", &[], "test \"$(nproc)\" = 2 || exit 3", &["cpus"]),
    (
        "both",
        &[],
        "uname -n; mkdir -p \"$OUT/usr/share/both\"; id -u >/tmp/id; install -m644 /tmp/id \"$OUT/usr/share/both/id\"",
        &["hostname", "user"],
    ),
];

#[test]
fn each_planted_leak_is_caught_and_called_by_its_name() {
    let dir = scratch();
    let notes = Notes::with_small_root(dir.path());
    for (name, requires, commands, _) in PLANTED {
        notes.add_package(name, requires, commands);
    }
    let daemon = notes.place.daemon();
    let said = notes.place.anneal(&["build", "--vary", "--json", "--jobs", "2"]);
    assert_eq!(said.code, 1, "{}", said.err);
    let told = said.json();
    let packages: BTreeMap<&str, &Value> =
        told["packages"].as_array().unwrap().iter().map(|p| (p["package"].as_str().unwrap(), p)).collect();
    for (name, _, _, expected) in PLANTED {
        let package = packages[name];
        let elsewhere =
            package["not_varied"].as_array().unwrap().iter().any(|what| what.as_str().unwrap().contains("output"));
        if *name == "manifest" && elsewhere {
            // It lists its own output, which has no other place here.
            skipped(&package["not_varied"].to_string());
            continue;
        }
        let causes: Vec<_> =
            package["causes"].as_array().unwrap().iter().map(|c| c["cause"].as_str().unwrap()).collect();
        assert_eq!(causes, *expected, "{name}: {package:#}");
        assert_eq!(package["reproducible"], expected.is_empty(), "{name}");
    }
    // `note` itself is in the catalogue, too.
    let clean = 1 + PLANTED.iter().filter(|(.., causes)| causes.is_empty()).count();
    assert_eq!(told["of"], PLANTED.len() as u64 + 1);
    assert!(told["reproducible"] == clean as u64 || packages["manifest"]["reproducible"] == true);

    // The file, its bytes, and both values.
    let found = &packages["names"]["causes"][0]["files"][0];
    assert_eq!(found["place"]["at"], serde_json::json!(["out", "usr/share/names/found"]));
    let text = |hex: &Value| {
        let hex = hex.as_str().unwrap();
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        String::from_utf8(bytes.collect()).unwrap()
    };
    assert_eq!(text(&found["ranges"][0]["was"]), "anneal\n");
    assert_eq!(text(&found["ranges"][0]["is"]), "i-capture-the-hostname\n");
    let files =
        packages["both"]["causes"].as_array().unwrap().iter().map(|cause| cause["files"].as_array().unwrap().len());
    assert_eq!(files.collect::<Vec<_>>(), [1, 1], "each cause has its own file");
    assert_eq!(packages["stubborn"]["causes"][0]["files"][0]["differs"], "failed");

    // For people: the words, the place, the bytes of both, the rate.
    let said = notes.place.anneal(&["build", "--vary", "names", "clean"]);
    let said = said.refused(1, &["not reproducible: names"]);
    for words in [
        "clean 1.0 came out the same with 12 things varied at once",
        "names 1.0 is NOT reproducible: hostname",
        "out usr/share/names/found: has 23 bytes in place of 7",
        "not varied: kernel",
        "reproducible: 1 of 2 (50.0 %)",
    ] {
        assert!(said.out.contains(words), "no `{words}` in:\n{}", said.out);
    }
    // How the bytes differ is told by another program where it is, and else shown.
    let (shown, absent) = if Path::new("/usr/bin/diffoscope").is_file() {
        (["      @@ -1 +1 @@\n      -anneal\n      +i-capture-the-hostname\n"].as_slice(), "00000000")
    } else {
        skipped("no diffoscope");
        (["- 00000000  61 6e 6e 65 61 6c 0a", "+ 00000000  69 2d 63 61 70 74 75 72 65"].as_slice(), "diffoscope")
    };
    for words in shown {
        assert!(said.out.contains(words), "no `{words}` in:\n{}", said.out);
    }
    assert!(!said.out.contains(absent), "{}", said.out);
    daemon.stop();
}

#[test]
fn a_trial_is_evidence_and_never_a_result() {
    let dir = scratch();
    let notes = Notes::with_small_root(dir.path());
    notes.add_package("names", &[], "uname -n");
    let daemon = notes.place.daemon();
    let vary = |names: &[&str]| notes.place.anneal(&[&["build", "--vary", "--json"], names].concat());
    let first = vary(&["names"]).json();
    let again = vary(&["names"]).json();
    let action = |told: &Value| told["packages"][0]["action"].as_str().unwrap().to_owned();
    assert_eq!(action(&first), action(&again), "a trial has the action of the build itself");
    let found = |told: &Value| told["packages"][0]["causes"][0]["files"][0]["was"].as_str().unwrap().to_owned();
    assert_eq!(found(&first), found(&again), "what a trial gave is never what the next one is compared with");
    // The same trial twice is one piece of evidence.
    let results = |place: &anneal_tests::Place| {
        let facts = anneal_tests::Facts::read(&place.state).unwrap();
        facts.rows.keys().filter(|(table, _)| *table == "results").count()
    };
    let before = results(&notes.place);
    vary(&["names"]);
    assert_eq!(results(&notes.place), before);
    let events = notes.place.events();
    let tried: Vec<_> = events.iter().filter(|event| event["event"] == "package-tried").collect();
    assert_eq!(tried.len(), 3);
    assert_eq!(tried[0]["causes"], serde_json::json!(["hostname"]));
    daemon.stop();
}

#[test]
fn one_aspect_can_be_varied_alone_and_a_wrong_name_is_told_with_the_right_ones() {
    let dir = scratch();
    let notes = Notes::with_small_root(dir.path());
    notes.add_package("names", &[], "uname -n");
    let daemon = notes.place.daemon();
    notes.place.anneal(&["build", "--vary", "names", "--aspect", "umask", "--aspect", "cpus"]).fine();
    notes.place.anneal(&["build", "--vary", "names", "--aspect", "hostname"]).refused(1, &["not reproducible: names"]);
    notes.place.anneal(&["build", "--vary", "names", "--aspect", "weather"]).refused(2, &["is one of: hostname, user"]);
    notes.place.anneal(&["build", "--vary", "nmaes"]).refused(2, &["nmaes"]);
    notes.place.anneal(&["build", "--aspect", "umask"]).refused(2, &["--vary"]);
    daemon.stop();
}

#[test]
fn an_image_with_a_package_that_was_found_out_is_no_candidate_any_more() {
    let dir = scratch();
    // The number of processors is the one thing here that the proof beside each build leaves as it is.
    let notes = Notes::with_small_root(dir.path()).with_steps(&["mkdir -p \"$OUT/usr/share/note\" && nproc >\"$OUT/usr/share/note/cpus\" && test -s \"$OUT/usr/share/note/cpus\""]);
    notes.edit("cpus = 1", "cpus = 2");
    let daemon = notes.place.daemon();
    notes.place.anneal(&["build", "note"]).fine();
    let key = notes.place.approver("ada");
    let said = notes.place.anneal(&["build", "note", "--vary"]).refused(1, &["not reproducible: note"]);
    assert!(said.out.contains("note 1.0 is NOT reproducible: cpus"), "{}", said.out);
    notes.place.approve("c1", &key).refused(1, &[]);
    let check = wait_for("the image to be checked again", Duration::from_secs(60), || {
        Some(notes.place.anneal(&["image", "check", "note"])).filter(|said| said.code == 1)
    });
    for words in ["FAILED REP-02 note", "the same trees with these varied: cpus, time", "anneal build --vary note"] {
        assert!(check.out.contains(words), "no `{words}` in:\n{}", check.out);
    }
    assert_eq!(notes.place.candidates()[0]["status"], "open", "nothing was published");
    daemon.stop();
}
