//! `uv.lock`: every file of every project, of which one wheel is taken that fits.

use super::{Lines, LockedFile, Pinned, WheelTarget, sha256, text_of};
use crate::Error;
use anneal_content::BlobDigest;

pub(super) fn read(lines: &Lines<'_>, target: WheelTarget) -> Result<Vec<LockedFile>, Error> {
    let mut files = Vec::new();
    for (at, package) in lines.packages()? {
        let (Some(name), Some(source)) = (text_of(&package, "name"), package.get("source")) else {
            return Err(lines.wrong(at, "a package has no name or no source", "`uv lock` writes it again"));
        };
        let kind = source.as_table().and_then(|table| table.keys().next()).map_or("nowhere", String::as_str);
        match kind {
            // The program itself, and what lies beside it.
            "editable" | "virtual" | "directory" => continue,
            "registry" => {}
            _ => {
                let reason = format!("`{name}` comes from `{kind}` and not from a registry");
                return Err(lines.wrong(at, reason, "take a release of it from a registry"));
            }
        }
        let version = text_of(&package, "version").unwrap_or_default();
        let wheels = package.get("wheels").and_then(toml::Value::as_array).map_or(&[][..], Vec::as_slice);
        let best =
            wheels.iter().filter_map(wheel).filter_map(|(file, digest)| Some((fit(file, target)?, file, digest)));
        let Some((_, file, digest)) = best.min() else {
            let (python, libc) = (target.python, if target.musl { "musl" } else { "glibc" });
            let reason = format!("`{name}` has no wheel for Python 3.{python} with {libc} on x86-64");
            return Err(lines.wrong(at, reason, "choose another C library, or make a package of it"));
        };
        let place = lines.place(at, &format!("pypi:{name}/{version}/{file}"))?;
        files.push(LockedFile { places: vec![place], pinned: Pinned::Sha256(vec![digest]) });
    }
    Ok(files)
}

/// A wheel's name and digest.
fn wheel(entry: &toml::Value) -> Option<(&str, BlobDigest)> {
    let entry = entry.as_table()?;
    let file = text_of(entry, "url")?.rsplit('/').next()?;
    Some((file, sha256(text_of(entry, "hash")?.strip_prefix("sha256:")?)?))
}

/// How well a wheel fits, the least first; none where it doesn't.
pub(super) fn fit(file: &str, target: WheelTarget) -> Option<(u32, u32)> {
    let parts: Vec<&str> = file.strip_suffix(".whl")?.split('-').collect();
    let [.., python, abi, platform] = parts.as_slice() else { return None };
    let own = format!("cp3{}", target.python);
    let stable =
        |tag: &str| tag.strip_prefix("cp3").and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n <= target.python);
    let python_fits = match *abi {
        "none" => python.split('.').any(|tag| tag == "py3" || tag == own),
        "abi3" => python.split('.').any(stable),
        abi => abi == own && python.split('.').any(|tag| tag == own),
    };
    let library = if target.musl { "musllinux_" } else { "manylinux" };
    let native = platform.split('.').any(|tag| tag.starts_with(library) && tag.ends_with("_x86_64"));
    let rank = if *platform == "any" { 2 } else { 1 };
    // What was compiled for this machine comes before what runs everywhere, and a version's own before any version's.
    (python_fits && (native || *platform == "any")).then_some((rank, u32::from(*abi != own.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_fits_by_its_tags() {
        let musl = WheelTarget { python: 13, musl: true };
        let fits = |file: &str| fit(file, musl).is_some();
        assert!(fits("a-1-py3-none-any.whl") && fits("a-1-py2.py3-none-any.whl"));
        assert!(fits("a-1-cp313-cp313-musllinux_1_2_x86_64.whl") && fits("a-1-cp39-abi3-musllinux_1_1_x86_64.whl"));
        for other in [
            "a-1-py2-none-any.whl",
            "a-1-cp312-cp312-musllinux_1_2_x86_64.whl",
            "a-1-cp314-abi3-musllinux_1_2_x86_64.whl",
            "a-1-cp313-cp313t-musllinux_1_2_x86_64.whl",
            "a-1-cp313-cp313-musllinux_1_2_aarch64.whl",
            "a-1-cp313-cp313-manylinux_2_17_x86_64.whl",
            "a-1.tar.gz",
        ] {
            assert!(!fits(other), "{other}");
        }
        assert!(
            fit("a-1-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", WheelTarget { musl: false, ..musl })
                .is_some()
        );
        assert!(
            fit("a-1-cp313-cp313-musllinux_1_2_x86_64.whl", musl) < fit("a-1-cp39-abi3-musllinux_1_2_x86_64.whl", musl)
        );
        assert!(fit("a-1-cp39-abi3-musllinux_1_2_x86_64.whl", musl) < fit("a-1-py3-none-any.whl", musl));
    }
}
