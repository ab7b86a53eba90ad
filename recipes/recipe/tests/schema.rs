//! The schemas in `docs/` are those that the readers give, and take and refuse what the readers take and refuse.
//!
//! `UPDATE_GOLDEN=1` writes them anew.

// Tests read their fixtures from disk; clippy knows only functions marked as tests to be tests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::indexing_slicing
)]

use anneal_recipe::{Kind, schema};
use regex::Regex;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

mod cases;
mod catalogue;
use cases::{CASES, IMAGE, MUSL, NGINX, ZLIB};

/// What no schema can see: names and versions that must be known, what stands in several tables, forms with a meaning.
const BEYOND_A_SCHEMA: &[&str] = &[
    "invalid-license",
    "deprecated-license",
    "broken-license-expression",
    "bad-date",
    "unpacked-outside",
    "path-place-that-leaves",
    "version-not-listed",
    "release-listed-twice",
    "source-file-used-twice",
    "reserved-variable",
    "unknown-build-requirement",
    "unknown-output",
    "output-of-an-unknown-package",
    "unknown-runtime-requirement",
    "unknown-test-requirement",
    "cycle",
    "package-that-needs-itself",
    "declared-twice",
    "output-with-half-a-double-star",
    "output-listed-twice",
    "image-of-an-unknown-package",
    "no-tags",
    "version-of-an-absent-package",
    "version-of-an-unknown-package",
    "file-that-leaves-the-image",
    "file-and-directory-at-one-path",
    "directory-beneath-a-file",
    "uid-used-twice",
    "run-of-nothing",
];

fn docs(kind: Kind) -> PathBuf {
    let name = match kind {
        Kind::Package => "recipe-package",
        Kind::Image => "recipe-image",
    };
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/{name}.schema.json"))
}

fn schema_of(kind: Kind) -> Value {
    serde_json::from_str(&schema(kind)).unwrap()
}

/// A recipe as an editor's language server hands it to a schema: a day is a text.
fn json(text: &str) -> Value {
    fn of(value: toml::Value) -> Value {
        match value {
            toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, of(value))).collect(),
            toml::Value::Array(array) => array.into_iter().map(of).collect(),
            toml::Value::Datetime(day) => day.to_string().into(),
            other => serde_json::to_value(other).unwrap(),
        }
    }
    of(toml::Value::Table(text.parse().unwrap()))
}

/// Every recipe of the real catalogue and of the tests' own.
fn recipes() -> Vec<(Kind, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = catalogue::files();
    for folder in ["packages", "images"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            files.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    files.into_iter().map(|(path, text)| (Kind::of(&path).unwrap(), path, text)).collect()
}

/// The cases that are TOML, each with the file that the mistake is in, but for those that no schema can see.
fn mistakes_of_shape() -> Vec<(Kind, &'static str, String)> {
    assert!([ZLIB, MUSL, NGINX, IMAGE].iter().all(|path| Kind::of(path).is_some()));
    let seen = CASES.iter().filter(|(name, ..)| !BEYOND_A_SCHEMA.contains(name));
    let text = |(name, path, old, new): &cases::Case| {
        let files = catalogue::changed(&[(path, old, new)]);
        let text = files.into_iter().find(|(file, _)| file == path).unwrap().1;
        text.parse::<toml::Table>().is_ok().then(|| (Kind::of(path).unwrap(), *name, text))
    };
    seen.filter_map(text).collect()
}

/// What a schema has against a value: all the words that our schemas use, and a panic at any other.
fn complaints(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, rule) in schema.as_object().unwrap() {
        let holds = match word.as_str() {
            "$schema" | "title" | "description" => true,
            "type" => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_i64() || value.is_u64(),
                other => panic!("{other}"),
            },
            "required" => {
                let names = rule.as_array().unwrap();
                value.as_object().is_none_or(|o| names.iter().all(|name| o.contains_key(name.as_str().unwrap())))
            }
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    if let Some(rule) = rule.get(key) {
                        found.extend(complaints(rule, value, &format!("{at}.{key}")));
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = |key: &str| schema.get("properties").is_some_and(|known| known.get(key).is_some());
                let more = value.as_object().into_iter().flatten().filter(|(key, _)| !known(key));
                for (key, value) in more {
                    match rule {
                        Value::Bool(false) => found.push(format!("{at}.{key} is not known")),
                        rule => found.extend(complaints(rule, value, &format!("{at}.{key}"))),
                    }
                }
                true
            }
            "propertyNames" => {
                for (key, _) in value.as_object().into_iter().flatten() {
                    found.extend(complaints(rule, &Value::from(key.as_str()), &format!("{at}.{key}")));
                }
                true
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(complaints(rule, value, &format!("{at}[{index}]")));
                }
                true
            }
            "minItems" => value.as_array().is_none_or(|array| array.len() as u64 >= rule.as_u64().unwrap()),
            "uniqueItems" => {
                value.as_array().is_none_or(|array| array.iter().enumerate().all(|(i, v)| !array[..i].contains(v)))
            }
            "minimum" => value.as_i64().is_none_or(|n| n >= rule.as_i64().unwrap()),
            "maximum" => value.as_i64().is_none_or(|n| n <= rule.as_i64().unwrap()),
            "pattern" => value.as_str().is_none_or(|text| Regex::new(rule.as_str().unwrap()).unwrap().is_match(text)),
            "allOf" => {
                rule.as_array().unwrap().iter().for_each(|rule| found.extend(complaints(rule, value, at)));
                true
            }
            "anyOf" => rule.as_array().unwrap().iter().any(|rule| complaints(rule, value, at).is_empty()),
            "not" => !complaints(rule, value, at).is_empty(),
            other => panic!("what is `{other}`?"),
        };
        if !holds {
            found.push(format!("{at}: {word} {rule}"));
        }
    }
    found
}

#[test]
fn the_schemas_beside_the_documentation_are_those_of_the_readers() {
    for kind in [Kind::Package, Kind::Image] {
        let (path, text) = (docs(kind), schema(kind));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "{} is not the readers' schema; UPDATE_GOLDEN=1 rewrites it", path.display());
    }
}

#[test]
fn every_recipe_of_the_catalogue_is_taken() {
    for (kind, path, text) in recipes() {
        assert_eq!(complaints(&schema_of(kind), &json(&text), &path), [] as [String; 0]);
    }
}

#[test]
fn what_is_beyond_a_schema_is_taken_by_it() {
    // So that the list above names no case that a schema does see.
    for (name, path, old, new) in CASES.iter().filter(|(name, ..)| BEYOND_A_SCHEMA.contains(name)) {
        let files = catalogue::changed(&[(path, old, new)]);
        let (_, text) = files.iter().find(|(file, _)| file == path).unwrap();
        assert_eq!(complaints(&schema_of(Kind::of(path).unwrap()), &json(text), name), [] as [String; 0]);
    }
}

#[test]
fn a_mistake_of_shape_is_refused() {
    let taken = |(kind, name, text): (Kind, &'static str, String)| {
        complaints(&schema_of(kind), &json(&text), "recipe").is_empty().then_some(name)
    };
    let taken: Vec<_> = mistakes_of_shape().into_iter().filter_map(taken).collect();
    assert_eq!(taken, [] as [&str; 0], "a schema takes what the readers refuse");
}

const VALIDATE: &str = "import json, sys, jsonschema
schemas = {kind: json.load(open(path)) for kind, path in zip(('Package', 'Image'), sys.argv[1:])}
for schema in schemas.values():
    jsonschema.Draft7Validator.check_schema(schema)
for kind, name, recipe, good in json.load(sys.stdin):
    errors = list(jsonschema.Draft7Validator(schemas[kind]).iter_errors(recipe))
    assert bool(errors) != good, (name, errors)
";

#[test]
fn another_implementation_of_schemas_agrees() {
    let good = recipes().into_iter().map(|recipe| (recipe, true));
    let wrong = mistakes_of_shape().into_iter().map(|(kind, name, text)| ((kind, name.to_owned(), text), false));
    let all: Vec<_> = good
        .chain(wrong)
        .map(|((kind, name, text), good)| serde_json::json!([format!("{kind:?}"), name, json(&text), good]))
        .collect();
    let mut python = Command::new("python3");
    python.args(["-c", VALIDATE]).args([docs(Kind::Package), docs(Kind::Image)]);
    let piped = || std::process::Stdio::piped();
    let Ok(mut child) = python.stdin(piped()).stderr(piped()).spawn() else {
        eprintln!("skipped: no python3");
        return;
    };
    // It may end before it reads everything, and says why.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), Value::from(all).to_string().as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("No module named 'jsonschema'") {
        eprintln!("skipped: no jsonschema for python3");
        return;
    }
    assert!(output.status.success(), "{said}");
}
