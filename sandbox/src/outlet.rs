//! A standard descriptor as the writer of a log: it never waits for whoever reads at its other end.
//!
//! The descriptor is shared with other processes, so it can't be made non-blocking for this one alone. It is asked
//! whether it takes something before each write, and given no more than it then takes without waiting.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What a pipe takes at once as soon as it takes anything.
const PIPE_BYTES: usize = 4096;
/// A terminal says that it takes something when it has some room.
const TERMINAL_BYTES: usize = 256;

/// A descriptor, and how much it takes at once.
#[derive(Debug)]
pub struct Outlet {
    to: File,
    at_once: usize,
}

impl Outlet {
    /// A second descriptor for the same end.
    pub fn of(descriptor: &impl AsFd) -> io::Result<Self> {
        let own: OwnedFd = descriptor.as_fd().try_clone_to_owned()?;
        let to = File::from(own);
        let kind = to.metadata()?.file_type();
        let at_once = if to.is_terminal() {
            TERMINAL_BYTES
        } else if kind.is_fifo() || kind.is_socket() || kind.is_char_device() {
            PIPE_BYTES
        } else {
            // A file on a disk has no reader.
            usize::MAX
        };
        Ok(Self { to, at_once })
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut asked = [PollFd::new(self.to.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut asked, PollTimeout::ZERO)? == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.to.write(bytes.get(..self.at_once).unwrap_or(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_pipe_that_nobody_reads_takes_what_it_holds_and_then_says_so() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut outlet = Outlet::of(&writer).unwrap();
        let chunk = [b'x'; 100_000];
        let mut taken = 0;
        let refused = loop {
            match outlet.write(&chunk) {
                Ok(length) => taken += length,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(taken >= PIPE_BYTES);
        reader.read_exact(&mut vec![0; taken]).unwrap();
        assert!(outlet.write(&chunk).unwrap() > 0, "it takes more once it has been read");
        drop(reader);
        assert_eq!(outlet.write(&chunk).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_file_takes_everything() {
        let mut file = tempfile::tempfile().unwrap();
        assert_eq!(Outlet::of(&file).unwrap().write(&[1; 100_000]).unwrap(), 100_000);
        file.flush().unwrap();
    }
}
