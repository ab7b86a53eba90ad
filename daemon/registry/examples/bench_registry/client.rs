//! Clients that take a blob and do nothing with it.

use crate::Result;
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
};

/// How much is read at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// The longest header of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// So many at a time.
pub(crate) fn get_all(clients: usize, server: SocketAddr, path: &str, expected: usize) -> Result<()> {
    thread::scope(|scope| {
        let handles: Vec<_> =
            (0..clients).map(|_| scope.spawn(|| get(server, path, expected).map_err(|e| e.to_string()))).collect();
        for handle in handles {
            handle.join().map_err(|_| "a client panicked")??;
        }
        Ok(())
    })
}

fn get(server: SocketAddr, path: &str, expected: usize) -> Result<()> {
    let mut stream = TcpStream::connect(server)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut head = Vec::new();
    let mut body = loop {
        let count = stream.read(&mut buffer)?;
        head.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break head.len() - end - 4;
        }
        if count == 0 || head.len() > HEAD_BYTES_MAX {
            return Err("the answer has no header".into());
        }
    };
    if !head.starts_with(b"HTTP/1.1 200") {
        return Err(format!("the answer begins with {}", String::from_utf8_lossy(&head[..head.len().min(200)])).into());
    }
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            count => body += count,
        }
    }
    if body == expected { Ok(()) } else { Err(format!("{body} bytes came, expected {expected}").into()) }
}
