//! Does a range hold the component's version? The algorithm of the OSV specification with a third answer.
//!
//! Events are walked in the order of their versions: `introduced` at or before the version turns the range on,
//! `fixed` at or before it and `last_affected` before it turn it off, and the version must lie before one of the
//! limits, if there are any. An event whose place cannot be told turns the answer to [`Reach::Unknown`], until a later
//! event decides again.

use super::scale::{Place, Scale};
use crate::error::shown;
use crate::{Event, Range};
use std::collections::BTreeSet;

/// How many events an explanation names.
const EVENTS_SHOWN: usize = 4;

/// Whether something holds the component's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    No,
    Unknown,
    Yes,
}

/// An answer with its reason.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) reach: Reach,
    pub(super) reason: String,
}

/// Evaluates one range.
pub(super) fn evaluate(range: &Range, scale: &Scale<'_>) -> Finding {
    let title = format!("{} range [{}], {}", range.kind.as_str(), listing(&range.events), scale.name());
    let events = match sorted(&range.events, scale) {
        Ok(events) => events,
        Err(why) => return Finding { reach: Reach::Unknown, reason: format!("{title}: {why}") },
    };
    let mut reach = Reach::No;
    let mut trail = Trail::default();
    for event in events {
        let place = scale.place(event);
        reach = step(reach, event, &place);
        trail.note(scale.version, event, place);
    }
    let limits = before_limits(range, scale, &mut trail);
    let reach = match (reach, limits) {
        (Reach::No, _) | (_, Reach::No) => Reach::No,
        (Reach::Yes, Reach::Yes) => Reach::Yes,
        _ => Reach::Unknown,
    };
    Finding { reach, reason: format!("{title}: {}", trail.text(reach)) }
}

fn step(reach: Reach, event: &Event, place: &Place) -> Reach {
    match (event, place, reach) {
        (Event::Introduced(_), Place::At | Place::After, _) => Reach::Yes,
        (Event::Introduced(_), Place::Undecided(_), Reach::No) => Reach::Unknown,
        (Event::Fixed(_), Place::At | Place::After, _) | (Event::LastAffected(_), Place::After, _) => Reach::No,
        (Event::Fixed(_) | Event::LastAffected(_), Place::Undecided(_), Reach::Yes) => Reach::Unknown,
        _ => reach,
    }
}

/// Before any one limit is enough; without limits everything is.
fn before_limits(range: &Range, scale: &Scale<'_>, trail: &mut Trail) -> Reach {
    let limits: Vec<&Event> = range.events.iter().filter(|e| matches!(e, Event::Limit(_))).collect();
    let mut reach = if limits.is_empty() { Reach::Yes } else { Reach::No };
    for limit in limits {
        let place = scale.place(limit);
        match place {
            Place::Before => reach = Reach::Yes,
            Place::Undecided(_) if reach == Reach::No => reach = Reach::Unknown,
            _ => {}
        }
        trail.note(scale.version, limit, place);
    }
    reach
}

/// The events but limits in the order of their versions, `0` first; equal versions stay in the record's order.
fn sorted<'e>(events: &'e [Event], scale: &Scale<'_>) -> Result<Vec<&'e Event>, String> {
    let mut sorted: Vec<&Event> = events.iter().filter(|e| is_beginning(e)).collect();
    let later: Vec<&Event> = events.iter().filter(|e| !is_beginning(e) && !matches!(e, Event::Limit(_))).collect();
    // Events of one kind give the same answer in any order, so versions that cannot be sorted do no harm.
    let kinds: BTreeSet<&str> = later.iter().map(|e| e.kind()).collect();
    if kinds.len() <= 1 {
        sorted.extend(later);
        return Ok(sorted);
    }
    let mut keyed = Vec::with_capacity(later.len());
    for event in later {
        keyed.push((scale.sort_key(event.version()).map_err(|e| e.to_string())?, event));
    }
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    sorted.extend(keyed.into_iter().map(|(_, event)| event));
    Ok(sorted)
}

/// `introduced: "0"` is before every version, `0` itself included.
fn is_beginning(event: &Event) -> bool {
    matches!(event, Event::Introduced(version) if version == "0")
}

/// A range's events in words, cut where a reader would stop.
pub(super) fn listing(events: &[Event]) -> String {
    let shown_events = events.iter().take(EVENTS_SHOWN).map(|e| format!("{} {}", e.kind(), shown(e.version())));
    let mut text = shown_events.collect::<Vec<_>>().join(", ");
    if events.len() > EVENTS_SHOWN {
        text.push_str(&format!(" and {} more", events.len() - EVENTS_SHOWN));
    }
    text
}

/// The comparisons that an explanation names: the events on either side of the version, and what stayed undecided.
#[derive(Debug, Default)]
struct Trail {
    last_passed: Option<String>,
    next: Option<String>,
    undecided: Option<String>,
}

impl Trail {
    fn note(&mut self, version: &str, event: &Event, place: Place) {
        let words = |sign: &str| format!("{version} {sign} {} {}", event.kind(), shown(event.version()));
        match place {
            Place::After if is_beginning(event) => {
                self.last_passed.get_or_insert_with(|| format!("{version} is after the beginning"));
            }
            Place::After => self.last_passed = Some(words(">")),
            Place::At => self.last_passed = Some(words("=")),
            Place::Before => {
                self.next.get_or_insert_with(|| words("<"));
            }
            Place::Undecided(why) => {
                self.undecided.get_or_insert(why);
            }
        }
    }

    fn text(self, reach: Reach) -> String {
        let undecided = self.undecided.filter(|_| reach == Reach::Unknown);
        let parts: Vec<String> = [self.last_passed, self.next, undecided].into_iter().flatten().collect();
        if parts.is_empty() { "no event reaches the version".to_owned() } else { parts.join(", ") }
    }
}
