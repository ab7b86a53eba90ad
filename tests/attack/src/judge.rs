//! What the lines of a probe amount to: pure.

use serde::{Deserialize, Serialize};

/// What a probe came to in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "reason")]
pub enum Verdict {
    /// Every wall stood.
    Held,
    /// These did not.
    Escaped(Vec<String>),
    /// This host can't enforce it and the result says so.
    NotEnforced(String),
    /// The probe did not come to its end.
    Broken(String),
}

/// What a probe said, and what the host saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Everything tried, as `WHAT: SEEN`, with whether it held.
    pub tried: Vec<(bool, String)>,
    /// The number of things that it says it tried; none if it did not come to its end.
    pub closed: Option<usize>,
    /// What the host saw that must not be.
    pub host: Vec<String>,
}

impl Outcome {
    /// Reads a log.
    pub fn read(log: &str) -> Self {
        let mut outcome = Self::default();
        for line in log.lines() {
            if let Some(rest) = line.strip_prefix("held ") {
                outcome.tried.push((true, rest.to_owned()));
            } else if let Some(rest) = line.strip_prefix("escaped ") {
                outcome.tried.push((false, rest.to_owned()));
            } else if let Some(rest) = line.strip_prefix("tried ") {
                outcome.closed = rest.parse().ok();
            }
        }
        outcome
    }

    /// What got out.
    pub fn escapes(&self) -> Vec<String> {
        let said = self.tried.iter().filter(|(held, _)| !held).map(|(_, what)| what.clone());
        said.chain(self.host.iter().map(|what| format!("on the host: {what}"))).collect()
    }

    /// The verdict on a probe that ends by itself.
    pub fn verdict(&self) -> Verdict {
        let escapes = self.escapes();
        match self.closed {
            _ if !escapes.is_empty() => Verdict::Escaped(escapes),
            Some(count) if count == self.tried.len() && count > 0 => Verdict::Held,
            Some(count) => Verdict::Broken(format!("it tried {count} things and {} were told", self.tried.len())),
            None => Verdict::Broken(format!("it did not come to its end after {} things", self.tried.len())),
        }
    }

    /// The lines of two runs that differ, each counted as an escape: what must be the same was not.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let texts = |outcome: &Self| outcome.tried.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
        let (own, others) = (texts(self), texts(other));
        let pairs = own.iter().zip(&others).filter(|(a, b)| a != b).map(|(a, b)| format!("{a} is not {b}"));
        let lengths = (own.len() != others.len()).then(|| format!("{} lines are not {}", own.len(), others.len()));
        pairs.chain(lengths).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_stops_early_has_not_held() {
        assert_eq!(Outcome::read("held a: x\nheld b: y\ntried 2\n").verdict(), Verdict::Held);
        assert!(matches!(Outcome::read("held a: x\n").verdict(), Verdict::Broken(_)));
        assert!(matches!(Outcome::read("tried 0\n").verdict(), Verdict::Broken(_)));
        assert!(matches!(Outcome::read("held a: x\ntried 2\n").verdict(), Verdict::Broken(_)));
        assert_eq!(
            Outcome::read("held a: x\nescaped b: y\ntried 2\n").verdict(),
            Verdict::Escaped(vec!["b: y".to_owned()])
        );
    }

    #[test]
    fn what_must_be_the_same_is_compared_line_by_line() {
        let (a, b) = (Outcome::read("held x: 1\nheld y: 2\n"), Outcome::read("held x: 1\nheld y: 3\n"));
        assert_eq!(a.differences(&b), ["y: 2 is not y: 3"]);
        assert!(a.differences(&a).is_empty());
    }
}
