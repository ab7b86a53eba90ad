//! What the demo shows: a bar on a terminal, plain lines elsewhere, both on standard error.

use crate::{
    output::{Output, human_bytes, printable},
    progress::{Line, News},
};
use anneal_builder::{Phase, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use std::{collections::BTreeSet, sync::Mutex, time::Duration};

/// Where the story is shown.
pub(super) struct Screen {
    quiet: bool,
    color: bool,
    bar: Option<ProgressBar>,
    running: Mutex<BTreeSet<String>>,
}

impl Screen {
    pub(super) fn new(output: &Output) -> Self {
        let bar = output.terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("  {spinner} {elapsed:>4} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        Self { quiet: output.quiet, color: output.color, bar, running: Mutex::default() }
    }

    /// A chapter begins.
    pub(super) fn title(&self, text: &str) {
        self.line(&if self.color { format!("\n\u{1b}[1m{text}\u{1b}[0m") } else { format!("\n{text}") });
    }

    /// A line of the story.
    pub(super) fn line(&self, text: &str) {
        if self.quiet {
            return;
        }
        match &self.bar {
            Some(bar) => bar.println(text),
            None => {
                use std::io::Write as _;
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    /// Several lines, indented.
    pub(super) fn block(&self, text: &str) {
        for line in printable(text).lines() {
            self.line(&format!("    {line}"));
        }
    }

    /// Work begins or ends: the bar moves while something is waited for.
    pub(super) fn working(&self, on: bool) {
        if let Some(bar) = &self.bar {
            if on {
                bar.enable_steady_tick(Duration::from_millis(100))
            } else {
                bar.disable_steady_tick()
            }
            if !on {
                bar.set_message("");
            }
        }
    }

    /// Something happened in the daemon.
    pub(super) fn news(&self, line: &Line) {
        match &line.news {
            News::Trouble(text) => self.line(&format!("  ! {}", printable(text))),
            News::Progress(progress) => self.progress(progress),
            News::Event(_) => {}
        }
    }

    fn progress(&self, progress: &Progress) {
        match progress {
            Progress::Fetching { file, bytes } => self.begin(format!("fetching {file} ({})", human_bytes(*bytes))),
            Progress::Fetched { file, place } => {
                self.end(&format!("fetching {file} "));
                if !file.ends_with(".deb") {
                    self.line(&format!("  fetched   {file} from {}", printable(place)));
                }
            }
            Progress::BuildRoot { done, of } if done == of => {
                self.end("unpacking");
                self.line(&format!("  unpacked  the build root: {of} packages"));
            }
            Progress::BuildRoot { done, of } => {
                self.end("unpacking");
                self.begin(format!("unpacking the build root: {done} of {of}"));
            }
            Progress::Started { package, version, phase } => {
                let what = match phase {
                    Phase::Build => "building",
                    Phase::Proof | Phase::Trial | Phase::Kept => "building again to prove it,",
                    Phase::Test => "testing",
                };
                self.begin(format!("{what} {package} {version}"));
            }
            Progress::Built { package, version, cached, reproducible, ran } => {
                self.end(&format!("building {package} "));
                self.end(&format!("building again to prove it, {package} "));
                let longest = ran.iter().map(|r| r.end_ms.saturating_sub(r.start_ms)).max().unwrap_or_default();
                let how = if *cached { "from the action cache".into() } else { format!("in {}", seconds(longest)) };
                let proof = if *reproducible { "twice, bit for bit the same" } else { "TWICE, AND NOT THE SAME" };
                self.line(&format!("  built     {package} {version} {how}, {proof}"));
            }
            Progress::Tested { package, passed } => {
                self.end(&format!("testing {package} "));
                self.line(&format!("  tested    {package}: {}", if *passed { "passed" } else { "FAILED" }));
            }
            Progress::Failed { package, summary, .. } => {
                self.end(&format!("building {package} "));
                self.line(&format!("  FAILED    {package}: {}", printable(summary)));
            }
            Progress::Assembled { .. } => {}
        }
    }

    fn begin(&self, what: String) {
        if self.bar.is_none() {
            return;
        }
        if let Ok(mut running) = self.running.lock() {
            running.insert(what);
            self.show(&running);
        }
    }

    fn end(&self, beginning: &str) {
        if let Ok(mut running) = self.running.lock() {
            running.retain(|what| !format!("{what} ").starts_with(beginning));
            self.show(&running);
        }
    }

    fn show(&self, running: &BTreeSet<String>) {
        if let Some(bar) = &self.bar {
            bar.set_message(running.iter().cloned().collect::<Vec<_>>().join(" · "));
        }
    }
}

/// Milliseconds as `4.1 s`.
pub(super) fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}
