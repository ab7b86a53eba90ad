//! One HTTP/1.0 request to the payload, over the loopback of its own network namespace.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anneal_sandbox_op::ProbeRequest;

use crate::syscall::{self, Fault};

/// How much of a body is kept.
const BODY_LIMIT: usize = 64 << 10;
/// How much is read before a response is given up.
const RESPONSE_LIMIT: usize = BODY_LIMIT + (16 << 10);
/// Pause between attempts.
const PAUSE: Duration = Duration::from_millis(10);
/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A response that has a status.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// Start of the body.
    pub(crate) body: Vec<u8>,
    /// Milliseconds since exec.
    pub(crate) after_ms: u64,
}

/// Asks again and again until there is an answer, the time is over, or `pause` says that nobody is there to answer.
pub(crate) fn until_answered(
    request: &ProbeRequest,
    exec_ns: u64,
    mut pause: impl FnMut(Duration) -> Result<bool, Fault>,
) -> Result<Option<Answer>, Fault> {
    loop {
        let passed_ms = syscall::monotonic_ns().saturating_sub(exec_ns) / 1_000_000;
        let left = request.ready_within_ms.saturating_sub(passed_ms);
        if left == 0 {
            return Ok(None);
        }
        if let Some((status, body)) = ask(request, Duration::from_millis(left).min(PATIENCE)) {
            let after_ms = syscall::monotonic_ns().saturating_sub(exec_ns) / 1_000_000;
            return Ok(Some(Answer { status, body, after_ms }));
        }
        if pause(PAUSE)? {
            return Ok(None);
        }
    }
}

/// One attempt; `None` if there is no sensible answer yet.
fn ask(request: &ProbeRequest, patience: Duration) -> Option<(u16, Vec<u8>)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, request.port));
    let end = Instant::now() + patience;
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_write_timeout(Some(patience)).ok()?;
    let text =
        format!("GET {} HTTP/1.0\r\nHost: localhost:{}\r\nConnection: close\r\n\r\n", request.path, request.port);
    stream.write_all(text.as_bytes()).ok()?;
    let mut response = Vec::new();
    let mut part = [0; 4096];
    while response.len() < RESPONSE_LIMIT {
        // A payload that answers a byte at a time may not take longer than one that is silent; no time left is an error.
        stream.set_read_timeout(Some(end.saturating_duration_since(Instant::now()))).ok()?;
        match stream.read(&mut part).ok()? {
            0 => break,
            length => response.extend_from_slice(part.get(..length)?),
        }
    }
    parse(&response)
}

/// Status and body of a response.
fn parse(response: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = response.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(response.get(..end)?).ok()?;
    let line = head.lines().next()?;
    let mut words = line.split(' ');
    let status = words.next().filter(|word| word.starts_with("HTTP/1.")).and(words.next())?.parse().ok()?;
    let mut body = response.get(end + 4..)?.to_vec();
    body.truncate(BODY_LIMIT);
    Some((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_has_a_status_and_a_bounded_body() {
        let mut response = b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n".to_vec();
        assert_eq!(parse(&response), Some((204, Vec::new())));
        response.extend(vec![b'x'; BODY_LIMIT + 1]);
        assert_eq!(parse(&response).map(|(_, body)| body.len()), Some(BODY_LIMIT));
    }

    #[test]
    fn an_answer_that_comes_a_byte_at_a_time_is_waited_for_no_longer_than_none() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for _ in 0..100 {
                if stream.write_all(b"H").is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let request = ProbeRequest {
            port,
            path: "/".to_owned(),
            ready_within_ms: 500,
            stop_signal: libc::SIGTERM,
            stop_within_ms: 500,
        };
        let start = Instant::now();
        assert!(ask(&request, Duration::from_millis(500)).is_none());
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }

    #[test]
    fn what_is_no_http_response_is_no_answer() {
        for bytes in [&b""[..], b"HTTP/1.1 200 OK", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n"] {
            assert_eq!(parse(bytes), None);
        }
    }
}
