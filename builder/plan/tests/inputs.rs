//! What of a package a build is given, and what is in the key because of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is a test")]

use anneal_content::{BlobDigest, OutputName, PackageName, TreeDigest};
use anneal_plan::{Action, Derivation, Error, Inputs, Toolchain, derive};
use anneal_recipe::Catalog;

fn package(name: &str, requires: &str) -> (String, String) {
    let text = format!(
        "name = \"{name}\"\nsummary = \"{name}\"\nlicense = \"MIT\"\nversion = \"1\"\n\
         [[release]]\nversion = \"1\"\ndate = \"2020-01-01\"\n[build]\nrequires = [{requires}]\nsteps = [\"make\"]\n"
    );
    (format!("packages/{name}.toml"), text)
}

/// The derivation of a program that requires this.
fn program(requires: &str) -> Derivation {
    let files = [package("zlib", ""), package("program", requires)];
    let catalog = Catalog::parse(&files).unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)));
    let toolchain = Toolchain { build_root: BlobDigest::of(b"lock"), sandbox: 1, layer_writer: "writer".into() };
    let derived = derive(&catalog, &toolchain).unwrap();
    Derivation::clone(&derived.derivations[&derived.ids["program"]])
}

/// What zlib came out as: each of these outputs with this content.
fn built(outputs: &[(&str, &[u8])]) -> Inputs {
    let tree = |bytes: &[u8]| TreeDigest::from_bytes(*BlobDigest::of(bytes).as_bytes());
    let outputs = outputs.iter().map(|(name, bytes)| (OutputName::new(*name).unwrap(), tree(bytes)));
    Inputs::from([(PackageName::new("zlib").unwrap(), outputs.collect())])
}

fn key(requires: &str, outputs: &[(&str, &[u8])]) -> String {
    Action::resolve(&program(requires), &built(outputs)).unwrap().digest().unwrap().to_string()
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
    let resolved = Action::resolve(&program("\"zlib:static\""), &built(BEFORE)).unwrap();
    let mounted: Vec<_> = resolved.sysroot["zlib"].keys().map(OutputName::as_str).collect();
    assert_eq!(mounted, ["dev", "out", "static"], "who requires an output is given what every dependent is given too");
}

#[test]
fn an_output_that_was_asked_for_and_is_not_there_stops_the_build() {
    let error = Action::resolve(&program("\"zlib:static\""), &built(&[("out", b"o")])).unwrap_err();
    assert!(matches!(error, Error::NoOutput { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "program requires zlib:static, but the build of zlib left no file of that output, only of out; let it install \
         one, or require zlib alone"
    );
    let nothing_to_compile_against = [("out", b"o".as_slice())];
    assert!(Action::resolve(&program("\"zlib\""), &built(&nothing_to_compile_against)).is_ok());
}

#[test]
fn what_is_asked_for_is_part_of_the_derivation() {
    assert_ne!(program("\"zlib\"").id().unwrap(), program("\"zlib:static\"").id().unwrap());
}
