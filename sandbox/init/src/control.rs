//! The control socket: the list of operations comes in, events go out.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use anneal_sandbox_op::{Event, Op, decode, encode, frame_length};

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

    /// The next list the launcher sends.
    pub(crate) fn read_operations(&mut self) -> Result<Vec<Op>, Fault> {
        let mut prefix = [0; 4];
        self.0.read_exact(&mut prefix).map_err(|e| Fault::io("read the list of operations", &e))?;
        let length = frame_length(prefix).map_err(|e| Fault::check(e.to_string()))?;
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).map_err(|e| Fault::io("read the list of operations", &e))?;
        decode(&bytes).map_err(|e| Fault::check(e.to_string()))
    }

    /// Tells the launcher something.
    pub(crate) fn send(&mut self, event: &Event) -> Result<(), Fault> {
        let bytes = encode(event).map_err(|e| Fault::check(e.to_string()))?;
        self.0.write_all(&bytes).map_err(|e| Fault::io("send an event", &e))
    }

    /// Tells the launcher something and passes a descriptor with it.
    pub(crate) fn send_with(&mut self, event: &Event, descriptor: BorrowedFd<'_>) -> Result<(), Fault> {
        let bytes = encode(event).map_err(|e| Fault::check(e.to_string()))?;
        let (first, rest) = bytes.split_at_checked(1).unwrap_or((&bytes, &[]));
        // The descriptor travels with one byte, so that no part of it can be left unsent.
        syscall::send_descriptor(self.0.as_fd(), first, descriptor)?;
        self.0.write_all(rest).map_err(|e| Fault::io("send an event", &e))
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
