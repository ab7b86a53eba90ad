//! What comes from the init program: events, and the one descriptor that travels with one of them.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use anneal_sandbox_op::{Event, WireError, decode, frame_length};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use super::launch;
use crate::{Error, Result};

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// Bytes of events that are not whole yet.
#[derive(Debug, Default)]
pub(super) struct Inbox(Vec<u8>);

impl Inbox {
    /// Takes what there is; false once nothing more can come. A descriptor is the listener, for nothing else is sent.
    pub(super) fn receive(&mut self, control: &UnixStream) -> Result<(bool, Option<OwnedFd>)> {
        let failed = |errno: nix::Error| launch("read the control socket")(errno.into());
        let mut chunk = vec![0; CHUNK];
        let mut space = nix::cmsg_space!([RawFd; 1]);
        let mut parts = [IoSliceMut::new(&mut chunk)];
        let mut passed = Vec::new();
        let length = match recvmsg::<()>(control.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
        {
            Ok(message) => {
                for control in message.cmsgs().map_err(failed)? {
                    if let ControlMessageOwned::ScmRights(descriptors) = control {
                        // SAFETY: the kernel has just made these descriptors for this message; nothing else owns them.
                        passed.extend(descriptors.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                    }
                }
                message.bytes
            }
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok((true, None)),
            // Its end was closed with something unread in it, as a program that dies does.
            Err(nix::Error::ECONNRESET) => return Ok((false, None)),
            Err(errno) => return Err(failed(errno)),
        };
        self.0.extend_from_slice(chunk.get(..length).unwrap_or_default());
        Ok((length > 0, passed.pop()))
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
