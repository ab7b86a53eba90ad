//! JSON Schema for editors: which keys there are, which must be, what they hold, and what they mean.
//!
//! The structure comes from the readers themselves (see [`crate::shape`]); the words and the forms of texts stand here,
//! in one table, and a test holds that every key has its words and no words are left over. What a schema can't say (that
//! a name is known, that a version is listed, that a licence is one of SPDX's) is said by `anneal recipe check`.

use crate::{
    Kind,
    read::shape,
    shape::{Asked, Key, Shape},
};
use serde_json::{Map, Value, json};

const NAME: &str = "^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$";
const OUTPUT: &str = "^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$";
const REQUIREMENT: &str = "^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?(:[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?)?$";
const SHA256: &str = "^[0-9a-f]{64}$";
const DATE: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";
const PLACE: &str = "^(https://[^/@]+/.+|path:[^/].*|debian:pool/.+|debian-security:pool/.+|crate:[^/]+/[^/]+|pypi:[^/]+/[^/]+/[^/]+|npm:(@[^/]+/)?[^/]+/[^/]+|go:[^/@]+[.][^@]*@v[^/]+(/go[.]mod)?|git[+]https://.+@([0-9a-f]{40}|[0-9a-f]{64}))$";
const BENEATH: &str = "^[^/]";
const STEP: &str = "[^ \\t\\n]";
const GLOB: &str = "^[^/\\[\\]{}][^\\[\\]{}]*$";
const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
const URL: &str = "^https?://";
const ABSOLUTE: &str = "^/";
const OWNER: &str = "^[0-9]+:[0-9]+$";
const CHECK: &str = "^[A-Z]{2,4}-[0-9]{2}$";

/// What one key is for, and the form of its text, or of each text in its list; no form: any text.
type Words = (&'static str, &'static str, Option<&'static str>);

const PACKAGE: &[Words] = &[
    ("name", "The package's name.", Some(NAME)),
    (
        "replaces",
        "The upstream catalogue of anneal.toml whose recipe of this name it replaces.",
        Some("^[a-z0-9._-]+$"),
    ),
    ("summary", "One line for people.", None),
    ("homepage", "The project's page.", Some(URL)),
    ("license", "An SPDX expression; `LicenseRef-name` is a licence of its own.", None),
    ("version", "Which of the releases is built.", None),
    ("upstream", "Who it is upstream, for advisories.", None),
    ("upstream.purl", "Its package URL, without a version.", Some("^pkg:[a-z0-9]+/[^@?#]+$")),
    (
        "upstream.cpe",
        "Part, vendor and product of its CPE 2.3 name, without a version.",
        Some("^cpe:2\\.3:[aho]:[^:]+:[^:]+$"),
    ),
    ("upstream.repository", "Its source repository.", Some(URL)),
    ("upstream.names", "What each ecosystem calls it.", Some("^[^:]+:.+$")),
    ("release", "Every release that may be built, oldest first.", None),
    ("release.version", "The version, as upstream writes it.", None),
    ("release.date", "When upstream released it; its midnight UTC is the build's SOURCE_DATE_EPOCH.", Some(DATE)),
    (
        "release.locked",
        "Files of registries that the program's own lock file names; `anneal recipe lock sources` writes them.",
        Some("^(crate|go|npm|pypi):[^ ]+ [0-9a-f]{64} [1-9][0-9]*$"),
    ),
    ("release.source", "The files that it is built from.", None),
    ("release.source.sha256", "The file's SHA-256: what is trusted, wherever it comes from.", Some(SHA256)),
    ("release.source.bytes", "The file's size.", None),
    ("release.source.file", "Its name under /src in the build.", Some("^[^/]+$")),
    (
        "release.source.unpack",
        "Where beneath /build it is unpacked, less one leading directory; left out: it isn't.",
        Some(BENEATH),
    ),
    ("release.source.places", "Where the file may be found.", Some(PLACE)),
    ("build", "How it is built.", None),
    (
        "build.requires",
        "Packages mounted at /sysroot, with what they need to run; `name:output` adds an output beside out and dev.",
        Some(REQUIREMENT),
    ),
    ("build.cpus", "How many CPUs the build is shown; part of its identity. Default: 2.", None),
    ("build.timeout-minutes", "After how many minutes it is stopped. Default: 30.", None),
    ("build.memory-mib", "How much memory it may use. Default: 2048.", None),
    (
        "build.workdir",
        "Where the steps begin, beneath /build; left out: where the first unpacked source went.",
        Some(BENEATH),
    ),
    ("build.env", "Variables beside OUT, JOBS and SOURCE_DATE_EPOCH.", None),
    ("build.steps", "What is run, each by /bin/sh -eu.", Some(STEP)),
    ("runtime", "What it needs to run.", None),
    ("runtime.requires", "Packages that must be there for it to run.", Some(NAME)),
    ("output", "Which files belong to which output; the first rule that fits counts.", None),
    ("output.name", "The output's name.", Some(OUTPUT)),
    ("output.paths", "Patterns of its files, without a leading slash.", Some(GLOB)),
    ("test", "How it is tested after it is built.", None),
    ("test.requires", "Packages beside it and what it needs to run.", Some(NAME)),
    ("test.steps", "What is run, each by /bin/sh -eu.", Some(STEP)),
    ("checks", "Findings that are accepted.", None),
    ("checks.allow", "Each with its reason.", None),
    ("checks.allow.check", "The check's number.", Some(CHECK)),
    ("checks.allow.reason", "Why its finding is accepted.", None),
];

const IMAGE: &[Words] = &[
    ("name", "The image's name, and its repository's; it may have parts.", Some("^[a-z0-9][a-z0-9._/-]*$")),
    (
        "replaces",
        "The upstream catalogue of anneal.toml whose recipe of this name it replaces.",
        Some("^[a-z0-9._-]+$"),
    ),
    ("summary", "One line for people.", None),
    ("packages", "What it contains; what they need to run comes with them.", Some(NAME)),
    ("user", "Who runs the first process, in numbers. Default: 65532:65532.", Some(OWNER)),
    ("workdir", "Where the first process starts. Default: /.", Some(ABSOLUTE)),
    ("entrypoint", "The program and its fixed arguments.", None),
    ("cmd", "Arguments, or the whole command where there is no entrypoint.", None),
    ("env", "The environment.", None),
    ("ports", "What it listens on, such as 8080/tcp.", Some("^[0-9]+/(tcp|udp)$")),
    ("stop-signal", "The signal that stops it.", Some("^SIG(TERM|INT|QUIT|HUP|USR1|USR2|WINCH|KILL)$")),
    ("labels", "Labels in the image's configuration.", None),
    ("annotations", "Annotations on its manifest.", None),
    ("layer-budget", "How many layers the packages may take. Default: 10.", None),
    ("compression", "How layers are compressed. Default: gzip.", Some("^(gzip|zstd)$")),
    ("tags", "Its tags. Default: latest.", Some("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")),
    ("version-of", "The package whose version is a tag as well.", Some(NAME)),
    ("account", "Accounts of the image.", None),
    ("account.name", "The login name.", Some("^[a-z_][a-z0-9_-]{0,31}$")),
    ("account.uid", "The user's number.", None),
    ("account.gid", "The group's number.", None),
    ("account.home", "The home directory. Default: /.", Some(ABSOLUTE)),
    ("account.shell", "The shell. Default: /sbin/nologin.", Some(ABSOLUTE)),
    ("directory", "Directories of the metadata layer.", None),
    ("directory.path", "Where.", Some("^/.")),
    ("directory.mode", "Octal, in quotes, without setuid and setgid. Default: 0755.", Some("^[01]?[0-7]{3}$")),
    ("directory.owner", "Whom it belongs to, in numbers. Default: 0:0.", Some(OWNER)),
    ("file", "Files of the metadata layer; they belong to root.", None),
    ("file.path", "Where.", Some("^/.")),
    ("file.mode", "Octal, in quotes, without setuid and setgid. Default: 0644.", Some("^0?[0-7]{3}$")),
    ("file.content", "What it holds.", None),
    ("run", "How it is shown that the image runs.", None),
    ("run.argv", "The whole command, instead of the image's own.", None),
    ("run.args", "Arguments after the entrypoint, instead of cmd.", None),
    ("run.http", "It must answer one request.", None),
    ("run.http.port", "Where it listens.", None),
    ("run.http.path", "What is asked for. Default: /.", Some(ABSOLUTE)),
    ("run.http.status", "What it must answer. Default: 200.", None),
    ("run.exits", "It must end by itself, with this status.", None),
    ("run.stdout-contains", "It must write this before it ends.", None),
    ("checks", "Findings that are accepted.", None),
    ("checks.allow", "Each with its reason.", None),
    ("checks.allow.check", "The check's number.", Some(CHECK)),
    ("checks.allow.reason", "Why its finding is accepted.", None),
    ("policy", "What may be done for a fix to ship sooner.", None),
    (
        "policy.compatible-swap",
        "When a package keeps its build though an advisory moved a library that it links, to one that is a drop-in. Default: never.",
        Some("^(never|security)$"),
    ),
];

/// Lists that may not be empty.
const NOT_EMPTY: [&str; 4] = ["release", "release.source.places", "build.steps", "run.argv"];

/// Lists of which the order means something and in which nothing may stand twice all the same.
const NONE_TWICE: [&str; 1] = ["release.source.places"];
/// Tables whose keys are names of variables.
const VARIABLES: [&str; 2] = ["build.env", "env"];

/// The schema of a kind of recipe, as it stands in `docs/`.
pub fn schema(kind: Kind) -> String {
    let (title, words) = match kind {
        Kind::Package => ("A package recipe", PACKAGE),
        Kind::Image => ("An image recipe", IMAGE),
    };
    let mut schema = Map::new();
    schema.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
    schema.insert("title".into(), json!(title));
    schema.extend(table(&shape(kind), "", words));
    let mut text = serde_json::to_string_pretty(&Value::Object(schema)).unwrap_or_default();
    text.push('\n');
    text
}

fn table(shape: &Shape, prefix: &str, words: &[Words]) -> Map<String, Value> {
    let properties: Map<String, Value> = shape
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key, &format!("{prefix}{}", key.name), words)))
        .collect();
    let required: Vec<_> = shape.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut table = Map::new();
    table.insert("type".into(), json!("object"));
    table.insert("additionalProperties".into(), json!(false));
    if !required.is_empty() {
        table.insert("required".into(), json!(required));
    }
    table.insert("properties".into(), Value::Object(properties));
    let one = shape.one_of.iter().map(|(a, b)| json!({ "anyOf": [{ "required": [a] }, { "required": [b] }] }));
    let both = shape.exclusive.iter().map(|(a, b)| json!({ "not": { "required": [a, b] } }));
    let rules: Vec<_> = one.chain(both).collect();
    if !rules.is_empty() {
        table.insert("allOf".into(), json!(rules));
    }
    table
}

fn property(key: &Key, path: &str, words: &[Words]) -> Value {
    let (_, meaning, form) = words.iter().find(|(at, ..)| *at == path).copied().unwrap_or((path, "", None));
    let mut text = Map::from_iter([("type".to_owned(), json!("string"))]);
    text.extend(form.map(|form| ("pattern".to_owned(), json!(form))));
    let nested = || table(&key.table, &format!("{path}."), words);
    let mut property = match key.asked {
        Asked::Text => text,
        Asked::Number { least, most } => object(json!({ "type": "integer", "minimum": least, "maximum": most })),
        Asked::Texts => object(json!({ "type": "array", "items": text })),
        Asked::Set => object(json!({ "type": "array", "uniqueItems": true, "items": text })),
        Asked::Map => object(json!({ "type": "object", "additionalProperties": { "type": "string" } })),
        Asked::Table => nested(),
        Asked::Tables => object(json!({ "type": "array", "items": nested() })),
    };
    if NOT_EMPTY.contains(&path) {
        property.insert("minItems".into(), json!(1));
    }
    if NONE_TWICE.contains(&path) {
        property.insert("uniqueItems".into(), json!(true));
    }
    if VARIABLES.contains(&path) {
        property.insert("propertyNames".into(), json!({ "pattern": VARIABLE }));
    }
    if !meaning.is_empty() {
        property.insert("description".into(), json!(meaning));
    }
    Value::Object(property)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(shape: &Shape, prefix: &str) -> Vec<String> {
        let each = |key: &Key| {
            let path = format!("{prefix}{}", key.name);
            let nested = paths(&key.table, &format!("{path}."));
            std::iter::once(path).chain(nested).collect::<Vec<_>>()
        };
        shape.keys.iter().flat_map(each).collect()
    }

    #[test]
    fn every_key_that_a_reader_asks_for_has_its_words_and_no_words_are_left_over() {
        for (kind, words) in [(Kind::Package, PACKAGE), (Kind::Image, IMAGE)] {
            let written: Vec<_> = words.iter().map(|(path, ..)| (*path).to_owned()).collect();
            assert_eq!(written, paths(&shape(kind), ""), "{kind:?}");
        }
        let known = |path: &'static str| PACKAGE.iter().chain(IMAGE).any(|(at, ..)| *at == path);
        assert!(NOT_EMPTY.iter().chain(&NONE_TWICE).chain(&VARIABLES).all(|path| known(path)));
    }
}
