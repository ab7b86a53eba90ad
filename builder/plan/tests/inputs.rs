//! What of a package a build is given, and what is in the key because of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

use anneal_content::{BlobDigest, InterfaceDigest, OutputName, PackageName, TreeDigest};
use anneal_plan::{Action, Derivation, Error, Given, Inputs, Surface, Surfaces, Toolchain, derive};
use anneal_recipe::Catalog;
use std::collections::BTreeSet;

fn package(name: &str, requires: &str) -> (String, String) {
    package_that_runs_with(name, requires, "")
}

fn package_that_runs_with(name: &str, requires: &str, runs_with: &str) -> (String, String) {
    let text = format!(
        "name = \"{name}\"\nsummary = \"{name}\"\nlicense = \"MIT\"\nversion = \"1\"\n\
         [[release]]\nversion = \"1\"\ndate = \"2020-01-01\"\n[build]\nrequires = [{requires}]\nsteps = [\"make\"]\n\
         [runtime]\nrequires = [{runs_with}]\n"
    );
    (format!("packages/{name}.toml"), text)
}

fn toolchain() -> Toolchain {
    Toolchain {
        build_root: BlobDigest::of(b"lock"),
        sandbox: 1,
        layer_writer: "writer".into(),
        withdrawn: BTreeSet::new(),
    }
}

fn name(name: &str) -> PackageName {
    PackageName::new(name).unwrap()
}

/// The derivation of a program that requires this.
fn program(requires: &str) -> Derivation {
    let files = [package("zlib", ""), package("program", requires)];
    let catalog = Catalog::parse(&files).unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)));
    let derived = derive(&catalog, &toolchain()).unwrap();
    Derivation::clone(&derived.derivations[&derived.ids["program"]])
}

/// What zlib came out as: each of these outputs with this content.
fn built(outputs: &[(&str, &[u8])]) -> Inputs {
    let tree = |bytes: &[u8]| TreeDigest::from_bytes(*BlobDigest::of(bytes).as_bytes());
    let outputs = outputs.iter().map(|(name, bytes)| (OutputName::new(*name).unwrap(), tree(bytes)));
    Inputs::from([(name("zlib"), outputs.collect())])
}

fn key(requires: &str, outputs: &[(&str, &[u8])]) -> String {
    let program = program(requires);
    let mounted = program.mounts(&built(outputs)).unwrap();
    Action::by_content(&program, &mounted).digest().unwrap().to_string()
}

const BEFORE: &[(&str, &[u8])] = &[("dev", b"d"), ("doc", b"m"), ("out", b"o"), ("static", b"a"), ("tools", b"t")];

#[test]
fn an_output_that_nobody_asked_for_is_in_no_key() {
    let without = [BEFORE[0], BEFORE[2]];
    assert_eq!(key("\"zlib\"", BEFORE), key("\"zlib\"", &without));
    for (at, (name, _)) in BEFORE.iter().enumerate() {
        let mut after = BEFORE.to_vec();
        after[at].1 = b"another";
        let same = key("\"zlib\"", BEFORE) == key("\"zlib\"", &after);
        assert_eq!(same, !["dev", "out"].contains(name), "{name}");
    }
}

#[test]
fn an_archive_that_is_linked_is_in_the_key() {
    let mut after = BEFORE.to_vec();
    after[3].1 = b"another";
    assert_ne!(key("\"zlib:static\"", BEFORE), key("\"zlib:static\"", &after));
    assert_ne!(key("\"zlib:static\"", BEFORE), key("\"zlib\"", BEFORE), "it sees one output more");
    let mounted = program("\"zlib:static\"").mounts(&built(BEFORE)).unwrap();
    let mounted: Vec<_> = mounted["zlib"].keys().map(OutputName::as_str).collect();
    assert_eq!(mounted, ["dev", "out", "static"], "who requires an output is given what every dependent is given too");
}

#[test]
fn an_output_that_was_asked_for_and_is_not_there_stops_the_build() {
    let error = program("\"zlib:static\"").mounts(&built(&[("out", b"o")])).unwrap_err();
    assert!(matches!(error, Error::NoOutput { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "program requires zlib:static, but the build of zlib left no file of that output, only of out; let it install \
         one, or require zlib alone"
    );
    let nothing_to_compile_against = [("out", b"o".as_slice())];
    assert!(program("\"zlib\"").mounts(&built(&nothing_to_compile_against)).is_ok());
}

#[test]
fn what_is_asked_for_is_part_of_the_derivation() {
    assert_ne!(program("\"zlib\"").id().unwrap(), program("\"zlib:static\"").id().unwrap());
}

/// A program over libraries: `zlib` and `png`, which runs with it, and a tool that runs with both.
fn linking(withdrawn: &[&str]) -> Derivation {
    let files = [
        package("zlib", ""),
        package_that_runs_with("png", "\"zlib\"", "\"zlib\""),
        package("lua", ""),
        package_that_runs_with("optimise", "\"png\"", "\"png\""),
        package("program", "\"optimise\", \"lua\""),
    ];
    let catalog = Catalog::parse(&files).unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)));
    let withdrawn = withdrawn.iter().copied().map(name).collect();
    let derived = derive(&catalog, &Toolchain { withdrawn, ..toolchain() }).unwrap();
    Derivation::clone(&derived.derivations[&derived.ids["program"]])
}

/// Which inputs the action of a program names by interface; these have something that can run, and of those nothing is known.
fn by_interface(derivation: &Derivation, runs: &[&str], unknown: &[&str]) -> Vec<String> {
    let mut mounted = Inputs::new();
    let mut surfaces = Surfaces::new();
    for input in derivation.requires.keys() {
        let tree = TreeDigest::from_bytes(*BlobDigest::of(input.as_str().as_bytes()).as_bytes());
        mounted.insert(input.clone(), [(OutputName::out(), tree)].into());
        if !unknown.contains(&input.as_str()) {
            let interface = InterfaceDigest::of(input.as_str().as_bytes());
            surfaces.insert(input.clone(), Surface { interface, has_executables: runs.contains(&input.as_str()) });
        }
    }
    let action = Action::of(derivation, &mounted, &surfaces);
    assert_eq!(action.sysroot.len(), 4, "everything that stands there is named");
    let named = action.sysroot.into_iter().filter(|(_, given)| matches!(given, Given::Interface(_)));
    named.map(|(name, _)| name.to_string()).collect()
}

#[test]
fn only_what_nothing_can_run_of_is_named_by_interface() {
    let all = ["lua", "optimise", "png", "zlib"];
    assert_eq!(by_interface(&linking(&[]), &[], &[]), all);
    assert_eq!(by_interface(&linking(&[]), &["lua"], &[]), ["optimise", "png", "zlib"]);
    // what a program of the sysroot runs with runs, too, however far down
    assert_eq!(by_interface(&linking(&[]), &["optimise"], &[]), ["lua"]);
    assert_eq!(by_interface(&linking(&[]), &["png"], &[]), ["lua", "optimise"]);
}

#[test]
fn what_is_not_known_is_named_by_content_and_so_is_what_it_runs_with() {
    assert_eq!(by_interface(&linking(&[]), &[], &["zlib"]), ["lua", "optimise", "png"]);
    assert_eq!(by_interface(&linking(&[]), &[], &["png"]), ["lua", "optimise"]);
    assert_eq!(by_interface(&linking(&[]), &[], &["lua", "optimise", "png", "zlib"]), [""; 0]);
}

#[test]
fn a_package_whose_cut_off_is_withdrawn_names_everything_by_content() {
    assert_eq!(by_interface(&linking(&["program"]), &[], &[]), [""; 0]);
    assert_eq!(
        by_interface(&linking(&["zlib"]), &[], &[]).len(),
        4,
        "it is about who links, and not about the library"
    );
}

#[test]
fn an_action_follows_the_interface_of_what_it_links_and_the_proof_of_it_follows_every_byte() {
    let program = program("\"zlib\"");
    let keys = |interface: &[u8], content: &'static [u8]| {
        let mounted = program.mounts(&built(&[("out", content)])).unwrap();
        let surface = Surface { interface: InterfaceDigest::of(interface), has_executables: false };
        let action = Action::of(&program, &mounted, &[(name("zlib"), surface)].into()).digest().unwrap();
        (action, Action::by_content(&program, &mounted).digest().unwrap())
    };
    let (action, proof) = keys(b"i", b"code");
    assert_eq!((action, false), (keys(b"i", b"patched").0, proof == keys(b"i", b"patched").1));
    assert_ne!(action, keys(b"another", b"code").0);
    assert_ne!(action, proof);
}
