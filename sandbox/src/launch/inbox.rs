//! What comes from the init program: events, and the one descriptor that travels with one of them.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use anneal_sandbox_op::{Event, WireError, decode, frame_length};

use super::launch;
use crate::{Error, Result, control};

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// Bytes of events that are not whole yet.
#[derive(Debug, Default)]
pub(super) struct Inbox(Vec<u8>);

impl Inbox {
    /// Takes what there is; false once nothing more can come. A descriptor is the listener, for nothing else is sent.
    pub(super) fn receive(&mut self, from: &UnixStream) -> Result<(bool, Option<OwnedFd>)> {
        let mut chunk = vec![0; CHUNK];
        let (length, descriptor) = match control::receive_some(from, &mut chunk) {
            Ok(received) => received,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok((true, None));
            }
            // Its end was closed with something unread in it, as a program that dies does.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok((false, None)),
            Err(error) => return Err(launch("read the control socket")(error)),
        };
        self.0.extend_from_slice(chunk.get(..length).unwrap_or_default());
        Ok((length > 0, descriptor))
    }

    /// The next whole event.
    pub(super) fn next(&mut self) -> Result<Option<Event>> {
        let broken = |error: WireError| Error::Control { reason: error.to_string() };
        let Some((prefix, rest)) = self.0.split_first_chunk::<4>() else { return Ok(None) };
        let length = frame_length(*prefix).map_err(broken)?;
        let Some(message) = rest.get(..length) else { return Ok(None) };
        let event = decode(message).map_err(broken)?;
        self.0.drain(..4 + length);
        Ok(Some(event))
    }
}
