//! `anneal recipe lock build-root`: which packages of the distribution builds start from, and what changed.

use crate::{
    catalog_files::replace_file,
    error::{Error, Result, io},
    output::{Output, human_bytes, printable},
    settings::Settings,
};
use anneal_fetch::{BUILD_ROOT_PACKAGES, BuildRootLock, FetchConfig};
use serde::Serialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// What became of one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
enum Change {
    Added {
        version: String,
    },
    Removed {
        version: String,
    },
    Moved {
        from: String,
        to: String,
    },
    /// The same version with other bytes, which an archive must never serve.
    Replaced {
        version: String,
    },
}

pub(super) fn lock_build_root(to: Option<&Path>, settings: &Settings, output: &Output) -> Result<()> {
    let path = lock_path(to, settings)?;
    let before = match std::fs::read_to_string(&path) {
        Ok(text) => Some(BuildRootLock::parse(&text)?),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(io("read", &path)(e)),
    };
    output.note("asking apt, in a state of its own");
    let lock = anneal_fetch::lock_build_root(&FetchConfig::from_environment(), &BUILD_ROOT_PACKAGES)?;
    let changes = changes(before.as_ref(), &lock);
    if before.as_ref() != Some(&lock) {
        replace_file(&path, lock.to_toml().as_bytes())?;
    }
    let (digest, count, bytes) = (lock.digest()?, lock.packages.len(), lock.total_bytes());
    let value = json!({
        "lock": path, "digest": digest, "packages": count, "bytes": bytes, "changes": changes,
        "written": before.as_ref() != Some(&lock),
    });
    let text = || {
        let mut text = changes_text(&changes, before.is_some());
        let size = human_bytes(bytes);
        let _ = writeln!(text, "{}: {count} packages of {}, {size}\n{digest}", path.display(), lock.suite);
        printable(&text)
    };
    output.result(text, &value)
}

/// Where the lock is: as named, as set, or beside the catalogue.
fn lock_path(named: Option<&Path>, settings: &Settings) -> Result<PathBuf> {
    if let Some(path) = named.or(settings.lock.as_deref()) {
        return Ok(path.to_owned());
    }
    let beside = settings.own_catalog_dir()?.parent().map(|dir| dir.join("vendor/build-root.lock"));
    beside.ok_or_else(|| Error::Input("where is the lock to be written? name a file with -o".into()))
}

fn changes(before: Option<&BuildRootLock>, now: &BuildRootLock) -> BTreeMap<String, Change> {
    let old: BTreeMap<_, _> = before.iter().flat_map(|lock| &lock.packages).map(|p| (p.name.as_str(), p)).collect();
    let new: BTreeMap<_, _> = now.packages.iter().map(|p| (p.name.as_str(), p)).collect();
    let mut changes = BTreeMap::new();
    for (name, package) in &new {
        let version = package.version.clone();
        let change = match old.get(name) {
            None => Change::Added { version },
            Some(before) if before.version != version => Change::Moved { from: before.version.clone(), to: version },
            Some(before) if before.sha256 != package.sha256 => Change::Replaced { version },
            Some(_) => continue,
        };
        changes.insert((*name).to_owned(), change);
    }
    for (name, package) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        changes.insert((*name).to_owned(), Change::Removed { version: package.version.clone() });
    }
    changes
}

fn changes_text(changes: &BTreeMap<String, Change>, had_one: bool) -> String {
    if !had_one {
        return "there was no lock before\n".to_owned();
    }
    if changes.is_empty() {
        return "nothing changed\n".to_owned();
    }
    let mut text = String::new();
    for (name, change) in changes {
        let _ = match change {
            Change::Added { version } => writeln!(text, "+ {name} {version}"),
            Change::Removed { version } => writeln!(text, "- {name} {version}"),
            Change::Moved { from, to } => writeln!(text, "~ {name} {from} -> {to}"),
            Change::Replaced { version } => {
                writeln!(text, "! {name} {version}: the same version with other bytes; ask why before you commit this")
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(packages: &[(&str, &str, &str)]) -> BuildRootLock {
        let mut text = "format = 1\narchitecture = \"amd64\"\nsuite = \"s\"\nwanted = [\"a\"]\n".to_owned();
        for (name, version, byte) in packages {
            let (pool, sha256) = (format!("pool/main/{name}/{name}_amd64.deb"), byte.repeat(32));
            text += &format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\npool = \"{pool}\"\nsha256 = \"{sha256}\"\nbytes = 1\n"
            );
        }
        BuildRootLock::parse(&text).unwrap()
    }

    #[test]
    fn a_new_lock_says_which_packages_came_went_moved_or_were_replaced() {
        let before = lock(&[("gone", "1", "aa"), ("moved", "1", "aa"), ("replaced", "1", "aa"), ("same", "1", "aa")]);
        let now = lock(&[("came", "1", "aa"), ("moved", "2", "bb"), ("replaced", "1", "bb"), ("same", "1", "aa")]);
        let text = changes_text(&changes(Some(&before), &now), true);
        let lines: Vec<_> = text.lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
        assert_eq!(lines, ["+ came 1", "- gone 1", "~ moved 1 -> 2", "! replaced 1"]);
    }
}
