//! What a command says: results to standard output, progress and trouble to standard error, JSON where asked.

use crate::{
    cli::{Cli, Command},
    error::{Error, Result, io},
};
use clap::ValueEnum;
use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
};

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How things are shown.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Show {
    /// Write JSON to standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but the result
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) color: Color,
}

/// Where a command's words go.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// Whether standard error is a terminal that may be coloured.
    pub(crate) color: bool,
    /// Whether progress may be drawn over and over.
    pub(crate) terminal: bool,
}

impl Output {
    /// Decides by the flags, the environment and what the streams are.
    pub(crate) fn new(show: &Show) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let color = match show.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && wanted,
        };
        Self { json: show.json, quiet: show.quiet, color, terminal: terminal && !show.quiet }
    }

    /// Writes a result; a closed pipe is quiet.
    pub(crate) fn text(&self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(io("write to", "standard output")(e)),
            _ => Ok(()),
        }
    }

    /// Writes a result as text, or as JSON where that was asked for.
    pub(crate) fn result(&self, text: impl FnOnce() -> String, value: &impl serde::Serialize) -> Result<()> {
        if self.json {
            let json = serde_json::to_string_pretty(value).map_err(|e| Error::Internal(e.to_string()))?;
            return self.text(&format!("{json}\n"));
        }
        self.text(&text())
    }

    /// A line about what goes on.
    pub(crate) fn note(&self, line: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// Why the command failed.
    pub(crate) fn error(&self, error: &Error) {
        let text = match error {
            Error::Recipes(rendered) => rendered.clone(),
            other => format!("anneal: {}", other.chain()),
        };
        let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
    }
}

/// Writes a file, or says which could not be written.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(io("write", path))
}

/// Text from outside with control characters made visible, and those that turn the direction of what follows.
pub(crate) fn printable(text: &str) -> String {
    let turns =
        |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if (c.is_control() && c != '\n') || turns(c) { '\u{fffd}' } else { c }).collect()
}

/// A name or a reason from outside that is to stay on its line.
pub(crate) fn on_one_line(text: &str) -> String {
    printable(text).replace('\n', "\u{fffd}")
}

/// Bytes for people: `12.3 MB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let tenths = |unit: u64| (bytes * 10 + unit / 2) / unit;
    let (tenths, name) = if bytes < 1_000_000 {
        (tenths(1000), "kB")
    } else if bytes < 1_000_000_000 {
        (tenths(1_000_000), "MB")
    } else {
        (tenths(1_000_000_000), "GB")
    };
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// Standard error, whether or not anybody reads it: a log that cannot be written, since its disk is full or its reader is
/// gone, ends nothing.
struct Unheard;

impl std::io::Write for Unheard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = std::io::stderr().write_all(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Logs go to standard error: JSON for a daemon that nobody watches, plain lines otherwise.
pub(crate) fn start_logging(cli: &Cli) {
    use tracing_subscriber::EnvFilter;
    let daemon = matches!(cli.command, Command::Daemon(_));
    let default = match (cli.show.verbose, daemon) {
        (0, true) => "info",
        (0, false) => "error",
        (1, _) => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("ANNEAL_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false).with_writer(|| Unheard);
    if daemon && !std::io::stderr().is_terminal() { logs.json().init() } else { logs.with_ansi(false).init() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_with_one_decimal() {
        assert_eq!([0, 999, 1000, 1949, 12_345_678].map(human_bytes), ["0 B", "999 B", "1.0 kB", "1.9 kB", "12.3 MB"]);
    }

    #[test]
    fn a_terminal_escape_from_outside_is_not_passed_on() {
        assert_eq!(printable("a\u{1b}[31mb\nc\u{202e}d"), "a\u{fffd}[31mb\nc\u{fffd}d");
        assert_eq!(on_one_line("a\nb\u{2066}"), "a\u{fffd}b\u{fffd}");
    }
}
