//! `docs/sandbox-spec.schema.json` says what a spec is, and the examples beside it are specs.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "all of this is a test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anneal_sandbox::{CancelToken, Error, Kind, Spec};
use serde_json::Value;

const VALIDATE: &str = "import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
for path in sys.argv[2:]:
    jsonschema.validate(json.load(open(path)), schema, jsonschema.Draft202012Validator)
";

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn examples() -> Vec<(Kind, PathBuf)> {
    let of = |name: &str| docs(&format!("examples/sandbox/{name}.json"));
    vec![(Kind::Build, of("build")), (Kind::Test, of("test")), (Kind::Run, of("run"))]
}

fn names(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_examples_are_specs_of_their_kind() {
    for (kind, path) in examples() {
        let spec: Spec = serde_json::from_value(json(&path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(spec.kind, kind);
        spec.check().unwrap();
    }
}

/// As `docs/sandbox.md` tells to: the script, and then each.
#[test]
fn each_example_runs_as_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("example");
    let prepared = Command::new("sh").arg(docs("examples/sandbox/prepare")).arg(&place).output().unwrap();
    assert!(prepared.status.success(), "{prepared:?}");
    for (kind, path) in examples() {
        let written = place.join(path.file_name().unwrap());
        let spec = Spec::from_json(&std::fs::read(written).unwrap()).unwrap();
        if kind == Kind::Run && !Path::new("/usr/bin/python3").exists() {
            eprintln!("skipped: no python3 in /usr/bin to serve as the image");
            continue;
        }
        let mut log = Vec::new();
        let outcome = match anneal_sandbox::run(&spec, &mut log, &CancelToken::new()) {
            Err(Error::NamespacesForbidden { setting, .. }) => return eprintln!("skipped: {setting}"),
            other => other.unwrap(),
        };
        let log = String::from_utf8_lossy(&log);
        assert!(outcome.succeeded(), "{kind:?}: {} {log}", outcome.ended);
        if let Some(answer) = &outcome.probe {
            assert_eq!((answer.status, answer.body.as_slice()), (200, &b"fine\n"[..]));
        }
        assert_eq!(outcome.probe.is_some(), kind == Kind::Run, "{kind:?}: {log}");
    }
    assert_eq!(std::fs::read_to_string(place.join("runs/out/usr/bin/hello")).unwrap(), "#!/bin/sh\necho hello\n");
}

#[test]
fn the_schema_has_the_fields_of_a_spec_and_no_others() {
    let schema = json(&docs("sandbox-spec.schema.json"));
    let spec = serde_json::to_value(Spec::of(Kind::Build)).unwrap();
    assert_eq!(names(&schema["properties"]), names(&spec));
    assert_eq!(names(&schema["properties"]["limits"]["properties"]), names(&spec["limits"]));
    let required: BTreeSet<String> =
        schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    // What the schema asks for is what the parser can't do without.
    for name in names(&spec) {
        let mut without = spec.clone();
        without.as_object_mut().unwrap().remove(&name);
        assert_eq!(serde_json::from_value::<Spec>(without).is_err(), required.contains(&name), "{name}");
    }
}

#[test]
fn another_implementation_of_schemas_takes_the_examples_and_refuses_a_mistake() {
    let schema = docs("sandbox-spec.schema.json");
    let validate = |paths: &[PathBuf]| Command::new("python3").args(["-c", VALIDATE]).arg(&schema).args(paths).output();
    let Ok(output) = validate(&examples().into_iter().map(|(_, path)| path).collect::<Vec<_>>()) else {
        eprintln!("skipped: no python3");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("No module named 'jsonschema'") {
        eprintln!("skipped: no jsonschema for python3");
        return;
    }
    assert!(output.status.success(), "{said}");
    let dir = tempfile::tempdir().unwrap();
    for (field, value) in
        [("kind", "oven".into()), ("uid", (-1).into()), ("root", Value::Array(Vec::new())), ("oven", 1.into())]
    {
        let mut spec = json(&examples()[0].1);
        spec[field] = value;
        let path = dir.path().join("wrong.json");
        std::fs::write(&path, spec.to_string()).unwrap();
        assert!(!validate(&[path]).unwrap().status.success(), "{field}");
    }
}
