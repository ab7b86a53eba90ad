//! What a collection would do: everything that is kept with its reason, and everything that is not.

use super::{Collection, Gap, Meaning, Node, Root, mark::Mark};
use crate::{Result, action::decode_failure, db::Table, record::BlobRecord};
use anneal_content::{ActionDigest, ActionResult, BlobDigest};
use std::{collections::BTreeMap, time::Duration};

/// How much there is of a kind of thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KindSize {
    /// How many blobs.
    pub blobs: u64,
    /// Their bytes together.
    pub bytes: u64,
}

impl KindSize {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.blobs += 1;
        self.bytes += bytes;
    }
}

/// What is kept and what is not, as it was at one moment.
#[derive(Debug)]
pub struct Survey {
    pub(super) mark: Mark,
    pub(super) sizes: Vec<u64>,
    /// What goes.
    pub(super) blobs: Vec<(BlobDigest, u64)>,
    pub(super) actions: Vec<ActionDigest>,
    pub(super) now_ms: u64,
    /// How long it took.
    pub took: Duration,
}

impl Collection {
    /// Numbers everything and follows the roots. What came within `keep_ms` before `now_ms` is kept without a root.
    pub fn survey(&self, roots: Vec<Root>, meaning: Meaning<'_>, keep_ms: u64, now_ms: u64) -> Result<Survey> {
        let begun = std::time::Instant::now();
        let (mut blobs, mut sizes, mut actions) = (Vec::new(), Vec::new(), Vec::new());
        for row in self.store.inner.db.rows(Table::Blobs, &[], None)? {
            let (key, value) = row?;
            let Some(key) = key.first_chunk::<32>() else { continue };
            sizes.push(BlobRecord::size(&BlobDigest::from_bytes(*key), &value)?);
            blobs.push(*key);
        }
        for row in self.store.inner.db.rows(Table::Results, &[], None)? {
            let key = row?.0.first_chunk::<32>().copied().unwrap_or_default();
            if actions.last() != Some(&key) {
                actions.push(key);
            }
        }
        let mut mark = Mark::new(blobs, actions);
        let mut follow = |node: &Node| self.named_by(node, meaning);
        for pin in self.store.pins()? {
            mark.hold(pin.root(), &mut follow);
        }
        for root in roots {
            mark.hold(root, &mut follow);
        }
        mark.hold_all(&self.lease.touches().all(), super::mark::IN_USE, "running work uses it".to_owned(), &mut follow);
        let since_ms = now_ms.saturating_sub(keep_ms);
        self.hold_young(&mut mark, since_ms, now_ms, &mut follow)?;
        let is_here = |digest: &BlobDigest| self.store.inner.db.contains(Table::Blobs, digest.as_bytes());
        let mut absent = Vec::new();
        for (digest, why) in std::mem::take(&mut mark.absent) {
            // one that came after its row was looked for is there by now
            if !is_here(&digest)? {
                absent.push((digest, why));
            }
        }
        mark.absent = absent;
        let mut survey =
            Survey { mark, sizes, blobs: Vec::new(), actions: Vec::new(), now_ms, took: Duration::default() };
        survey.count();
        survey.took = begun.elapsed();
        Ok(survey)
    }

    fn hold_young(
        &self,
        mark: &mut Mark,
        since_ms: u64,
        now_ms: u64,
        follow: &mut super::mark::Follow<'_>,
    ) -> Result<()> {
        for row in self.store.inner.db.rows(Table::Failures, &[], None)? {
            let (_, value) = row?;
            let failure = decode_failure(&value)?;
            if failure.expires_ms > now_ms {
                let why = format!("the log of a failure that counts until {}", date(failure.expires_ms));
                mark.hold(Root { node: Node::Blob(failure.log), kind: "logs", why }, follow);
            }
        }
        let why = format!("it came after {}, within the time that everything is kept", date(since_ms));
        let mut young = Vec::new();
        for action in mark.loose_actions() {
            let results = self.store.results_untouched(&action)?;
            if results.iter().any(|result: &ActionResult| result.started_ms > since_ms) {
                young.push(Node::Action(action));
            }
        }
        mark.hold_all(&young, "young", why.clone(), follow);
        let loose: Vec<_> = mark.blobs().filter(|digest| !mark.keeps(&Node::Blob(*digest))).collect();
        let came_ms = self.store.inner.backend.came_ms(&loose)?;
        let young = loose.iter().zip(&came_ms).filter(|(_, came_ms)| came_ms.is_some_and(|came_ms| came_ms > since_ms));
        let young: Vec<Node> = young.map(|(digest, _)| Node::Blob(*digest)).collect();
        mark.hold_all(&young, "young", why, follow);
        Ok(())
    }
}

impl Survey {
    /// What goes, by what is kept now.
    pub(super) fn count(&mut self) {
        let all = self.mark.blobs().zip(&self.sizes);
        let loose = all.filter(|(digest, _)| !self.mark.keeps(&Node::Blob(*digest)));
        self.blobs = loose.map(|(digest, size)| (digest, *size)).collect();
        self.actions = self.mark.loose_actions();
    }

    /// Blobs that would go, with their sizes.
    pub fn garbage(&self) -> &[(BlobDigest, u64)] {
        &self.blobs
    }

    /// Actions whose results would go.
    pub fn garbage_actions(&self) -> &[ActionDigest] {
        &self.actions
    }

    /// Why something is kept: what names it, up to the root. `None` where it is not kept.
    pub fn why(&self, node: &Node) -> Option<Vec<String>> {
        self.mark.why(node)
    }

    /// What is kept and cannot be followed. As long as there is any, nothing is deleted.
    pub fn gaps(&self) -> &[Gap] {
        &self.mark.gaps
    }

    /// Blobs that are kept and are not there, each with its reason.
    pub fn absent(&self) -> &[(BlobDigest, Vec<String>)] {
        &self.mark.absent
    }

    /// How much is kept, by the kind of the root that it is kept for.
    pub fn kinds(&self) -> BTreeMap<&'static str, KindSize> {
        let mut kinds: BTreeMap<&'static str, KindSize> = BTreeMap::new();
        for (at, size) in self.sizes.iter().enumerate() {
            kinds.entry(self.mark.kind(at).unwrap_or("garbage")).or_default().add(*size);
        }
        kinds
    }
}

/// A time as a date, for people: `2026-11-22`.
pub(crate) fn date(at_ms: u64) -> String {
    // civil_from_days of Howard Hinnant's "chrono-compatible low-level date algorithms", for days since 1970
    let days = at_ms / 86_400_000 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (day, month_number) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + u64::from(month_number <= 2);
    format!("{year:04}-{month_number:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let days = |n: u64| date(n * 86_400_000 + 1);
        assert_eq!(
            [0, 59, 10_957, 19_782, 20_779].map(days),
            ["1970-01-01", "1970-03-01", "2000-01-01", "2024-02-29", "2026-11-22"]
        );
    }
}
