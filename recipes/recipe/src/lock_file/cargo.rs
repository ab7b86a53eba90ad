//! `Cargo.lock`: every crate of the dependency graph, for all platforms; cargo wants all of them to be there.

use super::{Lines, LockedFile, Pinned, sha256, text_of};
use crate::Error;

pub(super) fn read(lines: &Lines<'_>) -> Result<Vec<LockedFile>, Error> {
    let mut files = Vec::new();
    for (at, package) in lines.packages()? {
        let (Some(name), Some(version)) = (text_of(&package, "name"), text_of(&package, "version")) else {
            return Err(lines.wrong(
                at,
                "a package has no name or no version",
                "`cargo generate-lockfile` writes it again",
            ));
        };
        match text_of(&package, "source") {
            // The program itself, and what lies beside it.
            None => continue,
            Some(source) if source.starts_with("registry+") || source.starts_with("sparse+") => {}
            Some(source) => {
                let kind = source.split('+').next().unwrap_or_default();
                let reason = format!("`{name}` comes from `{kind}` and has no digest");
                return Err(lines.wrong(at, reason, "take a release of it from a registry"));
            }
        }
        let digest = text_of(&package, "checksum").and_then(sha256).ok_or_else(|| {
            lines.wrong(at, format!("`{name}` has no checksum"), "`cargo generate-lockfile` of a newer cargo writes it")
        })?;
        let place = lines.place(at, &format!("crate:{name}/{version}"))?;
        files.push(LockedFile { places: vec![place], pinned: Pinned::Sha256(vec![digest]) });
    }
    Ok(files)
}
