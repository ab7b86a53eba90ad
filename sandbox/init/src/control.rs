//! The control socket: lists of operations and errands come in, events and answers go out.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anneal_sandbox_op::{Event, Op, decode, encode, frame_length};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::syscall::{self, Fault};

/// The stream to the launcher.
#[derive(Debug)]
pub(crate) struct Control(File);

impl Control {
    /// Moves the socket away from standard input, to a descriptor that exec closes.
    pub(crate) fn from_standard_input() -> Result<Self, Fault> {
        let socket = syscall::duplicate_above(0, 3)?;
        Ok(Self(File::from(socket)))
    }

    /// The next list the launcher sends, and the descriptor that came with it.
    pub(crate) fn read_operations(&mut self) -> Result<(Vec<Op>, Option<OwnedFd>), Fault> {
        self.receive()?.ok_or_else(|| Fault::check("there is no list of operations"))
    }

    /// The next message, and the descriptor that came with its first byte; `None` once nobody can send any more.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Option<OwnedFd>)>, Fault> {
        let failed = |e| Fault::io("read a message", &e);
        let mut prefix = [0; 4];
        let (length, descriptor) = syscall::receive_descriptor(self.0.as_fd(), &mut prefix)?;
        if length == 0 {
            return Ok(None);
        }
        self.0.read_exact(prefix.get_mut(length..).unwrap_or_default()).map_err(failed)?;
        let length = frame_length(prefix).map_err(|e| Fault::check(e.to_string()))?;
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).map_err(failed)?;
        Ok(Some((decode(&bytes).map_err(|e| Fault::check(e.to_string()))?, descriptor)))
    }

    /// Tells the launcher something.
    pub(crate) fn send(&mut self, event: &Event) -> Result<(), Fault> {
        self.answer(event)
    }

    /// Sends any message.
    pub(crate) fn answer<T: Serialize>(&mut self, message: &T) -> Result<(), Fault> {
        let bytes = encode(message).map_err(|e| Fault::check(e.to_string()))?;
        self.0.write_all(&bytes).map_err(|e| Fault::io("send a message", &e))
    }

    /// Tells the launcher something and passes a descriptor with it.
    pub(crate) fn send_with<T: Serialize>(&mut self, message: &T, descriptor: BorrowedFd<'_>) -> Result<(), Fault> {
        let bytes = encode(message).map_err(|e| Fault::check(e.to_string()))?;
        let (first, rest) = bytes.split_at_checked(1).unwrap_or((&bytes, &[]));
        // The descriptor travels with one byte, so that no part of it can be left unsent.
        syscall::send_descriptor(self.0.as_fd(), first, descriptor)?;
        self.0.write_all(rest).map_err(|e| Fault::io("send a message", &e))
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
