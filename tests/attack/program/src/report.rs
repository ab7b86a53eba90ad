//! What a probe was told and what it says.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Error, ErrorKind, Write};

/// One probe's arguments and its lines so far.
pub(crate) struct Attack {
    args: BTreeMap<String, String>,
    lines: Cell<u32>,
}

impl Attack {
    /// From `NAME=VALUE` words.
    pub(crate) fn new(words: &[String]) -> Self {
        let pair = |word: &String| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { args: words.iter().filter_map(pair).collect(), lines: Cell::new(0) }
    }

    /// What was said under a name.
    pub(crate) fn arg(&self, name: &str) -> Option<&str> {
        self.args.get(name).map(String::as_str)
    }

    /// What was said under a name, or nothing.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.arg(name).unwrap_or_default()
    }

    /// A number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.arg(name)?.parse().ok()
    }

    /// A list with commas between.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        self.text(name).split(',').filter(|part| !part.is_empty()).collect()
    }

    /// One thing tried.
    pub(crate) fn say(&self, held: bool, what: &str, seen: impl Display) {
        self.lines.set(self.lines.get() + 1);
        let seen: String = seen.to_string().chars().flat_map(char::escape_debug).collect();
        println!("{} {what}: {seen}", if held { "held" } else { "escaped" });
    }

    /// Holds where something fails, for whatever reason: to be used where nothing but the wall could be in the way.
    pub(crate) fn fails<T>(&self, what: &str, result: io::Result<T>) {
        match result {
            Err(error) => self.say(true, what, error),
            Ok(_) => self.say(false, what, "done"),
        }
    }

    /// Holds where something is not there.
    pub(crate) fn absent<T>(&self, what: &str, result: io::Result<T>) {
        match result {
            Err(error) => self.say(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory), what, error),
            Ok(_) => self.say(false, what, "there"),
        }
    }

    /// Holds where something is refused before it is looked at. Anything else, other errors too, means that the kernel
    /// went on to the arguments.
    pub(crate) fn refused<T>(&self, what: &str, result: io::Result<T>) {
        match result {
            Err(error) => self.say(matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)), what, error),
            Ok(_) => self.say(false, what, "done"),
        }
    }

    /// Holds where something is denied or not there.
    pub(crate) fn denied<T>(&self, what: &str, result: io::Result<T>) {
        let closed = [ErrorKind::PermissionDenied, ErrorKind::NotFound, ErrorKind::ReadOnlyFilesystem];
        match result {
            Err(error) => self.say(closed.contains(&error.kind()), what, error),
            Ok(_) => self.say(false, what, "allowed"),
        }
    }

    /// A value that must be a certain one.
    pub(crate) fn equals(&self, what: &str, seen: &str, wanted: &str) {
        self.say(seen == wanted, what, format!("{seen}, wanted {wanted}"));
    }

    /// A value that must be the same in each run; whoever runs the probe compares.
    pub(crate) fn value(&self, what: &str, seen: impl Display) {
        self.say(true, what, seen);
    }

    /// A value of a call, as a result.
    pub(crate) fn result(value: impl Into<i64>) -> io::Result<i64> {
        match value.into() {
            value if value < 0 => Err(Error::last_os_error()),
            value => Ok(value),
        }
    }

    /// The last line: without it, the probe did not come to its end.
    pub(crate) fn close(&self) {
        println!("tried {}", self.lines.get());
        // A pipe that nobody reads any more is no concern of a probe.
        let _ = io::stdout().flush();
    }
}
