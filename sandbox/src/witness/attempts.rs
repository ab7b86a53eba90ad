//! The list of refused attempts, bounded whatever a payload does.

use super::{Attempt, RefusedAttempt};

/// So many different attempts of each sort are kept, so that a flood of one sort hides none of another: 64 in all.
const OF_EACH: usize = 8;

/// Different attempts in the order in which each was first seen.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    seen: Vec<RefusedAttempt>,
    more: bool,
}

impl Attempts {
    /// Counts one more.
    pub(super) fn note(&mut self, what: Attempt, call: &str, detail: String) {
        let same = |seen: &&mut RefusedAttempt| seen.what == what && seen.call == call && seen.detail == detail;
        if let Some(seen) = self.seen.iter_mut().find(same) {
            seen.times = seen.times.saturating_add(1);
        } else if self.seen.iter().filter(|seen| seen.what == what).count() < OF_EACH {
            self.seen.push(RefusedAttempt { what, call: call.to_owned(), detail, times: 1 });
        } else {
            self.more = true;
        }
    }

    /// The list, and whether there were others.
    pub(super) fn list(self) -> (Vec<RefusedAttempt>, bool) {
        (self.seen, self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_attempts_are_one_with_a_count_and_a_flood_of_one_sort_hides_no_other() {
        let mut attempts = Attempts::default();
        for index in 0..1000 {
            attempts.note(Attempt::Network, "connect", format!("192.0.2.1:{index}"));
            attempts.note(Attempt::Mount, "mount", "/tmp".to_owned());
        }
        attempts.note(Attempt::Keyring, "keyctl", String::new());
        let (list, more) = attempts.list();
        assert!(more);
        let times = |what| list.iter().filter(|seen| seen.what == what).map(|seen| seen.times).collect::<Vec<_>>();
        assert_eq!(times(Attempt::Network), [1; OF_EACH]);
        assert_eq!(times(Attempt::Mount), [1000]);
        assert_eq!(times(Attempt::Keyring), [1]);
    }
}
