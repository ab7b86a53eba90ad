//! Which step of a build is running, read off its log.
//!
//! The script says `anneal: step 2 of 3: make` before each step (`script.rs`). The log is the payload's, which may write
//! such a line itself: what is read here is told to people and decides nothing.

/// How a step's line begins.
pub(crate) const MARK: &str = "anneal: step ";
/// How much of a line is kept.
const LINE_BYTES_MAX: usize = 400;

/// Watches a log go by and remembers the last step that began.
#[derive(Debug, Default)]
pub(crate) struct FailingStep {
    line: Vec<u8>,
    last: Option<String>,
}

impl FailingStep {
    pub(crate) fn see(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len()).min(piece.len());
            self.line.extend_from_slice(piece.get(..room).unwrap_or_default());
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if let Some(step) = String::from_utf8_lossy(&line).trim_end().strip_prefix(MARK) {
            let shown = |c: char| if c.is_control() { '\u{b7}' } else { c };
            self.last = Some(step.chars().map(shown).collect());
        }
    }

    /// How it ended, with the step that was running before it: `step 2 of 3, make: exited with code 2`.
    pub(crate) fn tell(&self, ended: &str) -> String {
        match self.last.as_deref().map(|step| step.split_once(": ").unwrap_or((step, ""))) {
            Some((step, "")) => format!("step {step}: {ended}"),
            Some((step, title)) => format!("step {step}, `{title}`: {ended}"),
            None => format!("before its first step: {ended}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_that_began_is_the_one_that_failed_however_the_log_is_cut() {
        let log = b"tar: x\nanneal: step 1 of 2: ./configure\nok\nanneal: step 2 of 2: make\nerror\n";
        for cut in 0..log.len() {
            let mut step = FailingStep::default();
            step.see(&log[..cut]);
            step.see(&log[cut..]);
            assert_eq!(step.tell("exited with code 2"), "step 2 of 2, `make`: exited with code 2");
        }
        let mut step = FailingStep::default();
        step.see(b"tar: no such file\n");
        assert_eq!(step.tell("exited with code 2"), "before its first step: exited with code 2");
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory() {
        let mut step = FailingStep::default();
        (0..1000).for_each(|_| step.see(&[b'a'; 1000]));
        assert!(step.line.len() <= LINE_BYTES_MAX);
        step.see(b"\nanneal: step 1 of 1: \x1b[31mx\n");
        assert_eq!(step.tell("failed"), "step 1 of 1, `\u{b7}[31mx`: failed");
    }
}
