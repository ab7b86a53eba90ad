//! The tables of an image recipe.

use super::{
    fields::Fields,
    form,
    package::{allow, bounded},
};
use crate::{
    Account, Compression, Error, Expectation, ImageDirectory, ImageFile, ImagePath, ImageRecipe, Mode, Owner, Port,
    ReleasePolicy, RunCheck, error::format_error,
};
use anneal_content::{ImageName, PackageName, Tag};
use std::{collections::BTreeSet, str::FromStr};

/// Who runs the first process if the recipe doesn't say: nobody in particular, and never root.
const NOBODY: Owner = Owner { uid: 65532, gid: 65532 };
const LAYER_BUDGET_DEFAULT: u64 = 10;
/// Registries and engines take 127 layers; one is the metadata layer.
const LAYER_BUDGET_MAX: u64 = 126;
const ID_MAX: u64 = u32::MAX as u64 - 1;
const NOLOGIN: &str = "/sbin/nologin";

pub(super) fn read(fields: &Fields<'_>) -> Option<ImageRecipe> {
    let name = fields.required("name", "name = \"nginx\"", ImageName::from_str);
    // Read where catalogues are put together.
    let _ = fields.text("replaces", form::upstream);
    let summary = fields.required("summary", "summary = \"A web server\"", form::line);
    if !fields.has("packages") {
        fields.missing("packages", "packages = [\"nginx\", \"tzdata\"]");
    }
    let packages = fields.set("packages", PackageName::from_str);
    let user = fields.text("user", Owner::from_str).unwrap_or(NOBODY);
    let workdir = fields.text("workdir", ImagePath::from_str).unwrap_or_else(ImagePath::root);
    let entrypoint = fields.texts("entrypoint", form::argument).unwrap_or_default();
    let cmd = fields.texts("cmd", form::argument).unwrap_or_default();
    let env = fields.map("env", form::variable, form::argument);
    let ports = fields.set("ports", Port::from_str).unwrap_or_default();
    let stop_signal = fields.text("stop-signal", form::signal);
    let labels = fields.map("labels", form::label, form::argument);
    let annotations = fields.map("annotations", form::label, form::argument);
    let layer_budget = bounded(fields.number("layer-budget", 1..=LAYER_BUDGET_MAX).unwrap_or(LAYER_BUDGET_DEFAULT));
    let compression = fields.text("compression", compression).unwrap_or_default();
    let (tags, version_of) = tags(fields);
    let accounts = accounts(fields);
    let (files, directories) = metadata(fields);
    let run = run(fields, entrypoint.is_empty() && cmd.is_empty());
    let allow = allow(&fields.table("checks", "[checks]"));
    let policy = policy(&fields.table("policy", "[policy]"), run.is_some());
    fields.finish();
    Some(ImageRecipe {
        name: name?,
        summary: summary?,
        packages: packages?,
        user,
        entrypoint,
        cmd,
        env,
        workdir,
        ports,
        stop_signal,
        labels,
        annotations,
        layer_budget,
        compression,
        tags,
        version_of,
        files,
        directories,
        accounts,
        run,
        allow,
        policy,
    })
}

fn policy(policy: &Fields<'_>, runs: bool) -> ReleasePolicy {
    let compatible_swap = policy.text("compatible-swap", allowed).unwrap_or_default();
    policy.finish();
    if compatible_swap && !runs {
        let help = "add `[run]`: what keeps its build is used only where the image is seen to run with it";
        policy.report("compatible-swap", Error::Empty { key: "run".into(), help });
    }
    ReleasePolicy { compatible_swap }
}

/// Whether something may be done.
fn allowed(text: &str) -> Result<bool, Error> {
    match text {
        "never" => Ok(false),
        "security" => Ok(true),
        _ => Err(format_error("compatible swap", "\"never\" or \"security\"", text)),
    }
}

fn compression(text: &str) -> Result<Compression, Error> {
    match text {
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        _ => Err(format_error("compression", "\"gzip\" or \"zstd\"", text)),
    }
}

fn tags(fields: &Fields<'_>) -> (BTreeSet<Tag>, Option<PackageName>) {
    let written = fields.set("tags", Tag::from_str);
    let version_of = fields.text("version-of", PackageName::from_str);
    if fields.array_is_empty("tags") && !fields.has("version-of") {
        fields.report(
            "tags",
            Error::Empty { key: "tags".into(), help: "write at least one tag, or leave `tags` out for \"latest\"" },
        );
    }
    let tags = written.unwrap_or_else(|| Tag::new("latest").into_iter().collect());
    (tags, version_of)
}

fn metadata(fields: &Fields<'_>) -> (Vec<ImageFile>, Vec<ImageDirectory>) {
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    let mut taken = BTreeSet::new();
    for table in fields.tables("directory", "[[directory]]") {
        let path = table.required("path", "path = \"/var/cache/nginx\"", added_path);
        let mode = table.text("mode", Mode::from_str).unwrap_or(Mode::DIRECTORY);
        let owner = table.text("owner", Owner::from_str).unwrap_or(Owner::ROOT);
        table.finish();
        repeated_path(&table, path.as_ref(), &mut taken);
        directories.extend(path.map(|path| ImageDirectory { path, mode, owner }));
    }
    let tables = fields.tables("file", "[[file]]");
    for table in &tables {
        let path = table.required("path", "path = \"/etc/nginx/nginx.conf\"", added_path);
        let mode = table.text("mode", file_mode).unwrap_or(Mode::FILE);
        let content = table.required("content", "content = \"...\"", |text| Ok::<_, Error>(text.to_owned()));
        table.finish();
        repeated_path(table, path.as_ref(), &mut taken);
        files.extend(path.zip(content).map(|(path, content)| ImageFile { path, mode, content }));
    }
    beneath_files(fields, &files, &taken);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    directories.sort_by(|a, b| a.path.cmp(&b.path));
    (files, directories)
}

/// A path beneath the root.
fn added_path(text: &str) -> Result<ImagePath, Error> {
    let path: ImagePath = text.parse()?;
    match path.tree_path() {
        Some(_) => Ok(path),
        None => Err(format_error("path of a file or directory", "a path beneath the root, such as \"/etc/app\"", text)),
    }
}

fn file_mode(text: &str) -> Result<Mode, Error> {
    let mode: Mode = text.parse()?;
    if mode.bits() & 0o1000 == 0 {
        return Ok(mode);
    }
    Err(format_error("mode of a file", "at most \"0777\": only a directory has a sticky bit", text))
}

fn repeated_path(table: &Fields<'_>, path: Option<&ImagePath>, taken: &mut BTreeSet<ImagePath>) {
    if let Some(path) = path.filter(|path| !taken.insert((*path).clone())) {
        let (value, recipe) = (path.to_string(), "the files and directories of the recipe".to_owned());
        table.report("path", Error::Repeated { what: "path", value, table: recipe });
    }
}

/// Nothing may lie beneath a file.
fn beneath_files(fields: &Fields<'_>, files: &[ImageFile], taken: &BTreeSet<ImagePath>) {
    for file in files {
        let prefix = format!("{}/", file.path);
        if let Some(path) = taken.iter().find(|path| path.as_str().starts_with(&prefix)) {
            let found = path.to_string();
            let (reason, form) = ("it lies beneath a file of the recipe", "a path whose parents are directories");
            fields.report("file", Error::UnsafePath { found, reason, form });
        }
    }
}

fn accounts(fields: &Fields<'_>) -> Vec<Account> {
    let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
    let mut accounts = Vec::new();
    for table in fields.tables("account", "[[account]]") {
        accounts.extend(account(&table, &mut names, &mut ids));
    }
    accounts.sort_by_key(|account| account.uid);
    accounts
}

fn account(table: &Fields<'_>, names: &mut BTreeSet<String>, ids: &mut BTreeSet<u32>) -> Option<Account> {
    let name = table.required("name", "name = \"app\"", form::login);
    let id = |key: &'static str, example| {
        if !table.has(key) {
            table.missing(key, example);
        }
        table.number(key, 0..=ID_MAX).map(bounded::<u32>)
    };
    let (uid, gid) = (id("uid", "uid = 65532"), id("gid", "gid = 65532"));
    let home = table.text("home", ImagePath::from_str).unwrap_or_else(ImagePath::root);
    let shell = table.text("shell", ImagePath::from_str).or_else(|| NOLOGIN.parse().ok());
    table.finish();
    let repeated = |key: &'static str, value: String| {
        table.report(key, Error::Repeated { what: key, value, table: "the list of accounts".to_owned() });
    };
    if let Some(name) = name.as_ref().filter(|name| !names.insert((*name).clone())) {
        repeated("name", name.clone());
    }
    if let Some(uid) = uid.filter(|uid| !ids.insert(*uid)) {
        repeated("uid", uid.to_string());
    }
    Some(Account { name: name?, uid: uid?, gid: gid?, home, shell: shell? })
}

fn run(fields: &Fields<'_>, nothing_to_run: bool) -> Option<RunCheck> {
    let written = fields.has("run");
    let run = fields.table("run", "[run]");
    let argv = run.texts("argv", form::argument);
    let args = run.texts("args", form::argument);
    let http = run.table("http", "`http`");
    let expect_http = expected_answer(&http);
    let exits = run.number("exits", 0..=255).map(bounded::<u8>);
    let stdout_contains = run.text("stdout-contains", form::argument);
    run.finish();
    run.exclusive("argv", "args");
    run.exclusive("http", "exits");
    run.exclusive("http", "stdout-contains");
    run.missing_both("exits", "http", "exits = 0");
    if !written {
        return None;
    }
    if run.array_is_empty("argv") || (nothing_to_run && !run.has("argv") && !run.has("args")) {
        let help = "name what is run: here, or as the image's `entrypoint`";
        run.report("argv", Error::Empty { key: "argv".into(), help });
    }
    let expect = if run.has("http") { expect_http? } else { Expectation::Exits { status: exits?, stdout_contains } };
    Some(RunCheck { argv, args, expect })
}

fn expected_answer(http: &Fields<'_>) -> Option<Expectation> {
    if !http.has("port") {
        http.missing("port", "port = 8080");
    }
    let port = http.number("port", 1..=65535).map(bounded::<u16>);
    let path = http.text("path", form::request_path).unwrap_or_else(|| "/".to_owned());
    let status = bounded::<u16>(http.number("status", 100..=599).unwrap_or(200));
    http.finish();
    Some(Expectation::Http { port: port?, path, status })
}
