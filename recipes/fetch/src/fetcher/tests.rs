//! Fetching from places that lie, fail and come back; clients and servers are stand-ins on this machine.

use super::*;
use crate::{CoordinateKind, fixture::check_golden};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

const CONTENT: &[u8] = b"the bytes that are wanted";

pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) config: FetchConfig,
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("absent");
        let clients = crate::Clients {
            apt_get: absent.join("apt-get"),
            apt_cache: absent.join("apt-cache"),
            apt_helper: absent.join("apt-helper"),
            cargo: absent.join("cargo"),
            python: absent.join("python3"),
            npm: absent.join("npm"),
            git: absent.join("git"),
            go: absent.join("go"),
        };
        let spool = dir.path().join("spool");
        fs::create_dir(&spool).unwrap();
        let pauses = vec![Duration::from_millis(1); 2];
        let patience = Duration::from_secs(20);
        let home = Some(dir.path().join("cargo-home"));
        let config = FetchConfig { clients, spool, pauses, patience, cargo_home: home, ..FetchConfig::default() };
        Self { dir, config }
    }

    /// A client that is a script. Another process writes it: a file open for writing here could not be run
    /// while another test starts a process.
    pub(super) fn client(&self, name: &str, script: &str) -> std::path::PathBuf {
        let path = self.dir.path().join(name);
        let write = "printf '#!/bin/sh\n%s\n' \"$2\" > \"$1\" && chmod 755 \"$1\"";
        let mut command = std::process::Command::new("sh");
        assert!(command.args(["-c", write, "sh"]).arg(&path).arg(script).status().unwrap().success());
        path
    }

    fn fetch(&self, places: &[&str]) -> Result<(Fetched, Vec<u8>), Error> {
        let places: Vec<Place> = places.iter().map(|p| p.parse().unwrap()).collect();
        let wanted = Wanted { sha256: BlobDigest::of(CONTENT), bytes: CONTENT.len() as u64, places: &places };
        let mut sink = Vec::new();
        let fetched = Fetcher::new(self.config.clone()).fetch(&wanted, self.dir.path(), &mut sink);
        if fetched.is_err() {
            assert!(sink.is_empty(), "bytes were handed over before they were verified");
        }
        assert_eq!(fs::read_dir(&self.config.spool).unwrap().count(), 0, "a download was left behind");
        fetched.map(|f| (f, sink))
    }

    fn reasons(&self, places: &[&str]) -> String {
        self.fetch(places).unwrap_err().to_string().replace(&self.dir.path().display().to_string(), "DIR")
    }
}

/// A server of canned answers, which notes the requests it gets.
pub(super) fn server(answers: Vec<Vec<u8>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            noted.lock().unwrap().push(request(&stream));
            let _ = stream.write_all(&answer);
        }
    });
    (address, seen)
}

fn request(stream: &TcpStream) -> String {
    let lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|l| !l.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn mirrored(kind: CoordinateKind, mirrors: &[&str]) -> Bench {
    let mut bench = Bench::new();
    bench.config.mirrors.insert(kind, mirrors.iter().map(|m| (*m).to_owned()).collect());
    bench
}

#[test]
fn a_file_of_the_catalogue_is_asked_before_a_coordinate() {
    let bench = Bench::new();
    fs::write(bench.dir.path().join("here"), CONTENT).unwrap();
    let (fetched, bytes) = bench.fetch(&["crate:a/1.0.0", "path:here"]).unwrap();
    assert_eq!((fetched.place.to_string().as_str(), bytes.as_slice()), ("path:here", CONTENT));
}

#[test]
fn every_place_that_failed_is_named_with_its_reason() {
    let mut bench = Bench::new();
    let short = server(vec![answer("200 OK", b"short")]).0;
    let long = server(vec![answer("200 OK", &[b'x'; 100])]).0;
    let absent = server(vec![answer("404 Not Found", b"")]).0;
    let mirrors = vec![short.clone(), long.clone(), absent.clone()];
    bench.config.mirrors.insert(CoordinateKind::Debian, mirrors);
    fs::write(bench.dir.path().join("same-size"), "the bytes that are w4nted").unwrap();
    let found = bench.reasons(&[
        "debian:pool/main/a/a.tar.gz",
        "debian-security:pool/updates/main/a/a.tar.gz",
        "crate:a/1.0.0",
        "pypi:a/1/a-1-py3-none-any.whl",
        "pypi:a/1/a-1.tar.gz",
        "npm:a/1.0.0",
        "path:same-size",
        "path:absent-file",
    ]);
    let found = found.replace(&short, "SHORT").replace(&long, "LONG").replace(&absent, "ABSENT");
    check_golden("gone-everywhere.txt", &(found + "\n"));
}

#[test]
fn a_mirror_that_lies_is_passed_over_for_one_that_does_not() {
    let (liar, _) = server(vec![answer("200 OK", b"the bytes that are w4nted")]);
    let (honest, seen) = server(vec![answer("200 OK", CONTENT)]);
    let bench = mirrored(CoordinateKind::Crate, &[&liar, &format!("{honest}/base/")]);
    let (fetched, bytes) = bench.fetch(&["crate:a/1.0.0+x"]).unwrap();
    assert_eq!((fetched.via.as_deref(), bytes.as_slice()), (Some(format!("{honest}/base/").as_str()), CONTENT));
    assert!(seen.lock().unwrap()[0].starts_with("GET /base/a/1.0.0+x/download "));
}

#[test]
fn a_fault_that_may_pass_is_asked_again_and_one_that_stays_is_not() {
    let half = [&b"HTTP/1.1 200 OK\r\ncontent-length: 25\r\nconnection: close\r\n\r\n"[..], &CONTENT[..9]].concat();
    let (busy, seen) = server(vec![answer("503 Busy", b""), half, answer("200 OK", CONTENT)]);
    mirrored(CoordinateKind::Npm, &[&busy]).fetch(&["npm:@s/a/1.0.0"]).unwrap();
    assert_eq!(seen.lock().unwrap().len(), 3);
    let (gone, seen) = server(vec![answer("404 Not Found", b""), answer("200 OK", CONTENT)]);
    mirrored(CoordinateKind::Npm, &[&gone]).fetch(&["npm:a/1.0.0"]).unwrap_err();
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn an_index_page_leads_to_the_file() {
    let page = b"<a href=\"../../f/a-1.tar.gz#sha256=0\">a-1.tar.gz</a>";
    let (index, seen) = server(vec![answer("200 OK", page), answer("200 OK", CONTENT)]);
    mirrored(CoordinateKind::Pypi, &[&format!("{index}/simple")]).fetch(&["pypi:A_x/1/a-1.tar.gz"]).unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen[0].starts_with("GET /simple/a-x/ ") && seen[1].starts_with("GET /f/a-1.tar.gz "), "{seen:?}");
}

#[test]
fn a_login_from_netrc_or_the_address_is_sent_and_never_shown() {
    let (with_netrc, seen) = server(vec![answer("401 Unauthorized", b"")]);
    let mut bench = mirrored(CoordinateKind::Debian, &[&with_netrc]);
    let netrc = bench.dir.path().join("netrc");
    fs::write(&netrc, "machine 127.0.0.1 login u password p").unwrap();
    bench.config.netrc = Some(netrc);
    bench.fetch(&["debian:pool/main/a.deb"]).unwrap_err();
    assert!(seen.lock().unwrap()[0].to_lowercase().contains("authorization: basic dtpw"));
    let (address, seen) = server(vec![answer("401 Unauthorized", b"")]);
    let with_login = address.replace("http://", "http://u:secret@");
    let error = mirrored(CoordinateKind::Debian, &[&with_login]).reasons(&["debian:pool/main/a.deb"]);
    assert!(seen.lock().unwrap()[0].to_lowercase().contains("authorization: basic dtpzzwnyzxq="));
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn a_mirror_may_be_a_directory() {
    let bench = Bench::new();
    let pool = bench.dir.path().join("pool/main");
    fs::create_dir_all(&pool).unwrap();
    fs::write(pool.join("a.deb"), CONTENT).unwrap();
    let mut config = bench.config.clone();
    config.mirrors.insert(CoordinateKind::Debian, vec![format!("file:{}", bench.dir.path().display())]);
    Bench { config, ..bench }.fetch(&["debian:pool/main/a.deb"]).unwrap();
}

#[test]
fn apt_is_asked_once_for_its_archives_and_downloads_itself() {
    let mut bench = Bench::new();
    let asked = bench.dir.path().join("asked");
    let list = "echo 'http://a.example/debian/ s'; echo 'http://b.example/sec/ s-security'";
    bench.config.clients.apt_get = bench.client("apt-get", &format!("echo x >> {}; {list}", asked.display()));
    let text = String::from_utf8_lossy(CONTENT);
    bench.config.clients.apt_helper = bench.client(
        "apt-helper",
        &format!("[ \"$2 $3\" = 'download-file http://b.example/sec/pool/updates/main/a.deb' ] || exit 100; printf '%s' '{text}' > \"$4\""),
    );
    let (fetched, _) = bench.fetch(&["debian-security:pool/updates/main/a.deb"]).unwrap();
    assert_eq!(fetched.via.as_deref(), Some("apt"));
    let places = ["debian-security:pool/updates/main/a.deb".parse().unwrap()];
    let wanted = Wanted { sha256: BlobDigest::of(CONTENT), bytes: CONTENT.len() as u64, places: &places };
    let fetcher = Fetcher::new(bench.config.clone());
    for _ in 0..3 {
        fetcher.fetch(&wanted, Path::new("."), &mut io::sink()).unwrap();
    }
    assert_eq!(fs::read_to_string(asked).unwrap().lines().count(), 2, "apt was asked again");
}

#[test]
fn a_crate_is_taken_from_cargos_cache_and_else_through_cargo() {
    let mut bench = Bench::new();
    let cache = bench.dir.path().join("cargo-home/registry/cache/index");
    fs::create_dir_all(&cache).unwrap();
    fs::write(cache.join("a-1.0.0.crate"), CONTENT).unwrap();
    bench.fetch(&["crate:a/1.0.0"]).unwrap();
    let text = String::from_utf8_lossy(CONTENT);
    let script = format!("printf '%s' '{text}' > $CARGO_HOME/registry/cache/index/b-2.0.0.crate");
    bench.config.clients.cargo = bench.client("cargo", &format!("[ \"$5\" = b@2.0.0 ] && {script}"));
    let (fetched, _) = bench.fetch(&["crate:b/2.0.0"]).unwrap();
    assert_eq!(fetched.via.as_deref(), Some("cargo"));
}

#[test]
fn a_module_of_go_comes_through_go_and_its_go_mod_alone_through_go_too() {
    let mut bench = Bench::new();
    let text = String::from_utf8_lossy(CONTENT);
    let write = format!("mkdir -p \"$(dirname \"$at\")\"; printf '%s' '{text}' > \"$at\"");
    let cache = "[ \"$GOSUMDB\" = off ] || exit 1; cd $GOMODCACHE/cache/download 2>/dev/null || { mkdir -p $GOMODCACHE/cache/download; cd $GOMODCACHE/cache/download; }";
    let cases = "case \"$*\" in 'mod download a.example/Team/b@v1.0.0') at='a.example/!team/b/@v/v1.0.0.zip';; \
                 'list -m a.example/b@v1.0.0') at='a.example/b/@v/v1.0.0.mod';; *) exit 1;; esac";
    bench.config.clients.go = bench.client("go", &format!("{cache}; {cases}; {write}"));
    for place in ["go:a.example/Team/b@v1.0.0", "go:a.example/b@v1.0.0/go.mod"] {
        assert_eq!(bench.fetch(&[place]).unwrap().0.via.as_deref(), Some("go"));
    }
    assert!(bench.reasons(&["go:a.example/c@v1.0.0"]).contains("`go` ended with 1"));
}

#[test]
fn a_client_that_fails_hangs_or_floods_is_told_about() {
    let mut bench = Bench::new();
    bench.config.clients.npm = bench.client("npm", "echo 'npm error 404 no such package' >&2; exit 1");
    assert!(bench.reasons(&["npm:a/1.0.0"]).contains("`npm` ended with 1: npm error 404 no such package"));
    bench.config.patience = Duration::from_millis(200);
    bench.config.clients.npm = bench.client("npm", "sleep 60");
    assert!(bench.reasons(&["npm:a/1.0.0"]).contains("stopped after 0 s"));
    bench.config.patience = Duration::from_secs(60);
    bench.config.clients.npm = bench.client("npm", "while :; do head -c 8388608 /dev/zero; done > flood.tgz");
    assert!(bench.reasons(&["npm:a/1.0.0"]).contains("more than the 25 bytes"));
}

#[test]
fn a_source_beyond_the_limit_is_refused_before_anything_is_asked() {
    let wanted = |bytes| Wanted { sha256: BlobDigest::of(b""), bytes, places: &[] };
    let fetcher = Fetcher::new(FetchConfig::default());
    let fetch = |bytes| fetcher.fetch(&wanted(bytes), Path::new("."), &mut io::sink());
    assert!(matches!(fetch(MAX_SOURCE_BYTES + 1), Err(Error::TooLarge { .. })));
    assert!(matches!(fetch(MAX_SOURCE_BYTES), Err(Error::GoneEverywhere { .. })));
}

#[test]
fn a_full_disk_is_not_blamed_on_a_place() {
    let mut bench = Bench::new();
    fs::write(bench.dir.path().join("here"), CONTENT).unwrap();
    fs::remove_dir(&bench.config.spool).unwrap();
    fs::write(&bench.config.spool, "not a directory").unwrap();
    let places = ["path:here".parse().unwrap()];
    let wanted = Wanted { sha256: BlobDigest::of(CONTENT), bytes: CONTENT.len() as u64, places: &places };
    let error = Fetcher::new(bench.config.clone()).fetch(&wanted, bench.dir.path(), &mut io::sink()).unwrap_err();
    assert!(matches!(error, Error::Spool { .. }), "{error}");
    bench.config.spool = bench.dir.path().to_owned();
    let mut full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = Fetcher::new(bench.config.clone()).fetch(&wanted, bench.dir.path(), &mut full).unwrap_err();
    assert!(matches!(error, Error::Sink { .. }), "{error}");
}
