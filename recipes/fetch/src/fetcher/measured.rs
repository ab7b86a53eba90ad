//! What has no digest yet: files that are believed once, and commits that git fetches.

use super::tests::{Bench, answer, server};
use super::*;
use crate::CoordinateKind;
use std::{fs, process::Command};

fn measure(bench: &Bench, place: &str) -> Result<(Measured, Vec<u8>), Error> {
    let mut sink = Vec::new();
    let found = Fetcher::new(bench.config.clone()).measure(&place.parse().unwrap(), bench.dir.path(), &mut sink);
    assert_eq!(fs::read_dir(&bench.config.spool).unwrap().count(), 0, "a download was left behind");
    found.map(|found| (found, sink))
}

#[test]
fn a_file_without_a_digest_is_taken_as_it_is_and_told_what_it_is() {
    let mut bench = Bench::new();
    fs::write(bench.dir.path().join("here"), b"some bytes").unwrap();
    let (found, bytes) = measure(&bench, "path:here").unwrap();
    assert_eq!((found.sha256, found.bytes, found.via), (BlobDigest::of(b"some bytes"), 10, None));
    assert_eq!(bytes, b"some bytes");
    let mirror = server(vec![answer("200 OK", b"of a mirror")]).0;
    bench.config.mirrors.insert(CoordinateKind::Npm, vec![mirror.clone()]);
    let (found, _) = measure(&bench, "npm:a/1.0.0").unwrap();
    assert_eq!((found.sha256, found.via), (BlobDigest::of(b"of a mirror"), Some(mirror)));
}

#[test]
fn where_there_is_nothing_the_place_is_named_with_its_reason() {
    let bench = Bench::new();
    fs::write(bench.dir.path().join("empty"), b"").unwrap();
    for (place, why) in
        [("path:none", "path:none: No such file"), ("path:empty", "it is empty"), ("crate:a/1.0.0", "cargo")]
    {
        let error = measure(&bench, place).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// A repository with two commits, and a git that finds it at an address. Nothing where there is no git.
fn repository(bench: &mut Bench) -> Option<(String, String)> {
    let dir = bench.dir.path().join("upstream");
    fs::create_dir(&dir).unwrap();
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            git.env_remove(variable);
        }
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]);
        git.env("GIT_COMMITTER_DATE", "2021-01-02T03:04:05Z").env("GIT_AUTHOR_DATE", "2021-01-02T03:04:05Z");
        let output = git.current_dir(&dir).args(words).output().ok()?;
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    git(&["init", "--quiet"])?;
    fs::create_dir(dir.join("src")).unwrap();
    fs::write(dir.join("src/main.c"), "int main;\r\n").unwrap();
    // What would change the bytes on the way, were it heeded.
    fs::write(dir.join(".gitattributes"), "src/*.c text eol=lf\nversion export-subst\nsecret export-ignore\n").unwrap();
    fs::write(dir.join("version"), "$Format:%h %d$\n").unwrap();
    fs::write(dir.join("secret"), "listed\n").unwrap();
    git(&["-c", "core.autocrlf=false", "add", "--all"])?;
    git(&["commit", "--quiet", "-m", "first"])?;
    let first = git(&["rev-parse", "HEAD"])?;
    fs::write(dir.join("version"), "second\n").unwrap();
    git(&["commit", "--quiet", "--all", "-m", "second"])?;
    let url = "https://code.example/team/app.git";
    let address = dir.display();
    let script = format!("exec git -c protocol.file.allow=always -c url.file://{address}.insteadOf={url} \"$@\"");
    bench.config.clients.git = bench.client("git", &script);
    Some((url.to_owned(), first))
}

#[test]
fn a_commit_is_a_tar_whose_bytes_depend_on_it_alone() {
    let mut bench = Bench::new();
    let Some((url, commit)) = repository(&mut bench) else { return };
    let place = format!("git+{url}@{commit}");
    let (found, tar) = measure(&bench, &place).unwrap();
    assert_eq!(found.via.as_deref(), Some("git"));
    let mut archive = tar::Archive::new(&*tar);
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        if entry.header().entry_type().is_file() {
            assert_eq!(entry.header().mode().unwrap() & 0o777, 0o644);
            files.push((entry.path().unwrap().display().to_string(), text));
        }
    }
    let of = |path: &str| files.iter().find(|(at, _)| at == path).map(|(_, text)| text.as_str());
    assert_eq!(of("source/version"), Some("$Format:%h %d$\n"), "nothing is substituted, and it is the first commit");
    assert!(of("source/secret").is_some(), "nothing is left out");
    // A second time, with a digest, the same bytes come.
    let (places, mut sink) = ([place.parse().unwrap()], Vec::new());
    let wanted = Wanted { sha256: found.sha256, bytes: found.bytes, places: &places };
    Fetcher::new(bench.config.clone()).fetch(&wanted, bench.dir.path(), &mut sink).unwrap();
    assert!(sink == tar);
}

#[test]
fn a_commit_that_is_not_there_and_an_address_that_is_no_repository_are_told() {
    let mut bench = Bench::new();
    let Some((url, _)) = repository(&mut bench) else { return };
    let absent = "0123456789abcdef0123456789abcdef01234567";
    let error = measure(&bench, &format!("git+{url}@{absent}")).unwrap_err().to_string();
    assert!(error.contains("through git"), "{error}");
    // The machine's own configuration can't lead anywhere but to https.
    bench.config.clients.git = "git".into();
    let script = format!("exec git -c url.file://{}/upstream.insteadOf={url} \"$@\"", bench.dir.path().display());
    bench.config.clients.git = bench.client("git2", &script);
    let error = measure(&bench, &format!("git+{url}@{absent}")).unwrap_err().to_string();
    assert!(error.contains("transport 'file' not allowed"), "{error}");
}
