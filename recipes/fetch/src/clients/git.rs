//! `git+https:` through git.
//!
//! One commit is fetched into an empty repository of our own, and its files are packed by `git archive` into one tar:
//! `source/` and, beneath it, the files as they are in the commit, with the commit's time. Attributes that would change
//! bytes on the way (`export-subst`, `export-ignore`, filters, line ends) are off, so that the bytes depend on the commit
//! alone. Submodules and large files that are kept elsewhere are not followed. Only `https:` is spoken, whatever the
//! machine's configuration would rewrite an address to; its proxies and logins apply.

use super::{
    Downloaded,
    run::{Run, directory},
};
use crate::{FetchConfig, fetcher::Unavailable};
use std::{fs, path::Path};

const VIA: &str = "git";
/// Room for the repository beside the tar: where a server gives no single commit, its whole history comes.
const HISTORY_BYTES: u64 = 2 << 30;
/// Above all attributes that a commit brings itself.
const ATTRIBUTES: &str = "* -text -filter -ident -export-subst -export-ignore -working-tree-encoding\n";
/// What every call begins with. The umask is that of the modes in the tar.
const SETTINGS: [&str; 10] = [
    "-c",
    "protocol.allow=never",
    "-c",
    "protocol.https.allow=always",
    "-c",
    "tar.umask=0022",
    "-c",
    "gc.auto=0",
    "-c",
    "core.hooksPath=/dev/null",
];

pub(super) fn download(config: &FetchConfig, url: &str, commit: &str, limit: u64) -> Result<Downloaded, Unavailable> {
    let keep = directory(&config.spool)?;
    let path = keep.path().join("source.tar");
    let via = |e: Unavailable| Unavailable { via: Some(VIA.to_owned()), ..e };
    pack(config, keep.path(), (url, commit), limit).map_err(via)?;
    Ok(Downloaded { path, via: VIA.to_owned(), _keep: Some(keep) })
}

fn pack(config: &FetchConfig, dir: &Path, (url, commit): (&str, &str), limit: u64) -> Result<(), Unavailable> {
    let repository = dir.join("repository");
    fs::create_dir(&repository).map_err(|e| Unavailable::new(format!("no directory for the repository: {e}")))?;
    let run = |cwd: &Path, words: &[&str]| {
        let run = Run {
            program: &config.clients.git,
            instead: "name another place",
            dir,
            cwd: Some(cwd),
            limit: limit.saturating_add(HISTORY_BYTES),
            patience: config.patience,
        };
        run.answer(SETTINGS.iter().chain(words).copied(), &[("GIT_TERMINAL_PROMPT", "0"), ("GIT_DIR", ".")])
    };
    let format = if commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
    run(&repository, &["init", "--quiet", "--bare", "--template=", format, "."])?;
    let info = repository.join("info");
    fs::create_dir_all(&info)
        .and_then(|()| fs::write(info.join("attributes"), ATTRIBUTES))
        .map_err(|e| Unavailable::new(format!("cannot write beside the repository: {e}")))?;
    let fetch = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"];
    // Servers that give no single commit give their branches and tags.
    let one = run(&repository, &[&fetch[..], &["--depth=1", "--", url, commit]].concat());
    if let Err(first) = one {
        let all = ["--", url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        run(&repository, &[&fetch[..], &all].concat()).map_err(|_| first)?;
    }
    let object = format!("{commit}^{{commit}}");
    let found = run(&repository, &["rev-parse", "--verify", "--quiet", "--end-of-options", &object])
        .map_err(|_| Unavailable::new("no branch or tag of the repository has the commit".to_owned()))?;
    if found.trim() != commit {
        return Err(Unavailable::new(format!("git took {commit} for {}", crate::error::shown(found.trim(), 80))));
    }
    run(&repository, &["archive", "--format=tar", "--prefix=source/", "--output=../source.tar", commit])?;
    Ok(())
}
