//! Passes a log on to a caller who may be slower than the payload, may stop reading, or be gone.
//!
//! A writer that says [`ErrorKind::WouldBlock`] is asked again later. What it has not taken is kept, and nothing more is
//! taken from the payload until then, who waits in its own write; limits and cancellation go on meanwhile. After the last
//! process is dead a reader has the rest of the run's time, or a moment where that is over or the run was cancelled.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

/// The pause after a writer took something, and the longest one, while it takes nothing.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// How long the last of a log waits for its reader at least.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

/// A log, and what of it its writer has not taken yet.
pub(super) struct Passing<'a> {
    to: &'a mut dyn Write,
    kept: Vec<u8>,
    taken: usize,
    pause: Duration,
    /// Why the writer takes nothing any more.
    pub(super) error: Option<io::Error>,
}

impl<'a> Passing<'a> {
    pub(super) fn new(to: &'a mut dyn Write) -> Self {
        Self { to, kept: Vec::new(), taken: 0, pause: SHORTEST_PAUSE, error: None }
    }

    /// How many bytes the writer has not taken.
    pub(super) fn behind(&self) -> usize {
        self.kept.len().saturating_sub(self.taken)
    }

    /// When to come back; nothing where the writer has taken everything.
    pub(super) fn pause(&self) -> Option<Duration> {
        (self.behind() > 0).then_some(self.pause)
    }

    /// Passes bytes on, or keeps them.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.kept.extend_from_slice(bytes);
            self.go_on();
        }
    }

    /// Offers the writer what it has not taken.
    pub(super) fn go_on(&mut self) {
        let before = self.taken;
        while self.behind() > 0 {
            match self.to.write(self.kept.get(self.taken..).unwrap_or_default()) {
                Ok(0) => self.error = Some(ErrorKind::WriteZero.into()),
                Ok(length) => self.taken = self.taken.saturating_add(length),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let longer = (self.pause * 2).min(LONGEST_PAUSE);
                    self.pause = if self.taken > before { SHORTEST_PAUSE } else { longer };
                    return;
                }
                Err(error) => self.error = Some(error),
            }
            if self.error.is_some() {
                break;
            }
        }
        self.kept.clear();
        (self.taken, self.pause) = (0, SHORTEST_PAUSE);
    }

    /// Waits until the writer has taken everything: as long as this, or no longer than a moment once it is given up.
    /// Returns how many bytes it has not taken.
    pub(super) fn finish(&mut self, time: Duration, given_up: &dyn Fn() -> bool) -> usize {
        let start = Instant::now();
        self.go_on();
        while let Some(pause) = self.pause() {
            let waited = start.elapsed();
            if waited >= time.max(LAST_WORDS) || (waited >= LAST_WORDS && given_up()) {
                break;
            }
            std::thread::sleep(pause);
            self.go_on();
        }
        self.behind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, and then no more until it is emptied.
    struct Narrow {
        room: usize,
        got: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = bytes.len().min(self.room);
            if length == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.room -= length;
            self.got.extend_from_slice(bytes.get(..length).unwrap_or_default());
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_writer_does_not_take_is_kept_in_order_and_nothing_waits_for_it() {
        let mut narrow = Narrow { room: 3, got: Vec::new() };
        let mut passing = Passing::new(&mut narrow);
        passing.pass(b"abcde");
        assert_eq!(passing.behind(), 2);
        passing.pass(b"fg");
        assert_eq!((passing.behind(), passing.pause().is_some()), (4, true));
        assert_eq!(passing.finish(Duration::ZERO, &|| true), 4);
        drop(passing);
        narrow.room = 10;
        let mut passing = Passing::new(&mut narrow);
        passing.pass(b"defg");
        assert_eq!((passing.finish(Duration::ZERO, &|| false), passing.pause()), (0, None));
        assert_eq!(narrow.got, b"abcdefg");
    }

    #[test]
    fn a_writer_that_fails_is_given_nothing_more() {
        let mut full = &mut [0u8; 2][..];
        let mut passing = Passing::new(&mut full);
        passing.pass(b"abc");
        assert_eq!(passing.error.as_ref().map(io::Error::kind), Some(ErrorKind::WriteZero));
        assert_eq!(passing.behind(), 0);
    }
}
