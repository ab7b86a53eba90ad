//! The table for people.

use std::fmt::Write as _;

use crate::suite::Proof;
use crate::{Ending, Mode, Row, Verdict};

/// How many escapes of one probe are told.
const TOLD: usize = 5;

/// One line a row, with what got out beneath it.
pub fn table_text(rows: &[Row]) -> String {
    let mut text = format!("{:5} {:8} {:9} {:12} {:44} control\n", "probe", "mode", "ending", "outcome", "tries to");
    for row in rows {
        let mode = match row.mode {
            Mode::Root => "root",
            Mode::Rootless => "rootless",
        };
        let ending = match row.ending {
            Ending::Succeeds => "succeeds",
            Ending::Fails => "fails",
            Ending::Cancelled => "cancelled",
        };
        let (outcome, more) = match &row.outcome {
            Verdict::Held => (format!("held {}", row.tried), Vec::new()),
            Verdict::Escaped(what) => ("ESCAPED".to_owned(), what.clone()),
            Verdict::NotEnforced(why) => ("not enforced".to_owned(), vec![why.clone()]),
            Verdict::Broken(why) => ("BROKEN".to_owned(), vec![why.clone()]),
        };
        let control = match &row.control {
            Proof::Alive { how, escaped, tried, .. } => format!("escaped {escaped} of {tried} {how}"),
            Proof::Dead { reason } => format!("DEAD {reason}"),
            Proof::Guest { why } => format!("in a guest only: {why}"),
            Proof::NotAsked => "-".to_owned(),
        };
        let _ = writeln!(text, "{:5} {mode:8} {ending:9} {outcome:12} {:44} {control}", row.id, row.title);
        for line in more.iter().take(TOLD) {
            let _ = writeln!(text, "      {line}");
        }
        if more.len() > TOLD {
            let _ = writeln!(text, "      and {} more", more.len() - TOLD);
        }
    }
    let count = |test: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| test(row)).count();
    let _ = writeln!(
        text,
        "{} runs: {} held, {} escaped, {} not enforced, {} broken; controls: {} alive, {} dead, {} for a guest",
        rows.len(),
        count(&|row| row.outcome == Verdict::Held),
        count(&|row| matches!(row.outcome, Verdict::Escaped(_))),
        count(&|row| matches!(row.outcome, Verdict::NotEnforced(_))),
        count(&|row| matches!(row.outcome, Verdict::Broken(_))),
        count(&|row| matches!(row.control, Proof::Alive { .. })),
        count(&Row::is_dead),
        count(&|row| matches!(row.control, Proof::Guest { .. })),
    );
    text
}
