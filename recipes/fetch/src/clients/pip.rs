//! `pypi:` through pip, for wheels.
//!
//! pip is given the file's digest, where it is known, and takes no other file. To download a source archive pip runs the
//! archive's own build script; that is recipe code outside a sandbox, so it is refused, and a mirror
//! or an address has to be named instead.

use super::{
    Downloaded,
    run::{Run, directory},
};
use crate::{CoordinateKind, FetchConfig, fetcher::Unavailable};
use std::fs;

pub(super) fn download(
    config: &FetchConfig,
    (name, version, file): (&str, &str, &str),
    sha256: Option<&str>,
    limit: u64,
) -> Result<Downloaded, Unavailable> {
    let via = || Some("pip".to_owned());
    let Some(tags) = wheel_tags(file) else {
        let reason =
            format!("pip would run the package's own script to download `{file}`: {}", CoordinateKind::Pypi.instead());
        return Err(Unavailable { via: via(), reason });
    };
    let keep = directory(&config.spool)?;
    let wanted = keep.path().join("wanted.txt");
    let hash = sha256.map(|digest| format!(" --hash=sha256:{digest}")).unwrap_or_default();
    fs::write(&wanted, format!("{name}=={version}{hash}\n"))
        .map_err(|e| Unavailable::new(format!("cannot write {}: {e}", wanted.display())))?;
    let run = Run {
        program: &config.clients.python,
        instead: &CoordinateKind::Pypi.instead(),
        dir: keep.path(),
        cwd: None,
        limit,
        patience: config.patience,
    };
    let mut arguments: Vec<&str> = "-m pip download --quiet --no-input --no-deps --no-cache-dir \
        --only-binary=:all: --dest . --requirement wanted.txt"
        .split_whitespace()
        .collect();
    arguments.extend(sha256.map(|_| "--require-hashes"));
    for (option, value) in &tags {
        arguments.extend([*option, value.as_str()]);
    }
    run.answer(arguments, &[("PIP_DISABLE_PIP_VERSION_CHECK", "1")]).map_err(|e| Unavailable { via: via(), ..e })?;
    // A project may have other capitals in the names of its files than in its own.
    let left = fs::read_dir(keep.path()).into_iter().flatten().flatten();
    let mut wheels = left.filter(|entry| entry.file_name().eq_ignore_ascii_case(file)).map(|entry| entry.path());
    let Some(path) = wheels.next() else {
        return Err(Unavailable { via: via(), reason: format!("pip left no file `{file}`") });
    };
    Ok(Downloaded { path, via: "pip".to_owned(), _keep: Some(keep) })
}

/// The options that make pip take a wheel for another platform than its own, from its name
/// `NAME-VERSION(-BUILD)-PYTHON-ABI-PLATFORM.whl`.
fn wheel_tags(file: &str) -> Option<Vec<(&'static str, String)>> {
    let parts: Vec<&str> = file.strip_suffix(".whl")?.split('-').collect();
    let &[.., python, abi, platform] = parts.as_slice() else { return None };
    if parts.len() < 5 || parts.len() > 6 {
        return None;
    }
    let mut tags = Vec::new();
    // Several platforms are separated by dots; the first stands for them.
    tags.push(("--platform", platform.split('.').next().unwrap_or(platform).to_owned()));
    if abi == "none" && platform == "any" {
        // Otherwise pip would prefer one for this machine.
        tags.push(("--implementation", "py".to_owned()));
    }
    if let Some(digits) = python.strip_prefix("cp").filter(|d| d.bytes().all(|b| b.is_ascii_digit())) {
        tags.push(("--implementation", "cp".to_owned()));
        tags.push(("--python-version", digits.to_owned()));
    }
    if abi != "none" {
        tags.push(("--abi", abi.to_owned()));
    }
    Some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(file: &str) -> Option<String> {
        wheel_tags(file).map(|tags| tags.iter().map(|(o, v)| format!("{o}={v}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_pure_wheel_is_asked_for_as_one_for_every_machine() {
        let expected = "--platform=any --implementation=py";
        assert_eq!(tags("certifi-2022.12.7-py3-none-any.whl").as_deref(), Some(expected));
    }

    #[test]
    fn a_wheel_for_another_machine_is_asked_for_by_its_tags() {
        assert_eq!(
            tags("x-1-2-cp311-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl").as_deref(),
            Some("--platform=manylinux_2_17_x86_64 --implementation=cp --python-version=311 --abi=abi3")
        );
    }

    #[test]
    fn a_source_archive_is_not_a_wheel() {
        assert_eq!(tags("certifi-2022.12.7.tar.gz"), None);
        assert_eq!(tags("x.whl"), None);
    }
}
