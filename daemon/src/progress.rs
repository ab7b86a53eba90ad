//! What happens right now, for whoever watches: the last few thousand lines, in memory, numbered.

use anneal_builder::Progress;
use anneal_ledger::Record;
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// How many lines are kept.
const LINES_MAX: usize = 4096;
/// How many lines one answer has.
const ANSWER_MAX: usize = 512;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum News {
    /// Work went on.
    Progress(Progress),
    /// An event was recorded.
    Event(Box<Record>),
    /// Something went wrong that is no event.
    Trouble(String),
}

/// A numbered line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) seq: u64,
    pub(crate) at_ms: u64,
    #[serde(flatten)]
    pub(crate) news: News,
}

/// The board that lines are put up on.
#[derive(Debug, Default)]
pub(crate) struct Board {
    lines: Mutex<(u64, VecDeque<Line>)>,
    changed: Condvar,
}

impl Board {
    /// Puts up progress of the builder.
    pub(crate) fn progress(&self, progress: Progress) {
        self.put(News::Progress(progress));
    }

    /// Puts up an event.
    pub(crate) fn event(&self, record: &Record) {
        self.put(News::Event(Box::new(record.clone())));
    }

    /// Puts up something that went wrong.
    pub(crate) fn trouble(&self, text: String) {
        tracing::warn!("{text}");
        self.put(News::Trouble(text));
    }

    fn put(&self, news: News) {
        let mut held = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        held.0 += 1;
        let line = Line { seq: held.0, at_ms: crate::service::now_ms(), news };
        held.1.push_back(line);
        if held.1.len() > LINES_MAX {
            held.1.pop_front();
        }
        drop(held);
        self.changed.notify_all();
    }

    /// The lines after `seq`; waits a while if there are none.
    pub(crate) fn after(&self, seq: u64, patience: Duration) -> Vec<Line> {
        let held = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = |held: &mut (u64, VecDeque<Line>)| held.0 <= seq;
        let (held, _) =
            self.changed.wait_timeout_while(held, patience, nothing).unwrap_or_else(PoisonError::into_inner);
        held.1.iter().filter(|line| line.seq > seq).take(ANSWER_MAX).cloned().collect()
    }
}
