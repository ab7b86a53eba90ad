//! One number per concurrent run on this machine, free again when its holder is gone.
//!
//! A slot is held by an abstract socket whose name holds the number: the kernel hands out each name once, to
//! whichever process asks first, and takes it back when the holder dies, however it dies. Another user of the host
//! could squat a name, which only makes that number be passed over.

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
use std::os::fd::{AsRawFd, OwnedFd};

use crate::{Error, Result};

/// How many runs there may be at once on a machine.
pub(crate) const SLOTS: u32 = 1024;

/// A number that no other run has as long as this value lives.
#[derive(Debug)]
pub(crate) struct Slot {
    number: u32,
    _holder: OwnedFd,
}

impl Slot {
    /// The lowest free number.
    pub(crate) fn take() -> Result<Self> {
        let launch = |source: nix::Error| Error::Launch { action: "reserve a user id", source: source.into() };
        let holder = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).map_err(launch)?;
        for number in 0..SLOTS {
            let name = UnixAddr::new_abstract(format!("anneal-sandbox-{number}").as_bytes()).map_err(launch)?;
            match bind(holder.as_raw_fd(), &name) {
                Ok(()) => return Ok(Self { number, _holder: holder }),
                Err(nix::Error::EADDRINUSE) => {}
                Err(other) => return Err(launch(other)),
            }
        }
        Err(launch(nix::Error::EAGAIN))
    }

    /// The number.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_slots_held_at_once_differ_and_a_dropped_one_is_free_again() {
        let first = Slot::take().unwrap();
        let second = Slot::take().unwrap();
        assert_ne!(first.number(), second.number());
        let number = second.number();
        drop(second);
        // Another test may take it in between; then a higher one is free.
        assert!(Slot::take().unwrap().number() >= first.number().min(number));
    }
}
