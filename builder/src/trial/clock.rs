//! Whether bytes hold the time of the run that wrote them.
//!
//! Two runs that differ with nothing varied differ by time or by chance. Time is known where each holds a moment of
//! its *own* run in one of the usual writings: seconds since 1970 in decimal, octal (as archives have it), hexadecimal
//! or four bytes of either order, or a time of day. Chance would have to hit both windows.

use super::compare::ChangedBytes;
use anneal_content::ActionResult;

/// A run that took longer is looked at from its beginning for this long, and from its end.
const WINDOW_SECS: u64 = 3600;
/// Clocks of files lag behind by a tick.
const SLACK_SECS: u64 = 2;

/// Whether both sides hold a moment of their own run.
pub(super) fn tells_time(range: &ChangedBytes, one: &ActionResult, other: &ActionResult) -> bool {
    let (was, is) = range.bytes();
    holds_moment(&was, one) && holds_moment(&is, other)
}

fn holds_moment(bytes: &[u8], run: &ActionResult) -> bool {
    let (from, until) = (run.started_ms / 1000 - SLACK_SECS.min(run.started_ms / 1000), ends(run) + SLACK_SECS);
    let moments = from..=until.min(from + WINDOW_SECS);
    let late = until.saturating_sub(WINDOW_SECS).max(from)..=until;
    moments.chain(late).any(|secs| writings(secs).iter().any(|writing| holds(bytes, writing)))
}

fn ends(run: &ActionResult) -> u64 {
    (run.started_ms + run.payload_ms) / 1000
}

fn holds(bytes: &[u8], writing: &[u8]) -> bool {
    bytes.windows(writing.len()).any(|window| window.eq_ignore_ascii_case(writing))
}

/// How a moment is written down.
fn writings(secs: u64) -> Vec<Vec<u8>> {
    let day = secs % 86_400;
    let (hours, minutes, seconds) = (day / 3600, day / 60 % 60, day % 60);
    let mut all = vec![
        format!("{secs}").into_bytes(),
        format!("{secs:o}").into_bytes(),
        format!("{secs:x}").into_bytes(),
        format!("{hours:02}:{minutes:02}:{seconds:02}").into_bytes(),
        format!("{hours:02}{minutes:02}{seconds:02}").into_bytes(),
    ];
    if let Ok(short) = u32::try_from(secs) {
        all.extend([short.to_le_bytes().to_vec(), short.to_be_bytes().to_vec()]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use anneal_content::BlobDigest;
    use std::collections::BTreeMap;

    /// 2026-11-22 07:24:43 UTC, and half a minute later.
    const ONE: u64 = 1_795_332_283;
    const OTHER: u64 = ONE + 31;

    fn run(secs: u64, took_secs: u64) -> ActionResult {
        ActionResult {
            outputs: BTreeMap::new(),
            log: BlobDigest::of(b""),
            worker: String::new(),
            started_ms: secs * 1000 + 400,
            payload_ms: took_secs * 1000,
            limits_not_enforced: Vec::new(),
            variation: Vec::new(),
            built_with: BTreeMap::new(),
        }
    }

    fn tells(was: &[u8], is: &[u8]) -> bool {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect();
        let range = ChangedBytes { offset: 0, from: 0, was: hex(was), is: hex(is) };
        tells_time(&range, &run(ONE, 5), &run(OTHER, 5))
    }

    #[test]
    fn a_moment_of_each_run_in_any_writing_is_time() {
        for write in [
            (|t| format!("built at {t}\n").into_bytes()) as fn(u64) -> Vec<u8>,
            |t| format!("Sun Nov 22 {:02}:{:02}:{:02} UTC 2026", t / 3600 % 24, t / 60 % 60, t % 60).into_bytes(),
            |t| format!("{t:011o}\0").into_bytes(),
            |t| [&b"\x1f\x8b\x08\0"[..], &u32::try_from(t).unwrap().to_le_bytes()].concat(),
        ] {
            assert!(tells(&write(ONE), &write(OTHER)));
            assert!(tells(&write(ONE + 4), &write(OTHER + 2)), "some seconds into the run");
            assert!(!tells(&write(ONE), &write(OTHER + 100)), "the other run's moment is not of that run");
        }
    }

    #[test]
    fn what_differs_by_chance_or_is_the_first_runs_time_in_both_is_not_time() {
        assert!(!tells(b"4f1c0a99", b"9b2077e1"));
        assert!(!tells(format!("{ONE} a").as_bytes(), format!("{ONE} b").as_bytes()));
        assert!(!tells(b"", b""));
    }

    #[test]
    fn of_a_run_of_many_hours_the_beginning_and_the_end_are_looked_at() {
        let long = run(ONE, 50_000);
        assert!(holds_moment(format!("{}", ONE + 10).as_bytes(), &long));
        assert!(holds_moment(format!("{}", ONE + 49_990).as_bytes(), &long));
        assert!(!holds_moment(format!("{}", ONE + 25_000).as_bytes(), &long));
    }
}
