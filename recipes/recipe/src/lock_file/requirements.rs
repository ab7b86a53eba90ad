//! Hashed requirements, as `pip install --require-hashes` takes them.
//!
//! ```text
//! markupsafe==3.0.2 ; python_version > "3" \
//!     --hash=sha256:... \
//!     --hash=sha256:...
//! ```
//! They name digests and no files, so the names that a project's wheel may have are tried in turn. A marker is not judged:
//! what only another platform would install is fetched as well, and pip leaves it.

use super::{Lines, LockedFile, Pinned, WheelTarget, sha256};
use crate::Error;

const AGAIN: &str = "write `name==version --hash=sha256:...` for each, as `pip-compile --generate-hashes` does";

pub(super) fn read(lines: &Lines<'_>, target: WheelTarget) -> Result<Vec<LockedFile>, Error> {
    let mut files = Vec::new();
    for (at, line) in logical_lines(lines.text) {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('-') {
            let option = line.split_whitespace().next().unwrap_or_default();
            return Err(lines.wrong(at, format!("`{option}` leads elsewhere"), AGAIN));
        }
        let mut words = line.split_whitespace();
        let (hashes, words): (Vec<&str>, Vec<&str>) = words.by_ref().partition(|word| word.starts_with("--hash="));
        let requirement = words.join(" ");
        let pinned = requirement.split(';').next().unwrap_or_default().replace(' ', "");
        let Some((name, version)) = pinned.split_once("==") else {
            return Err(lines.wrong(at, format!("`{pinned}` has no version of its own"), AGAIN));
        };
        let name = name.split('[').next().unwrap_or_default();
        let digests: Option<Vec<_>> = hashes.iter().map(|hash| sha256(hash.strip_prefix("--hash=sha256:")?)).collect();
        let Some(digests) = digests.filter(|digests| !digests.is_empty()) else {
            return Err(lines.wrong(at, format!("`{name}` has no SHA-256, or another hash"), AGAIN));
        };
        let wheels = wheels(name, version, target);
        let places: Result<_, _> =
            wheels.iter().map(|file| lines.place(at, &format!("pypi:{name}/{version}/{file}"))).collect();
        files.push(LockedFile { places: places?, pinned: Pinned::Sha256(digests) });
    }
    Ok(files)
}

/// Lines with what continues them, each with where it begins.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let (mut all, mut at, mut continues) = (Vec::<(usize, String)>::new(), 0, false);
    for line in text.split_inclusive('\n') {
        let body = line.trim_end();
        let (body, goes_on) = body.strip_suffix('\\').map_or((body, false), |body| (body, true));
        match all.last_mut().filter(|_| continues) {
            Some((_, last)) => last.push_str(&format!(" {body}")),
            None => all.push((at, body.to_owned())),
        }
        continues = goes_on;
        at += line.len();
    }
    all
}

/// What a project's wheel is called, the likelier names first.
fn wheels(name: &str, version: &str, target: WheelTarget) -> Vec<String> {
    let own = format!("cp3{0}-cp3{0}", target.python);
    let platforms: &[&str] = if target.musl {
        &["musllinux_1_2_x86_64", "musllinux_1_1_x86_64"]
    } else {
        &[
            "manylinux_2_17_x86_64.manylinux2014_x86_64",
            "manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64",
            "manylinux_2_28_x86_64",
        ]
    };
    let tags = ["py3-none-any".to_owned(), "py2.py3-none-any".to_owned()];
    let tags = tags.into_iter().chain(platforms.iter().map(|platform| format!("{own}-{platform}")));
    let plain = name.replace(['-', '.'], "_");
    let spelled = if plain.chars().any(char::is_uppercase) { vec![plain.to_lowercase(), plain] } else { vec![plain] };
    tags.flat_map(|tag| spelled.iter().map(move |name| format!("{name}-{version}-{tag}.whl")).collect::<Vec<_>>())
        .collect()
}
