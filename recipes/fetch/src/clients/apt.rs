//! `debian:` and `debian-security:` through apt.
//!
//! apt says which archives are set up (it alone knows all forms of its configuration) and apt's
//! helper downloads, so that its transports, proxies, certificates and logins apply.

use super::{
    Downloaded,
    run::{Run, directory},
};
use crate::{CoordinateKind, FetchConfig, fetcher::Unavailable};
use std::{path::Path, sync::OnceLock};

const VIA: &str = "apt";
const FILE: &str = "download";

/// An archive that apt is set up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Archive {
    address: String,
    security: bool,
}

/// Asks apt which archives it is set up with.
fn archives(config: &FetchConfig, dir: &Path, instead: &str) -> Result<Vec<Archive>, Unavailable> {
    let run = client(config, &config.clients.apt_get, dir, 0, instead);
    let answer = run.answer(["indextargets", "--no-release-info", "--format", "$(REPO_URI) $(RELEASE)"], &[])?;
    Ok(archives_in(&answer))
}

/// Takes apt's answer apart: one address and one suite in a line.
fn archives_in(answer: &str) -> Vec<Archive> {
    let mut found: Vec<Archive> = Vec::new();
    for line in answer.lines() {
        let Some((address, suite)) = line.trim().split_once(' ') else { continue };
        let address = address.trim_end_matches('/').to_owned();
        let security = suite.ends_with("-security") || suite.ends_with("/updates");
        let archive = Archive { address, security };
        if !found.contains(&archive) {
            found.push(archive);
        }
    }
    found
}

pub(super) fn download(
    config: &FetchConfig,
    known: &OnceLock<Vec<Archive>>,
    (pool, security): (&str, bool),
    sha256: Option<&str>,
    limit: u64,
) -> Result<Downloaded, Unavailable> {
    let kind = if security { CoordinateKind::DebianSecurity } else { CoordinateKind::Debian };
    let instead = kind.instead();
    let keep = directory(&config.spool)?;
    let archives = match known.get() {
        Some(archives) => archives,
        None => {
            let asked =
                archives(config, keep.path(), &instead).map_err(|e| Unavailable { via: Some(VIA.to_owned()), ..e })?;
            known.get_or_init(|| asked)
        }
    };
    let mut reasons = Vec::new();
    for archive in archives.iter().filter(|a| a.security == security) {
        let path = keep.path().join(FILE);
        let run = client(config, &config.clients.apt_helper, keep.path(), limit, &instead);
        let (address, hash) = (format!("{}/{pool}", archive.address), sha256.map(|digest| format!("SHA256:{digest}")));
        let file = path.to_string_lossy();
        let arguments = ["-q=2", "download-file", &address, &file];
        match run.answer(arguments.into_iter().chain(hash.as_deref()), &[]) {
            Ok(_) => return Ok(Downloaded { path, via: VIA.to_owned(), _keep: Some(keep) }),
            Err(reason) => reasons.push(reason.reason),
        }
    }
    if reasons.is_empty() {
        reasons.push(format!("apt is set up with no archive of this kind: add one, or {instead}"));
    }
    Err(Unavailable { via: Some(VIA.to_owned()), reason: reasons.join("; ") })
}

fn client<'a>(config: &'a FetchConfig, program: &'a Path, dir: &'a Path, limit: u64, instead: &'a str) -> Run<'a> {
    Run { program, instead, dir, cwd: None, limit, patience: config.patience }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "mirror+file:/etc/apt/mirrors.txt/ stable\nhttp://a.example/debian/ stable\n\
        http://a.example/debian/ stable-updates\nhttp://a.example/security/ stable-security\n\
        http://old.example/security/ buster/updates\n";

    #[test]
    fn security_archives_are_told_by_their_suites() {
        let found: Vec<_> = archives_in(ANSWER).into_iter().map(|a| (a.security, a.address)).collect();
        let expected = [
            (false, "mirror+file:/etc/apt/mirrors.txt"),
            (false, "http://a.example/debian"),
            (true, "http://a.example/security"),
            (true, "http://old.example/security"),
        ];
        assert_eq!(found, expected.map(|(security, address)| (security, address.to_owned())));
        assert!(archives_in("").is_empty());
    }
}
