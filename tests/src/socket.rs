//! Questions to a daemon that may die before it answers: an answer counts only if it came whole.

use crate::{Answer, Place};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

/// How long an answer may take; a collection is the longest.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks over loopback HTTP.
pub fn ask_http(place: &Place, method: &str, path: &str) -> io::Result<Answer> {
    let stream = TcpStream::connect(&place.listen)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    ask(stream, method, path, "application/octet-stream", b"")
}

/// Asks over the socket of the state directory.
pub fn ask_socket(place: &Place, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Answer> {
    let stream = UnixStream::connect(place.state.join("anneal.sock"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    ask(stream, method, path, kind, body)
}

fn ask(mut stream: impl Read + Write, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Answer> {
    let length = body.len();
    // HTTP/1.0, so that nothing comes in chunks
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: anneal\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    )?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(cut)?;
    let answer = Answer::of(&bytes[..end], bytes[end + 4..].to_vec()).ok_or_else(cut)?;
    match answer.field("content-length").and_then(|text| text.parse::<usize>().ok()) {
        Some(length) if length == answer.body.len() => Ok(answer),
        _ => Err(cut()),
    }
}
