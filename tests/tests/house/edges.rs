//! Which crate may need which: the table, held against the manifests, the lock and `docs/architecture.md`.

use crate::{code::PURE, none, top};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};
use toml::{Table, Value};

/// Every crate, where it lives, and which of ours it needs to be built. A new edge is a commit of its own, with a reason.
const EDGES: &[(&str, &str, &[&str])] = &[
    ("content", "builder/content", &[]),
    ("recipe", "recipes/recipe", &["content"]),
    ("fetch", "recipes/fetch", &["content", "recipe"]),
    ("interface", "builder/interface", &["content"]),
    ("plan", "builder/plan", &["content", "recipe"]),
    ("oci", "builder/oci", &["content"]),
    ("checks", "builder/checks", &["content"]),
    ("attest", "builder/attest", &["content"]),
    ("capture", "builder/capture", &["content"]),
    ("store", "builder/store", &["content", "capture"]),
    ("sandbox-op", "sandbox/op", &[]),
    ("sandbox-init", "sandbox/init", &["sandbox-op"]),
    ("embed", "sandbox/embed", &[]),
    ("sandbox", "sandbox", &["sandbox-op", "embed"]),
    ("measure", "tests/measure", &[]),
    ("attack-program", "tests/attack/program", &[]),
    ("attack", "tests/attack", &["sandbox", "embed"]),
    (
        "builder",
        "builder",
        &["content", "recipe", "fetch", "interface", "store", "plan", "oci", "checks", "attest", "sandbox"],
    ),
    ("advisory", "daemon/advisory", &["content"]),
    ("index", "daemon/index", &["content", "advisory"]),
    ("ledger", "daemon/ledger", &["content"]),
    ("registry", "daemon/registry", &["content", "oci", "store"]),
    ("api", "daemon/api", &["content"]),
    (
        "anneal",
        "daemon",
        &[
            "content", "recipe", "fetch", "builder", "store", "plan", "oci", "checks", "attest", "sandbox", "advisory",
            "index", "ledger", "registry", "api", "attack",
        ],
    ),
];

/// What must not be within reach of a pure crate, not even of its tests, by whatever road.
const NOT_NEAR_PURE: &[&str] =
    &["anneal-store", "librocksdb-sys", "rocksdb", "tokio", "nix", "axum", "hyper", "ureq", "rustls"];

/// Crates from elsewhere that only these of ours may need.
const RESERVED: &[(&str, &[&str])] = &[
    ("rocksdb", &["store", "index"]),
    ("tokio", &["registry", "anneal"]),
    ("axum", &["registry", "anneal"]),
    ("ureq", &["fetch", "store", "anneal"]),
    ("libc", &["sandbox", "sandbox-init", "attack-program"]),
    ("anyhow", &["anneal"]),
];

/// The outside seen from outside: they may need anything, and nothing needs them.
const TESTS: &[&str] = &["tests", FUZZ, "tests/power"];
/// Compiled with coverage counters, all over again.
const FUZZ: &str = "tests/fuzz";

fn package(name: &str) -> String {
    if name == "anneal" { name.to_owned() } else { format!("anneal-{name}") }
}

fn manifest(folder: &str) -> Table {
    let path = top().join(folder).join("Cargo.toml");
    fs::read_to_string(&path).unwrap().parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The names in a manifest's tables of dependencies, those for one platform included.
fn needs(manifest: &Table, kinds: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let platforms = manifest.get("target").and_then(Value::as_table);
    let tables = platforms.into_iter().flat_map(|t| t.values()).filter_map(Value::as_table);
    for table in tables.chain([manifest]) {
        let kinds = kinds.iter().filter_map(|kind| table.get(*kind)).filter_map(Value::as_table);
        names.extend(kinds.flat_map(|t| t.keys().cloned()));
    }
    names
}

fn edges(name: &str, manifest: &Table, allowed: &[&str]) -> Vec<String> {
    let found = needs(manifest, &["dependencies", "build-dependencies"]);
    let found: BTreeSet<String> = found.into_iter().filter(|n| n == "anneal" || n.starts_with("anneal-")).collect();
    let allowed: BTreeSet<String> = allowed.iter().map(|name| package(name)).collect();
    let new = found.difference(&allowed).map(|to| format!("{name} -> {to}: not in the table"));
    new.chain(allowed.difference(&found).map(|to| format!("{name} -> {to}: in the table only"))).collect()
}

#[test]
fn crates_need_each_other_exactly_as_the_table_says() {
    let example: Table = "[dependencies]\nanneal-store = \"1\"\nserde = \"1\"".parse().unwrap();
    assert_eq!(edges("plan", &example, &["content"]).len(), 2);
    let complaints: Vec<String> =
        EDGES.iter().flat_map(|(name, folder, allowed)| edges(name, &manifest(folder), allowed)).collect();
    none("a new edge between crates is a commit of its own, with a reason", &complaints);
}

#[test]
fn every_crate_is_in_the_table_under_its_name() {
    let workspace = manifest("");
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<&str> = members.iter().map(|m| m.as_str().unwrap()).collect();
    let known: BTreeSet<&str> = EDGES.iter().map(|(_, folder, _)| *folder).chain(TESTS.iter().copied()).collect();
    assert_eq!(members, known);
    for (name, folder, _) in EDGES {
        assert_eq!(manifest(folder)["package"]["name"].as_str(), Some(package(name).as_str()), "{folder}");
    }
}

#[test]
fn the_architecture_page_has_the_same_edges() {
    let page = fs::read_to_string(top().join("docs/architecture.md")).unwrap();
    let rows = EDGES.iter().map(|(name, folder, allowed)| {
        let needs = if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") };
        format!("| `{name}` | `{folder}` | {needs} |")
    });
    let missing: Vec<String> = rows.filter(|row| !page.lines().any(|line| line == row)).collect();
    none("docs/architecture.md lacks these rows", &missing);
}

fn reserved(name: &str, manifest: &Table) -> Vec<String> {
    let found = needs(manifest, &["dependencies", "build-dependencies"]);
    let broken = RESERVED.iter().filter(|(what, whose)| found.contains(*what) && !whose.contains(&name));
    broken.map(|(what, whose)| format!("{name} needs {what}, which is for {}", whose.join(", "))).collect()
}

#[test]
fn what_is_heavy_or_blurs_errors_has_few_homes() {
    let example: Table = "[dependencies]\ntokio = \"1\"".parse().unwrap();
    assert_eq!(reserved("plan", &example).len(), 1);
    assert_eq!(reserved("registry", &example).len(), 0);
    let complaints: Vec<String> =
        EDGES.iter().flat_map(|(name, folder, _)| reserved(name, &manifest(folder))).collect();
    none("these crates from elsewhere have homes", &complaints);
}

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The lock's packages by name, each with what it needs, its tests included for our own.
fn locked(lock: &str) -> Graph {
    let lock: Table = lock.parse().unwrap();
    let mut graph = Graph::new();
    for package in lock["package"].as_array().unwrap() {
        let needs = package.get("dependencies").and_then(Value::as_array).cloned().unwrap_or_default();
        // An entry is a name, with a version behind it where there are several.
        let names = needs.iter().filter_map(Value::as_str).filter_map(|n| n.split(' ').next()).map(str::to_owned);
        graph.entry(package["name"].as_str().unwrap().to_owned()).or_default().extend(names);
    }
    graph
}

fn within_reach(graph: &Graph, from: &str) -> BTreeSet<String> {
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(name) = waiting.pop() {
        let needs = graph.get(&name).unwrap_or_else(|| panic!("{name} is not in the lock"));
        waiting.extend(needs.iter().filter(|n| seen.insert((*n).clone())).cloned());
    }
    seen
}

#[test]
fn pure_crates_are_built_and_tested_without_database_network_or_kernel() {
    let example = "[[package]]\nname = \"a\"\ndependencies = [\"b 1.0.0\"]\n[[package]]\nname = \"b\"\n\
                   dependencies = [\"tokio\"]\n[[package]]\nname = \"tokio\"\n";
    assert!(within_reach(&locked(example), "a").contains("tokio"));
    let graph = locked(&fs::read_to_string(top().join("Cargo.lock")).unwrap());
    let pure = EDGES.iter().filter(|(_, folder, _)| PURE.contains(folder));
    let mut complaints = Vec::new();
    for (name, ..) in pure {
        let reach = within_reach(&graph, &package(name));
        let bad = NOT_NEAR_PURE.iter().filter(|what| reach.contains(**what));
        complaints.extend(bad.map(|what| format!("{name} reaches {what}")));
    }
    none("a pure crate compiles in seconds, anywhere", &complaints);
}

/// With counters, a database would take 13 minutes more, and a program with many threads tells the fuzzer nothing.
#[test]
fn what_is_fuzzed_is_compiled_without_the_database() {
    let graph = locked(&fs::read_to_string(top().join("Cargo.lock")).unwrap());
    let needs = needs(&manifest(FUZZ), &["dependencies"]);
    let near = |name: &&String| ["rocksdb", "tokio"].iter().any(|heavy| within_reach(&graph, name).contains(*heavy));
    let complaints: Vec<String> = needs.iter().filter(near).map(|name| format!("anneal-fuzz needs {name}")).collect();
    none("the fuzz targets are compiled in minutes", &complaints);
}

/// Who needs `regex`: the generator of RocksDB's bindings, a reader of documents in tests, and the tests of schemas.
const REGEX: &[&str] = &["anneal-recipe", "bindgen", "oci-spec"];

fn needing<'a>(graph: &'a Graph, what: &str) -> Vec<&'a String> {
    graph.iter().filter(|(_, needs)| needs.contains(what)).map(|(name, _)| name).collect()
}

/// A macro or build script that needs `regex` too, with other features, gives the generator other features wherever
/// it is in the same build, and cargo then compiles RocksDB once more: 13 minutes. `lazy-regex` has done that.
#[test]
fn rocksdb_is_compiled_once_whichever_crates_are_asked_for() {
    let example = locked("[[package]]\nname = \"a\"\ndependencies = [\"regex\"]\n");
    assert_eq!(needing(&example, "regex"), ["a"]);
    let graph = locked(&fs::read_to_string(top().join("Cargo.lock")).unwrap());
    assert_eq!(needing(&graph, "regex"), REGEX);
}

#[test]
fn every_crate_keeps_the_lints_of_the_workspace() {
    let root = manifest("");
    assert_eq!(root["workspace"]["lints"]["rust"][concat!("un", "safe_code")].as_str(), Some("forbid"));
    let own = |folder: &str| ["sandbox", "sandbox/init", "tests/attack/program"].contains(&folder);
    let inherits = |folder: &str| {
        let lints = manifest(folder).get("lints").cloned();
        lints.and_then(|l| l.get("workspace").and_then(Value::as_bool)) == Some(true)
    };
    let folders = EDGES.iter().map(|(_, folder, _)| *folder).chain(TESTS.iter().copied());
    let bad = folders.filter(|folder| inherits(folder) == own(folder));
    let complaints: Vec<String> = bad.map(|folder| format!("{folder}/Cargo.toml")).collect();
    none("all but the three that talk to the kernel inherit the workspace's lints", &complaints);
}
