//! A daemon that a test started, and its loopback HTTP asked without a library.

use crate::{Place, Said, wait_for};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A running daemon; it is killed with the test.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    listen: String,
    /// Its log.
    pub log: PathBuf,
}

/// What the loopback HTTP answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Such as 404.
    pub status: u16,
    /// The header, as it came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer from its header and body; nothing where the header has no status.
    pub(crate) fn of(head: &[u8], body: Vec<u8>) -> Option<Self> {
        let head = String::from_utf8_lossy(head).into_owned();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, head, body })
    }

    /// A field of the header.
    pub fn field(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}\n{}", self.head))
    }
}

impl Daemon {
    /// Starts a daemon, where asked through another program.
    #[track_caller]
    pub fn start(place: &Place, by: &[&str]) -> Self {
        let mut daemon = Self::spawn(place, by);
        let socket = place.state.join("anneal.sock");
        wait_for("the daemon to answer", Duration::from_secs(60), || {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("the daemon ended: {status}\n{}", daemon.said());
            }
            UnixStream::connect(&socket).ok()
        });
        daemon
    }

    /// Starts a daemon and does not wait.
    #[track_caller]
    pub fn spawn(place: &Place, by: &[&str]) -> Self {
        let log = place.state.with_extension("daemon.log");
        std::fs::create_dir_all(log.parent().unwrap()).unwrap();
        let file = std::fs::File::options().append(true).create(true).open(&log).unwrap();
        // Its input is a pipe that this process holds, so that it ends with a test that is killed.
        let words = ["daemon", "--until-input-ends"];
        let mut command = if by.is_empty() { place.command(&words) } else { place.through(by, &words) };
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Self { child, listen: place.listen.clone(), log }
    }

    /// What it wrote to its log.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits until it has.
    #[track_caller]
    pub fn stop(mut self) {
        Said::by(Command::new("kill").arg(self.child.id().to_string())).fine();
        let status = wait_for("the daemon to stop", Duration::from_secs(60), || self.child.try_wait().unwrap());
        assert!(status.success(), "the daemon ended with {status}\n{}", self.said());
    }

    /// SIGKILL: no goodbye.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks for a page over loopback HTTP.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    /// Asks with another method and more fields.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, fields: &[&str]) -> Answer {
        let mut stream = TcpStream::connect(&self.listen).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let more: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        // HTTP/1.0, so that nothing comes in chunks.
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: {}\r\n{more}\r\n", self.listen).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a header");
        Answer::of(&bytes[..end], bytes[end + 4..].to_vec()).expect("an answer has a status")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
