//! Directories of code: the form of their tar, what is left out, what is refused, and how far a place leads.

use super::*;
use crate::{FetchConfig, Fetcher, fetcher::Wanted};
use anneal_content::BlobDigest;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
};

/// A directory with files at these paths; each has its path as content.
fn code(paths: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for path in paths {
        write(dir.path(), path, path.as_bytes());
    }
    dir
}

fn write(dir: &Path, path: &str, bytes: &[u8]) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn pack(catalog: &Path, path: &str) -> Result<Vec<u8>, String> {
    let Named::Directory(directory) = named(catalog, path)? else { return Err("a file".to_owned()) };
    let mut bytes = Vec::new();
    match directory.pack(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(NotPacked::Refused(why)) => Err(why),
        Err(NotPacked::Writing(error)) => panic!("{error}"),
    }
}

fn listed(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap();
    entries.map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap()).collect()
}

/// A git that reads no configuration of the machine.
fn git(dir: &Path, words: &[&str]) -> Option<Vec<u8>> {
    let mut git = Command::new("git");
    git.current_dir(dir).args(words).env_clear().env("PATH", std::env::var_os("PATH")?);
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", "/nonexistent");
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), "a").env(format!("GIT_{who}_EMAIL"), "a@a.example");
        git.env(format!("GIT_{who}_DATE"), format!("{} +0000", crate::beneath::FIXED_TIME_SECONDS));
    }
    let output = git.output().ok()?;
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn the_tar_is_the_one_that_git_makes_of_a_commit_of_the_same_files() {
    let deep = format!("{}/{}/file", "d".repeat(80), "e".repeat(60));
    let dir = code(&["a.c", "a/b.c", "a-b", "a.d/x", "lib/run.sh", "ä", &deep]);
    let root = dir.path();
    fs::set_permissions(root.join("lib/run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("../a/b.c", root.join("lib/link")).unwrap();
    write(root, "large", &[7; 5000]);
    write(root, "empty", b"");
    if git(root, &["init", "--quiet"]).is_none() {
        eprintln!("skipped: no git");
        return;
    }
    git(root, &["add", "--all"]).unwrap();
    git(root, &["commit", "--quiet", "--message", "a"]).unwrap();
    let theirs = git(root, &["-c", "tar.umask=0022", "archive", "--format=tar", "--prefix=source/", "HEAD"]).unwrap();
    // What git has before the rest is a header with the commit's name.
    let (theirs, ours) = (theirs[1024..].to_vec(), pack(root, ".").unwrap());
    let content = |tar: &[u8]| tar.iter().rposition(|b| *b != 0).map(|last| tar[..=last].to_vec());
    assert_eq!(listed(&ours), listed(&theirs));
    assert!(content(&ours) == content(&theirs), "the same entries in other bytes");
    assert_eq!((ours.len() % RECORD, ours.ends_with(&[0; 1024])), (0, true));
}

#[test]
fn bytes_depend_on_names_modes_links_and_contents_alone() {
    let make = || {
        let dir = code(&["main.c", "src/b", "src/a"]);
        symlink("src/a", dir.path().join("link")).unwrap();
        dir
    };
    let (one, other) = (make(), make());
    let first = pack(one.path(), ".").unwrap();
    let at = |path: &str| other.path().join(path);
    fs::set_permissions(at("main.c"), fs::Permissions::from_mode(0o666)).unwrap();
    fs::File::open(at("src/b")).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    fs::hard_link(at("src/a"), at("src/c")).unwrap();
    fs::remove_file(at("src/a")).unwrap();
    fs::rename(at("src/c"), at("src/a")).unwrap();
    fs::create_dir_all(at("nothing/in/it")).unwrap();
    write(other.path(), ".git/HEAD", b"ref");
    write(other.path(), "sub/.git", b"gitdir: elsewhere");
    assert!(pack(other.path(), ".").unwrap() == first);
    fs::set_permissions(at("main.c"), fs::Permissions::from_mode(0o744)).unwrap();
    assert!(pack(other.path(), ".").unwrap() != first, "whether it is executable counts");
    fs::set_permissions(at("main.c"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(at("link")).unwrap();
    symlink("src/b", at("link")).unwrap();
    assert!(pack(other.path(), ".").unwrap() != first, "where a link leads counts");
}

#[test]
fn what_is_no_code_is_refused_with_its_path() {
    let refused = |make: &dyn Fn(&Path), told: &[&str]| {
        let dir = code(&["main.c"]);
        make(dir.path());
        let why = pack(dir.path(), ".").unwrap_err();
        assert!(told.iter().all(|told| why.contains(told)), "{why}");
    };
    let fifo = |path: &Path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap();
    refused(
        &|dir| {
            fs::create_dir(dir.join("src")).unwrap();
            fifo(&dir.join("src/pipe"));
        },
        &["`src/pipe`", "fifo"],
    );
    refused(&|dir| drop(std::os::unix::net::UnixListener::bind(dir.join("talk")).unwrap()), &["`talk`", "socket"]);
    refused(&|dir| symlink("/etc/passwd", dir.join("pw")).unwrap(), &["`pw`", "absolute", "/etc/passwd"]);
    refused(&|dir| symlink("../up", dir.join("up")).unwrap(), &["`up`", "leads out", "../up"]);
    refused(
        &|dir| {
            fs::create_dir(dir.join("a")).unwrap();
            symlink("b/../../../x", dir.join("a/out")).unwrap();
        },
        &["`a/out`", "leads out"],
    );
    refused(&|dir| fs::remove_file(dir.join("main.c")).unwrap(), &["no file in it"]);
    let large = |dir: &Path| fs::File::create(dir.join("disk")).unwrap().set_len(MAX_PACKED_BYTES + 1).unwrap();
    refused(&large, &[&MAX_PACKED_BYTES.to_string(), "CACHEDIR.TAG"]);
    refused(&|dir| fs::create_dir_all(dir.join(["d"; MAX_DEPTH + 1].join("/"))).unwrap(), &["deeper than"]);
}

#[test]
fn a_path_too_long_for_ustar_and_a_long_target_come_back_from_another_reader() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(120));
    let dir = code(&[&long]);
    let target = format!("{}/x", "t".repeat(150));
    symlink(&target, dir.path().join("link")).unwrap();
    let tar = pack(dir.path(), ".").unwrap();
    let mut archive = tar::Archive::new(tar.as_slice());
    let found: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|e| (e.path_bytes().into_owned(), e.link_name_bytes().map(|name| name.into_owned())))
        .collect();
    assert!(found.iter().any(|(path, _)| *path == format!("source/{long}").as_bytes()));
    assert!(found.iter().any(|(_, link)| link.as_deref() == Some(target.as_bytes())));
}

#[test]
fn the_catalogue_and_what_is_made_from_the_code_are_left_out() {
    let dir = code(&[
        "main.rs",
        "recipes/anneal.toml",
        "recipes/packages/app.toml",
        "target/debug/app",
        "target/CACHEDIR.TAG",
        "docs/CACHEDIR.TAG",
    ]);
    write(dir.path(), "target/CACHEDIR.TAG", &[CACHE_SIGNATURE, b"\n# by cargo\n"].concat());
    fs::create_dir(dir.path().join(".git")).unwrap();
    let beside = ["source/", "source/docs/", "source/docs/CACHEDIR.TAG", "source/main.rs"];
    assert_eq!(listed(&pack(&dir.path().join("recipes"), "..").unwrap()), beside);
    // The other natural place of a catalogue is the repository's top.
    let own = ["anneal.toml", "packages/app.toml", "images/app.toml"];
    let more = ["packages/web/index.js", "packages/README", "crates/packages/x.toml", "main.rs"];
    let dir = code(&[own.as_slice(), &more].concat());
    let files: Vec<_> = listed(&pack(dir.path(), ".").unwrap()).into_iter().filter(|p| !p.ends_with('/')).collect();
    let mut expected = more.map(|path| format!("source/{path}"));
    expected.sort();
    assert_eq!(files, expected);
}

#[test]
fn a_place_leads_out_of_the_catalogue_into_its_repository_and_no_further() {
    let dir = code(&["secret/key", "team/app/main.c", "team/ops/recipes/anneal.toml", "team/notes.txt"]);
    let catalog = dir.path().join("team/ops/recipes");
    let refused = |path: &str, told: &str| {
        let why = named(&catalog, path).unwrap_err();
        assert!(why.contains(told), "{path}: {why}");
    };
    refused("../../app", "in no git repository");
    fs::create_dir(dir.path().join("team/.git")).unwrap();
    assert_eq!(listed(&pack(&catalog, "../../app").unwrap()), ["source/", "source/main.c"]);
    assert!(matches!(named(&catalog, "../../notes.txt"), Ok(Named::File(_))));
    refused("../../../secret", "outside of the catalogue's git repository");
    refused("../../../../../../../../../../../..", "outside of the catalogue's git repository");
    symlink("../../secret", dir.path().join("team/ops/way")).unwrap();
    refused("../way", "symbolic link");
    symlink("../../../secret", catalog.join("way")).unwrap();
    refused("way", "symbolic link");
}

#[test]
fn a_directory_that_changed_is_told_with_both_digests_and_the_command() {
    let dir = code(&["app/main.c"]);
    let fetcher = Fetcher::new(FetchConfig { spool: std::env::temp_dir(), ..FetchConfig::from_environment() });
    let places = ["path:app".parse().unwrap()];
    let mut tar = Vec::new();
    let measured = fetcher.measure(&places[0], dir.path(), &mut tar).unwrap();
    assert_eq!((measured.sha256, measured.bytes), (BlobDigest::of(&tar), tar.len() as u64));
    let wanted = Wanted { sha256: measured.sha256, bytes: measured.bytes, places: &places };
    let mut again = Vec::new();
    fetcher.fetch(&wanted, dir.path(), &mut again).unwrap();
    assert!(again == tar);
    write(dir.path(), "app/main.c", b"another");
    let now = fetcher.measure(&places[0], dir.path(), &mut io::sink()).unwrap().sha256;
    let error = fetcher.fetch(&wanted, dir.path(), &mut io::sink()).unwrap_err().to_string();
    for told in ["`path:app` has changed", &measured.sha256.to_string(), &now.to_string(), "anneal recipe lock path"] {
        assert!(error.contains(told), "{told} is not in {error}");
    }
}
