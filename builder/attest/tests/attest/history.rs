//! A client that saw the journal before: what it is told of a journal that goes on, was restored, or was tampered with.

use crate::world::*;
use anneal_attest::*;
use anneal_content::JournalHead;

/// A journal: each event's bytes, and the restore record in it.
type Journal = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn events(name: &str, numbers: std::ops::Range<u64>) -> Journal {
    numbers.map(|number| (format!("{name}{number}").into_bytes(), None)).collect()
}

fn head(journal: &Journal) -> JournalHead {
    journal.iter().fold(JournalHead::START, |head, (event, _)| head.after(event))
}

fn record(of: &Journal, at_ms: u64) -> RestoreRecord {
    RestoreRecord { backup: 3, backed_up_ms: 50, head: head(of), at_ms, by: "ada".into() }
}

fn restore_event(record: RestoreRecord, by: &SecretKey) -> (Vec<u8>, Option<Vec<u8>>) {
    let signed = sign_note(&Note::Restore(record), by).unwrap();
    (signed.clone(), Some(signed))
}

/// Put back to the first `kept` events, with the record, and going on.
fn restored(seen: &Journal, kept: usize, at_ms: u64) -> Journal {
    let mut journal = seen[..kept].to_vec();
    let record = record(&journal, at_ms);
    journal.push(restore_event(record, &key(Role::Log)));
    journal.extend(events("after", 0..9));
    journal
}

fn judge(seen: &Journal, at_ms: u64, today: &Journal) -> History {
    let mut ring = Keyring::new();
    ring.trust(Role::Log, key(Role::Log).public().clone()).unwrap();
    let since = Checkpoint { head: head(seen), at_ms };
    let mut judge = HistoryJudge::new(&since, &ring);
    for (event, restore) in today {
        judge.add(JournalEntry { event, restore: restore.as_deref() });
    }
    judge.verdict()
}

fn tampered(history: History, because: &str) {
    let History::Tampered { reason } = history else { panic!("{history:?}") };
    assert!(reason.contains(because), "{reason}");
}

#[test]
fn a_journal_that_goes_on_is_consistent_whatever_was_restored_before() {
    let seen = events("e", 0..6);
    assert_eq!(judge(&seen, 100, &events("e", 0..6)), History::Consistent);
    assert_eq!(judge(&seen, 100, &events("e", 0..9)), History::Consistent);
    assert_eq!(judge(&Vec::new(), 100, &events("e", 0..2)), History::Consistent);
    let branch = restored(&seen, 3, 200);
    assert_eq!(judge(&branch[..8].to_vec(), 300, &branch), History::Consistent);
    assert_eq!(judge(&events("e", 0..3), 100, &branch), History::Consistent, "it saw nothing that was lost");
}

#[test]
fn a_restore_is_believed_and_says_what_is_lost() {
    let seen = events("e", 0..6);
    let expected = History::Restored { record: record(&events("e", 0..3), 200), lost_until: 6 };
    assert_eq!(judge(&seen, 100, &restored(&seen, 3, 200)), expected);
    // a second restore, further on, does not hide the first
    let twice = restored(&restored(&seen, 3, 200), 5, 300);
    assert_eq!(judge(&seen, 100, &twice), expected);
    // who saw the first one is told of the second
    let between = restored(&seen, 3, 200);
    let History::Restored { record, lost_until } = judge(&between, 250, &twice) else { panic!() };
    assert_eq!((record.head.events, record.at_ms, lost_until), (5, 300, 13));
    // and a restore from a backup that is older than an earlier restore
    let again = restored(&seen, 2, 400);
    assert!(matches!(judge(&between, 250, &again), History::Restored { record, .. } if record.head.events == 2));
}

#[test]
fn a_journal_that_was_cut_or_rewritten_is_tampered_with() {
    let seen = events("e", 0..6);
    tampered(judge(&seen, 100, &events("e", 0..3)), "it has 3 events, and had 6");
    tampered(judge(&seen, 100, &Vec::new()), "it has 0 events");
    let mut rewritten = events("e", 0..9);
    rewritten[2].0 = b"another".to_vec();
    tampered(judge(&seen, 100, &rewritten), "are not those that were seen");
}

#[test]
fn a_forged_restore_record_is_not_believed() {
    let seen = events("e", 0..6);
    let kept = events("e", 0..3);
    let mut forged = kept.clone();
    forged.push(restore_event(record(&kept, 200), &another_key(Role::Log)));
    tampered(judge(&seen, 100, &forged), "signature does not verify");
    // the daemon's signature over another kind of note
    let checkpoint = Note::Checkpoint(Checkpoint { head: head(&kept), at_ms: 200 });
    let signed = sign_note(&checkpoint, &key(Role::Log)).unwrap();
    let mut wrong = kept.clone();
    wrong.push((signed.clone(), Some(signed)));
    tampered(judge(&seen, 100, &wrong), "expected restore, found checkpoint");
    let mut changed = kept.clone();
    let (signed, _) = restore_event(record(&kept, 200), &key(Role::Log));
    let text = String::from_utf8(signed).unwrap().replacen("cGF5", "cGF6", 1).replacen("\"sig\":\"M", "\"sig\":\"N", 1);
    changed.push((text.clone().into_bytes(), Some(text.into_bytes())));
    tampered(judge(&seen, 100, &changed), "is not believed");
}

#[test]
fn an_old_restore_record_explains_no_other_loss() {
    let seen = events("e", 0..6);
    let branch = restored(&seen, 3, 200);
    // the client saw the branch after the restore; then it was cut back to the record, which is where it always was
    tampered(judge(&branch, 300, &branch[..4].to_vec()), "is older than the checkpoint");
    tampered(judge(&branch, 300, &branch[..9].to_vec()), "is older than the checkpoint");
    // or the record was put behind other events
    let mut moved = events("e", 0..2);
    moved.push(branch[3].clone());
    tampered(judge(&branch, 150, &moved), "was made for a journal of 3 events");
    // or the record is right, younger, and behind everything that was seen, which was changed
    let mut later = events("x", 0..8);
    let record = record(&later, 400);
    later.push(restore_event(record, &key(Role::Log)));
    tampered(judge(&seen, 100, &later), "explains nothing");
}

#[test]
fn only_a_log_key_signs_notes_and_no_note_is_a_statement() {
    let note = Note::Restore(record(&events("e", 0..3), 200));
    for role in Role::ALL {
        assert_eq!(sign_note(&note, &key(role)).is_ok(), role == Role::Log, "{role}");
    }
    let signed = sign_note(&note, &key(Role::Log)).unwrap();
    for role in Role::ALL {
        let mut ring = Keyring::new();
        ring.trust(role, key(Role::Log).public().clone()).unwrap();
        assert_eq!(verify_note(&signed, &ring).is_ok(), role == Role::Log, "{role}");
    }
    for kind in PredicateType::ALL {
        assert!(verify_bundle(&signed, key(Role::Log).public(), kind, &image()).is_err());
    }
}
